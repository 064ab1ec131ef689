"""The source's side: one snapshot, and its tables as streams of COPY."""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Postgres

from helpers import connections, settings
from helpers.errors import HelpersError, first_line
from helpers.model import COLUMNS, TABLES

SESSION = """
    SET datestyle = 'ISO, YMD'; SET client_encoding = 'UTF8'; SET row_security = off;
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    SET work_mem = '64MB'
"""
IN_RANGE = "isfinite({0}) AND {0} >= '0001-01-01' AND {0} < '10000-01-01'"
KEPT: Mapping[str, str] = {
    "users": "(username IS NOT NULL OR email IS NOT NULL OR created_at IS NOT NULL) "
    f"AND (created_at IS NULL OR {IN_RANGE.format('created_at')})",
    "products": "(product_name IS NOT NULL OR price IS NOT NULL)",
    "activities": f"user_id IS NOT NULL AND activity_type IS NOT NULL AND {IN_RANGE.format('activity_date')}",
    "orders": "(user_id IS NOT NULL OR product_id IS NOT NULL OR order_date IS NOT NULL "
    "OR quantity IS NOT NULL) "
    f"AND (order_date IS NULL OR {IN_RANGE.format('order_date')})",
}
"""Rows that the model can hold, as SQL (``model.reject_reason`` says the same of one row; a test compares
them)."""

HASHED = ("users", "products", "orders")
"""Tables whose rows become hashes."""
CHUNK_BYTES = 1 << 19
"""How much of COPY's text is taken at once."""

ACCEPTED = {
    "int": {"int2", "int4", "int8"},
    "text": {"varchar", "text", "bpchar", "name"},
    "timestamp": {"timestamp"},
    "numeric": {"numeric"},
}
EXPECTED = {
    "created_at": "timestamp",
    "activity_date": "timestamp",
    "order_date": "timestamp",
    "price": "numeric",
} | dict.fromkeys(("username", "email", "product_name", "activity_type"), "text")


class SourceLost(HelpersError):
    """PostgreSQL went away; trying again later may help."""


@dataclass(frozen=True)
class Part:
    """A stream of the load.

    Attributes:
        name: its name in the checkpoint.
        table: the table it reads.
        columns: the columns it is read with.
        key: the columns that order it and mark a position.
        where: which rows the model holds in this part, as SQL.
        holds: ``hash``, ``references`` or ``activities``.
        owner: whose collection its rows go to, ``user`` or ``product``; empty for a hash.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    where: str
    holds: str = "hash"
    owner: str = ""


def _references(owner: str) -> Part:
    key = (f"{owner}_id", "order_date", "order_id")
    where = f"{owner}_id IS NOT NULL AND order_date IS NOT NULL AND {IN_RANGE.format('order_date')}"
    return Part(f"{owner}_orders", "orders", key, key, where, "references", owner)


PARTS = (
    *(Part(table, table, COLUMNS[table], COLUMNS[table][:1], KEPT[table]) for table in HASHED),
    _references("user"),
    _references("product"),
    Part(
        "activities",
        "activities",
        ("user_id", "activity_date", "activity_id", "activity_type"),
        ("user_id", "activity_date", "activity_id"),
        KEPT["activities"],
        "activities",
        "user",
    ),
)


class _Chunks(io.RawIOBase):
    """Takes COPY's text in pieces of any size, gives it on in whole rows."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take, self._rest = take, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = self._rest + bytes(data)
        end = text.rfind(b"\n") + 1
        self._rest = text[end:]
        if end:
            self._take(text[:end])
        return len(data)

    def stop(self) -> None:
        """Take nothing more: what a buffer still holds at its end goes nowhere."""
        self._take = lambda rows: None


