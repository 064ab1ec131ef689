"""A weighted decision whose scores are computed from values with intervals: five criteria, each with what it
rests on. Pure.

A measure's score is the best store's value over the store's own where less is better, the other way round
where more is: the best store has 1, one that is twice as far has 0.5. A criterion's score is the geometric
mean of its measures' scores, so that no measure's unit matters (Fleming and Wallace, How not to lie with
statistics, Communications of the ACM 29, 1986); the result is the mean of the criteria, weighted.

Every value has an interval, and so has every score: its ends are what comes out when the store's own values
lie at their worst ends and the others' at their best, and the other way round. Nothing is drawn at random and
nothing cancels, so it is wide rather than narrow. Stores whose intervals overlap are level.

PostgreSQL is where the data are. It is the base line: its values stand beside those of the stores that could
take its place, and it is not ranked, because it was not run on several nodes.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from helpers import results as saved
from helpers.comparison.statistics import Interval
from helpers.comparison.summary import GRID, busiest, by_core
from helpers.comparison.workload import BASE, IN_WORDS, MIX, OPERATIONS
from helpers.results import Results, having
from helpers.text import plural

CRITERIA: Mapping[str, str] = {
    "data_model": "Data model",
    "performance": "Performance",
    "scalability": "Scalability",
    "use_case_fit": "Use-case fit",
    "complexity": "Complexity",
}
"""The five criteria of the course, by the name under which their weight is given."""

EQUAL_WEIGHTS: Mapping[str, float] = dict.fromkeys(CRITERIA, 1.0)

LIMITS_US: Sequence[float] = tuple(100 * 10 ** (step / 10) for step in range(31))
"""Limits of latency for the fit to a use case: from 0.1 to 100 ms, ten a decade, so that each decade counts
alike.
"""

WRITES = ("append_activity", "place_order")

LEVEL = 0.005
"""Scores closer than this are level even without intervals: they are not that exact."""

GRID_STEPS = 10


@dataclass(frozen=True)
class Division:
    """How a store divides data over nodes, as its makers state it: in words, how many of the four operations
    it then takes as they are, and where that stands.
    """

    how: str
    operations: int | None
    source: str


DIVISION: Mapping[str, Division] = {
    "postgres": Division(
        "It does not divide by itself: the partitions of a table lie on one server.",
        None,
        "https://www.postgresql.org/docs/18/ddl-partitioning.html",
    ),
    "redis": Division(
        "Each key lies in one of 16,384 slots, by a hash; a transaction needs all its keys in one slot.",
        2,
        "https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/",
    ),
    "mongodb": Division(
        "Each document lies on a shard by its shard key; a write to one document needs one shard.",
        4,
        "https://www.mongodb.com/docs/manual/sharding/",
    ),
    "cassandra": Division(
        "Each partition lies on nodes by a hash of its key; a logged batch may hold several partitions.",
        4,
        "https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html",
    ),
}
"""A fact of each store's model, not a measurement. The two writes of the Redis model have keys in several
slots; ``tests/test_decision.py`` computes them.
"""


@dataclass(frozen=True)
class Measure:
    """One value of every candidate, and of the base line where it has one; whether less of it is better, and
    what it is: counted, measured or stated.
    """

    criterion: str
    label: str
    unit: str
    less_is_better: bool
    values: Mapping[str, Interval]
    kind: str = "measured"

    def scores(self) -> dict[str, Interval]:
        """The score of each candidate, from 0 to 1; of the base line too, above 1 where it is best."""
        rivals = [store for store in self.values if store != BASE]
        found = {}
        for store, own in self.values.items():
            others = [self.values[rival] for rival in rivals if rival != store]
            low, value, high = (
                self._against(mine, theirs)
                for mine, theirs in (
                    (self._worst(own), [self._best(other) for other in others]),
                    (own.value, [other.value for other in others]),
                    (self._best(own), [self._worst(other) for other in others]),
                )
            )
            most = math.inf if store == BASE else 1.0
            found[store] = Interval(min(value, most), min(low, most), min(high, most))
        return found

    def _worst(self, of: Interval) -> float:
        return of.high if self.less_is_better else of.low

    def _best(self, of: Interval) -> float:
        return of.low if self.less_is_better else of.high

    def _against(self, own: float, others: Sequence[float]) -> float:
        if not others:
            return 1.0
        if self.less_is_better:
            return min(others) / own if own else 1.0
        if not own:
            return 0.0
        return own / max(others) if max(others) else 1.0


@dataclass(frozen=True)
class Missing:
    """A measure that does not count, and why."""

    criterion: str
    label: str
    why: str


def of(results: Results) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What the decision rests on: the data of the comparison, and those of several nodes where there are any.

    Raises:
        results.Missing: the comparison was not measured.
    """
    nodes = results["nodes"].data if "nodes" in results else None
    return results.require("comparison", "counts"), nodes


