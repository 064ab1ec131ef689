"""Tables of the comparison, as data frames made from saved results."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.comparison.statistics import Interval
from helpers.comparison.workload import MIX, MIXES, OPERATIONS
from helpers.results import Missing, Results, having
from helpers.settings import LABELS
from helpers.text import count, duration_us, known, size_bytes, three


def with_ends(interval: Mapping[str, float] | None) -> str:
    """``123 µs (120 µs to 130 µs)``, or n/a where there are too few samples."""
    return known(interval, lambda of: Interval.of(of).written(duration_us))


def value_of(interval: Mapping[str, float] | None) -> str:
    """``123 µs``, or n/a where there are too few samples for an interval."""
    return known(interval, lambda of: duration_us(of["value"]))


def idioms_table(results: Results) -> pd.DataFrame:
    """Each operation in each store: its commands, what was counted on the wire, and what is atomic."""
    counts = results.part("comparison", "counts")
    return pd.DataFrame(
        {
            "operation": operation,
            "store": LABELS[store],
            "commands": f"`{found['commands'][operation]}`",
            "round trips": found["sent"][operation]["round_trips"],
            "statements": found["sent"][operation]["statements"],
            "atomic": found["atomic"][operation],
        }
        for operation in OPERATIONS
        for store, found in counts.items()
    )


def rows_of(results: Results, part: str, *, tier: str, mix: str) -> list[dict[str, Any]]:
    """The rows of a part of the comparison that are of one tier and mix.

    Args:
        results: with a comparison.
        part: ``latency`` or ``ratios``.
        tier: of durability, ``relaxed`` or ``strict``.
        mix: of operations, one of ``workload.MIXES``.

    Raises:
        Missing: this tier with this mix was not measured.
    """
    rows = having(results.part("comparison", part), tier=tier, mix=mix)
    if not rows:
        raise Missing(f"comparison: {tier} tier with the {mix} mix not measured")
    return rows


def percentile_table(results: Results, *, tier: str = "relaxed", mix: str = MIX) -> pd.DataFrame:
    """Percentiles with 95 % intervals by operation and store; n/a where samples are too few for an
    interval.

    Args:
        results, tier, mix: as for ``rows_of``.
    """
    return pd.DataFrame(
        {
            "operation": row["operation"],
            "store": LABELS[row["store"]],
            "n": row["n"],
            "blocks": row["blocks"],
            **{name: with_ends(interval) for name, interval in row["percentiles_us"].items()},
        }
        for row in rows_of(results, "latency", tier=tier, mix=mix)
    )


def ratio_table(results: Results, *, tier: str = "relaxed", mix: str = MIX) -> pd.DataFrame:
    """Ratios of block medians, their geometric mean over blocks with its 95 % interval, p-values of paired
    t-tests on their logarithms after Holm's correction, and whether a difference is shown.

    Args:
        results, tier, mix: as for ``rows_of``.
    """
    return pd.DataFrame(
        {
            "operation": row["operation"],
            "block medians of": f"{LABELS[row['store']]} / {LABELS[row['against']]}",
            "mean ratio": Interval(row["ratio"], row["low"], row["high"]).written(),
            "p (Holm)": "< 0.001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}",
            "shown": "yes" if row["shown"] else "no",
        }
        for row in having(results.part("comparison", "ratios"), tier=tier, mix=mix)
    )


def throughput_table(results: Results) -> pd.DataFrame:
    """Throughput (geometric mean over blocks, 95 % interval) and latency against the number of clients, and
    what kept the rate from rising.
    """
    return pd.DataFrame(
        {
            "store": LABELS[row["store"]],
            "clients": row["clients"],
            "processes": row["processes"],
            "blocks": row["blocks"],
            "operations per second": _rate(row),
            "p50": value_of(row["percentiles_us"]["p50"]),
            "p99": value_of(row["percentiles_us"]["p99"]),
            "limit": row["limit"],
        }
        for row in results.part("comparison", "throughput")
    )


def _rate(row: Mapping[str, Any]) -> str:
    """The rate with its interval, without one where there is a single block."""
    if row["low"] is None:
        return count(row["per_s"])
    return Interval(row["per_s"], row["low"], row["high"]).written(count)


def core_rates_table(results: Results) -> pd.DataFrame:
    """The rate reached beside the one that a core of the server allows, and who was how busy."""
    return pd.DataFrame(
        {
            "store": LABELS[row["store"]],
            "clients": row["clients"],
            "reached per second": count(row["per_s"]),
            "one core allows": known(row["core_per_s"], lambda of: Interval.of(of).written(count)),
            "server, an operation": known(row["server_cpu_us"], duration_us),
            "clients, an operation": duration_us(row["client_cpu_us"]),
            "server, cores": known(row["server_busy_cores"], lambda cores: f"{cores:.2f}"),
            "busiest client": f"{100 * row['client_busy_share']:.0f} %",
            "machine": known(row["machine_busy_share"], lambda share: f"{100 * share:.0f} %"),
            "limit": row["limit"],
        }
        for row in results.part("comparison", "throughput")
    )


def load_table(results: Results) -> pd.DataFrame:
    """Throughput and who was how busy in one: a row for each store and number of clients."""
    rates, busy = throughput_table(results), core_rates_table(results)
    limit = rates.pop("limit")
    further = busy.drop(columns=["store", "clients", "reached per second", "limit"])
    return rates.drop(columns="blocks").join(further).assign(limit=limit)


def open_loop_table(results: Results) -> pd.DataFrame:
    """Latency from when operations were due, service time and send lag, at each offered rate."""
    return pd.DataFrame(
        {
            "store": LABELS[row["store"]],
            "offered per second": count(row["offered_per_s"]),
            "achieved": count(row["achieved_per_s"]),
            "latency p50": value_of(row["latency_us"]["p50"]),
            "latency p99": value_of(row["latency_us"]["p99"]),
            "service p50": value_of(row["service_us"]["p50"]),
            "service p99": value_of(row["service_us"]["p99"]),
            "send lag p50": value_of(row["lag_us"]["p50"]),
            "limit": row["limit"],
        }
        for row in results.part("comparison", "open_loop")
    )


def floors_table(results: Results) -> pd.DataFrame:
    """What no operation can be faster than: echo, null operation of each store; and one flush to the disk.

    A null operation that takes as long as an operation is named as none.
    """
    data = results.require("comparison", "floors")
    floors = data["floors"]
    named = {"TCP echo": floors["echo_us"]}
    for store, found in floors["null_op_us"].items():
        note = ", no floor" if shorter_than_null(data, store) else ""
        named[f"null operation, {LABELS[store]} ({floors['null_op_cost'][store]['asks']}){note}"] = found
    named["flush to disk (fsync)"] = floors["fsync_us"]
    return pd.DataFrame(
        {"floor": name, **{p: with_ends(found[p]) for p in ("p50", "p90", "p99")}}
        for name, found in named.items()
    )


def shorter_than_null(data: Mapping[str, Any], store: str) -> list[str]:
    """The operations of a store whose median its null operation reaches, which is then no floor of them."""
    null = data["floors"]["null_op_us"][store]["p50"]["value"]
    return [operation for operation in OPERATIONS if medians_us(data, operation)[store] <= null]


def medians_us(data: Mapping[str, Any], operation: str) -> dict[str, float]:
    """The median of an operation in each store: relaxed tier, one client, the usual mix."""
    rows = having(data["latency"], tier="relaxed", mix=MIX, operation=operation)
    by_store = {row["store"]: row["percentiles_us"]["p50"]["value"] for row in rows}
    return {store: float(by_store[store]) for store in data["counts"]}


def cost_table(results: Results) -> pd.DataFrame:
    """Where the time of one operation of one client goes, by store: mean of a null operation and of each mix.

    The asking thread's time on a processor and its waiting make up the whole; the processor time of the
    client's whole process and of the server, beside it, falls into both.
    """
    data = results.require("comparison", "cost")
    parts = {
        (store, what): found
        for store, mixes in data["cost"].items()
        for what, found in {"null operation": data["floors"]["null_op_cost"][store], **mixes}.items()
        if what in (*MIXES, "null operation")
    }
    return pd.DataFrame(
        {
            "store": LABELS[store],
            "of": what,
            "elapsed": duration_us(found["elapsed_us"]),
            "asking thread": duration_us(found["asking_us"]),
            "waiting": duration_us(found["rest_us"]),
            "whole client": duration_us(found["client_cpu_us"]),
            "server": known(found["server_cpu_us"], duration_us),
        }
        for (store, what), found in parts.items()
    )


def settings_table(results: Results) -> pd.DataFrame:
    """Settings read back from the live servers, by store; a setting that is alike in all tiers is there
    once.
    """
    tiers = results.part("comparison", "tiers")
    values: dict[tuple[str, str], dict[str, str]] = {}
    for tier, stores in tiers.items():
        for store, found in stores.items():
            for setting, value in found.items():
                values.setdefault((store, setting), {})[tier] = value
    rows = []
    for (store, setting), by_tier in values.items():
        alike = len(set(by_tier.values())) == 1 and len(by_tier) == len(tiers)
        for tier, value in [("all", next(iter(by_tier.values())))] if alike else by_tier.items():
            rows.append({"store": LABELS[store], "setting": setting, "tier": tier, "value": value})
    return pd.DataFrame(rows)


def space_table(results: Results) -> pd.DataFrame:
    """What the stored data take in memory and on disk, as far as each server says it."""
    return pd.DataFrame(
        {
            "store": LABELS[store],
            "memory": known(found["size"]["memory_bytes"], size_bytes),
            "disk": known(found["size"]["disk_bytes"], size_bytes),
            "idle server": known(found["idle_rss_mb"], lambda mb: f"{three(mb)} MB"),
            "how": found["size"]["how"],
        }
        for store, found in results.part("comparison", "counts").items()
    )
