"""Tables of growing data and of several nodes, as data frames made from saved results."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.comparison import IN_WORDS, statistics, value_of
from helpers.results import NOT_MEASURED, Missing, Results
from helpers.scaling.nodes_schemas import COMMAND, PARTS, SET, SHIPPED
from helpers.settings import LABELS
from helpers.text import NOT_AVAILABLE, count, duration_s, exact, join, known, plural, size_bytes, span, three

READS: Mapping[str, Mapping[str, str]] = {
    "postgres": {
        "inside": "in shared buffers",
        "outside": "not in shared buffers",
        "forgotten": "not in shared buffers, files dropped by the kernel",
    },
    "mongodb": {
        "inside": "in the cache",
        "outside": "not in the cache",
        "forgotten": "not in the cache, files dropped by the kernel",
    },
    "cassandra": {"inside": "written last and read before", "outside": "of any age"},
}
"""What the reads beyond memory are called, by store."""
CACHES = ("postgres", "mongodb")
"""Stores that say what they read into their caches."""

CASES = {
    "killed": "the primary was killed",
    "shipped": "the primary was killed, detection as shipped",
    "stepdown": "the primary stepped down when asked",
    "behind": "the primary was killed some time after the secondaries",
}
"""What was done to MongoDB's replica set, by case."""


