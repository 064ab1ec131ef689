"""The source's side: one snapshot, and its tables as streams of COPY."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
    """A stream of the load: a table, the columns it is read with, and the key that orders it and marks a
    position.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    where: str = "TRUE"


PARTS = (
    Part("users", "users", COLUMNS["users"], ("user_id",)),
    Part("products", "products", COLUMNS["products"], ("product_id",)),
    Part("orders", "orders", COLUMNS["orders"], ("order_id",)),
    Part(
        "activities",
        "activities",
        ("user_id", "activity_date", "activity_id", "activity_type"),
        ("user_id", "activity_date", "activity_id"),
        "user_id IS NOT NULL AND activity_date IS NOT NULL",
    ),
    # No position can be told by a NULL: these rows, all rejected, go by their id.
    Part(
        "activities_null",
        "activities",
        COLUMNS["activities"],
        ("activity_id",),
        "user_id IS NULL OR activity_date IS NULL",
    ),
)


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
        return {table: self.ask(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}

    def stream(self, query: str, write: Callable[[bytes], object], *, binary: bool = False) -> None:
        """Run a query in the snapshot and give each row's bytes, as COPY writes them, to a function.

        Raises:
            SourceLost: the connection broke.
        """

        class Sink:
            """What psycopg2 takes as a file."""

        Sink.write = staticmethod(write)  # type: ignore[attr-defined]
        connection = self._open(self.exported)
        self._stream = connection
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(f"COPY ({query}) TO STDOUT{' (FORMAT binary)' if binary else ''}", Sink())
        except psycopg2.Error as error:
            raise self._error(error) from error
        finally:
            connection.close()
            self._stream = None

    def read(self, part: Part, after: Iterable[str] | None, write: Callable[[bytes], object]) -> None:
        """Stream a part as COPY text in the order of its key, from behind a position on."""
        key = ", ".join(part.key)
        where = part.where
        if after is not None:
            quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in after)
            where = f"({where}) AND ({key}) > ({quoted})"
        self.stream(f"SELECT {', '.join(part.columns)} FROM {part.table} WHERE {where} ORDER BY {key}", write)

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
