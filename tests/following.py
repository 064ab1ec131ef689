"""Following in a test: a source that may be followed, rough traffic, and movers that are killed.

By hand, for many more kills than a test has time for: ``python tests/following.py --kills 100 --seed 7``.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2
from migrating import run_sql, until

from helpers import migration
from helpers.migration import following, verification
from helpers.model import Table
from helpers.relational import population, schema
from helpers.servers import connections, scratch
from helpers.trials import judge
from helpers.trials.traffic import ORDINARY, Operation, traffic

FULL = [f"ALTER TABLE {table} REPLICA IDENTITY FULL" for table in schema.TABLES]
CASCADES = [
    f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_fkey, ADD FOREIGN KEY ({column}) REFERENCES "
    f"{parent} ON DELETE CASCADE ON UPDATE CASCADE"
    for table, of in schema.REFERENCES.items()
    for column, parent in of.items()
]
LARGE = 12_000
"""Rows of a large transaction: more than two parts."""
started: list["subprocess.Popen[str]"] = []
"""Followers and migrations in processes of their own, which a test that fails may leave running."""
PATIENCE_S = 300
"""How long a chase may go without a kill that struck, and how long a load may need to come to its end."""


def _sql(statement: str) -> Operation:
    """An operation of one statement, in which ``{u}``, ``{a}``, ``{o}``, ``{p}`` are keys of random rows."""

    def do(cursor: Any, chance: random.Random) -> None:
        keys = {
            table[
                0
            ]: f"(SELECT {key} FROM {table} OFFSET floor({chance.random():.6f} * (SELECT count(*) FROM "
            f"{table})) LIMIT 1)"
            for table, key in schema.KEYS.items()
        }
        cursor.execute(statement.format(**keys, n=chance.randint(1, 10**6)))

    return do


ROUGH: Mapping[str, tuple[int, Operation]] = {
    **ORDINARY,
    "delete user": (2, _sql("DELETE FROM users WHERE user_id = {u}")),
    "delete product": (1, _sql("DELETE FROM products WHERE product_id = {p} AND {n} % 3 = 0")),
    "new product": (1, _sql("INSERT INTO products (product_name, price) VALUES ('p {n}', {n} / 100.0)")),
    "new user key": (2, _sql("UPDATE users SET user_id = nextval('users_user_id_seq') WHERE user_id = {u}")),
    "new activity key": (
        2,
        _sql("UPDATE activities SET activity_id = -{n} - activity_id WHERE activity_id = {a}"),
    ),
    "new order key": (1, _sql("UPDATE orders SET order_id = order_id + 2000000 WHERE order_id = {o}")),
    "reject": (2, _sql("UPDATE activities SET activity_type = NULL WHERE activity_id = {a}")),
    "accept": (2, _sql("UPDATE activities SET activity_type = 'a:b' WHERE activity_type IS NULL")),
    "reject order": (1, _sql("UPDATE orders SET order_date = 'infinity' WHERE order_id = {o}")),
    "accept order": (1, _sql("UPDATE orders SET order_date = now() WHERE order_date = 'infinity'")),
    "empty user": (1, _sql("INSERT INTO users VALUES (-{n}, NULL, NULL, NULL) ON CONFLICT DO NOTHING")),
    "far date": (1, _sql("UPDATE activities SET activity_date = '9999-12-31' WHERE activity_id = {a}")),
    "shift": (
        2,
        _sql("UPDATE activities SET activity_date = activity_date - interval '1 h' WHERE user_id = {u}"),
    ),
    "forget all": (1, _sql("DELETE FROM activities WHERE user_id = {u}")),
    "undone": (1, _sql("SAVEPOINT s; DELETE FROM orders; ROLLBACK TO SAVEPOINT s")),
    "bulk": (
        1,
        _sql(
            "INSERT INTO activities (user_id, activity_type, activity_date) SELECT {u}, 'bulk' || i % 3, "
            "now() - i % 700 * interval '1 s' FROM generate_series(1, 300) i"
        ),
    ),
}


def tell_all(source: str) -> None:
    """Let every table and partition tell the old values of a changed row."""
    connection = connections.postgres(source)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT format('ALTER TABLE %I.%I REPLICA IDENTITY FULL', nspname, relname) FROM pg_class JOIN "
            "pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND relpersistence = 'p' AND "
            "nspname = ANY(current_schemas(false))"
        )
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
    connection.close()


class Scramble:
    """One writer that changes tables of any shape in any way; foreign keys do not hold it; a context manager.

    Rows that were there once come back, values go from row to row, rows go; keys change too where they may.
    Statements that the tables refuse are undone one by one.

    Args:
        source: URL of PostgreSQL.
        tables: to change.
        seed: of what is random.

    Attributes:
        done: statements that changed a row, by kind.
    """

    def __init__(self, source: str, tables: Iterable[Table], seed: int) -> None:
        self.tables, self.chance = list(tables), random.Random(seed)
        self.done: Counter[str] = Counter()
        self._connection = connections.postgres(source)
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            for n, table in enumerate(self.tables):
                cursor.execute(
                    f"CREATE TEMP TABLE grave_{n} AS SELECT {self._columns(table)} FROM {table.sql}"
                )

    def __enter__(self) -> "Scramble":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    @staticmethod
    def _columns(table: Table) -> str:
        return ", ".join(column.sql for column in table.columns if not column.generated)

    def transaction(self, most: int = 12, *, truncate: bool = True) -> None:
        """Some statements, committed or not."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT setseed({self.chance.uniform(-1, 1):.6f})")
            for _ in range(self.chance.randint(1, most)):
                kind, statement = self._statement(truncate)
                cursor.execute("SAVEPOINT one")
                try:
                    cursor.execute(statement)
                    self.done[kind] += bool(cursor.rowcount)
                except psycopg2.Error:
                    cursor.execute("ROLLBACK TO SAVEPOINT one")
        if self.chance.random() < 0.1:
            self._connection.rollback()
        else:
            self._connection.commit()

    def _statement(self, truncate: bool) -> tuple[str, str]:
        n = self.chance.randrange(len(self.tables))
        table, some = self.tables[n], self.chance.choice((1, 1, 3))
        column = self.chance.choice([c for c in table.columns if not c.generated])
        rows = f"(tableoid, ctid) IN (SELECT tableoid, ctid FROM {table.sql} ORDER BY random() LIMIT {some})"
        kind = self.chance.choices(
            ("insert", "value", "null", "delete", "touch", "truncate"), (8, 12, 3, 4, 2, 0.2 * truncate)
        )[0]
        if kind == "insert":
            return kind, (
                f"INSERT INTO {table.sql_name} ({self._columns(table)}) OVERRIDING SYSTEM VALUE SELECT * "
                f"FROM grave_{n} ORDER BY random() LIMIT {some} ON CONFLICT DO NOTHING"
            )
        if kind == "value":
            other = f"(SELECT {column.sql} FROM grave_{n} ORDER BY random() LIMIT 1)"
            return kind, f"UPDATE {table.sql} SET {column.sql} = {other} WHERE {rows}"
        if kind == "null":
            return kind, f"UPDATE {table.sql} SET {column.sql} = NULL WHERE {rows}"
        if kind == "touch":
            return kind, f"UPDATE {table.sql} SET {column.sql} = {column.sql} WHERE {rows}"
        if kind == "delete":
            return kind, f"DELETE FROM {table.sql} WHERE {rows}"
        return kind, f"TRUNCATE {table.sql} CASCADE"


