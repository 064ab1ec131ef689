"""Memory and processor time, of this process and of servers on this machine."""

import ctypes
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
CPU_CLOCK = 2
"""The kind of a process's clock that counts what the scheduler gave it."""


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
    """Have all threads share one arena of glibc's allocator, which keeps its pages; call it before that.

    Each arena keeps what it once held, so with one for each thread the resident set creeps up for as long as
    a load lasts (``M_ARENA_MAX`` of mallopt(3)). This one keeps what a batch gives back for the next batch:
    otherwise the kernel takes pages away and clears others, a third of all that a load is ever given.

    Returns:
        Whether the allocator knows this; others than glibc's do not.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    wanted = {M_ARENA_MAX: 1, M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 128 << 20}
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in wanted.items())


_known: dict[tuple[str, str], psutil.Process] = {}
"""Who was found to listen: looking through all sockets of the machine takes longer than a short run."""


def listening(address: str, name: str) -> psutil.Process | None:
    """The process that listens at ``host:port`` if its program's name begins with ``name``, else None.

    The name guards against asking about the wrong one: behind Docker it is a proxy that listens.
    """
    known = _known.get((address, name))
    with suppress(psutil.NoSuchProcess):
        if known is not None and known.is_running() and known.status() != psutil.STATUS_ZOMBIE:
            return known
    found = _listening(address, name)
    if found is not None:
        _known[address, name] = found
    return found


def _listening(address: str, name: str) -> psutil.Process | None:
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost", "::1", "[::1]"):
        return None
    try:
        for connection in psutil.net_connections("tcp"):
            bound = connection.laddr if connection.status == psutil.CONN_LISTEN else ()
            if bound and bound.port == int(port) and connection.pid is not None:
                process = psutil.Process(connection.pid)
                return process if process.name().startswith(name) else None
    except (psutil.Error, OSError):
        pass  # not ours to look at: then it is unknown
    return None


def cpu_s(process: psutil.Process | None) -> float | None:
    """Processor seconds of all threads of a process, None when it is unknown.

    On Linux by its own clock, whose number is made of the process's (clock_getcpuclockid(3)): the ticks of
    ``/proc`` are so long that a short run falls between two.
    """
    if process is None:
        return None
    if sys.platform == "linux":
        with suppress(OSError):
            return time.clock_gettime_ns(~process.pid << 3 | CPU_CLOCK) / 1e9
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


class Cores:
    """How busy the cores of this machine are from now on."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def busy(self) -> float | None:
        """Share of all cores since then, from 0 to 1; None before the first tick."""
        now = psutil.cpu_times()
        # guest is in user, and guest_nice in nice (proc(5))
        spent = {
            name: getattr(now, name) - getattr(self._before, name)
            for name in now._fields
            if not name.startswith("guest")
        }
        whole = sum(spent.values())
        idle = spent["idle"] + spent.get("iowait", 0.0)
        return min(1.0, max(0.0, 1 - idle / whole)) if whole > 0 else None  # counted in ticks: a little off


def options(process: psutil.Process | None) -> list[str]:
    """The words of a process's command line, none when it is unknown."""
    try:
        return [] if process is None else process.cmdline()[1:]
    except psutil.Error:
        return []


def rss_mb(process: psutil.Process | None) -> float | None:
    """Resident memory in megabytes, None when the process is unknown."""
    try:
        return None if process is None else process.memory_info().rss / 1e6
    except psutil.Error:
        return None


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and its children, as PostgreSQL's postmaster and its backends."""
    try:
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    except OSError:
        return [process, *process.children()]  # looks at every process of the machine, which takes longer
    found = [process]
    for pid in listed.split():
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(int(pid)))
    return found


def family_cpu_s(process: psutil.Process | None) -> float | None:
    """Processor seconds of a process, its children and those of its children that have ended, None when it is
    unknown.
    """
    if process is None:
        return None
    try:
        ended = process.cpu_times()
        used = float(ended.children_user + ended.children_system)
        for one in family(process):
            with suppress(psutil.NoSuchProcess):  # it ended just now: a moment of it is lost
                used += _own_cpu_s(one)
    except psutil.Error:
        return None
    return used


def family_pss_mb(process: psutil.Process | None) -> float | None:
    """Memory of a process and its children in megabytes, what they share counted once; None where the kernel
    does not tell their shares (``Pss`` of proc(5)), or the process is unknown.
    """
    if process is None:
        return None
    total = 0
    try:
        for one in family(process):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_full_info().pss
    except (psutil.Error, AttributeError, OSError):
        return None
    return total / 1e6


def _own_cpu_s(process: psutil.Process) -> float:
    """Of a process with one thread: by the scheduler's nanoseconds where they are told, else by clock ticks,
    which many short shares of many processes fall below.
    """
    try:
        return int(Path(f"/proc/{process.pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (OSError, ValueError, IndexError):
        times = process.cpu_times()
        return float(times.user + times.system)
