"""PostgreSQL's idiom, and the base line: the course's own tables, asked by prepared statements."""

import os
import socket
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, ClassVar

import psycopg2
from psycopg2.extensions import connection as Connection

from helpers.comparison.store import (
    NAMESPACE,
    TIMEOUT_S,
    Idiom,
    Order,
    Profile,
    Seen,
    Size,
    Store,
    Traffic,
)
from helpers.comparison.workload import TIERS
from helpers.errors import HelpersError, first_line
from helpers.relational import population, redis_model, schema
from helpers.servers import connections, machine

SCHEMA = f"user_activity_{NAMESPACE}"
STATEMENTS: Mapping[str, tuple[str, str]] = {
    "read_profile": ("int", "SELECT username, email, created_at FROM users WHERE user_id = $1"),
    "last_activities": (
        "int, int",
        "SELECT activity_type, activity_date FROM activities WHERE user_id = $1 "
        "ORDER BY activity_date DESC, activity_id DESC LIMIT $2",
    ),
    "append_activity": (
        "int, int, varchar, timestamp",
        "INSERT INTO activities (activity_id, user_id, activity_type, activity_date) VALUES ($1, $2, $3, $4)",
    ),
    "place_order": (
        "int, int, int, timestamp, int",
        "INSERT INTO orders (order_id, user_id, product_id, order_date, quantity) "
        "VALUES ($1, $2, $3, $4, $5)",
    ),
    "read_order": (
        "int",
        "SELECT order_id, user_id, product_id, order_date, quantity FROM orders WHERE order_id = $1",
    ),
    "orders_of_user": (
        "int",
        "SELECT order_id FROM orders WHERE user_id = $1 ORDER BY order_date DESC, order_id DESC",
    ),
    "orders_of_product": (
        "int",
        "SELECT order_id FROM orders WHERE product_id = $1 ORDER BY order_date DESC, order_id DESC",
    ),
}
"""Types of the parameters and text of each statement, by the operation that it does."""
TIER_SETTINGS = {"relaxed": "off", "strict": "on"}
"""``synchronous_commit``, by tier of durability."""
WATCH_S = 1.0
"""How often connections are looked at; a statement has so much longer than the server gives it."""
SHOWN = (
    *("synchronous_commit", "wal_writer_delay", "fsync", "full_page_writes", "wal_level"),
    *("shared_buffers", "plan_cache_mode"),
)
RELATIONS = """
WITH tables AS (
    SELECT c.oid, reltoastrelid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = %(schema)s AND relname = ANY(%(tables)s)
), heaps AS (
    SELECT oid FROM tables UNION ALL SELECT reltoastrelid FROM tables WHERE reltoastrelid <> 0
), relations AS (
    SELECT oid FROM heaps UNION ALL SELECT indexrelid FROM pg_index JOIN heaps ON heaps.oid = indrelid
)
"""
BUFFERED = (
    RELATIONS
    + """
SELECT count(*) * current_setting('block_size')::bigint FROM {place}.pg_buffercache AS buffer
JOIN relations ON buffer.relfilenode = pg_relation_filenode(relations.oid)
WHERE buffer.reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
)
ON_DISK = RELATIONS + "SELECT sum(pg_total_relation_size(oid))::bigint FROM tables"
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
READ = (
    "SELECT blks_read * current_setting('block_size')::bigint FROM pg_stat_database "
    "WHERE datname = current_database()"
)
EXECUTIONS = "SELECT coalesce(sum(generic_plans + custom_plans), 0)::bigint FROM pg_prepared_statements"


class PostgresStore(Store):
    """The course's four tables with their keys, foreign keys and indexes, in a schema of their own.

    A connection serves one thread at a time. Foreign keys are what it does more than the others: each
    activity and each order is refused unless its user and its product exist.
    """

    name = "postgres"
    NULL_OP = "an empty statement"
    ERRORS = (psycopg2.Error, OSError)
    DEFINITIONS = (f"CREATE SCHEMA {SCHEMA}", *schema.DDL.values(), *schema.INDEXES.values())
    IDIOMS: ClassVar = {
        "read_profile": Idiom(STATEMENTS["read_profile"][1], "one row", 0),
        "last_activities": Idiom(STATEMENTS["last_activities"][1], "one snapshot", 0),
        "append_activity": Idiom(
            STATEMENTS["append_activity"][1], "the row, its index entries, and that its user exists", 1
        ),
        "place_order": Idiom(
            STATEMENTS["place_order"][1],
            "the row, both index entries that lead back to it, and that user and product exist",
            1,
        ),
    }

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url)
        self._tier = "relaxed"
        self._opened = [self._open()]
        self._free = list(self._opened)
        self._local = threading.local()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _open(self) -> "_Link":
        url = connections.with_schema(self.url, SCHEMA)
        return _Link(connections.postgres(url, tcp_user_timeout=int(TIMEOUT_S * 1000)))

    def _watch(self) -> None:
        """End the connections on which a server that hangs keeps a statement waiting."""
        while not self._closed.wait(WATCH_S):
            for link in list(self._opened):
                link.cut_if_late()

    def _taken(self) -> "_Link":
        """A connection that no thread has."""
        while self._free:
            link = self._free.pop()
            if not link.connection.closed:
                return link
        try:
            link = self._open()
        except HelpersError as error:  # the server has gone since the first connection
            raise psycopg2.OperationalError(str(error)) from error
        self._opened.append(link)
        return link

    def _link(self) -> "_Link":
        """The connection of this thread, with the tier set; another thread has it once this one has ended."""
        lease: _Lease | None = getattr(self._local, "lease", None)
        if lease is None or lease.link.connection.closed:
            self._local.lease = lease = _Lease(self._taken())
            weakref.finalize(lease, self._free.append, lease.link)
        link = lease.link
        if link.tier != self._tier:
            link.do(f"SET synchronous_commit = {TIER_SETTINGS[self._tier]}")
            link.tier = self._tier
        return link

    def _prepared(self) -> "_Link":
        link = self._link()
        if not link.prepared:
            link.prepare()
        return link

    def do(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Send one statement on this thread's connection; its rows."""
        return self._link().do(query, values)

    def _execute(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._prepared().do(EXECUTE[name], values)

    def create(self) -> None:
        """Make the schema, its tables and indexes."""
        link = self._link()
        with link.unhurried():
            schema.drop_schema(link.connection, SCHEMA)
            schema.ensure_schema(link.connection, SCHEMA)
            schema.create(link.connection)

    def load_rows(self, table: str, rows: Iterable[Any]) -> None:
        """Stream the rows by one COPY, then count and mark them as the server would do a minute later.

        Args:
            table, rows: as for every ``Store``.
        """
        link, columns = self._link(), ", ".join(redis_model.COLUMNS[table])
        with link.unhurried():
            file = population.RowStream(iter(rows), lambda rows: None)
            connections.copy_in(link.cursor, f"COPY {table} ({columns}) FROM STDIN", file)
            link.do(f"VACUUM (ANALYZE) {table}")

    def read_profile(self, user_id: int) -> Profile | None:
        """Read one row by its primary key."""
        found = self._execute("read_profile", user_id)
        return Profile(*found[0]) if found else None

    def last_activities(self, user_id: int, limit: int = 20) -> list[Seen]:
        """Read an index from its end.

        Args:
            user_id, limit: as for every ``Store``.
        """
        return [Seen(*row) for row in self._execute("last_activities", user_id, limit)]

    def append_activity(
        self, activity_id: int, user_id: int, activity_type: str, activity_date: datetime
    ) -> None:
        """Insert one row, which is a transaction.

        Args:
            activity_id, user_id, activity_type, activity_date: as for every ``Store``.
        """
        self._execute("append_activity", activity_id, user_id, activity_type, activity_date)

    def place_order(
        self, order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
    ) -> None:
        """Insert one row; its two index entries are the ways back from user and product.

        Args:
            order_id, user_id, product_id, order_date, quantity: as for every ``Store``.
        """
        self._execute("place_order", order_id, user_id, product_id, order_date, quantity)

    def read_order(self, order_id: int) -> Order | None:
        """Read one row by its primary key."""
        found = self._execute("read_order", order_id)
        return Order(*found[0]) if found else None

    def orders_of_user(self, user_id: int) -> list[int]:
        """Read the index by user and date."""
        return [order_id for (order_id,) in self._execute("orders_of_user", user_id)]

    def orders_of_product(self, product_id: int) -> list[int]:
        """Read the index by product and date."""
        return [order_id for (order_id,) in self._execute("orders_of_product", product_id)]

    def null_op(self) -> None:
        """Send a statement that says nothing; the driver complains that nothing came back."""
        link = self._link()
        if not link.prepared:  # here, so that no timed operation has to
            with suppress(psycopg2.errors.UndefinedTable):
                link.prepare()
        with suppress(psycopg2.ProgrammingError):
            link.do(";")

    def tiers(self) -> tuple[str, ...]:
        """Both, unless the server runs without fsync: then nothing is on disk when it is said to be."""
        return TIERS if self._show("fsync") == "on" else TIERS[:1]

    def set_durability(self, tier: str) -> None:
        """Have every connection commit with ``synchronous_commit`` off for relaxed, on for strict."""
        if tier not in self.tiers():
            raise HelpersError(
                f"postgres at {self.address}: no durability tier {tier!r}; choose from "
                f"{', '.join(self.tiers())} (strict needs a server with fsync on)"
            )
        self._tier = tier

    def _show(self, setting: str) -> str:
        return str(self.do(f"SHOW {setting}")[0][0])

    def settings(self) -> dict[str, str]:
        """Settings by SHOW in a session that has the tier."""
        return {"version": self.version()} | {
            **{name: self._show(name) for name in SHOWN},
            "retries": "off (driver)",
            "connections": "1 for each thread (driver)",
        }

    def version(self) -> str:
        """The version by SHOW."""
        return self._show("server_version").split()[0]

    def traffic(self, operation: str, *arguments: object) -> Traffic:
        """Count transactions of the database and executions in the session, as the server counts them.

        Each request is one transaction, because the session commits by itself.
        """
        link = self._prepared()
        counts = []
        # Another session may commit just then, so the least of three.
        for _ in range(3 if operation in ("read_profile", "last_activities", "null_op") else 1):
            before, executed = self._transactions(), link.do(EXECUTIONS)[0][0]
            getattr(self, operation)(*arguments)
            statements = link.do(EXECUTIONS)[0][0] - executed
            # Between two readings lie the first itself, the two countings of executions and the next flush.
            counts.append((self._transactions() - before - 4, statements))
        return Traffic(*min(counts))

    def _transactions(self) -> int:
        self.do("SELECT pg_stat_force_next_flush()")
        return int(self.do(TRANSACTIONS)[0][0])

    def size(self) -> Size:
        """Bytes of all tables and indexes, in shared buffers and in files."""
        return self._size(schema.TABLES)

    def activity_size(self) -> Size:
        """Bytes of the table of activities and its indexes, in shared buffers and in files."""
        return self._size(("activities",))

    def _size(self, tables: Iterable[str]) -> Size:
        mine = {"schema": SCHEMA, "tables": list(tables)}
        disk = int(self.do(ON_DISK, mine)[0][0])
        how = "pg_total_relation_size: table, indexes and maps; the log (WAL) is of the whole server"
        try:
            memory = int(self.do(BUFFERED.format(place=self._buffercache()), mine)[0][0])
        except psycopg2.Error as error:
            return Size(None, disk, f"{how}; in memory not told: {first_line(error)}")
        return Size(memory, disk, f"{how}; in memory what of them is in shared buffers, by pg_buffercache")

    def _buffercache(self) -> str:
        """The schema in which the extension lies; in ours, and gone with it, where the database has none."""
        where = (
            "SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname = 'pg_buffercache'"
        )
        if not (found := self.do(where)):
            self.do(f"CREATE EXTENSION pg_buffercache SCHEMA {SCHEMA}")
            found = self.do(where)
        return str(found[0][0])

    def read_bytes(self) -> int:
        """What was read from files, not being in shared buffers, by all sessions of this database so far.

        No other thread may use a connection of this store meanwhile.
        """
        for link in self._opened:
            if not link.connection.closed:
                link.do("SELECT pg_stat_force_next_flush()")
        return int(self.do(READ)[0][0])

    def server_cpu_s(self) -> float | None:
        """From the operating system, of the server and all its backends, where it runs on this machine."""
        return machine.family_cpu_s(machine.listening(self.address, "postgres"))

    def server_rss_mb(self) -> float | None:
        """From the operating system, of the server and all its backends, shared memory counted once."""
        return machine.family_pss_mb(machine.listening(self.address, "postgres"))

    def drop(self) -> None:
        """Drop the schema."""
        link = self._link()
        with link.unhurried():
            schema.drop_schema(link.connection, SCHEMA)

    def close(self) -> None:
        """Disconnect; what was set was set for these sessions only."""
        self._closed.set()
        for link in self._opened:
            link.connection.close()


EXECUTE: Mapping[str, str] = {
    name: f"EXECUTE {name} ({', '.join(['%s'] * len(types.split(',')))})"
    for name, (types, _) in STATEMENTS.items()
}


class _Link:
    """A connection that commits each statement, and what was set and prepared in it."""

    def __init__(self, connection: Connection) -> None:
        connection.autocommit = True
        self.connection, self.cursor = connection, connection.cursor()
        self.tier = ""
        self.prepared = False
        self._patient = False
        self._since = 0.0
        self.do(f"SET statement_timeout = {int(TIMEOUT_S * 1000)}")

    def do(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Send one statement; its rows."""
        self._since = time.monotonic()
        try:
            self.cursor.execute(query, values)
        finally:
            self._since = 0.0
        return self.cursor.fetchall() if self.cursor.description else []

    def cut_if_late(self) -> None:
        """Shut the connection down under a statement that should have ended.

        A server that hangs does not end it, and the driver would wait for ever.
        """
        since = self._since
        if since and not self._patient and time.monotonic() - since > TIMEOUT_S + WATCH_S:
            with (
                suppress(OSError, psycopg2.Error),
                socket.socket(fileno=os.dup(self.connection.fileno())) as end,
            ):
                end.shutdown(socket.SHUT_RDWR)

    def prepare(self) -> None:
        """Prepare all statements; the tables must exist."""
        texts = [f"PREPARE {name} ({types}) AS {text}" for name, (types, text) in STATEMENTS.items()]
        self.do(";\n".join(["DEALLOCATE ALL", *texts]))
        self.prepared = True

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Inside, a statement may take as long as it needs."""
        self.do("SET statement_timeout = 0")
        self._patient = True
        try:
            yield
        finally:
            self._patient = False
        self.do(f"SET statement_timeout = {int(TIMEOUT_S * 1000)}")


class _Lease:
    """Held by a thread for as long as it lives."""

    def __init__(self, link: _Link) -> None:
        self.link = link
