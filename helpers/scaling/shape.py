"""What the data of a saved measurement of scale must look like, as JSON Schema."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from helpers.comparison import stores, workload
from helpers.results import NOT_MEASURED
from helpers.shapes import COUNT, NUMBER, OPTIONAL, POSITIVE, TEXT, interval, mapping, record

OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 0}
STORE = {"enum": list(stores.NAMES)}
OPERATION = {"enum": list(workload.OPERATIONS)}


_filled = partial(mapping, least=1)


def _measured(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"oneOf": [dict(value), record({NOT_MEASURED: TEXT})]}


INTERVAL = interval("p")
PERCENTILES = {"type": "object", "required": ["p50", "p90", "p99"], "additionalProperties": INTERVAL}
LATENCY = record(
    {"activities": COUNT, "operation": OPERATION, "store": STORE, "n": COUNT, "blocks": COUNT}
    | {"percentiles_us": PERCENTILES}
)
GROWTH = record(
    {"operation": OPERATION, "store": STORE, "smallest": COUNT, "largest": COUNT, "blocks_smallest": COUNT}
    | {"blocks_largest": COUNT, "ratio": POSITIVE, "low": POSITIVE, "high": POSITIVE, "p": NUMBER}
    | {"p_holm": NUMBER, "shown": {"type": "boolean"}}
)
MEDIAN = record(
    {"visit": COUNT, "activities": COUNT, "block": COUNT, "store": STORE, "operation": OPERATION, "n": COUNT}
    | {"p50_us": POSITIVE}
)
SPACE = record(
    {"activities": COUNT, "store": STORE, "memory_bytes": OPTIONAL_COUNT, "disk_bytes": OPTIONAL_COUNT}
    | {"how": TEXT, "memory_per_activity": OPTIONAL, "disk_per_activity": OPTIONAL}
    | {"rss_before_mb": OPTIONAL, "rss_after_mb": OPTIONAL, "load_s": POSITIVE}
)
POLICY = record(
    {
        "settings": _filled(TEXT),
        "used_bytes": COUNT,
        "written": COUNT,
        "acknowledged": COUNT,
        "refused": COUNT,
    }
    | {"words": TEXT, "keys_evicted": COUNT, "gone": COUNT, "users_torn": COUNT}
    | {"gone_share_by_tenth": {"type": "array", "items": NUMBER}},
    more=True,
)
REDIS = record({"version": TEXT, "room_bytes": COUNT, "policies": mapping(POLICY, least=2)})
READS = _filled(
    record(
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
    "ratios": _filled(INTERVAL),
    "checked": COUNT,
    "lost": COUNT,
}
MONGODB = record(ON_DISK | {"cache_bytes": COUNT, "cached_bytes": COUNT, "stored_bytes": COUNT})
CASSANDRA = record(
    ON_DISK
    | {"heap_bytes": COUNT, "memtable_bytes": COUNT, "memtable_setting": TEXT, "flushes": COUNT}
    | {"compactions": COUNT, "tables_written": COUNT}
)
OUTGROWN = record(
    {"redis": _measured(REDIS), "mongodb": _measured(MONGODB), "cassandra": _measured(CASSANDRA)}
    | {"not_shown": {"type": "array", "items": TEXT}}
)

SCHEMA: Mapping[str, Any] = record(
    {
        "design": record({"sizes": {"type": "array", "minItems": 1}, "blocks": COUNT}, more=True),
        "tables": _filled(_filled(COUNT)),
        "settings": _filled(_filled(TEXT)),
        "answers": _filled(COUNT),
        "space": {"type": "array", "items": SPACE, "minItems": 1},
        "latency": {"type": "array", "items": LATENCY, "minItems": 1},
        "growth": {"type": "array", "items": GROWTH},
        "medians": {"type": "array", "items": MEDIAN},
        "errors": _filled(COUNT),
        "operations": _filled(COUNT),
        "outgrown": OUTGROWN,
    }
)