def candidates(data: Mapping[str, Any]) -> list[str]:
    """The stores that are ranked."""
    return [store for store in data["counts"] if store != BASE]


def measures(data: Mapping[str, Any], nodes: Mapping[str, Any] | None = None) -> list[Measure]:
    """What the criteria rest on; a value that is missing for any candidate leaves its measure out.

    Args:
        data: of a saved comparison.
        nodes: of a saved measurement of several nodes.
    """
    return [one for one in _everything(data, nodes) if isinstance(one, Measure)]


def missing(data: Mapping[str, Any], nodes: Mapping[str, Any] | None = None) -> list[Missing]:
    """The measures that do not count.

    Args:
        data, nodes: as for ``measures``.
    """
    return [one for one in _everything(data, nodes) if isinstance(one, Missing)]


def _everything(data: Mapping[str, Any], nodes: Mapping[str, Any] | None) -> list[Measure | Missing]:
    counts = data["counts"]
    trips, records, statements = (
        {store: _exact(sum(number(c))) for store, c in counts.items()}
        for number in (
            lambda c: [sent["round_trips"] for sent in c["sent"].values()],
            lambda c: c["records_written"].values(),
            lambda c: [c["definitions"], *(sent["statements"] for sent in c["sent"].values())],
        )
    )
    found: list[tuple[Measure, str]] = [
        (Measure("data_model", "round trips for the four operations", "", True, trips, "counted"), ""),
        (
            Measure(
                "data_model", "records written for an activity and an order", "", True, records, "counted"
            ),
            "",
        ),
    ]
    for operation in OPERATIONS:
        for name in ("p50", "p99"):
            label = f"{name} to {IN_WORDS[operation]}, one client"
            values = _latencies(data, "relaxed", (operation,), name)
            found.append((Measure("performance", label, "µs", True, values), "too few samples"))
    found += [_core(data), *_nodes(nodes), _divided(counts), _fit(data), _kept(data)]
    label = "definitions and statements for the four operations"
    found.append((Measure("complexity", label, "", True, statements, "counted"), ""))
    ranked = candidates(data)
    return [
        one if set(ranked) <= one.values.keys() else Missing(one.criterion, one.label, why)
        for one, why in (
            (replace(one, values={s: one.values[s] for s in counts if s in one.values}), why)
            for one, why in found
        )
    ]


def _exact(value: float) -> Interval:
    return Interval(float(value), float(value), float(value))


def _latencies(
    data: Mapping[str, Any], tier: str, operations: Sequence[str], name: str
) -> dict[str, Interval]:
    """A percentile of one client by store, added up over operations; only stores that have all of them."""
    by_store: dict[str, list[Mapping[str, float]]] = {}
    for row in having(data["latency"], tier=tier, mix=MIX):
        if row["operation"] in operations and (one := row["percentiles_us"].get(name)):
            by_store.setdefault(row["store"], []).append(one)
    return {
        store: Interval(*(sum(one[end] for one in each) for end in ("value", "low", "high")))
        for store, each in by_store.items()
        if len(each) == len(operations)
    }


def _core(data: Mapping[str, Any]) -> tuple[Measure, str]:
    """From one client to many: what a core of the server allows, where the clients could load it. It does not
    depend on how fast a client is, as a rate that was reached does.
    """
    crowd = busiest(data["throughput"])
    clients = max((row["clients"] for row in crowd.values()), default=1)
    label = f"operations per second that one core of the server allows, {plural(clients, 'client')}"
    bound = any(row["limit"] == "client" for row in crowd.values())
    why = "the clients could not load each server" if bound else "the servers' processor time is not known"
    return Measure("scalability", label, "1/s", False, by_core(data["throughput"])), why


