"""Redis with a primary and a replica: clients write on, the primary is killed, the replica is promoted.

Two cases: the replica keeps up when the primary dies; and the link between the two was cut some time before,
so that what the primary acknowledged meanwhile is nowhere else. No node decides by itself: the promotion is
a command, given as soon as the primary is dead, so an outage holds no time of noticing.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis as redis_py

from helpers import settings
from helpers.errors import first_line
from helpers.results import NOT_MEASURED
from helpers.scaling.nodes_schemas import COMMAND
from helpers.scaling.writes import (
    Failed,
    Scene,
    failover,
    gone,
    in_one_line,
    middle_and_most,
    outage_in_s,
    timeline,
)
from helpers.servers import link as servers_link, redis as server, redis_nodes

ALONE, COPIED, GUARDED = "no WAIT", "WAIT 1", "min-replicas-to-write 1"
PASSES = ((ALONE, COPIED), (GUARDED,))
"""Tiers that are measured at the same time; the last is a setting of the server, so it is alone."""
SHOWN = ALONE
"""The tier whose counts and timeline stand for the whole: what a client gets that asks for nothing."""
PROMOTED_BY = "a command, at once; by itself nobody, Sentinel would"
WAIT_MS = 200
MAX_LAG_S = 1
WRITES_PER_S = 200.0
SAMPLE_S = 0.05
ENOUGH = 20
"""Acknowledged writes after which a case counts as over."""
CAUGHT = (redis_py.RedisError, OSError)


@dataclass(frozen=True)
class ReplicaDesign:
    """How long undisturbed writing lasts, how long the link is cut, kills, and how many passes."""

    steady_s: float
    cut_s: float
    kills: int
    passes: int


DESIGNS = {"quick": ReplicaDesign(0.2, 0.4, 1, 1), "full": ReplicaDesign(1.5, 4, 5, 2)}
STEPS = {profile: 1 + design.passes * (design.kills + 1) for profile, design in DESIGNS.items()}
"""How often ``measure`` calls ``step``."""


def measure(profile: str, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure a throw-away primary with its replica.

    Args:
        profile: ``quick`` or ``full`` (more kills, and ``min-replicas-to-write``).
        step: called with what begins, ``STEPS`` times.

    Returns:
        A part of the result ``nodes``; in it ``tiers``: the counts of each writer, with ``errors`` by kind;
        ``found``: ``cases`` (the counts of each tier while the primary was ``killed`` and ``cut off``),
        ``outages_s`` (of each kill, for each tier), ``lost_at`` (as the timeline, the lost writes),
        ``only_on_old_primary`` (acknowledged numbers that only the killed primary still held when it was
        back, by case and tier), ``lag_bytes`` and ``latency_ms`` (median and max, while nothing happened),
        and ``refused_alone`` (what ``min-replicas-to-write`` answers without a replica).
        Or {"not measured": reason} where Redis cannot run.

    Raises:
        HelpersError: no such profile, or a node did not come up, or not back.
    """
    design = settings.of_profile(DESIGNS, profile)
    if reason := server.missing():
        return {NOT_MEASURED: reason}
    step("a primary and its replica start")
    with redis_nodes.pair() as nodes, in_one_line("redis: primary and replica", CAUGHT):
        passes = [_Pass(nodes, design, tiers) for tiers in PASSES[: design.passes]]
        for one in passes:
            one.run(step)
        return _result(nodes, passes, design)


