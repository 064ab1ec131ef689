"""Redis Cluster: a client writes on while slots move to another master, and while masters are killed.

The replica of a killed master takes its place by itself, after an election among the masters. And the model's
order: a transaction whose keys lie in several hash slots.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import redis as redis_py
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.relational import redis_model
from helpers.results import NOT_MEASURED
from helpers.scaling.nodes_schemas import SET, SHIPPED
from helpers.scaling.writes import (
    DETECTION_S,
    Failed,
    Scene,
    case,
    failover,
    gone,
    in_one_line,
    outage_in_s,
    timeline,
)
from helpers.servers import Write, redis as server, redis_cluster, redis_nodes

MASTERS, REPLICAS = 3, 1
SET_MS, SHIPPED_MS = round(DETECTION_S * 1000), 15_000
"""``cluster-node-timeout`` as it is set for all, and as Redis ships it."""
WHOLE, PARTS = "full coverage required", "full coverage not required"
UNHURRIED = "full coverage required, detection as shipped"
TIERS = {WHOLE: ("yes", SET_MS), PARTS: ("no", SET_MS), UNHURRIED: ("yes", SHIPPED_MS)}
"""``cluster-require-full-coverage``, of which ``yes`` is the default, and ``cluster-node-timeout``."""
NODE_TIMEOUT = "cluster-node-timeout"
PROMOTED_BY = "the other masters, by vote"
MOVED, KILLED = "slots moved", "master killed"
WRITES_PER_S = 300.0
POLL_S = 0.01
ENOUGH = 30
"""Acknowledged writes after which what happened counts as over."""
BATCH_KEYS = 1000
CAUGHT = (redis_py.RedisError, RedisClusterException, OSError)
REDIRECTIONS = ("MOVED", "ASK", "TRYAGAIN")


@dataclass(frozen=True)
class ClusterDesign:
    """Keys there before, slots that move, undisturbed seconds, and how many kills in each tier."""

    keys: int
    slots: int
    steady_s: float
    kills: Mapping[str, int]


DESIGNS = {
    "quick": ClusterDesign(5_000, 1_000, 0.2, {WHOLE: 1}),
    "full": ClusterDesign(50_000, 2_000, 1.0, {WHOLE: 4, PARTS: 3, UNHURRIED: 2}),
}
STEPS = {profile: 3 + sum(design.kills.values()) for profile, design in DESIGNS.items()}
"""How often ``measure`` calls ``step``."""


def measure(profile: str, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure a throw-away cluster of three masters with a replica each.

    Args:
        profile: ``quick`` or ``full`` (more keys and kills, and without full coverage required).
        step: called with what begins, ``STEPS`` times.

    Returns:
        A part of the result ``nodes``; in it ``tiers``: the counts while masters were killed, with ``errors``
        by kind, for each of ``TIERS``; ``found``: ``cases`` (the counts of ``slots moved`` and ``master
        killed``, by tier), ``move`` (slots, keys, seconds, and how often the
        nodes answered MOVED, ASK and TRYAGAIN), ``lost_at`` (as the timeline, the lost writes), ``kills``
        (for each: tier, ``took_over_s`` until the replica was master, ``outage_s`` of the keys of the killed
        master; of the other masters' keys the writes, ``others``, ``others_failed`` and ``others_outage_s``),
        ``keys_before`` and ``keys_before_lost``, ``order`` (as ``order_transactions`` gives it).
        Or {"not measured": reason} where Redis cannot run.

    Raises:
        HelpersError: no such profile, or the cluster did not form, or did not become whole again.
    """
    design = settings.of_profile(DESIGNS, profile)
    if reason := server.missing():
        return {NOT_MEASURED: reason}
    step("a cluster of three masters and three replicas forms")
    with (
        redis_cluster.cluster(MASTERS, REPLICAS, timeout_ms=SET_MS) as nodes,
        in_one_line("redis: the cluster", CAUGHT),
    ):
        return _Measurement(nodes, design, step).run()


