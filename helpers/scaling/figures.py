"""Charts of growing data (latency, space, what happens beyond memory) and of several nodes."""

import itertools
import string
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.comparison import workload
from helpers.report import style
from helpers.results import NOT_MEASURED, Missing, Results, having
from helpers.scaling.nodes_schemas import PARTS
from helpers.scaling.tables import measured
from helpers.settings import LABELS

WIDTHS = {"p50": 1.8, "p99": 0.7}
SHORT_READS: Mapping[str, Mapping[str, str]] = {
    "postgres": {
        "inside": "in buffers",
        "outside": "outside",
        "forgotten": "outside,\nfiles\ndropped",
    },
    "mongodb": {
        "inside": "in the cache",
        "outside": "outside",
        "forgotten": "outside,\nfiles\ndropped",
    },
    "cassandra": {"inside": "written last,\nread before", "outside": "of any age"},
}
"""What the reads beyond memory are called below an axis; ``tables.READS`` has the long names."""

FAINT = 0.02
"""A dot is a stroke of this share of its height; on a logarithmic axis that is a dot of one size."""
CLOSE = 0.018
"""Events nearer to each other than this share of the time share one line of letters."""
SILENT_S = 1.0
"""A time without an acknowledgement is shaded from so many seconds on."""
ROOM = 0.04
"""The share of the whole time from which on its length can be written into it."""
MARKED = 150
"""Most marks of one kind in a panel: they lie on each other long before."""
LINE = 100
"""Characters in a line below a panel."""
FAILED: Mapping[str, Any] = {"marker": "x", "linestyle": "none", "color": "black", "markersize": 4.5}
LOST: Mapping[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "color": style.COLOURS["accent"],
    "markeredgecolor": "black",
    "markeredgewidth": 0.4,
    "markersize": 4,
}


def _sizes(axis: Any, sizes: list[int]) -> None:
    """A logarithmic axis of numbers of activities, a tick at each measured one."""
    style.log_at(axis, "x", {size: f"{size:,}" for size in sizes})
    axis.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)


