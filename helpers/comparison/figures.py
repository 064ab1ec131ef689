"""Charts of the comparison: distributions, percentiles, throughput, floors, open loop, warm-up."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from helpers.comparison import statistics
from helpers.comparison.summary import GRID, WARM_UP_WINDOW
from helpers.comparison.tables import rows_of
from helpers.comparison.workload import MIX, OPERATIONS, TITLES
from helpers.report import style
from helpers.results import Results, having
from helpers.settings import LABELS

POINTS = ("p50", "p90", "p99", "p99.9")
RATIOS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
"""Where an axis of ratios has its ticks."""
ASKING = "#8C8C8C"
"""The colour of what the client's own thread takes."""


@style.shared
def ecdf(results: Results, *, tier: str = "relaxed", mix: str = MIX) -> Figure:
    """Share of operations answered within a latency, by operation; marks at p50, p90 and p99.

    Args:
        results: with a comparison.
        tier: of durability, ``relaxed`` or ``strict``.
        mix: of operations, one of ``workload.MIXES``.
    """
    rows = rows_of(results, "latency", tier=tier, mix=mix)
    figure, axes = style.new_figure(4.6, nrows=2, ncols=2, sharex=True, sharey=True)
    for axis, operation in zip(axes.flat, OPERATIONS, strict=True):
        for row in having(rows, operation=operation):
            if row["quantiles_us"]:
                axis.plot(
                    np.array(row["quantiles_us"]) / 1000,
                    GRID,
                    markevery=[GRID.index(share) for share in (0.5, 0.9, 0.99)],
                    **style.look(row["store"]),
                )
        axis.set_title(TITLES[operation])
        style.plain_log(axis, "x")
    for axis in axes[1]:
        axis.set_xlabel("latency (ms)")
    for axis in axes[:, 0]:
        axis.set_ylabel("share answered")
    style.legend_below(figure, axes[0][0])
    return figure


@style.shared
def percentiles(results: Results, *, tier: str = "relaxed", mix: str = MIX) -> Figure:
    """p50, p90, p99 and p99.9 by operation and store with 95 % intervals; too few samples leave a gap.

    Args:
        results, tier, mix: as for ``ecdf``.
    """
    rows = rows_of(results, "latency", tier=tier, mix=mix)
    figure, axes = style.new_figure(4.6, nrows=2, ncols=2, sharex=True, sharey=True)
    stores = list(dict.fromkeys(row["store"] for row in rows))
    points = [name for name in POINTS if any(row["percentiles_us"][name] for row in rows)]
    for axis, operation in zip(axes.flat, OPERATIONS, strict=True):
        for row in having(rows, operation=operation):
            shift = 0.2 * (stores.index(row["store"]) - (len(stores) - 1) / 2)
            found = [
                (x + shift, one) for x, name in enumerate(points) if (one := row["percentiles_us"][name])
            ]
            axis.errorbar(
                [x for x, _ in found],
                [one["value"] / 1000 for _, one in found],
                yerr=style.error_bars_ms([one for _, one in found]),
                capsize=2.5,
                **style.look(row["store"], linestyle="none"),
            )
        axis.set_title(TITLES[operation])
        axis.set_xticks(range(len(points)), points)
        axis.set_xlim(-0.5, len(points) - 0.5)
        style.plain_log(axis, "y")
    for axis in axes[:, 0]:
        axis.set_ylabel("latency (ms)")
    style.legend_below(figure, axes[0][0])
    return figure


@style.shared
def percentile_curve(results: Results) -> Figure:
    """Latency against percentile up to the slowest operation, at the highest offered rate: from when
    operations were due, from the send, and that corrected for the interval of a client.
    """
    rows = results.part("comparison", "open_loop")
    rate = max(row["offered_per_s"] for row in rows)
    clients = results.part("comparison", "design")["connections"]
    shown = having(rows, offered_per_s=rate)
    figure, axes = style.new_figure(3.3, ncols=len(shown), sharex=True, sharey=True, squeeze=False)
    for axis, row in zip(axes[0], shown, strict=True):
        store = row["store"]
        due, sent = (statistics.decoded(row.get(f"{part}_hdr")) for part in ("latency", "service"))
        corrected = statistics.corrected(sent, clients / rate * 1e6)
        curves = (
            (due, "from when it was due (end filled)", "-", 1.6, "full"),
            (corrected, "from the send, corrected (end half filled)", "--", 1.2, "left"),
            (sent, "from the send (end open)", ":", 1.6, "none"),
        )
        for histogram, label, dashes, width, fill in curves:
            reach, latency_us = statistics.percentiles(histogram)
            latency_ms = np.array(latency_us) / 1000
            look = style.look(store, label=label, linestyle=dashes, linewidth=width, marker=None)
            axis.plot(reach, latency_ms, **look)
            mark = style.look(store, label=None, linestyle="none", fillstyle=fill, markersize=6)
            axis.plot(reach[-1:], latency_ms[-1:], **mark, markerfacecoloralt="white")
        axis.set_title(LABELS[store])
        axis.set_xlabel("percentile")
    _nines(axes[0][0], max(row["n"] for row in shown))
    style.plain_log(axes[0][0], "y")
    axes[0][0].set_ylabel("latency (ms)")
    title = f"Open loop at {rate:,.0f} operations per second"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    legend = figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for line in legend.get_lines():
        line.set_color("black")
    return figure


