"""Charts of the trials, from saved results only: kills, a cut-over, the ladder of loaders, scaling out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import Results
from helpers.text import count, plural

VICTIMS = {
    "mover": ("accent", "v", "the migration"),
    "redis": ("redis", style.MARKERS["redis"], "Redis"),
    "postgres": ("postgres", style.MARKERS["postgres"], "PostgreSQL"),
}
"""Colour, mark and label of what was killed."""


def kills(results: Results) -> Figure:
    """Every kill as a mark: when it struck (seconds after the start of the run) and in which phase."""
    data = results.require("crashes")
    phases = list(data["summary"]["mover"]["phases"])
    figure, axes = style.new_figure(0.9 + 0.36 * len(phases))
    seen: Counter[tuple[str, str]] = Counter()
    marks: dict[str, list[tuple[float, float]]] = {name: [] for name in VICTIMS}
    wrong: list[tuple[float, float]] = []
    for trial in data["trials"]:
        name = trial["victim"]
        for kill in trial["kills"]:
            seen[name, kill["phase"]] += 1
            row = phases.index(kill["phase"]) + 0.3 * (list(VICTIMS).index(name) - 1)
            marks[name].append((kill["at_s"], row + 0.05 * (seen[name, kill["phase"]] % 3 - 1)))
            if trial["faults"] or any((*trial["verify"].values(), *trial["judge"].values())):
                wrong.append(marks[name][-1])
    look = {"markersize": 5, "alpha": 0.7, "markeredgecolor": "white", "markeredgewidth": 0.3}
    for name, (colour, marker, label) in VICTIMS.items():
        axes.plot(*_columns(marks[name]), marker, color=style.COLOURS[colour], label=label, **look)
    axes.plot(*_columns(wrong), "o", color="black", fillstyle="none", markersize=9)
    totals = [sum(part["phases"][phase] for part in data["summary"].values()) for phase in phases]
    axes.set_yticks(range(len(phases)), [f"{p} ({count(n)})" for p, n in zip(phases, totals, strict=True)])
    axes.set_ylim(len(phases) - 0.4, -0.6)
    axes.set_xlabel("seconds after the start of the run that was hit")
    axes.set_title(f"{count(sum(totals))} kills")
    figure.legend(loc="outside upper right", ncols=3, handletextpad=0.3, columnspacing=1.2)
    return figure


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def lag(results: Results) -> Figure:
    """How far Redis was behind while it followed: bytes of the log above, seconds below, against time."""
    part = results.part("migration", "follow")
    samples = part["lag"]
    at_s = [sample["at_s"] for sample in samples]
    figure, (above, below) = style.new_figure(3.2, nrows=2, sharex=True)
    for axes, name, unit in ((above, "bytes", "KiB of WAL"), (below, "seconds", "seconds")):
        values = [sample[name] / (1024 if name == "bytes" else 1) for sample in samples]
        axes.plot(at_s, values, "o-", color=style.COLOURS["redis"], markersize=3)
        axes.axvline(part["stopped_s"], color=style.COLOURS["muted"], linestyle="--", linewidth=1)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
    above.set_title("Lag behind PostgreSQL while following")
    place = part["stopped_s"], above.get_ylim()[1]
    above.annotate("users stop", place, (4, -10), textcoords="offset points", fontsize=7.5)
    below.set_xlabel("seconds after following began")
    return figure


def ladder_rates(results: Results) -> Figure:
    """Rows per second of each rung on a logarithmic axis: every round a dot, the median a line and a number;
    the streamed load is black.
    """
    data = results.require("ladder")
    names = _slowest_first(data)
    figure, axes = style.new_figure(0.55 + 0.34 * len(names))
    for at, name in enumerate(names):
        colour = "black" if name == "streamed" else style.COLOURS["muted"]
        middle = data["summary"][name]["median"]
        speeds = [r["rows_per_second"] for r in data["rounds"] if r["rung"] == name]
        axes.plot(speeds, [at] * len(speeds), "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.8)
        axes.plot([middle, middle], [at - 0.3, at + 0.3], color=colour, linewidth=1.6)
        axes.annotate(
            count(middle),
            (max(speeds), at),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    style.plain_log(axes, "x", tick=count)
    axes.set_yticks(range(len(names)), [data["labels"][name] for name in names])
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2.5)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("rows per second (logarithmic)")
    axes.set_title(f"Load into Redis, {len(names)} ways")
    return figure


def ladder_cpu(results: Results) -> Figure:
    """CPU that a row costs the client and Redis, for each rung: a dot each on a logarithmic axis."""
    data = results.require("ladder")
    names = _slowest_first(data)
    figure, axes = style.new_figure(0.75 + 0.34 * len(names))
    sides = (
        ("client_cpu_us", "client", "black", "s"),
        ("redis_cpu_us", "Redis", style.COLOURS["redis"], "o"),
    )
    for key, label, colour, marker in sides:
        costs = [data["summary"][name][key] for name in names]
        axes.plot(costs, range(len(names)), marker, color=colour, label=label, markersize=5)
    style.plain_log(axes, "x")
    axes.set_yticks(range(len(names)), [data["labels"][name] for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("CPU time a row (µs, logarithmic)")
    axes.set_title("What a row costs on either side")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def ladder_growth(results: Results) -> Figure:
    """Time and memory of a migration against its rows, a mark each migration."""
    records = results.part("ladder", "growth")
    rows = [record["rows"] for record in records]
    figure, (left, right) = style.new_figure(2.6, ncols=2)
    for key, label, colour, marker in (
        ("load_seconds", "load", "black", "o"),
        ("verify_seconds", "verify", style.COLOURS["muted"], "s"),
    ):
        left.plot(rows, [r[key] for r in records], marker, color=colour, label=label, markersize=5)
    style.plain_log(left, "y")
    left.set_ylabel("seconds (logarithmic)")
    left.set_title("Time")
    left.legend()
    right.plot(rows, [r["peak_rss_mb"] for r in records], "D", color="black", markersize=5)
    right.set_ylim(0, max(r["peak_rss_mb"] for r in records) * 1.3)
    right.set_ylabel("peak resident memory (MB)")
    right.set_title("Memory of the mover")
    for axes in (left, right):
        style.log_at(axes, "x", {number: count(number) for number in sorted(set(rows))})
        axes.set_xlabel("rows in all (logarithmic)")
    return figure


def _slowest_first(data: Mapping[str, Any]) -> list[str]:
    """The rungs by what they reached."""
    return sorted(data["summary"], key=lambda name: float(data["summary"][name]["median"]))


def scaleout_rates(results: Results) -> Figure:
    """Rows per second and busy cores of each arm: every round a point, the median a bar."""
    data = results.require("scaleout")
    arms = list(dict.fromkeys((one["nodes"], one["workers"]) for one in data["rounds"]))
    figure, (left, right) = style.new_figure(0.9 + 0.36 * len(arms), ncols=2, sharey=True)
    for at, (nodes, workers) in enumerate(arms):
        of_arm = [one for one in data["rounds"] if (one["nodes"], one["workers"]) == (nodes, workers)]
        for axes, values in (
            (left, [one["rows_per_second"] / 1000 for one in of_arm]),
            (right, [100 * one["busy"] for one in of_arm]),
        ):
            axes.barh(
                at,
                median(values),
                height=0.55,
                alpha=0.75,
                color=style.COLOURS["muted"],
                hatch=None if nodes == 1 else "//",
            )
            axes.plot(values, [at] * len(values), "o", color="black", markersize=3)
            axes.grid(visible=False, axis="y")
    left.set_yticks(
        range(len(arms)),
        [f"{plural(nodes, 'node')}, {plural(workers, 'process', 'processes')}" for nodes, workers in arms],
    )
    left.set_xlabel("thousand rows per second")
    left.set_title("Load")
    right.set_xlim(0, 100)
    right.set_xlabel(f"% of {plural(data['cores'], 'core')}")
    right.set_title("Cores busy")
    return figure
