"""The ladder: the same rows into the same Redis in five ways, from a command a row to a stream.

Rounds are interleaved: whatever disturbs the machine disturbs every rung. The source is a schema of its own,
the target a throw-away Redis that is emptied before each measurement.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import redis as redis_py
from psycopg2.extensions import parse_dsn
from redis._parsers import _RESP2Parser

from helpers import connections, migration, model, population, results, schema, servers, verification
from helpers.errors import HelpersError
from helpers.progress import bar
from helpers.servers import scratch
from helpers.transfer import copytext
from helpers.transfer.batches import Encoder
from helpers.transfer.source import PARTS

SCHEMA = "ladder"
PIPELINE_ROWS = 1000
SIZES: dict[str, dict[str, int]] = {
    "quick": {"users": 400, "products": 100, "activities": 16_000, "orders": 3_500},
    "full": {"users": 20_000, "products": 2_000, "activities": 800_000, "orders": 178_000},
}
SAMPLE_ROWS = {"quick": 1_500, "full": 20_000}
ROUNDS = 3
LABELS = {
    "row": "row by row, as in the seed",
    "pipeline": "pipeline of 1,000 rows, parser in Python",
    "pipeline_hiredis": "pipeline of 1,000 rows, hiredis",
    "redis_cli": "psql, encoder, redis-cli --pipe",
    "streamed": "streamed, with all guarantees",
}
"""The rungs, as they are shown."""


@dataclass
class Bench:
    """What a rung needs: where to read, where to write, and how many rows a sample has."""

    source: str
    target: str
    sample_rows: int


def run(*, profile: str = "quick", folder: Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Measure every rung and save the result ``ladder``.

    Args:
        profile: ``quick`` or ``full`` (a million rows).
        folder: results folder; that of the current run when None.
        progress: show a progress bar.

    Returns:
        ``rows`` per table; ``rounds``: one record a measurement with rung, round, rows, seconds,
        rows_per_second, redis_cpu_seconds, client_cpu_seconds; ``summary`` per rung: min, median and max of
        rows_per_second, ``ratio`` to the row-by-row median, CPU in microseconds a row; ``labels``,
        ``hiredis`` (version), ``absent`` (why a rung is not there), ``checked`` (differences found by
        ``verify`` after each rung's first round).
    """
    if profile not in SIZES:
        raise HelpersError(f"profile {profile!r} is not one of {', '.join(SIZES)}")
    admin = connections.postgres()
    try:
        schema.ensure_schema(admin, SCHEMA)
        source = connections.with_schema(servers.url("postgres"), SCHEMA)
        population.populate(source, **SIZES[profile], replace=True, progress=False)
        with scratch.redis("appendonly no", 'save ""') as server:
            data = _measure(Bench(source, server.url, SAMPLE_ROWS[profile]), profile, progress)
            version = str(connections.redis(server.url).info("server")["redis_version"])
    finally:
        schema.drop_schema(admin, SCHEMA)
        admin.close()
    versions = {**servers.versions(["postgres"]), "redis": version}
    results.save("ladder", data, profile=profile, servers=versions, folder=folder)
    return data


def _measure(bench: Bench, profile: str, progress: bool) -> dict[str, Any]:
    rungs: dict[str, Callable[[Bench], int]] = {
        "row": _row_by_row,
        "pipeline": lambda b: _pipelined(b, parser_class=_RESP2Parser),
        "pipeline_hiredis": _pipelined,
        "redis_cli": _redis_cli,
        "streamed": _streamed,
    }
    absent = {}
    missing = [name for name in ("psql", "redis-cli") if shutil.which(name) is None]
    if missing:
        absent[LABELS["redis_cli"]] = f"{' and '.join(missing)} not on PATH"
        del rungs["redis_cli"]
    client = connections.redis(bench.target)
    rounds: list[dict[str, Any]] = []
    checked: dict[str, int] = {}
    names = list(rungs)
    with bar(ROUNDS * len(names), "ladder", unit="measurements", enabled=progress) as shown:
        for number in range(ROUNDS):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                client.flushall()
                rounds.append({"rung": name, "round": number + 1, **_timed(rungs[name], bench, client)})
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
        "hiredis": metadata.version("hiredis"),
        "absent": absent,
        "checked": checked,
    }


