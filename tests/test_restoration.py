"""The way back: what migrate wrote comes out of Redis as it was, or is named."""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st
from migrating import ask, swap, until

from helpers import cli, migration
from helpers.errors import HelpersError
from helpers.migration import restoration, stored_rows
from helpers.migration.tables import Tables
from helpers.relational import population, schema
from helpers.servers import connections, scratch
from helpers.source import catalogue
from helpers.target import keyspace, record, resp
from helpers.target.checkpoint import Checkpoint

ENDS = (-(2**31), 2**31 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
NASTY = TEXTS | st.sampled_from(
    [
        *("", " ", " a ", "NULL", r"\N", "\\", r"\t", "a:b:c", ":", "\r\n", "\n\n", "\t", "\x01\x7f\x1b"),
        *("é" * 50, "🙂" * 50, "$5\r\nhello\r\n", "x" * 48 + "  ", "2026-01-01T00:00:00.000000", "%s", "{x}"),
        *("\ufeff", "a\u0301"),
    ]
)
DATES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)).map(
    str
) | st.sampled_from(
    [
        *("infinity", "-infinity", "0044-03-15 00:00:00 BC", "10000-01-01", "294276-12-31 23:59:59.999999"),
        *("0001-01-01", "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999998", "1684-07-28"),
        *("2255-06-05 23:47:34.740993", "2255-06-05 23:47:34.740992", "2026-01-01 00:00:00.1"),
        "2026-02-28 12:00:00.000001",
    ]
)
PRICES = st.decimals(-99999999, 99999999, places=2, allow_nan=False).map(str) | st.sampled_from(
    ["NaN", "0", "-0.01", "0.01", "99999999.99", "-99999999.99", "19.9"]
)


@contextmanager
def session(url: str) -> Iterator[Any]:
    """A connection that commits at its end, or not at all, and is closed."""
    connection = connections.postgres(url)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


@pytest.fixture
def back(postgres_url: str) -> Iterator[str]:
    """The name of a schema that is not there, dropped afterwards."""
    name = ask(postgres_url, "SELECT current_schema() || ' \"back\"'")[0][0]
    yield name
    drop(postgres_url, name)


