"""Our measurements beside results that others published."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from helpers.comparison import published
from helpers.comparison.statistics import Interval
from helpers.comparison.summary import busiest
from helpers.comparison.tables import value_of
from helpers.comparison.workload import MIX, TITLES
from helpers.report import claim
from helpers.results import NOT_MEASURED, Missing, Results, having
from helpers.settings import LABELS
from helpers.text import NOT_AVAILABLE, count, duration_us, join, known, plural, span, three

NEAREST: Mapping[str, str] = {"read": "read_profile", "insert": "append_activity"}
"""Our operation that is nearest to a published one."""
TIMES: Mapping[str, str] = {"read": "the median of a read is", "insert": "the median of an insert is"}

_claim = claim.from_result("comparison", TypeError)


@_claim("Published results beside ours:")
def directions(data: Mapping[str, Any]) -> str:
    """MongoDB against Cassandra in benchANT's runs and in ours: the same direction or the opposite one.

    Medians are held against medians, in the runs that tell them; rates against rates.
    """
    sources = published.load()
    sentences = []
    for figure, what in TIMES.items():
        theirs = published.ratios(sources, figure, "p50", "mongodb", "cassandra")
        if theirs:
            ours = _median_ratio(data, NEAREST[figure])
            sentences.append(
                f"On MongoDB {what} {span(theirs)} times Cassandra's there, in "
                f"{plural(len(theirs), 'pair')} of runs, and {ours.written()} here "
                f"({_verdict(theirs, ours)})."
            )
    crowd = busiest(data["throughput"])
    theirs = published.ratios(sources, "throughput", "mean", "mongodb", "cassandra")
    limits = {store: crowd[store]["limit"] for store in ("mongodb", "cassandra")}
    if set(limits.values()) != {"server"}:
        told = join([f"{limit} on {LABELS[store]}" for store, limit in limits.items()])
        sentences.append(f"Rates are not compared, because the limit here was: {told}.")
    else:
        over, under = (
            Interval(row["per_s"], row["low"], row["high"]) for row in (crowd[store] for store in limits)
        )
        rate = over.times(under)
        sentences.append(
            f"On MongoDB the rate is {span(theirs)} times Cassandra's there, in "
            f"{plural(len(theirs), 'pair')} of runs, and {rate.written()} here ({_verdict(theirs, rate)})."
        )
    clients = [
        setting["clients"]
        for source in sources
        for setting in source["settings"]
        if {one["store"] for one in setting["figures"]} >= {"mongodb", "cassandra"}
    ]
    return (
        f"Beside benchANT's runs with {span(clients, count)} clients (there) stand ours (here), times with "
        f"one client and rates with {crowd['mongodb']['clients']}. {' '.join(sentences)}"
    )


@_claim("Durability beside published results:")
def durability(data: Mapping[str, Any]) -> str:
    """Inserts on MongoDB against Cassandra with durability as uneven as in benchANT's runs, and even."""
    sources = published.load()
    theirs = published.ratios(sources, "insert", "p50", "mongodb", "cassandra")
    if not theirs:
        raise Missing("published: no run tells medians of both stores")
    even = _median_ratio(data, "append_activity")
    opening = (
        "In benchANT's runs MongoDB acknowledged an insert once a majority of its nodes had it, Cassandra "
        f"before its commit log was flushed; the median of MongoDB's was {span(theirs)} times Cassandra's."
    )
    inserts = having(data["latency"], mix=MIX, operation="append_activity")
    strict, other = (
        having(inserts, store=store, tier=tier)
        for store, tier in (("mongodb", "strict"), ("cassandra", "relaxed"))
    )
    relaxed = f"with both in the relaxed tier it is {even.written()} times"
    if not strict or not other:
        return f"{opening} Here {relaxed}; MongoDB's strict tier was not measured in this run."
    over, under = (Interval.of(rows[0]["percentiles_us"]["p50"]) for rows in (strict, other))
    uneven = over.times(under)
    return (
        f"{opening} Here {relaxed}; with MongoDB in the strict tier and Cassandra in the relaxed one, which "
        f"is nearest to theirs, {uneven.written()} times ({_verdict(theirs, uneven)})."
    )


@_claim("Redis beside its documentation:")
def redis(data: Mapping[str, Any]) -> str:
    """Throughput of Redis in its documentation, by the same program here, and by our client."""
    (shown,) = [
        one
        for one in published.figures(published.load())
        if (one.store, one.figure) == ("redis", "throughput")
    ]
    row = busiest(data["throughput"])["redis"]
    check = data.get("cross_check", {"rows": [], "programs": []})
    pings = having(check["rows"], store="redis", program="redis-benchmark", operation="null")
    most = max(pings, key=lambda ping: int(ping["clients"]), default=None)
    if most is None or most["theirs_per_s"] is None:
        left = having(check["programs"], store="redis", program="redis-benchmark")
        why = left[0].get(NOT_MEASURED, "a single round") if left else "no cross-check was made"
        here = f"the same program was not run here ({why})"
    else:
        same = most["theirs_per_s"]["value"]
        here = (
            f"the same program sends {count(same)} PING per second here with {most['clients']} clients, "
            f"{three(same / shown.value)} times as many"
        )
    return (
        f"Redis's documentation shows redis-benchmark at {count(shown.value)} SET per second with "
        f"{shown.clients} clients; {here}. Our client does {count(row['per_s'])} operations of the {MIX} mix "
        f"with {row['clients']} clients, {three(row['per_s'] / shown.value)} times as many (limit: "
        f"{row['limit']}); its writes are transactions of several commands."
    )


