"""Memory of this process."""

import ctypes
import resource
import sys
from pathlib import Path

M_ARENA_MAX = -8


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


def one_arena() -> bool:
    """Have all threads share one arena of glibc's allocator; call it before threads start.

    Each arena keeps what it once held, so with one for each thread the resident set creeps up for as long as
    a load lasts (``M_ARENA_MAX`` of mallopt(3)).

    Returns:
        Whether the allocator knows this; others than glibc's do not.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(M_ARENA_MAX, 1) == 1
