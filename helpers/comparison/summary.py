"""From raw samples to the figures that are shown: percentiles, ratios, throughput, open loop, cost. Pure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.comparison import statistics
from helpers.comparison.samples import RunSamples
from helpers.comparison.workload import OPERATIONS
from helpers.settings import NAMES

if TYPE_CHECKING:  # claims read samples' summaries, and reach no store
    from helpers.comparison.loops import StoreRun

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
GRID = (0.0, *np.round(np.linspace(0.01, 0.99, 99), 2).tolist(), 0.995, 0.999, 0.9995, 0.9999, 1.0)
"""Shares at which each distribution is kept for drawing."""

WARM_UP_WINDOW = 25
BUSY = 0.85
"""Share of a core from which on one who cannot use a second is taken to have no time left: a process of
clients, which Python's interpreter lock keeps to one core, or a server that answers in one thread.
"""
FULL = 0.9
"""Share of all cores from which on the machine is taken to be full."""
ONE_THREAD = ("redis",)
"""Stores whose server carries out commands in one thread; the others use every core they get."""
LIMITS = ("client", "server", "machine", "waiting")
"""What can keep a rate from rising. ``waiting``: nobody was busy, so that the number of clients over their
latency is the rate.
"""


def summarise(records: Sequence[RunSamples]) -> dict[str, Any]:
    """Everything that follows from the raw samples, JSON-able, in a fixed order."""
    stores = sorted({record.store for record in records}, key=NAMES.index)
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
    """Operations per second and latency against the number of clients, and what was the limit.

    ``core_per_s`` is the rate that one core of the server allows by the processor time of an operation; it
    does not depend on how much the clients could send.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    rows = []
    for (clients, mix), group in _groups(records, "concurrency", lambda r: (r.clients, r.mix)):
        for store, runs in _by_store(group, stores):
            rates = [len(r.verbs) / r.wall_s for r in runs]
            mean = statistics.geometric_mean(rates)
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
                    **_load(runs),
                    **_cpu(runs),
                    "core_per_s": _core_per_s(runs),
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
                    **_load(runs),
                }
            )
    return rows


def cost(records: Sequence[RunSamples], stores: Sequence[str]) -> dict[str, Any]:
    """Where the time of one operation goes, one client, relaxed tier, by store and mix: as ``parts``.

    Args:
        records: all runs of a comparison with their samples.
        stores: their names, in the order in which they are shown.
    """
    found: dict[str, Any] = {store: {} for store in stores}
    for (mix,), group in _groups(records, "closed", lambda r: (r.mix,), tier="relaxed"):
        for store, runs in _by_store(group, stores):
            found[store][mix] = parts(runs)
    return found


def parts(runs: Sequence["RunSamples | StoreRun"]) -> dict[str, float | None]:
    """The time of one operation of one client, in microseconds.

    The thread that asks is either on a processor (``asking_us``) or waits (``rest_us``): both together are
    ``elapsed_us``, so neither can be below 0. ``client_cpu_us`` is the processor time of the client's whole
    process, threads of the driver included, and ``server_cpu_us`` that of the whole server. What of them is
    not the asking thread's falls into the rest, and where threads work at the same time it may be longer.

    Args:
        runs: of one client each.
    """
    count = sum(len(run.latency_us) for run in runs)
    elapsed, asking = (
        sum(of) / count * 1e6 for of in zip(*((r.wall_s, r.asking_cpu_s) for r in runs), strict=True)
    )
    return {
        "elapsed_us": _round(elapsed),
        "asking_us": _round(asking),
        "rest_us": _round(elapsed - asking),
        **_cpu(runs),
    }


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


def limit(store: str, *, client: float, server: float | None, machine: float | None, cores: int) -> str:
    """Which of ``LIMITS`` kept a rate from rising.

    Args:
        store: its name.
        client: share of one core that the busiest process of clients used.
        server: cores that the server used; None where it does not say.
        machine: share of all cores in use; None where the system does not say.
        cores: of the machine.
    """
    full = machine is not None and machine >= FULL
    if server is not None and (server >= BUSY if store in ONE_THREAD else full and server >= BUSY * cores):
        return "server"
    if full:
        return "machine"
    return "client" if client >= BUSY else "waiting"


def busiest(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The rows of ``throughput`` with the most clients, by store."""
    most = max((row["clients"] for row in rows), default=0)
    return {row["store"]: row for row in rows if row["clients"] == most}


def by_core(rows: Sequence[Mapping[str, Any]]) -> dict[str, statistics.Interval]:
    """What one core of each server allows, with the most clients, by store; left out where it is not known,
    and where the clients could send no more: such a server had too little to do.

    Args:
        rows: of ``throughput``.
    """
    return {
        store: statistics.Interval.of(row["core_per_s"])
        for store, row in busiest(rows).items()
        if row["core_per_s"] and row["limit"] != "client"
    }


def _load(runs: Sequence[RunSamples]) -> dict[str, Any]:
    """Who was how busy, and what was the limit; others are all but the clients and the server."""
    wall = sum(r.wall_s for r in runs)
    client = sum(r.busiest_cpu_s for r in runs) / wall
    server = _sum_known([r.server_cpu_s for r in runs])
    machine = _sum_known(
        [None if (share := r.machine_busy_share) is None else share * r.wall_s for r in runs]
    )
    cores = None if server is None else server / wall
    share = None if machine is None else machine / wall
    ours = None if cores is None else (sum(r.client_cpu_s for r in runs) / wall + cores) / runs[0].cores
    return {
        "processes": runs[0].processes,
        "client_busy_share": round(client, 3),
        "server_busy_cores": None if cores is None else round(cores, 3),
        "machine_busy_share": None if share is None else round(share, 3),
        "others_busy_share": None if share is None or ours is None else round(share - ours, 3),
        "limit": limit(runs[0].store, client=client, server=cores, machine=share, cores=runs[0].cores),
    }


def _core_per_s(runs: Sequence[RunSamples]) -> dict[str, float] | None:
    """Operations for each processor second of the server, over blocks; None where it is not known."""
    if not all(run.server_cpu_s for run in runs):
        return None
    mean = statistics.geometric_mean([len(run.verbs) / float(run.server_cpu_s or 0) for run in runs])
    return None if mean is None else {name: _round(value) for name, value in mean.as_dict().items()}


def _sum_known(values: Sequence[float | None]) -> float | None:
    """Their sum, None if one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _cpu(runs: Sequence["RunSamples | StoreRun"]) -> dict[str, float | None]:
    count = sum(len(r.latency_us) for r in runs)
    server = _sum_known([r.server_cpu_s for r in runs])
    return {
        "client_cpu_us": _round(sum(r.client_cpu_s for r in runs) / count * 1e6),
        "server_cpu_us": None if server is None else _round(server / count * 1e6),
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
