"""Tables of what growing data do, as data frames made from saved results."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.comparison import NONE, TITLES, short_cell
from helpers.results import NOT_MEASURED, Missing, Results
from helpers.settings import LABELS
from helpers.text import count, size_bytes, three

PARTS: Mapping[str, Mapping[str, str]] = {
    "mongodb": {
        "inside": "in the cache",
        "outside": "not in the cache",
        "forgotten": "not in the cache, files dropped by the kernel",
    },
    "cassandra": {"inside": "written last and read before", "outside": "of any age"},
}
"""What the parts of the reads beyond memory are called."""


def latency_table(results: Results) -> pd.DataFrame:
    """Median and 99th percentile of each operation and store, a column a size."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in results.part("scale", "latency"):
        cell = f"{short_cell(row['percentiles_us']['p50'])} / {short_cell(row['percentiles_us']['p99'])}"
        key = (row["operation"], row["store"])
        rows.setdefault(key, {})[f"{count(row['activities'])} activities"] = cell
    return pd.DataFrame(
        {"operation": TITLES[operation], "store": LABELS[store], **cells}
        for (operation, store), cells in sorted(rows.items(), key=lambda one: list(TITLES).index(one[0][0]))
    )


def growth_table(results: Results) -> pd.DataFrame:
    """How many times longer each median takes with the most activities than with the fewest."""
    return pd.DataFrame(
        {
            "operation": TITLES[row["operation"]],
            "store": LABELS[row["store"]],
            "largest / smallest": f"{three(row['ratio'])} ({three(row['low'])} to {three(row['high'])})",
            "p (Holm)": f"{row['p_holm']:.3f}" if row["p_holm"] >= 0.001 else "below 0.001",
            "difference": "shown" if row["shown"] else "no difference shown",
        }
        for row in results.part("scale", "growth")
    )


def space_table(results: Results) -> pd.DataFrame:
    """What one activity takes, the server's resident memory, and the rate of the load, by size and store."""
    return pd.DataFrame(
        {
            "activities": count(row["activities"]),
            "store": LABELS[row["store"]],
            "memory, each": _size(row["memory_per_activity"]),
            "disk, each": _size(row["disk_per_activity"]),
            "server before": _megabytes(row["rss_before_mb"]),
            "server after": _megabytes(row["rss_after_mb"]),
            "load, activities/s": count(row["activities"] / row["load_s"]),
        }
        for row in results.part("scale", "space")
    )


def how_table(results: Results) -> pd.DataFrame:
    """How the space of the activities was obtained, by store."""
    rows = {row["store"]: row["how"] for row in results.part("scale", "space")}
    return pd.DataFrame({"store": [LABELS[store] for store in rows], "how": list(rows.values())})


def evictions_table(results: Results) -> pd.DataFrame:
    """What Redis took, refused and dropped at its memory's limit, by policy.

    Raises:
        Missing: it was not measured.
    """
    return pd.DataFrame(
        {
            "policy": policy,
            "written": count(row["written"]),
            "acknowledged": count(row["acknowledged"]),
            "refused": count(row["refused"]),
            "of the acknowledged gone": count(row["gone"]),
            "keys dropped": count(row["keys_evicted"]),
            "users with one key of two": count(row["users_torn"]),
        }
        for policy, row in _beyond(results, "redis")["policies"].items()
    )


def reads_table(results: Results) -> pd.DataFrame:
    """Reads of MongoDB and Cassandra beyond their memory; stores that were not measured are left out.

    Raises:
        Missing: neither was measured.
    """
    rows = []
    for store, names in PARTS.items():
        try:
            part = _beyond(results, store)
        except Missing:
            continue
        for name, row in part["reads"].items():
            disk = row["from_disk_bytes"]
            rows.append(
                {
                    "store": LABELS[store],
                    "reads": f"{count(row['n'])} {names[name]}",
                    "p50": short_cell(row["percentiles_us"]["p50"]),
                    "p99": short_cell(row["percentiles_us"]["p99"]),
                    "into the cache": size_bytes(row["into_cache_bytes"]) if store == "mongodb" else NONE,
                    "from the disk": NONE if disk is None else size_bytes(disk),
                }
            )
    if not rows:
        raise Missing("scale: reads beyond memory not measured")
    return pd.DataFrame(rows)


def _beyond(results: Results, store: str) -> Mapping[str, Any]:
    part: Mapping[str, Any] = results.part("scale", "outgrown")[store]
    if reason := part.get(NOT_MEASURED):
        raise Missing(f"scale: {store} beyond its memory not measured: {reason}")
    return part


def _size(number: float | None) -> str:
    return NONE if number is None else size_bytes(number)


def _megabytes(number: float | None) -> str:
    return NONE if number is None else f"{three(number)} MB"
