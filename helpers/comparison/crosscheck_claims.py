"""What other programs say of the same servers: whether they find the same, and what our client costs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from helpers.comparison.statistics import Interval
from helpers.report import claim, style
from helpers.results import NOT_MEASURED, Missing, Results, having
from helpers.settings import LABELS
from helpers.text import count, duration_us, join, known, plural, span, three

IN_WORDS: Mapping[str, str] = {"read": "reads", "insert": "inserts"}
"""The operations that have data to do with, as they are called in sentences."""
OF_SERVER = ("redis-benchmark", "pgbench")
"""Programs that come with a server, and have its number."""
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
FACES = ("full", "none", "left", "right", "top")
"""How markers are filled, one way for each program."""

_claim = claim.from_result("comparison", TypeError)


@_claim("Cross-check of the floor:", "cross_check")
def floor(check: Mapping[str, Any]) -> str:
    """PING as another program measures it on the same server, against our driver's null operation."""
    pings = having(check["rows"], operation="null")
    if not pings:
        raise Missing("comparison: no program asked for nothing")
    one = min(pings, key=lambda row: int(row["clients"]))
    many = max(pings, key=lambda row: int(row["clients"]))
    (about,) = having(check["programs"], store=one["store"], program=one["program"])
    echo, null, rate = (
        Interval.of(ratio) for ratio in (one["theirs_to_echo"], one["ratio"]["p50"], many["ratio"]["per_s"])
    )
    theirs, ours = (duration_us(one[side]["p50"]["value"]) for side in ("theirs_us", "ours_us"))
    return (
        f"One client of {one['program']} {about['version']} gets the answer to a PING from "
        f"{LABELS[one['store']]} in {theirs} (median), {three(echo.value)} times a bare TCP round "
        f"trip{_noted(echo)}. Our driver's null operation takes {ours}, {three(null.value)} times as "
        f"long{_noted(null)}. With {many['clients']} clients it sends "
        f"{count(many['theirs_per_s']['value'])} per second, ours {count(many['ours_per_s']['value'])}"
        f"{_noted(rate)}."
    )


@_claim("Versions of the other programs:", "cross_check")
def versions(check: Mapping[str, Any]) -> str:
    """Which programs are of another version than the server that they ask, where both number alike."""
    told = {
        (one["program"], one["version"], LABELS[one["store"]], one["server_version"])
        for one in check["programs"]
        if "version" in one and one["program"] in OF_SERVER
    }
    if not told:
        raise Missing("comparison: no program of a server's own was run")
    differing = [
        f"{program} {its} asked {store} {server}"
        for program, its, store, server in sorted(told)
        if its.split(".")[:2] != server.split(".")[:2]
    ]
    if not differing:
        return f"Of {join(sorted({one[0] for one in told}))} the version is that of the server."
    return f"The versions differ: {join(differing)}."


@_claim("Cross-check:", "cross_check")
def agreement(check: Mapping[str, Any]) -> str:
    """How our medians with one client and our rates with many compare with those of all programs."""
    rows = _asked(check)
    if not rows:
        return f"No other program was run. {_absent(check)}".strip()
    fewest, most = (of(int(row["clients"]) for row in rows) for of in (min, max))
    sentences = []
    for clients, figure, what in ((fewest, "p50", "our median"), (most, "per_s", "our rate")):
        found = [(row["store"], Interval.of(row["ratio"][figure])) for row in having(rows, clients=clients)]
        if not found:
            continue
        (least, low), (highest, high) = (of(found, key=lambda one: one[1].value) for of in (min, max))
        level = sum(one.holds(1) for _, one in found)
        where = f", least on {LABELS[least]} and most on {LABELS[highest]}" if least != highest else ""
        no = f" In {level} of {len(found)} cases no difference is shown." if level else ""
        times = span([low.value, high.value])
        sentences.append(f"With {plural(clients, 'client')} {what} is {times} times theirs{where}.{no}")
    named = join(list(dict.fromkeys(row["program"] for row in rows)))
    return (
        f"Reads and inserts were also asked for by {named}, in {plural(check['rounds'], 'round')} that took "
        f"turns with ours. {' '.join(sentences)} {_absent(check)}"
    ).strip()


