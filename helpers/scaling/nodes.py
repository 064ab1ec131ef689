"""Measure what each store does with more than one node, and save what was found."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import results, settings
from helpers.comparison import statistics
from helpers.progress import bar
from helpers.results import NOT_MEASURED
from helpers.scaling.nodes_schemas import NODES, PARTS, SET, SHIPPED
from helpers.text import plural, three

MODULES: Mapping[str, str] = {
    "redis_replica": "helpers.scaling.redis_replica",
    "redis_cluster": "helpers.scaling.redis_cluster",
    "mongodb_set": "helpers.scaling.mongodb_set",
    "cassandra_ring": "helpers.scaling.cassandra_ring",
}
"""The module that measures each part; imported where it is used, for a driver takes its time."""
COSTS: Mapping[str, tuple[str, str]] = {
    "redis": ("redis_replica", "redis_cluster"),
    "mongodb": ("mongodb_set", "mongodb_set"),
    "cassandra": ("cassandra_ring", "cassandra_ring"),
}
"""The parts that say what a second node costs a write of each store, and what the death of a node costs."""
MEASURED = {"quick": ("redis_replica", "redis_cluster"), "full": tuple(MODULES)}
"""The parts that each profile measures."""
LEFT_OUT = "the quick profile leaves it out; the full one measures it"
NOT_TOLD = (
    "what a network between machines adds: all nodes are on one machine and speak over loopback",
    "what more machines carry: the nodes share the processors, the memory and the disk of one",
    "what the loss of power or of a disk takes: SIGKILL ends a process, what it handed to the kernel stays",
    "what clocks that differ do: all nodes read the same clock",
    "what a node that is slow or hangs does: nodes either run or are dead",
    "what PostgreSQL does with a standby: it was run as one server",
)
"""What these measurements cannot tell."""


def run(*, profile: str = "quick", folder: Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Measure throw-away servers, one store after the other, and save the result ``nodes``.

    Args:
        profile: ``quick`` (Redis only) or ``full``.
        folder: results folder; that of the current run when None.
        progress: show a progress bar.

    Returns:
        ``redis_replica``, ``redis_cluster``, ``mongodb_set`` and ``cassandra_ring``: each ``nodes``,
        ``version``, what ``Scene.common`` gives, ``tiers`` (counts by setting) and ``found`` (as its module's
        ``measure`` says), ``failover`` (as ``writes.failover`` gives it, for each way of noticing a death)
        and ``second_node`` (how many times as long a write takes that two nodes hold, None where that was not
        measured), or {"not measured": reason}; ``costs``: what ``costs`` gives; and ``not_told``: what one
        machine cannot tell.

    Raises:
        HelpersError: no such profile, or nodes that did not come up, or not back; then nothing is saved.
    """
    parts = settings.of_profile(MEASURED, profile)
    data: dict[str, Any] = {}
    modules = {part: importlib.import_module(MODULES[part]) for part in parts}
    total = sum(module.STEPS[profile] for module in modules.values())
    with bar(total, "nodes", unit="steps", enabled=progress) as shown:

        def step(what: str) -> None:
            shown.set_postfix_str(f"{part}: {what}")
            shown.update()

        for part in PARTS:
            measured = part in modules
            data[part] = modules[part].measure(profile, step) if measured else {NOT_MEASURED: LEFT_OUT}
    data["costs"] = costs(data)
    data["not_told"] = list(NOT_TOLD)
    results.jsonschema().validate(data, NODES)
    found = {part.split("_")[0]: data[part]["version"] for part in PARTS if NOT_MEASURED not in data[part]}
    results.save("nodes", data, profile=profile, servers=found, folder=folder)
    return data


def costs(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What several nodes cost each store, as the decision counts it; None where it was not measured alike.

    Args:
        data: the parts, by name.

    Returns:
        By store ``second_node``: how many times as long a write takes that two nodes hold, against one that
        one node holds; ``killed_node_s``: geometric mean over kills of the longest time without an
        acknowledgement, where a death is noticed after the time set for all, or nobody has to be promoted;
        both with the ends of their intervals, the second None with fewer than two kills.
    """
    found: dict[str, dict[str, Any]] = {}
    for store, (copied, killed) in COSTS.items():
        alike = [
            one
            for one in data[killed].get("failover", ())
            if one["detection"] == SET or (one["detection"] == SHIPPED and one["detect_s"] is None)
        ]
        mean = statistics.geometric_mean(alike[0]["outages_s"]) if alike else None
        found[store] = {
            "second_node": data[copied].get("second_node"),
            "killed_node_s": mean and mean.as_dict(),
        }
    return found


def describe(data: Mapping[str, Any]) -> list[str]:
    """What was measured, as lines for people: a line for each part and setting."""
    lines = []
    for part, name in PARTS.items():
        if NOT_MEASURED in data[part]:
            lines.append(f"{name}: not measured, {data[part][NOT_MEASURED]}")
            continue
        for tier, found in data[part]["tiers"].items():
            lines.append(
                f"{name}, {tier}: {plural(found['acknowledged'], 'write')} acknowledged, "
                f"{found['lost']:,} of them lost, {found['unasked']:,} kept that were not; "
                f"outage {three(found['outage_s'])} s"
            )
    return lines