def _nodes(nodes: Mapping[str, Any] | None) -> list[tuple[Measure, str]]:
    """What a second and a third node cost."""
    labels = {
        "second_node": ("a write that two nodes hold, against one that one node holds", "times"),
        "killed_node_s": ("longest time without an acknowledgement when a node is killed", "s"),
    }
    by_store: Mapping[str, Any] = (nodes or {}).get("costs", {})
    return [
        (
            Measure(
                "scalability",
                label,
                unit,
                True,
                {store: Interval.of(one) for store, of in by_store.items() if (one := of.get(name))},
            ),
            "not measured on several nodes of each store",
        )
        for name, (label, unit) in labels.items()
    ]


def _divided(counts: Mapping[str, Any]) -> tuple[Measure, str]:
    """What the model allows when data are divided over nodes."""
    values = {
        store: _exact(stated.operations)
        for store, stated in DIVISION.items()
        if store in counts and stated.operations is not None
    }
    label = "operations of the four that a divided store takes as they are"
    return Measure("scalability", label, "", False, values, "stated"), ""


def _fit(data: Mapping[str, Any]) -> tuple[Measure, str]:
    label = (
        f"share answered in time, mean over limits of {LIMITS_US[0] / 1000:g} to {LIMITS_US[-1] / 1000:g} ms "
        f"and {len(rates(data))} offered rates"
    )
    why = "the client was the limit at each offered rate" if data["open_loop"] else "no open loop"
    return Measure("use_case_fit", label, "", False, fits(data)), why


def _kept(data: Mapping[str, Any]) -> tuple[Measure, str]:
    """Durability: what the same promise costs. What the relaxed tier may lose is a setting, not a store."""
    values = _latencies(data, "strict", WRITES, "p50")
    label = "p50 of an activity and an order, each on disk before it is acknowledged"
    return Measure("use_case_fit", label, "µs", True, values), "the strict tier was not measured for each"


def rates(data: Mapping[str, Any]) -> list[float]:
    """The offered rates of the open loop at which the client was the limit for no store."""
    bound = {row["offered_per_s"] for row in data["open_loop"] if row.get("limit") == "client"}
    return sorted({row["offered_per_s"] for row in data["open_loop"]} - bound)


def fits(data: Mapping[str, Any]) -> dict[str, Interval]:
    """By store, the share of operations answered within a limit of being due, mean over ``LIMITS_US`` and
    ``rates``.

    The interval's ends are those of a distribution that moved as far as its median's interval reaches.

    Args:
        data: of a saved comparison.
    """
    known = rates(data)
    found: dict[str, list[Interval]] = {}
    for row in data["open_loop"]:
        if row["offered_per_s"] in known:
            median = row["latency_us"]["p50"] or {"value": 1.0, "low": 1.0, "high": 1.0}
            value, low, high = (
                sum(share_within(row["latency_quantiles_us"], limit / factor) for limit in LIMITS_US)
                / len(LIMITS_US)
                for factor in (1.0, median["high"] / median["value"], median["low"] / median["value"])
            )
            found.setdefault(row["store"], []).append(Interval(value, low, high))
    return {store: _mean(each) for store, each in found.items() if len(each) == len(known)}


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


Scored = Mapping[str, Mapping[str, Interval]]


def scores(data: Mapping[str, Any], nodes: Mapping[str, Any] | None = None) -> dict[str, dict[str, Interval]]:
    """The score of each candidate by criterion; a criterion of which nothing was measured is absent.

    Args:
        data, nodes: as for ``measures``.
    """
    everything = measures(data, nodes)
    found = {}
    for criterion in CRITERIA:
        each = [measure.scores() for measure in everything if measure.criterion == criterion]
        if each:
            found[criterion] = {store: _geometric([one[store] for one in each]) for store in candidates(data)}
    return found


def staying(data: Mapping[str, Any], nodes: Mapping[str, Any] | None = None) -> dict[str, Interval]:
    """The base line's score on the candidates' scale, by criterion; above 1 it is better than the best of
    them. A criterion in which it lacks a measure is absent.

    Args:
        data, nodes: as for ``measures``.
    """
    everything = measures(data, nodes)
    found = {}
    for criterion in CRITERIA:
        each = [measure.scores().get(BASE) for measure in everything if measure.criterion == criterion]
        known = [one for one in each if one is not None]
        if known and len(known) == len(each):
            found[criterion] = _geometric(known)
    return found


