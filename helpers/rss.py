"""Memory of this process."""

import resource
import sys
from pathlib import Path


def peak_rss_mb() -> float:
    """The largest resident set of this process so far, in megabytes (10^6 bytes).

    Source: ``VmHWM`` of ``/proc/self/status`` (proc(5)) on Linux, where the ``ru_maxrss`` of ``getrusage(2)``
    outlives ``exec`` and so reports the parent's peak in a fresh child; ``ru_maxrss``, in bytes, on macOS.
    """
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
