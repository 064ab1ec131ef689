"""A weighted decision whose scores are computed from measured values: five criteria, each with what it
rests on. Pure.

A measure's score is the best store's value over the store's own where less is better, the other way round
where more is: the best store has 1, one that is twice as far has 0.5. A criterion's score is the geometric
mean of its measures' scores, so that no measure's unit matters (Fleming and Wallace, How not to lie with
statistics, Communications of the ACM 29, 1986); the result is the mean of the criteria, weighted.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helpers.comparison.summary import GRID
from helpers.comparison.workload import MIX, OPERATIONS
from helpers.results import having

CRITERIA: Mapping[str, str] = {
    "data_model": "Data model",
    "performance": "Performance",
    "scalability": "Scalability",
    "use_case_fit": "Use-case fit",
    "complexity": "Complexity",
}
"""The five criteria of the course, by the name under which their weight is given."""

EQUAL_WEIGHTS: Mapping[str, float] = dict.fromkeys(CRITERIA, 1.0)
BUDGET_US = 1000.0
"""Latency within which an operation counts as fast enough for the use case: one millisecond."""

TIE = 0.005
"""Results closer than this are a tie: the scores are not that exact."""

GRID_STEPS = 10


@dataclass(frozen=True)
class Measure:
    """One measured value of every store, and whether less of it is better."""

    criterion: str
    label: str
    unit: str
    less_is_better: bool
    values: Mapping[str, float]

    def scores(self) -> dict[str, float]:
        """The score of each store, from 0 to 1."""
        if self.less_is_better:
            best = min(self.values.values())
            return {store: best / value if value else 1.0 for store, value in self.values.items()}
        best = max(self.values.values())
        return {store: value / best if best else 0.0 for store, value in self.values.items()}


def measures(data: Mapping[str, Any]) -> list[Measure]:
    """What the criteria rest on; a value that is missing for any store leaves its measure out.

    Args:
        data: of a saved comparison.
    """
    counts, stores = data["counts"], list(data["counts"])
    found = [
        _sum_of(counts, "sent", "round_trips", "data_model", "round trips for the four operations"),
        _sum_of(
            counts, "records_written", None, "data_model", "records written for an activity and an order"
        ),
    ]
    for operation in OPERATIONS:
        rows = {
            row["store"]: row["percentiles_us"]
            for row in having(data["latency"], tier="relaxed", mix=MIX, operation=operation)
        }
        for name in ("p50", "p99"):
            values = {store: (rows.get(store, {}).get(name) or {}).get("value") for store in stores}
            found.append(("performance", f"{name} of {operation}", "µs", True, values))
    busiest = max((row["clients"] for row in data["throughput"]), default=1)
    rates = {(row["store"], row["clients"]): row["per_s"] for row in data["throughput"]}
    alone = {store: rates.get((store, 1)) for store in stores}
    crowd = {store: rates.get((store, busiest)) for store in stores}
    growth = {
        store: many / one if (many := crowd[store]) and (one := alone[store]) else None for store in stores
    }
    found += [
        ("scalability", f"throughput with {busiest} clients", "1/s", False, crowd),
        ("scalability", f"growth of throughput, 1 to {busiest} clients", "times", False, growth),
    ]
    rates_offered = {row["offered_per_s"] for row in data["open_loop"]}
    within = {
        store: sum(
            share_within(row["latency_quantiles_us"], BUDGET_US) / len(rates_offered)
            for row in having(data["open_loop"], store=store)
        )
        for store in {row["store"] for row in data["open_loop"]}
    }
    label = f"answered within {BUDGET_US / 1000:g} ms of being due, mean over the offered rates"
    found.append(("use_case_fit", label, "share", False, {store: within.get(store) for store in stores}))
    statements = {
        store: c["definitions"] + sum(sent["statements"] for sent in c["sent"].values())
        for store, c in counts.items()
    }
    idle = {store: c["idle_rss_mb"] for store, c in counts.items()}
    found += [
        ("complexity", "definitions and statements for the four operations", "", True, statements),
        ("complexity", "memory of the idle server", "MB", True, idle),
    ]
    return [Measure(*one) for one in found if all(value is not None for value in one[-1].values())]


def _sum_of(
    counts: Mapping[str, Any], what: str, part: str | None, criterion: str, label: str
) -> tuple[str, str, str, bool, dict[str, Any]]:
    sums = {
        store: sum(value[part] if part else value for value in c[what].values())
        for store, c in counts.items()
    }
    return criterion, label, "", True, sums


def share_within(quantiles: Sequence[float], limit: float) -> float:
    """The share of a distribution that lies at or below a limit, from 0 to 1.

    Args:
        quantiles: the values at the shares of ``summary.GRID``, in order; between them a straight line is
            taken.
        limit: in the unit of the values.
    """
    points = list(zip(GRID, quantiles, strict=True))
    share = 0.0
    for (left, low), (right, high) in itertools.pairwise(points):
        if high <= limit:
            share = right
        elif low <= limit:
            share = left + (right - left) * (limit - low) / (high - low)
    return float(share)


def scores(data: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The score of each store by criterion; a criterion of which nothing was measured is absent."""
    found: dict[str, dict[str, float]] = {}
    everything = measures(data)
    for criterion in CRITERIA:
        each = [measure.scores() for measure in everything if measure.criterion == criterion]
        if each:
            found[criterion] = {store: _geometric([one[store] for one in each]) for store in each[0]}
    return found


