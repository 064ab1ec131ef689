"""Cassandra with three nodes: clients write on, at ONE and at QUORUM, while nodes join, die and come back.

The third node joins under the writers. Then nodes are killed one after the other until the first is alone;
then they are started again, the first killed first. What a node missed is read from that node alone, at ONE,
which contacts no other and repairs nothing: what is there has been handed over. Then all is read at ALL.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Any

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import ConstantReconnectionPolicy
from cassandra.query import SimpleStatement

from helpers import settings
from helpers.errors import HelpersError, brief, first_line
from helpers.results import NOT_MEASURED
from helpers.scaling.nodes_schemas import SHIPPED
from helpers.scaling.writes import (
    Failed,
    Scene,
    between,
    case,
    failover,
    in_one_line,
    outage_in_s,
)
from helpers.servers import cassandra_nodes, connections

KEYSPACE = "nodes"
LEVELS = {"ONE": ConsistencyLevel.ONE, "QUORUM": ConsistencyLevel.QUORUM}
SHOWN = "QUORUM"
"""The consistency level whose counts and timeline stand for the whole."""
ERRORS = (DriverException, NoHostAvailable, ConnectionException, OSError)
PROMOTED_BY = "nobody: the replicas that are left answer"
PATIENCE_S = 3.0
"""How long the client waits for an answer: longer than the server's own 2 s for a write."""
RECONNECT_S = 0.5
QUIET_S = 15.0
"""Nothing more is handed over when nothing came for so long: nodes begin to every 10 s."""
HANDED_OVER_S = 60
REFUSED_S = 60
ENOUGH = 20
"""Acknowledged writes after which what happened counts as over."""
POLL_S = 0.5


@dataclass(frozen=True)
class RingDesign:
    """How many nodes, how long undisturbed writing lasts, writes a second of each client, how sure a node
    must be that another is dead (Cassandra's own default: 8), and how often one dies while a quorum is left.
    """

    nodes: int
    steady_s: float
    per_s: float
    phi: int = 8
    kills: int = 1


DESIGNS = {"small": RingDesign(2, 1, 50, phi=5), "full": RingDesign(3, 3, 50, kills=3)}
STEPS = {profile: 3 * design.nodes + design.kills - 2 for profile, design in DESIGNS.items()}
"""How often ``measure`` calls ``step``."""


