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
from helpers.migration.holdings import Piece, lines
from helpers.migration.timelines import Member
from helpers.relational import schema
from helpers.servers import connections
from helpers.source import catalogue

INT4 = range(-(2**31), 2**31)
PRICE = re.compile(rb"-?[0-9]{1,8}\.[0-9]{2}|NaN")
"""What NUMERIC(10,2) gives back with its scale."""
LIMIT = re.compile(r"character varying\(([0-9]+)\)")


def wider(type_: str, values: Sequence[bytes | None]) -> str | None:
    """The type that a column needs for some values, or None when its own will do.

    Args:
        type_: the column's type as in ``schema.COLUMNS``, or one that this function gave.
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


CONSTRAINTS = """
SELECT contype::text, conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND contype IN ('p', 'u', 'f') ORDER BY conrelid, conname
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON oid = indrelid
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid) ORDER BY 1
"""
ORDER = "puf"
"""Primary keys before unique and foreign ones."""


class Constraints:
    """What the tables of the current schema are held to.

    Args:
        do: runs a statement, gives its rows.
    """

    def __init__(self, do: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._do = do
        self._constraints = sorted(do(CONSTRAINTS), key=lambda found: ORDER.index(found[0]))
        self._indexes = do(INDEXES)

    def take_off(self) -> None:
        """Drop all of them."""
        for _, table, constraint, _ in reversed(self._constraints):
            self._do(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        for index, _ in self._indexes:
            self._do(f"DROP INDEX {index}")

    def put_on(self, schema: str) -> list[str]:
        """Add all of them that hold.

        A foreign key that does not hold is added without a look at the rows that are there (NOT VALID), a
        unique key that does not hold is left off.

        Args:
            schema: the schema's name as an SQL identifier, for messages.

        Returns:
            The constraints that do not hold, one line each.

        Raises:
            HelpersError: a primary key does not hold.
        """
        found = [self._add(schema, *constraint) for constraint in self._constraints]
        for _, definition in self._indexes:
            self._do(definition)
        return [warning for warning in found if warning]

    def _add(self, schema: str, kind: str, table: str, constraint: str, definition: str) -> str | None:
        add = f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}"
        self._do("SAVEPOINT adding")
        try:
            self._do(add)
        except (errors.IntegrityError, errors.ProgramLimitExceeded) as error:
            self._do("ROLLBACK TO SAVEPOINT adding")
            reason = error.diag.message_detail or first_line(error)
            if kind == "p":
                raise HelpersError(
                    f"two rows of {table} have one key in Redis: {reason} Mend that by hand, or by `migrate` "
                    "from its source; nothing was written to postgres"
                ) from error
            if kind == "u":
                return (
                    f"{constraint} is left off, because it does not hold: {reason} Change the rows, then "
                    f"ALTER TABLE {schema}.{table} ADD CONSTRAINT {constraint} {definition}"
                )
            self._do(f"{add} NOT VALID")
            return (
                f"{constraint} holds for new rows only (NOT VALID), because rows refer to none: {reason} Add "
                f"what is missing, then ALTER TABLE {schema}.{table} VALIDATE CONSTRAINT {constraint}"
            )
        self._do("RELEASE SAVEPOINT adding")
        return None


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


class Tables:
    """The tables of ``helpers.relational.schema`` in a fresh schema, invisible to others until ``commit``.

    Keys, constraints and indexes come last. A context manager: what was not committed is undone.

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
        self._types = {t: {c: type_ for c, (type_, _) in schema.COLUMNS[t].items()} for t in schema.TABLES}
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
        schema.create(self._connection)
        self._constraints = Constraints(self._do)
        self._constraints.take_off()
        self._do(STAGES)

    def note(self, keys: Iterable[tuple[str, int]]) -> None:
        """Keep (kind, number) of some keys, in PostgreSQL; the same may come twice."""
        self._copy("restored_keys", "".join(f"{kind}\t{number}\n" for kind, number in keys).encode())

    def numbers(self, kinds: Sequence[str], rows: Callable[[], int]) -> Iterator[list[int]]:
        """The numbers of all keys of some kinds, once each, ascending, in lists of so many."""
        query = "SELECT DISTINCT number FROM restored_keys WHERE kind = ANY(%s) ORDER BY number"
        for found in self._stream("numbers", query, [list(kinds)], rows):
            yield [number for (number,) in found]

    def sort(self, members: Iterable[list[Member]], rows: Callable[[], int]) -> Iterator[list[Member]]:
        """Put any number of members in the order of (score, activity_id), in PostgreSQL."""
        self._do("TRUNCATE restored_members")
        for some in members:
            lines = [f"{score!r}\t{number}\t\\\\x{kind.hex()}\n" for score, number, kind in some]
            self._copy("restored_members", "".join(lines).encode())
        query = "SELECT score, activity_id, activity_type FROM restored_members ORDER BY score, activity_id"
        for found in self._stream("members", query, [], rows):
            yield [(score, number, bytes(kind)) for score, number, kind in found]

    def copy(self, piece: Piece) -> int:
        """Add rows; widens a column that cannot hold its values as they are. How many rows that were.

        Raises:
            psycopg2.DataError: PostgreSQL refuses a value; ``lines.refused`` tells which.
        """
        for column, values in zip(model.COLUMNS[piece.table], piece.columns, strict=True):
            self._widen(piece.table, column, values)
        self._copy(f"{piece.table} ({', '.join(model.COLUMNS[piece.table])})", lines(piece))
        return len(piece.keys)

    def finish(self) -> None:
        """Add keys, constraints and indexes, set the sequences, gather statistics.

        Raises:
            HelpersError: an id is there twice.
        """
        assert self._constraints is not None
        self.warnings += self._constraints.put_on(sql.Identifier(self.name).as_string(self._connection))
        for table, key in schema.KEYS.items():
            sequence = self._do("SELECT pg_get_serial_sequence(%s, %s)", [table, key])[0][0]
            if self._types[table][key] == "bigint":
                self._do(f"ALTER SEQUENCE {sequence} AS bigint")
            self._do(
                f"SELECT setval(%s, greatest(max({key}), 1), max({key}) >= 1) FROM {table} "
                "HAVING count(*) > 0",
                [sequence],
            )
        self._do(f"ANALYZE {', '.join(schema.TABLES)}")

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