def drop(url: str, name: str) -> None:
    ask(url, f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def migrate(source: str, target: str, **options: Any) -> dict[str, Any]:
    return migration.migrate(source, target, progress=False, verify=False, **options)


def restore(source: str, target: str, name: str, **options: Any) -> dict[str, Any]:
    return restoration.restore(source, target, schema=name, progress=False, **options)


def exists(url: str, name: str) -> bool:
    return bool(ask(url, f"SELECT 1 FROM pg_namespace WHERE nspname = '{name}'"))


def differences(url: str, name: str, rejected: dict[str, set[int]] | None = None) -> list[Any]:
    """Rows that are in one of the two schemas only, numbers with their scale; rejected rows apart."""
    found = []
    for table, columns in schema.COLUMNS.items():
        names = ", ".join("price::text" if c == "price" else c for c in columns)
        apart = ",".join(map(str, (rejected or {}).get(table, set()))) or "NULL"
        original = f"SELECT {names} FROM {table} WHERE ({schema.KEYS[table]} IN ({apart})) IS NOT TRUE"
        again = f"SELECT {names} FROM {quoted(name)}.{table}"
        found += ask(url, f"({original}) EXCEPT ALL ({again})") + ask(
            url, f"({again}) EXCEPT ALL ({original})"
        )
    return found


def rejects(result: dict[str, Any]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {table: set() for table in schema.TABLES}
    if result["reject_file"]:
        for line in Path(result["reject_file"]).read_text().splitlines():
            row = json.loads(line)
            found[row["table"]].add(int(row["key"]))
    return found


def form(url: str, name: str | None = None) -> list[Any]:
    """The tables of a schema as the catalogue tells them, comments and the schema's name apart."""
    with session(url) as connection:
        found = catalogue.read(connection, name)
    text = json.dumps([{**table, "comment": None} for table in found["tables"]])
    tables: list[Any] = json.loads(
        text.replace(json.dumps(quoted(found["schema"]))[1:-1] + ".", "").replace(f"{found['schema']}.", "")
    )
    return tables


# -- what comes back


def test_the_four_tables_come_back_from_redis_alone(postgres_url: str, redis_url: str, back: str) -> None:
    population.populate(postgres_url, users=200, products=30, activities=3000, orders=900, progress=False)
    migrate(postgres_url, redis_url)
    locked = connections.postgres(postgres_url)  # whoever looked at the original would wait for ever
    locked.cursor().execute(f"LOCK TABLE {', '.join(schema.TABLES)} IN ACCESS EXCLUSIVE MODE")
    before = connections.redis(redis_url).info("persistence")["rdb_changes_since_last_save"]
    result = restore(redis_url, postgres_url, back)
    assert connections.redis(redis_url).info("persistence")["rdb_changes_since_last_save"] == before
    locked.close()
    assert differences(postgres_url, back) == []
    assert result["rows"] == {"users": 200, "products": 30, "activities": 3000, "orders": 900}
    assert result["warnings"] == []
    assert result["schema"] == back
    assert result["rows_per_second"] > 0 and result["seconds"] > 0 and result["peak_rss_mb"] > 0
    assert form(postgres_url, back) == form(postgres_url)
    added = f"INSERT INTO {quoted(back)}.orders (user_id) VALUES (1) RETURNING order_id"
    assert ask(postgres_url, added) == [(901,)]
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        ask(postgres_url, f"INSERT INTO {quoted(back)}.orders (user_id) VALUES (9999)")
    assert "3,000 activities" in "\n".join(restoration.describe(result))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | NASTY, st.none() | NASTY, st.none() | DATES, st.none() | PRICES, st.integers(*ENDS)
        ),
        min_size=1,
        max_size=25,
        unique_by=lambda row: row[4],
    ),
    st.integers(1, 30),
)
def test_hostile_values_come_back(
    postgres_url: str, redis_url: str, back: str, values: list[tuple[Any, ...]], window: int
) -> None:
    with session(postgres_url) as connection, connection.cursor() as cursor:
        schema.drop(connection)
        schema.create(connection)
        cursor.execute(
            "ALTER TABLE users DROP CONSTRAINT users_username_key, DROP CONSTRAINT users_email_key"
        )
        for a, b, date, price, n in values:
            cursor.execute("INSERT INTO users VALUES (%s, %s, %s, %s)", (n, a, b, date))
            cursor.execute("INSERT INTO products VALUES (%s, %s, %s)", (n, b and b * 2, price))
        for k, (a, b, date, price, n) in enumerate(values):
            user = None if price == "NaN" else values[k % 2 % len(values)][4]
            for more in range(3):  # several in the same microsecond
                row = (n ^ more << 8, user, a if more else b, date)
                cursor.execute("INSERT INTO activities VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING", row)
            order = (n, user, n if b else None, date, n)
            cursor.execute("INSERT INTO orders VALUES (%s, %s, %s, %s, %s)", order)
    apart = rejects(migrate(postgres_url, redis_url, flushdb=True))
    drop(postgres_url, back)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_rows, "MOST_ROWS", window)
        result = restore(redis_url, postgres_url, back)
    assert differences(postgres_url, back, apart) == []
    assert not any("do not fit" in warning for warning in result["warnings"])


def test_what_a_wider_source_held_comes_back(postgres_url: str, redis_url: str, back: str) -> None:
    ask(
        postgres_url,
        """
        CREATE TABLE users (user_id bigint PRIMARY KEY, username text, email text, created_at timestamp);
        CREATE TABLE products (product_id smallint PRIMARY KEY, product_name text, price numeric);
        CREATE TABLE activities (activity_id bigint PRIMARY KEY, user_id bigint, activity_type text,
          activity_date timestamp(3));
        CREATE TABLE orders (order_id bigint PRIMARY KEY, user_id bigint, product_id int, quantity bigint,
          order_date timestamp);
        INSERT INTO users VALUES (1, 'a', 'b', now()), (9223372036854775807, repeat('ü', 51), NULL, now()),
          (-9223372036854775808, repeat('x', 50) || ' ', repeat('y', 3000), NULL);
        INSERT INTO products VALUES (1, 'a', 19.9), (2, repeat('z', 100001), 19.9000), (3, 'c', 1e40),
          (4, 'd', 'Infinity'), (5, 'e', '-Infinity'), (6, 'f', 'NaN'), (7, 'g', 1e-30), (8, 'h', 7);
        INSERT INTO activities SELECT 3000000000 + n, 9223372036854775807, repeat('t', 60 + n), now()
          FROM generate_series(1, 5) n;
        INSERT INTO orders VALUES (3000000000, -9223372036854775808, 1, 3000000001, now()),
          (2, 1, 2, 1, NULL);
        """,
    )
    migrate(postgres_url, redis_url)
    result = restore(redis_url, postgres_url, back)
    assert differences(postgres_url, back) == []
    assert result["warnings"] == []
    assert form(postgres_url, back) == form(postgres_url)


