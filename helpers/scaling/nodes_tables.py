"""Tables of several nodes, as data frames made from the result ``nodes``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.results import NOT_MEASURED, Results
from helpers.scaling.nodes_shape import PARTS
from helpers.text import count, duration_s, join

CASES = {
    "killed": "the primary was killed",
    "stepdown": "the primary stepped down when asked",
    "behind": "the primary was killed some time after the secondaries",
}
"""What was done to MongoDB's replica set, by case."""


def measured(results: Results) -> dict[str, dict[str, Any]]:
    """The parts that were measured."""
    data = results["nodes"].data if "nodes" in results else {}
    return {part: data[part] for part in PARTS if part in data and NOT_MEASURED not in data[part]}


def errors_text(found: Mapping[str, Any]) -> str:
    """Errors by kind: ``12 by NOREPLICAS and 3 by ConnectionError``."""
    errors = sorted(found["errors"].items(), key=lambda one: -one[1])
    return join([f"{count(number)} by {kind}" for kind, number in errors])


def table(results: Results) -> pd.DataFrame:
    """A row for each part and setting: writes, acknowledged, lost, kept without promise, outage."""
    results.require("nodes")
    return pd.DataFrame(
        {
            "Nodes": f"{PARTS[part]} ({data['nodes']})",
            "setting": tier,
            "writes": count(found["writes"]),
            "acknowledged": count(found["acknowledged"]),
            "lost": count(found["lost"]),
            "kept, not acknowledged": count(found["unasked"]),
            "longest time without one": duration_s(found["outage_s"]),
        }
        for part, data in measured(results).items()
        for tier, found in data["tiers"].items()
    )


def cases_table(results: Results) -> pd.DataFrame:
    """A row for each case of Redis and MongoDB and each setting: acknowledged, lost, outage."""
    results.require("nodes")
    rows = []
    for part, data in measured(results).items():
        cases = data["found"].get("cases")
        for case, tiers in cases.items() if isinstance(cases, dict) else ():
            rows += [
                {
                    "Nodes": PARTS[part],
                    "case": CASES.get(case, case) if part == "mongodb_set" else case,
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
    ways = measured(results).get("redis_cluster", {}).get("found", {}).get("order", [])
    results.require("nodes")
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
