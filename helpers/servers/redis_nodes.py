"""Throw-away Redis servers that belong together: a primary with its replica, and a cluster."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis as redis_py
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry

from helpers import connections, settings
from helpers.errors import HelpersError, first_line
from helpers.servers import process, scratch
from helpers.servers import redis as server

SLOTS = 16384
"""Hash slots of every Redis Cluster."""
POLL_S = 0.02
START_S = 30
PATIENCE_S = 5.0
"""How long one command may take before it counts as failed."""
MIGRATE_MS = 5000
BATCH_KEYS = 100


class Node(scratch.Scratch):
    """One Redis server of several with the same password: ``url``, ``port``, ``pid``; kill, start, ask."""

    def __init__(self, folder: Path, password: str, *configuration: str) -> None:
        folder.mkdir(mode=0o700)
        process.write_private(folder / "password", password)
        lines = [f"masterauth {password}", *configuration]
        super().__init__("redis", server, folder, {"more": "\n".join(lines)})
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
        record = process.read_record(self.folder)
        return record is not None and record.alive()

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
        _until(self.replicating, "redis: the replica copies its primary")

    def replicating(self) -> bool:
        """Whether the replica is connected, and the primary counts it as good."""
        copies = self.replica.ask("INFO", "replication").get("master_link_status") == "up"
        known = self.primary.ask("INFO", "replication").get("slave0", {})
        return bool(copies and known.get("state") == "online")

    def promote(self) -> None:
        """Make the replica a primary; the other is expected to copy it once it is back."""
        self.replica.ask("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary


class Cluster:
    """Nodes of one Redis Cluster, to kill and start one by one, and to move slots between."""

    def __init__(self, nodes: Sequence[Node], masters: int) -> None:
        self.nodes = list(nodes)
        self._masters = masters

    @property
    def urls(self) -> list[str]:
        """The URL of each node."""
        return [node.url for node in self.nodes]

    def client(self) -> RedisCluster:
        """redis-py's client of the whole cluster: it follows MOVED and ASK, and tries nothing else twice."""
        places = [ClusterNode(process.HOST, node.port) for node in self.nodes]
        secret = urlsplit(self.nodes[0].url).password
        return RedisCluster(
            startup_nodes=places,
            password=secret,
            decode_responses=True,
            **PLAIN,
        )

    def form(self) -> None:
        """Make a cluster of nodes that do not know each other, as ``redis-cli --cluster create`` does.

        Raises:
            HelpersError: they do not agree within the time.
        """
        first, share = self.nodes[0], SLOTS / self._masters
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < self._masters:
                node.ask("CLUSTER ADDSLOTSRANGE", round(number * share), round((number + 1) * share) - 1)
            if node is not first:
                first.ask("CLUSTER MEET", process.HOST, node.port, _bus(node))
        whole = len(self.nodes)
        _until(
            lambda: all(len(_known(node)) == whole for node in self.nodes), "redis: the nodes know each other"
        )
        for number, node in enumerate(self.nodes[self._masters :]):
            node.ask("CLUSTER REPLICATE", node_id(self.nodes[number % self._masters]))
        self.settle()

    def settle(self) -> None:
        """Wait until every node says that the cluster is whole, knows all others, and replicas copy.

        Raises:
            HelpersError: they do not within the time.
        """
        _until(lambda: all(self._settled(node) for node in self.nodes), "redis: the cluster is whole")

    def _settled(self, node: Node) -> bool:
        told = node.ask("CLUSTER INFO")
        known = _known(node).values()
        copies = node.ask("INFO", "replication")
        replicas = sum("slave" in one["flags"] for one in known)
        return (
            told["cluster_state"] == "ok"
            and int(told["cluster_slots_ok"]) == SLOTS
            and not any("fail" in one["flags"] or "handshake" in one["flags"] for one in known)
            and replicas == len(self.nodes) - self._masters
            and (copies["role"] == "master" or copies["master_link_status"] == "up")
        )

    def masters(self) -> list[Node]:
        """The running nodes that are masters now."""
        return [node for node in self.nodes if node.running() and node.ask("ROLE")[0] == "master"]

    def replica_of(self, master: Node) -> Node:
        """A running replica of a master.

        Raises:
            HelpersError: it has none.
        """
        for node in self.nodes:
            if node is not master and node.running():
                role = node.ask("ROLE")
                if role[0] == "slave" and role[2] == master.port:
                    return node
        raise HelpersError(f"redis at {master.address}: this master has no replica that runs")

    def slots(self, node: Node) -> list[range]:
        """The ranges of slots that a node owns, as it sees them."""
        mine = next(one for one in _known(node).values() if "myself" in one["flags"])
        return [range(int(found[0]), int(found[-1]) + 1) for found in mine["slots"]]

    def move(self, slots: range, source: Node, target: Node, tell: Callable[[str], None]) -> int:
        """Move slots and their keys from one master to another, while clients go on.

        All slots are opened first, then the keys go, slot by slot, then the new owner is told to all: so a
        client meets each of the three states.

        Args:
            tell: called with what begins: ``opened``, ``keys moved``, ``handed over``.

        Returns:
            How many keys went.

        Raises:
            HelpersError: a node refused, or does not answer.
        """
        giving, taking, keys = node_id(source), node_id(target), 0
        # Many at once: each answer waits until the node has written its configuration to disk.
        target.ask_all([("CLUSTER SETSLOT", slot, "IMPORTING", giving) for slot in slots])
        source.ask_all([("CLUSTER SETSLOT", slot, "MIGRATING", taking) for slot in slots])
        tell("opened")
        where = (process.HOST, target.port, "", 0, MIGRATE_MS, "AUTH", urlsplit(target.url).password)
        for slot in slots:
            while batch := source.ask("CLUSTER GETKEYSINSLOT", slot, BATCH_KEYS):
                source.ask("MIGRATE", *where, "KEYS", *batch)
                keys += len(batch)
        tell("keys moved")
        others = [node for node in self.masters() if node not in (source, target)]
        for node in (target, source, *others):  # the new owner first: no moment without one
            node.ask_all([("CLUSTER SETSLOT", slot, "NODE", taking) for slot in slots])
        tell("handed over")
        return keys


