"""Embedded servers: started detached, found again by the next process, stopped on demand."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import ModuleType

from filelock import FileLock, Timeout

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import cassandra, mongodb, postgres, process, redis, urls

MODULES: dict[str, ModuleType] = {
    "postgres": postgres,
    "redis": redis,
    "mongodb": mongodb,
    "cassandra": cassandra,
}
LOCK_S = 300


def start(name: str, cancel: Event, tell: Callable[[str], None] = lambda stage: None) -> str:
    """Start the server unless it runs, wait until it answers, and return its URL.

    Two processes that ask at once start one server: the second waits for the first.

    Args:
        name: one of ``MODULES``.
        cancel: when set, the wait ends.
        tell: called with each stage, in a word or two.

    Raises:
        HelpersError: it cannot run here, or did not start; the message says why and what to do.
    """
    module = MODULES[name]
    reason = module.missing()
    if reason:
        elsewhere = "" if reason == mongodb.NO_AVX else ", or use `docker compose up`"
        raise HelpersError(
            f"{name}: cannot be started here: {reason}; "
            f"set {name.upper()}_URL to a server of yours{elsewhere}"
        )
    if name == "cassandra":
        cassandra.fetch(lambda done, total: tell(f"jars {done}/{total}"))
    folder = settings.home() / name
    try:
        with FileLock(settings.home() / f"{name}.lock", timeout=LOCK_S, mode=0o600):
            found = urls.running_url(name)
            if found:
                module.version(found)
                return found
            return _start(name, module, folder, cancel, tell)
    except Timeout as error:
        raise HelpersError(
            f"{name}: another process has been starting it for over {LOCK_S} s; end that process, try again"
        ) from error


def _start(name: str, module: ModuleType, folder: Path, cancel: Event, tell: Callable[[str], None]) -> str:
    before = process.read_started(folder)
    ready = folder / "ready"
    if not ready.exists():  # its first start never came to an end: nobody has put data there
        if before:
            process.stop(before, how=signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = process.password(folder)
        port = process.free_port(before.port if before else None)
        tell("preparing")
        module.prepare(folder, port, secret)
        _set_log_aside(folder)
        record = process.start(module.command(folder), folder, port, variables=module.variables())
    except OSError as error:
        raise HelpersError(
            f"{name}: {folder}: {error.strerror or error}; free space or set HELPERS_HOME"
        ) from error
    tell("starting")
    url = urls.local(name, port, secret)

    def answers() -> str:
        if not ready.exists():
            module.finish(port, secret)
        return str(module.version(url))

    try:
        process.wait(name, record, answers, folder, timeout_s=module.START_S, cancel=cancel)
    except BaseException:
        process.stop(record, timeout_s=5)
        raise
    ready.touch(mode=0o600)
    return url


def stop(name: str, *, delete: bool = False) -> bool:
    """Stop the server, and delete its folder when asked; True when it was running."""
    folder = settings.home() / name
    with FileLock(settings.home() / f"{name}.lock", timeout=LOCK_S, mode=0o600):
        found = process.running(folder)
        if found is not None:
            # PostgreSQL's "fast" shutdown is SIGINT: it does not wait for clients to leave.
            process.stop(found, how=signal.SIGINT if name == "postgres" else signal.SIGTERM)
        if delete:
            shutil.rmtree(folder, ignore_errors=True)
    return found is not None


def _set_log_aside(folder: Path) -> None:
    """Set the log of the last start aside: this one's words are not mixed up with it, and logs stay small."""
    path = folder / "log"
    if path.exists():
        path.replace(folder / "log.old")
