"""Sentences and tables on the speed of the migration, computed from the result ``ladder``."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Missing, Results
from helpers.text import count, duration_us, join, plural, span, three
from helpers.trials import largest_claims

FULL_CORE = 0.9
"""From this share of one core on, Redis, which executes commands in one thread, is called the limit."""
BOUNDED = 0.1
"""From this share of what the rows grow by on, memory is said to grow with them."""
FIRST = "row"
"""The rung that one writes first: a command for each row."""
CEILING = "redis_cli_file"
"""The rung that sends a file of commands: as fast as Redis takes them."""

_claim = claim.from_result("ladder")


def _percent(share: float) -> str:
    return f"{three(100 * share)} %"


@_claim("The ladder was")
def reached(data: Mapping[str, Any]) -> str:
    """How fast the stream was, and against the slowest and the quickest other way, round by round."""
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
    slow = data["against"].get(FIRST)
    loop = f", {three(slow['median'])} times the row-by-row loop in the same round" if slow else ""
    return (
        f"The streamed load reached {count(mine['median'])} rows/s{loop} (medians of rounds). Of the other "
        f"ways the quickest was {label}; the streamed load reached {three(ratio['median'])} times its rate, "
        f"{verdict}."
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
        f"each batch with its checkpoint, reached {_percent(ratio['median'])} of that rate and kept Redis "
        f"busy for {_percent(mine['redis_busy'])} of a core."
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
    if len(peaks) < 2:
        raise Missing("ladder: one size alone tells no growth")
    fewest, most = min(peaks), max(peaks)
    factor = most / fewest
    times = "a hundredfold" if round(factor) == 100 else f"to {three(factor)} times as many"
    change = peaks[most] / peaks[fewest] - 1
    percent = f"{100 * abs(change):.0f}"
    much = "as much" if percent == "0" else f"{percent} % {'more' if change > 0 else 'less'}"
    with_rows = " Memory grows with the rows." if change >= BOUNDED * (factor - 1) else ""
    return (
        f"While rows grew {times}, load and verification together needed {much} memory: "
        f"{three(peaks[most])} MB at most with {count(most)} rows.{with_rows}"
    )


@_claim("How long the verification takes was", "growth")
def verification(migrations: Sequence[Mapping[str, Any]]) -> str:
    """How long the verification took against the load."""
    ratios = [one["verify_seconds"] / one["load_seconds"] for one in migrations]
    if max(ratios) <= 1:
        verdict = "never longer than the load"
    elif min(ratios) > 1:
        verdict = "always longer than the load"
    else:
        verdict = "sometimes longer than the load"
    once = (
        " The largest of these was measured once."
        if len(list(_by_size(migrations).values())[-1]) == 1
        else ""
    )
    return (
        f"Verifying every field took {span(ratios)} times as long as loading, over "
        f"{plural(len(ratios), 'migration')}: {verdict}.{once}"
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
    """Sizes with the rates of load and verification (medians), their ratio, and memory; then the largest."""
    sizes = [
        {
            "Rows": count(rows),
            "migrations": count(len(records)),
            "load, rows/s": count(rows / median(r["load_seconds"] for r in records)),
            "verify, rows/s": count(rows / median(r["verify_seconds"] for r in records)),
            "verify / load": three(median(r["verify_seconds"] / r["load_seconds"] for r in records)),
            "memory, at most": f"{three(max(r['peak_rss_mb'] for r in records))} MB",
        }
        for rows, records in _by_size(results.part("ladder", "growth")).items()
    ]
    return pd.DataFrame(sizes + largest_claims.growth_row(results))
