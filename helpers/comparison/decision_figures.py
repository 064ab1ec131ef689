"""Charts of the decision: scores by criterion, how the result moves with the weights, and what is answered
within a limit.
"""

import numpy as np
from matplotlib.figure import Figure

from helpers.comparison import decision as deciding
from helpers.comparison.workload import BASE
from helpers.report import style
from helpers.results import Missing, Results, having
from helpers.settings import LABELS
from helpers.text import count

SHARES = np.linspace(0, 1, 41)
CURVE_US = np.geomspace(deciding.LIMITS_US[0], deciding.LIMITS_US[-1], 121)
APART = 0.16
"""Distance of the stores' marks in a criterion."""


@style.shared
def decision(results: Results) -> Figure:
    """Score of each candidate by criterion, and the weighted result, with intervals; the base line beside."""
    data, nodes = deciding.of(results)
    scored, base = deciding.scores(data, nodes), deciding.staying(data, nodes)
    groups = {deciding.CRITERIA[criterion]: by_store for criterion, by_store in scored.items()}
    groups["Result"] = deciding.totals(scored, data["weights"])
    figure, axis = style.new_figure(2.9)
    stores = deciding.candidates(data)
    beside = [BASE] * (BASE in data["counts"])
    for number, store in enumerate([*stores, *beside]):
        shift = APART * (number - (len(stores) + len(beside) - 1) / 2)
        points = (
            [(place, by_store[store]) for place, by_store in enumerate(groups.values())]
            if store in stores
            else [(list(scored).index(criterion), one) for criterion, one in base.items()]
        )
        drawn = [one for _, one in points]
        axis.errorbar(
            [place + shift for place, _ in points],
            [one.value for one in drawn],
            yerr=[[one.value - one.low for one in drawn], [one.high - one.value for one in drawn]],
            capsize=2,
            elinewidth=1,
            markersize=6,
            **style.look(store, linestyle="none", label=_label(store)),
            markerfacecolor="white" if store in beside else style.COLOURS[store],
        )
    for edge in range(1, len(groups)):
        axis.axvline(edge - 0.5, color=style.COLOURS["muted"], linewidth=1.2 if edge == len(scored) else 0.4)
    axis.axhline(1, color=style.COLOURS["muted"], linewidth=0.6)
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set_xlim(-0.5, len(groups) - 0.5)
    axis.grid(axis="x", visible=False)
    axis.set_ylim(bottom=0)
    axis.set(ylabel="score (best candidate: 1)", title="Scores by criterion, and the result")
    style.legend_below(figure, axis)
    return figure


def _label(store: str) -> str:
    return f"{LABELS[store]}, beside" if store == BASE else LABELS[store]


@style.shared
def sensitivity(results: Results) -> Figure:
    """The result with its interval against the weight of each criterion, the others in proportion; the weight
    now is dotted.
    """
    data, nodes = deciding.of(results)
    scored, weights = deciding.scores(data, nodes), data["weights"]
    whole = sum(weights.get(criterion, 0.0) for criterion in scored)
    figure, ((*axes,),) = style.new_figure(2.5, ncols=len(scored), sharey=True, squeeze=False)
    for axis, criterion in zip(axes, scored, strict=True):
        totals = [
            deciding.totals(scored, deciding.at_share(scored, weights, criterion, share)) for share in SHARES
        ]
        for store in deciding.candidates(data):
            of_store = [total[store] for total in totals]
            axis.plot(
                100 * SHARES,
                [one.value for one in of_store],
                markevery=10,
                markersize=3.5,
                **style.look(store),
            )
            axis.fill_between(
                100 * SHARES,
                [one.low for one in of_store],
                [one.high for one in of_store],
                color=style.COLOURS[store],
                alpha=0.15,
                linewidth=0,
            )
        axis.axvline(100 * weights.get(criterion, 0.0) / whole, color="black", linestyle=":", linewidth=1)
        axis.set_title(deciding.CRITERIA[criterion], fontsize=8)
        axis.set_xticks([0, 50, 100])
        axis.set_ylim(0, 1.05)
    axes[len(scored) // 2].set_xlabel("share of the weight (%)")
    axes[0].set_ylabel("result")
    style.legend_below(figure, axes[0])
    return figure


@style.shared
def fit(results: Results) -> Figure:
    """The share of operations answered within a limit of being due, against the limit, a panel for each
    offered rate at which the client was not the limit.

    Raises:
        Missing: there is none.
    """
    data, _ = deciding.of(results)
    rates = deciding.rates(data)
    if not rates:
        raise Missing("comparison: no offered rate at which the client was not the limit")
    figure, ((*axes,),) = style.new_figure(2.6, ncols=len(rates), sharey=True, squeeze=False)
    for axis, rate in zip(axes, rates, strict=True):
        for row in having(data["open_loop"], offered_per_s=rate):
            shares = [deciding.share_within(row["latency_quantiles_us"], limit) for limit in CURVE_US]
            axis.plot(
                CURVE_US / 1000,
                [100 * share for share in shares],
                markevery=20,
                **style.look(row["store"]),
            )
        axis.set_title(f"{count(rate)} per second")
        style.log_at(axis, "x", {0.1: "0.1", 1: "1", 10: "10", 100: "100"})
        axis.set_ylim(0, 102)
    axes[len(rates) // 2].set_xlabel("limit, from when the operation was due (ms)")
    axes[0].set_ylabel("answered within it (%)")
    style.legend_below(figure, axes[0])
    return figure
