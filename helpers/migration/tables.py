"""Tables in a schema of their own: made, filled and closed in one transaction, or not at all."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import psycopg2
from psycopg2 import errors, sql

from helpers import model, settings
from helpers.errors import HelpersError, first_line
from helpers.migration.blueprint import Blueprint
from helpers.migration.constraints import Constraints
from helpers.migration.stored_rows import TableRows, Values
from helpers.migration.timelines import Member
from helpers.servers import connections
from helpers.source import Definitions, Need, SequenceDefinition, catalogue

LOCK = 0x72657374  # "rest": one restore at a time into a schema
LOCK_TIMEOUT_S = 10
SESSION = f"""
    SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL work_mem = '64MB';
    SET LOCAL xmloption = 'content'; SET LOCAL check_function_bodies = off; SET LOCAL row_security = off;
    {"".join(f"SET LOCAL {name} = {model.literal(value)};" for name, value in model.SETTINGS.items())}
"""
OBJECTS = """
SELECT format('%%s %%s', kind, name) FROM (
    SELECT 'relation' AS kind, relname AS name, relnamespace AS owner FROM pg_class
    UNION ALL SELECT 'function', proname, pronamespace FROM pg_proc
    UNION ALL SELECT 'type', typname, typnamespace FROM pg_type) found