@pytest.mark.parametrize("year", [2026, 9998])
def test_more_equal_scores_than_a_window_holds(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    """Redis orders equal scores by the text of the member: 10 before 2, and -1 before -10."""
    ask(
        source,
        f"""
        INSERT INTO activities SELECT 37 * (n - 500), 4, (ARRAY['a', 'b:c', ''])[1 + n % 3],
          timestamp '{year}-01-01' FROM generate_series(1, 1000) n WHERE n <> 500;
        INSERT INTO activities SELECT 100000 + n, 4, 'later', timestamp '{year}-01-01' + n * interval '1 us'
          FROM generate_series(1, 300) n;
        INSERT INTO activities SELECT 200001 - n, 5, 'reverse', timestamp '{year}-01-01' + n * interval '1 ms'
          FROM generate_series(1, 300) n;
        """,
    )
    moved = migrate(source, redis_url)
    monkeypatch.setattr(stored_rows, "MOST_ROWS", 64)
    result = restore(redis_url, source, back)
    assert differences(source, back, rejects(moved)) == []
    assert result["rows"]["activities"] == 30 + 999 + 600


def test_rejected_rows_are_missing_and_nothing_else(source: str, redis_url: str, back: str) -> None:
    ask(
        source,
        "INSERT INTO users VALUES (50, NULL, NULL, NULL), (51, 'x', 'y', 'infinity');"
        "INSERT INTO orders VALUES (60, 50, 1, now(), 1), (61, NULL, NULL, NULL, NULL), "
        "(62, NULL, 1, NULL, 2);"
        "INSERT INTO activities VALUES (70, 51, 'login', now()), (71, 1, NULL, now()), (72, 50, 'a', now())",
    )
    moved = migrate(source, redis_url)
    words = ["restore", "--source", redis_url, "--target", source, "--schema", back]
    assert cli.main(words) == 1
    apart = rejects(moved)
    assert apart == {"users": {50, 51}, "products": set(), "activities": {71}, "orders": {61}}
    assert differences(source, back, apart) == []
    drop(source, back)
    warnings = restore(redis_url, source, back)["warnings"]
    assert any("4 rows" in w and "2 of users" in w and "reject file" in w for w in warnings)
    (remedy,) = [w.partition("then ")[2] for w in warnings if "orders_user_id_fkey" in w]
    assert "VALIDATE CONSTRAINT" in remedy
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):  # new rows are looked at
        ask(source, f"INSERT INTO {quoted(back)}.orders VALUES (90, 77, 1, now(), 1)")
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        ask(source, remedy)
    ask(source, f"INSERT INTO {quoted(back)}.users VALUES (50, NULL, NULL, NULL), (51, 'x', 'y', 'infinity')")
    ask(source, remedy)


def test_a_unique_key_that_does_not_hold_is_left_off(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url)
    for user in (1, 2):
        connections.redis(redis_url).hset(f"user:{user}", "email", "one")
    (warning,) = restore(redis_url, source, back)["warnings"]
    assert "users_email_key is left off" in warning and "(one)" in warning
    (remedy,) = re.findall("ALTER TABLE.*", warning)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask(source, remedy)
    ask(source, f"UPDATE {quoted(back)}.users SET email = NULL WHERE user_id < 3")
    ask(source, remedy)


def test_a_unique_key_that_the_source_had_not_is_not_made(source: str, redis_url: str, back: str) -> None:
    ask(
        source,
        "ALTER TABLE users DROP CONSTRAINT users_email_key; UPDATE users SET email = 'one' WHERE user_id < 3",
    )
    migrate(source, redis_url)
    assert restore(redis_url, source, back)["warnings"] == []
    assert differences(source, back) == []
    assert form(source, back) == form(source)