def _nines(axis: Any, count: int) -> None:
    """An x axis of 1 / (1 - share), which counts nines, up to the number of samples; every second tick is
    named, so that long numbers do not touch.
    """
    names = ("0", "90", "99", "99.9", "99.99", "99.999", "99.9999")
    ticks = {10.0**n: name for n, name in enumerate(names)}
    shown = [tick for tick in ticks if tick <= count]
    named = dict.fromkeys(shown, "") | {tick: ticks[tick] for tick in shown[::-2]}
    style.log_at(axis, "x", named)
    axis.set_xlim(1, count * 1.3)


@style.shared
def throughput(results: Results) -> Figure:
    """Throughput against clients with 95 % intervals, and latency against throughput; filled where the server
    was the limit.
    """
    rows = results.part("comparison", "throughput")
    figure, (left, right) = style.new_figure(3.1, ncols=2)
    for number, store in enumerate(dict.fromkeys(row["store"] for row in rows)):
        mine = having(rows, store=store)
        rates = [row["per_s"] for row in mine]
        look = style.look(store, marker=None)
        clients = [row["clients"] * 1.05 ** (number - 1) for row in mine]  # side by side, so that bars show
        if all(row["low"] is not None for row in mine):
            reach = [[r["per_s"] - r["low"] for r in mine], [r["high"] - r["per_s"] for r in mine]]
            left.errorbar(clients, rates, yerr=reach, capsize=2.5, **look)
        else:
            left.plot(clients, rates, **look)
        medians = [row["percentiles_us"]["p50"]["value"] / 1000 for row in mine]
        right.plot(rates, medians, **look)
        for row, x, rate, median in zip(mine, clients, rates, medians, strict=True):
            marks = style.look(store, label=None, linestyle="-", markerfacecolor=_face(row), zorder=3)
            left.plot([x], [rate], **marks)
            right.plot([rate], [median], **marks)
    ticks = sorted({row["clients"] for row in rows})
    style.log_at(left, "x", {tick: str(tick) for tick in ticks})
    left.set_ylim(bottom=0)
    style.whole_numbers(left, "y")
    left.set(xlabel="clients", ylabel="operations per second", title="Throughput against clients")
    style.plain_log(right, "y")
    style.whole_numbers(right, "x")
    right.xaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
    right.set(
        xlabel="operations per second", ylabel="median latency (ms)", title="Latency against throughput"
    )
    style.legend_below(figure, left)
    return figure


def _face(row: Mapping[str, Any]) -> str:
    """A rate is the server's own, and its point filled, only where the server was the limit."""
    return style.COLOURS[row["store"]] if row["limit"] == "server" else "white"


