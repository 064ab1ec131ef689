"""Charts of the decision: scores by criterion, and how the result moves with the weights."""

import numpy as np
from matplotlib.figure import Figure

from helpers.comparison import decision as deciding
from helpers.report import style
from helpers.results import Results
from helpers.settings import LABELS

HATCHES = {"postgres": "..", "redis": "", "mongodb": "//", "cassandra": "xx"}
SHARES = np.linspace(0, 1, 41)


@style.shared
def decision(results: Results) -> Figure:
    """Score of each store by criterion, and the weighted result."""
    data = results.require("comparison")
    scored = deciding.scores(data)
    groups = {deciding.CRITERIA[criterion]: by_store for criterion, by_store in scored.items()}
    groups["Result"] = deciding.totals(scored, data["weights"])
    figure, axis = style.new_figure(3.0)
    stores = list(data["counts"])
    for number, store in enumerate(stores):
        places = [x + 0.27 * (number - (len(stores) - 1) / 2) for x in range(len(groups))]
        bars = axis.bar(
            places,
            [by_store[store] for by_store in groups.values()],
            width=0.25,
            color=style.COLOURS[store],
            hatch=HATCHES[store],
            edgecolor="white",
            label=LABELS[store],
        )
        axis.bar_label(bars, fmt="%.2f", fontsize=6.5, padding=1)
    axis.axvline(len(groups) - 1.5, color=style.COLOURS["muted"], linewidth=1)
    axis.set_xticks(range(len(groups)), list(groups))
    axis.grid(axis="x", visible=False)
    axis.set(ylabel="score (best store: 1)", ylim=(0, 1.1), title="Scores by criterion, and the result")
    style.legend_below(figure, axis)
    return figure


@style.shared
def sensitivity(results: Results) -> Figure:
    """The result against the weight of each criterion, the others in proportion; the weight now is dotted."""
    data = results.require("comparison")
    scored, weights = deciding.scores(data), data["weights"]
    whole = sum(weights.get(criterion, 0.0) for criterion in scored)
    figure, ((*axes,),) = style.new_figure(2.5, ncols=len(scored), sharey=True, squeeze=False)
    for axis, criterion in zip(axes, scored, strict=True):
        totals = [
            deciding.totals(scored, deciding.at_share(scored, weights, criterion, share)) for share in SHARES
        ]
        for store in data["counts"]:
            axis.plot(
                100 * SHARES,
                [total[store] for total in totals],
                markevery=10,
                markersize=3.5,
                **style.look(store),
            )
        axis.axvline(100 * weights.get(criterion, 0.0) / whole, color="black", linestyle=":", linewidth=1)
        axis.set_title(deciding.CRITERIA[criterion], fontsize=8)
        axis.set_xticks([0, 50, 100])
        axis.set_ylim(0, 1.05)
    axes[len(scored) // 2].set_xlabel("share of the weight (%)")
    axes[0].set_ylabel("result")
    style.legend_below(figure, axes[0])
    return figure
