"""From raw samples to the figures that are shown: percentiles, ratios, throughput, open loop, cost. Pure."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from helpers.comparison import statistics
from helpers.comparison.samples import RunSamples
from helpers.comparison.workload import OPERATIONS

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
GRID = (0.0, *np.round(np.linspace(0.01, 0.99, 99), 2).tolist(), 0.995, 0.999, 0.9995, 0.9999, 1.0)
"""Shares at which each distribution is kept for drawing."""

WARM_UP_WINDOW = 25
CLIENT_BOUND_SHARE = 0.85
"""Busy share of one core from which on the client, which Python's interpreter lock keeps to one core, is
the limit.
"""


def summarise(records: Sequence[RunSamples]) -> dict[str, Any]:
    """Everything that follows from the raw samples, JSON-able, in a fixed order."""
    stores = list(dict.fromkeys(record.store for record in records))
    return {
        "latency": latency(records, stores),
        "ratios": ratios(records, stores),
        "throughput": throughput(records, stores),
        "open_loop": open_loop(records, stores),
        "cost": cost(records, stores),
        "warm_up": warm_up(records, stores),
        "errors": {store: sum(r.errors for r in records if r.store == store) for store in stores},
        "operations": {store: sum(len(r.verbs) for r in records if r.store == store) for store in stores},
    }


def latency(records: Sequence[RunSamples], stores: Sequence[str]) -> list[dict[str, Any]]:
    """Closed loop, one client: percentiles of each operation with intervals, points of its distribution.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    rows = []
    for (tier, mix), group in _groups(records, "closed", lambda r: (r.tier, r.mix)):
        for operation in OPERATIONS:
            for store, runs in _by_store(group, stores):
                blocks = [np.asarray(r.of(operation)) for r in runs]
                samples = np.concatenate(blocks)
                row: dict[str, Any] = {"tier": tier, "mix": mix, "operation": operation, "store": store}
                row |= {"n": len(samples), "blocks": len(blocks)}
                row["mean_us"] = _round(samples.mean()) if len(samples) else None
                row["percentiles_us"] = statistics.rounded(statistics.describe(blocks, SHARES))
                row["quantiles_us"] = [_round(q) for q in np.quantile(samples, GRID)] if len(samples) else []
                rows.append(row)
    return rows


def ratios(records: Sequence[RunSamples], stores: Sequence[str]) -> list[dict[str, Any]]:
    """How many times longer one store's median takes than another's, for each pair, with Holm's
    correction over all.

    ``shown`` is whether a difference remains at 5 % after the correction.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    rows = []
    for (tier, mix), group in _groups(records, "closed", lambda r: (r.tier, r.mix)):
        for operation in OPERATIONS:
            medians = {
                store: {
                    r.block: float(np.median(us))
                    for r in group
                    if r.store == store and (us := r.of(operation))
                }
                for store in stores
            }
            for one, other in combinations(stores, 2):
                both = sorted(medians[one].keys() & medians[other].keys())
                ratio = statistics.log_ratio(
                    [medians[one][b] for b in both], [medians[other][b] for b in both]
                )
                if ratio is not None:
                    where = {"tier": tier, "mix": mix, "operation": operation, "store": one, "against": other}
                    rows.append(where | {"blocks": len(both), "ratio": ratio.value} | _ends(ratio))
    statistics.mark_shown(rows)
    return rows


def throughput(records: Sequence[RunSamples], stores: Sequence[str]) -> list[dict[str, Any]]:
    """Operations per second and latency against the number of clients, with the share of a core the
    client used.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    rows = []
    for (clients, mix), group in _groups(records, "concurrency", lambda r: (r.clients, r.mix)):
        for store, runs in _by_store(group, stores):
            rates = [len(r.verbs) / r.wall_s for r in runs]
            mean = statistics.geometric_mean(rates)
            busy = sum(r.client_cpu_s for r in runs) / sum(r.wall_s for r in runs)
            rows.append(
                {
                    "store": store,
                    "clients": clients,
                    "mix": mix,
                    "blocks": len(runs),
                    "per_s": _round(mean.value if mean else rates[0]),
                    "low": _round(mean.low) if mean else None,
                    "high": _round(mean.high) if mean else None,
                    "percentiles_us": statistics.rounded(
                        statistics.describe([r.latency_us for r in runs], SHARES)
                    ),
                    "client_busy_share": round(busy, 3),
                    "client_bound": busy >= CLIENT_BOUND_SHARE,
                    **_cpu(runs),
                }
            )
    return rows


