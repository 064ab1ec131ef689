"""A throw-away ring of Cassandra nodes on 127.0.0.1, 127.0.0.2 and so on, to kill and start again."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
from cassandra.cluster import Session

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import cassandra as server, connections, process

ADDRESS = "127.0.0.{}"
HEAP_MB = 512
NEEDED_MB = 1100
"""Memory that a node takes at most: its heap, and what Java keeps beside it."""
JAVA = ("-XX:TieredStopAtLevel=1",)
"""No long compilation: nodes that live for minutes would take each other's processor time for it."""
TOKENS = 4
RING_DELAY_MS = 3000
"""How long a joining node waits for the others to know of it; 30 s unless set."""
START_S = 240
ANSWER_S = 30
POLL_S = 0.2
RANGE = 2**64
CONFIGURATION: dict[str, object] = {
    "num_tokens": TOKENS,
    # Compares addresses: a coordinator that holds a row reads its own, and no other's when one is enough.
    "endpoint_snitch": "RackInferringSnitch",
    "dynamic_snitch": False,
    # A node that is left alone can still look up who may log in, and the first can make tables.
    "auth_read_consistency_level": "LOCAL_ONE",
    "auth_write_consistency_level": "LOCAL_ONE",
    "hints_flush_period": "1000ms",
}


class Node:
    """One node of a ring: ``address``, ``port``, ``folder`` and ``url``."""

    def __init__(
        self, number: int, folder: Path, port: int, storage_port: int, more: Mapping[str, object]
    ) -> None:
        password = process.password(folder.parent)
        self.address = ADDRESS.format(number)
        self.port = port
        self.folder = folder
        self.url = f"cassandra://{server.USER}:{password}@{self.address}:{port}"
        self._password = password
        folder.mkdir(mode=0o700)
        seeds = [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{ADDRESS.format(1)}:{storage_port}"}],
            }
        ]
        own = {
            "listen_address": self.address,
            "rpc_address": self.address,
            "storage_port": storage_port,
            "seed_provider": seeds,
        }
        server.prepare(folder, port, password, more={**CONFIGURATION, **more, **own})

    def start(self) -> str:
        """Start it on its data, wait until it answers, and return its version.

        Raises:
            HelpersError: it ended, or did not answer in time.
        """
        # A new node asks the others for the ring before it joins: they must have heard of it by then.
        more = {"cassandra.ring_delay_ms": str(RING_DELAY_MS)}
        java, *words = server.command(self.folder, heap_mb=HEAP_MB, more=more)
        record = process.start([java, *JAVA, *words], self.folder, self.port, variables=server.variables())
        name, deadline, refusal = f"cassandra {self.address}:{self.port}", time.monotonic() + START_S, ""
        while time.monotonic() < deadline:
            if not record.alive():
                raise HelpersError(
                    f"{name}: the server ended while starting: {process.last_words(self.folder)}"
                )
            if process.listening(self.port, self.address):
                try:
                    return server.version(self.url)
                except HelpersError as error:
                    refusal = str(error)
                    if self.address == ADDRESS.format(1):
                        with suppress(HelpersError):
                            server.finish(self.port, self._password)
            time.sleep(POLL_S)
        raise HelpersError(
            f"{name}: no answer within {START_S} s ({refusal}): {process.last_words(self.folder)}"
        )

    def session(self) -> AbstractContextManager[Session]:
        """A session that asks this node alone, as a context manager.

        Raises:
            HelpersError: it does not answer.
        """
        return connections.cassandra_session(
            self.url, **connections.cassandra_once(ANSWER_S, alone=self.address)
        )

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        process.kill(self.folder)

    def rss_mb(self) -> float | None:
        """Resident memory of its process; None when it does not run."""
        found = process.running(self.folder)
        return float(psutil.Process(found.pid).memory_info().rss) / 1e6 if found else None


class Ring:
    """Nodes of which ``start`` starts the first; the others join as they are started."""

    def __init__(self, folder: Path, nodes: int, more: Mapping[str, object]) -> None:
        addresses = [ADDRESS.format(number) for number in range(1, nodes + 1)]
        port, storage_port = _free_port(addresses), _free_port(addresses)
        self.folder = folder
        self.nodes = [
            Node(number, folder / str(number), port, storage_port, more) for number in range(1, nodes + 1)
        ]
        self.version = ""

    def start(self) -> None:
        """Start the first node, and have its roles kept on every node that will join."""
        self.version = self.nodes[0].start()
        with connections.cassandra_session(self.nodes[0].url) as session:
            session.execute(
                "ALTER KEYSPACE system_auth WITH replication = "
                f"{{'class': 'SimpleStrategy', 'replication_factor': {len(self.nodes)}}}"
            )

    def tokens(self) -> dict[str, list[int]]:
        """The tokens of each node that joined, as the first node knows them.

        Raises:
            HelpersError: the first node does not answer.
        """
        with self.nodes[0].session() as session:
            own = session.execute("SELECT listen_address, tokens FROM system.local").one()
            others = session.execute("SELECT peer, tokens FROM system.peers_v2")
            return {
                str(address): sorted(int(token) for token in tokens or ())
                for address, tokens in [own, *others]
            }

    def stop(self) -> None:
        """Kill all nodes."""
        for node in self.nodes:
            node.kill()


def ownership(tokens: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """The share of the range of tokens of which each node is the first replica.

    A node owns what lies after the token before its own, up to and with its own, around the ring.
    """
    placed = sorted((token, node) for node, held in tokens.items() for token in held)
    owned = dict.fromkeys(tokens, 0)
    for index, (token, node) in enumerate(placed):
        before = placed[index - 1][0]
        owned[node] += (token - before) % RANGE or RANGE
    return {node: part / RANGE for node, part in owned.items()}


def missing(nodes: int = 3) -> str | None:
    """Why a ring of so many nodes cannot run here, or None."""
    reason = server.missing()
    if reason:
        return reason
    for number in range(2, nodes + 1):
        with socket.socket() as probe:
            try:
                probe.bind((ADDRESS.format(number), 0))
            except OSError:
                return f"{ADDRESS.format(number)} is no address of this machine (it is on Linux)"
    free_mb = psutil.virtual_memory().available / 1e6
    if free_mb < nodes * NEEDED_MB:
        return f"{nodes} nodes need {nodes * NEEDED_MB} MB of memory, {free_mb:.0f} MB are free"
    return None


def _free_port(addresses: Sequence[str]) -> int:
    """A port that is free on all of the addresses."""
    for _ in range(100):
        port = process.free_port()
        if all(_is_free(address, port) for address in addresses):
            return port
    raise HelpersError(
        f"no port is free on all of {', '.join(addresses)}; stop programs that hold many ports"
    )


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


@contextmanager
def ring(nodes: int = 3, **configuration: object) -> Iterator[Ring]:
    """A throw-away ring whose first node runs; all of it goes at the end.

    Args:
        nodes: how many it will have, and how many copies of its roles it keeps.
        configuration: settings of cassandra.yaml, which win over ``CONFIGURATION``.

    Raises:
        HelpersError: such a ring cannot run here, or the first node did not come up.
    """
    process.need("cassandra", missing(nodes))
    with process.throw_away("cassandra-ring", settings.home()) as folder:
        made = Ring(folder, nodes, configuration)
        try:
            made.start()
            yield made
        finally:
            made.stop()
