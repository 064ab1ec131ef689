"""What the operating system says about a server process on this machine."""

from contextlib import suppress

import psutil

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
    """Processor seconds of all threads of a process, None when it is unknown."""
    try:
        times = process.cpu_times() if process is not None else None
    except psutil.Error:
        return None
    return None if times is None else float(times.user + times.system)


def rss_mb(process: psutil.Process | None) -> float | None:
    """Resident memory in megabytes, None when the process is unknown."""
    try:
        return None if process is None else process.memory_info().rss / 1e6
    except psutil.Error:
        return None