def node_id(node: Node) -> str:
    """The name by which a cluster knows the node."""
    return str(node.ask("CLUSTER MYID"))


def _known(node: Node) -> dict[str, dict[str, Any]]:
    return {one["node_id"]: one for one in node.ask("CLUSTER NODES").values()}


def _until(done: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
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
    with _started("pair", 2, lambda number: lines) as (primary, replica):
        made = Pair(primary, replica)
        made.replicate()
        yield made


@contextmanager
def cluster(
    masters: int = 3, replicas: int = 0, *configuration: str, timeout_ms: int = 1000
) -> Iterator[Cluster]:
    """A throw-away Redis Cluster, made and whole; all of it goes at the end.

    Args:
        masters: how many nodes share the slots, in equal parts.
        replicas: how many replicas each master has.
        configuration: lines of redis.conf for all.
        timeout_ms: ``cluster-node-timeout``, after which a silent node counts as failed.

    Raises:
        HelpersError: Redis cannot run here, or the nodes do not form a cluster.
    """
    lines = (
        "cluster-enabled yes",
        f"cluster-node-timeout {timeout_ms}",
        "repl-diskless-sync-delay 0",
        *configuration,
    )
    whole = masters * (1 + replicas)
    with _started("cluster", whole, lambda number: (*lines, f"cluster-port {process.free_port()}")) as nodes:
        made = Cluster(nodes, masters)
        made.form()
        yield made


def _bus(node: Node) -> int:
    return int(node.ask("CONFIG", "GET", "cluster-port")["cluster-port"])


@contextmanager
def _started(name: str, number: int, configuration: Callable[[int], Sequence[str]]) -> Iterator[list[Node]]:
    """So many nodes with one password in one folder, started at once."""
    reason = server.missing()
    if reason:
        raise HelpersError(f"redis: cannot be started here: {reason}")
    folder = Path(tempfile.mkdtemp(prefix=f"scratch-redis-{name}-", dir=settings.home()))
    nodes: list[Node] = []
    try:
        secret = process.password(folder)
        nodes += [Node(folder / str(i), secret, *configuration(i)) for i in range(number)]
        with ThreadPoolExecutor(number) as pool:
            list(pool.map(Node.start, nodes))
        yield nodes
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
