"""Durability: what each tier may lose, and what it costs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from helpers.comparison.tables import value_of
from helpers.comparison.workload import MIX
from helpers.report import claim
from helpers.results import NOT_MEASURED, Results, having
from helpers.settings import LABELS
from helpers.text import NOT_AVAILABLE, count, duration_s, duration_us, exact, join, known, span

WRITES: Mapping[str, str] = {"append_activity": "activity", "place_order": "order"}
UNITS_S: Mapping[str, float] = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0}
WRITERS_ROUNDS = 3
"""PostgreSQL's WAL writer may need so many rounds for a commit that did not wait (its documentation,
``Asynchronous Commit``).
"""

_claim = claim.from_result("comparison")


def may_be_lost_s(store: str, settings: Mapping[str, str]) -> float | None:
    """For how long acknowledged writes may be missing on the disk, in seconds; 0 where none is, None where
    the settings do not say it.

    Args:
        store: its name.
        settings: as its live server stated them.
    """
    if store == "redis":
        if settings.get("appendonly") != "yes":
            return None
        return {"always": 0.0, "everysec": 1.0}.get(settings.get("appendfsync", ""))
    if store == "mongodb":
        if "j:true" in settings.get("write concern received", ""):
            return 0.0
        return _seconds(settings.get("journal flushed at least every"))
    if store == "cassandra":
        if settings.get("commit log") in ("batch", "group"):
            return 0.0
        return _seconds(settings.get("commit log synced every"))
    if store == "postgres":
        if settings.get("fsync", "on") != "on":
            return None
        if settings.get("synchronous_commit") in ("on", "local", "remote_write", "remote_apply"):
            return 0.0
        round_s = _seconds(settings.get("wal_writer_delay"))
        return None if round_s is None else WRITERS_ROUNDS * round_s
    return None


def _seconds(told: str | None) -> float | None:
    """A duration as servers write it: ``100 ms``, ``10000ms``, ``10s``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(us|ms|s|min|m)", told or "")
    return float(found[1]) * UNITS_S[found[2]] if found else None


SHOWN: Mapping[str, tuple[str, ...]] = {
    "postgres": ("fsync", "synchronous_commit", "wal_writer_delay"),
    "redis": ("appendonly", "appendfsync"),
    "mongodb": ("write concern received", "journal flushed at least every"),
    "cassandra": ("commit log", "commit log synced every"),
}
"""The settings on which durability rests."""


def table(results: Results) -> pd.DataFrame:
    """A row for each tier and store: the setting, what may be lost, p50 and p99 of the writes, and their rate
    with one client.
    """
    data = results.require("comparison", "tiers", "latency")
    rows = []
    for tier, stores in data["tiers"].items():
        for store in (store for store in data["counts"] if store in stores):
            settings = stores[store]
            told = [f"{name} {settings[name]}" for name in SHOWN.get(store, ()) if name in settings]
            row: dict[str, Any] = {
                "tier": tier,
                "store": LABELS[store],
                "setting": settings.get(NOT_MEASURED) or "; ".join(told),
                "may be lost": known(may_be_lost_s(store, settings), _lost),
            }
            written = {operation: _row(data, tier, store, operation) for operation in WRITES}
            for operation, name in WRITES.items():
                percentiles = (written[operation] or {}).get("percentiles_us", {})
                row |= {f"{name}, {share}": value_of(percentiles.get(share)) for share in ("p50", "p99")}
            means = [one["mean_us"] for one in written.values() if one and one["mean_us"]]
            rate = len(means) * 1e6 / sum(means) if len(means) == len(WRITES) else None
            rows.append(row | {"writes per second": known(rate, count)})
    return pd.DataFrame(rows)


def _lost(seconds: float) -> str:
    return f"the last {exact(duration_s(seconds))}" if seconds else "nothing"


def _row(data: Mapping[str, Any], tier: str, store: str, operation: str) -> dict[str, Any] | None:
    found = having(data["latency"], tier=tier, store=store, mix=MIX, operation=operation)
    return found[0] if found else None


