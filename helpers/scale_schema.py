"""What the data of a saved measurement of scale must look like, as JSON Schema."""

from collections.abc import Mapping
from typing import Any

from helpers.stores import NAMES
from helpers.workload import OPERATIONS

NUMBER = {"type": "number"}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
COUNT = {"type": "integer", "minimum": 0}
OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 0}
OPTIONAL = {"type": ["number", "null"]}
TEXT = {"type": "string"}
STORE = {"enum": list(NAMES)}
OPERATION = {"enum": list(OPERATIONS)}


def _object(properties: Mapping[str, Any], *, more: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": dict(properties),
        "additionalProperties": more,
    }


def _map(value: Mapping[str, Any], *, least: int = 1) -> dict[str, Any]:
    return {"type": "object", "minProperties": least, "additionalProperties": dict(value)}


def _measured(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"oneOf": [dict(value), _object({"not measured": TEXT})]}


INTERVAL = {
    "type": ["object", "null"],
    "required": ["value", "low", "high"],
    "additionalProperties": False,
    "properties": dict.fromkeys(("value", "low", "high", "p"), NUMBER),
}
PERCENTILES = {"type": "object", "required": ["p50", "p90", "p99"], "additionalProperties": INTERVAL}
LATENCY = _object(
    {"activities": COUNT, "operation": OPERATION, "store": STORE, "n": COUNT, "blocks": COUNT}
    | {"percentiles_us": PERCENTILES}
)
GROWTH = _object(
    {"operation": OPERATION, "store": STORE, "smallest": COUNT, "largest": COUNT, "blocks_smallest": COUNT}
    | {"blocks_largest": COUNT, "ratio": POSITIVE, "low": POSITIVE, "high": POSITIVE, "p": NUMBER}
    | {"p_holm": NUMBER, "shown": {"type": "boolean"}}
)
MEDIAN = _object(
    {"visit": COUNT, "activities": COUNT, "block": COUNT, "store": STORE, "operation": OPERATION, "n": COUNT}
    | {"p50_us": POSITIVE}
)
SPACE = _object(
    {"activities": COUNT, "store": STORE, "memory_bytes": OPTIONAL_COUNT, "disk_bytes": OPTIONAL_COUNT}
    | {"how": TEXT, "memory_per_activity": OPTIONAL, "disk_per_activity": OPTIONAL}
    | {"rss_before_mb": OPTIONAL, "rss_after_mb": OPTIONAL, "load_s": POSITIVE}
)
POLICY = _object(
    {"settings": _map(TEXT), "used_bytes": COUNT, "written": COUNT, "acknowledged": COUNT, "refused": COUNT}
    | {"words": TEXT, "keys_evicted": COUNT, "gone": COUNT, "users_torn": COUNT}
    | {"gone_share_by_tenth": {"type": "array", "items": NUMBER}},
    more=True,
)
REDIS = _object({"version": TEXT, "room_bytes": COUNT, "policies": _map(POLICY, least=2)})
READS = _map(
    _object(
        {"n": COUNT, "percentiles_us": PERCENTILES, "into_cache_bytes": COUNT}
        | {"from_disk_bytes": OPTIONAL_COUNT}
    ),
    least=2,
)
ON_DISK = {
    "version": TEXT,
    "acknowledged": COUNT,
    "written_bytes": COUNT,
    "load_s": POSITIVE,
    "file_bytes": OPTIONAL_COUNT,
    "rss_mb": OPTIONAL,
    "reads": READS,
    "ratios": _map(INTERVAL),
    "checked": COUNT,
    "lost": COUNT,
}
MONGODB = _object(ON_DISK | {"cache_bytes": COUNT, "cached_bytes": COUNT, "stored_bytes": COUNT})
CASSANDRA = _object(
    ON_DISK
    | {"heap_bytes": COUNT, "memtable_bytes": COUNT, "memtable_setting": TEXT, "flushes": COUNT}
    | {"compactions": COUNT, "tables_written": COUNT}
)
OUTGROWN = _object(
    {"redis": _measured(REDIS), "mongodb": _measured(MONGODB), "cassandra": _measured(CASSANDRA)}
    | {"not_shown": {"type": "array", "items": TEXT}}
)

SCHEMA: Mapping[str, Any] = _object(
    {
        "design": _object({"sizes": {"type": "array", "minItems": 1}, "blocks": COUNT}, more=True),
        "tables": _map(_map(COUNT)),
        "settings": _map(_map(TEXT)),
        "answers": _map(COUNT),
        "space": {"type": "array", "items": SPACE, "minItems": 1},
        "latency": {"type": "array", "items": LATENCY, "minItems": 1},
        "growth": {"type": "array", "items": GROWTH},
        "medians": {"type": "array", "items": MEDIAN},
        "errors": _map(COUNT),
        "operations": _map(COUNT),
        "outgrown": OUTGROWN,
    }
)
