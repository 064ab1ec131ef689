"""What a migration brings over, once and again."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from migrating import dump, migrate, run_sql
from proxy import proxy

from helpers import migration
from helpers.errors import HelpersError
from helpers.migration import loading, verification
from helpers.relational import population, redis_model, schema
from helpers.servers import connections
from helpers.source import Source


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
    at = redis_model.microseconds(datetime(2026, 2, 1, 0, 0, 3, 3))
    assert held[b"user:1:activities:by_time"][0] == (b"3:a:b", at)
    assert held[b"user:2:orders"][0][0] == b"1"
    assert {k.split(b":")[0] for k in held} == {b"user", b"product", b"order"}
    lines = "\n".join(migration.describe(result))
    assert "no differences" in lines


def test_what_it_says(source: str, redis_url: str) -> None:
    def said(**options: Any) -> list[str]:
        return migration.describe(migrate(source, redis_url, **options))

    rows = "6 users, 3 products, 30 activities and 12 orders"
    load, needs = said(dry_run=True)
    assert load == f"would load: {rows}" and re.match(r"estimated: [\d.]+ KiB in Redis, [\d.]+ [mµ]s$", needs)
    assert said()[0].startswith(f"read: {rows}; 51 rows loaded now in ")
    assert said(dry_run=True) == [f"would catch up: {rows}"]
    assert said(dry_run=True, replace=True)[0] == "would remove 34 keys"
    again, checked, differences = said()
    assert again == f"read: {rows}; an earlier load was compared with them"
    assert checked.startswith(f"checked: {rows} in ") and differences == "no differences"
    connections.redis(redis_url).hset("user:1", "email", "x")
    result = migrate(source, redis_url, verify=False)
    caught, end = migration.describe(result)[1:]
    assert caught == f"caught up: 1 × altered field, all in {result['caught_up_file']}"
    assert end == "loaded, not verified"
    (found,) = [json.loads(line) for line in Path(result["caught_up_file"]).read_text().splitlines()]
    assert (found["key"], found["expected"], found["actual"]) == ("user:1", "u1@example.org", "x")


def test_batches_of_any_size_give_the_same(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    whole = dump(redis_url)
    for rows in (1, 4, 7):
        assert migrate(source, redis_url, batch_rows=rows, replace=True)["status"] == "verified"
        assert dump(redis_url) == whole


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


def test_rows_committed_behind_the_snapshot_are_not_counted(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as read, nor as rejected, nor where a key is asked about."""
    client = connections.redis(redis_url)
    begin, opened = Source.__init__, 0

    def write_behind(self: Source, *arguments: Any, **options: Any) -> None:
        nonlocal opened
        begin(self, *arguments, **options)
        opened += 1
        run_sql(
            source,
            f"INSERT INTO users VALUES (70 + {opened}, 'late {opened}', NULL, NULL)",
            f"INSERT INTO activities VALUES (700 + {opened}, 1, NULL, '2026-01-01')",
            f"INSERT INTO orders VALUES (70 + {opened}, 1, 1, '2026-01-01', 1)",
        )

    monkeypatch.setattr(Source, "__init__", write_behind)
    rows = {"users": 6, "products": 3, "activities": 30, "orders": 12}
    result = migrate(source, redis_url)
    assert (result["status"], result["caught_up"], result["rows_loaded_now"]) == ("verified", {}, 51)
    assert result["rows_read"] == result["rows_checked"] == rows
    assert result["rejects_by_reason"] == {}
    state = client.hgetall("migration:state")
    assert json.loads(state[b"rows_held"]) == rows
    client.hset("user:72", "username", "late 2")  # as the snapshot's successor will have it
    client.zadd("user:1:orders", {"72": 1})
    found = verification.verify(source, redis_url, progress=False)
    assert found["rows_checked"] == {**rows, "users": 7, "orders": 13}
    extra = {d["field"] or d["key"] for d in found["examples"] if d["problem"].startswith("extra")}
    assert extra == {"user:72", "72"}


REPLY = re.compile(rb"(?<=\n)[+:][^\r]*|^[+:][^\r]*")
MAY_FAIL = (b"CLIENT", b"DEL\r\n$15\r\nmigration:lease", b"AUTH")
"""What a client says of itself, giving the lease back, which runs out anyway, and a greeting, which redis-py
says again: ``test_redis_socket``.
"""


