"""The ladder: the same rows into the same Redis in several ways, and the migration of more and more rows.

Rounds are interleaved: whatever disturbs the machine disturbs every rung. The source is a schema of its own,
the target a throw-away Redis that is emptied before each measurement.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import redis as redis_py
from redis._parsers import _RESP2Parser

from helpers import results, servers, settings
from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.progress import bar
from helpers.relational import population
from helpers.servers import connections, scratch
from helpers.text import count, three
from helpers.trials import rungs
from helpers.trials.mover import Mover
from helpers.trials.rungs import Bench

PG_SCHEMA = "ladder"
NOTHING_SAVED = ("appendonly no", 'save ""')
"""Of a target: what is measured is the load, and not the disk."""


def tables(rows: int) -> dict[str, Any]:
    """Rows of each table, so that they are about so many in all."""
    users = max(rows // 50, 1)
    return {
        "users": users,
        "products": max(rows // 500, 1),
        "activities": rows * 4 // 5,
        "orders": rows - rows * 4 // 5 - users - max(rows // 500, 1),
    }


SIZES = {"quick": tables(10_000), "full": tables(1_000_000)}
"""Rows of each table for the rungs."""
GROWN = {"quick": {1_000: 1, 10_000: 1}, "full": {100_000: 5, 1_000_000: 5, 10_000_000: 1}}
"""Rows in all, and how often they are migrated, to see what more of them take."""
SAMPLE_ROWS = {"quick": 800, "full": 20_000}
ROUNDS = {"quick": 2, "full": 7}
SLOW = ("row", "pipeline", "pipeline_hiredis")
SLOW_ROUNDS = 3
"""Rounds of the slow rungs, which differ so much from the others that more would teach nothing."""
LABELS = {
    "row": "row by row",
    "pipeline": "pipeline of 1,000 rows, parser in Python",
    "pipeline_hiredis": "pipeline of 1,000 rows, hiredis",
    "redis_cli": "psql, encoder in C, redis-cli --pipe",
    "redis_cli_file": "redis-cli --pipe, commands from a file",
    "streamed": "streamed, with all guarantees",
}
"""The rungs, as they are shown."""
RUNGS: dict[str, Callable[[Bench], int]] = {
    "row": rungs.row_by_row,
    "pipeline": partial(rungs.pipelined, parser_class=_RESP2Parser),
    "pipeline_hiredis": rungs.pipelined,
    "redis_cli": rungs.piped,
    "redis_cli_file": rungs.sent,
    "streamed": rungs.streamed,
}


def run(*, profile: str = "quick", folder: Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Measure every rung and the growth, and save the result ``ladder``.

    Args:
        profile: ``quick`` or ``full`` (a million rows).
        folder: results folder; that of the current run when None.
        progress: show a progress bar.

    Returns:
        ``rows`` per table; ``rounds``: one record a measurement with rung, round, rows, seconds,
        rows_per_second, redis_cpu_seconds, client_cpu_seconds; ``summary`` per rung: min, median and max of
        rows_per_second, ``ratio`` to the row-by-row median, CPU in microseconds a row; ``against`` per rung:
        min, median and max over rounds of the streamed rate as a multiple of the rung's in the same round;
        ``labels``, ``hiredis`` (version), ``absent`` (why a rung is not there), ``checked`` (differences
        found by ``verify`` after each rung's first round); ``growth`` as ``grow`` gives it.

    Raises:
        HelpersError: no such profile, or rungs that did not do the same work.
    """
    sizes = settings.of_profile(SIZES, profile)
    with (
        population.throw_away(PG_SCHEMA, **sizes) as source,
        scratch.redis(*NOTHING_SAVED) as server,
        tempfile.TemporaryDirectory() as directory,
    ):
        bench = Bench(source, server.url, SAMPLE_ROWS[profile], Path(directory))
        data = _measure(bench, profile, progress)
        with bar(sum(GROWN[profile].values()), "growth", unit="migrations", enabled=progress) as shown:
            data["growth"] = grow(source, server.url, profile, shown.update)
    versions = {**servers.versions(["postgres"]), "redis": server.version}
    results.save("ladder", data, profile=profile, servers=versions, folder=folder)
    return data


def _measure(bench: Bench, profile: str, progress: bool) -> dict[str, Any]:
    names, absent = list(RUNGS), {}
    why = rungs.absent()
    if why:
        absent = {LABELS[name]: why for name in ("redis_cli", "redis_cli_file")}
        names = [name for name in names if LABELS[name] not in absent]
    else:
        rungs.prepare(bench)
    client = connections.redis(bench.target, socket_timeout=connections.FLUSH_S)
    rounds: list[dict[str, Any]] = []
    checked: dict[str, int] = {}
    turns = [
        (number, name)
        for number in range(ROUNDS[profile])
        for name in names[number % len(names) :] + names[: number % len(names)]
        if number < SLOW_ROUNDS or name not in SLOW
    ]
    with bar(len(turns), "ladder", unit="measurements", enabled=progress) as shown:
        for number, name in turns:
            client.flushall()
            rounds.append({"rung": name, "round": number + 1, **_timed(RUNGS[name], bench, client)})
            if number == 0 and name != "row":
                found = verification.verify(bench.source, bench.target, progress=False)
                checked[name] = found["differences"]
            shown.update()
    if any(checked.values()):
        raise HelpersError(f"ladder: not every rung did the same work: {checked}")
    return {
        "rows": SIZES[profile],
        "sample_rows": bench.sample_rows,
        "labels": {name: LABELS[name] for name in names},
        "rounds": rounds,
        "summary": summarise(rounds),
        "against": against(rounds),
        "hiredis": metadata.version("hiredis"),
        "absent": absent,
        "checked": checked,
    }