def summary_table(results: Results) -> pd.DataFrame:
    """A row for each store: what a machine that stops may lose in each tier, and how many times as long the
    median of a write takes in the strict one.
    """
    data = results.require("comparison", "tiers", "latency")
    return pd.DataFrame(
        {"store": LABELS[store]}
        | {f"may be lost, {tier}": _loss(store, of.get(store)) for tier, of in data["tiers"].items()}
        | {"a write, strict / relaxed": known(_times(data, store) or None, span)}
        for store in data["counts"]
    )


def _loss(store: str, settings: Mapping[str, str] | None) -> str:
    """What a store may lose with these settings, in words."""
    if settings is None or NOT_MEASURED in settings:
        return NOT_AVAILABLE
    return known(may_be_lost_s(store, settings), _lost)


def _times(data: Mapping[str, Any], store: str) -> list[float]:
    """How many times as long the median of each write is in the strict tier, where both were measured."""
    times = []
    for operation in WRITES:
        both = [_row(data, tier, store, operation) for tier in ("strict", "relaxed")]
        medians = [one["percentiles_us"]["p50"] for one in both if one and one["percentiles_us"]["p50"]]
        if len(medians) == len(both):
            times.append(medians[0]["value"] / medians[1]["value"])
    return times


@_claim("Durability:")
def promises(data: Mapping[str, Any]) -> str:
    """Which stores may lose acknowledged writes in each tier if the machine stops, where least and most, and
    what was not measured.
    """
    sentences = []
    for tier, stores in data["tiers"].items():
        named = [store for store in data["counts"] if store in stores]
        told = {
            store: may_be_lost_s(store, stores[store]) for store in named if NOT_MEASURED not in stores[store]
        }
        sentences += [
            f"{LABELS[store]} was not measured in the {tier} tier: {stores[store][NOT_MEASURED]}."
            for store in named
            if store not in told
        ]
        losing = {store: seconds for store, seconds in told.items() if seconds}
        safe = [LABELS[store] for store, seconds in told.items() if seconds == 0]
        unknown = [LABELS[store] for store, seconds in told.items() if seconds is None]
        parts = []
        if losing:
            least, most = (of(losing, key=lambda store: losing[store]) for of in (min, max))
            last = exact(span(list(losing.values()), duration_s))
            lost = f"the last {last} of acknowledged writes may be lost"
            ends = f", least on {LABELS[least]} and most on {LABELS[most]}"
            parts.append(f"{lost}{ends if losing[least] != losing[most] else f' on {_named(losing)}'}")
        if safe:
            parts.append(f"nothing is lost on {join(safe)}")
        if unknown:
            parts.append(f"{join(unknown)} {'does' if len(unknown) == 1 else 'do'} not say what may be lost")
        if parts:
            sentences.append(f"In the {tier} tier {'; '.join(parts)}.")
    fsync = data["floors"]["fsync_us"]["p50"]
    disk = f" One flush to this disk takes {duration_us(fsync['value'])}." if fsync else ""
    return f"This is what the settings promise if the machine stops. {' '.join(sentences)}{disk}"


@_claim("Price of durability:")
def price(data: Mapping[str, Any]) -> str:
    """How much longer the medians of the writes are in the strict tier: where least, and where most."""
    if "strict" not in data["tiers"]:
        return "Price of durability: the strict tier was not measured in this run."
    times = {store: found for store in data["counts"] if (found := _times(data, store))}
    absent = [LABELS[store] for store in data["counts"] if store not in times]
    note = f" It was not measured on {join(absent)}." if absent else ""
    if not times:
        return f"Price of durability: not measured on {join(absent)}."
    least, most = min(times, key=lambda s: min(times[s])), max(times, key=lambda s: max(times[s]))
    ends = span([min(times[least]), max(times[most])])
    where = f", least on {LABELS[least]} and most on {LABELS[most]}" if least != most else ""
    return f"A write's median is {ends} times as long in the strict tier as in the relaxed one{where}.{note}"


def _named(stores: Iterable[str]) -> str:
    return join([LABELS[store] for store in stores])
