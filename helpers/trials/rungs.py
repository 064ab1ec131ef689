"""The rungs of the ladder: the same rows into the same Redis, from a command a row to a stream."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import redis as redis_py
from psycopg2.extensions import parse_dsn

from helpers import migration
from helpers.columns import joined
from helpers.errors import HelpersError
from helpers.migration import Encoder
from helpers.model import Partition, Stream
from helpers.relational import redis_model
from helpers.servers import connections
from helpers.source import Source, copytext

PIPELINE_ROWS = 1000
ENCODER = Path(__file__).with_name("encoder.c")
TOOLS = ("psql", "redis-cli", "cc")
"""What the rungs of redis-cli need on PATH."""
PROGRAMS = dict.fromkeys(TOOLS, "the rungs of redis-cli (Debian: postgresql-client, redis-tools, gcc)")
"""What a publication lacks where a program is not on PATH."""


@dataclass(frozen=True)
class Bench:
    """What a rung needs.

    Attributes:
        source: PostgreSQL URL.
        target: Redis URL.
        sample_rows: rows of the slow rung's sample.
        folder: where the encoder and the prepared commands lie.
    """

    source: str
    target: str
    sample_rows: int
    folder: Path


def prepare(bench: Bench) -> None:
    """Compile the encoder, and make the commands of the rung that only sends."""
    program = str(bench.folder / "encoder")
    subprocess.run(["cc", "-O2", "-o", program, str(ENCODER)], check=True, capture_output=True)
    with Source(bench.source) as source, (bench.folder / "commands").open("wb") as file:
        for stream in _streams(bench.source):
            encoder, width = Encoder(stream, ""), len(stream.columns)
            source.read(Partition(stream), None, partial(_send, file, encoder, width))


def _send(file: BinaryIO, encoder: Encoder, width: int, rows: bytes) -> tuple[str, ...]:
    batch = encoder.batch(copytext.columns(rows, width))
    file.write(joined(batch.commands))
    return batch.position


@cache
def _streams(url: str) -> tuple[Stream, ...]:
    """What a load reads of a source, looked up once: no rung has to do it while it is measured."""
    with Source(url) as source:
        return source.plan.streams


def absent() -> str | None:
    """Why the rungs of redis-cli cannot be measured here, or None."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    return f"{' and '.join(missing)} not on PATH" if missing else None


def put(client: "redis_py.Redis", table: str, row: tuple[Any, ...]) -> None:
    """One row by commands of redis-py.

    Args:
        client: a client, or a pipeline.
        table: the row's.
        row: its columns in PostgreSQL's order.
    """
    if table == "activities":
        number, user, kind, date = row
        client.rpush(redis_model.activities_key(user), redis_model.encode_activity(kind, date))
        client.zadd(
            redis_model.activities_by_time_key(user),
            {redis_model.encode_member(number, kind): redis_model.microseconds(date)},
        )
        return
    fields: Mapping[Any, Any] = redis_model.encode_row(table, row)  # redis-py takes no mapping of str alone
    client.hset(f"{table[:-1]}:{row[0]}", mapping=fields)
    if table == "orders":
        number, user, product, date, _ = row
        client.zadd(redis_model.user_orders_key(user), {str(number): redis_model.microseconds(date)})
        client.zadd(redis_model.product_orders_key(product), {str(number): redis_model.microseconds(date)})


def row_by_row(bench: Bench) -> int:
    """A command, a wait for its answer, the next command, for a sample; rows loaded."""
    client, rows = connections.redis(bench.target), 0
    for table, row in _rows(bench.source, bench.sample_rows):
        put(client, table, row)
        rows += 1
    return rows


def pipelined(bench: Bench, **options: Any) -> int:
    """Commands of redis-py, a thousand rows before their answers are read; rows loaded."""
    client, rows = connections.redis(bench.target, protocol=2, **options), 0
    pipeline = client.pipeline(transaction=False)
    for table, row in _rows(bench.source):
        put(pipeline, table, row)
        rows += 1
        if rows % PIPELINE_ROWS == 0:
            pipeline.execute()
    pipeline.execute()
    return rows