@style.shared
def core_rates(results: Results) -> Figure:
    """Two ways to a rate against the number of clients: reached (solid), and allowed by one core of the
    server (dotted) with 95 % intervals; filled where the server was the limit, so that the two should agree.
    """
    rows = results.part("comparison", "throughput")
    stores = list(dict.fromkeys(row["store"] for row in rows))
    figure, axes = style.new_figure(2.6, ncols=len(stores), sharey=True, squeeze=False)
    for axis, store in zip(axes[0], stores, strict=True):
        mine = having(rows, store=store)
        look = style.look(store, label=None)
        axis.plot(
            [row["clients"] for row in mine],
            [row["per_s"] for row in mine],
            **look | {"linestyle": "-", "marker": None},
        )
        for row in mine:
            axis.plot(
                [row["clients"]],
                [row["per_s"]],
                **look | {"markerfacecolor": _face(row), "linestyle": "none"},
            )
        allowed = [row for row in mine if row["core_per_s"]]
        cores = [row["core_per_s"] for row in allowed]
        reach = [[of["value"] - of["low"] for of in cores], [of["high"] - of["value"] for of in cores]]
        axis.errorbar(
            [row["clients"] for row in allowed],
            [of["value"] for of in cores],
            yerr=reach,
            capsize=2.5,
            **look | {"linestyle": ":", "marker": None},
        )
        axis.set_title(LABELS[store])
        axis.set_xlabel("clients")
        style.log_at(
            axis, "x", {clients: str(clients) for clients in sorted({row["clients"] for row in rows})}
        )
    style.plain_log(axes[0][0], "y")
    axes[0][0].set_ylabel("operations per second")
    handles = [
        Line2D([], [], color="black", marker="o", markerfacecolor="white", label="reached"),
        Line2D([], [], color="black", linestyle=":", label="allowed by one core of the server"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@style.shared
def open_loop(results: Results) -> Figure:
    """p50 and p99 against the offered rate, from when operations were due."""
    rows = results.part("comparison", "open_loop")
    figure, axes = style.new_figure(3.0, ncols=2, sharex=True)
    for axis, name in zip(axes, ("p50", "p99"), strict=True):
        for store in dict.fromkeys(row["store"] for row in rows):
            mine = [row for row in having(rows, store=store) if row["latency_us"][name]]
            axis.plot(
                [row["offered_per_s"] for row in mine],
                [row["latency_us"][name]["value"] / 1000 for row in mine],
                **style.look(store),
            )
        axis.set(xlabel="offered operations per second", title=f"Open loop, {name}")
        style.whole_numbers(axis, "x")
        style.plain_log(axis, "y")
    axes[0].set_ylabel("latency from due (ms)")
    style.legend_below(figure, axes[0])
    return figure


@style.shared
def ratios(results: Results, *, tier: str = "relaxed", mix: str = MIX) -> Figure:
    """Ratios of medians between stores with 95 % intervals from blocks; filled where a difference is
    shown.

    Args:
        results, tier, mix: as for ``ecdf``.
    """
    rows = rows_of(results, "ratios", tier=tier, mix=mix)
    pairs = list(dict.fromkeys((row["store"], row["against"]) for row in rows))
    figure, axes = style.new_figure(1.6 + 0.36 * len(pairs), nrows=2, ncols=2, sharex=True, sharey=True)
    for axis, operation in zip(axes.flat, OPERATIONS, strict=True):
        for row in having(rows, operation=operation):
            y = -pairs.index((row["store"], row["against"]))
            axis.plot([row["low"], row["high"]], [y, y], color="black", linewidth=1.2)
            face = "black" if row["shown"] else "white"
            axis.plot([row["ratio"]], [y], marker="o", color="black", markerfacecolor=face)
        axis.axvline(1, color=style.COLOURS["muted"], linestyle="--", linewidth=1)
        axis.grid(axis="y", visible=False)
        axis.set_title(TITLES[operation])
    names = [f"{LABELS[store]} / {LABELS[against]}" for store, against in pairs]
    axes[0][0].set_yticks([-place for place in range(len(pairs))], names)
    axes[0][0].set_ylim(0.6 - len(pairs), 0.4)
    ends = [end for row in rows for end in (row["low"], row["high"], 1)]
    low, high = min(ends) / 1.15, max(ends) * 1.15
    style.log_at(axes[0][0], "x", {tick: f"{tick:g}" for tick in RATIOS if low <= tick <= high})
    axes[0][0].set_xlim(low, high)
    figure.supxlabel("ratio of medians (below 1: the first is faster)", fontsize=8.5)
    return figure


@style.shared
def cost_stack(results: Results, *, mix: str = MIX) -> Figure:
    """Where the time of a null operation and of an operation goes, by store, one client.

    A bar is the asking thread's time on a processor and, above it, its waiting. The narrow bar is the
    server's processor time, drawn from where the waiting begins: what of it reaches above the bar was used at
    the same time as something else.

    Args:
        results: with a comparison.
        mix: of operations, one of ``workload.MIXES``.
    """
    floors, cost = results.part("comparison", "floors"), results.part("comparison", "cost")
    figure, axis = style.new_figure(3.2)
    ticks = {}
    for place, store in enumerate(cost):
        for shift, what, found in (
            (0.0, "null", floors["null_op_cost"][store]),
            (0.95, "operation", cost[store][mix]),
        ):
            x = 2.5 * place + shift
            asking, rest = found["asking_us"] / 1000, found["rest_us"] / 1000
            look = {"width": 0.8, "edgecolor": "black", "linewidth": 0.5}
            axis.bar(x, asking, color=ASKING, **look)
            axis.bar(x, rest, bottom=asking, color=style.COLOURS[store], **look)
            server = found["server_cpu_us"]
            if server is not None:
                axis.bar(
                    x,
                    server / 1000,
                    bottom=asking,
                    **look | {"width": 0.25, "color": "white", "hatch": "////"},
                )
            ticks[x] = what
        axis.text(2.5 * place + 0.475, 1.01, LABELS[store], transform=axis.get_xaxis_transform(), ha="center")
    axis.set_xticks(list(ticks), list(ticks.values()))
    axis.grid(axis="x", visible=False)
    axis.set_ylabel("mean (ms)")
    axis.set_title("Where the time goes", pad=16)
    handles = [
        Patch(facecolor=ASKING, edgecolor="black", label="asking thread on a processor"),
        Patch(facecolor="white", edgecolor="black", label="in colour: it waits"),
        Patch(facecolor="white", edgecolor="black", hatch="////", label="server's processor time"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@style.shared
def warm_up(results: Results) -> Figure:
    """Median latency of successive windows of operations right after loading, before anything was counted."""
    series = results.part("comparison", "warm_up")
    figure, axis = style.new_figure(2.8)
    for store, values in series.items():
        operations = [WARM_UP_WINDOW * (number + 1) for number in range(len(values))]
        every = max(1, len(values) // 20)
        axis.plot(operations, np.array(values) / 1000, markevery=every, **style.look(store))
    style.whole_numbers(axis, "x")
    style.plain_log(axis, "y")
    axis.set(xlabel="operations since loading", ylabel=f"median of {WARM_UP_WINDOW} (ms)", title="Warm-up")
    style.legend_below(figure, axis)
    return figure
