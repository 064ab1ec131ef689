"""Cassandra's idiom: one table a question, rows of a partition kept in the order in which they are asked
for.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from cassandra import DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, NoHostAvailable
from cassandra.concurrent import execute_concurrent
from cassandra.connection import ConnectionException
from cassandra.policies import RetryPolicy
from cassandra.protocol import OptionsMessage
from cassandra.query import BatchStatement, BatchType, PreparedStatement

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
    batches,
)
from helpers.errors import HelpersError
from helpers.relational import layouts, redis_model, schema
from helpers.servers import connections, machine

KEYSPACE = f"user_activity_{NAMESPACE}"
BATCH_STATEMENTS = 50
"""Rows of one partition sent together while loading; the server warns above 5 kB."""

DEFINITIONS = (
    f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
    *layouts.TABLES,
)
ORDER_TABLES = ("orders", "orders_by_user", "orders_by_product")
STATEMENTS = {
    "profile": "SELECT username, email, created_at_us FROM users WHERE user_id = ?",
    "last": "SELECT activity_type, at_us FROM activities_by_user WHERE user_id = ? LIMIT ?",
    "order": "SELECT user_id, product_id, at_us, quantity FROM orders WHERE order_id = ?",
    "by_user": "SELECT order_id FROM orders_by_user WHERE user_id = ?",
    "by_product": "SELECT order_id FROM orders_by_product WHERE product_id = ?",
    "user": "INSERT INTO users (user_id, username, email, created_at_us) VALUES (?, ?, ?, ?)",
    "product": "INSERT INTO products (product_id, product_name, price) VALUES (?, ?, ?)",
    "activity": "INSERT INTO activities_by_user (activity_id, user_id, activity_type, at_us) VALUES (?, "
    "?, ?, ?)",
} | {
    table: f"INSERT INTO {table} (order_id, user_id, product_id, at_us, quantity) VALUES (?, ?, ?, ?, ?)"
    for table in ORDER_TABLES
}
ACTIVITIES = "activities_by_user"
NO_MEMORY = "memory is one heap for all tables"
FLUSH_S = 60.0
"""How long a flush and the compactions after it are waited for."""
WRITERS = ("MemtableFlushWriter", "MemtablePostFlush", "CompactionExecutor")
"""Threads that are at work while files are written."""
SYNC_MODES = {"relaxed": ("periodic",), "strict": ("batch", "group")}


class Again(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """Writes that may come twice, sent again a few times when the server says that time ran out."""

    TRIES: ClassVar = 5

    def on_write_timeout(self, query: Any, *, retry_num: int, **info: Any) -> tuple[int, None]:
        """Whether to send it again, with the same consistency; the driver asks this."""
        return (self.RETRY if retry_num < self.TRIES else self.RETHROW), None


class CassandraStore(Store):
    """Tables of a keyspace of their own, one for each question, asked by prepared statements."""

    name = "cassandra"
    NULL_OP = "OPTIONS"
    ERRORS = (DriverException, NoHostAvailable, ConnectionException, OSError)
    DEFINITIONS = DEFINITIONS
    IDIOMS: ClassVar = {
        "read_profile": Idiom(STATEMENTS["profile"], "one row", 0),
        "last_activities": Idiom(STATEMENTS["last"], "one partition, read in its stored order", 0),
        "append_activity": Idiom(STATEMENTS["activity"], "the row", 1),
        "place_order": Idiom(
            "BEGIN BATCH INSERT INTO orders ...; INSERT INTO orders_by_user ...; "
            "INSERT INTO orders_by_product ...; APPLY BATCH",
            "all three rows in the end (logged batch), but a reader may see some before the others",
            3,
        ),
    }

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url)
        self.session = connections.cassandra(
            self.url, **connections.cassandra_once(TIMEOUT_S), compression=False
        )
        self._prepared: dict[str, PreparedStatement] = {}

    def create(self) -> None:
        """Make keyspace and tables, and prepare the statements."""
        self.drop()
        for statement in DEFINITIONS:
            self.session.execute(statement, timeout=60)
            if statement is DEFINITIONS[0]:
                self.session.set_keyspace(KEYSPACE)
        self._prepare()

    def join(self) -> None:
        """Use the keyspace, and prepare the statements."""
        self.session.set_keyspace(KEYSPACE)
        self._prepare()

    def _prepare(self) -> None:
        self._prepared = {name: self.session.prepare(text) for name, text in STATEMENTS.items()}

    def load_rows(self, table: str, rows: Iterable[Any]) -> None:
        """Send the rows of a partition in unlogged batches, many batches at once.

        A batch that the server was too busy to take in its time is sent again: the same rows, the same keys.
        """
        statements: Iterable[tuple[Any, tuple[Any, ...]]]
        if table == "activities":
            statements = self._activity_batches(rows)
        elif table == "orders":
            statements = ((self._order_batch(row, BatchType.UNLOGGED), ()) for row in rows)
        elif table == "users":
            statements = (
                (self._prepared["user"], (*row[:3], redis_model.microseconds(row[3]))) for row in rows
            )
        else:
            statements = ((self._prepared["product"], tuple(row)) for row in rows)
        loading = self.session.execution_profile_clone_update(
            EXEC_PROFILE_DEFAULT, retry_policy=Again(), request_timeout=60
        )
        for _ in execute_concurrent(
            self.session, statements, concurrency=64, results_generator=True, execution_profile=loading
        ):
            pass  # an error is raised by the iteration

    def _activity_batches(
        self, activities: Iterable[schema.Activity]
    ) -> Iterator[tuple[BatchStatement, tuple[()]]]:
        insert = self._prepared["activity"]
        for _, rows in groupby(activities, key=lambda row: row[1]):
            for chunk in batches(rows, BATCH_STATEMENTS):
                batch = BatchStatement(BatchType.UNLOGGED)
                for activity_id, user_id, activity_type, activity_date in chunk:
                    batch.add(
                        insert, (activity_id, user_id, activity_type, redis_model.microseconds(activity_date))
                    )
                yield batch, ()

    def _order_batch(self, order: Iterable[Any], batch_type: BatchType) -> BatchStatement:
        order_id, user_id, product_id, order_date, quantity = order
        values = (order_id, user_id, product_id, redis_model.microseconds(order_date), quantity)
        batch = BatchStatement(batch_type)
        for table in ORDER_TABLES:
            batch.add(self._prepared[table], values)
        return batch

    def read_profile(self, user_id: int) -> Profile | None:
        """Read one row by its partition key."""
        found = self.session.execute(self._prepared["profile"], (user_id,)).one()
        return None if found is None else Profile(found[0], found[1], redis_model.from_microseconds(found[2]))

    def last_activities(self, user_id: int, limit: int = 20) -> list[Seen]:
        """Read the first rows of one partition, which is kept newest first.

        Args:
            user_id, limit: as for every ``Store``.
        """
        found = self.session.execute(self._prepared["last"], (user_id, limit))
        return [Seen(activity_type, redis_model.from_microseconds(at)) for activity_type, at in found]

    def append_activity(
        self, activity_id: int, user_id: int, activity_type: str, activity_date: datetime
    ) -> None:
        """Insert one row; where it belongs in its partition is settled by the clustering order.

        Args:
            activity_id, user_id, activity_type, activity_date: as for every ``Store``.
        """
        self.session.execute(
            self._prepared["activity"],
            (activity_id, user_id, activity_type, redis_model.microseconds(activity_date)),
        )

    def place_order(
        self, order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
    ) -> None:
        """Insert into the three tables of orders by one logged batch.

        Args:
            order_id, user_id, product_id, order_date, quantity: as for every ``Store``.
        """
        order = (order_id, user_id, product_id, order_date, quantity)
        self.session.execute(self._order_batch(order, BatchType.LOGGED))

    def read_order(self, order_id: int) -> Order | None:
        """Read one row by its partition key."""
        found = self.session.execute(self._prepared["order"], (order_id,)).one()
        return (
            None
            if found is None
            else Order(order_id, found[0], found[1], redis_model.from_microseconds(found[2]), found[3])
        )

    def orders_of_user(self, user_id: int) -> list[int]:
        """Read one partition of ``orders_by_user``."""
        return [row[0] for row in self.session.execute(self._prepared["by_user"], (user_id,))]

    def orders_of_product(self, product_id: int) -> list[int]:
        """Read one partition of ``orders_by_product``."""
        return [row[0] for row in self.session.execute(self._prepared["by_product"], (product_id,))]

    def null_op(self) -> None:
        """Send the protocol's OPTIONS, which no statement goes with, on a connection of the session."""
        for pool in self.session.get_pools():
            for connection in pool.get_connections():
                connection.wait_for_response(OptionsMessage(), timeout=TIMEOUT_S)
                return
        raise NoHostAvailable("no connection", {})

    def tiers(self) -> tuple[str, ...]:
        """The one tier that the server was started with: ``commitlog_sync`` cannot change while it runs."""
        mode = self._setting("commitlog_sync")
        return tuple(tier for tier, modes in SYNC_MODES.items() if mode in modes)

    def set_durability(self, tier: str) -> None:
        """Check that the server was started in this tier."""
        if tier not in self.tiers():
            raise HelpersError(
                f"cassandra at {self.address}: runs with commitlog_sync "
                f"{self._setting('commitlog_sync')}, which is "
                f"not {tier}; this is a setting of cassandra.yaml, so start a server with it"
            )

    def _setting(self, name: str) -> str:
        found = self.session.execute("SELECT value FROM system_views.settings WHERE name = %s", (name,)).one()
        return "" if found is None or found[0] is None else str(found[0])

    def settings(self) -> dict[str, str]:
        """Settings as the server's virtual table of settings and its schema give them."""
        mode = self._setting("commitlog_sync")
        keyspace = self.session.cluster.metadata.keyspaces.get(KEYSPACE)
        lines = {"version": self.version(), "commit log": mode}
        if mode == "periodic":
            lines["commit log synced every"] = self._setting("commitlog_sync_period")
        if keyspace is not None:
            lines["durable writes"] = str(keyspace.durable_writes).lower()
            lines["replication factor"] = str(keyspace.replication_strategy.replication_factor)
        profile = self.session.cluster.profile_manager.default
        return lines | {
            "consistency level": f"{_consistency(profile.consistency_level)} (driver)",
            **_java(machine.options(machine.listening(self.address, "java"))),
            "memtable heap": self._setting("memtable_heap_space"),
            "concurrent writes": self._setting("concurrent_writes"),
            "retries": "off (driver)",
            "connections": "1, shared by all threads (driver)",
        }

    def version(self) -> str:
        """The release version in ``system.local``."""
        row = self.session.execute("SELECT release_version FROM system.local WHERE key = 'local'").one()
        return str(row[0])

    def traffic(self, operation: str, *arguments: object) -> Traffic:
        """Count requests as the driver hands them to its connection."""
        sent: list[Any] = []
        self.session.add_request_init_listener(sent.append)
        try:
            getattr(self, operation)(*arguments)
        finally:
            self.session.remove_request_init_listener(sent.append)
        statements = sum(
            len(request.query._statements_and_parameters) if isinstance(request.query, BatchStatement) else 1
            for request in sent
        )
        return Traffic(len(sent), statements)

    def size(self) -> Size:
        """Mebibytes on disk as the server counts them; memtables are not counted by keyspace."""
        rows = self.session.execute(
            "SELECT mebibytes FROM system_views.disk_usage WHERE keyspace_name = %s ALLOW FILTERING",
            (KEYSPACE,),
        )
        disk = sum(row[0] for row in rows) * 2**20
        how = "system_views.disk_usage, whole MiB; rows still in memtables are not in it"
        return Size(None, disk or None, how)

    def activity_size(self) -> Size:
        """Bytes of the table's files, where they can be seen from here; else whole mebibytes."""
        self._flush(ACTIVITIES)
        folder = self._table_folder(ACTIVITIES)
        if folder is not None:
            disk = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
            return Size(None, disk, f"files of {ACTIVITIES} after a flush; {NO_MEMORY}")
        row = self.session.execute(
            "SELECT mebibytes FROM system_views.disk_usage WHERE keyspace_name = %s AND table_name = %s",
            (KEYSPACE, ACTIVITIES),
        ).one()
        disk = 0 if row is None else row[0] * 2**20
        return Size(None, disk or None, f"system_views.disk_usage after a flush, whole MiB; {NO_MEMORY}")

    def _flush(self, table: str) -> None:
        """Have a table's memtable written to files, and wait for that and for compactions.

        CQL has no command for it, but a table can be given a time after which its memtable is due.
        """
        alter = f"ALTER TABLE {KEYSPACE}.{table} WITH memtable_flush_period_in_ms = "
        self.session.execute(f"{alter}100", timeout=60)
        try:
            quiet, deadline = 0, time.monotonic() + FLUSH_S
            while quiet < 4 and time.monotonic() < deadline:
                time.sleep(0.15)
                quiet = 0 if self._busy() else quiet + 1
        finally:
            self.session.execute(f"{alter}0", timeout=60)

    def _busy(self) -> bool:
        pools = self.session.execute(
            "SELECT name, active_tasks, pending_tasks FROM system_views.thread_pools"
        )
        return any(active + pending for name, active, pending in pools if name in WRITERS)

    def _table_folder(self, table: str) -> Path | None:
        """Where the server keeps a table's files, None where that cannot be seen from here."""
        row = self.session.execute(
            "SELECT id FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s",
            (KEYSPACE, table),
        ).one()
        if row is None or machine.listening(self.address, "java") is None:
            return None
        for place in self._setting("data_file_directories").strip("[]").split(", "):
            folder = Path(place) / KEYSPACE / f"{table}-{row[0].hex}"
            if folder.is_dir():
                return folder
        return None

    def server_cpu_s(self) -> float | None:
        """From the operating system, where the server runs on this machine."""
        return machine.cpu_s(machine.listening(self.address, "java"))

    def server_rss_mb(self) -> float | None:
        """From the operating system, where the server runs on this machine."""
        return machine.rss_mb(machine.listening(self.address, "java"))

    def drop(self) -> None:
        """Drop the keyspace."""
        self.session.execute(f"DROP KEYSPACE IF EXISTS {KEYSPACE}", timeout=60)

    def close(self) -> None:
        """Disconnect."""
        with suppress(*self.ERRORS):
            self.session.cluster.shutdown()


def _java(options: Sequence[str]) -> dict[str, str]:
    """The heap and the just-in-time compiler of a Java server, by its command line; of the last that says so.

    Args:
        options: the words of it; none where it is unknown.
    """
    if not options:
        return {"heap": "unknown", "just-in-time compiler": "unknown"}
    heap = next((word[4:] for word in reversed(options) if word.startswith("-Xmx")), "a part of the memory")
    level = next((word for word in reversed(options) if word.startswith("-XX:TieredStopAtLevel=")), "")
    compiler = f"up to level {level.partition('=')[2]}" if level else "all levels"
    return {"heap": f"at most {heap}", "just-in-time compiler": "off" if "-Xint" in options else compiler}


def _consistency(level: int) -> str:
    from cassandra import ConsistencyLevel

    return str(ConsistencyLevel.value_to_name[level])
