"""Sentences and tables on the speed of the migration, computed from the result ``ladder``."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Results
from helpers.text import count, duration_us, join, three

FULL_CORE = 0.9
"""From this share of one core on, Redis, which executes commands in one thread, is called the limit."""
FLAT = 1.25
"""Up to this ratio of largest to smallest, memory is called flat."""
CEILING = "redis_cli_file"
"""The rung that sends a file of commands: as fast as Redis takes them."""

_claim = claim.from_result("ladder")


def _percent(share: float) -> str:
    return f"{three(100 * share)} %"


@_claim("The ladder was")
def reached(data: Mapping[str, Any]) -> str:
    """How fast the stream was, and against the quickest other way of migrating, round by round."""
    mine = data["summary"]["streamed"]
    others = {n: s for n, s in data["summary"].items() if n not in ("streamed", CEILING)}
    best = max(others, key=lambda name: others[name]["median"])
    label = data["labels"][best].replace("--", r"\-\-")  # Markdown would make a dash of it
    ratio = data["against"][best]
    if ratio["min"] > 1:
        verdict = "more in every round"
    elif ratio["max"] < 1:
        verdict = "less in every round"
    else:
        verdict = "sometimes more and sometimes less, so no difference is shown"
    return (
        f"The streamed load reached {count(mine['median'])} rows/s (median of rounds; "
        f"{count(mine['min'])} to {count(mine['max'])}), {three(mine['ratio'])} times the row-by-row "
        f"loop. Of the other ways the quickest was {label} with "
        f"{count(others[best]['median'])} rows/s; in the same round "
        f"the streamed load reached {three(ratio['median'])} times its rate ({three(ratio['min'])} to "
        f"{three(ratio['max'])}): {verdict}."
    )


@_claim("How much Redis can take at all was")
def limit(data: Mapping[str, Any]) -> str:
    """What Redis can take at all, and how near the stream comes to it."""
    top, mine = data["summary"][CEILING], data["summary"]["streamed"]
    ratio = data["against"][CEILING]
    busy = _percent(top["redis_busy"])
    verdict = (
        f"Redis, which executes commands in one thread, used {busy} of a core then: that is its limit"
        if top["redis_busy"] >= FULL_CORE
        else f"Redis used {busy} of a core then, so that was not yet its limit"
    )
    return (
        f"Sent from a file, with nothing to read and nothing to encode, the same commands went in at "
        f"{count(top['median'])} rows/s. {verdict}. The streamed load, which reads, encodes, and commits "
        f"each batch with its checkpoint, reached {_percent(ratio['median'])} of that rate "
        f"({three(100 * ratio['min'])} to {_percent(ratio['max'])}) and kept Redis busy for "
        f"{_percent(mine['redis_busy'])} of a core. A row cost Redis {duration_us(mine['redis_cpu_us'])} and "
        f"the mover {duration_us(mine['client_cpu_us'])} of CPU."
    )


@_claim("The ladder was")
def absent(data: Mapping[str, Any]) -> str:
    """Which rungs could not be measured, and why."""
    missing = data["absent"]
    if not missing:
        return "Every rung was measured."
    return join([f"{name} was not measured: {why}" for name, why in missing.items()]) + "."


def _by_size(migrations: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    """The migrations of each number of rows, the fewest rows first."""
    sizes: dict[int, list[Mapping[str, Any]]] = {}
    for one in migrations:
        sizes.setdefault(one["rows"], []).append(one)
    return dict(sorted(sizes.items()))


@_claim("How memory grows with rows was", "growth")
def memory(migrations: Sequence[Mapping[str, Any]]) -> str:
    """Whether the mover's memory grows with the number of rows."""
    peaks = {rows: max(one["peak_rss_mb"] for one in same) for rows, same in _by_size(migrations).items()}
    listed = join([f"{three(peak)} MB with {count(rows)} rows" for rows, peak in peaks.items()])
    ratio, factor = max(peaks.values()) / min(peaks.values()), max(peaks) / min(peaks)
    verdict = "it does not grow with them" if ratio <= FLAT else "it grows with them"
    return (
        f"Load and verification together needed at most {listed}. The largest is {three(ratio)} times the "
        f"smallest while rows are {three(factor)} times as many: {verdict}."
    )


@_claim("How long the verification takes was", "growth")
def verification(migrations: Sequence[Mapping[str, Any]]) -> str:
    """How long the verification took against the load."""
    listed, ratios = [], []
    for rows, same in _by_size(migrations).items():
        of_size = [one["verify_seconds"] / one["load_seconds"] for one in same]
        ratios += of_size
        spread = f" ({three(min(of_size))} to {three(max(of_size))})" if len(of_size) > 1 else ""
        listed.append(f"{three(median(of_size))}{spread} with {count(rows)} rows")
    if max(ratios) <= 1:
        verdict = "never longer than the load"
    elif min(ratios) > 1:
        verdict = "always longer than the load"
    else:
        verdict = "sometimes longer than the load"
    return (
        f"The time of verifying every field, as a multiple of the load's, was {join(listed)} (medians, and "
        f"the range): {verdict}."
    )


def table(results: Results) -> pd.DataFrame:
    """Rungs with rows/s, what the stream reached against each in the same round, and CPU a row."""
    data = results.require("ladder")
    rows = []
    for name, s in sorted(data["summary"].items(), key=lambda item: item[1]["median"]):
        ratio = {k: three(v) for k, v in data["against"].get(name, {}).items()}
        rows.append(
            {
                "Way": data["labels"][name],
                "rows/s": count(s["median"]),
                "min to max": f"{count(s['min'])} to {count(s['max'])}",
                "streamed against it": "{median} ({min} to {max})".format(**ratio) if ratio else "",
                "Redis CPU a row": duration_us(s["redis_cpu_us"]),
                "client CPU a row": duration_us(s["client_cpu_us"]),
            }
        )
    return pd.DataFrame(rows)


def growth_table(results: Results) -> pd.DataFrame:
    """Sizes with the rates of load and verification (medians), their ratio, and memory."""
    return pd.DataFrame(
        {
            "Rows": count(rows),
            "migrations": count(len(records)),
            "load, rows/s": count(rows / median(r["load_seconds"] for r in records)),
            "verify, rows/s": count(rows / median(r["verify_seconds"] for r in records)),
            "verify / load": three(median(r["verify_seconds"] / r["load_seconds"] for r in records)),
            "memory, at most": f"{three(max(r['peak_rss_mb'] for r in records))} MB",
        }
        for rows, records in _by_size(results.part("ladder", "growth")).items()
    )
