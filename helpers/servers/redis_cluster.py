"""A throw-away Redis Cluster: formed, asked who owns what, and its slots moved."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from redis.cluster import ClusterNode, RedisCluster

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import process, redis
from helpers.servers.redis_nodes import PLAIN, Node, started, until

SLOTS = 16384
"""Hash slots of every Redis Cluster."""
MIGRATE_MS = 5000
BATCH_KEYS = 100


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
        until(
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
        until(lambda: all(self._settled(node) for node in self.nodes), "redis: the cluster is whole")

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


def settings_of(timeout_ms: int, bus_port: int) -> tuple[str, ...]:
    """Lines of redis.conf that make a server the node of a cluster.

    Args:
        timeout_ms: milliseconds of silence after which it takes another node for failed.
        bus_port: where the other nodes reach it.
    """
    return (
        "cluster-enabled yes",
        f"cluster-node-timeout {timeout_ms}",
        f"cluster-port {bus_port}",
        "repl-diskless-sync-delay 0",
    )


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

    def lines(number: int) -> tuple[str, ...]:
        return (*settings_of(timeout_ms, process.free_port()), *configuration)

    with started("cluster", masters * (1 + replicas), lines) as nodes:
        made = Cluster(nodes, masters)
        made.form()
        yield made


def _bus(node: Node) -> int:
    return int(node.ask("CONFIG", "GET", "cluster-port")["cluster-port"])


NAME = "redis-cluster"
MASTERS, NODES = 3, 6
TIMEOUT_MS = 5000
"""``cluster-node-timeout``: a silent master is replaced a moment later."""
LOCK_S = 120
PORTS, READY = "ports.json", "ready"


def exists() -> bool:
    """Whether there is one in this state folder, running or not."""
    return (_folder() / READY).exists()


def running_url() -> str | None:
    """The URL of a node that runs; None when none does."""
    if not exists():
        return None
    return next((node.url for node in _nodes(_folder()) if node.running()), None)


def start() -> str:
    """Start the nodes that do not run, wait until the cluster is whole, and return the URL of one of them.

    Raises:
        HelpersError: Redis cannot run here, a port of its is taken, or the nodes do not form a cluster.
    """
    process.need(NAME, redis.missing())
    try:
        with FileLock(settings.home() / f"{NAME}.lock", timeout=LOCK_S, mode=0o600):
            return _start(_folder())
    except Timeout as error:
        raise HelpersError(
            f"{NAME}: another process has been starting it for over {LOCK_S} s; end that process, try again"
        ) from error


def stop(*, delete: bool = False) -> bool:
    """Stop the nodes, and delete their folder when asked; True when one was running."""
    folder = _folder()
    if not folder.exists():
        return False
    with FileLock(settings.home() / f"{NAME}.lock", timeout=LOCK_S, mode=0o600):
        was_running = _stop(folder, signal.SIGTERM)
        if delete:
            shutil.rmtree(folder, ignore_errors=True)
    return was_running


def version(url: str) -> str:
    """The version that a node answers."""
    return redis.version(url)


def _folder() -> Path:
    return settings.home() / NAME


def _start(folder: Path) -> str:
    fresh = not (folder / READY).exists()
    if fresh:  # its first start never came to an end: nobody has put data there
        _stop(folder, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        ports = [(process.free_port(), process.free_port()) for _ in range(NODES)]
        process.write_private(folder / PORTS, json.dumps(ports))
    nodes = _nodes(folder)
    idle = [node for node in nodes if not node.running()]
    for node in idle:
        if process.free_port(node.port) != node.port:
            raise HelpersError(
                f"{NAME}: another program holds its port {node.port}; end that, or begin with new data by "
                "`python -m helpers down --delete`"
            )
    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(Node.start, idle))
    made = Cluster(nodes, MASTERS)
    if fresh:
        made.form()
        (folder / READY).touch(mode=0o600)
    else:
        made.settle()
    return made.masters()[0].url


def _nodes(folder: Path) -> list[Node]:
    secret = process.password(folder)
    ports = json.loads((folder / PORTS).read_text(encoding="utf-8"))
    return [
        Node(folder / str(i), secret, *settings_of(TIMEOUT_MS, bus), port=port)
        for i, (port, bus) in enumerate(ports)
    ]


def _stop(folder: Path, how: signal.Signals) -> bool:
    found = [process.running(path.parent) for path in folder.glob(f"*/{process.SERVER}")]
    alive = [one for one in found if one is not None]
    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(lambda one: process.stop(one, how=how), alive))
    return bool(alive)
