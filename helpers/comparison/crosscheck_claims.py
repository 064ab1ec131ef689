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
from helpers.text import count, duration_us, join, known, plural, span

IN_WORDS: Mapping[str, str] = {"read": "reads", "insert": "inserts"}
"""The operations that have data to do with, as they are called in sentences."""
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
        f"{LABELS[one['store']]} in "
        f"{theirs} (median), {echo.written()} times a bare TCP round trip{_noted(echo)}; our driver's null "
        f"operation takes {ours}, {null.written()} times as long{_noted(null)}. With {many['clients']} "
        "clients it sends "
        f"{count(many['theirs_per_s']['value'])} per second, ours {count(many['ours_per_s']['value'])}, "
        f"{rate.written()} times as many{_noted(rate)} ({plural(check['rounds'], 'round')} in turns)."
    )


@_claim("Cross-check:", "cross_check")
def agreement(check: Mapping[str, Any]) -> str:
    """How our medians with one client and our rates with many compare, by store, with those of all
    programs.
    """
    rows = _asked(check)
    if not rows:
        return f"No other program was run. {_absent(check)}".strip()
    fewest, most = (of(int(row["clients"]) for row in rows) for of in (min, max))
    sentences = []
    for clients, figure, what in (
        (fewest, "p50", "our median is"),
        (most, "per_s", "our rate is"),
    ):
        parts = []
        for store in dict.fromkeys(row["store"] for row in rows):
            found = [Interval.of(row["ratio"][figure]) for row in having(rows, store=store, clients=clients)]
            level = sum(one.holds(1) for one in found)
            no = f" (no difference shown in {level} of {len(found)})" if level else ""
            parts.append(f"{span([one.value for one in found])} times theirs on {LABELS[store]}{no}")
        sentences.append(f"With {plural(clients, 'client')} {what} {join(parts)}")
    named = join(list(dict.fromkeys(row["program"] for row in rows)))
    return (
        f"The same reads and inserts were asked for by {named} in turns with ours "
        f"({plural(check['rounds'], 'round')}). "
        f"{'. '.join(sentences)}. {_absent(check)}"
    ).strip()


@_claim("Order of the stores by another program:", "cross_check")
def order(check: Mapping[str, Any]) -> str:
    """Whether a program that asks several stores finds the same ones faster as we do."""
    rows = _asked(check)
    sentences = []
    for program, operation, clients in _several(rows):
        same, turned, untold = [], [], 0
        for one, other in combinations(
            having(rows, program=program, operation=operation, clients=clients), 2
        ):
            theirs, ours = (_faster(one, other, side) for side in ("theirs_per_s", "ours_per_s"))
            if theirs is None or ours is None:
                untold += 1
            elif theirs == ours:
                same.append(theirs)
            else:
                pair = f"{LABELS[one['store']]} and {LABELS[other['store']]}"
                turned.append(f"{pair} ({LABELS[theirs]} by {program}, {LABELS[ours]} by ours)")
        told = len(same) + len(turned)
        sentence = (
            f"In {IN_WORDS[operation]} with {plural(clients, 'client')}, {program} and ours tell {told} of "
            f"{plural(told + untold, 'pair')} of stores apart by rate and agree on {len(same)}"
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
        parts = [
            f"{_written(row['gain']['theirs'])} times on {LABELS[row['store']]} "
            f"(ours: {_written(row['gain']['ours'])})"
            for row in having(rows, program=program, operation=operation, clients=clients)
        ]
        sentences.append(
            f"From 1 to {clients} clients the rate of {IN_WORDS[operation]} by {program} becomes "
            f"{join(parts)}."
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
            "ours": row["ours"],
            "theirs": row["theirs"],
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
