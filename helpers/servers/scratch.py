"""Throw-away servers, for tests and for lessons that kill a server: their folder goes with them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import (
    cassandra as cassandra_server,
    mongodb as mongodb_server,
    postgres as postgres_server,
    process,
    redis as redis_server,
    urls,
)


class Scratch:
    """A throw-away server with ``url``, ``version``, ``pid`` and ``folder``; to kill and start again."""

    def __init__(
        self, name: str, module: ModuleType, folder: Path, options: dict[str, Any], port: int | None = None
    ) -> None:
        self.name = name
        self.folder = folder
        self.port = port or process.free_port()
        self._module = module
        self._options = options
        self._finished = False
        self._record: process.Started | None = None
        self.version = ""
        self.url = urls.local(name, self.port, process.password(folder))

    @property
    def pid(self) -> int:
        """The process id of the running server.

        Raises:
            HelpersError: it was not started.
        """
        if self._record is None:
            raise HelpersError(f"{self.name}: this throw-away server was not started")
        return self._record.pid

    def start(self) -> None:
        """Start the server on the same port and data, and wait until it answers."""
        module, secret = self._module, process.password(self.folder)
        module.prepare(self.folder, self.port, secret, **self._options)
        record = process.start(
            module.command(self.folder), self.folder, self.port, variables=module.variables()
        )
        self._record = record

        def answers() -> str:
            if not self._finished:
                module.finish(self.port, secret)
            return str(module.version(self.url))

        self.version = process.wait(
            self.name, record, answers, self.folder, timeout_s=module.START_S, cancel=Event()
        )
        self._finished = True

    def stop(self) -> None:
        """Stop it politely."""
        if self._record is not None:
            process.stop(self._record, how=signal.SIGINT if self.name == "postgres" else signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and its children by SIGKILL, as the kernel's out-of-memory killer would."""
        if self._record is not None:
            process.stop(self._record, how=signal.SIGKILL)


@contextmanager
def _running(name: str, module: ModuleType, **options: Any) -> Iterator[Scratch]:
    process.need(name, module.missing())
    with process.throw_away(name, settings.home()) as folder:
        server = Scratch(name, module, folder, options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def redis(*configuration: str) -> Any:
    """A throw-away Redis as a context manager; each argument is a line of redis.conf (``appendonly no``)."""
    return _running("redis", redis_server, more="\n".join(configuration))


def postgres(*configuration: str) -> Any:
    """A throw-away PostgreSQL as a context manager; each argument is a line of postgresql.conf."""
    return _running("postgres", postgres_server, more="\n".join(configuration))


def mongodb(*, cache_gb: float = 0.5) -> Any:
    """A throw-away MongoDB as a context manager, with a cache of so many GiB."""
    return _running("mongodb", mongodb_server, cache_gb=cache_gb)


def cassandra(**configuration: object) -> Any:
    """A throw-away Cassandra as a context manager; arguments are settings of cassandra.yaml, which win."""
    return _running("cassandra", cassandra_server, more=configuration)
