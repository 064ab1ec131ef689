"""What the data of a saved measurement of several nodes must look like, as JSON Schema."""

from collections.abc import Mapping
from typing import Any

from helpers.results import (
    COUNT,
    NOT_MEASURED,
    OPTIONAL,
    SECONDS,
    TEXT,
    WORDS,
    interval,
    map_of,
    object_with,
)

PARTS: Mapping[str, str] = {
    "redis_replica": "Redis, primary and replica",
    "redis_cluster": "Redis Cluster",
    "mongodb_set": "MongoDB, replica set",
    "cassandra_ring": "Cassandra, ring",
}
"""The parts of the data, and what they are called."""


SHIPPED, SET, COMMAND = "as shipped", "as set", "by command"
"""Whether a store's time of noticing a dead node is its own, the one set for all, or none: somebody gives a
command.
"""

COUNTS = {
    "writes": COUNT,
    "acknowledged": COUNT,
    "lost": COUNT,
    "unasked": COUNT,
    "outage_s": SECONDS,
}
TIER = object_with(COUNTS | {"errors": map_of(COUNT)})
POINT = {
    "type": "array",
    "prefixItems": [SECONDS, SECONDS, {"enum": [0, 1]}],
    "minItems": 3,
    "maxItems": 3,
}
POINTS = {"type": "array", "items": POINT, "maxItems": 1500}
EVENT = {
    "type": "array",
    "prefixItems": [SECONDS, {"type": "string"}],
    "minItems": 2,
    "maxItems": 2,
}
INTERVAL = interval()
FAILOVER = object_with(
    {"detection": {"enum": [SHIPPED, SET, COMMAND]}, "detect_s": OPTIONAL}
    | {"promoted_by": WORDS, "outages_s": {"type": "array", "items": SECONDS, "minItems": 1}}
)
MEASURED = {"nodes": {"type": "integer", "minimum": 2}, "version": {"type": "string"}} | COUNTS | {
    "timeline": POINTS,
    "events": {"type": "array", "items": EVENT},
    "settings": map_of(TEXT),
    "tiers": map_of(TIER, least=1),
    "failover": {"type": "array", "items": FAILOVER},
    "second_node": INTERVAL,
    "found": {"type": "object"},
}  # fmt: skip
BY_TIER = map_of(TIER, least=1)
LARGEST = object_with({"median": SECONDS, "max": SECONDS})


def _part(found: Mapping[str, Any]) -> dict[str, Any]:
    """A part: not measured, or with at least these findings."""
    whole = object_with({**MEASURED, "found": object_with(found, more=True)})
    missing = object_with({NOT_MEASURED: {"type": "string", "minLength": 1}})
    return {"if": {"required": [NOT_MEASURED]}, "then": missing, "else": whole}


REPLICA = {
    "cases": object_with({"killed": BY_TIER, "cut off": BY_TIER}),
    "outages_s": {"type": "object", "additionalProperties": {"type": "array", "items": SECONDS}},
    "lost_at": POINTS,
    "only_on_old_primary": {"type": "object"},
    "lag_bytes": LARGEST,
    "latency_ms": {"type": "object", "additionalProperties": LARGEST},
    "cut_s": SECONDS,
    "refused_alone": {"type": "string"},
}
KILL = object_with(
    {"tier": {"type": "string"}, "took_over_s": SECONDS, "outage_s": SECONDS}
    | {"others": COUNT, "others_failed": COUNT, "others_outage_s": SECONDS}
)
ORDER = object_with(
    {"way": {"type": "string"}, "keys": map_of(COUNT)}
    | {"nodes": COUNT, "driver": {"type": "string"}, "server": {"type": "string"}}
)
CLUSTER = {
    "cases": object_with({"slots moved": BY_TIER, "master killed": BY_TIER}),
    "move": object_with(
        {"slots": COUNT, "keys": COUNT, "seconds": SECONDS}
        | dict.fromkeys(("MOVED", "ASK", "TRYAGAIN"), COUNT)
    ),
    "kills": {"type": "array", "items": KILL, "minItems": 1},
    "keys_before": COUNT,
    "keys_before_lost": COUNT,
    "lost_at": POINTS,
    "order": {"type": "array", "items": ORDER, "minItems": 1},
}
NODES: Mapping[str, Any] = object_with(
    {
        "redis_replica": _part(REPLICA),
        "redis_cluster": _part(CLUSTER),
        "mongodb_set": _part({}),
        "cassandra_ring": _part({}),
        "costs": map_of(object_with({"second_node": INTERVAL, "killed_node_s": INTERVAL})),
        "not_told": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    }
)
