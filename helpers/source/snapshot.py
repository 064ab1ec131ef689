"""One snapshot of the source, and its tables as streams of COPY."""

import contextlib
import io
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import psycopg2
import psycopg2.extensions
from psycopg2 import errors
from psycopg2.extensions import connection as Postgres

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.model import SETTINGS, Model, Partition, Plan, Table, load
from helpers.servers import connections
from helpers.source import copytext, tables

SESSION = (
    " ".join(f"SET {name} = '{value}';" for name, value in SETTINGS.items())
    + f"""
    SET row_security = off; SET lock_timeout = '{settings.SILENCE_S}s';
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET work_mem = '64MB';
"""
)
NAMES = "SET search_path = pg_catalog"
"""Names of tables are qualified once they are known; then names in values are as well, whoever reads them."""
CHUNK_BYTES = 1 << 19
"""How much of COPY's text is taken at once."""

REMEDIES: Mapping[type[psycopg2.Error], str] = {
    errors.LockNotAvailable: "another session holds a lock on the table; wait for it, or end it",
    errors.DataError: "repair that value in the source",
    errors.InsufficientPrivilege: "this user needs SELECT on the model's tables, and BYPASSRLS where row "
    "security is on",
}
AGAIN_S = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Waits before a stream goes on over another connection."""
CANCEL_S = 0.5
"""After so long a statement that goes on is cancelled once more."""
LANES = 2
"""Streams at the same time."""
OLDEST = 13
"""The oldest major version of PostgreSQL that has what is asked of it."""
Result = TypeVar("Result")
psycopg2.extensions.encodings["SQLASCII"] = "utf-8"  # what psycopg2 gives as text is of rows that are


class SourceLost(HelpersError):
    """PostgreSQL went away; trying again later may help."""


class _Chunks(io.RawIOBase):
    """What a buffer in front of it has gathered goes to a function."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._take(bytes(data))
        return len(data)

    def stop(self) -> None:
        """Take nothing more: what a buffer still holds at its end goes nowhere."""
        self._take = lambda rows: None