class _Pass:
    """Writers of some tiers through all cases."""

    def __init__(self, nodes: redis_nodes.Pair, design: ReplicaDesign, tiers: Sequence[str]) -> None:
        self._pair, self._design, self._tiers = nodes, design, tiers
        self._clients: dict[str, redis_py.Redis] = {}
        self.scene = Scene(tiers[0], design.steady_s)
        self.lags: list[int] = []
        self.steady_to = 0.0
        self.kept: dict[str, set[int]] = {}
        self.only_old: dict[str, dict[str, set[int]]] = {}

    def run(self, step: Callable[[str], None]) -> None:
        scene, writes = self.scene, {tier: self._write(tier) for tier in self._tiers}
        with self._guarded(), contextlib.ExitStack() as stack:
            self._switch()
            stack.callback(self._forget)
            stack.enter_context(scene.writing(writes, WRITES_PER_S))
            self._sample()
            for number in range(self._design.kills):
                step(f"{self._tiers[0]}: the primary is killed ({number + 1})")
                with scene.window("killed"):
                    self._fail_over("killed")
            step(f"{self._tiers[0]}: the link is cut, then the primary is killed")
            with scene.window("cut off"), servers_link.link(self._pair.primary.port) as wire:
                scene.event("replica behind a link")
                self._pair.replicate(wire.port)
                scene.wait_for(ENOUGH)
                scene.event("link cut")
                wire.cut()
                time.sleep(self._design.cut_s)
                self._fail_over("cut off")
        self.kept = {tier: self._held(self._pair.primary, tier) for tier in self._tiers}

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Have the servers ask for a replica, if a tier is that, and put it back."""
        wanted = GUARDED in self._tiers
        for node in self._pair.nodes:
            node.ask("CONFIG", "SET", "min-replicas-to-write", int(wanted), "min-replicas-max-lag", MAX_LAG_S)
        yield
        for node in self._pair.nodes:
            node.ask("CONFIG", "SET", "min-replicas-to-write", 0)

    def _write(self, tier: str) -> Callable[[int], None]:
        def write(number: int) -> None:
            try:
                if tier != COPIED:
                    self._clients[tier].sadd(_key(tier), number)
                    return
                with self._clients[tier].pipeline(transaction=False) as pipe:  # WAIT is of its connection
                    pipe.sadd(_key(tier), number)
                    pipe.execute_command("WAIT", 1, WAIT_MS)
                    copies = pipe.execute()[1]
            except CAUGHT as error:
                raise Failed(error, _kind(error)) from error
            if not copies:
                raise Failed(TimeoutError(f"no replica had it within {WAIT_MS} ms"), "WAIT")

        return write

    def _switch(self) -> None:
        """Point every writer to what is the primary now."""
        before = list(self._clients.values())
        for tier in self._tiers:
            self._clients[tier] = self._pair.primary.client()
        for client in before:
            client.close()

    def _forget(self) -> None:
        for client in self._clients.values():
            client.close()

    def _sample(self) -> None:
        """Bytes by which the replica is behind: asked of it first, so nothing is told too small."""
        end = time.monotonic() + self._design.steady_s
        while time.monotonic() < end:
            behind = self._pair.replica.ask("INFO", "replication")["slave_repl_offset"]
            self.lags.append(self._pair.primary.ask("INFO", "replication")["master_repl_offset"] - behind)
            time.sleep(SAMPLE_S)
        self.steady_to = self.scene.now_s()

    def _fail_over(self, case: str) -> None:
        old = self._pair.primary
        self.scene.event("primary killed")
        old.kill()
        self._pair.promote()
        self._switch()
        self.scene.event("replica promoted")
        if ALONE in self._tiers:
            self.scene.writers[ALONE].wait_for(ENOUGH)
        old.start()
        found = self.only_old.setdefault(case, {tier: set() for tier in self._tiers})
        for tier in self._tiers:
            found[tier] |= self._held(old, tier) - self._held(self._pair.primary, tier)
        if GUARDED in self._tiers:  # a setting that a start has forgotten
            old.ask("CONFIG", "SET", "min-replicas-to-write", 1, "min-replicas-max-lag", MAX_LAG_S)
        self._pair.replicate()
        self.scene.event("old primary is the replica")
        self.scene.wait_for(ENOUGH)

    @staticmethod
    def _held(node: Any, tier: str) -> set[int]:
        return {int(number) for number in node.ask("SMEMBERS", _key(tier))}


def _result(nodes: redis_nodes.Pair, passes: Sequence[_Pass], design: ReplicaDesign) -> dict[str, Any]:
    tiers: dict[str, Any] = {}
    cases: dict[str, dict[str, Any]] = {}
    outages: dict[str, list[float]] = {}
    old: dict[str, dict[str, int]] = {}
    for one in passes:
        scene = one.scene
        tiers |= scene.tiers(one.kept)
        for case, counts in scene.cases(one.kept).items():
            cases.setdefault(case, {}).update(counts)
        for tier, writes in scene.writes.items():
            acknowledged = {write.number for write in writes if write.acknowledged}
            outages[tier] = [outage_in_s(writes, *window) for window in scene.windows["killed"]]
            for case, numbers in one.only_old.items():
                old.setdefault(case, {})[tier] = len(numbers[tier] & acknowledged)
    first = passes[0]
    writes, kept = first.scene.writes[SHOWN], first.kept[SHOWN]
    return {
        "nodes": len(nodes.nodes),
        "version": nodes.primary.version,
        **first.scene.common(kept, _settings(nodes)),
        "tiers": tiers,
        "failover": [failover(COMMAND, None, PROMOTED_BY, outages[SHOWN])],
        "second_node": first.scene.times_as_long(COPIED, ALONE, first.steady_to),
        "found": {
            "cases": cases,
            "outages_s": outages,
            "lost_at": timeline(gone(writes, kept)),
            "only_on_old_primary": old,
            "lag_bytes": middle_and_most(first.lags),
            "latency_ms": first.scene.latency_ms(first.steady_to, failed=False),
            "cut_s": design.cut_s,
            "refused_alone": _refused_alone(nodes),
        },
    }


def _refused_alone(nodes: redis_nodes.Pair) -> str:
    """What a primary that wants a replica answers to a write when its replica is dead; empty if nothing."""
    nodes.primary.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    nodes.replica.kill()
    try:
        with contextlib.closing(nodes.primary.client()) as client:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:  # it notices the closed connection in a moment
                client.sadd("nodes:refused", 1)
                time.sleep(SAMPLE_S)
    except redis_py.ResponseError as error:
        return first_line(error)
    finally:
        nodes.primary.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    return ""


def _settings(nodes: redis_nodes.Pair) -> dict[str, str]:
    """As the primary states them, and the driver's own."""
    names = ("appendonly", "appendfsync", "repl-timeout", "repl-diskless-sync", "repl-backlog-size")
    told = nodes.primary.ask("CONFIG", "GET", *names)
    return {name: str(told[name]) for name in names} | {
        "min-replicas-max-lag": f"{MAX_LAG_S} s, in the tier {GUARDED}",
        "WAIT": f"at most {WAIT_MS} ms, in the tier {COPIED}",
        "promotion": "REPLICAOF NO ONE, as soon as the primary is dead",
        "retries": "off (driver)",
        "writes a second": f"at most {WRITES_PER_S:.0f} a client",
    }


def _key(tier: str) -> str:
    return f"nodes:written:{tier.replace(' ', '-')}"


def _kind(error: BaseException) -> str:
    """The error's type, or the code with which the server's answer begins."""
    code = getattr(error, "status_code", None)
    word = str(error).split(" ")[0]
    return str(code or (word if word.isupper() else type(error).__name__))