def follow(source: str, target: str, until_idle_s: float = 0.0, **options: Any) -> dict[str, Any]:
    """Apply what was committed; what ``following.follow`` says."""
    return following.follow(source, target, until_idle_s=until_idle_s, shown=False, **options)


def verified(source: str, target: str, **options: Any) -> bool:
    """Whether the verification finds no difference."""
    seen = verification.verify(source, target, progress=False, **options)
    assert seen["by_problem"] == {}, seen["examples"]
    return True


def prepare(source: str, *more: str) -> None:
    """Let a source be followed, with cascades."""
    run_sql(source, *FULL, *CASCADES, *more)


def large(source: str, chance: random.Random) -> None:
    """One of three large transactions, or a table is emptied."""
    statements = (
        f"INSERT INTO activities (user_id, activity_type, activity_date) SELECT (SELECT min(user_id) FROM "
        f"users), 'large', timestamp '2025-06-01' + i * interval '1 min' FROM generate_series(1, {LARGE}) i",
        "UPDATE activities SET activity_date = activity_date + interval '1 s' WHERE activity_type = 'large'",
        "DELETE FROM activities WHERE activity_type = 'large'",
        "INSERT INTO orders (user_id, order_date) SELECT max(user_id), now() FROM users; TRUNCATE orders; "
        "INSERT INTO orders (user_id, product_id, order_date) SELECT user_id, min(product_id), now() FROM "
        "users, products GROUP BY 1",
    )
    # One of the writers may be in the way, or delete the user meanwhile: then nothing of it is committed.
    refused = (psycopg2.errors.DeadlockDetected, psycopg2.errors.ForeignKeyViolation)
    with contextlib.suppress(*refused):
        run_sql(source, statements[chance.randrange(len(statements))])