def test_a_key_that_scan_gives_twice_is_one_row(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    scan = keyspace.scan
    monkeypatch.setattr(keyspace, "scan", lambda *a: (found for _ in range(2) for found in scan(*a)))
    assert restore(redis_url, source, back)["warnings"] == []
    assert differences(source, back) == []


def test_prefixes_lie_side_by_side(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url, prefix="a*:")
    ask(source, "DELETE FROM orders; UPDATE users SET username = 'other' WHERE user_id = 1")
    migrate(source, redis_url, prefix="ab:")
    connections.redis(redis_url).set("user:1:cart", "theirs")
    assert restore(redis_url, source, back, prefix="ab:")["warnings"] == []
    assert differences(source, back) == []
    drop(source, back)
    assert restore(redis_url, source, back, prefix="a*:")["rows"]["orders"] == 12
    with pytest.raises(HelpersError, match="no migration was recorded"):
        restore(redis_url, source, back)


def test_an_older_load_caught_up_comes_back(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url)
    ask(
        source,
        "DELETE FROM orders WHERE order_id < 4; UPDATE users SET email = NULL WHERE user_id = 1;"
        "UPDATE activities SET user_id = 5 WHERE activity_id % 2 = 0; INSERT INTO users VALUES (9, 'new')",
    )
    migrate(source, redis_url)
    assert restore(redis_url, source, back)["warnings"] == []
    assert differences(source, back) == []


# -- what Redis holds is not what was written

DAMAGE: dict[str, tuple[Callable[[redis.Redis], Any], str]] = {
    "not a date": (
        lambda r: r.hset("user:1", "created_at", "yesterday"),
        r"user:1 created_at 'yesterday' .*date",
    ),
    "lenient date": (lambda r: r.hset("user:1", "created_at", "now"), "user:1 created_at 'now'"),
    "hour 24": (
        lambda r: r.hset("order:2", "order_date", "2026-01-01T24:00:00.000000"),
        "order:2 order_date",
    ),
    "no such day": (
        lambda r: r.hset("order:2", "order_date", "2026-02-30T00:00:00.000000"),
        "order:2 order_date",
    ),
    "year 0": (lambda r: r.hset("order:2", "order_date", "0000-01-01T00:00:00.000000"), "order:2 order_date"),
    "not a number": (lambda r: r.hset("order:2", "quantity", "many"), "order:2 quantity 'many'"),
    "blank in a number": (lambda r: r.hset("order:2", "quantity", " 1"), "order:2 quantity"),
    "too large": (lambda r: r.hset("order:2", "user_id", 2**63), "order:2 user_id"),
    "price": (lambda r: r.hset("product:3", "price", "1e3"), "product:3 price '1e3'"),
    "empty price": (lambda r: r.hset("product:3", "price", ""), "product:3 price ''"),
    "not UTF-8": (lambda r: r.hset("user:4", "email", b"\xff\n"), "user:4 email .*UTF8"),
    "NUL": (lambda r: r.hset("user:4", "email", b"a\0b"), "user:4 email .*UTF8"),
    "type not UTF-8": (
        lambda r: (
            r.rpush("user:1:activities", b"\xff:2030-01-01T00:00:00.000000"),
            r.zadd("user:1:activities:by_time", {b"77:\xff": 1893456000000000}),
        ),
        "user:1:activities activity_type .*UTF8",
    ),
    "no field of ours": (
        lambda r: (r.delete("user:6"), r.hset("user:6", "phone", 1)),
        "user:6 holds none of",
    ),
    "hash as string": (lambda r: r.set("user:1", "x"), "user:1 is a string, not a hash"),
    "list as string": (
        lambda r: r.set("user:1:activities", "x"),
        "user:1:activities is a string, not a list",
    ),
    "set as list": (
        lambda r: (r.delete("user:1:activities:by_time"), r.rpush("user:1:activities:by_time", "x")),
        "user:1:activities:by_time is a list, not a sorted set",
    ),
    "no list": (lambda r: r.delete("user:1:activities"), "user:1:activities holds 0 elements.* 10 members"),
    "no sorted set": (lambda r: r.delete("user:2:activities:by_time"), "user:2:activities holds 10 elements"),
    "extra element": (lambda r: r.rpush("user:1:activities", "x"), "11 elements.*10 members"),
    "element without a date": (
        lambda r: r.lset("user:1:activities", 3, "x"),
        "user:1:activities element 3 'x'",
    ),
    "no day in an element": (
        lambda r: r.lset("user:1:activities", 2, "a:b:2026-02-30T00:00:00.000000"),
        "user:1:activities element 2 '2026-02-30",
    ),
    "another type": (lambda r: _change(r, "user:1:activities", 2, b"logout:"), "user:1:activities element 2"),
    "swapped": (lambda r: swap(r, "user:1:activities"), "user:1:activities element 0.*does not fit"),
    "score": (
        lambda r: r.zincrby("user:1:activities:by_time", 1, "3:a:b"),
        "element 0.*does not fit '3:a:b'",
    ),
    "infinite score": (
        lambda r: r.zadd("user:1:activities:by_time", {"30:login": "inf"}),
        "does not fit '30:login'",
    ),
    "no id": (lambda r: _rename(r, b"x:a:b"), "user:1:activities:by_time member 'x:a:b'"),
    "id with a zero": (lambda r: _rename(r, b"03:a:b"), "user:1:activities:by_time member '03:a:b'"),
    "id of 65 bits": (lambda r: _rename(r, b"9223372036854775808:a:b"), "member '9223372036854775808:a:b'"),
    "id of another": (lambda r: _rename(r, b"4:a:b"), r"activities have one key.*\(activity_id\)=\(4\)"),
    "key of 65 bits": (
        lambda r: r.hset("user:9223372036854775808", "email", "x"),
        "user:9223372036854775808",
    ),
}


def _change(r: Any, key: str, place: int, kind: bytes) -> None:
    r.lset(key, place, kind + r.lindex(key, place)[-26:])


def _rename(r: Any, member: bytes) -> None:
    score = r.zscore("user:1:activities:by_time", "3:a:b")
    r.zrem("user:1:activities:by_time", "3:a:b")
    r.zadd("user:1:activities:by_time", {member: score})


def test_damage_of_every_kind_is_named_and_leaves_nothing(source: str, redis_url: str, back: str) -> None:
    client = connections.redis(redis_url)
    for window in (10_000, 4):
        for name, (damage, message) in DAMAGE.items():
            migrate(source, redis_url, flushdb=True)
            damage(client)
            with (
                pytest.MonkeyPatch.context() as patch,
                pytest.raises(HelpersError, match=message) as caught,
            ):
                patch.setattr(stored_rows, "MOST_ROWS", window)
                restore(redis_url, source, back)
            assert len(str(caught.value).splitlines()) == 1, name
            assert "nothing was written" in str(caught.value), name
            assert not exists(source, back), name


def test_lost_added_and_further_things_are_told(source: str, redis_url: str, back: str) -> None:
    client = connections.redis(redis_url)
    migrate(source, redis_url)
    client.delete("order:3")
    client.hset("user:7", mapping={"username": "new", "phone": "1"})
    client.hset("user:2", mapping={"phone": "2", "fax": "3"})
    warnings = restore(redis_url, source, back)["warnings"]
    assert len(warnings) == 3
    assert any(w.startswith("orders: 11 rows restored, the migration left 12") for w in warnings)
    assert any(w.startswith("users: 7 rows restored, the migration left 6") for w in warnings)
    assert any(w.startswith("users: 3 fields left out") and " of user:" in w for w in warnings)
    assert ask(source, f"SELECT username FROM {quoted(back)}.users WHERE user_id = 7") == [("new",)]
    client.hdel("migration:state", "rows_held")
    drop(source, back)
    assert any("did not record" in w for w in restore(redis_url, source, back)["warnings"])


# -- refused before anything is written


def test_what_is_no_finished_migration_is_refused(source: str, redis_url: str, back: str) -> None:
    client = connections.redis(redis_url)
    with pytest.raises(HelpersError, match="no migration was recorded"):
        restore(redis_url, source, back)
    migrate(source, redis_url)
    for field, value, message in (
        ("status", "loading", "not finished.*loading.*`migrate`"),
        ("format", "99", "another version"),
    ):
        before = client.hget("migration:state", field)
        client.hset("migration:state", field, value)
        with pytest.raises(HelpersError, match=message):
            restore(redis_url, source, back)
        client.hset("migration:state", field, before)
    assert not exists(source, back)


def test_a_migration_under_way_is_refused_and_a_dead_ones_lease_waited_for(
    source: str, redis_url: str, back: str
) -> None:
    migrate(source, redis_url)
    lease = Checkpoint(resp.Connection(redis_url), "")
    lease.acquire()
    client = connections.redis(redis_url)
    client.pexpire("migration:lease", 10**9)  # nobody waits for that
    with pytest.raises(HelpersError, match=r"under way .*this machine"):
        restore(redis_url, source, back)
    lease.release()
    lease.connection.close()

    done, renewals = threading.Event(), itertools.count()
    elsewhere = "a b 1 2"  # another machine's, where only its renewals tell that it lives

    def renew() -> None:
        while not done.wait(0.3):
            client.set("migration:lease", elsewhere, px=10**6 + next(renewals))

    client.set("migration:lease", elsewhere, px=10**6)
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(HelpersError, match=r"under way .*another machine"):
            restore(redis_url, source, back)
    finally:
        done.set()
        thread.join()
    assert next(renewals) < 50, "one renewal is enough"
    client.pexpire("migration:lease", 700)
    assert restore(redis_url, source, back)["warnings"] == []


def test_a_lease_that_never_runs_out_is_not_waited_for_endlessly(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    monkeypatch.setattr(record, "LEASE_MS", 500)
    connections.redis(redis_url).set("migration:lease", "theirs")
    with pytest.raises(HelpersError, match=r"under way \(another program\)"):
        restore(redis_url, source, back)
    assert not exists(source, back)


def test_a_migration_that_its_lease_outlived_is_not_finished(source: str, redis_url: str, back: str) -> None:
    """The state is read once more when nobody holds the lease any longer."""
    migrate(source, redis_url)
    client = connections.redis(redis_url)
    client.set("migration:lease", "a b 1 2", px=1_500)
    begins = threading.Timer(0.5, lambda: client.hset("migration:state", "status", "loading"))
    begins.start()
    with pytest.raises(HelpersError, match="not finished"):
        restore(redis_url, source, back)
    begins.join()
    assert not exists(source, back)


def test_a_migration_that_ran_meanwhile_is_noticed_without_being_told_of_writes(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    client, copy = connections.redis(redis_url), Tables.copy

    def copy_while_others_migrate(self: Tables, piece: Any) -> int:
        client.hset("migration:state", "finished", "later")
        return copy(self, piece)

    monkeypatch.setattr(Tables, "copy", copy_while_others_migrate)
    client.acl_setuser(
        "reader", enabled=True, passwords=["+secret-of-reader"], keys=["*"], commands=["+@all"]
    )
    client.execute_command("ACL", "SETUSER", "reader", "-client|tracking")
    try:
        theirs = re.sub(r"//:[^@]*@", "//reader:secret-of-reader@", redis_url)
        with pytest.raises(HelpersError, match="a migration ran meanwhile"):
            restore(theirs, source, back)
    finally:
        client.acl_deluser("reader")
    assert not exists(source, back)


@pytest.mark.parametrize("window", [4, 10_000])
def test_a_list_that_becomes_shorter_while_it_is_read_is_named(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Whether it is read at once or in windows; and what Redis tells of writes is not needed for it."""
    migrate(source, redis_url)
    client, ask = connections.redis(redis_url), stored_rows.StoredRows.ask

    def shortened(self: stored_rows.StoredRows, type_: str, commands: Any, rows: int = 0) -> list[Any]:
        if type_ == "list" and rows:
            client.ltrim("user:1:activities", 0, 1)
        return ask(self, type_, commands, rows)

    monkeypatch.setattr(stored_rows, "MOST_ROWS", window)
    monkeypatch.setattr(stored_rows.StoredRows, "ask", shortened)
    with pytest.raises(HelpersError, match="user:1:activities became shorter while it was read"):
        restore(redis_url, source, back)
    assert not exists(source, back)


@pytest.mark.parametrize(
    "write",
    [
        lambda r: r.hset("user:1", "email", "late@example.org"),
        lambda r: r.rpush("user:1:activities", "x"),
        lambda r: r.delete("order:1"),
        lambda r: r.hset("migration:state", "finished", "later"),
        lambda r: r.set("migration:lease", "x", px=50),
        lambda r: r.flushdb(),
    ],
)
def test_writes_to_redis_meanwhile_are_noticed(
    source: str,
    redis_url: str,
    back: str,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[redis.Redis], Any],
) -> None:
    migrate(source, redis_url)
    client = connections.redis(redis_url)
    copy = Tables.copy

    def copy_while_others_write(self: Tables, piece: Any) -> int:
        if piece.table.name == "activities":
            write(client)
        return copy(self, piece)

    monkeypatch.setattr(Tables, "copy", copy_while_others_write)
    with pytest.raises(HelpersError, match="changed while it was read"):
        restore(redis_url, source, back)
    assert not exists(source, back)


def test_writes_to_keys_of_others_do_not_matter(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    client = connections.redis(redis_url)
    copy = Tables.copy

    def copy_while_others_write(self: Tables, piece: Any) -> int:
        client.set("user:1:cart", "x")
        client.set("session:1", "x")
        return copy(self, piece)

    monkeypatch.setattr(Tables, "copy", copy_while_others_write)
    assert restore(redis_url, source, back)["warnings"] == []


def test_a_user_who_may_only_read_is_enough(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url)
    admin = connections.redis(redis_url)
    rights = ["+@read", "+@connection", "+info"]
    admin.acl_setuser("reader", enabled=True, passwords=["+secret-of-reader"], keys=["*"], commands=rights)
    try:
        head, _, tail = redis_url.replace("//:", "//reader:").partition("@")
        url = f"{head.rpartition(':')[0]}:secret-of-reader@{tail}"
        assert restore(url, source, back)["warnings"] == []
        assert differences(source, back) == []
        drop(source, back)
        admin.execute_command("ACL", "SETUSER", "reader", "-client|tracking")
        (warning,) = restore(url, source, back)["warnings"]
        assert "does not tell which keys are written" in warning
    finally:
        admin.acl_deluser("reader")


def test_a_read_only_replica_is_enough(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url)
    primary = connections.redis(redis_url).connection_pool.connection_kwargs
    replicaof = f"replicaof 127.0.0.1 {primary['port']}"
    with scratch.redis(f"masterauth {primary['password']}", replicaof) as replica:
        url = f"{replica.url.rpartition('/')[0]}/{primary['db']}"
        client = connections.redis(url)
        until(lambda: client.exists("migration:state"))
        assert restore(url, source, back)["warnings"] == []
    assert differences(source, back) == []


def test_a_schema_that_holds_something_is_refused(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url)
    ask(source, f"CREATE SCHEMA {quoted(back)}")
    restore(redis_url, source, back)
    assert differences(source, back) == []
    with pytest.raises(HelpersError, match="is not empty"):
        restore(redis_url, source, back)
    drop(source, back)
    for content in (
        "VIEW {}.v AS SELECT 1",
        "FUNCTION {}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "TYPE {}.e AS ENUM ()",
    ):
        ask(source, f"CREATE SCHEMA {quoted(back)}; CREATE {content.format(quoted(back))}")
        with pytest.raises(HelpersError, match="is not empty"):
            restore(redis_url, source, back)
        drop(source, back)
    for name in ("", "x" * 64, "a\0b", "\udcff", "pg_back", "pg_catalog", "information_schema", "$user"):
        with pytest.raises(HelpersError) as caught:
            restore(redis_url, source, name)
        assert len(str(caught.value).splitlines()) == 1


def test_swapped_or_wrong_urls_are_told(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    for words, message in (
        ((source, redis_url), "swapped"),
        ((source, source), "--source: restore goes from Redis"),
        ((redis_url, redis_url), "--target: restore goes from Redis"),
        (("host=localhost dbname=x", source), "swapped"),
        (("nonsense", source), "--source"),
        ((redis_url, "mysql://x"), "neither"),
        (("redis://[::1", source), "redis: the URL is malformed"),
        ((redis_url, "postgresql://[::1"), "postgres: the URL is malformed"),
        ((redis_url, "nonsense"), "postgres at"),
        ((redis_url.replace("@127.0.0.1", "x@127.0.0.1"), source), "redis at"),
    ):
        with pytest.raises(HelpersError, match=message) as caught:
            restore(*words, "back")
        assert len(str(caught.value).splitlines()) == 1


def test_a_server_that_goes_away_leaves_nothing(
    source: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    copy = Tables.copy
    cuts: list[Callable[[], Any]] = [
        lambda: connections.redis(redis_url).client_kill_filter(skipme=True),
        lambda: ask(
            source,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'helpers restore'",
        ),
    ]
    for cut in cuts:

        def copy_and_cut(self: Tables, piece: Any, cut: Callable[[], Any] = cut) -> int:
            if piece.table.name == "orders":
                cut()
            return copy(self, piece)

        with monkeypatch.context() as patch, pytest.raises(HelpersError) as caught:
            patch.setattr(Tables, "copy", copy_and_cut)
            restore(redis_url, source, back)
        assert len(str(caught.value).splitlines()) == 1
        assert not exists(source, back)


# -- as a command


def command(redis_url: str, target_url: str, name: str) -> list[str]:
    words = ["restore", "--source", redis_url, "--target", target_url, "--schema", name]
    return [sys.executable, "-m", "helpers", *words]


def test_killed_in_the_middle_leaves_nothing(postgres_url: str, redis_url: str, back: str) -> None:
    population.populate(postgres_url, users=2000, products=50, activities=20_000, orders=4000, progress=False)
    migrate(postgres_url, redis_url)
    chance = random.Random(5)
    connection = connections.postgres(postgres_url)
    connection.autocommit = True
    cursor = connection.cursor()

    def working() -> bool:
        cursor.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = 'helpers restore' "
            "AND xact_start IS NOT NULL"
        )
        return cursor.fetchone() is not None

    kills = 0
    for _ in range(40):  # some come too late
        process = subprocess.Popen(command(redis_url, postgres_url, back), stderr=subprocess.DEVNULL)
        until(lambda: process.poll() is not None or working())  # noqa: B023
        time.sleep(chance.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        killed = process.wait() == -signal.SIGKILL
        kills += killed
        assert not killed or not exists(postgres_url, back)
        if not killed:
            drop(postgres_url, back)
        if kills == 4:
            break
    connection.close()
    assert kills == 4
    assert restore(redis_url, postgres_url, back)["warnings"] == []
    assert differences(postgres_url, back) == []


def test_memory_stays_flat(source: str, redis_url: str, back: str) -> None:
    """One user with many activities of few scores, in a process of its own: its memory must not hold them."""
    peaks = []
    for rows in (1000, 200_000):
        ask(
            source,
            "DELETE FROM activities; INSERT INTO activities SELECT n, 1, 'view_product', "
            f"timestamp '2026-01-01' + n / 50000 * interval '1 s' FROM generate_series(1, {rows}) n",
        )
        migrate(source, redis_url, replace=True)
        words = [*command(redis_url, source, back), "--json"]
        done = subprocess.run(words, capture_output=True, check=True, text=True, env=dict(os.environ))
        result = json.loads(done.stdout)
        assert result["rows"]["activities"] == rows
        assert differences(source, back) == []
        drop(source, back)
        peaks.append(result["peak_rss_mb"])
    assert peaks[1] < 150
    assert peaks[1] < peaks[0] + 30, peaks


def test_long_values_make_small_windows() -> None:
    window = stored_rows.Window()
    for _ in range(20):
        window.saw(window.rows, 100 * window.rows)
    assert window.rows == stored_rows.MOST_ROWS
    window.saw(1000, 1000 << 20)
    assert window.rows == stored_rows.WINDOW_BYTES >> 20
    window.saw(1, 1 << 30)
    assert window.rows == 1


def test_the_command(source: str, redis_url: str, back: str) -> None:
    migrate(source, redis_url)
    done = subprocess.run(
        [*command(redis_url, source, back), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() >= {"rows", "seconds", "rows_per_second", "peak_rss_mb", "schema", "warnings"}
    again = subprocess.run(command(redis_url, source, back), capture_output=True, text=True, check=False)
    assert again.returncode == 2 and len(again.stderr.strip().splitlines()) == 1 and not again.stdout
    with pytest.raises(SystemExit) as caught:
        cli.main(["restore"])
    assert caught.value.code == 2


@pytest.mark.parametrize("end", ["by the client", "by the server"])
def test_a_stream_ends_quietly_when_its_transaction_was_ended(postgres_url: str, end: str) -> None:
    tables = object.__new__(Tables)  # a stream needs nothing but the connection
    with connections.postgres(postgres_url) as tables._connection:
        some = tables._stream("some", "SELECT generate_series(1, 9)", [], lambda: 2)
        assert len(next(some)) == 2
        if end == "by the client":
            tables._connection.rollback()
        else:
            tables._do("ROLLBACK")
        some.close()
