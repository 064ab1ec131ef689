"""What is not ours is left alone: foreign keys, other sources, other migrations under way."""

import json
import re
import subprocess
import sys
import threading
import time

import bound
import pytest
from migrating import dump, migrate, run_sql

from helpers.columns import column_of
from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.model import KeyKind
from helpers.relational import population, schema
from helpers.servers import connections
from helpers.target import resp
from helpers.target.checkpoint import Checkpoint

PLAN = bound.course("a*:")


def test_foreign_keys_of_the_model_stop_it_before_it_writes(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    client.set("user:5", "theirs")
    before = dump(redis_url, b"\0")
    for options in ({}, {"replace": True}, {"restart": True}, {"dry_run": True}):
        with pytest.raises(HelpersError, match="no migration wrote"):
            migrate(source, redis_url, **options)
        assert dump(redis_url, b"\0") == before
    assert migrate(source, redis_url, prefix="copy:")["status"] == "verified"


@pytest.mark.parametrize("kind", PLAN.kinds, ids=lambda kind: kind.name)
@pytest.mark.parametrize("number", [1, 0, -5, 2**63 - 1])
def test_a_foreign_key_of_every_kind_is_seen(source: str, redis_url: str, kind: KeyKind, number: int) -> None:
    client = connections.redis(redis_url)
    key = PLAN.key_of(kind, [b"%d" % number]).decode()
    write = {"hash": client.hset, "list": client.rpush, "zset": client.zadd}[kind.type]
    write(key, {"x": 1}) if write == client.zadd else write(key, *("x", "y"))
    before = dump(redis_url, b"\0")
    for options in ({}, {"replace": True}):
        with pytest.raises(HelpersError, match=re.escape(key)):
            migrate(source, redis_url, prefix="a*:", **options)
    assert dump(redis_url, b"\0") == before
    assert migrate(source, redis_url, prefix="ab:")["status"] == "verified"


def test_bookkeeping_that_is_not_ours_is_refused(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    client.set("migration:state", "theirs")
    with pytest.raises(HelpersError, match="migration:state is no hash, so another program wrote it"):
        migrate(source, redis_url)
    client.delete("migration:state")
    client.hset("migration:state", "theirs", "1")
    with pytest.raises(HelpersError, match="migration:state is of format None"):
        migrate(source, redis_url, replace=True)
    assert client.hgetall("migration:state") == {b"theirs": b"1"}


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


def test_a_column_that_no_key_holds_is_told(source: str, redis_url: str) -> None:
    run_sql(source, "ALTER TABLE users ADD phone text; UPDATE users SET phone = '1'")
    told = "users cannot be restored from Redis: no key holds phone"
    assert told in migrate(source, redis_url, dry_run=True)["warnings"]
    result = migrate(source, redis_url)
    assert (result["status"], told in result["warnings"]) == ("verified", True)
    assert b"phone" not in dump(redis_url)[b"user:1"]


@pytest.mark.parametrize(
    "options", [{"batch_rows": 0}, {"batch_rows": 10**9}, {"workers": 0}, {"workers": 65}]
)
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
    code = f"""
from helpers.target import Checkpoint, resp
Checkpoint(resp.Connection({redis_url!r}), "").acquire()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    connections.redis(redis_url).pexpire("migration:lease", 10**9)  # nobody waits for that
    assert migrate(source, redis_url)["status"] == "verified"


def test_a_lease_of_another_machine_runs_out_or_is_renewed(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    elsewhere = "0123456789abcdef ffffffffffffffff 1 1"
    client.set("migration:lease", elsewhere, px=1500)
    started = time.monotonic()
    assert migrate(source, redis_url)["status"] == "verified"
    assert time.monotonic() - started > 1
    over = threading.Event()

    def renew() -> None:
        while not over.wait(0.3):
            client.set("migration:lease", elsewhere, px=15_000)

    client.set("migration:lease", elsewhere, px=15_000)
    renewals = threading.Thread(target=renew)
    renewals.start()
    try:
        with pytest.raises(
            HelpersError, match=r"under way \(process 1 of another machine; .* runs out in 1\d s"
        ):
            migrate(source, redis_url)
    finally:
        over.set()
        renewals.join()


@pytest.mark.slow
def test_of_movers_that_start_together_one_writes(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=100, products=20, activities=6_000, orders=500, progress=False)
    command = [sys.executable, "-m", "helpers", "migrate", "--source", postgres_url, "--target", redis_url]
    movers = [
        subprocess.Popen(
            [*command, "--batch-rows", "5", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = [mover.communicate() for mover in movers]
    codes = [mover.returncode for mover in movers]
    assert set(codes) <= {0, 2} and 0 in codes and 2 in codes
    loaded = [json.loads(out)["rows_loaded_now"] for out, _ in said if out]
    assert sorted(loaded)[-1] == 6_620 and sum(loaded) == 6_620  # who came later found it done
    for (_, err), code in zip(said, codes, strict=True):
        assert code == 0 or re.search(r"another migration is under way \(process \d+ of this machine; ", err)
    assert verification.verify(postgres_url, redis_url, progress=False)["differences"] == 0


def test_a_migration_of_another_source_that_was_quicker_is_not_overwritten(
    source: str, redis_url: str, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at an empty target and the lease another migration comes and goes."""
    acquire = Checkpoint.acquire
    run_sql(source, "CREATE SCHEMA quicker")
    other = connections.with_schema(postgres_server, "quicker")
    try:
        run_sql(other, *schema.DDL.values(), "INSERT INTO users VALUES (77, 'x', NULL, NULL)")

        def late(self: Checkpoint, run: str | None = None) -> None:
            monkeypatch.setattr(Checkpoint, "acquire", acquire)
            migrate(other, redis_url)
            acquire(self, run)

        monkeypatch.setattr(Checkpoint, "acquire", late)
        with pytest.raises(HelpersError, match="another source"):
            migrate(source, redis_url)
        assert set(dump(redis_url)) == {b"user:77"}
        assert not connections.redis(redis_url).exists("migration:lease")
    finally:
        run_sql(source, "DROP SCHEMA quicker CASCADE")


def test_a_paused_mover_cannot_write_after_its_lease_ran_out(source: str, redis_url: str) -> None:
    slow = Checkpoint(resp.Connection(redis_url), "")
    slow.acquire()
    slow.commit(column_of(resp.encode("SET", "session:x", 1)))
    client = connections.redis(redis_url)
    client.delete("migration:lease")  # its time is over
    migrate(source, redis_url)
    with pytest.raises(HelpersError, match="lease"):
        slow.commit(column_of(resp.encode("SET", "session:x", 2)))
    assert client.get("session:x") == b"1"
    slow.connection.close()
