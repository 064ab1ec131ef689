"""What the data of a saved measurement of scale must look like, as JSON Schema."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from helpers.comparison import stores, workload
from helpers.results import (
    COUNT,
    NOT_MEASURED,
    NUMBER,
    OPTIONAL,
    POSITIVE,
    TEXT,
    interval,
    map_of,
    object_with,
)

OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 0}
STORE = {"enum": list(stores.NAMES)}
OPERATION = {"enum": list(workload.OPERATIONS)}


_filled = partial(map_of, least=1)


def _measured(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"oneOf": [dict(value), object_with({NOT_MEASURED: TEXT})]}


INTERVAL = interval("p")
PERCENTILES = {"type": "object", "required": ["p50", "p90", "p99"], "additionalProperties": INTERVAL}
LATENCY = object_with(
    {"activities": COUNT, "operation": OPERATION, "store": STORE, "n": COUNT, "blocks": COUNT}
    | {"percentiles_us": PERCENTILES}
)
GROWTH = object_with(
    {"operation": OPERATION, "store": STORE, "smallest": COUNT, "largest": COUNT, "blocks_smallest": COUNT}
    | {"blocks_largest": COUNT, "ratio": POSITIVE, "low": POSITIVE, "high": POSITIVE, "p": NUMBER}
    | {"p_holm": NUMBER, "shown": {"type": "boolean"}}
)
MEDIAN = object_with(
    {"visit": COUNT, "activities": COUNT, "block": COUNT, "store": STORE, "operation": OPERATION, "n": COUNT}
    | {"p50_us": POSITIVE}
)
SPACE = object_with(
    {"activities": COUNT, "store": STORE, "memory_bytes": OPTIONAL_COUNT, "disk_bytes": OPTIONAL_COUNT}
    | {"how": TEXT, "memory_per_activity": OPTIONAL, "disk_per_activity": OPTIONAL}
    | {"rss_before_mb": OPTIONAL, "rss_after_mb": OPTIONAL, "load_s": POSITIVE}
)
POLICY = object_with(
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
REDIS = object_with({"version": TEXT, "room_bytes": COUNT, "policies": map_of(POLICY, least=2)})
READS = _filled(
    object_with(
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
POSTGRES = object_with(ON_DISK | {"cache_bytes": COUNT, "cached_bytes": OPTIONAL_COUNT})
MONGODB = object_with(ON_DISK | {"cache_bytes": COUNT, "cached_bytes": COUNT, "stored_bytes": COUNT})
CASSANDRA = object_with(
    ON_DISK
    | {"heap_bytes": COUNT, "memtable_bytes": COUNT, "memtable_setting": TEXT, "flushes": COUNT}
    | {"compactions": COUNT, "tables_written": COUNT}
)
BEYOND_MEMORY = object_with(
    {"postgres": _measured(POSTGRES), "redis": _measured(REDIS)}
    | {"mongodb": _measured(MONGODB), "cassandra": _measured(CASSANDRA)}
    | {"not_shown": {"type": "array", "items": TEXT}}
)

SCALE: Mapping[str, Any] = object_with(
    {
        "design": object_with({"sizes": {"type": "array", "minItems": 1}, "blocks": COUNT}, more=True),
        "tables": _filled(_filled(COUNT)),
        "settings": _filled(_filled(TEXT)),
        "answers": _filled(COUNT),
        "space": {"type": "array", "items": SPACE, "minItems": 1},
        "latency": {"type": "array", "items": LATENCY, "minItems": 1},
        "growth": {"type": "array", "items": GROWTH},
        "medians": {"type": "array", "items": MEDIAN},
        "errors": _filled(COUNT),
        "operations": _filled(COUNT),
        "outgrown": BEYOND_MEMORY,
    }
)
