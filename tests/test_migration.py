"""The migration's guarantees, each by a test that fails without it."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_verification import ROWS

from helpers import connections, migration, model, population, resp, schema, verification
from helpers.errors import HelpersError
from helpers.servers import scratch
from helpers.transfer import copytext, loading
from helpers.transfer.checkpoint import Checkpoint
from helpers.transfer.rejects import Rejects
from helpers.transfer.source import Source

NASTY = st.sampled_from(
    [
        "",
        " ",
        "NULL",
        "\\N",
        "\\",
        "a:b:c",
        "\r\n",
        "\t",
        "\x01\x7f",
        "é" * 50,
        "🙂" * 50,
        "$5\r\nhello\r\n",
        "%b",
        "{x}",
    ]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
DATES = st.sampled_from(
    [
        "infinity",
        "-infinity",
        "0044-03-15 00:00:00 BC",
        "10000-01-01",
        "294276-12-31 23:59:59.999999",
        "0001-01-01",
        "9999-12-31 23:59:59.999999",
        "1684-07-28",
        "2255-06-05 23:47:34.740993",
        "2026-01-01 00:00:00.1",
    ]
) | st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)).map(
    lambda d: d.isoformat(" ")
)
PRICES = st.sampled_from(["NaN", "0.00", "-0.01", "99999999.99", "-99999999.99", "19.9"])


def run_sql(url: str, *statements: str) -> None:
    connection = connections.postgres(url)
    with connection:
        for statement in statements:
            connection.cursor().execute(statement)
    connection.close()


@pytest.fixture
def source(postgres_url: str) -> str:
    connection = connections.postgres(postgres_url)
    with connection:
        schema.create(connection)
    connection.close()
    run_sql(postgres_url, ROWS)
    return postgres_url


def migrate(source: str, target: str, **options: Any) -> dict[str, Any]:
    return migration.migrate(source, target, progress=False, **options)


def dump(url: str, but: bytes = b"migration:") -> dict[bytes, Any]:
    """Everything in the database but the bookkeeping."""
    client = connections.redis(url)
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"hash": client.hgetall,
        b"list": lambda k: client.lrange(k, 0, -1),
        b"zset": lambda k: client.zrange(k, 0, -1, withscores=True),
        b"string": client.get,
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter(count=1000) if but not in key}


def test_what_the_seed_asks_for(source: str, redis_url: str) -> None:
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    assert result["rows_read"] == {"users": 6, "products": 3, "activities": 30, "orders": 12}
    assert result["rows_loaded_now"] == 51
    held = dump(redis_url)
    assert held[b"user:1"] == {
        b"username": b"user 1",
        b"email": b"u1@example.org",
        b"created_at": b"2026-01-02T00:00:00.000000",
    }
    assert held[b"product:2"] == {b"name": b"product 2", b"price": b"2.90"}
    assert held[b"order:1"][b"order_date"] == b"2026-03-01T00:01:00.000000"
    assert held[b"user:1:activities"][0] == b"a:b:2026-02-01T00:00:03.000003"
    at = model.microseconds(datetime(2026, 2, 1, 0, 0, 3, 3))
    assert held[b"user:1:activities:by_time"][0] == (b"3:a:b", at)
    assert held[b"user:2:orders"][0][0] == b"1"
    assert {k.split(b":")[0] for k in held} == {b"user", b"product", b"order"}
    lines = "\n".join(migration.describe(result))
    assert "no differences" in lines


def test_batches_of_any_size_give_the_same(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    whole = dump(redis_url)
    for rows in (1, 4, 7):
        assert migrate(source, redis_url, batch_rows=rows, replace=True)["status"] == "verified"
        assert dump(redis_url) == whole


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.none() | NASTY, st.none() | NASTY, st.none() | DATES, st.none() | PRICES),
        min_size=1,
        max_size=25,
    )
)
def test_hostile_values(postgres_url: str, redis_url: str, values: list[tuple[Any, ...]]) -> None:
    connection = connections.postgres(postgres_url)
    with connection, connection.cursor() as cursor:
        schema.drop(connection)
        schema.create(connection)
        cursor.execute(
            "ALTER TABLE users DROP CONSTRAINT users_username_key, DROP CONSTRAINT users_email_key"
        )
        for n, (a, b, date, price) in enumerate(values, 1):
            cursor.execute("INSERT INTO users VALUES (%s, %s, %s, %s)", (n, a, b, date))
            cursor.execute("INSERT INTO products VALUES (%s, %s, %s)", (n, b, price))
            cursor.execute(
                "INSERT INTO activities VALUES (%s, %s, %s, %s)",
                (n, None if price == "NaN" else 1 + n % 2, a, date),
            ) if n > 1 else None
            cursor.execute(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, %s)",
                (n, 1 if a else None, n if b else None, date, n),
            )
    connection.close()
    result = migrate(postgres_url, redis_url, flushdb=True, batch_rows=7)
    assert result["status"] == "verified"
    # An independent count: what the model calls unheld, from the rows as PostgreSQL writes them.
    connection = connections.postgres(postgres_url)
    client = connections.redis(redis_url, decode_responses=True)
    for table in model.TABLES:
        with connection.cursor() as cursor:
            columns = ", ".join(f"{name}::text" for name in model.COLUMNS[table])
            cursor.execute(f"SELECT {columns} FROM {table}")
            rejected = [row for row in cursor.fetchall() if model.reject_reason(table, row)]
            score_order = result["rejects_by_reason"].get("score_order", 0) if table == "activities" else 0
            assert result["rows_rejected"][table] == len(rejected) + score_order
            if table == "activities":
                continue
            ids = {int(row[0]) for row in rejected}
            key = model.COLUMNS[table][0]
            cursor.execute(
                f"SELECT {', '.join(model.COLUMNS[table])} FROM {table} WHERE NOT {key} = ANY(%s)",
                (list(ids),),
            )
            for row in cursor.fetchall():
                again = model.decode_row(table, row[0], client.hgetall(f"{table[:-1]}:{row[0]}"))
                assert [str(value) for value in again] == [str(value) for value in row]
    connection.close()


def test_rejected_rows_are_named_once(source: str, redis_url: str) -> None:
    run_sql(
        source,
        "INSERT INTO activities VALUES (101, NULL, 'login', '2026-01-01'), (102, 1, NULL, '2026-01-01'), "
        "(103, 1, 'x', NULL), "
        "(104, 1, 'x', 'infinity'), (105, 2, 'x', '0044-03-15 BC'), (106, 2, 'x', '20000-01-01')",
        "INSERT INTO users VALUES (50, NULL, NULL, NULL)",
        "INSERT INTO orders VALUES (60, NULL, NULL, NULL, NULL), (61, NULL, 1, NULL, 2)",
        # one microsecond apart in a year whose scores are 32 apart, ids the other way round
        "INSERT INTO activities VALUES (202, 5, 'x', '9998-01-01 00:00:00.000001'), (201, 5, 'x', "
        "'9998-01-01 00:00:00.000002')",
    )
    with pytest.raises(SystemExit) as stopped:
        from helpers import cli

        sys.exit(
            cli.main(["migrate", "--source", source, "--target", redis_url, "--batch-rows", "3", "--json"])
        )
    assert stopped.value.code == 1
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    rows = [json.loads(line) for line in Path(result["reject_file"]).read_text().splitlines()]
    assert {(r["table"], r["key"], r["reason"]) for r in rows} == {
        ("activities", "101", "null_user_id"),
        ("activities", "102", "null_activity_type"),
        ("activities", "103", "null_activity_date"),
        ("activities", "104", "infinite_date"),
        ("activities", "105", "bc_date"),
        ("activities", "106", "year_over_9999"),
        ("activities", "201", "score_order"),
        ("users", "50", "no_field"),
        ("orders", "60", "no_field"),
    }
    assert (
        len(rows) == 9 == sum(result["rows_rejected"].values()) == sum(result["rejects_by_reason"].values())
    )
    assert rows[0]["row"].keys() == set(model.COLUMNS[rows[0]["table"]])
    assert Path(result["reject_file"]).stat().st_mode & 0o777 == 0o600
    held = dump(redis_url)
    assert held[b"order:61"] == {b"product_id": b"1", b"quantity": b"2"}
    assert b"user:50" not in held


def test_the_model_and_the_question_agree_on_rejects(source: str) -> None:
    """The load takes the rows that SQL says the model holds; of each row the model must say the same."""
    run_sql(
        source,
        "INSERT INTO activities VALUES (101, NULL, 'a', '2026-01-01'), (102, 1, NULL, 'infinity'), (103, "
        "1, 'x', '-infinity'), (104, 1, 'x', NULL), (105, 1, 'x', '0001-01-01 BC')",
        "INSERT INTO products VALUES (9, NULL, NULL)",
        "INSERT INTO users VALUES (70, 'u', NULL, '10000-01-01')",
        "INSERT INTO users VALUES (71, 'v', NULL, '9999-12-31 23:59:59.999999')",
        "INSERT INTO orders VALUES (71, NULL, NULL, 'infinity', NULL), (72, NULL, NULL, NULL, NULL)",
    )
    with Source(source) as snapshot:
        asked = Rejects().collect(snapshot).counts
        for table in model.TABLES:
            lines: list[bytes] = []
            snapshot.stream(f"SELECT {', '.join(model.COLUMNS[table])} FROM {table}", lines.append)
            reasons = (model.reject_reason(table, copytext.texts(line)) for line in lines)
            assert asked[table] == Counter(filter(None, reasons))


# -- again and again
# ---------------------------------------------------------------------------------------------


def test_run_again_leaves_nothing_stale(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    run_sql(
        source,
        "UPDATE users SET email = NULL WHERE user_id = 1",
        "UPDATE products SET price = 3.50 WHERE product_id = 1",
        "UPDATE activities SET user_id = 4 WHERE activity_id = 7",
        "UPDATE activities SET activity_date = activity_date + interval '1 day' WHERE activity_id = 5",
        "DELETE FROM activities WHERE user_id = 2",
        "UPDATE orders SET user_id = 6, order_date = order_date - interval '1 h' WHERE order_id = 1",
        "UPDATE orders SET product_id = NULL WHERE order_id = 2",
        "DELETE FROM orders WHERE order_id = 3",
        "DELETE FROM orders WHERE user_id = 5",
        "DELETE FROM users WHERE user_id = 5",
        "INSERT INTO users VALUES (7, 'new', 'new@example.org', NULL)",
        "INSERT INTO activities VALUES (900, 1, 'first', '2020-01-01')",
    )
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    assert result["caught_up"]["extra key"] > 0
    assert result["rows_loaded_now"] == 0
    held = dump(redis_url)
    assert b"email" not in held[b"user:1"]
    assert held[b"user:1:activities"][0] == b"first:2020-01-01T00:00:00.000000"
    assert b"user:2:activities" not in held
    assert b"user:5" not in held
    connections.redis(redis_url).flushdb()
    migrate(source, redis_url)
    assert dump(redis_url) == held
    assert migrate(source, redis_url)["caught_up"] == {}


def test_rows_committed_during_the_load_are_not_half_there(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading.load

    def load_while_others_write(*arguments: Any, **options: Any) -> None:
        run_sql(source, "INSERT INTO users VALUES (8, 'late', 'late@example.org', now())")
        run_sql(source, "INSERT INTO activities VALUES (800, 8, 'login', now())")
        load(*arguments, **options)

    monkeypatch.setattr(loading, "load", load_while_others_write)
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    assert result["rows_read"]["users"] == 6
    assert b"user:8" not in dump(redis_url)
    assert verification.verify(source, redis_url, progress=False)["by_problem"] == {
        "missing key": 3,
    }
    assert migrate(source, redis_url)["rows_read"]["users"] == 7


class Stop(Exception):
    """Stands for a kill, in the middle of a load."""


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    commit = Checkpoint.commit
    left = [batches]

    def limited(self: Checkpoint, *arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Stop
        return commit(self, *arguments, **options)

    monkeypatch.setattr(Checkpoint, "commit", limited)


@pytest.mark.parametrize("batches", [1, 3, 6, 9, 12])
def test_a_source_that_changed_between_two_runs_is_caught_up(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, batches)
        with pytest.raises(Stop):
            migrate(source, redis_url, batch_rows=5)
    connections.redis(redis_url).delete("migration:lease")
    run_sql(
        source,
        "UPDATE users SET email = 'other@example.org' WHERE user_id = 1",
        "INSERT INTO users VALUES (-5, 'early', 'early@example.org', NULL)",
        "UPDATE activities SET user_id = 3 WHERE activity_id IN (3, 6)",
        "DELETE FROM activities WHERE activity_id = 9",
        "INSERT INTO activities VALUES (700, 1, 'first', '2020-01-01')",
        "DELETE FROM orders WHERE order_id < 3",
    )
    result = migrate(source, redis_url, batch_rows=5)
    assert (result["status"], result["resumed"]) == ("verified", True)
    assert result["rows_read"] == {"users": 7, "products": 3, "activities": 30, "orders": 10}
    held = dump(redis_url)
    connections.redis(redis_url).flushdb()
    migrate(source, redis_url)
    assert dump(redis_url) == held


def test_killed_at_random_moments(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=300, products=50, activities=20_000, orders=4_000, progress=False)
    command = [sys.executable, "-m", "helpers", "migrate", "--source", postgres_url, "--target", redis_url]
    command += ["--batch-rows", "200", "--no-verify"]
    chance = random.Random(7)
    client = connections.redis(redis_url, decode_responses=True)
    kills = 0
    for _ in range(8):
        before = client.hgetall("migration:state")
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and client.hgetall("migration:state") == before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.12))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 5
    result = migrate(postgres_url, redis_url, batch_rows=200)
    assert (result["status"], result["differences"]) == ("verified", 0)
    held = dump(redis_url)
    client.flushdb()
    migrate(postgres_url, redis_url)
    assert dump(redis_url) == held


def test_a_server_killed_in_the_middle_is_waited_for(postgres_url: str) -> None:
    population.populate(postgres_url, users=200, products=20, activities=30_000, orders=3_000, progress=False)
    with scratch.redis("appendonly yes", "appendfsync always") as server:
        done = threading.Event()

        def crash() -> None:
            client = connections.redis(server.url)
            while not client.hget("migration:state", "rows:activities"):
                time.sleep(0.001)
            server.kill()
            server.start()
            done.set()

        thread = threading.Thread(target=crash)
        thread.start()
        result = migrate(postgres_url, server.url, batch_rows=100)
        thread.join()
        assert done.is_set()
        assert (result["status"], result["differences"]) == ("verified", 0)


def test_a_lost_source_connection_is_opened_again(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=200, products=20, activities=30_000, orders=3_000, progress=False)
    client = connections.redis(redis_url)

    def cut() -> None:
        while not client.hget("migration:state", "rows:activities"):
            time.sleep(0.001)
        run_sql(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'helpers "
            "migrate' "
            "AND query LIKE 'COPY%'",
        )

    thread = threading.Thread(target=cut)
    thread.start()
    result = migrate(postgres_url, redis_url, batch_rows=100)
    thread.join()
    assert (result["status"], result["differences"]) == ("verified", 0)


# -- not ours
# ----------------------------------------------------------------------------------------------------


def test_foreign_keys_of_the_model_stop_it_before_it_writes(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    client.set("user:5", "theirs")
    before = dump(redis_url, b"\0")
    for options in ({}, {"replace": True}, {"restart": True}, {"dry_run": True}):
        with pytest.raises(HelpersError, match="no migration wrote"):
            migrate(source, redis_url, **options)
        assert dump(redis_url, b"\0") == before
    assert migrate(source, redis_url, prefix="copy:")["status"] == "verified"


def test_other_keys_are_left_alone(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    theirs = {"session:1": "a", "user:01": "b", "user:1:cart": "c", "other:user:1": "d", "users": "e"}
    client.mset(theirs)
    migrate(source, redis_url)
    migrate(source, redis_url, replace=True)
    migrate(source, redis_url, restart=True)
    assert client.mget(*theirs) == [value.encode() for value in theirs.values()]
    migrate(source, redis_url, flushdb=True)
    assert client.mget(*theirs) == [None] * len(theirs)
    assert verification.verify(source, redis_url, progress=False)["differences"] == 0


def test_two_prefixes_side_by_side(source: str, redis_url: str) -> None:
    migrate(source, redis_url, prefix="a*:")
    migrate(source, redis_url, prefix="ab:")
    run_sql(source, "DELETE FROM orders")
    migrate(source, redis_url, prefix="a*:")
    held = dump(redis_url)
    assert b"ab:order:1" in held
    assert b"a*:order:1" not in held


def test_another_source_is_refused_unless_replaced(source: str, redis_url: str, postgres_server: str) -> None:
    migrate(source, redis_url)
    connection = connections.postgres(source)
    other = connections.with_schema(postgres_server, "other_source")
    with connection:
        connection.cursor().execute("CREATE SCHEMA other_source")
    try:
        run_sql(other, *schema.DDL.values(), "INSERT INTO users VALUES (77, 'x', NULL, NULL)")
        with pytest.raises(HelpersError, match="another source") as caught:
            migrate(other, redis_url)
        assert "postgresql://" not in str(caught.value)
        assert migrate(other, redis_url, replace=True)["status"] == "verified"
        assert set(dump(redis_url)) == {b"user:77"}
    finally:
        with connection:
            connection.cursor().execute("DROP SCHEMA other_source CASCADE")
        connection.close()


def test_empty_or_missing_tables_are_refused(postgres_url: str, redis_url: str) -> None:
    with pytest.raises(HelpersError, match="no table users"):
        migrate(postgres_url, redis_url)
    run_sql(postgres_url, *schema.DDL.values())
    with pytest.raises(HelpersError, match="empty"):
        migrate(postgres_url, redis_url)
    run_sql(postgres_url, "ALTER TABLE users ADD phone text")
    with pytest.raises(HelpersError, match="phone"):
        migrate(postgres_url, redis_url)


@pytest.mark.parametrize("options", [{"batch_rows": 0}, {"batch_rows": 10**9}, {"workers": 2}])
def test_bad_options(source: str, redis_url: str, options: dict[str, int]) -> None:
    with pytest.raises(HelpersError):
        migrate(source, redis_url, **options)
    assert dump(redis_url, b"\0") == {}


# -- the lease
# ---------------------------------------------------------------------------------------------------


def test_a_live_migration_is_not_disturbed(source: str, redis_url: str) -> None:
    connection = resp.Connection(redis_url)
    other = Checkpoint(connection, "")
    other.acquire()
    with pytest.raises(HelpersError, match="another migration is under way"):
        migrate(source, redis_url)
    other.release()
    assert migrate(source, redis_url)["status"] == "verified"
    connection.close()


def test_a_dead_ones_lease_is_taken_over(source: str, redis_url: str) -> None:
    connection = resp.Connection(redis_url)
    mine = Checkpoint(connection, "")
    mine.acquire()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    parts = mine.token.split()
    parts[2:4] = [str(gone.pid), f"{psutil.Process(gone.pid).create_time():.2f}"]
    gone.wait()
    connections.redis(redis_url).set("migration:lease", " ".join(parts), px=60_000)
    started = time.monotonic()
    assert migrate(source, redis_url)["status"] == "verified"
    assert time.monotonic() - started < 10
    connection.close()


def test_a_paused_mover_cannot_write_after_its_lease_ran_out(source: str, redis_url: str) -> None:
    slow = Checkpoint(resp.Connection(redis_url), "")
    slow.acquire()
    slow.commit(resp.encode("SET", "session:x", 1), 1)
    client = connections.redis(redis_url)
    client.delete("migration:lease")  # its time is over
    migrate(source, redis_url)
    with pytest.raises(HelpersError, match="lease"):
        slow.commit(resp.encode("SET", "session:x", 2), 1)
    assert client.get("session:x") == b"1"
    slow.connection.close()


# -- limits
# ------------------------------------------------------------------------------------------------------


def test_memory_that_ends_stops_it_and_more_lets_it_go_on(postgres_url: str) -> None:
    population.populate(postgres_url, users=300, products=50, activities=40_000, orders=4_000, progress=False)
    with scratch.redis("appendonly no", "maxmemory-policy noeviction") as server:
        client = connections.redis(server.url)
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used + 2_500_000)
        plan = migrate(postgres_url, server.url, dry_run=True)
        assert any("below maxmemory" in warning for warning in plan["warnings"])
        assert client.dbsize() == 0
        with pytest.raises(HelpersError, match=r"OOM.*rows are in the target"):
            migrate(postgres_url, server.url, batch_rows=500)
        client.config_set("maxmemory", 0)
        result = migrate(postgres_url, server.url, batch_rows=500)
        assert (result["status"], result["resumed"], result["differences"]) == ("verified", True, 0)
        assert any("appendonly" in warning for warning in result["warnings"])
        held = sum(client.memory_usage(key, samples=0) for key in client.scan_iter("[upo]*", count=1000))
        assert 0.5 < plan["memory_bytes"] / held < 2


def test_a_key_of_another_type_in_the_middle_is_no_success(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading.load

    def load_with_interference(*arguments: Any, **options: Any) -> None:
        connections.redis(redis_url).set("user:2:activities", "theirs")
        load(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load", load_with_interference)
        with pytest.raises(HelpersError, match="WRONGTYPE"):
            migrate(source, redis_url)
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    assert result["caught_up"]


def test_a_read_only_replica_is_refused(source: str, redis_url: str) -> None:
    primary = connections.redis(redis_url).connection_pool.connection_kwargs
    with (
        scratch.redis(
            f"masterauth {primary['password']}", f"replicaof 127.0.0.1 {primary['port']}"
        ) as replica,
        pytest.raises(HelpersError, match="replica"),
    ):
        migrate(source, replica.url)


def test_dry_run_writes_nothing(source: str, redis_url: str) -> None:
    result = migrate(source, redis_url, dry_run=True)
    assert result["rows_read"]["activities"] == 30
    assert result["memory_bytes"] > 1000
    assert connections.redis(redis_url).dbsize() == 0
    assert "would load" in "\n".join(migration.describe(result))


def test_memory_stays_flat(postgres_url: str, redis_url: str) -> None:
    """One user with all activities, in a process of its own: its memory must not hold them."""
    run_sql(
        postgres_url,
        *schema.DDL.values(),
        "INSERT INTO users VALUES (1, 'a', NULL, NULL)",
        "INSERT INTO activities SELECT n, 1, 'view_product', timestamp '2026-01-01' + n * interval '1 s' "
        "FROM generate_series(1, 150000) n",
    )
    command = [
        sys.executable,
        "-m",
        "helpers",
        "migrate",
        "--source",
        postgres_url,
        "--target",
        redis_url,
        "--json",
    ]
    answer = subprocess.run(command, capture_output=True, check=True, text=True, env=dict(os.environ))
    result = json.loads(answer.stdout)
    assert result["status"] == "verified"
    assert result["peak_rss_mb"] < 150
    assert connections.redis(redis_url).llen("user:1:activities") == 150_000


def test_no_password_in_any_message(source: str, redis_url: str) -> None:
    secret = connections.redis(redis_url).connection_pool.connection_kwargs["password"]
    with pytest.raises(HelpersError) as caught:
        migrate(source, redis_url.replace(secret, "wrong-secret"))
    assert "wrong-secret" not in str(caught.value)
    with pytest.raises(HelpersError) as caught:
        migrate(psycopg2.extensions.make_dsn(source, password="wrong-secret"), redis_url)
    assert "wrong-secret" not in str(caught.value)