WHERE owner = (SELECT oid FROM pg_namespace WHERE nspname = %s) ORDER BY 1 LIMIT 1
"""
STAGES = """
CREATE TEMPORARY TABLE restored_numbers (kind int2, number int8) ON COMMIT DROP;
CREATE TEMPORARY TABLE restored_names (kind int2, name bytea) ON COMMIT DROP;
CREATE TEMPORARY TABLE restored_members (score float8, tie int8, member bytea) ON COMMIT DROP
"""
FEW = 8
"""So many kinds of keys are quicker asked for one by one than sorted together."""
NULL = rb"\N"
ESCAPES = ((b"\\", rb"\\"), (b"\t", rb"\t"), (b"\n", rb"\n"), (b"\r", rb"\r"))
Name = int | bytes
"""What names a key of a kind: the number in it where that is all, else the key."""


class Tables:
    """Tables in a fresh schema, invisible to others until ``commit``.

    Keys, constraints and indexes come last. A context manager: what was not committed is undone.

    Args:
        url: of the server.
        name: of the schema.
        definitions: of the tables.

    Attributes:
        where: its address and schema, for messages.
        warnings: in what the tables differ from the source's, one line each.
        parts: tables whose rows come with those of the one that they are partitions of.
        renamed: what tables are called whose name two schemas of the source have, by the model's name.
    """

    def __init__(self, url: str, name: str, definitions: Definitions) -> None:
        self.name = name
        self._blueprint = Blueprint(definitions, name)
        self._noted: dict[str, set[int]] = {"number": set(), "name": set()}
        self.warnings = list(definitions.left_out)
        self.renamed = self._blueprint.renamed
        self._sql = {
            one.table: self._blueprint.sql(place)
            for place, one in enumerate(definitions.relations)
            if one.table is not None
        }
        self.parts = {
            one.table for one in definitions.relations if one.table is not None and one.bound is not None
        }
        self._connection = connections.postgres(
            url, application_name="helpers restore", client_encoding="UTF8"
        )
        self.where = f"{settings.postgres_at(self._connection)}, schema {name}"

    def __enter__(self) -> "Tables":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def make(self) -> None:
        """Make the schema, unless it is there and empty, and the tables without their keys.

        Raises:
            HelpersError: the schema holds something, or another restore works there, or something that the
                tables need is not there.
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
        self._check_needs()
        if not self._do("SELECT FROM pg_namespace WHERE nspname = %s", [self.name]):
            self._do(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.name)))
        self._do("SELECT set_config('search_path', quote_ident(%s), true)", [self.name])
        if catalogue.current_schema(self._connection) != self.name:
            raise HelpersError(
                f"{self.where}: PostgreSQL does not take this name as a search path; use another"
            )
        self._do("SET LOCAL search_path = pg_catalog")  # as it was when the definitions were read
        self._do(";\n".join([*self._blueprint.statements(), STAGES]))

    def _check_needs(self) -> None:
        """Return if all that the definitions speak of is there."""
        needs = self._blueprint.definitions.needs
        if not needs or self._are_there(needs):
            return
        missing = [one for one in needs if not self._are_there([one])]
        listed = ", ".join(f"{one.kind} {one.said} (for {one.table})" for one in missing)
        raise HelpersError(
            f"{self.where}: the tables need what is not there: {listed}; make it, or the extension that has "
            "it, in this database, then the same command; nothing was written to postgres"
        )

    def _are_there(self, needs: Sequence[Need]) -> bool:
        kinds, names, arguments = zip(
            *((n.kind, list(n.names), list(n.arguments)) for n in needs), strict=True
        )
        addresses = ", ".join(["pg_get_object_address(%s, %s::text[], %s::text[])"] * len(needs))
        values = [value for one in zip(kinds, names, arguments, strict=True) for value in one]
        self._do("SAVEPOINT looking")
        try:
            self._do(f"SELECT {addresses}", values)
        except psycopg2.ProgrammingError:
            self._do("ROLLBACK TO SAVEPOINT looking")
            return False
        return True

    def note(self, numbers: Sequence[tuple[int, int]], names: Sequence[tuple[int, bytes]]) -> None:
        """Keep (kind, name) of some keys, in PostgreSQL; the same may come twice.

        Args:
            numbers: of those that a number names.
            names: of those that the key itself names.
        """
        self._noted["number"] |= {kind for kind, _ in numbers}
        self._noted["name"] |= {kind for kind, _ in names}
        if numbers:
            lines = [f"{kind}\t{number}\n" for kind, number in numbers]
            self._copy("restored_numbers", "".join(lines).encode())
        if names:
            lines = [f"{kind}\t\\\\x{name.hex()}\n" for kind, name in names]
            self._copy("restored_names", "".join(lines).encode())

    def names(self, rows: Callable[[], int]) -> Iterator[tuple[int, list[Name]]]:
        """(kind, names) of all keys that ``note`` kept, once each; names of a kind ascend, in several lists.

        Args:
            rows: asked before each list for how many names it may have.
        """
        for column, noted in self._noted.items():
            if len(noted) <= FEW:
                for kind in sorted(noted):
                    of_kind = f"restored_{column}s WHERE kind = {kind}"
                    query = f"SELECT DISTINCT {column} FROM {of_kind} ORDER BY {column}"
                    for found in self._stream("names", query, [], rows):
                        yield kind, [_name(name) for (name,) in found]
                continue
            query = f"SELECT DISTINCT kind, {column} FROM restored_{column}s ORDER BY kind, {column}"
            for found in self._stream("names", query, [], rows):
                kinds: dict[int, list[Name]] = {}
                for kind, name in found:
                    kinds.setdefault(kind, []).append(_name(name))
                yield from kinds.items()

    def sort(self, members: Iterable[list[Member]], rows: Callable[[], int]) -> Iterator[list[Member]]:
        """Put any number of members in the order of (score, tie), in PostgreSQL.

        Args:
            members: lists of any length.
            rows: asked before each list that is given back for how many members it may have.
        """
        lines = (
            "".join([f"{score!r}\t{tie}\t\\\\x{member.hex()}\n" for score, tie, member in some])
            for some in members
        )
        query = "SELECT score, tie, member FROM restored_members ORDER BY score, tie"
        for found in self._staged(lines, query, rows):
            yield [(score, tie, bytes(member)) for score, tie, member in found]

    def distinct(self, members: Iterable[list[bytes]], rows: Callable[[], int]) -> Iterator[list[bytes]]:
        """Each of any number of members once, found out in PostgreSQL.

        Args:
            members: lists of any length.
            rows: asked before each list that is given back for how many members it may have.
        """
        lines = ("".join([f"0\t0\t\\\\x{member.hex()}\n" for member in some]) for some in members)
        for found in self._staged(lines, "SELECT DISTINCT member FROM restored_members", rows):
            yield [bytes(member) for (member,) in found]

    def _staged(
        self, lines: Iterable[str], query: str, rows: Callable[[], int]
    ) -> Iterator[list[tuple[Any, ...]]]:
        self._do("TRUNCATE restored_members")
        for some in lines:
            self._copy("restored_members", some.encode())
        return self._stream("members", query, [], rows)

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self._do(f"SELECT count(*) FROM {self._sql[table]}")[0][0])

    def copy(self, rows: TableRows) -> int:
        """Add rows; how many that were.

        Raises:
            psycopg2.Error: PostgreSQL refuses a value; ``refused_value`` tells which.
        """
        columns = ", ".join(column.sql for column in rows.columns)
        self._copy(f"{self._sql[rows.table.name]} ({columns})", copy_lines(rows))
        return len(rows.keys)

    def finish(self) -> None:
        """Add keys, constraints and indexes, set the sequences, gather statistics.

        Raises:
            HelpersError: a primary key is there twice.
        """
        schema = sql.Identifier(self.name).as_string(self._connection)
        self.warnings += Constraints(self._do, self._blueprint, schema).put_on()
        for sequence in self._blueprint.definitions.sequences:
            self._set(sequence)
        self._do(f"ANALYZE {', '.join(self._sql.values())}")

    def _set(self, sequence: SequenceDefinition) -> None:
        """Let a sequence go on where it was, and behind every value that is there."""
        last, called, step = sequence.last, sequence.called, sequence.increment
        following = sequence.start if last is None else last + step if called else last
        furthest = "max" if step > 0 else "min"
        for table, column in [] if sequence.cycle else self._blueprint.takers(sequence):
            ((value,),) = self._do(f"SELECT {furthest}({column}) FROM {table}")
            inside = value is not None and sequence.least <= value <= sequence.most
            if inside and (value - following) * step >= 0:
                last, called, following = value, True, value + step
        if last is not None:
            self._do("SELECT setval(%s, %s, %s)", [self._blueprint.sequence_sql(sequence), last, called])

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
        cursor = self._connection.cursor(name)
        try:
            cursor.execute(query, values)
            while found := cursor.fetchmany(rows()):
                yield found
        finally:
            with suppress(psycopg2.Error):  # a transaction that was ended has ended it, too
                cursor.close()


