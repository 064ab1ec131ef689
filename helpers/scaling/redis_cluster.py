"""Redis Cluster: a client writes on while slots move to another master, and while masters are killed.

The replica of a killed master takes its place by itself, after an election among the masters.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis as redis_py
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.results import NOT_MEASURED
from helpers.scaling.account import Failed, case, counts, thinned, timeline, whole
from helpers.scaling.cross_slots import order_transactions
from helpers.scaling.redis_replica import over
from helpers.servers import Write, Writer, lost, redis as server, redis_cluster, redis_nodes

MASTERS, REPLICAS = 3, 1
TIMEOUT_MS = 500
WHOLE, PARTS = "full coverage required", "full coverage not required"
TIERS = {WHOLE: "yes", PARTS: "no"}
"""The two values of ``cluster-require-full-coverage``; the first is the default."""
MOVED, KILLED = "slots moved", "master killed"
WRITES_PER_S = 300.0
POLL_S = 0.01
AGAIN = 30
BATCH_KEYS = 1000
CAUGHT = (redis_py.RedisError, RedisClusterException, OSError)
REDIRECTIONS = ("MOVED", "ASK", "TRYAGAIN")


@dataclass(frozen=True)
class Design:
    """Keys there before, slots that move, kills in each tier, undisturbed seconds, and the tiers."""

    keys: int
    slots: int
    kills: int
    steady_s: float
    tiers: tuple[str, ...]


DESIGNS = {
    "quick": Design(5_000, 1_000, 1, 0.2, (WHOLE,)),
    "full": Design(50_000, 2_000, 5, 1.0, (WHOLE, PARTS)),
}
STEPS = {profile: 3 + design.kills * len(design.tiers) for profile, design in DESIGNS.items()}
"""How often ``measure`` calls ``step``."""


def measure(profile: str, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure a throw-away cluster of three masters with a replica each.

    Args:
        profile: ``quick`` or ``full`` (more keys and kills, and without full coverage required).
        step: called with what begins, ``STEPS`` times.

    Returns:
        ``nodes``, ``version``; ``writes``, ``acknowledged``, ``lost``, ``unasked``, ``outage_s`` and
        ``timeline`` ([second sent, milliseconds, 1 or 0]) of the writer, with ``events`` ([second, what]);
        ``settings``; ``tiers``: the counts while masters were killed, with ``errors`` by kind, for each value
        of ``cluster-require-full-coverage``; ``found``: ``cases`` (the counts of ``slots moved`` and
        ``master killed``, by tier), ``move`` (slots, keys, seconds, and how often the nodes answered MOVED,
        ASK and TRYAGAIN), ``lost_at`` (as the timeline, the lost writes), ``kills`` (for each: tier,
        ``took_over_s`` until the replica was master, ``outage_s`` of the keys of the killed master; of the
        other masters' keys the writes, ``others``, ``others_failed`` and ``others_outage_s``),
        ``keys_before`` and ``keys_before_lost``, ``order`` (as ``cross_slots.order_transactions`` gives it).
        Or {"not measured": reason} where Redis cannot run.

    Raises:
        HelpersError: no such profile, or the cluster did not form, or did not become whole again.
    """
    design = settings.of_profile(DESIGNS, profile)
    if reason := server.missing():
        return {NOT_MEASURED: reason}
    step("a cluster of three masters and three replicas forms")
    with redis_cluster.cluster(MASTERS, REPLICAS, timeout_ms=TIMEOUT_MS) as nodes:
        try:
            return _Measurement(nodes, design, step).run()
        except CAUGHT as error:
            raise HelpersError(f"redis: the cluster: {first_line(error)}") from error
        except TimeoutError as error:
            raise HelpersError(f"redis: the cluster: a write was {error}") from error