def grow(
    source: str, target: str, profile: str, advance: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Fill the source, migrate and verify it as ``python -m helpers migrate``, for each size.

    Args:
        source: PostgreSQL URL of a schema of its own; its tables are replaced.
        target: URL of a Redis of its own; it is emptied.
        profile: ``quick`` or ``full``.
        advance: called after each migration.

    Returns:
        One record a migration: ``rows`` (in all), ``round``, ``load_seconds``, ``verify_seconds``,
        ``peak_rss_mb``, ``differences``.
    """
    client, records = connections.redis(target, socket_timeout=connections.FLUSH_S), []
    for rows, rounds in GROWN[profile].items():
        population.populate(source, **tables(rows), replace=True, progress=False)
        for number in range(1, rounds + 1):
            client.flushall()
            with Mover(source, target) as mover:
                ended = mover.wait(timeout_s=None)
            if ended.code or ended.result is None:
                raise HelpersError(f"growth: the migration failed: {[ended.said]}")
            result = ended.result
            records.append(
                {"rows": sum(result["rows_read"].values()), "round": number}
                | {
                    key: result[key]
                    for key in ("load_seconds", "verify_seconds", "peak_rss_mb", "differences")
                }
            )
            advance()
    client.flushall()
    return records


def describe(data: dict[str, Any]) -> list[str]:
    """What ``run`` measured, as lines for people."""
    lines = ["rows/s (median, min to max), and the streamed load's rate as a multiple in the same round:"]
    for name, label in data["labels"].items():
        s, ratio = data["summary"][name], data["against"].get(name)
        times = f"{three(ratio['median'])} ({three(ratio['min'])} to {three(ratio['max'])})" if ratio else ""
        rates = f"{count(s['median'])} ({count(s['min'])} to {count(s['max'])})"
        lines.append(f"  {label:<42} {rates:<30} {times}".rstrip())
    lines += [f"  {label}: not measured, {why}" for label, why in data["absent"].items()]
    lines.append("rows, seconds of load and of verification, peak memory:")
    for record in data["growth"]:
        lines.append(
            f"  {count(record['rows']):>11}  {three(record['load_seconds'])} s  "
            f"{three(record['verify_seconds'])} s  {three(record['peak_rss_mb'])} MB"
        )
    return lines


def _by_rung(rounds: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for record in rounds:
        found.setdefault(record["rung"], []).append(record)
    return found


def summarise(rounds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per rung: min, median and max of rows/s, ratio to the row-by-row median, CPU a row in microseconds."""
    rates = _by_rung(rounds)
    base = median(r["rows_per_second"] for r in rates["row"])
    summary = {}
    for name, records in rates.items():
        speeds = [r["rows_per_second"] for r in records]
        summary[name] = {
            "min": min(speeds),
            "median": median(speeds),
            "max": max(speeds),
            "ratio": median(speeds) / base,
            "redis_cpu_us": median(r["redis_cpu_seconds"] / r["rows"] for r in records) * 1e6,
            "client_cpu_us": median(r["client_cpu_seconds"] / r["rows"] for r in records) * 1e6,
            "redis_busy": median(r["redis_cpu_seconds"] / r["seconds"] for r in records),
        }
    return summary


def against(rounds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per rung: min, median and max over rounds of the streamed rate as a multiple of the rung's."""
    rates = {
        name: {r["round"]: r["rows_per_second"] for r in records}
        for name, records in _by_rung(rounds).items()
    }
    streamed = rates.pop("streamed")
    found = {}
    for name, of_round in rates.items():
        ratios = [streamed[number] / rate for number, rate in of_round.items()]
        found[name] = {"min": min(ratios), "median": median(ratios), "max": max(ratios)}
    return found


def _timed(rung: Callable[[Bench], int], bench: Bench, client: "redis_py.Redis") -> dict[str, Any]:
    redis_before, mine_before, started = _redis_cpu(client), _client_cpu(), time.perf_counter()
    rows = rung(bench)
    seconds = time.perf_counter() - started
    return {
        "rows": rows,
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "redis_cpu_seconds": _redis_cpu(client) - redis_before,
        "client_cpu_seconds": _client_cpu() - mine_before,
    }


def _redis_cpu(client: "redis_py.Redis") -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def _client_cpu() -> float:
    """CPU of this process and of those it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
