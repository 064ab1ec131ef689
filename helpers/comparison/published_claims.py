"""Our measurements beside results that others published."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from helpers.comparison import published
from helpers.comparison.statistics import Interval
from helpers.comparison.workload import MIX, TITLES
from helpers.report import claim
from helpers.results import NOT_MEASURED, Results, having
from helpers.settings import LABELS
from helpers.text import count, duration_us, join, known, plural, span, three

NEAREST: Mapping[str, str] = {"read": "read_profile", "insert": "append_activity"}
"""Our operation that is nearest to a published one."""
BESIDE = ("throughput", "read", "insert")
"""The published figures that have one of ours beside them, in the order in which they are shown."""
TIMES: Mapping[str, str] = {"read": "a read takes", "insert": "an insert takes"}

_claim = claim.from_result("comparison", TypeError)


@_claim("Published results beside ours:")
def directions(data: Mapping[str, Any]) -> str:
    """MongoDB against Cassandra in benchANT's runs and in ours: the same direction or the opposite one."""
    sources = published.load()
    sentences = []
    for figure in ("read", "insert", "throughput"):
        theirs = published.ratios(sources, figure, "mongodb", "cassandra")
        ours = _throughput_ratio(data) if figure == "throughput" else _median_ratio(data, NEAREST[figure])
        what = TIMES.get(figure, "throughput is")
        times = "times that of Cassandra" if figure == "throughput" else "times as long as on Cassandra"
        sentences.append(
            f"{what} {span(theirs)} {times} there and {_interval(ours)} here ({_verdict(theirs, ours)})"
        )
    runs = len(published.ratios(sources, "read", "mongodb", "cassandra"))
    clients = [
        setting["clients"]
        for source in sources
        for setting in source["settings"]
        if {one["store"] for one in setting["figures"]} >= {"mongodb", "cassandra"}
    ]
    return (
        f"On MongoDB, in {plural(runs, 'pair')} of runs by benchANT and in ours, {'; '.join(sentences)}. "
        f"Theirs are means with {span(clients, count)} clients; our times are medians with one client, "
        f"our throughput is of {_busiest(data)[0]} clients with operations of both kinds."
    )


@_claim("Durability beside published results:")
def durability(data: Mapping[str, Any]) -> str:
    """Inserts on MongoDB against Cassandra with durability as uneven as in benchANT's runs, and even."""
    sources = published.load()
    theirs = published.ratios(sources, "insert", "mongodb", "cassandra")
    even = _median_ratio(data, "append_activity")
    opening = (
        "In benchANT's runs MongoDB acknowledged an insert once a majority of its nodes had it, Cassandra "
        f"before its commit log was flushed; MongoDB's took {span(theirs)} times as long."
    )
    inserts = having(data["latency"], mix=MIX, operation="append_activity")
    strict, other = (
        having(inserts, store=store, tier=tier)
        for store, tier in (("mongodb", "strict"), ("cassandra", "relaxed"))
    )
    relaxed = f"with both in the relaxed tier it takes {_interval(even)} times as long"
    if not strict or not other:
        return f"{opening} Here {relaxed}; MongoDB's strict tier was not measured in this run."
    uneven = _quotient(*(rows[0]["percentiles_us"]["p50"] for rows in (strict, other)))
    return (
        f"{opening} Here {relaxed}; with MongoDB in the strict tier and Cassandra in the relaxed one, which "
        f"is nearest to theirs, {_interval(uneven)} times ({_verdict(theirs, uneven)})."
    )


