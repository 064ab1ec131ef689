"""Scaling out: the same migration with one process and two, to one Redis and to a cluster of three.

Rounds are interleaved. What a row costs on each side is kept beside the speed: where the cores of one machine
are all busy, more of them cannot show, but their costs can be added up (``outlook``).
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from helpers import migration, results, servers, settings
from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.model import Partition
from helpers.progress import bar
from helpers.relational import population
from helpers.servers import connections, machine, redis_cluster, scratch
from helpers.source import Source
from helpers.trials.ladder import NOTHING_SAVED, tables

PG_SCHEMA = "scaleout"
SIZES = {"quick": tables(10_000), "full": tables(1_000_000)}
ROUNDS = {"quick": 1, "full": 5}
NODES, WORKERS = (1, 3), (1, 2)
ARMS = tuple((nodes, workers) for nodes in NODES for workers in WORKERS)
"""(Redis nodes, processes that load), as they are compared."""
PATIENCE_MS = 15_000
"""How long a node may be silent: on a machine whose cores are all busy, longer than a cluster would wait."""


def run(*, profile: str = "quick", folder: Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Measure every arm, and save the result ``scaleout``.

    Args:
        profile: ``quick`` or ``full`` (a million rows).
        folder: results folder; that of the current run when None.
        progress: show a progress bar.

    Returns:
        ``rows`` per table; ``cores`` of the machine; ``rounds``: one record a migration with ``nodes``,
        ``workers``, ``round``, ``rows``, ``seconds`` (of the whole call), ``load_seconds``,
        ``rows_per_second`` (of the load), ``mover_cpu_seconds`` (of all processes that load),
        ``redis_cpu_seconds`` (a list, one a node), ``redis_bytes`` (received by all nodes),
        ``memory_bytes`` (used by all nodes more than before), ``busy`` (share of the machine's cores during
        the call); ``reading``: one record a round with ``seconds`` and ``bytes`` of a stream of all rows
        that are read and dropped; ``differences``: found by ``verify`` after each arm's first migration.

    Raises:
        HelpersError: no such profile, or an arm that did not do its work.
    """
    sizes = settings.of_profile(SIZES, profile)
    with (
        population.throw_away(PG_SCHEMA, **sizes) as source,
        scratch.redis(*NOTHING_SAVED) as alone,
        redis_cluster.cluster(max(NODES), 0, *NOTHING_SAVED, timeout_ms=PATIENCE_MS) as cluster,
    ):
        targets = {1: [alone.url], max(NODES): cluster.urls}
        data = _measure(source, targets, ROUNDS[profile], progress)
        versions = {**servers.versions(["postgres"]), "redis": alone.version}
    data |= {"rows": sizes, "cores": psutil.cpu_count()}
    results.save("scaleout", data, profile=profile, servers=versions, folder=folder)
    return data


def _measure(source: str, targets: dict[int, list[str]], rounds: int, progress: bool) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    reading: list[dict[str, float]] = []
    differences: dict[str, int] = {}
    with bar(rounds * (len(ARMS) + 1), "scaleout", unit="migrations", enabled=progress) as shown:
        for number in range(rounds):
            reading.append(_read(source))
            shown.update()
            for nodes, workers in ARMS[number % len(ARMS) :] + ARMS[: number % len(ARMS)]:
                urls = targets[nodes]
                record = {"nodes": nodes, "workers": workers, "round": number + 1}
                records.append(record | _timed(source, urls, workers))
                if number == 0:
                    found = verification.verify(source, urls[0], progress=False)
                    differences[f"{nodes}x{workers}"] = found["differences"]
                shown.update()
    if any(differences.values()):
        raise HelpersError(f"scaleout: not every arm did its work: {differences}")
    return {"rounds": records, "reading": reading, "differences": differences}


def _timed(source: str, urls: Sequence[str], workers: int) -> dict[str, Any]:
    clients = [connections.redis(url, socket_timeout=connections.FLUSH_S) for url in urls]
    try:
        for client in clients:
            client.flushall()
        before, cores, began = [client.info() for client in clients], machine.Cores(), time.perf_counter()
        result = migration.migrate(source, urls[0], workers=workers, verify=False, progress=False)
        seconds = time.perf_counter() - began
        busy = cores.busy()
        after = [client.info() for client in clients]
    finally:
        for client in clients:
            client.close()

    def grown(*fields: str) -> list[float]:
        return [sum(b[f] - a[f] for f in fields) for a, b in zip(before, after, strict=True)]

    return {
        "rows": result["rows_loaded_now"],
        "seconds": seconds,
        "load_seconds": result["load_seconds"],
        "rows_per_second": result["rows_per_second"],
        "mover_cpu_seconds": result["mover_cpu_seconds"],
        "redis_cpu_seconds": grown("used_cpu_user", "used_cpu_sys"),
        "redis_bytes": sum(grown("total_net_input_bytes")),
        "memory_bytes": sum(grown("used_memory")),
        "busy": busy,
    }


def _read(source: str) -> dict[str, float]:
    """One stream of all rows, as a load reads them, that nobody takes."""
    size = 0

    def drop(rows: bytes) -> tuple[str, ...]:
        nonlocal size
        size += len(rows)
        return ()  # no position: a lost connection ends the measurement

    with Source(source) as opened:
        began = time.perf_counter()
        for stream in opened.plan.streams:
            opened.read(Partition(stream), None, drop)
        return {"seconds": time.perf_counter() - began, "bytes": size}
