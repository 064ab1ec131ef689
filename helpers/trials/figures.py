"""The chart of the kill campaign, from saved results only."""

from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import Results
from helpers.text import count

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
    look = {"markersize": 3.5, "alpha": 0.8, "markeredgewidth": 0}
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
