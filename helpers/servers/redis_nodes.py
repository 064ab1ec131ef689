"""Throw-away Redis servers with one password, and a primary with its replica made of them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.servers import connections, process, redis as server, scratch

POLL_S = 0.02
START_S = 30
PATIENCE_S = 5.0
"""How long one command may take before it counts as failed."""


class Node(scratch.Scratch):
    """One Redis server of several with the same password: ``url``, ``port``, ``pid``; kill, start, ask.

    Args:
        folder: its own; where it stays, the node is found again there.
        password: of all of them.
        configuration: lines of redis.conf.
        port: any that is free when None.
    """

    def __init__(self, folder: Path, password: str, *configuration: str, port: int | None = None) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        process.write_private(folder / "password", password)
        lines = [f"masterauth {password}", *configuration]
        super().__init__("redis", server, folder, {"more": "\n".join(lines)}, port)
        self._record = process.read_started(folder)
        self._client: redis_py.Redis | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{process.HOST}:{self.port}"

    def client(self, **options: Any) -> "redis_py.Redis":
        """A client of its own for this node, which tries nothing twice.

        Raises:
            HelpersError: the node does not answer.
        """
        return connections.redis(self.url, **{**PLAIN, "decode_responses": True, **options})

    def ask(self, *command: Any) -> Any:
        """The answer to one command.

        Raises:
            HelpersError: it does not answer, or refuses.
        """
        try:
            if self._client is None:
                self._client = self.client()
            return self._client.execute_command(*command)
        except (redis_py.RedisError, OSError) as error:
            raise HelpersError(f"redis at {self.address}: {command[0]}: {first_line(error)}") from error

    def ask_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to many commands that are sent at once.

        Raises:
            HelpersError: it does not answer, or refuses one of them.
        """
        try:
            if self._client is None:
                self._client = self.client()
            with self._client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                return list(pipe.execute())
        except (redis_py.RedisError, OSError) as error:
            raise HelpersError(f"redis at {self.address}: {first_line(error)}") from error

    def start(self) -> None:
        """Start it on the same port and data, and wait until it answers."""
        self._forget()
        super().start()

    def kill(self) -> None:
        """Kill it by SIGKILL, at once."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # before anything that takes time
        super().kill()
        self._forget()

    def running(self) -> bool:
        """Whether its process runs."""
        return process.running(self.folder) is not None

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


PLAIN: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": PATIENCE_S}
"""Options of a client that tries nothing twice."""


class Pair:
    """A primary and its replica; after ``promote`` they have changed places."""

    def __init__(self, primary: Node, replica: Node) -> None:
        self.primary, self.replica = primary, replica

    @property
    def nodes(self) -> tuple[Node, Node]:
        """Both, the primary first."""
        return self.primary, self.replica

    def replicate(self, port: int | None = None) -> None:
        """Make the replica copy the primary, through a link's port if given, and wait until it does.

        Raises:
            HelpersError: it does not within the time.
        """
        self.replica.ask("REPLICAOF", process.HOST, port or self.primary.port)
        until(self.replicating, "redis: the replica copies its primary")

    def replicating(self) -> bool:
        """Whether the replica is connected, and the primary counts it as good."""
        copies = self.replica.ask("INFO", "replication").get("master_link_status") == "up"
        known = self.primary.ask("INFO", "replication").get("slave0", {})
        return bool(copies and known.get("state") == "online")

    def promote(self) -> None:
        """Make the replica a primary; the other is expected to copy it once it is back."""
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary


def until(done: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
    """Wait until something is so; a node that does not answer is asked again.

    Args:
        done: whether it is so.
        what: it is, for the message.
        timeout_s: how long it may take.

    Raises:
        HelpersError: it is not so in time.
    """
    deadline, why = time.monotonic() + timeout_s, ""
    while time.monotonic() < deadline:
        try:
            if done():
                return
        except HelpersError as error:
            why = f": {error}"
        time.sleep(POLL_S)
    raise HelpersError(f"{what}: not within {timeout_s:.0f} s{why}")


@contextmanager
def pair(*configuration: str) -> Iterator[Pair]:
    """A throw-away primary and its replica, with one password, copying already; all of it goes at the end.

    Args:
        configuration: lines of redis.conf for both.

    Raises:
        HelpersError: Redis cannot run here, or the two do not come up.
    """
    lines = ("repl-diskless-sync-delay 0", *configuration)
    with started("pair", 2, lambda number: lines) as (primary, replica):
        made = Pair(primary, replica)
        made.replicate()
        yield made


@contextmanager
def started(name: str, number: int, configuration: Callable[[int], Sequence[str]]) -> Iterator[list[Node]]:
    """So many nodes with one password in one folder, started at once; all of it goes at the end.

    Args:
        name: of the folder.
        number: of nodes.
        configuration: gives the lines of redis.conf for each number from 0.

    Raises:
        HelpersError: Redis cannot run here, or a node does not come up.
    """
    process.need("redis", server.missing())
    with process.throw_away(f"redis-{name}", settings.home()) as folder:
        secret = process.password(folder)
        nodes = [Node(folder / str(i), secret, *configuration(i)) for i in range(number)]
        try:
            with ThreadPoolExecutor(number) as pool:
                list(pool.map(Node.start, nodes))
            yield nodes
        finally:
            for node in nodes:
                node.kill()
