"""The four tables in a schema of their own: made, filled and closed in one transaction, or not at all."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import psycopg2
from psycopg2 import errors, sql

from helpers import model, settings
from helpers.errors import HelpersError, first_line
from helpers.migration.constraints import Constraints
from helpers.migration.stored_rows import TableRows
from helpers.migration.timelines import Member
from helpers.model import definitions
from helpers.servers import connections
from helpers.source import catalogue, table_checks

INT4 = range(-(2**31), 2**31)
PRICE = re.compile(rb"-?[0-9]{1,8}\.[0-9]{2}|NaN")
"""What NUMERIC(10,2) gives back with its scale."""
LIMIT = re.compile(r"character varying\(([0-9]+)\)")
LOCK = 0x72657374  # "rest": one restore at a time into a schema
LOCK_TIMEOUT_S = 10
SESSION = f"""
    SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL datestyle = 'ISO, YMD';
    SET LOCAL work_mem = '64MB';
    SET LOCAL extra_float_digits = 3
"""
OBJECTS = """
SELECT format('%%s %%s', kind, name) FROM (
    SELECT 'relation' AS kind, relname AS name, relnamespace AS owner FROM pg_class
    UNION ALL SELECT 'function', proname, pronamespace FROM pg_proc
    UNION ALL SELECT 'type', typname, typnamespace FROM pg_type) found