def _geometric(each: Sequence[Interval]) -> Interval:
    def mean(values: Sequence[float]) -> float:
        return 0.0 if min(values) <= 0 else math.exp(sum(map(math.log, values)) / len(values))

    return Interval(*(mean([getattr(one, end) for one in each]) for end in ("value", "low", "high")))


def _mean(each: Sequence[Interval], weights: Sequence[float] | None = None) -> Interval:
    weights = weights or [1.0] * len(each)
    return Interval(
        *(
            sum(weight * getattr(one, end) for weight, one in zip(weights, each, strict=True)) / sum(weights)
            for end in ("value", "low", "high")
        )
    )


def totals(scored: Scored, weights: Mapping[str, float]) -> dict[str, Interval]:
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
    used = [weights.get(criterion, 0.0) for criterion in scored]
    if not sum(used):
        raise ValueError("weights: at least one criterion needs a weight above 0")
    stores = next(iter(scored.values()))
    return {store: _mean([scored[c][store] for c in scored], used) for store in stores}


def best(total: Mapping[str, Interval]) -> list[str]:
    """The store with the highest value, with every other whose interval overlaps its own; best first."""
    top = max(total.values(), key=lambda one: one.value)
    level = [store for store, one in total.items() if one.high >= top.low - LEVEL]
    return sorted(level, key=lambda store: -total[store].value)


def _first(total: Mapping[str, Interval]) -> str:
    return max(total, key=lambda store: total[store].value)


@dataclass(frozen=True)
class Flip:
    """The share of all weight that a criterion must have for another store to have the highest value."""

    criterion: str
    share_now: float
    share_then: float
    store: str


def flips(scored: Scored, weights: Mapping[str, float]) -> list[Flip]:
    """For each criterion, the nearest share of the weight at which the highest value is another store's.

    The other criteria keep their proportions to each other. A criterion that never changes it is absent.
    Intervals do not count here: near such a share the stores are level.

    Args:
        scored: as ``scores`` gives them.
        weights: by criterion, as for ``totals``.
    """
    found = []
    whole = sum(weights.get(criterion, 0.0) for criterion in scored)
    first = _first(totals(scored, weights))
    for criterion in scored:
        now = weights.get(criterion, 0.0) / whole
        shares = sorted((step / 1000 for step in range(1001)), key=lambda share: abs(share - now))
        for share in shares:
            leader = _first(totals(scored, at_share(scored, weights, criterion, share)))
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


def shares_of_weightings(scored: Scored) -> tuple[dict[str, float], float]:
    """Of all ways to spread the weight in tenths over the criteria, the share in which each store comes
    first alone, and the share in which several are level at the top.
    """
    alone = dict.fromkeys(next(iter(scored.values())), 0)
    count = level = 0
    for weighting in _spreads(len(scored), GRID_STEPS):
        leaders = best(totals(scored, dict(zip(scored, map(float, weighting), strict=True))))
        count += 1
        if len(leaders) > 1:
            level += 1
        else:
            alone[leaders[0]] += 1
    return {store: won / count for store, won in alone.items()}, level / count


def _spreads(parts: int, whole: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (whole,)
        return
    for first in range(whole + 1):
        for rest in _spreads(parts - 1, whole - first):
            yield (first, *rest)


def weighed(results: Results, weights: Mapping[str, float]) -> Results:
    """The results with these weights; saved with the comparison, so that the report has the same.

    Nothing is measured again. Without a saved comparison the results stay as they are.

    Args:
        results: as loaded.
        weights: by criterion, as for ``totals``.

    Raises:
        ValueError: weights that are none.
    """
    if "comparison" not in results:
        return results
    data, nodes = of(results)
    totals(scores(data, nodes), weights)
    if data["weights"] == dict(weights):
        return results
    if results.folder is not None:
        path = results.folder / "comparison.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["data"]["weights"] = dict(weights)
        saved.write(path, record)
    result = results["comparison"]
    changed = replace(result, data={**data, "weights": dict(weights)})
    return Results({**results, "comparison": changed}, results.folder)