def latency_table(results: Results) -> pd.DataFrame:
    """Median and 99th percentile of each operation and store, a column a size, and how many times as long the
    median takes with the most activities as with the fewest.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in results.part("scale", "latency"):
        cell = f"{value_of(row['percentiles_us']['p50'])} / {value_of(row['percentiles_us']['p99'])}"
        key = (row["operation"], row["store"])
        rows.setdefault(key, {})[f"{count(row['activities'])} activities"] = cell
    for row in results.find("scale", "growth") or []:
        found = statistics.Interval(row["ratio"], row["low"], row["high"]).written()
        note = "" if row["shown"] else ", not shown"
        rows[row["operation"], row["store"]]["median, most / fewest"] = f"{found}{note}"
    return pd.DataFrame(
        {"operation": IN_WORDS[operation], "store": LABELS[store], **cells}
        for (operation, store), cells in sorted(rows.items(), key=lambda one: list(IN_WORDS).index(one[0][0]))
    )


def space_table(results: Results) -> pd.DataFrame:
    """What one activity takes, the server's resident memory, and the rate of the load, by size and store."""
    return pd.DataFrame(
        {
            "activities": count(row["activities"]),
            "store": LABELS[row["store"]],
            "memory, each": known(row["memory_per_activity"], size_bytes),
            "disk, each": known(row["disk_per_activity"], size_bytes),
            "server before": known(row["rss_before_mb"], megabytes),
            "server after": known(row["rss_after_mb"], megabytes),
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
        for policy, row in results.part("scale", "outgrown", "redis", "policies").items()
    )


def reads_table(results: Results) -> pd.DataFrame:
    """Reads beyond what a store keeps in memory; stores that were not measured are left out.

    Raises:
        Missing: none was measured.
    """
    beyond = results.part("scale", "outgrown")
    rows = [
        {
            "store": LABELS[store],
            "reads": f"{count(row['n'])} {names[name]}",
            "p50": value_of(row["percentiles_us"]["p50"]),
            "p99": value_of(row["percentiles_us"]["p99"]),
            "into the cache": size_bytes(row["into_cache_bytes"]) if store in CACHES else NOT_AVAILABLE,
            "from the disk": known(row["from_disk_bytes"], size_bytes),
        }
        for store, names in READS.items()
        if NOT_MEASURED not in beyond[store]
        for name, row in beyond[store]["reads"].items()
    ]
    if not rows:
        raise Missing("scale: reads beyond memory not measured")
    return pd.DataFrame(rows)


def megabytes(number: float) -> str:
    """``123 MB``."""
    return f"{three(number)} MB"


def measured(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of the result ``nodes`` that were measured."""
    return {part: data[part] for part in PARTS if part in data and NOT_MEASURED not in data[part]}


def errors_text(found: Mapping[str, Any]) -> str:
    """Errors by kind: ``12 by NOREPLICAS and 3 by ConnectionError``."""
    errors = sorted(found["errors"].items(), key=lambda one: -one[1])
    return join([f"{count(number)} by {kind}" for kind, number in errors])


def failover_table(results: Results) -> pd.DataFrame:
    """A row for each part: who promotes another node, and for how long nothing was acknowledged when a node
    was killed, with the store's own time of noticing and with the one that was set for all.

    Raises:
        Missing: no part says it.
    """
    rows = []
    for part, data in measured(results.require("nodes")).items():
        found = {one["detection"]: one for one in data.get("failover", ())}
        if not found:
            continue
        row = {
            "Nodes": PARTS[part],
            "writes": data["settings"].get("shown", "one client"),
            "who promotes": next(iter(found.values()))["promoted_by"],
        }
        for detection, one in found.items():
            column = SET if detection == COMMAND else detection
            row |= {
                f"{column}: dead after": known(one["detect_s"], _set),
                f"{column}: silence": killed_for(one),
            }
        rows.append(row)
    if not rows:
        raise Missing("nodes: the time to notice a dead node was not recorded")
    columns = [f"{how}: {what}" for how in (SHIPPED, SET) for what in ("dead after", "silence")]
    return pd.DataFrame(rows, columns=["Nodes", "writes", "who promotes", *columns], dtype=object).fillna(
        NOT_AVAILABLE
    )


def _set(seconds: float) -> str:
    """A time that was set, not measured."""
    return exact(duration_s(seconds))


def failures_table(results: Results) -> pd.DataFrame:
    """A row for each part and setting: writes acknowledged, how many of these were lost, the longest time
    without one, and how long the death of one node took with the time of noticing that was set for all.
    """
    rows = []
    for part, data in measured(results.require("nodes")).items():
        found = {one["detection"]: one for one in data.get("failover", ())}
        alike = found.get(SET) or found.get(COMMAND) or found.get(SHIPPED)
        shown = data["settings"].get("shown")
        rows += [
            {
                "Nodes": f"{PARTS[part]} ({data['nodes']})",
                "setting": tier,
                "acknowledged": count(of["acknowledged"]),
                "lost": count(of["lost"]),
                "longest silence": duration_s(of["outage_s"]),
                "one node killed": NOT_AVAILABLE
                if alike is None or shown not in (None, tier)
                else killed_for(alike),
            }
            for tier, of in data["tiers"].items()
        ]
    if not rows:
        raise Missing("nodes: no part was measured")
    return pd.DataFrame(rows)


def killed_for(one: Mapping[str, Any]) -> str:
    """``2.10 s to 2.50 s (3 kills)``."""
    return f"{span(one['outages_s'], duration_s)} ({plural(len(one['outages_s']), 'kill')})"


def nodes_settings_table(results: Results) -> pd.DataFrame:
    """The settings of each part: as its servers stated them, and the driver's own."""
    return pd.DataFrame(
        {
            "Nodes": PARTS[part],
            "settings": "; ".join(
                f"{setting}: {value}"
                for setting, value in data["settings"].items()
                if setting not in ("shown", "timeline")
            ),
        }
        for part, data in measured(results.require("nodes")).items()
    )


def _cases(part: str, found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The counts of each setting by what happened."""
    cases = found.get("cases", {})
    if part == "cassandra_ring":
        return {
            f"from the moment that {one['from']}": {level: one[level] for level in one if level != "from"}
            for one in cases
        }
    return {CASES.get(case, case) if part == "mongodb_set" else case: of for case, of in cases.items()}


def cases_table(results: Results) -> pd.DataFrame:
    """A row for each case of each part and each setting: acknowledged, lost, outage."""
    rows = []
    for part, data in measured(results.require("nodes")).items():
        for case, tiers in _cases(part, data["found"]).items():
            rows += [
                {
                    "Nodes": PARTS[part],
                    "case": case,
                    "setting": tier,
                    "acknowledged": count(found["acknowledged"]),
                    "lost": count(found["lost"]),
                    "longest time without one": duration_s(found["outage_s"]),
                    "errors": errors_text(found),
                }
                for tier, found in tiers.items()
            ]
    return pd.DataFrame(rows)


def order_table(results: Results) -> pd.DataFrame:
    """A row for each way of naming the keys of an order: slots, nodes, and what is answered."""
    ways = measured(results.require("nodes")).get("redis_cluster", {}).get("found", {}).get("order", [])
    return pd.DataFrame(
        {
            "Names": way["way"],
            "keys (slot)": ", ".join(f"{key} ({slot})" for key, slot in way["keys"].items()),
            "nodes": way["nodes"],
            "redis-py, MULTI": way["driver"] or "taken",
            "server, script": way["server"] or "taken",
        }
        for way in ways
    )