@style.shared
def latency(results: Results) -> Figure:
    """Latency against activities by operation: p50 with 95 % intervals as thick lines, p99 as thin ones."""
    rows = results.part("scale", "latency")
    sizes = sorted({row["activities"] for row in rows})
    figure, axes = style.new_figure(4.8, nrows=2, ncols=2, sharex=True, sharey=True)
    stores = list(dict.fromkeys(row["store"] for row in rows))
    tails = False
    for axis, operation in zip(axes.flat, workload.OPERATIONS, strict=True):
        for store in stores:
            mine = having(rows, operation=operation, store=store)
            for name, width in WIDTHS.items():
                found = [(r["activities"], one) for r in mine if (one := r["percentiles_us"][name])]
                if not found:
                    continue
                tails = tails or name == "p99"
                axis.errorbar(
                    [activities for activities, _ in found],
                    [one["value"] / 1000 for _, one in found],
                    yerr=style.error_bars_ms([one for _, one in found]) if name == "p50" else None,
                    capsize=2,
                    linewidth=width,
                    markersize=4.5 if name == "p50" else 2.5,
                    **style.look(store),
                )
        axis.set_title(workload.TITLES[operation])
        _sizes(axis, sizes)
        style.plain_log(axis, "y")
    for axis in axes[1]:
        axis.set_xlabel("activities stored")
    for axis in axes[:, 0]:
        axis.set_ylabel("latency (ms)")
    handles = [Line2D([], [], **style.look(store)) for store in stores]
    for name in ("p50", "p99") if tails else ("p50",):
        handles.append(Line2D([], [], color="black", linewidth=WIDTHS[name], label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@style.shared
def space(results: Results) -> Figure:
    """Memory and disk that one activity takes against activities; stores that do not say it are named."""
    rows = results.part("scale", "space")
    sizes = sorted({row["activities"] for row in rows})
    stores = list(dict.fromkeys(row["store"] for row in rows))
    figure, axes = style.new_figure(3.0, ncols=2, sharey=True)
    for axis, kind, title in zip(
        axes, ("memory_per_activity", "disk_per_activity"), ("In memory", "On disk"), strict=True
    ):
        silent = []
        for store in stores:
            mine = [row for row in having(rows, store=store) if row[kind] is not None]
            if not mine:
                silent.append(LABELS[store])
            axis.plot(
                [row["activities"] for row in mine],
                [row[kind] for row in mine],
                **style.look(store),
            )
        if silent:
            axis.text(0.03, 0.04, f"{', '.join(silent)}: not known", transform=axis.transAxes, fontsize=7.5)
        axis.set_title(title)
        axis.set_xlabel("activities stored")
        _sizes(axis, sizes)
    known = [row[f"{kind}_per_activity"] for row in rows for kind in ("memory", "disk")]
    known = [size for size in known if size]
    if known:
        axes[0].set_ylim(min(known) / 2, max(known) * 1.6)
    style.plain_log(axes[0], "y")
    axes[0].set_ylabel("bytes of one activity")
    style.legend_below(figure, axes[1])
    return figure


@style.shared
def evictions(results: Results) -> Figure:
    """Share of acknowledged activities that Redis no longer holds, by tenth in the order of writing, for each
    policy under which any is gone.
    """
    policies = results.part("scale", "outgrown", "redis", "policies")
    losing = [name for name, policy in policies.items() if any(policy["gone_share_by_tenth"])]
    figure, axis = style.new_figure(2.4)
    for number, policy in enumerate(losing):
        shares = policies[policy]["gone_share_by_tenth"]
        bars = axis.bar(
            [tenth + 1 + 0.4 * (number - (len(losing) - 1) / 2) for tenth in range(len(shares))],
            [100 * share for share in shares],
            width=0.38,
            color=style.COLOURS["redis"],
            hatch="//" * number,
            edgecolor="black",
            linewidth=0.6,
            label=policy,
        )
        axis.bar_label(bars, labels=[f"{100 * share:.0f}" for share in shares], fontsize=6.5, padding=1)
    axis.set_xticks(range(1, 11))
    axis.set_ylim(0, 112)
    axis.set_yticks(range(0, 101, 25))
    axis.grid(axis="x", visible=False)
    axis.set_xlabel("acknowledged activities in the order of writing, tenths")
    axis.set_ylabel("gone (%)")
    axis.set_title(f"Redis at its memory's limit, {' and '.join(losing) or 'nothing gone'}")
    return figure


@style.shared
def reads(results: Results) -> Figure:
    """Median read with 95 % interval and p99, inside and beyond what each store keeps in memory."""
    beyond = results.part("scale", "outgrown")
    stores = [store for store in SHORT_READS if NOT_MEASURED not in beyond[store]]
    if not stores:
        raise Missing("scale: reads beyond memory not measured")
    figure, axes = style.new_figure(2.7, ncols=len(stores), sharey=True, squeeze=False)
    for axis, store in zip(axes[0], stores, strict=True):
        rows = beyond[store]["reads"]
        marks = style.look(store, linestyle="none")
        for place, row in enumerate(rows.values()):
            median, tail = row["percentiles_us"]["p50"], row["percentiles_us"]["p99"]
            if median:
                reach = style.error_bars_ms([median])
                axis.errorbar([place], [median["value"] / 1000], yerr=reach, capsize=3, **marks)
            if tail:
                axis.plot([place], [tail["value"] / 1000], markerfacecolor="white", **marks)
        axis.set_xticks(range(len(rows)), [SHORT_READS[store][name] for name in rows])
        axis.set_xlim(-0.5, len(rows) - 0.5)
        axis.set_title(LABELS[store])
        style.plain_log(axis, "y")
    axes[0][0].set_ylabel("latency of a read (ms)")
    handles = [
        Line2D([], [], color="black", marker="o", linestyle="none", label="p50"),
        Line2D([], [], color="black", marker="o", linestyle="none", markerfacecolor="white", label="p99"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@style.shared
def timelines(results: Results) -> Figure:
    """The writes of each part: when each was sent and how long it took, with failures, losses and events, and
    times without an acknowledgement shaded.

    Raises:
        Missing: no part was measured.
    """
    parts = measured(results.require("nodes"))
    if not parts:
        raise Missing("nodes: no part was measured")
    figure, axes = style.new_figure(0.5 + 1.85 * len(parts), nrows=len(parts), squeeze=False)
    for axis, (part, found) in zip(axes[:, 0], parts.items(), strict=True):
        _panel(axis, part.split("_")[0], found)
        shown = found["settings"].get("shown")
        axis.set_title(f"{PARTS[part]}{f', {shown}' if shown else ''}", pad=11)
        axis.set_ylabel("write took (ms)")
    marks = [
        axes[0, 0].plot([], [], "o", color=style.COLOURS["muted"], markersize=2.5, label="acknowledged")[0],
        axes[0, 0].plot([], [], **FAILED, label="failed")[0],
        axes[0, 0].plot([], [], **LOST, label="acknowledged, then lost")[0],
    ]
    figure.legend(handles=marks, loc="outside upper right", ncols=3, handletextpad=0.3, columnspacing=1.2)
    return figure


def _panel(axis: Any, store: str, found: Mapping[str, Any]) -> None:
    points, lost = found["timeline"], found["found"].get("lost_at", [])
    done = [point for point in points if point[2]]
    _dots(axis, done, style.COLOURS[store])
    failed = [point for point in points if not point[2]]
    for some, look in ((lost, LOST), (failed, FAILED)):
        chosen = some[:: -(-len(some) // MARKED) or 1]
        axis.plot([point[0] for point in chosen], [point[1] for point in chosen], **look)
    last = max([point[0] for point in points] + [second for second, _ in found["events"]], default=1.0)
    axis.set_xlim(-0.01 * last, 1.01 * last)
    style.plain_log(axis, "y")
    _silences(axis, done, last)
    _events(axis, found["events"], last)


def _dots(axis: Any, points: Sequence[Sequence[float]], colour: str) -> None:
    """A dot for each point, all of them one path: a marker each would make the file many times larger."""
    xs, ys = [], []
    for second, took, _ in points:
        xs += [second, second, float("nan")]
        ys += [took, took * (1 + FAINT), float("nan")]
    axis.plot(xs, ys, color=colour, linewidth=2.2, solid_capstyle="round", alpha=0.75)


def _silences(axis: Any, done: Sequence[Sequence[float]], last: float) -> None:
    """Shade the times without an acknowledgement, with their length in seconds where there is room."""
    ends = sorted(second + took / 1000 for second, took, _ in done)
    for before, after in itertools.pairwise(ends):
        if after - before >= SILENT_S:
            axis.axvspan(before, after, color=style.COLOURS["muted"], alpha=0.25, linewidth=0)
            if after - before >= ROOM * last:
                place = ((before + after) / 2, 0.03)
                length = f"{after - before:.1f} s"
                axis.annotate(length, place, xycoords=("data", "axes fraction"), ha="center", fontsize=6.5)


def _events(axis: Any, events: Sequence[Sequence[Any]], last: float) -> None:
    """A line and a letter for each event, and below the panel what the letters mean."""
    letters = dict(zip(dict.fromkeys(what for _, what in events), string.ascii_lowercase, strict=False))
    groups: list[tuple[float, str]] = []
    for second, what in events:
        axis.axvline(second, color="#666666", linewidth=0.6, linestyle=":")
        letter = letters.get(what, "")
        if groups and second - groups[-1][0] < CLOSE * last * (1 + len(groups[-1][1]) / 4):
            groups[-1] = (groups[-1][0], f"{groups[-1][1]} {letter}")
        else:
            groups.append((second, letter))
    for second, text in groups:
        axis.annotate(
            text,
            (second, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    meanings = "; ".join(f"{letter}: {what}" for what, letter in letters.items())
    axis.set_xlabel(fill(f"seconds; {meanings}" if meanings else "seconds", LINE), fontsize=7.5)
