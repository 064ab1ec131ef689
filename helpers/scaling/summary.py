"""From timed blocks to how latency and space change with the number of activities. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from helpers.comparison import statistics, workload
from helpers.settings import NAMES

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True)
class Block:
    """One timed block: where it stands, and the latencies of each operation in microseconds."""

    visit: int
    activities: int
    block: int
    store: str
    latency_us: Mapping[str, Sequence[float]]
    errors: int = 0


def summarise(blocks: Sequence[Block]) -> dict[str, Any]:
    """Everything that follows from the blocks, JSON-able, in a fixed order."""
    stores = sorted({block.store for block in blocks}, key=NAMES.index)
    return {
        "latency": latency(blocks, stores),
        "growth": growth(blocks, stores),
        "medians": medians(blocks),
        "errors": {s: sum(b.errors for b in blocks if b.store == s) for s in stores},
        "operations": {
            s: sum(len(us) for b in blocks if b.store == s for us in b.latency_us.values()) for s in stores
        },
    }


def latency(blocks: Sequence[Block], stores: Sequence[str]) -> list[dict[str, Any]]:
    """Percentiles of each operation, store and size, with intervals as in the comparison.

    Args:
        blocks: all blocks of a measurement with their samples.
        stores: their names, in the order in which they are shown.
    """
    rows = []
    for activities in sorted({block.activities for block in blocks}):
        for operation in workload.OPERATIONS:
            for store in stores:
                found = _of(blocks, store, operation, activities)
                if not found:
                    continue
                rows.append(
                    {"activities": activities, "operation": operation, "store": store}
                    | {"n": sum(map(len, found)), "blocks": len(found)}
                    | {"percentiles_us": statistics.rounded(statistics.describe(found, SHARES))}
                )
    return rows


def growth(blocks: Sequence[Block], stores: Sequence[str]) -> list[dict[str, Any]]:
    """How many times longer the median takes with the most activities than with the fewest.

    Medians of blocks are compared. ``shown`` is whether a difference from 1 remains at 5 % after Holm's
    correction over all rows.
    """
    sizes = sorted({block.activities for block in blocks})
    rows: list[dict[str, Any]] = []
    for operation in workload.OPERATIONS:
        for store in stores:
            few, many = (
                [float(np.median(found)) for found in _of(blocks, store, operation, size)]
                for size in (sizes[0], sizes[-1])
            )
            ratio = statistics.unpaired_log_ratio(many, few)
            if ratio is not None and len(sizes) > 1:
                rows.append(
                    {"operation": operation, "store": store, "smallest": sizes[0], "largest": sizes[-1]}
                    | {"blocks_smallest": len(few), "blocks_largest": len(many), "ratio": ratio.value}
                    | {"low": ratio.low, "high": ratio.high, "p": ratio.p}
                )
    statistics.mark_shown(rows)
    return rows


def medians(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """The median of each operation in each block, from which ``growth`` follows."""
    return [
        {"visit": b.visit, "activities": b.activities, "block": b.block, "store": b.store}
        | {"operation": operation, "n": len(us), "p50_us": round(float(np.median(us)), 2)}
        for b in blocks
        for operation, us in b.latency_us.items()
        if len(us)
    ]


def _of(blocks: Sequence[Block], store: str, operation: str, activities: int) -> list[np.ndarray]:
    return [
        np.asarray(b.latency_us[operation])
        for b in blocks
        if b.store == store and b.activities == activities and b.latency_us.get(operation)
    ]