WHERE owner = (SELECT oid FROM pg_namespace WHERE nspname = %s) ORDER BY 1 LIMIT 1
"""
STAGES = """
CREATE TEMPORARY TABLE restored_keys (kind text, number int8) ON COMMIT DROP;
CREATE TEMPORARY TABLE restored_members (score float8, activity_id int8, activity_type bytea) ON COMMIT DROP
"""
NULL = rb"\N"
ESCAPES = ((b"\\", rb"\\"), (b"\t", rb"\t"), (b"\n", rb"\n"), (b"\r", rb"\r"))


class Tables:
    """The tables of ``model.definitions`` in a fresh schema, invisible to others until ``commit``.

    Keys, constraints and indexes come last. A context manager: what was not committed is undone.

    Args:
        url: of the server.
        name: of the schema.

    Attributes:
        where: its address and schema, for messages.
        warnings: in what the tables differ from the course's, one line each.
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.warnings: list[str] = []
        self._connection = connections.postgres(
            url, application_name="helpers restore", client_encoding="UTF8"
        )
        self.where = f"{settings.postgres_at(self._connection)}, schema {name}"
        self._types = {
            table: {column: type_ for column, (type_, _) in columns.items()}
            for table, columns in definitions.COLUMNS.items()
        }
        self._constraints: Constraints | None = None

    def __enter__(self) -> "Tables":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def make(self) -> None:
        """Make the schema, unless it is there and empty, and the tables without their keys.

        Raises:
            HelpersError: the schema holds something, or another restore works there.
        """
        self._do(SESSION)
        try:
            self._do("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK, self.name])
        except errors.LockNotAvailable as error:
            raise HelpersError(
                f"{self.where}: another restore is under way there; wait until it ends"
            ) from error
        if found := self._do(OBJECTS, [self.name]):
            raise HelpersError(
                f"{self.where} is not empty (it holds {found[0][0]}); nothing was written; name a schema "
                "that does not exist, or drop this one"
            )
        if not self._do("SELECT FROM pg_namespace WHERE nspname = %s", [self.name]):
            self._do(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.name)))
        self._do("SELECT set_config('search_path', quote_ident(%s), true)", [self.name])
        if catalogue.current_schema(self._connection) != self.name:
            raise HelpersError(
                f"{self.where}: PostgreSQL does not take this name as a search path; use another"
            )
        self._do(";\n".join([*definitions.DDL.values(), *definitions.INDEXES.values()]))
        self._constraints = Constraints(self._do)
        self._constraints.take_off()
        self._do(STAGES)

    def note(self, keys: Iterable[tuple[str, int]]) -> None:
        """Keep (kind, number) of some keys, in PostgreSQL; the same may come twice."""
        self._copy("restored_keys", "".join(f"{kind}\t{number}\n" for kind, number in keys).encode())

    def numbers(self, kinds: Sequence[str], rows: Callable[[], int]) -> Iterator[list[int]]:
        """The numbers of all keys of some kinds that ``note`` kept, once each, ascending.

        Args:
            kinds: see ``model.KINDS``.
            rows: asked before each list for how many numbers it may have.
        """
        query = "SELECT DISTINCT number FROM restored_keys WHERE kind = ANY(%s) ORDER BY number"
        for found in self._stream("numbers", query, [list(kinds)], rows):
            yield [number for (number,) in found]

    def sort(self, members: Iterable[list[Member]], rows: Callable[[], int]) -> Iterator[list[Member]]:
        """Put any number of members in the order of (score, activity_id), in PostgreSQL.

        Args:
            members: lists of any length.
            rows: asked before each list that is given back for how many members it may have.
        """
        self._do("TRUNCATE restored_members")
        for some in members:
            lines = [f"{score!r}\t{number}\t\\\\x{kind.hex()}\n" for score, number, kind in some]
            self._copy("restored_members", "".join(lines).encode())
        query = "SELECT score, activity_id, activity_type FROM restored_members ORDER BY score, activity_id"
        for found in self._stream("members", query, [], rows):
            yield [(score, number, bytes(kind)) for score, number, kind in found]

    def copy(self, rows: TableRows) -> int:
        """Add rows; widens a column that cannot hold its values as they are. How many rows that were.

        Raises:
            psycopg2.DataError: PostgreSQL refuses a value; ``refused_value`` tells which.
        """
        for column, values in zip(model.COLUMNS[rows.table], rows.columns, strict=True):
            self._widen(rows.table, column, values)
        self._copy(f"{rows.table} ({', '.join(model.COLUMNS[rows.table])})", copy_lines(rows))
        return len(rows.keys)

    def finish(self) -> None:
        """Add keys, constraints and indexes, set the sequences, gather statistics.

        Raises:
            HelpersError: an id is there twice.
        """
        assert self._constraints is not None
        self.warnings += self._constraints.put_on(sql.Identifier(self.name).as_string(self._connection))
        for table, key in definitions.KEYS.items():
            sequence = self._do("SELECT pg_get_serial_sequence(%s, %s)", [table, key])[0][0]
            if self._types[table][key] == "bigint":
                self._do(f"ALTER SEQUENCE {sequence} AS bigint")
            self._do(
                f"SELECT setval(%s, greatest(max({key}), 1), max({key}) >= 1) FROM {table} "
                "HAVING count(*) > 0",
                [sequence],
            )
        self._do(f"ANALYZE {', '.join(model.TABLES)}")

    def commit(self) -> None:
        """Let others see the tables.

        Raises:
            HelpersError: the connection broke before PostgreSQL said whether it has them.
        """
        try:
            self._connection.commit()
        except psycopg2.OperationalError as error:
            raise HelpersError(
                f"{self.where}: connection lost at the end ({first_line(error)}); look whether the schema is "
                "there: it is whole, or not there at all"
            ) from error

    def _widen(self, table: str, column: str, values: Sequence[bytes | None]) -> None:
        type_ = self._types[table][column]
        if needed := wider(type_, values):
            self._do(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {needed}")
            self._types[table][column] = needed
            self.warnings.append(f"{table}.{column} is {needed}: values do not fit {type_}")

    def _do(self, query: Any, values: Any = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description is not None else []

    def _copy(self, into: str, lines: bytes) -> None:
        with self._connection.cursor() as cursor:
            connections.copy_in(cursor, f"COPY {into} FROM STDIN", io.BytesIO(lines))

    def _stream(
        self, name: str, query: str, values: list[Any], rows: Callable[[], int]
    ) -> Iterator[list[tuple[Any, ...]]]:
        with self._connection.cursor(name) as cursor:
            cursor.execute(query, values)
            while found := cursor.fetchmany(rows()):
                yield found


def wider(type_: str, values: Sequence[bytes | None]) -> str | None:
    """The type that a column needs for some values, or None when its own will do.

    Args:
        type_: the column's type as in ``definitions.COLUMNS``, or one that this function gave.
        values: values of their canonical forms; None is NULL.
    """
    held = [value for value in values if value is not None]
    if type_ == "integer":
        return "bigint" if any(len(v) > 9 and int(v) not in INT4 for v in held) else None
    if type_ == "numeric(10,2)":
        return None if all(PRICE.fullmatch(v) for v in held) else "numeric"
    if limit := LIMIT.fullmatch(type_):
        most = int(limit[1])
        long = (v for v in held if len(v) > most)  # in bytes; the limit is in characters
        return "text" if any(len(v.decode("utf-8", "replace")) > most for v in long) else None
    return None


def copy_lines(rows: TableRows) -> bytes:
    """The rows as COPY takes them, a line each; text alone can hold what needs an escape."""
    columns = [
        [NULL if v is None else _escape(v) for v in values]
        if table_checks.COLUMN_KINDS.get(column) == "text"
        else [NULL if v is None else v for v in values]
        for column, values in zip(model.COLUMNS[rows.table], rows.columns, strict=True)
    ]
    return b"".join([b"\t".join(row) + b"\n" for row in zip(*columns, strict=True)])


def _escape(value: bytes) -> bytes:
    for raw, escaped in ESCAPES:
        if raw in value:
            value = value.replace(raw, escaped)
    return value


def refused_value(error: psycopg2.DataError, rows: TableRows) -> tuple[int, str | None]:
    """(row, column) of the value that PostgreSQL refused; None for a column that it did not tell.

    Args:
        error: that ``Tables.copy`` raised.
        rows: that it was given.
    """
    found = re.search(
        r"\D (\d+)(?:, \w+ (\w+))?", error.diag.context or ""
    )  # COPY users, line 3, column email
    row = min(int(found[1]), len(rows.keys)) - 1 if found else 0
    columns = dict(zip(model.COLUMNS[rows.table], rows.columns, strict=True))
    if found and found[2] in columns:
        return row, found[2]
    return row, next((name for name, values in columns.items() if not _is_text(values[row])), None)


def _is_text(value: bytes | None) -> bool:
    """Whether PostgreSQL can take a value as text in UTF-8."""
    try:
        return value is None or (b"\0" not in value and value.decode() is not None)
    except UnicodeDecodeError:
        return False