def measure(profile: str, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure a throw-away ring.

    Args:
        profile: ``full``, or ``small`` (two nodes, and shorter).
        step: called with what begins, ``STEPS`` times.

    Returns:
        A part of the result ``nodes``; in it ``tiers``: for each consistency level its counts over the whole
        time, with ``errors`` by kind; ``found``: ``cases`` (a list: the same counts of each level between two
        events), ``ownership`` (a list: share of the tokens per node, with one node, with two, ...),
        ``join_s`` (of each node that joined) and ``rss_mb`` (of each node), ``returned`` (a list of nodes
        that came back: ``node``, ``away_s``, ``back_s``, ``acknowledged_while_away``, acknowledged writes
        ``missed`` at the first look after that, ``handed_over_s`` from its return until the last of them was
        seen to come, ``still_missed`` in the end, and ``missed_later``: acknowledged after its return and
        lacking too), ``lacking`` (acknowledged writes that each node lacks by itself, before and after a read
        of all rows at ALL, which repairs what it finds), ``refused_after_s`` (from the kill that leaves no
        quorum to the first Unavailable, None where none came), ``latency_ms`` per level (median and max)
        while nothing happened.
        Or {"not measured": reason} where such a ring cannot run.

    Raises:
        HelpersError: no such profile, or a node did not come up, or did not come back.
    """
    design = settings.of_profile(DESIGNS, profile)
    if reason := cassandra_nodes.missing(design.nodes):
        return {NOT_MEASURED: reason}
    step("the first node starts")
    with (
        cassandra_nodes.ring(design.nodes, phi_convict_threshold=design.phi) as ring,
        in_one_line("cassandra: the ring", ERRORS, lambda error: brief(first_line(error))),
    ):
        return _Measurement(ring, design, step).run()


class _Measurement:
    def __init__(self, ring: cassandra_nodes.Ring, design: RingDesign, step: Callable[[str], None]) -> None:
        self._ring, self._design, self._step = ring, design, step
        self._scene = Scene(SHOWN, design.steady_s)
        self._found: dict[str, Any] = {"join_s": [], "ownership": [], "returned": [], "refused_after_s": None}
        self._killed: dict[int, float] = {}
        self._missed: dict[int, set[tuple[str, int]]] = {}
        self._all_back_s: float | None = None
        self._over = Event()
        self._steady_to = 0.0

    @property
    def _quorum(self) -> int:
        return self._design.nodes // 2 + 1

    def run(self) -> dict[str, Any]:
        first, *later = self._ring.nodes
        self._found["ownership"].append(cassandra_nodes.ownership(self._ring.tokens()))
        self._make_table(first)
        for node in later[: self._quorum - 1]:
            self._join(node)
        session = self._client()
        try:
            writes = {level: self._write(session, level) for level in LEVELS}
            with self._scene.writing(writes, self._design.per_s):
                self._scene.pass_time()
                self._steady_to = self._scene.now_s()
                for node in later[self._quorum - 1 :]:
                    self._join(node)
                    self._scene.pass_time()
                self._found["rss_mb"] = [node.rss_mb() for node in self._ring.nodes]
                for node in reversed(later):
                    self._kill(node)
                self._come_back(later[::-1])
            found = self._result()
            if self._design.nodes > self._quorum:
                killed = f"node {self._design.nodes} killed"
                outages = [one[SHOWN]["outage_s"] for one in found["found"]["cases"] if one["from"] == killed]
                outages += self._killed_again(later[-1], writes[SHOWN])
                found["failover"] = [failover(SHIPPED, None, PROMOTED_BY, outages)]
        finally:
            session.cluster.shutdown()
        return found

    def _killed_again(self, node: cassandra_nodes.Node, write: Callable[[int], None]) -> list[float]:
        """Kill one of three nodes again and again; of each time, the longest without an acknowledgement."""
        scene = Scene(SHOWN, self._design.steady_s)
        with scene.writing({SHOWN: write}, self._design.per_s):
            for number in range(1, self._design.kills):
                self._step(f"node {self._number(node)} is killed again ({number})")
                with scene.window("killed"):
                    node.kill()
                    scene.wait_for(ENOUGH)
                    scene.pass_time()
                node.start()
        return [outage_in_s(scene.writes[SHOWN], *window) for window in scene.windows.get("killed", [])]

    def _client(self) -> Session:
        """A session that knows all nodes, tries each write once, and comes back to a node soon."""
        session = connections.cassandra(
            self._ring.nodes[0].url,
            **connections.cassandra_once(PATIENCE_S),
            reconnection_policy=ConstantReconnectionPolicy(RECONNECT_S, None),
        )
        session.set_keyspace(KEYSPACE)
        return session

    def _make_table(self, first: cassandra_nodes.Node) -> None:
        with first.session() as session:
            session.execute(
                f"CREATE KEYSPACE {KEYSPACE} WITH replication = "
                f"{{'class': 'SimpleStrategy', 'replication_factor': {self._design.nodes}}}"
            )
            session.execute(
                f"CREATE TABLE {KEYSPACE}.writes (level text, number int, PRIMARY KEY ((level, number)))"
            )

    def _write(self, session: Session, level: str) -> Callable[[int], None]:
        statement = session.prepare("INSERT INTO writes (level, number) VALUES (?, ?)")
        statement.consistency_level = LEVELS[level]

        def write(number: int) -> None:
            try:
                session.execute(statement, (level, number))
            except NoHostAvailable as error:
                causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
                raise Failed(causes[-1] if causes else error, "NoHostAvailable") from error
            except ERRORS as error:
                raise Failed(error) from error

        return write

    def _number(self, node: cassandra_nodes.Node) -> int:
        return self._ring.nodes.index(node) + 1

    def _join(self, node: cassandra_nodes.Node) -> None:
        number = self._number(node)
        self._step(f"node {number} joins")
        self._scene.event(f"node {number} starts")
        began = time.monotonic()
        node.start()
        self._found["join_s"].append(time.monotonic() - began)
        self._scene.event(f"node {number} joined")
        self._found["ownership"].append(cassandra_nodes.ownership(self._whole_ring(number)))

    def _whole_ring(self, nodes: int) -> dict[str, list[int]]:
        """The tokens, once the first node knows of so many nodes."""
        deadline = time.monotonic() + 30
        while len(tokens := self._ring.tokens()) < nodes or not all(tokens.values()):
            if time.monotonic() > deadline:
                raise HelpersError(f"cassandra: the first node knows of {len(tokens)} nodes, not of {nodes}")
            time.sleep(POLL_S)
        return tokens

    def _kill(self, node: cassandra_nodes.Node) -> None:
        number, left = self._number(node), self._number(node) - 1
        self._step(f"node {number} is killed")
        began = self._killed[number] = self._scene.now_s()
        self._scene.event(f"node {number} killed")
        node.kill()
        if left == self._quorum - 1:
            self._found["refused_after_s"] = self._refused(began)
        self._scene.pass_time()
        self._scene.writers["ONE"].wait_for(5)

    def _refused(self, began: float) -> float | None:
        """Seconds until the servers know that too few are left, and refuse at once."""
        deadline = time.monotonic() + REFUSED_S
        while time.monotonic() < deadline:
            for write in between(self._scene.writes["QUORUM"], began, float("inf")):
                if write.error.startswith("Unavailable"):
                    return write.ended_s - began
            time.sleep(0.05)
        return None

    def _return(self, node: cassandra_nodes.Node) -> None:
        """Start a node again, and see what it missed of the writes acknowledged before."""
        number = self._number(node)
        self._step(f"node {number} comes back")
        self._scene.event(f"node {number} started again")
        node.start()
        back = self._scene.now_s()
        self._scene.event(f"node {number} is back")
        missed = self._acknowledged(back) - self._held(node, "ONE")
        self._missed[number] = missed
        self._found["returned"].append(
            {
                "node": number,
                "away_s": back - self._killed[number],
                "back_s": back,
                "acknowledged_while_away": sum(
                    write.acknowledged and write.sent_s >= self._killed[number] and write.ended_s < back
                    for writes in self._scene.writes.values()
                    for write in list(writes)
                ),
                "missed": len(missed),
                "handed_over_s": 0.0,
                "still_missed": len(missed),
            }
        )
        self._scene.wait_for(5)

    def _watch(self) -> None:
        """Note how what was missed comes to the nodes that came back, until all is there or no more comes."""
        changed = self._scene.now_s()
        while not self._over.wait(POLL_S):
            for record in list(self._found["returned"]):
                number = record["node"]
                missed = self._missed[number]
                left = missed - self._held(self._ring.nodes[number - 1], "ONE") if missed else missed
                if len(left) < len(missed):
                    changed = self._scene.now_s()
                    record["handed_over_s"] = changed - record["back_s"]
                    record["still_missed"] = len(left)
                    self._missed[number] = left
                    if not left:
                        self._scene.event(f"node {number} holds what it missed")
            if self._all_back_s is not None:
                quiet_s = self._scene.now_s() - max(changed, self._all_back_s)
                if not any(self._missed.values()) or quiet_s > QUIET_S:
                    return

    def _come_back(self, nodes: Sequence[cassandra_nodes.Node]) -> None:
        """Start the nodes again, and wait until what they missed was handed over."""
        with ThreadPoolExecutor(1) as pool:
            watch = pool.submit(self._watch)
            try:
                for node in nodes:
                    self._return(node)
                self._all_back_s = self._scene.now_s()
                self._step("what was missed is handed over")
                wait([watch], HANDED_OVER_S)  # should rows still come then, what came so far is told
            finally:
                self._over.set()
        watch.result()

    def _held(self, node: cassandra_nodes.Node, level: str) -> set[tuple[str, int]]:
        """What can be read through a node at a consistency level."""
        consistency = ConsistencyLevel.name_to_value[level]
        query = SimpleStatement(f"SELECT level, number FROM {KEYSPACE}.writes", consistency_level=consistency)
        with node.session() as session:
            return {(level, number) for level, number in session.execute(query)}

    def _lacking(self) -> list[set[tuple[str, int]]]:
        """Which acknowledged writes each node lacks by itself."""
        wanted = self._acknowledged()
        return [wanted - self._held(node, "ONE") for node in self._ring.nodes]

    def _acknowledged(self, before_s: float = float("inf")) -> set[tuple[str, int]]:
        """The writes that were acknowledged before a moment."""
        return {
            (level, write.number)
            for level, writes in self._scene.writes.items()
            for write in list(writes)
            if write.acknowledged and write.ended_s < before_s
        }

    def _result(self) -> dict[str, Any]:
        before = self._lacking()
        for record in self._found["returned"]:
            lacks = before[record["node"] - 1]
            record["still_missed"] = len(self._missed[record["node"]] & lacks)
            record["missed_later"] = len(lacks - self._acknowledged(record["back_s"]))
        held = self._held(self._ring.nodes[0], "ALL")
        lacking = {
            "before_reading_at_all": [len(writes) for writes in before],
            "after_reading_at_all": [len(writes) for writes in self._lacking()],
        }
        writes, events = self._scene.writes, self._scene.events
        kept = {level: {number for of, number in held if of == level} for level in LEVELS}
        ends = [second for second, _ in events[1:]] + [writes[SHOWN][-1].ended_s]
        return {
            "nodes": self._design.nodes,
            "version": self._ring.version,
            **self._scene.common(kept[SHOWN], self._settings()),
            "tiers": self._scene.tiers(kept),
            "failover": [],
            "second_node": self._scene.times_as_long("QUORUM", "ONE", self._steady_to),
            "found": {
                **self._found,
                "cases": [
                    {"from": what}
                    | {level: case(writes[level], [(second, end)], kept[level]) for level in LEVELS}
                    for (second, what), end in zip(events, ends, strict=True)
                ],
                "lacking": lacking,
                "latency_ms": self._scene.latency_ms(self._steady_to),
            },
        }

    def _settings(self) -> dict[str, str]:
        """As the first node states them, and the driver's own."""
        with self._ring.nodes[0].session() as session:
            stated = dict(session.execute("SELECT name, value FROM system_views.settings"))
        names = (
            "num_tokens",
            "endpoint_snitch",
            "commitlog_sync",
            "hinted_handoff_enabled",
            "hints_flush_period",
            "write_request_timeout",
            "phi_convict_threshold",
            "auth_read_consistency_level",
        )
        return {
            "replication factor": str(self._design.nodes),
            **{name: str(stated[name]) for name in names if name in stated},
            "heap of each node": f"{cassandra_nodes.HEAP_MB} MB",
            "options of Java": " ".join(cassandra_nodes.JAVA),
            "ring delay": f"{cassandra_nodes.RING_DELAY_MS} ms",
            "retries": "off (driver)",
            "request timeout": f"{PATIENCE_S:.0f} s (driver)",
            "reconnection after": f"{RECONNECT_S} s (driver)",
            "writes a second": f"at most {self._design.per_s:.0f} a client, one client a consistency level",
        }