class Chase:
    """Movers on a source that changes all the time, killed at random moments.

    Attributes:
        struck: kills by what the mover was doing.
        faults: what should not have happened.
    """

    def __init__(self, source: str, target: str, seed: int) -> None:
        self.source, self.target = source, target
        self.chance = random.Random(seed)
        self.client = connections.redis(target, decode_responses=True)
        self.struck: Counter[str] = Counter()
        self.faults: list[str] = []

    def state(self) -> dict[str, str]:
        state: dict[Any, Any] = self.client.hgetall("migration:state")
        return state

    def kill_one(self) -> None:
        """Start what comes next, and kill it at a random moment after it took the lease."""
        before, lease = self.state(), self.client.get("migration:lease")
        loaded = before.get("status") == "complete"
        words = ["follow"] if loaded else ["migrate", "--follow", "--batch-rows", "50"]
        process = start(self.source, self.target, *words)
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and self.client.get("migration:lease") == lease:
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
        time.sleep(self.chance.uniform(0, 2.5 if loaded else 1.2))
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        after = self.state()
        if process.returncode != -signal.SIGKILL:
            if process.returncode not in (0, 1):  # 1: some rows were rejected
                self.faults.append(f"{words[0]} ended with {process.returncode}: {said.strip()}")
            self.struck["too late"] += 1
        elif after.get("follow:part"):
            self.struck["in the middle of a large transaction"] += 1
        elif loaded:
            self.struck["following"] += 1
        else:
            self.struck[f"migrating, {after.get('status')}"] += 1
        if loaded and place(after) < place(before):
            self.faults.append(f"the position went back from {before} to {after}")

    def finish(self) -> dict[str, Any]:
        """Let it through undisturbed, now that nobody writes; what two judges and the slot's end say."""
        deadline = time.monotonic() + PATIENCE_S
        while self.state().get("status") != "complete":
            assert time.monotonic() < deadline, self.state()
            migration.migrate(self.source, self.target, follow=True, progress=False)
        result = follow(self.source, self.target, 0.3)
        seen = verification.verify(self.source, self.target, progress=False)
        return {"result": result, "by_problem": seen["by_problem"], "examples": seen["examples"][:5]}


def place(state: dict[str, str]) -> tuple[int, int]:
    from helpers.source.pgoutput import parse_lsn

    part = state.get("follow:part", "").split()
    return parse_lsn(state.get("follow:position", "0/0")), int(part[1]) if part else 0


def start(source: str, target: str, *words: str, **more: Any) -> "subprocess.Popen[str]":
    """A command in a process of its own, whose URLs are in its environment.

    Args:
        source: URL of PostgreSQL.
        target: URL of Redis or a cluster.
        words: of the command.
        more: what else ``Popen`` is told.
    """
    environment = {**os.environ, "POSTGRES_URL": source, "REDIS_URL": target}
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )
    started.append(process)
    return process


def leave_nothing(source: str) -> None:
    """End what was started here and still runs, then drop every slot and publication of its server.

    A test that failed leaves them, and a slot keeps the server's log, holds up the next one, and is seen by
    other tests.
    """
    while started:
        process = started.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()
    connection = connections.postgres(source)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        ours = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name LIKE 'helpers%'"

        def drop() -> bool:
            cursor.execute(ours)
            for name, reader in (left := cursor.fetchall()):
                with contextlib.suppress(psycopg2.errors.ObjectInUse, psycopg2.errors.UndefinedObject):
                    if reader is not None:
                        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (reader,))
                    cursor.execute("SELECT pg_drop_replication_slot(%s)", (name,))
            return not left

        until(drop, 30)  # less than a server waits for a reader that keeps silent
        cursor.execute("SELECT quote_ident(pubname) FROM pg_publication WHERE pubname LIKE 'helpers%'")
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP PUBLICATION IF EXISTS {name}")


def chase(source: str, target: str, *, kills: int, seed: int, per_s: float = 60.0) -> dict[str, Any]:
    """Writers at work through snapshot, load and follow; so many kills; then what the judges say."""
    chased = Chase(source, target, seed)
    restarts, struck, deadline = 0, 0, time.monotonic() + PATIENCE_S
    with traffic(source, operations=ROUGH, per_s=per_s, seed=seed) as writers:
        while (now := chased.struck.total() - chased.struck["too late"]) < kills:
            if now > struck:
                struck, deadline = now, time.monotonic() + PATIENCE_S
            assert time.monotonic() < deadline, chased.struck
            if chased.chance.random() < 0.15 and chased.state().get("status") == "complete":
                restarts += 1  # the load is interrupted too, with a slot that is followed already
                chased.client.hset("migration:state", "status", "reconciling")
            if chased.chance.random() < 0.4:
                large(source, chased.chance)
            if chased.state().get("status") != "complete" and chased.chance.random() < 0.4:
                migration.migrate(source, target, follow=True, progress=False, batch_rows=2000)
            chased.kill_one()
    found = chased.finish()
    refused = writers.refused()
    chased.client.close()
    return found | {
        "struck": dict(chased.struck),
        "faults": chased.faults,
        "committed": writers.committed,
        "done": dict(writers.done),
        "refused": refused.total(),
        "loads_again": restarts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill followers at random moments.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    with scratch.postgres() as source, scratch.redis("appendonly yes", "appendfsync everysec") as target:
        population.populate(source.url, users=60, products=20, activities=3000, orders=400, progress=False)
        prepare(source.url)
        found = chase(source.url, target.url, kills=options.kills, seed=options.seed)
        run_sql(
            source.url,
            "DELETE FROM activities WHERE num_nulls(user_id, activity_type, activity_date) > 0",
            "DELETE FROM orders WHERE order_date = 'infinity'",
            "DELETE FROM users WHERE num_nonnulls(username, email, created_at) = 0",
        )  # the second judge is for rows that the model can hold
        follow(source.url, target.url, 0.3)
        found["judge"] = judge.compare(source.url, target.url)
        found["dropped"] = following.drop_slot(source.url, target.url)
    print(json.dumps(found, indent=1, default=str))


if __name__ == "__main__":
    main()