class _Measurement:
    def __init__(
        self, nodes: redis_cluster.Cluster, design: ClusterDesign, step: Callable[[str], None]
    ) -> None:
        self._cluster, self._design, self._step = nodes, design, step
        self._client = nodes.client()
        self._scene = Scene("the writer", design.steady_s)
        self._timeouts_ms: dict[str, int] = {}
        self._kills: list[tuple[str, float, list[range], tuple[float, float]]] = []

    def run(self) -> dict[str, Any]:
        try:
            order = order_transactions(self._cluster, self._client)
            self._preload()
            with self._scene.writing({self._scene.shown: self._write}, WRITES_PER_S):
                self._scene.wait_for(ENOUGH)
                self._step("slots move")
                with self._scene.window((MOVED, WHOLE)):
                    move = self._move()
                    self._scene.wait_for(ENOUGH)
                for tier, kills in self._design.kills.items():
                    for node in self._cluster.nodes:
                        _configure(node, tier)
                    told = self._cluster.nodes[0].ask("CONFIG", "GET", NODE_TIMEOUT)
                    self._timeouts_ms[tier] = int(told[NODE_TIMEOUT])
                    for number in range(kills):
                        self._step(f"{tier}: a master is killed ({number + 1})")
                        with self._scene.window((KILLED, tier)):
                            self._kill(tier, number)
                            self._scene.wait_for(ENOUGH)
            self._step("every key is read")
            return self._result(order, move)
        finally:
            self._client.close()

    def _write(self, number: int) -> None:
        try:
            self._client.set(_key(number), number)
        except CAUGHT as error:
            raise Failed(error) from error

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
        keys = self._cluster.move(slots, source, target, lambda what: self._scene.event(f"slots {what}"))
        seconds = time.perf_counter() - began
        self._scene.wait_for(ENOUGH)
        self._scene.pass_time()
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
        self._scene.event("master killed")
        began, from_s = time.perf_counter(), self._scene.now_s()
        victim.kill()
        _wait_for_role(heir, "master")
        took = time.perf_counter() - began
        self._scene.event("replica is master")
        self._scene.wait_for(ENOUGH)
        victim.start()
        _configure(victim, tier)
        self._cluster.settle()
        self._scene.event("killed node is replica")
        self._kills.append((tier, took, slots, (from_s - self._design.steady_s, self._scene.now_s())))

    def _result(self, order: list[dict[str, Any]], move: dict[str, Any]) -> dict[str, Any]:
        writes = self._scene.writes[self._scene.shown]
        kept = self._read([_key(number) for number in range(len(writes))])
        before = self._read([_before(number) for number in range(self._design.keys)])
        kills = [_of_kill(writes, *kill) for kill in self._kills]
        cases: dict[str, dict[str, Any]] = {}
        for (name, tier), windows in self._scene.windows.items():
            cases.setdefault(name, {})[tier] = case(writes, windows, kept)
        return {
            "nodes": len(self._cluster.nodes),
            "version": self._cluster.nodes[0].version,
            **self._scene.common(kept, self._settings()),
            "tiers": cases[KILLED],
            "failover": [
                failover(detection, self._timeouts_ms[tier] / 1000, PROMOTED_BY, outages)
                for tier, detection in ((WHOLE, SET), (UNHURRIED, SHIPPED))
                if (outages := [kill["outage_s"] for kill in kills if kill["tier"] == tier])
            ],
            "second_node": None,
            "found": {
                "cases": cases,
                "move": move,
                "kills": kills,
                "keys_before": self._design.keys,
                "keys_before_lost": self._design.keys - len(before),
                "lost_at": timeline(gone(writes, kept)),
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
        names = ("cluster-replica-validity-factor", "appendonly", "appendfsync")
        told = self._cluster.masters()[0].ask("CONFIG", "GET", *names)
        timeouts = [f"{ms} ms with {tier}" for tier, ms in self._timeouts_ms.items()]
        return {name: str(told[name]) for name in names} | {
            NODE_TIMEOUT: "; ".join(timeouts),
            "masters": str(MASTERS),
            "replicas of each": str(REPLICAS),
            "retries": "off (driver); MOVED and ASK are followed",
            "CLUSTERDOWN": "the driver waits 0.25 s before it says so",
            "writes a second": f"at most {WRITES_PER_S:.0f}, one client",
        }


def _configure(node: redis_nodes.Node, tier: str) -> None:
    """Set what belongs to a tier; a start forgets it."""
    coverage, timeout_ms = TIERS[tier]
    node.ask("CONFIG", "SET", "cluster-require-full-coverage", coverage, NODE_TIMEOUT, timeout_ms)


def _of_kill(
    writes: Sequence[Write], tier: str, took_s: float, slots: list[range], window: tuple[float, float]
) -> dict[str, Any]:
    """What a kill did to the keys of the killed master, and to the others."""
    mine = [write for write in writes if _within(_key(write.number), slots)]
    others = [write for write in writes if not _within(_key(write.number), slots)]
    of_others = case(others, [window], ())
    return {
        "tier": tier,
        "took_over_s": took_s,
        "outage_s": outage_in_s(mine, *window),
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


def _key(number: int) -> str:
    return f"nodes:written:{number}"


def _before(number: int) -> str:
    return f"nodes:before:{number}"


def _within(key: str, slots: Sequence[range]) -> bool:
    slot = key_slot(key.encode())
    return any(slot in owned for owned in slots)


WAYS: dict[str, tuple[str, ...]] = {
    "as in the model": (
        redis_model.order_key(1),
        redis_model.user_orders_key(1),
        redis_model.product_orders_key(1),
    ),
    "hash tag of the user": ("order:{user:1}:1", "{user:1}:orders", redis_model.product_orders_key(1)),
    "hash tag of the user, the product apart": ("order:{user:1}:1", "{user:1}:orders"),
    "one hash tag for all": ("{shop}order:1", "{shop}user:1:orders", "{shop}product:1:orders"),
}
"""Keys of the transaction by the way of naming them: the order, and where it is referred to."""
ROW = (1, 1, 1, datetime(2026, 1, 1), 1)
SCRIPT = """
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
for i = 2, #KEYS do redis.call('ZADD', KEYS[i], ARGV[1], 1) end
return #KEYS
"""


def order_transactions(nodes: redis_cluster.Cluster, client: RedisCluster) -> list[dict[str, Any]]:
    """Place an order with each way of naming its keys, and remove it again.

    Args:
        nodes: of the cluster; their scripts are asked one by one.
        client: of the whole cluster, for MULTI/EXEC.

    Returns:
        For each way: ``way``, ``keys`` (slot of each), ``nodes`` (how many of them own the keys), ``driver``
        (what redis-py says of MULTI/EXEC) and ``server`` (what the owner of the order says of a script that
        does the same); empty text where the order was placed.
    """
    found = []
    for way, keys in WAYS.items():
        slots = {key: key_slot(key.encode()) for key in keys}
        owners = {client.get_node_from_key(key).port for key in keys}
        node = next(node for node in nodes.nodes if node.port == client.get_node_from_key(keys[0]).port)
        found.append(
            {
                "way": way,
                "keys": slots,
                "nodes": len(owners),
                "driver": _refusal(partial(_transaction, client, keys)),
                "server": _refusal(partial(_script, node.url, keys)),
            }
        )
        for key in keys:
            client.delete(key)
    return found


def _refusal(place: Callable[[], object]) -> str:
    try:
        place()
    except CAUGHT as error:
        code = getattr(error, "status_code", None) or ""  # redis-py cuts it off the server's words
        return f"{getattr(code, 'value', code)} {first_line(error)}".strip()
    return ""


def _transaction(client: RedisCluster, keys: tuple[str, ...]) -> None:
    moment = redis_model.microseconds(ROW[3])
    with client.pipeline(transaction=True) as pipe:
        pipe.hset(keys[0], mapping=redis_model.encode_row("orders", ROW))
        for key in keys[1:]:
            pipe.zadd(key, {str(ROW[0]): moment})
        pipe.execute()


def _script(url: str, keys: tuple[str, ...]) -> None:
    place = urlsplit(url)
    with redis_py.Redis(
        host=place.hostname or "", port=place.port or 0, password=place.password, **redis_nodes.PLAIN
    ) as client:
        pairs = [part for pair in redis_model.encode_row("orders", ROW).items() for part in pair]
        client.eval(SCRIPT, len(keys), *keys, redis_model.microseconds(ROW[3]), *pairs)
