"""Charts of the growth of the data: latency, space, and what happens beyond memory."""

from collections.abc import Mapping
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.comparison import workload
from helpers.report import style
from helpers.results import Missing, Results

__all__ = ["evictions", "latency", "reads", "space"]

LOOK: Any = dict(style.RC)
TITLES: Mapping[str, str] = {
    "read_profile": "Read profile",
    "last_activities": "Read last 20 activities",
    "append_activity": "Append activity",
    "place_order": "Place order",
}
WIDTHS = {"p50": 1.8, "p99": 0.7}
PARTS: Mapping[str, Mapping[str, str]] = {
    "mongodb": {
        "inside": "in the cache",
        "outside": "outside",
        "forgotten": "outside,\nfiles dropped",
    },
    "cassandra": {"inside": "written last,\nread before", "outside": "of any age"},
}


def _part(results: Results, part: str) -> Any:
    found = results.require("scale").get(part)
    if not found:
        raise Missing(f"scale: {part} not measured")
    return found


def _sizes(axis: Any, sizes: list[int]) -> None:
    """A logarithmic axis of numbers of activities, a tick at each measured one."""
    style.log_at(axis, "x", {size: f"{size:,}" for size in sizes})
    axis.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)


@rc_context(LOOK)
def latency(results: Results) -> Figure:
    """Latency against activities by operation: p50 with 95 % intervals as thick lines, p99 as thin ones."""
    rows = _part(results, "latency")
    sizes = sorted({row["activities"] for row in rows})
    figure, axes = style.new_figure(4.8, nrows=2, ncols=2, sharex=True, sharey=True)
    stores = list(dict.fromkeys(row["store"] for row in rows))
    tails = False
    for axis, operation in zip(axes.flat, workload.OPERATIONS, strict=True):
        for store in stores:
            mine = [row for row in rows if (row["operation"], row["store"]) == (operation, store)]
            for name, width in WIDTHS.items():
                found = [(r["activities"], one) for r in mine if (one := r["percentiles_us"][name])]
                if not found:
                    continue
                tails = tails or name == "p99"
                values = [one["value"] / 1000 for _, one in found]
                look = {"color": style.COLOURS[store], "linestyle": style.LINES[store], "linewidth": width}
                reach = [
                    [(one["value"] - one["low"]) / 1000 for _, one in found],
                    [(one["high"] - one["value"]) / 1000 for _, one in found],
                ]
                axis.errorbar(
                    [activities for activities, _ in found],
                    values,
                    yerr=[[max(end, 0) for end in ends] for ends in reach] if name == "p50" else None,
                    capsize=2,
                    marker=style.MARKERS[store],
                    markersize=4.5 if name == "p50" else 2.5,
                    **look,
                )
        axis.set_title(TITLES[operation])
        _sizes(axis, sizes)
        style.plain_log(axis, "y")
    for axis in axes[1]:
        axis.set_xlabel("activities stored")
    for axis in axes[:, 0]:
        axis.set_ylabel("latency (ms)")
    handles = [
        Line2D(
            [],
            [],
            color=style.COLOURS[s],
            linestyle=style.LINES[s],
            marker=style.MARKERS[s],
            label=style.LABELS[s],
        )
        for s in stores
    ]
    for name in ("p50", "p99") if tails else ("p50",):
        handles.append(Line2D([], [], color="black", linewidth=WIDTHS[name], label=name))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@rc_context(LOOK)
def space(results: Results) -> Figure:
    """Memory and disk that one activity takes against activities; stores that do not say it are named."""
    rows = _part(results, "space")
    sizes = sorted({row["activities"] for row in rows})
    stores = list(dict.fromkeys(row["store"] for row in rows))
    figure, axes = style.new_figure(3.0, ncols=2, sharey=True)
    for axis, kind, title in zip(
        axes, ("memory_per_activity", "disk_per_activity"), ("In memory", "On disk"), strict=True
    ):
        silent = []
        for store in stores:
            mine = [row for row in rows if row["store"] == store and row[kind] is not None]
            if not mine:
                silent.append(style.LABELS[store])
            axis.plot(
                [row["activities"] for row in mine],
                [row[kind] for row in mine],
                color=style.COLOURS[store],
                linestyle=style.LINES[store],
                marker=style.MARKERS[store],
                label=style.LABELS[store],
            )
        if silent:
            axis.text(0.03, 0.04, f"{', '.join(silent)}: not told", transform=axis.transAxes, fontsize=7.5)
        axis.set_title(title)
        axis.set_xlabel("activities stored")
        _sizes(axis, sizes)
    known = [row[f"{kind}_per_activity"] for row in rows for kind in ("memory", "disk")]
    known = [size for size in known if size]
    if known:
        axes[0].set_ylim(min(known) / 2, max(known) * 1.6)
    style.plain_log(axes[0], "y")
    axes[0].set_ylabel("bytes of one activity")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


@rc_context(LOOK)
def evictions(results: Results) -> Figure:
    """Share of acknowledged activities that Redis no longer holds, by tenth in the order of writing."""
    part = _part(results, "outgrown")["redis"]
    if "not measured" in part:
        raise Missing("scale: Redis beyond its memory not measured")
    figure, axis = style.new_figure(2.6)
    looks = (("noeviction", "white", ""), ("allkeys-lru", style.COLOURS["redis"], "//"))
    for number, (policy, face, hatch) in enumerate(looks):
        shares = part["policies"][policy]["gone_share_by_tenth"]
        bars = axis.bar(
            [tenth + 1 + 0.4 * (number - 0.5) for tenth in range(len(shares))],
            [100 * share for share in shares],
            width=0.38,
            color=face,
            hatch=hatch,
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
    axis.set_title("Redis at its memory's limit")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@rc_context(LOOK)
def reads(results: Results) -> Figure:
    """Median read with 95 % interval and p99: MongoDB beyond its cache, Cassandra beyond its memtables."""
    beyond = _part(results, "outgrown")
    measured = [s for s in ("mongodb", "cassandra") if "not measured" not in beyond[s]]
    if not measured:
        raise Missing("scale: reads beyond memory not measured")
    figure, axes = style.new_figure(2.7, ncols=len(measured), sharey=True, squeeze=False)
    for axis, store in zip(axes[0], measured, strict=True):
        rows = beyond[store]["reads"]
        for place, row in enumerate(rows.values()):
            median, tail = row["percentiles_us"]["p50"], row["percentiles_us"]["p99"]
            if median:
                reach = [
                    [max(median["value"] - median["low"], 0) / 1000],
                    [max(median["high"] - median["value"], 0) / 1000],
                ]
                look = {"color": style.COLOURS[store], "marker": style.MARKERS[store], "linestyle": "none"}
                axis.errorbar([place], [median["value"] / 1000], yerr=reach, capsize=3, **look)
            if tail:
                look = {
                    "color": style.COLOURS[store],
                    "marker": style.MARKERS[store],
                    "markerfacecolor": "white",
                }
                axis.plot([place], [tail["value"] / 1000], linestyle="none", **look)
        axis.set_xticks(range(len(rows)), [PARTS[store][name] for name in rows])
        axis.set_xlim(-0.5, len(rows) - 0.5)
        axis.set_title(f"{style.LABELS[store]} beyond its memory")
        style.plain_log(axis, "y")
    axes[0][0].set_ylabel("latency of a read (ms)")
    handles = [
        Line2D([], [], color="black", marker="o", linestyle="none", label="p50"),
        Line2D([], [], color="black", marker="o", linestyle="none", markerfacecolor="white", label="p99"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
