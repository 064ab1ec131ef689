"""Charts of scaling out, from saved results only."""

from statistics import median

from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import Results
from helpers.text import plural


def rates(results: Results) -> Figure:
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
                color=style.COLOURS["redis"] if nodes == 1 else style.COLOURS["muted"],
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