def test_no_error_reply_passes(source: str, redis_url: str) -> None:
    """Every other simple reply, in arrays too, becomes an error once: then a migration never succeeds."""
    run_sql(source, "DELETE FROM activities WHERE activity_id > 4", "DELETE FROM orders WHERE order_id > 2")
    run_sql(source, "DELETE FROM users WHERE user_id > 5", "INSERT INTO users VALUES (9, NULL, NULL, NULL)")
    client = connections.redis(redis_url)
    last, seen, wanted, hit = b"", 0, -1, b""

    def asked(data: bytes) -> bytes:
        nonlocal last
        last = data
        return data

    def answered(data: bytes) -> bytes:
        nonlocal seen, hit
        for found in REPLY.finditer(data):
            if not any(words in last for words in MAY_FAIL):
                seen += 1
                if seen - 1 == wanted:
                    hit = last
                    return data[: found.start()] + b"-ERR injected" + data[found.end() :]
        return data

    with proxy(redis_url, asked=asked, answered=answered) as port:
        url = re.sub(r":\d+/", f":{port}/", redis_url)
        for older_load in (False, True):
            seen, wanted = 0, -1
            client.flushdb()
            for _ in range(1 + older_load):
                seen = 0
                assert migrate(source, url)["status"] == "verified"
            total = seen
            assert total > (25 if older_load else 100)
            for wanted in range(older_load, total, 2):  # noqa: B007
                if not older_load:
                    client.flushdb()
                client.delete("migration:lease")
                client.hset("migration:state", "status", "complete") if older_load else None
                seen, hit = 0, b""
                with pytest.raises(HelpersError, match="injected"):
                    status = migrate(source, url)["status"]
                    pytest.fail(f"{status}, although an answer to {hit!r} was an error")
            wanted = -1


JSON = {
    **dict.fromkeys(("rows_read", "rows_rejected", "rejects_by_reason", "caught_up"), dict),
    **dict.fromkeys(("status", "reject_file", "snapshot", "checkpoint"), str),
    **dict.fromkeys(("load_seconds", "verify_seconds", "rows_per_second", "peak_rss_mb"), float),
    **dict.fromkeys(("rows_loaded_now", "differences"), int),
    "resumed": bool,
    "warnings": list,
}


def test_json_on_the_command_line(source: str, redis_url: str) -> None:
    run_sql(source, "INSERT INTO activities VALUES (99, 1, NULL, '2026-01-01')")
    command = [sys.executable, "-m", "helpers", "migrate", "--json"]
    environment = {**os.environ, "POSTGRES_URL": source, "REDIS_URL": redis_url}
    for status in ("verified", "verified", "loaded, not verified"):
        more = ["--no-verify", "--replace"] if status != "verified" else []
        done = subprocess.run([*command, *more], capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (1, "")  # a row was rejected
        result = json.loads(done.stdout)
        assert result["status"] == status and result["checkpoint"] == "migration:state"
        assert result["rows_read"] == {"users": 6, "products": 3, "activities": 31, "orders": 12}
        assert result["rows_rejected"] == {"users": 0, "products": 0, "activities": 1, "orders": 0}
        assert result["rejects_by_reason"] == {"null_activity_type": 1}
        assert len(Path(result["reject_file"]).read_text().splitlines()) == 1
        for name, kind in JSON.items():
            if more and name in ("verify_seconds", "differences"):
                assert result[name] is None
            else:
                assert isinstance(result[name], kind), name
        assert result["load_seconds"] >= 0 and result["peak_rss_mb"] > 10
        assert (result["rows_per_second"] > 0) == (result["rows_loaded_now"] > 0)


def test_progress_is_shown_to_who_watches(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=500, products=50, activities=30_000, orders=9_000, progress=False)
    command = [sys.executable, "-m", "helpers", "migrate", "--batch-rows", "20"]
    environment = {**os.environ, "POSTGRES_URL": postgres_url, "REDIS_URL": redis_url}
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment) as mover:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal is gone when nobody writes to it any more
            while piece := os.read(master, 1 << 16):
                shown += piece
        assert mover.stdout and b"no differences" in mover.stdout.read()
    os.close(master)
    assert re.search(rb"migrate: +\d+%.*\[\d\d:\d\d<\d\d:\d\d, +[\d.]+k? rows/s\]", shown)


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
