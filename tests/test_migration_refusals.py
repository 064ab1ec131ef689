"""What is not ours is left alone: foreign keys, other sources, other migrations under way."""

import subprocess
import sys
import time

import psutil
import pytest
from migrating import dump, migrate, run_sql

from helpers import connections, resp, schema, verification
from helpers.errors import HelpersError
from helpers.transfer.checkpoint import Checkpoint


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
