"""Sentences and tables of the decision, from the results ``comparison`` and ``nodes``."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from helpers.comparison import decision
from helpers.comparison.decision import CRITERIA, DIVISION
from helpers.comparison.statistics import Interval
from helpers.comparison.workload import BASE
from helpers.report import claim
from helpers.results import Results
from helpers.settings import LABELS
from helpers.text import NOT_AVAILABLE, join, known, three


def _claim(opening: str) -> Callable[[claim.Found], claim.Claim]:
    """Make a claim of a function of the comparison's data and those of several nodes."""
    return claim.from_results(opening, decision.of)


@_claim("Decision:")
def first(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    """Which store comes first with the weights of the run, and which is next; or which are level."""
    return _leader(data, nodes)


def _leader(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    total = decision.totals(decision.scores(data, nodes), data["weights"])
    leaders = decision.best(total)
    if len(leaders) > 1:
        named = join([LABELS[store] for store in leaders])
        return f"With these weights no store comes first alone: {named} are level, as intervals overlap."
    others = sorted((s for s in total if s not in leaders), key=lambda store: -total[store].value)
    behind = f", before {LABELS[others[0]]} with {total[others[0]].value:.2f}" if others else ""
    return f"With these weights {LABELS[leaders[0]]} comes first with {total[leaders[0]].value:.2f}{behind}."


@_claim("Decision:")
def choice(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    """Which store comes first with the weights of the run, or which are level, and so by criterion."""
    return f"{_leader(data, nodes)} {_by_criterion(data, nodes)}"


@_claim("Decision by criterion:")
def leads(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    """Which store is first in which criteria, and in which several are level."""
    return _by_criterion(data, nodes)


def _by_criterion(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    alone: dict[str, list[str]] = {}
    level: list[str] = []
    for criterion, by_store in decision.scores(data, nodes).items():
        tops = [LABELS[store] for store in decision.best(by_store)]
        if len(tops) > 1:
            level.append(f"{CRITERIA[criterion].lower()} ({join(tops)})")
        else:
            alone.setdefault(tops[0], []).append(CRITERIA[criterion].lower())
    return " ".join(
        [
            *[f"{store} is first alone in {join(criteria)}." for store, criteria in alone.items()],
            *[f"Level at the top: {join(level)}."] * bool(level),
        ]
    )


@_claim("Choose by what counts:")
def choose(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    """For each store: choose it if the criteria in which it is first, alone or level, count most."""
    tops: dict[str, list[str]] = {}
    for criterion, by_store in decision.scores(data, nodes).items():
        for store in decision.best(by_store):
            tops.setdefault(store, []).append(CRITERIA[criterion].lower())
    sentences = [
        f"Choose {LABELS[store]} if {join(tops[store], 'or')} counts most."
        if store in tops
        else f"Nothing that was measured here says to choose {LABELS[store]}."
        for store in decision.candidates(data)
    ]
    return " ".join(sentences)


@_claim("What the decision leaves out:")
def left_out(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    """Which measures do not count, because a value is missing, and why."""
    by_why: dict[str, list[str]] = {}
    for one in decision.missing(data, nodes):
        by_why.setdefault(one.why, []).append(f"{one.label} ({CRITERIA[one.criterion].lower()})")
    if not by_why:
        return "Every measure of the decision has a value for each store."
    return " ".join(f"Not counted, because {why}: {join(labels)}." for why, labels in by_why.items())


@_claim("Sensitivity:")
def sensitivity(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> str:
    """Where the choice would flip, and how often each store comes first alone over all weightings."""
    scored = decision.scores(data, nodes)
    shares, level = decision.shares_of_weightings(scored)
    most, *others = sorted(shares, key=lambda store: -shares[store])
    next_best = f", {LABELS[others[0]]} in {100 * shares[others[0]]:.0f} %" if others else ""
    changes: dict[tuple[str, bool], list[str]] = {}
    for flip in decision.flips(scored, data["weights"]):
        more = flip.share_then > flip.share_now
        alike, then = changes.setdefault((flip.store, more), []), f"{100 * flip.share_then:.0f} %"
        had = "" if alike else "had " if more else "had only "
        of = "" if alike else " of the weight"
        alike.append(f"{CRITERIA[flip.criterion].lower()} {had}{then}{of}")
    turns = [
        f"{LABELS[store]} would have the highest result if {join(some, 'or')}."
        for (store, _), some in changes.items()
    ] or ["No change of a single weight would give the highest result to another store."]
    shared = f"; in {100 * level:.0f} % several are level" if level else ""
    return (
        f"{' '.join(turns)} Over all ways to spread the weight in tenths, {LABELS[most]} is first alone in "
        f"{100 * shares[most]:.0f} %{next_best}{shared}."
    )


def measures_table(results: Results) -> pd.DataFrame:
    """What each criterion of the decision rests on: the value of every store with its interval, which way is
    better, and what does not count.
    """
    data, nodes = decision.of(results)
    stores = [*decision.candidates(data), *[BASE] * (BASE in data["counts"])]
    rows: dict[str, list[dict[str, str]]] = {criterion: [] for criterion in CRITERIA}
    for one in decision.measures(data, nodes):
        rows[one.criterion].append(
            {
                "criterion": CRITERIA[one.criterion],
                "measure": f"{one.label}{', ' + one.unit if one.unit else ''}",
                **{LABELS[store]: known(one.values.get(store), _valued) for store in stores},
                "better": "less" if one.less_is_better else "more",
                "kind": one.kind,
            }
        )
    for gone in decision.missing(data, nodes):
        rows[gone.criterion].append(
            {"criterion": CRITERIA[gone.criterion], "measure": gone.label}
            | {LABELS[store]: NOT_AVAILABLE for store in stores}
            | {"better": "", "kind": f"not counted: {gone.why}"}
        )
    return pd.DataFrame([row for of_criterion in rows.values() for row in of_criterion])


def decision_table(results: Results, weights: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Weight and computed scores by criterion with their intervals, who is first or level, and the weighted
    result in the last row; beside them the base line.

    Args:
        results: with a comparison.
        weights: by criterion; those of the run when None.
    """
    data, nodes = decision.of(results)
    chosen = data["weights"] if weights is None else weights
    scored, base = decision.scores(data, nodes), decision.staying(data, nodes)
    whole = sum(chosen.get(criterion, 0.0) for criterion in scored)
    lines = {CRITERIA[criterion]: (criterion, by_store) for criterion, by_store in scored.items()}
    lines["Result"] = ("", decision.totals(scored, chosen))
    beside = BASE in data["counts"]
    return pd.DataFrame(
        {
            "criterion": name,
            "weight": f"{100 * chosen.get(criterion, 0.0) / whole:.0f} %" if criterion else "100 %",
            **{LABELS[store]: _scored(score) for store, score in by_store.items()},
            "first": _named(decision.best(by_store)),
            **({f"{LABELS[BASE]}, beside": known(base.get(criterion), _scored)} if beside else {}),
        }
        for name, (criterion, by_store) in lines.items()
    )


def division_table(results: Results) -> pd.DataFrame:
    """How each store divides data over nodes, as its makers state it, and how many of the four operations it
    then takes as they are.
    """
    data, _ = decision.of(results)
    return pd.DataFrame(
        {
            "store": LABELS[store],
            "how data are divided": DIVISION[store].how,
            "operations as they are": known(DIVISION[store].operations, lambda number: f"{number} of 4"),
            "stated by": DIVISION[store].source.split("/")[2],
        }
        for store in data["counts"]
    )


def _named(leaders: list[str]) -> str:
    names = join([LABELS[store] for store in leaders])
    return names if len(leaders) == 1 else f"level: {names}"


def _ends(found: Interval) -> str:
    return f"{found.low:.2f} to {found.high:.2f}"


def _scored(found: Interval) -> str:
    return f"{found.value:.2f}" if found.low == found.high else f"{found.value:.2f} ({_ends(found)})"


def _valued(found: Interval) -> str:
    """The value as it is, an interval behind it where there is one; whole numbers without decimals."""
    if found.low == found.high:
        return f"{found.value:,.0f}" if found.value == int(found.value) else three(found.value)
    return found.written()