@_claim("Order of the stores by another program:", "cross_check")
def order(check: Mapping[str, Any]) -> str:
    """Whether a program that asks several stores finds the same ones faster as we do."""
    rows = _asked(check)
    sentences = []
    for program, operation, clients in _several(rows):
        same, turned = [], []
        for one, other in combinations(
            having(rows, program=program, operation=operation, clients=clients), 2
        ):
            theirs, ours = (_faster(one, other, side) for side in ("theirs_per_s", "ours_per_s"))
            if theirs is None or ours is None:
                continue
            if theirs == ours:
                same.append(theirs)
            else:
                pair = f"{LABELS[one['store']]} and {LABELS[other['store']]}"
                turned.append(f"{pair} ({LABELS[theirs]} by {program}, {LABELS[ours]} by ours)")
        told = len(same) + len(turned)
        opening = f"In {IN_WORDS[operation]} with {plural(clients, 'client')},"
        if not told:
            sentences.append(f"{opening} {program} and ours order no two stores by rate.")
            continue
        sentence = (
            f"{opening} {program} and ours agree in the order of {len(same)} of "
            f"{plural(told, 'pair')} of stores"
        )
        sentences.append(f"{sentence}; not on {join(turned)}." if turned else f"{sentence}.")
    if not sentences:
        raise Missing("comparison: no program asked two stores")
    return " ".join(sentences)


@_claim("Gain by more clients, by another program:", "cross_check")
def gain(check: Mapping[str, Any]) -> str:
    """How many times the rate with one client the rate with the most is: by another program, and by ours."""
    sentences = []
    rows = [row for row in _asked(check) if row.get("gain")]
    for program, operation, clients in _several(rows):
        mine = having(rows, program=program, operation=operation, clients=clients)
        theirs, ours = (span([row["gain"][side]["value"] for row in mine]) for side in ("theirs", "ours"))
        sentences.append(
            f"With {clients} clients the rate of {IN_WORDS[operation]} is {theirs} times that of one by "
            f"{program}, and {ours} times by ours."
        )
    if not sentences:
        raise Missing("comparison: no program asked two stores with more clients")
    return " ".join(sentences)


def table(results: Results) -> pd.DataFrame:
    """Both sides and their ratios by store, operation, program and number of clients.

    Raises:
        Missing: no cross-check was made, or no program was there.
    """
    check = results.part("comparison", "cross_check")
    if not check["rows"]:
        raise Missing(f"comparison: {_absent(check)}")
    return pd.DataFrame(
        {
            "store": LABELS[row["store"]],
            "program": row["program"],
            "operation": row["operation"],
            "clients": row["clients"],
            "median, ours": known(row["ours_us"]["p50"], lambda of: duration_us(of["value"])),
            "median, theirs": known(row["theirs_us"]["p50"], lambda of: duration_us(of["value"])),
            "ratio of medians": known(row["ratio"]["p50"], _written),
            "per second, ours": known(row["ours_per_s"], lambda of: count(of["value"])),
            "per second, theirs": known(row["theirs_per_s"], lambda of: count(of["value"])),
            "ratio of rates": known(row["ratio"]["per_s"], _written),
        }
        for row in check["rows"]
    )


def requests_table(results: Results) -> pd.DataFrame:
    """What our client and each program send for an operation, by store.

    Raises:
        Missing: no cross-check was made, or no program was there.
    """
    check = results.part("comparison", "cross_check")
    asked = {(row["store"], row["program"], row["operation"]): row for row in check["rows"]}
    if not asked:
        raise Missing(f"comparison: {_absent(check)}")
    return pd.DataFrame(
        {"store": LABELS[store], "program": program, "operation": operation}
        | {"ours": row["ours"], "theirs": row["theirs"]}
        for (store, program, operation), row in asked.items()
    )