@_claim("Network:")
def network(data: Mapping[str, Any]) -> str:
    """The round trip that Redis's documentation takes as typical, against the bare one measured here."""
    echo = data["floors"]["echo_us"]["p50"]["value"]
    found = [one for one in published.figures(published.load()) if one.figure == "round trip"]
    stated = [
        f"{duration_us(one.value)} for a {one.setting} ({three(one.value / echo)} times ours)"
        for one in found
    ]
    return (
        f"A bare round trip by TCP on this machine takes {duration_us(echo)}; Redis's documentation counts "
        f"with {join(stated)}. Published times of a client on another machine hold such a network, ours do "
        "not."
    )


def beside_table(results: Results) -> pd.DataFrame:
    """Published figures and ours in the same statistic, store by store: rates, medians and 99th percentiles.

    Raises:
        Missing: throughput or latency was not measured.
    """
    data = results.require("comparison", "throughput", "latency")
    beside = [(figure, statistic) for figure, of in published.COMPARED.items() for statistic in of]
    rows: list[dict[str, Any]] = []
    for figure, statistic in beside:
        by_place: dict[tuple[str, str, int], dict[str, published.Figure]] = {}
        for one in published.figures(published.load()):
            if (one.figure, one.statistic) == (figure, statistic):
                by_place.setdefault((one.source, one.setting, one.clients), {})[one.store] = one
        name = "rate" if figure == "throughput" else f"{figure}, {statistic}"
        rows += [
            {"figure": name, "source": source, "setting": f"{setting}, {plural(clients, 'client')}"}
            | {LABELS[store]: known(by_store.get(store), _shown) for store in published.STORES}
            for (source, setting, clients), by_store in by_place.items()
        ]
        rows.append({"figure": name, "source": "this run"} | _own(data, figure, statistic))
    return pd.DataFrame(rows, dtype=object).fillna(NOT_AVAILABLE)


def sources_table(_results: Results) -> pd.DataFrame:
    """What was measured in each published source, with which durability, and how that differs from ours."""
    return pd.DataFrame(
        {
            "source": source["key"],
            "by": source["author"],
            "measured": source["measured"],
            "versions": join([f"{LABELS[s]} {v}" for s, v in source["versions"].items()]) or "not stated",
            "workload": source["workload"],
            "durability": "; ".join(f"{LABELS[s]}: {text}" for s, text in source["durability"].items()),
            "differs from ours": " ".join(source["differs"]),
        }
        for source in published.load()
    )


def _own(data: Mapping[str, Any], figure: str, statistic: str) -> dict[str, str]:
    """Our row of the table: the rate with the most clients, or a percentile of the nearest operation; of the
    stores that others published.
    """
    if figure == "throughput":
        rows = [row for store, row in busiest(data["throughput"]).items() if store in published.STORES]
        cells = {LABELS[row["store"]]: f"{count(row['per_s'])} /s, limit: {row['limit']}" for row in rows}
        clients = plural(rows[0]["clients"], "client")
        return {"setting": f"one machine, {clients}, all four operations"} | cells
    found = having(data["latency"], tier="relaxed", mix=MIX, operation=NEAREST[figure])
    rows = [row for row in found if row["store"] in published.STORES]
    cells = {LABELS[row["store"]]: value_of(row["percentiles_us"].get(statistic)) for row in rows}
    return {"setting": f"one machine, 1 client, {TITLES[NEAREST[figure]].lower()}"} | cells


def _shown(one: published.Figure) -> str:
    return f"{count(one.value)} /s" if one.unit == "1/s" else duration_us(one.value)


def _median_ratio(data: Mapping[str, Any], operation: str) -> Interval:
    """MongoDB over Cassandra, from the tests of the comparison."""
    for row in having(data["ratios"], tier="relaxed", mix=MIX, operation=operation):
        if (row["store"], row["against"]) == ("mongodb", "cassandra"):
            return Interval(row["ratio"], row["low"], row["high"])
        if (row["store"], row["against"]) == ("cassandra", "mongodb"):
            return Interval(1 / row["ratio"], 1 / row["high"], 1 / row["low"])
    raise KeyError(operation)


def _verdict(theirs: Sequence[float], ours: Interval) -> str:
    """Whether ours lies on the same side of 1 as all of theirs."""
    if ours.holds(1):
        return "no difference shown here"
    sides = {ratio > 1 for ratio in theirs if ratio != 1}
    if len(sides) != 1:
        return "no one direction there"
    return "the same direction" if sides == {ours.value > 1} else "the opposite direction"