def _geometric(values: Sequence[float]) -> float:
    return 0.0 if min(values) <= 0 else math.exp(sum(map(math.log, values)) / len(values))


def totals(scored: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """The weighted mean of the criteria for each store.

    Args:
        scored: as ``scores`` gives them.
        weights: by criterion, any size, at least one above 0; a criterion without a score does not count.

    Raises:
        ValueError: a weight is negative, is of no criterion, or all that count are 0.
    """
    unknown = set(weights) - set(CRITERIA)
    if unknown or any(weight < 0 for weight in weights.values()):
        raise ValueError(f"weights {dict(weights)}: give each of {', '.join(CRITERIA)} a number from 0 up")
    used = {criterion: weights.get(criterion, 0.0) for criterion in scored}
    whole = sum(used.values())
    if not whole:
        raise ValueError("weights: at least one criterion needs a weight above 0")
    stores = next(iter(scored.values()))
    return {store: sum(used[c] * scored[c][store] for c in scored) / whole for store in stores}


def best(total: Mapping[str, float]) -> list[str]:
    """The store with the highest total, with every other that is within ``TIE`` of it; best first."""
    top = max(total.values())
    return sorted((store for store in total if total[store] >= top - TIE), key=lambda store: -total[store])


@dataclass(frozen=True)
class Flip:
    """The share of all weight that a criterion must have for another store to come first."""

    criterion: str
    share_now: float
    share_then: float
    store: str


def flips(scored: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> list[Flip]:
    """For each criterion, the nearest share of the weight at which the first place changes hands.

    The other criteria keep their proportions to each other. A criterion that never changes it is absent.

    Args:
        scored: as ``scores`` gives them.
        weights: by criterion, as for ``totals``.
    """
    found = []
    whole = sum(weights.get(criterion, 0.0) for criterion in scored)
    first = best(totals(scored, weights))[0]
    for criterion in scored:
        now = weights.get(criterion, 0.0) / whole
        shares = sorted((step / 1000 for step in range(1001)), key=lambda share: abs(share - now))
        for share in shares:
            leader = best(totals(scored, at_share(scored, weights, criterion, share)))[0]
            if leader != first:
                found.append(Flip(criterion, now, share, leader))
                break
    return found


def at_share(
    scored: Mapping[str, Any], weights: Mapping[str, float], criterion: str, share: float
) -> dict[str, float]:
    """The weights with one criterion at a share of all, the others in their old proportions (even ones
    if all 0).

    Args:
        scored: as ``scores`` gives them; criteria without a score get no weight.
        weights: by criterion, as for ``totals``.
        criterion: the one whose weight is set.
        share: of all weight, from 0 to 1.

    Returns:
        Weights that make 1 together.
    """
    others = {c: weights.get(c, 0.0) for c in scored if c != criterion}
    whole = sum(others.values())
    if not whole:
        others, whole = dict.fromkeys(others, 1.0), float(len(others))
    return {criterion: share} | {c: (1 - share) * weight / whole for c, weight in others.items()}


def shares_of_weightings(scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Of all ways to spread the weight in tenths over the criteria, the share in which each store comes
    first.
    """
    wins = dict.fromkeys(next(iter(scored.values())), 0.0)
    count = 0
    for weighting in _spreads(len(scored), GRID_STEPS):
        leaders = best(totals(scored, dict(zip(scored, map(float, weighting), strict=True))))
        for store in leaders:
            wins[store] += 1 / len(leaders)
        count += 1
    return {store: won / count for store, won in wins.items()}


def _spreads(parts: int, whole: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (whole,)
        return
    for first in range(whole + 1):
        for rest in _spreads(parts - 1, whole - first):
            yield (first, *rest)