class Source:
    """One repeatable-read snapshot of a model's tables.

    Its connections share it: one keeps the snapshot and answers questions, the others stream. All lock the
    tables at once, as readers do: whoever wants to empty or alter one waits for the end, and one of them
    that came later would wait for him.

    Args:
        url: of the server.
        model: as ``model.load`` takes it; the course's when None.
        prefix: stands before every key of the plan.
        snapshot: called once the tables are locked, it gives the name of an exported snapshot; a new one is
            taken when None.
        lanes: streams at the same time for which connections are opened at once.

    Attributes:
        plan: the model, bound to the tables.
        exported: the name by which other connections enter the snapshot, while this is open.
        snapshot: ``pg_current_snapshot`` of it, as text.
        identity: which tables these are, as ``identity`` gives it.

    Raises:
        SourceLost: the server cannot be reached.
        HelpersError: it is too old, or its tables are not what the model needs.
    """

    def __init__(
        self,
        url: str,
        model: "Model | str | Path | None" = None,
        *,
        prefix: str = "",
        snapshot: Callable[[], str] | None = None,
        lanes: int = LANES,
    ) -> None:
        model = load(model)
        self.url = url
        self.plan: Plan
        self.address = settings.address(url)
        self._idle: list[Postgres] = []
        self._busy: list[Postgres] = []
        self._counts: dict[str, int] | None = None
        self._ending = threading.Lock()
        self._cancelled = False
        self._keeper = self._connect()
        try:
            major = self._keeper.server_version // 10_000
            if major < OLDEST:
                raise HelpersError(
                    f"postgres at {self.address}: PostgreSQL {major} has no pg_current_snapshot; {OLDEST} or "
                    "newer is needed"
                )
            where = f"postgres at {self.address}"
            bound = tables.bind(self.ask, where, model)
            encoding = str(self._keeper.info.parameter_status("server_encoding"))
            self.plan = Plan(model, bound, prefix, encoding)
            self._begin(self._keeper)
            while len(self._idle) < lanes:
                self._idle.append(self._connect())
                self._begin(self._idle[-1])
            if snapshot is not None:
                self._enter(self._keeper, snapshot())
            if tables.bind(self.ask, where, model) != bound:
                raise SourceLost(f"{where}: a table was altered at this moment; the same command begins anew")
            self._run(self._keeper, lambda cursor: cursor.execute(NAMES))
            self.exported = str(self.ask("SELECT pg_export_snapshot()")[0][0])
            for connection in self._idle:
                self._enter(connection, self.exported)
            self.snapshot = str(self.ask("SELECT pg_current_snapshot()::text")[0][0])
            self.identity = identity(self.ask, self.plan.tables.values())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the snapshot ends with them."""
        for connection in (*self._idle, self._keeper):
            if not connection.closed:
                connection.close()

    def ask(self, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a query in the snapshot.

        Args:
            sql: the query, with ``%s`` where a value stands.
            values: these, as psycopg2 takes them.

        Raises:
            SourceLost: the connection broke.
            HelpersError: the server refuses it.
        """
        return self._run(self._keeper, lambda cursor: (cursor.execute(sql, values), cursor.fetchall())[1])

    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        if self._counts is None:
            self._counts = {
                name: self.ask(f"SELECT count(*) FROM {table.sql}")[0][0]
                for name, table in self.plan.tables.items()
            }
        return dict(self._counts)

    def stream(self, query: str, write: Callable[[bytes], object]) -> None:
        """Run a query in the snapshot and give each row's bytes, as COPY writes them, to a function.

        Args:
            query: a SELECT.
            write: given one row at a time, with its newline, from another thread.

        Raises:
            SourceLost: the connection broke.
        """
        self._copy(query, SimpleNamespace(write=write))

    def chunks(self, query: str, take: Callable[[bytes], object], *, binary: bool = False) -> None:
        """Run a query in the snapshot and give what COPY writes to a function, in chunks of any length.

        Args:
            query: a SELECT.
            take: given about ``CHUNK_BYTES`` at a time, from another thread.
            binary: whether COPY writes its binary format instead of text.

        Raises:
            SourceLost: the connection broke.
        """
        chunks = _Chunks(take)
        buffer = io.BufferedWriter(chunks, CHUNK_BYTES)
        try:
            self._copy(query, buffer, " (FORMAT binary)" if binary else "")
            buffer.flush()
        finally:
            chunks.stop()

    def read(
        self, partition: Partition, after: Sequence[str] | None, take: Callable[[bytes], Sequence[str]]
    ) -> None:
        """Stream a partition as COPY text in its order, from behind a position on.

        Args:
            partition: what to read.
            after: what the last row that is not wanted any more is ordered by, as text; None for all rows.
            take: given some thousand whole rows at a time, it gives the position of the last of them.

        Raises:
            SourceLost: the connection broke.
        """
        stream, position = partition.stream, after
        order = ", ".join(stream.order_sql)

        def attempt() -> None:
            where = partition.where
            if position is not None:
                where += f" AND {stream.after_sql(position)}"
            query = f"SELECT {stream.columns_sql} FROM {stream.table.sql} WHERE {where} ORDER BY {order}"
            self.chunks(query, copytext.whole_rows(keep))

        def keep(rows: bytes) -> None:
            nonlocal position
            position = take(rows)

        self.keep_reading(attempt, lambda: position)

    def keep_reading(self, attempt: Callable[[], object], position: Callable[[], object]) -> None:
        """Read until the end, over another connection where one is lost, as long as the snapshot is there.

        Args:
            attempt: reads from behind the position to the end.
            position: how far it is; tries are counted anew whenever that has changed.

        Raises:
            SourceLost: the session that keeps the snapshot is lost too, or it was tried too often.
        """
        failures = 0
        while True:
            before = position()
            try:
                attempt()
                return
            except SourceLost:
                failures = 1 if position() != before else failures + 1
                if self._cancelled or failures > len(AGAIN_S):
                    raise
                time.sleep(AGAIN_S[failures - 1])
                self.ask("SELECT")

    def _copy(self, query: str, file: Any, form: str = "") -> None:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
            self._begin(connection)
            self._enter(connection, self.exported)
        self._busy.append(connection)
        try:
            with connections.LAST_WORDS_UNSAID:
                self._run(
                    connection, lambda cursor: cursor.copy_expert(f"COPY ({query}) TO STDOUT{form}", file)
                )
        finally:
            self._busy.remove(connection)
        self._idle.append(connection)

    def cancel(self) -> None:
        """End the streams that are under way in other threads: they fail."""
        self._cancelled = True
        for connection in list(self._busy):
            self._cancel(connection)

    def _connect(self) -> Postgres:
        try:
            connection = connections.postgres(self.url, application_name="helpers migrate")
        except HelpersError as error:
            raise SourceLost(str(error)) from error
        connection.autocommit = True
        self._run(connection, lambda cursor: cursor.execute(SESSION))
        # SQL_ASCII holds any bytes. Asked for UTF-8, PostgreSQL would stop at the first row that is none;
        # taken as they are, such rows are rejected by name.
        encoding = connection.info.parameter_status("server_encoding")
        connection.set_client_encoding(encoding if encoding == "SQL_ASCII" else "UTF8")
        return connection

    def _begin(self, connection: Postgres) -> None:
        """Begin the transaction, whose snapshot is taken at its first query.

        The tables are locked before, as their readers do, because TRUNCATE and ALTER TABLE would empty them
        for a snapshot that is older.
        """
        names = ", ".join(table.sql for table in self.plan.tables.values())
        lock = f"LOCK TABLE {names} IN ACCESS SHARE MODE"
        for statement in ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", lock):
            self._run(connection, lambda cursor, statement=statement: cursor.execute(statement))  # type: ignore[misc]

    def _enter(self, connection: Postgres, snapshot: str) -> None:
        """Make an exported snapshot that of the transaction."""
        self._run(connection, lambda cursor: cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,)))
        if connection is not self._keeper:
            self._run(connection, lambda cursor: cursor.execute(NAMES))

    def _run(self, connection: Postgres, work: Callable[[Any], Result]) -> Result:
        """What some work with a cursor gives; an interrupt cancels it, a failure closes the connection.

        libpq waits in C, where Python sees no Ctrl-C: so it waits in a thread.
        """
        done: list[Result] = []
        failed: list[BaseException] = []
        ended = threading.Event()  # a join that was interrupted would not wait again (Python 3.11)

        def run() -> None:
            try:
                with connection.cursor() as cursor:
                    done.append(work(cursor))
            except BaseException as error:
                failed.append(error)
            finally:
                ended.set()

        try:  # an interrupt may come while the thread is started, and it waits for the server already
            threading.Thread(target=run, daemon=True).start()
            ended.wait()
        except BaseException:
            self._cancel(connection)
            deadline = time.monotonic() + settings.SILENCE_S
            while not ended.wait(CANCEL_S) and time.monotonic() < deadline:
                self._cancel(connection)  # one that comes before its statement cancels nothing
            self._close(connection)
            raise
        if not failed:
            return done[0]
        self._close(connection)
        if isinstance(failed[0], psycopg2.Error):
            raise self._error(failed[0]) from failed[0]
        raise failed[0]

    def _cancel(self, connection: Postgres) -> None:
        with self._ending, contextlib.suppress(psycopg2.Error):
            connection.cancel()

    def _close(self, connection: Postgres) -> None:
        with self._ending:  # what one thread closes, another must not be cancelling
            connection.close()

    def _error(self, error: psycopg2.Error) -> HelpersError:
        text = f"postgres at {self.address}: {first_line(error)}"
        for kind, remedy in REMEDIES.items():
            if isinstance(error, kind):
                return HelpersError(f"{text}; {remedy}; the source was only read")
        # A server killed in the middle of COPY leaves libpq without a message, and so without a class.
        unnamed = type(error) is psycopg2.DatabaseError
        if unnamed or isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
            return SourceLost(f"{text}; {connections.REMEDY}")
        return HelpersError(f"{text}; the source was only read")


def identity(ask: tables.Ask, found: Collection[Table]) -> str:
    """Which tables these are, without address, user or password.

    Args:
        ask: runs a query.
        found: the tables.
    """
    ((database, allowed),) = ask(
        "SELECT current_database(), has_function_privilege('pg_control_system()', 'EXECUTE')", None
    )
    system = (
        str(ask("SELECT system_identifier FROM pg_control_system()", None)[0][0]) if allowed else "unknown"
    )
    schemas = ",".join(sorted({table.schema for table in found}))
    return json.dumps({"system": system, "database": database, "schema": schemas})