@_claim("Redis beside its documentation:")
def redis(data: Mapping[str, Any]) -> str:
    """Throughput of Redis in its documentation, by the same program here, and by our client."""
    (shown,) = [
        one
        for one in published.figures(published.load())
        if (one.store, one.figure) == ("redis", "throughput")
    ]
    row = max(having(data["throughput"], store="redis"), key=lambda row: int(row["clients"]))
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
        f"with {row['clients']} clients, {three(row['per_s'] / shown.value)} times as many; its writes are "
        "transactions of several commands."
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
    """Published means and ours, store by store: throughput, read and insert.

    Raises:
        Missing: throughput or latency was not measured.
    """
    data = results.require("comparison", "throughput", "latency")
    by_place: dict[tuple[str, str, int, str], dict[str, published.Figure]] = {}
    for one in published.figures(published.load()):
        if one.statistic == "mean":
            key = (one.source, one.setting, one.clients, one.figure)
            by_place.setdefault(key, {})[one.store] = one
    rows: list[dict[str, Any]] = [
        {"figure": figure, "source": source, "setting": f"{setting}, {plural(clients, 'client')}"}
        | {LABELS[store]: known(by_store.get(store), _shown) for store in published.STORES}
        for (source, setting, clients, figure), by_store in by_place.items()
    ]
    rows += [{"figure": figure, "source": "this run"} | _own(data, figure) for figure in BESIDE]
    rows.sort(key=lambda row: BESIDE.index(row["figure"]))
    return pd.DataFrame(rows)


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


def _own(data: Mapping[str, Any], figure: str) -> dict[str, str]:
    """Our row of the table: throughput with the most clients, or the mean of the nearest operation."""
    if figure == "throughput":
        most, rows = _busiest(data)
        cells = {LABELS[row["store"]]: f"{count(row['per_s'])} /s" for row in rows}
        return {"setting": f"one machine, {plural(most, 'client')}, all four operations"} | cells
    rows = having(data["latency"], tier="relaxed", mix=MIX, operation=NEAREST[figure])
    cells = {LABELS[row["store"]]: known(row["mean_us"], duration_us) for row in rows}
    return {"setting": f"one machine, 1 client, {TITLES[NEAREST[figure]].lower()}"} | cells


def _shown(one: published.Figure) -> str:
    return f"{count(one.value)} /s" if one.unit == "1/s" else duration_us(one.value)


def _busiest(data: Mapping[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """The most clients, and the throughput with so many."""
    most = max(row["clients"] for row in data["throughput"])
    return most, having(data["throughput"], clients=most)


def _median_ratio(data: Mapping[str, Any], operation: str) -> Interval:
    """MongoDB over Cassandra, from the tests of the comparison."""
    for row in having(data["ratios"], tier="relaxed", mix=MIX, operation=operation):
        if (row["store"], row["against"]) == ("mongodb", "cassandra"):
            return Interval(row["ratio"], row["low"], row["high"])
        if (row["store"], row["against"]) == ("cassandra", "mongodb"):
            return Interval(1 / row["ratio"], 1 / row["high"], 1 / row["low"])
    raise KeyError(operation)


def _throughput_ratio(data: Mapping[str, Any]) -> Interval:
    """MongoDB over Cassandra with the most clients."""
    rows = {row["store"]: row | {"value": row["per_s"]} for row in _busiest(data)[1]}
    return _quotient(rows["mongodb"], rows["cassandra"])


def _quotient(over: Mapping[str, float], under: Mapping[str, float]) -> Interval:
    """How many times larger one is than the other; each end takes those of both at their worst.

    Args:
        over, under: ``value``, ``low`` and ``high``; ends from blocks, where there are enough of them, count
            before those from samples.
    """
    (low, high), (lowest, highest) = (
        [found.get(f"block_{end}", found[end]) for end in ("low", "high")] for found in (over, under)
    )
    return Interval(over["value"] / under["value"], low / highest, high / lowest)


def _interval(found: Interval) -> str:
    return f"{three(found.value)} ({three(found.low)} to {three(found.high)})"


def _level(found: Interval) -> bool:
    return found.low <= 1 <= found.high


def _verdict(theirs: Sequence[float], ours: Interval) -> str:
    """Whether ours lies on the same side of 1 as all of theirs."""
    if _level(ours):
        return "no difference shown here"
    sides = {ratio > 1 for ratio in theirs if ratio != 1}
    if len(sides) != 1:
        return "no one direction there"
    return "the same direction" if sides == {ours.value > 1} else "the opposite direction"