def open_loop(records: Sequence[RunSamples], stores: Sequence[str]) -> list[dict[str, Any]]:
    """Latency from when operations were due, service time and send lag, at each offered rate; both
    distributions whole, as HDR histograms.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    rows = []
    for (rate, mix), group in _groups(records, "open", lambda r: (r.rate_per_s, r.mix)):
        for store, runs in _by_store(group, stores):
            latencies = [np.asarray(r.latency_us) for r in runs]
            services = [np.asarray(r.service_us) for r in runs]
            lags = [due - service for due, service in zip(latencies, services, strict=True)]
            due, service = np.concatenate(latencies), np.concatenate(services)
            busy = sum(r.client_cpu_s for r in runs) / sum(r.wall_s for r in runs)
            rows.append(
                {
                    "store": store,
                    "offered_per_s": _round(rate),
                    "achieved_per_s": _round(sum(len(r.verbs) for r in runs) / sum(r.wall_s for r in runs)),
                    "mix": mix,
                    "n": len(due),
                    "latency_us": statistics.rounded(statistics.describe(latencies, SHARES)),
                    "service_us": statistics.rounded(statistics.describe(services, SHARES)),
                    "lag_us": statistics.rounded(statistics.describe(lags, SHARES)),
                    "latency_quantiles_us": [_round(q) for q in np.quantile(due, GRID)],
                    "latency_hdr": statistics.encoded(due),
                    "service_hdr": statistics.encoded(service),
                    "client_busy_share": round(busy, 3),
                }
            )
    return rows


def cost(records: Sequence[RunSamples], stores: Sequence[str]) -> dict[str, Any]:
    """Processor time of client and server for one operation, one client, relaxed tier, by store and mix.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    found: dict[str, Any] = {store: {} for store in stores}
    for (mix,), group in _groups(records, "closed", lambda r: (r.mix,), tier="relaxed"):
        for store, runs in _by_store(group, stores):
            found[store][mix] = _cpu(runs)
    return found


def warm_up(records: Sequence[RunSamples], stores: Sequence[str]) -> dict[str, list[float]]:
    """Median latency in each window of operations after loading, by store, in microseconds.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    found = {}
    for store in stores:
        series = np.concatenate(
            [
                np.asarray(r.latency_us)
                for r in records
                if r.phase == "warm-up" and r.tier == "relaxed" and r.store == store
            ]
            or [np.empty(0)]
        )
        cuts = range(0, len(series) - WARM_UP_WINDOW + 1, WARM_UP_WINDOW)
        found[store] = [_round(np.median(series[cut : cut + WARM_UP_WINDOW])) for cut in cuts]
    return found


def _cpu(runs: Sequence[RunSamples]) -> dict[str, float | None]:
    count = sum(len(r.verbs) for r in runs)
    server = [r.server_cpu_s for r in runs if r.server_cpu_s is not None]
    return {
        "client_cpu_us": _round(sum(r.client_cpu_s for r in runs) / count * 1e6),
        "server_cpu_us": _round(sum(server) / count * 1e6) if len(server) == len(runs) else None,
    }


def _groups(
    records: Sequence[RunSamples],
    phase: str,
    key: Callable[[RunSamples], tuple[Any, ...]],
    tier: str | None = None,
) -> list[tuple[tuple[Any, ...], list[RunSamples]]]:
    groups: dict[tuple[Any, ...], list[RunSamples]] = {}
    for record in records:
        if record.phase == phase and record.verbs and tier in (None, record.tier):
            groups.setdefault(key(record), []).append(record)
    return list(groups.items())


def _by_store(runs: Sequence[RunSamples], stores: Sequence[str]) -> list[tuple[str, list[RunSamples]]]:
    """The runs of each store, without those that have none."""
    found = {store: [run for run in runs if run.store == store] for store in stores}
    return [(store, of) for store, of in found.items() if of]


def _ends(ratio: statistics.Ratio) -> dict[str, float]:
    return {"low": ratio.low, "high": ratio.high, "p": ratio.p}


def _round(value: float) -> float:
    return round(float(value), 2)
