"""Our measurements beside those of others: published results, and another program on the same server."""

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
    part = data.get("cross_check", {}).get("redis", {NOT_MEASURED: "no cross-check was made"})
    same = part.get("many_clients", {}).get("theirs_per_s")
    if same is None:
        here = f"the same program was not run here ({part.get(NOT_MEASURED, 'a single round')})"
    else:
        here = (
            f"the same program sends {count(same['value'])} PING per second here with "
            f"{part['many_clients']['clients']} clients, {three(same['value'] / shown.value)} times as many"
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


@_claim("Cross-check:")
def crosscheck(data: Mapping[str, Any]) -> str:
    """PING as another program measures it on the same server, against our driver's null operation."""
    found = data["cross_check"]
    sentences = []
    for store, part in found.items():
        if NOT_MEASURED in part:
            continue
        alone, many = part["one_client"], part["many_clients"]
        tool, label = f"{part['tool']} {part['tool_version']}", LABELS[store]
        echo, null, rate = (
            Interval(one["value"], one["low"], one["high"])
            for one in (alone["theirs_to_echo"], alone["ratio"]["p50"], many["ratio"]["per_s"])
        )
        theirs, ours = (duration_us(alone[side]["p50"]["value"]) for side in ("theirs_us", "ours_us"))
        sentences.append(
            f"One client of {tool} gets the answer to a PING from {label} in {theirs} (median), "
            f"{_interval(echo)} times a bare TCP round trip{_noted(echo)}; our driver's null operation takes "
            f"{ours}, {_interval(null)} times as long{_noted(null)}. "
            f"With {many['clients']} clients it sends {count(many['theirs_per_s']['value'])} per second, our "
            f"threads {count(many['ours_per_s']['value'])}, {_interval(rate)} times as many{_noted(rate)} "
            f"({plural(part['rounds'], 'round')} in turns)."
        )
    absent = [
        f"{LABELS[store]} ({part[NOT_MEASURED]})" for store, part in found.items() if NOT_MEASURED in part
    ]
    if absent:
        sentences.append(f"No other program was compared on {join(absent)}.")
    return " ".join(sentences)


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


def _noted(found: Interval) -> str:
    return ", no difference shown" if _level(found) else ""


def _verdict(theirs: Sequence[float], ours: Interval) -> str:
    """Whether ours lies on the same side of 1 as all of theirs."""
    if _level(ours):
        return "no difference shown here"
    sides = {ratio > 1 for ratio in theirs if ratio != 1}
    if len(sides) != 1:
        return "no one direction there"
    return "the same direction" if sides == {ours.value > 1} else "the opposite direction"
