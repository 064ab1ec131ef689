"""The four servers together: start, state, stop. Only embedded ones are started and stopped here."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock

from helpers import settings
from helpers.errors import HelpersError
from helpers.progress import bar, watched
from helpers.servers import embedded, process, redis_cluster, urls


@dataclass(frozen=True)
class Server:
    """One server as it is now.

    The URL holds its password; the source is ``env``, ``compose`` or ``embedded``.
    """

    name: str
    url: str | None
    version: str | None
    source: str
    running: bool

    @property
    def safe_url(self) -> str | None:
        """The URL with its password hidden."""
        return settings.redact(self.url) if self.url else None


def up(names: Sequence[str] = settings.NAMES, *, progress: bool = True) -> dict[str, Server]:
    """Start what is not running, all at once, and wait until each server answers a query.

    Args:
        names: which servers.
        progress: show a progress bar on stderr.

    Returns:
        The servers by name, all running.

    Raises:
        HelpersError: an unknown name, or servers that cannot be had, all named in one line.
    """
    urls.check(names)
    cancel, stages, lock = Event(), dict.fromkeys(names, "waiting"), Lock()
    ready: dict[str, Server] = {}
    failures: dict[str, HelpersError] = {}
    with bar(len(names), "servers", unit="up", enabled=progress) as shown:

        def tell(name: str, stage: str) -> None:
            with lock:
                stages[name] = stage
                waiting = ", ".join(f"{n}: {s}" for n, s in stages.items() if s != "up")
                shown.set_postfix_str(waiting, refresh=watched())

        def one(name: str) -> Server:
            found = urls.outside(name)
            if found is not None:
                return _ask(name, *found)
            url = embedded.start(name, cancel, lambda stage: tell(name, stage))
            return _ask(name, url, "embedded")

        pool = ThreadPoolExecutor(len(names) or 1)
        try:
            futures = {pool.submit(one, name): name for name in names}
            for future in as_completed(futures):
                name = futures[future]
                try:
                    ready[name] = future.result()
                except HelpersError as error:
                    failures[name] = error
                tell(name, "up")
                shown.update()
        finally:
            cancel.set()
            pool.shutdown(cancel_futures=True)
    if failures:
        messages = dict.fromkeys(str(failures[name]) for name in names if name in failures)
        message = " | ".join(messages)
        raise HelpersError(message) from next(iter(failures.values()))
    return {name: ready[name] for name in names}


def status(names: Sequence[str] = settings.NAMES) -> dict[str, Server]:
    """What runs, where, and in which version; nothing is started."""
    urls.check(names)

    def one(name: str) -> Server:
        url, source = urls.outside(name) or (urls.running_url(name), "embedded")
        try:
            if url is None:
                return Server(name, None, None, source, False)
            return _ask(name, url, source)
        except HelpersError:
            return Server(name, url, None, source, False)

    with ThreadPoolExecutor(len(names) or 1) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def down(*, delete: bool = False) -> list[str]:
    """Stop the embedded servers of this state folder; with ``delete`` remove their data and logs of rows.

    Throw-away servers that a killed process has left go as well.

    Returns:
        The names of those that were running.
    """
    process.sweep(settings.home())
    with ThreadPoolExecutor(len(settings.NAMES)) as pool:
        stopped = list(pool.map(lambda name: embedded.stop(name, delete=delete), settings.NAMES))
    found = [name for name, was_running in zip(settings.NAMES, stopped, strict=True) if was_running]
    for name in settings.ROW_LOGS if delete else ():
        shutil.rmtree(settings.home() / name, ignore_errors=True)
    return found + [redis_cluster.NAME] * redis_cluster.stop(delete=delete)


def up_cluster() -> Server:
    """Start the embedded Redis Cluster where it does not run, and wait until it is whole.

    Raises:
        HelpersError: it cannot be had.
    """
    url = redis_cluster.start()
    return Server(redis_cluster.NAME, url, redis_cluster.version(url), "embedded", True)


def cluster_status() -> Server | None:
    """The embedded Redis Cluster as it is now; None when there is none."""
    if not redis_cluster.exists():
        return None
    found = redis_cluster.running_url()
    try:
        version = redis_cluster.version(found) if found else None
    except HelpersError:
        version = None
    return Server(redis_cluster.NAME, found, version, "embedded", version is not None)


def versions(names: Sequence[str] = settings.NAMES) -> dict[str, str]:
    """The versions of the running servers, by name."""
    return {name: server.version for name, server in status(names).items() if server.version}


def _ask(name: str, url: str, source: str) -> Server:
    try:
        version = str(embedded.MODULES[name].version(url))
    except HelpersError as error:
        if source != "compose":
            raise
        raise HelpersError(f"{str(error).partition('; ')[0]}; {urls.COMPOSE_REMEDY}") from error
    return Server(name, url, version, source, True)