def streamed(bench: Bench) -> int:
    """``migrate`` with all its guarantees, without the verification; rows loaded."""
    loaded = migration.migrate(bench.source, bench.target, verify=False, progress=False)
    return int(loaded["rows_loaded_now"])


def piped(bench: Bench) -> int:
    """``psql | encoder | redis-cli --pipe``, without checkpoint, lease or rejects; rows loaded.

    Raises:
        HelpersError: one of the programs failed.
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
    environment = os.environ | {named[k]: str(v) for k, v in parse_dsn(bench.source).items() if k in named}
    with _redis_cli(bench, stdin=subprocess.PIPE) as cli:
        assert cli.stdin is not None
        for stream in _streams(bench.source):
            encode = [str(bench.folder / "encoder"), *_words(stream)]
            with (
                subprocess.Popen(
                    ["psql", "-X", "-q", "-c", _copy(stream)], env=environment, stdout=subprocess.PIPE
                ) as psql,
                subprocess.Popen(encode, stdin=psql.stdout, stdout=cli.stdin) as encoder,
            ):
                assert psql.stdout is not None
                psql.stdout.close()  # the encoder's end alone is open
            if psql.returncode or encoder.returncode:
                raise HelpersError(f"ladder: psql or the encoder failed on {stream.name}")
        cli.stdin.close()
        _check(cli)
    return _count(bench)


def sent(bench: Bench) -> int:
    """``redis-cli --pipe`` from a file of commands: nothing is read or encoded; rows loaded."""
    with ExitStack() as stack:
        file = stack.enter_context((bench.folder / "commands").open("rb"))
        _check(stack.enter_context(_redis_cli(bench, stdin=file)))
    return _count(bench)


def _redis_cli(bench: Bench, stdin: Any) -> "subprocess.Popen[bytes]":
    given = connections.redis(bench.target).get_connection_kwargs()
    environment = os.environ | {"REDISCLI_AUTH": given["password"]}
    command = ["redis-cli", "-p", str(given["port"]), "--pipe"]
    return subprocess.Popen(command, env=environment, stdin=stdin, stdout=subprocess.PIPE)


def _check(cli: "subprocess.Popen[bytes]") -> None:
    assert cli.stdout is not None
    said = cli.stdout.read()
    if cli.wait() or b"errors: 0" not in said:
        raise HelpersError(f"ladder: redis-cli said {said.decode(errors='replace').strip()!r}")


def _copy(stream: Stream) -> str:
    table, order = stream.table.sql, ", ".join(stream.order_sql)
    select = f"SELECT {stream.columns_sql} FROM {table} WHERE {stream.where} ORDER BY {order}"
    return f"COPY ({select}) TO STDOUT"


def _words(stream: Stream) -> list[str]:
    """The encoder's arguments for a stream."""
    kind = stream.kinds[0]
    if kind.type == "hash":
        return ["hash", kind.key.template.literals[0], *(field for field, _ in kind.fields)]
    if stream.pair:
        return ["activities"]
    return ["references", kind.key.template.literals[0].removesuffix(":")]


def _count(bench: Bench) -> int:
    connection = connections.postgres(bench.source)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                " UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in redis_model.TABLES)
            )
            return sum(count for (count,) in cursor.fetchall())
    finally:
        connection.close()


def _rows(source: str, limit: int | None = None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(table, row) of every table, or of a sample with the tables in the same proportion."""
    connection = connections.postgres(source)
    try:
        sizes = {}
        with connection.cursor() as cursor:
            for table in redis_model.TABLES:
                cursor.execute(f"SELECT count(*) FROM {table}")
                [(sizes[table],)] = cursor.fetchall()
        share = 1.0 if limit is None else limit / sum(sizes.values())
        for table in redis_model.TABLES:
            with connection.cursor(name=f"ladder_{table}") as cursor:
                cursor.itersize = 10_000
                order = (
                    "user_id, activity_date, activity_id"
                    if table == "activities"
                    else redis_model.COLUMNS[table][0]
                )
                cursor.execute(
                    f"SELECT {', '.join(redis_model.COLUMNS[table])} FROM {table} ORDER BY {order}"
                )
                for row in islice(cursor, round(sizes[table] * share)):
                    yield table, row
    finally:
        connection.close()
