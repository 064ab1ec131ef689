"""Memory of this process."""

import resource
import sys


def peak_rss_mb() -> float:
    """The largest resident set of this process so far, in megabytes (10^6 bytes).

    Source: ``getrusage(2)``; ``ru_maxrss`` is in kibibytes on Linux and in bytes on macOS.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
