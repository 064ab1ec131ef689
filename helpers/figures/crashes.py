"""The chart of the kill campaign, from saved results only."""

from matplotlib.figure import Figure

from helpers.figures import style
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
    seen: dict[tuple[str, str], int] = {}
    for trial in data["trials"]:
        name = trial["victim"]
        wrong = trial["faults"] or any((*trial["verify"].values(), *trial["judge"].values()))
        for kill in trial["kills"]:
            nth = seen[name, kill["phase"]] = seen.get((name, kill["phase"]), 0) + 1
            at = phases.index(kill["phase"]) + 0.3 * (list(VICTIMS).index(name) - 1) + 0.05 * (nth % 3 - 1)
            colour, marker, _ = VICTIMS[name]
            axes.plot(
                kill["at_s"], at, marker, color=style.COLOURS[colour], markersize=3.5, alpha=0.8,
                markeredgewidth=0,
            )  # fmt: skip
            if wrong:
                axes.plot(kill["at_s"], at, "o", color="black", fillstyle="none", markersize=9)
    for colour, marker, label in VICTIMS.values():
        axes.plot([], [], marker, color=style.COLOURS[colour], label=label)
    totals = [sum(part["phases"][phase] for part in data["summary"].values()) for phase in phases]
    axes.set_yticks(range(len(phases)), [f"{p} ({count(n)})" for p, n in zip(phases, totals, strict=True)])
    axes.set_ylim(len(phases) - 0.4, -0.6)
    axes.set_xlabel("seconds after the start of the run that was hit")
    axes.set_title(f"{count(sum(totals))} kills")
    figure.legend(loc="outside upper right", ncols=3, handletextpad=0.3, columnspacing=1.2)
    return figure