def programs_table(results: Results) -> pd.DataFrame:
    """Each program by store: its version, or why it was not run.

    Raises:
        Missing: no cross-check was made.
    """
    return pd.DataFrame(
        {
            "store": LABELS[one["store"]],
            "program": one["program"],
            "version": one.get("version", "not run"),
            "server": one.get("server_version", one.get(NOT_MEASURED)),
        }
        for one in results.part("comparison", "cross_check")["programs"]
    )


@style.shared
def ratios(results: Results) -> Figure:
    """Our rate over theirs against the number of clients, with intervals; at 1 both get as much out of a
    server.

    Intervals of few rounds may reach beyond the axis.

    Args:
        results: with a cross-check.
    """
    rows = [row for row in _asked(results.part("comparison", "cross_check")) if row["ratio"]["per_s"]]
    if not rows:
        raise Missing("comparison: no other program was run")
    figure, axes = style.new_figure(3.2, ncols=len(IN_WORDS), sharey=True)
    names = list(dict.fromkeys(row["program"] for row in rows))
    for axis, (operation, title) in zip(axes, IN_WORDS.items(), strict=True):
        for store, program in dict.fromkeys((row["store"], row["program"]) for row in rows):
            found = having(rows, store=store, program=program, operation=operation)
            rates = [Interval.of(row["ratio"]["per_s"]) for row in found]
            axis.errorbar(
                [row["clients"] for row in found],
                [one.value for one in rates],
                yerr=[[one.value - one.low for one in rates], [one.high - one.value for one in rates]],
                **style.look(
                    store,
                    label=f"{LABELS[store]}, {program}",
                    fillstyle=FACES[names.index(program) % len(FACES)],
                ),
            )
        axis.axhline(1, color=style.COLOURS["muted"], linewidth=0.8)
        axis.set_title(title.capitalize())
        axis.set_xlabel("clients")
        counts = sorted({row["clients"] for row in rows})
        style.log_at(axis, "x", {number: str(number) for number in counts})
    style.log_at(axes[0], "y", {ratio: f"{ratio:g}" for ratio in RATIOS})
    values = [row["ratio"]["per_s"]["value"] for row in rows]
    axes[0].set_ylim(min(RATIOS[0], *values) / 1.3, max(RATIOS[-1], *values) * 1.3)
    axes[0].set_ylabel("our rate over theirs")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _asked(check: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of operations on data."""
    return [row for row in check["rows"] if row["operation"] in IN_WORDS and row["ratio"]["per_s"]]


def _several(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, int]]:
    """(program, operation, most clients) wherever a program asked two stores or more."""
    for program, operation in dict.fromkeys((row["program"], row["operation"]) for row in rows):
        mine = [row for row in rows if (row["program"], row["operation"]) == (program, operation)]
        if len({row["store"] for row in mine}) > 1:
            yield program, operation, max(int(row["clients"]) for row in mine)


def _faster(one: Mapping[str, Any], other: Mapping[str, Any], side: str) -> str | None:
    """The store with the higher rate, None where the intervals overlap."""
    rates = [Interval.of(row[side]) for row in (one, other)]
    if rates[0].overlaps(rates[1]):
        return None
    return str((one if rates[0].value > rates[1].value else other)["store"])


def _absent(check: Mapping[str, Any]) -> str:
    """Which programs were not run on which stores, and why."""
    stores: dict[str, list[str]] = {}
    for one in check["programs"]:
        if NOT_MEASURED in one:
            stores.setdefault(one[NOT_MEASURED], []).append(LABELS[one["store"]])
    return " ".join(f"Not run on {join(names)}: {reason}." for reason, names in stores.items())


def _written(found: Mapping[str, float]) -> str:
    return Interval.of(found).written()


def _noted(found: Interval) -> str:
    return ", no difference shown" if found.holds(1) else ""