def summarise(rounds: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per rung: min, median and max of rows/s, ratio to the row-by-row median, CPU a row in microseconds."""
    rates: dict[str, list[dict[str, Any]]] = {}
    for record in rounds:
        rates.setdefault(record["rung"], []).append(record)
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


def _rows(source: str, limit: int | None = None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(table, row) of every table, or of a sample with the tables in the same proportion."""
    connection = connections.postgres(source)
    try:
        sizes = {}
        with connection.cursor() as cursor:
            for table in model.TABLES:
                cursor.execute(f"SELECT count(*) FROM {table}")
                sizes[table] = cursor.fetchone()[0]
        share = 1.0 if limit is None else limit / sum(sizes.values())
        for table in model.TABLES:
            with connection.cursor(name=f"ladder_{table}") as cursor:
                cursor.itersize = 10_000
                order = (
                    "user_id, activity_date, activity_id"
                    if table == "activities"
                    else model.COLUMNS[table][0]
                )
                cursor.execute(f"SELECT {', '.join(model.COLUMNS[table])} FROM {table} ORDER BY {order}")
                for row in islice(cursor, round(sizes[table] * share)):
                    yield table, row
    finally:
        connection.close()


def put(client: "redis_py.Redis", table: str, row: tuple[Any, ...]) -> None:
    """One row by commands of redis-py, on a client or on a pipeline."""
    if table == "activities":
        number, user, kind, date = row
        client.rpush(model.activities_key(user), model.encode_activity(kind, date))
        client.zadd(
            model.activities_by_time_key(user), {model.encode_member(number, kind): model.microseconds(date)}
        )
        return
    client.hset(f"{table[:-1]}:{row[0]}", mapping=model.encode_row(table, row))
    if table == "orders":
        number, user, product, date, _ = row
        client.zadd(model.user_orders_key(user), {str(number): model.microseconds(date)})
        client.zadd(model.product_orders_key(product), {str(number): model.microseconds(date)})


def _row_by_row(bench: Bench) -> int:
    client, rows = connections.redis(bench.target), 0
    for table, row in _rows(bench.source, bench.sample_rows):
        put(client, table, row)
        rows += 1
    return rows


def _pipelined(bench: Bench, **options: Any) -> int:
    client, rows = connections.redis(bench.target, protocol=2, **options), 0
    pipeline = client.pipeline(transaction=False)
    for table, row in _rows(bench.source):
        put(pipeline, table, row)
        rows += 1
        if rows % PIPELINE_ROWS == 0:
            pipeline.execute()
    pipeline.execute()
    return rows


def _streamed(bench: Bench) -> int:
    loaded = migration.migrate(bench.source, bench.target, verify=False, progress=False)
    return int(loaded["rows_loaded_now"])


def _redis_cli(bench: Bench) -> int:
    """The tool that comes with Redis, fed by psql through our encoder; without checkpoint, lease or
    rejects.
    """
    # Passwords go by environment, because anybody on the machine may read a command line.
    named = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
        "options": "PGOPTIONS",
    }
    given = {named[k]: str(v) for k, v in parse_dsn(bench.source).items() if k in named}
    redis_given = connections.redis(bench.target).get_connection_kwargs()
    environment = {**os.environ, **given, "REDISCLI_AUTH": redis_given["password"]}
    port = str(redis_given["port"])
    rows = 0
    for part in PARTS:
        columns, key = ", ".join(part.columns), ", ".join(part.key)
        query = f"COPY (SELECT {columns} FROM {part.table} WHERE {part.where} ORDER BY {key}) TO STDOUT"
        code = f"from helpers import ladder; ladder.encode({part.name!r})"
        with (
            subprocess.Popen(
                ["psql", "-X", "-q", "-c", query], env=environment, stdout=subprocess.PIPE
            ) as psql,
            subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=psql.stdout,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as encoder,
        ):
            cli = subprocess.run(
                ["redis-cli", "-p", port, "--pipe"],
                stdin=encoder.stdout,
                env=environment,
                capture_output=True,
                check=True,
            )
            rows += int((encoder.stderr.read() if encoder.stderr else b"0").split()[-1])
        if psql.returncode or encoder.returncode or b"errors: 0" not in cli.stdout:
            raise HelpersError("ladder: the pipe of psql and redis-cli failed")
    return rows


def encode(part_name: str) -> None:
    """Rows of COPY on stdin become commands on stdout; the number of rows goes to stderr at the end."""
    part = next(part for part in PARTS if part.name == part_name)
    encoder, rows = Encoder(part, ""), 0
    while lines := list(islice(sys.stdin.buffer, 10_000)):
        sys.stdout.buffer.write(encoder.batch(copytext.columns(b"".join(lines), len(part.columns))).commands)
        rows += len(lines) if part.name == part.table else 0
    sys.stdout.buffer.flush()
    print(rows, file=sys.stderr)
