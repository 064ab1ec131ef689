"""Durability: what each tier may lose, and what it costs."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.comparison.tables import value_of
from helpers.comparison.workload import MIX
from helpers.report import claim
from helpers.results import NOT_MEASURED, Results, having
from helpers.settings import LABELS
from helpers.text import count, duration_s, duration_us, join, known, span

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
    return f"the last {duration_s(seconds)}" if seconds else "nothing"


def _row(data: Mapping[str, Any], tier: str, store: str, operation: str) -> dict[str, Any] | None:
    found = having(data["latency"], tier=tier, store=store, mix=MIX, operation=operation)
    return found[0] if found else None


@_claim("Durability:")
def promises(data: Mapping[str, Any]) -> str:
    """What each store may lose in each tier if the machine stops, and which were not measured."""
    sentences = []
    for tier, stores in data["tiers"].items():
        by_loss: dict[str, list[str]] = {}
        absent = []
        for store in (store for store in data["counts"] if store in stores):
            if NOT_MEASURED in stores[store]:
                absent.append(f"{LABELS[store]} was not measured: {stores[store][NOT_MEASURED]}")
                continue
            seconds = may_be_lost_s(store, stores[store])
            loss = "an unknown part" if seconds is None else _lost(seconds)
            by_loss.setdefault(loss, []).append(LABELS[store])
        parts = [f"{loss} on {join(names)}" for loss, names in by_loss.items()]
        sentences.append("; ".join([f"in the {tier} tier {join(parts)}", *absent] if parts else absent))
    fsync = data["floors"]["fsync_us"]["p50"]
    disk = f" One flush to this disk takes {duration_us(fsync['value'])}." if fsync else ""
    opening = "If the machine stops, acknowledged writes may be lost, as the servers state their settings"
    return f"{opening}: {'; '.join(sentences)}.{disk}"


@_claim("Price of durability:")
def price(data: Mapping[str, Any]) -> str:
    """How much longer the medians of the writes are in the strict tier."""
    if "strict" not in data["tiers"]:
        return "Price of durability: the strict tier was not measured in this run."
    sentences = []
    for store in data["counts"]:
        times = []
        for operation in WRITES:
            both = [_row(data, tier, store, operation) for tier in ("strict", "relaxed")]
            medians = [one["percentiles_us"]["p50"] for one in both if one and one["percentiles_us"]["p50"]]
            if len(medians) == len(both):
                times.append(medians[0]["value"] / medians[1]["value"])
        sentences.append(
            f"{span(times)} times as long on {LABELS[store]}" if times else f"not measured on {LABELS[store]}"
        )
    return (
        "With every write on disk before it is acknowledged, the median of a write is, against the relaxed "
        f"tier: {'; '.join(sentences)}."
    )
