"""What the data of a saved comparison must look like, as JSON Schema."""

from collections.abc import Mapping
from typing import Any

from helpers.comparison.stores import NAMES
from helpers.comparison.summary import LIMITS
from helpers.comparison.workload import MIXES, OPERATIONS, TIERS
from helpers.results import (
    COUNT,
    NOT_MEASURED,
    NUMBER,
    OPTIONAL,
    POSITIVE,
    SECONDS,
    TEXT,
    WORDS,
    interval,
    map_of,
    object_with,
)

STORE = {"enum": list(NAMES)}
INTERVAL = interval()
PERCENTILES = {
    "type": "object",
    "required": ["p50", "p90", "p99", "p99.9"],
    "additionalProperties": INTERVAL,
}


def _by_store(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(NAMES), "properties": {name: dict(value) for name in NAMES}}


def _by_verb(value: Mapping[str, Any]) -> dict[str, Any]:
    return object_with({operation: dict(value) for operation in OPERATIONS})


WHERE = {"tier": {"enum": list(TIERS)}, "mix": {"enum": list(MIXES)}, "operation": {"enum": list(OPERATIONS)}}
QUANTILES = {"type": "array"}  # of numbers; checking thousands one by one takes seconds
HISTOGRAM = {
    "type": ["string", "null"],
    "minLength": 1,
}  # as statistics.encoded writes it; null without its library
TEXTS = map_of(TEXT)

LOAD = {
    "processes": COUNT,
    "client_busy_share": NUMBER,
    "server_busy_cores": OPTIONAL,
    "machine_busy_share": OPTIONAL,
    "others_busy_share": OPTIONAL,
    "limit": {"enum": list(LIMITS)},
}

LATENCY = object_with(
    WHERE
    | {"store": STORE, "n": COUNT, "blocks": COUNT, "mean_us": OPTIONAL, "percentiles_us": PERCENTILES}
    | {"quantiles_us": QUANTILES}
)
RATIO = object_with(
    WHERE
    | {
        "store": STORE,
        "against": STORE,
        "blocks": COUNT,
        "ratio": POSITIVE,
        "low": POSITIVE,
        "high": POSITIVE,
    }
    | {"p": NUMBER, "p_holm": NUMBER, "shown": {"type": "boolean"}}
)
THROUGHPUT = object_with(
    {"store": STORE, "clients": COUNT, "mix": WHERE["mix"], "blocks": COUNT, "per_s": POSITIVE}
    | {"low": OPTIONAL, "high": OPTIONAL, "percentiles_us": PERCENTILES}
    | LOAD
    | {"client_cpu_us": NUMBER, "server_cpu_us": OPTIONAL, "core_per_s": INTERVAL}
)
OPEN_LOOP = object_with(
    {"store": STORE, "offered_per_s": POSITIVE, "achieved_per_s": POSITIVE, "mix": WHERE["mix"], "n": COUNT}
    | {"latency_us": PERCENTILES, "service_us": PERCENTILES, "lag_us": PERCENTILES}
    | {"latency_quantiles_us": QUANTILES, "latency_hdr": HISTOGRAM, "service_hdr": HISTOGRAM}
    | LOAD
)
COST = {
    "elapsed_us": POSITIVE,
    "asking_us": SECONDS,
    "rest_us": SECONDS,
    "client_cpu_us": SECONDS,
    "server_cpu_us": OPTIONAL,
}
COUNTS = object_with(
    {
        "idle_rss_mb": OPTIONAL,
        "definitions": COUNT,
        "sent": _by_verb(object_with({"round_trips": COUNT, "statements": COUNT})),
        "records_written": _by_verb(COUNT),
        "commands": _by_verb({"type": "string"}),
        "atomic": _by_verb({"type": "string"}),
        "size": object_with(
            {
                "memory_bytes": {"type": ["integer", "null"]},
                "disk_bytes": {"type": ["integer", "null"]},
                "how": {"type": "string"},
            }
        ),
    }
)
POINTS_US = object_with(dict.fromkeys(("p50", "p95", "p99"), INTERVAL))
PROGRAM = {"store": STORE, "program": WORDS}
CROSS_CHECK = object_with(
    {
        "rounds": COUNT,
        "requests": COUNT,
        "records": COUNT,
        "programs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "oneOf": [
                    object_with(PROGRAM | {NOT_MEASURED: TEXT}),
                    object_with(PROGRAM | {"version": WORDS, "server_version": WORDS}),
                ]
            },
        },
        "rows": {
            "type": "array",
            "items": object_with(
                PROGRAM
                | {
                    "operation": {"enum": ["null", "read", "insert"]},
                    "clients": COUNT,
                    "ours": WORDS,
                    "theirs": WORDS,
                }
                | {
                    "ours_us": POINTS_US,
                    "theirs_us": POINTS_US,
                    "ours_per_s": INTERVAL,
                    "theirs_per_s": INTERVAL,
                }
                | {"ratio": object_with(dict.fromkeys(("p50", "p95", "p99", "per_s"), interval("p")))},
                optional={"echo_us": POINTS_US, "theirs_to_echo": interval("p")}
                | {"gain": object_with({"ours": interval("p"), "theirs": interval("p")})},
            ),
        },
        "turns": {"type": "array"},
    }
)

COMPARISON: Mapping[str, Any] = object_with(
    {
        "design": object_with(
            {"users": COUNT, "blocks": COUNT, "block_operations": COUNT, "seed": COUNT}, more=True
        ),
        "weights": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
        "tiers": {"type": "object", "required": ["relaxed"], "additionalProperties": _by_store(TEXTS)},
        "answers": {"type": "object", "additionalProperties": COUNT, "minProperties": 1},
        "floors": object_with(
            {"echo_us": PERCENTILES, "fsync_us": PERCENTILES, "null_op_us": _by_store(PERCENTILES)}
            | {"null_op_cost": _by_store(object_with(COST | {"asks": WORDS}))}
        ),
        "counts": _by_store(COUNTS),
        "latency": {"type": "array", "items": LATENCY, "minItems": 1},
        "ratios": {"type": "array", "items": RATIO},
        "throughput": {"type": "array", "items": THROUGHPUT},
        "open_loop": {"type": "array", "items": OPEN_LOOP},
        "cost": _by_store(map_of(object_with(COST))),
        "warm_up": _by_store(QUANTILES),
        "errors": _by_store(COUNT),
        "operations": _by_store(COUNT),
        "seconds": SECONDS,
    },
    optional={"cross_check": CROSS_CHECK},
)