class Source:
    """One repeatable-read snapshot of the four tables.

    Two connections share it: one keeps the snapshot and answers questions, the other streams.
    """

    def __init__(self, url: str, snapshot: str | None = None) -> None:
        self.url = url
        self.address = settings.address(url)
        self._keeper = self._open(snapshot)
        try:
            self._stream: Postgres | None = None
            self._counts: dict[str, int] | None = None
            self._check()
            self.exported = str(self.ask("SELECT pg_export_snapshot()")[0][0])
            self.snapshot = str(self.ask("SELECT pg_current_snapshot()::text")[0][0])
            self.identity = self._identity()
        except BaseException:
            self._keeper.close()
            raise

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both connections; the snapshot ends with them."""
        for connection in (self._stream, self._keeper):
            if connection is not None and not connection.closed:
                connection.close()

    def ask(self, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a query in the snapshot."""
        try:
            with self._keeper.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        except psycopg2.Error as error:
            raise self._error(error) from error

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        if self._counts is None:
            self._counts = {table: self.ask(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
        return dict(self._counts)

    def stream(self, query: str, write: Callable[[bytes], object], *, binary: bool = False) -> None:
        """Run a query in the snapshot and give each row's bytes, as COPY writes them, to a function.

        Raises:
            SourceLost: the connection broke.
        """
        self._copy(query, SimpleNamespace(write=write), " (FORMAT binary)" if binary else "")

    def read(self, part: Part, after: Iterable[str] | None, take: Callable[[bytes], object]) -> None:
        """Stream a part as COPY text in the order of its key, from behind a position on.

        Args:
            part: what to read.
            after: the key of the last row that is not wanted any more, as text; None for all rows.
            take: given some thousand whole rows at a time.

        Raises:
            SourceLost: the connection broke.
        """
        key = ", ".join(part.key)
        where = part.where
        if after is not None:
            quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in after)
            where = f"({where}) AND ({key}) > ({quoted})"
        chunks = _Chunks(take)
        buffer = io.BufferedWriter(chunks, CHUNK_BYTES)
        try:
            query = f"SELECT {', '.join(part.columns)} FROM {part.table} WHERE {where} ORDER BY {key}"
            self._copy(query, buffer)
            buffer.flush()
        finally:
            chunks.stop()

    def _copy(self, query: str, file: Any, form: str = "") -> None:
        connection, self._stream = self._stream or self._open(self.exported), None
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(f"COPY ({query}) TO STDOUT{form}", file)
            self._stream, connection = connection, None
        except psycopg2.Error as error:
            raise self._error(error) from error
        finally:
            if connection is not None:  # in the middle of a COPY: good for nothing else
                connection.close()

    def _open(self, snapshot: str | None) -> Postgres:
        try:
            connection = connections.postgres(self.url, application_name="helpers migrate")
        except HelpersError as error:
            raise SourceLost(str(error)) from error
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(SESSION)
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if snapshot is not None:
                    cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        except psycopg2.Error as error:
            connection.close()
            raise self._error(error) from error
        return connection

    def _error(self, error: psycopg2.Error) -> HelpersError:
        text = f"postgres at {self.address}: {first_line(error)}"
        if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
            return SourceLost(f"{text}; {connections.REMEDY}")
        return HelpersError(f"{text}; the source was only read")

    def _identity(self) -> str:
        """Which tables these are, without address, user or password."""
        database, schema = self.ask(
            "SELECT current_database(), relnamespace::regnamespace::text FROM pg_class WHERE oid = "
            "'users'::regclass"
        )[0]
        (allowed,) = self.ask("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")[0]
        system = (
            str(self.ask("SELECT system_identifier FROM pg_control_system()")[0][0]) if allowed else "unknown"
        )
        return json.dumps({"system": system, "database": database, "schema": schema})

    def _check(self) -> None:
        """Refuse tables that are missing or not of the course's form, by name."""
        missing = [t for t in TABLES if self.ask("SELECT to_regclass(%s) IS NULL", (t,))[0][0]]
        where = f"postgres at {self.address}"
        if missing:
            raise HelpersError(
                f"{where}: no table {', '.join(missing)}; `python -m helpers populate` makes the course's "
                "tables"
            )
        for table in TABLES:
            types = dict(
                self.ask(
                    "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid "
                    "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                    (table,),
                )
            )
            for column in COLUMNS[table]:
                expected = EXPECTED.get(column, "int")
                if types.get(column) not in ACCEPTED[expected]:
                    found = types.get(column, "missing")
                    raise HelpersError(
                        f"{where}: {table}.{column} is {found}, not {expected}; the model cannot hold it"
                    )
            more = sorted(set(types) - set(COLUMNS[table]))
            if more:
                raise HelpersError(
                    f"{where}: {table} has columns that the model does not hold: {', '.join(more)}; "
                    "migrate a schema of views or tables without them"
                )
            unique = self.ask(
                "SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute a ON attrelid = indrelid AND "
                "attnum = indkey[0] "
                "WHERE indrelid = to_regclass(%s) AND indisunique AND indnkeyatts = 1 AND indpred IS NULL "
                "AND indexprs IS NULL AND attnotnull AND attname = %s)",
                (table, COLUMNS[table][0]),
            )[0][0]
            if not unique:
                raise HelpersError(
                    f"{where}: {table}.{COLUMNS[table][0]} is no primary key; rows could not be told apart"
                )