class _Measurement:
    def __init__(self, nodes: redis_cluster.Cluster, design: Design, step: Callable[[str], None]) -> None:
        self._cluster, self._design, self._step = nodes, design, step
        self._client = nodes.client()
        self._writer = Writer(self._write, (Failed,), per_s=WRITES_PER_S)
        self._events: list[list[Any]] = []
        self._windows: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self._kills: list[tuple[str, float, list[range], tuple[float, float]]] = []

    def run(self) -> dict[str, Any]:
        try:
            order = order_transactions(self._cluster, self._client)
            self._preload()
            with self._writer:
                self._writer.wait_for(AGAIN)
                self._step("slots move")
                with self._window(MOVED, WHOLE):
                    move = self._move()
                for tier in self._design.tiers:
                    for node in self._cluster.nodes:
                        node.ask("CONFIG", "SET", "cluster-require-full-coverage", TIERS[tier])
                    for number in range(self._design.kills):
                        self._step(f"{tier}: a master is killed ({number + 1})")
                        with self._window(KILLED, tier):
                            self._kill(tier, number)
            self._step("every key is read")
            return self._result(order, move)
        finally:
            self._client.close()

    def _write(self, number: int) -> None:
        try:
            self._client.set(_key(number), number)
        except CAUGHT as error:
            raise Failed(error, _kind(error)) from error

    def _event(self, what: str) -> None:
        self._events.append([round(self._writer.now_s(), 3), what])

    @contextmanager
    def _window(self, case: str, tier: str) -> Iterator[None]:
        began = self._writer.now_s()
        time.sleep(self._design.steady_s)  # an outage begins with an acknowledgement before it
        yield
        self._writer.wait_for(AGAIN)
        self._windows.setdefault((case, tier), []).append((began, self._writer.now_s()))

    def _preload(self) -> None:
        """Keys that are there before, each sent straight to its owner."""
        owned = {node: self._cluster.slots(node) for node in self._cluster.masters()}
        for node, ranges in owned.items():
            names = [name for name in map(_before, range(self._design.keys)) if _within(name, ranges)]
            node.ask_all([("SET", name, 1) for name in names])

    def _move(self) -> dict[str, Any]:
        source, target, *_ = self._cluster.masters()
        slots = range(self._cluster.slots(source)[0].start, self._cluster.slots(source)[0].stop)
        slots = slots[: self._design.slots]
        seen, began = self._redirections(), time.perf_counter()
        keys = self._cluster.move(slots, source, target, lambda what: self._event(f"slots {what}"))
        seconds = time.perf_counter() - began
        self._writer.wait_for(AGAIN)
        time.sleep(self._design.steady_s)
        now = self._redirections()
        return {"slots": len(slots), "keys": keys, "seconds": seconds} | {
            word: now[word] - seen[word] for word in REDIRECTIONS
        }

    def _redirections(self) -> dict[str, int]:
        """How often the nodes have answered with each redirection so far."""
        told = [node.ask("INFO", "errorstats") for node in self._cluster.nodes]
        return {
            word: sum(int(one.get(f"errorstat_{word}", {"count": 0})["count"]) for one in told)
            for word in REDIRECTIONS
        }

    def _kill(self, tier: str, number: int) -> None:
        masters = self._cluster.masters()
        victim = masters[(number + 1) % len(masters)]
        heir, slots = self._cluster.replica_of(victim), self._cluster.slots(victim)
        self._event("master killed")
        began, from_s = time.perf_counter(), self._writer.now_s()
        victim.kill()
        _wait_for_role(heir, "master")
        took = time.perf_counter() - began
        self._event("replica is master")
        self._writer.wait_for(AGAIN)
        victim.start()
        victim.ask("CONFIG", "SET", "cluster-require-full-coverage", TIERS[tier])
        self._cluster.settle()
        self._event("killed node is replica")
        self._kills.append((tier, took, slots, (from_s - self._design.steady_s, self._writer.now_s())))

    def _result(self, order: list[dict[str, Any]], move: dict[str, Any]) -> dict[str, Any]:
        writes = self._writer.writes
        kept = self._read([_key(number) for number in range(len(writes))])
        before = self._read([_before(number) for number in range(self._design.keys)])
        gone = set(lost(writes, kept))
        cases: dict[str, dict[str, Any]] = {}
        for (name, tier), windows in self._windows.items():
            cases.setdefault(name, {})[tier] = over(writes, windows, kept)
        return {
            "nodes": len(self._cluster.nodes),
            "version": self._cluster.nodes[0].version,
            **whole(counts(writes, kept)),
            "timeline": timeline(writes),
            "events": self._events,
            "settings": {"timeline": thinned(writes), **self._settings()},
            "tiers": cases[KILLED],
            "found": {
                "cases": cases,
                "move": move,
                "kills": [_told(writes, *kill) for kill in self._kills],
                "keys_before": self._design.keys,
                "keys_before_lost": self._design.keys - len(before),
                "lost_at": timeline([write for write in writes if write.number in gone]),
                "order": order,
            },
        }

    def _read(self, keys: Sequence[str]) -> set[int]:
        """Which of these keys the cluster gives back, by their place."""
        found: set[int] = set()
        for start in range(0, len(keys), BATCH_KEYS):
            values = self._client.mget_nonatomic(keys[start : start + BATCH_KEYS])
            found |= {start + place for place, value in enumerate(values) if value is not None}
        return found

    def _settings(self) -> dict[str, str]:
        """As a master states them, and the driver's own."""
        names = ("cluster-node-timeout", "cluster-replica-validity-factor", "appendonly", "appendfsync")
        told = self._cluster.masters()[0].ask("CONFIG", "GET", *names)
        return {name: str(told[name]) for name in names} | {
            "masters": str(MASTERS),
            "replicas of each": str(REPLICAS),
            "retries": "off (driver); MOVED and ASK are followed",
            "CLUSTERDOWN": "the driver waits 0.25 s before it says so",
            "writes a second": f"at most {WRITES_PER_S:.0f}, one client",
        }


def _told(
    writes: Sequence[Write], tier: str, took_s: float, slots: list[range], window: tuple[float, float]
) -> dict[str, Any]:
    """What a kill did to the keys of the killed master, and to the others."""
    mine = [write for write in writes if _within(_key(write.number), slots)]
    others = [write for write in writes if not _within(_key(write.number), slots)]
    of_others = case(others, *window, ())
    return {
        "tier": tier,
        "took_over_s": took_s,
        "outage_s": case(mine, *window, ())["outage_s"],
        "others": of_others["writes"],
        "others_failed": of_others["writes"] - of_others["acknowledged"],
        "others_outage_s": of_others["outage_s"],
    }


def _wait_for_role(node: redis_nodes.Node, role: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while node.ask("ROLE")[0] != role:
        if time.monotonic() > deadline:
            raise HelpersError(f"redis at {node.address}: did not become {role} within {timeout_s:.0f} s")
        time.sleep(POLL_S)


def _kind(error: BaseException) -> str:
    """The error's type: redis-py has one for each answer of a cluster."""
    return type(error).__name__


def _key(number: int) -> str:
    return f"nodes:written:{number}"


def _before(number: int) -> str:
    return f"nodes:before:{number}"


def _within(key: str, slots: Sequence[range]) -> bool:
    slot = key_slot(key.encode())
    return any(slot in owned for owned in slots)
