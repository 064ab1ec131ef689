"""Measure the stores on the same data with the same operations, and save what was found."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers import results, settings, text
from helpers.comparison import dataset, decision, loops, samples, statistics, stores, summary
from helpers.comparison.decision import EQUAL_WEIGHTS
from helpers.comparison.phases import DESIGNS, ComparisonDesign, Session, operations, steps
from helpers.comparison.schemas import COMPARISON
from helpers.comparison.store import CLIENTS, Store
from helpers.comparison.workload import LIMIT, MISS_SHARE, ZIPF_EXPONENT
from helpers.errors import HelpersError
from helpers.progress import bar as bar_of
from helpers.results import NOT_MEASURED

CONSTANTS = {
    "zipf_exponent": ZIPF_EXPONENT,
    "miss_share": MISS_SHARE,
    "limit": LIMIT,
    "connections": CLIENTS,
}


def run(
    *,
    profile: str = "quick",
    design: ComparisonDesign | None = None,
    folder: Path | None = None,
    progress: bool = True,
    urls: Mapping[str, str] | None = None,
    weights: Mapping[str, float] = EQUAL_WEIGHTS,
) -> dict[str, Any]:
    """Measure, save ``comparison.json`` and the raw samples beside it, and leave no data in any server.

    Args:
        profile: ``quick`` (to see the method work) or ``full`` (as long as the statistics need);
            ``time_taken`` tells how these compare.
        design: how much is measured, and in which order; that of the profile when None.
        folder: results folder; that of the current run when None.
        progress: show a progress bar.
        urls: of the servers, by name; the resolved ones where none is given.
        weights: of the decision's criteria, by name.

    Returns:
        What was saved as the record's data.

    Raises:
        HelpersError: a server cannot be reached or stops answering, or two stores answer differently;
            then nothing is saved.
        ValueError: weights that are none.
    """
    statistics.prepare()
    started = time.monotonic()
    design, urls = design or settings.of_profile(DESIGNS, profile), urls or {}
    decision.totals({criterion: {} for criterion in decision.CRITERIA}, weights)  # better now than later
    sizes = {table: getattr(design, table) for table in dataset.QUERIES}
    with (
        bar_of(steps(design), "comparison", unit="runs", enabled=progress) as bar,
        stores.all_opened(urls) as opened,
    ):
        idle = {name: {"idle_rss_mb": store.server_rss_mb()} for name, store in opened.items()}
        with dataset.made(urls.get("postgres"), **sizes, seed=design.seed) as made, loops.lean():
            session = Session(design, made, bar)
            tiers = {"relaxed": session.relaxed(opened)}
            counts = {name: idle[name] | session.counts(store) for name, store in opened.items()}
            if design.strict_blocks:
                tiers["strict"] = _strict(session, opened)
            versions = {name: store.version() for name, store in opened.items()}
    data = {
        "design": asdict(design) | CONSTANTS,
        "weights": dict(weights),
        "tiers": tiers,
        "answers": dict(session.asked),
        "floors": session.floors,
        "counts": counts,
        **summary.summarise(session.records),
        "seconds": round(time.monotonic() - started, 1),
    }
    results.jsonschema().validate(data, COMPARISON)
    target = folder or results.current_folder()
    samples.write(session.records, target)
    results.save("comparison", data, profile=profile, servers=versions, folder=target)
    return data


def _strict(session: Session, opened: Mapping[str, Store]) -> dict[str, Any]:
    """Measure the strict tier; a Cassandra that was not started in it is replaced by a throw-away one
    that is.
    """
    with ExitStack() as stack:
        ready: dict[str, Store] = {}
        missing: dict[str, dict[str, str]] = {}
        for name, store in opened.items():
            if "strict" in store.tiers():
                ready[name] = store
            elif name == "cassandra":
                try:
                    ready[name] = _batching_cassandra(stack)
                except HelpersError as error:
                    missing[name] = {NOT_MEASURED: str(error)}
            else:
                missing[name] = {NOT_MEASURED: "the server does not let its durability be set"}
        return (session.strict(ready) if len(ready) > 1 else {}) | missing


def _batching_cassandra(stack: ExitStack) -> Store:
    from helpers.servers import scratch

    server = stack.enter_context(scratch.cassandra(commitlog_sync="batch", commitlog_sync_period="0ms"))
    return stack.enter_context(stores.opened("cassandra", server.url))


def time_taken(data: Mapping[str, Any]) -> str:
    """How long a comparison took, and how many times as many operations the full profile has."""
    design = {name: data["design"][name] for name in asdict(DESIGNS["full"])}
    times = operations(DESIGNS["full"]) / operations(ComparisonDesign(**design))
    full = "" if times <= 1 else f"; the full profile has {text.three(times)} times as many operations"
    return f"measured in {text.duration_s(data['seconds'])}{full}"


def describe(data: Mapping[str, Any]) -> list[str]:
    """What was measured, as lines for people: medians of the relaxed tier by operation and mix, errors,
    where it is.
    """
    lines = []
    rows = [row for row in data["latency"] if row["tier"] == "relaxed"]
    for operation, mix in dict.fromkeys((row["operation"], row["mix"]) for row in rows):
        medians = [
            f"{row['store']} {text.duration_us(row['percentiles_us']['p50']['value'])}"
            for row in rows
            if (row["operation"], row["mix"]) == (operation, mix) and row["percentiles_us"]["p50"]
        ]
        lines.append(f"median of {operation} ({mix}): {', '.join(medians)}")
    done, failed = sum(data["operations"].values()), sum(data["errors"].values())
    lines.append(f"{text.count(done)} operations timed, {text.count(failed)} failed")
    lines.append(time_taken(data))
    lines.append(f"saved: comparison.json and {samples.FILE} in the results folder")
    return lines