def copy_lines(rows: TableRows) -> bytes:
    """The rows as COPY takes them, a line each."""
    columns: list[Values] = []
    for column, values in zip(rows.columns, rows.values, strict=True):
        if column.format.name == "bytes":
            values = [None if v is None else b"\\\\x" + v.hex().encode() for v in values]
        elif column.format.name == "text":  # in others nothing needs an escape
            whole = b"".join(filter(None, values))
            if any(raw in whole for raw, _ in ESCAPES):
                values = [None if v is None else _escape(v) for v in values]
        columns.append([NULL if v is None else v for v in values] if None in values else values)
    return b"".join([b"\t".join(row) + b"\n" for row in zip(*columns, strict=True)])


def _name(found: int | memoryview) -> Name:
    return found if isinstance(found, int) else bytes(found)


def _escape(value: bytes) -> bytes:
    for raw, escaped in ESCAPES:
        if raw in value:
            value = value.replace(raw, escaped)
    return value


def refused_value(error: psycopg2.Error, rows: TableRows) -> tuple[int, int | None]:
    """(row, place of the column) of the value that PostgreSQL refused; None where it told no column.

    Args:
        error: that ``Tables.copy`` raised.
        rows: that it was given.
    """
    context = error.diag.context or ""  # COPY its name, line 3, column its name: "x"
    found = re.search(r"\D (\d+)(?:, \w+ (.*))?", context.partition(rows.table.relation)[2] or context, re.S)
    row = min(int(found[1]), len(rows.keys)) - 1 if found else 0
    said = (found[2] or "") if found else ""
    fitting = [
        (len(column.name), place)
        for place, column in enumerate(rows.columns)
        if said == column.name or said.startswith(f"{column.name}:")
    ]
    if fitting:
        return row, max(fitting)[1]
    return row, next(
        (i for i, values in enumerate(rows.values) if not _is_text(rows.columns[i], values[row])), None
    )


def _is_text(column: model.Column, value: bytes | None) -> bool:
    """Whether PostgreSQL can take a value as text in UTF-8."""
    try:
        return (
            value is None
            or column.format.name == "bytes"
            or (b"\0" not in value and value.decode() is not None)
        )
    except UnicodeDecodeError:
        return False
