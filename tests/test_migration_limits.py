"""Limits of the target and of its user are told before the first write, or stop the load cleanly."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bound
import pytest
from migrating import dump, migrate, run_sql, until

from helpers import migration
from helpers.errors import HelpersError
from helpers.migration import loading, verification
from helpers.relational import population, schema
from helpers.servers import connections, scratch
from helpers.target import rehearsal

RIGHTS = sorted(
    {str(words[0]) for words in rehearsal.commands(bound.course())} | {*rehearsal.AROUND, "MEMORY|USAGE"}
)


@pytest.mark.slow
def test_memory_that_ends_stops_it_and_more_lets_it_go_on(postgres_url: str) -> None:
    population.populate(postgres_url, users=300, products=50, activities=40_000, orders=4_000, progress=False)
    with scratch.redis("appendonly no") as server:
        client = connections.redis(server.url)
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used + 2_500_000)
        plan = migrate(postgres_url, server.url, dry_run=True)
        assert any("below maxmemory" in warning for warning in plan["warnings"])
        assert client.dbsize() == 0
        with pytest.raises(HelpersError, match=r"OOM.*; [\d,]+ of 44,350 rows are in the target") as caught:
            migrate(postgres_url, server.url, batch_rows=500)
        done = int(client.hget("migration:state", "rows:orders") or 0)
        assert done > 0
        needed = re.search(r"about ([\d.]+) MiB are needed .* set it to (\d+) or more$", str(caught.value))
        assert needed and 0 < float(needed[1]) * 2**20 < plan["memory_bytes"]
        client.config_set("maxmemory", needed[2])
        result = migrate(postgres_url, server.url, batch_rows=500)
        assert (result["status"], result["resumed"], result["differences"]) == ("verified", True, 0)
        assert result["rows_loaded_now"] < 44_350
        assert any("appendonly" in warning for warning in result["warnings"])
        held = client.info("memory")["used_memory"] - used
        assert 0.75 < plan["memory_bytes"] / held < 1.33


USERS = "INSERT INTO users SELECT n, 'u' || n, 'e' || n, '2026-01-01' FROM generate_series(1, 20000) n"
PRODUCTS = "INSERT INTO products SELECT n, 'p' || n, 1 FROM generate_series(1, 2001) n"
UNEVEN = {
    "a product with most of the orders": "INSERT INTO orders SELECT n, 1 + n % 5000, "
    "CASE WHEN n <= 50000 THEN 1 ELSE 2 + n % 2000 END, '2026-02-01', 1 FROM generate_series(1, 60000) n",
    "users with most of the activities": "INSERT INTO activities SELECT n, "
    "CASE WHEN n <= 90000 THEN 1 + n % 6 ELSE 7 + n % 19000 END, 'click', timestamp '2026-02-01' + "
    "n * interval '1 s' FROM generate_series(1, 120000) n",
}
"""Rows most of which are in few keys, while most keys have few of them."""


@pytest.mark.slow
@pytest.mark.parametrize("rows", UNEVEN.values(), ids=UNEVEN)
def test_memory_is_forecast_of_few_large_keys_among_many_small_ones(postgres_url: str, rows: str) -> None:
    connection = connections.postgres(postgres_url)
    schema.create(connection)
    connection.commit()
    connection.close()
    run_sql(postgres_url, USERS, PRODUCTS, rows, "ANALYZE")
    with scratch.redis("appendonly no", 'save ""') as server:
        client = connections.redis(server.url)
        used = client.info("memory")["used_memory"]
        forecast = migrate(postgres_url, server.url, dry_run=True)["memory_bytes"]
        migrate(postgres_url, server.url, verify=False)
        assert 0.9 < forecast / (client.info("memory")["used_memory"] - used) < 1.1


def test_the_sample_is_seen_by_nobody(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url, decode_responses=True)
    with client.monitor() as monitor:
        assert migrate(source, redis_url, dry_run=True)["memory_bytes"] > 1000
        client.ping()
        inside = False
        outside: set[str] = set()
        for line in monitor.listen():
            name = line["command"].split()[0].upper()
            if name == "PING" and outside:
                break
            inside = (inside or name == "MULTI") and name not in ("EXEC", "DISCARD")
            if not inside:
                outside.add(name)
    assert outside <= {"CLIENT", "SELECT", "AUTH", "PING", "ECHO", "INFO", "SCAN", "HGETALL", "WATCH"} | {
        "UNWATCH",
        "EXEC",
        "DISCARD",
    }
    assert client.dbsize() == 0


def test_a_dry_run_writes_nothing(source: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    client.set("session:1", "theirs")
    result = migrate(source, redis_url, dry_run=True)
    assert result["rows_read"]["activities"] == 30
    assert result["would"] == "load" and result["would_remove"] == 0
    assert "would load" in "\n".join(migration.describe(result))
    assert client.dbsize() == 1
    migrate(source, redis_url)
    before = dump(redis_url, b"\0")
    for options, would, keys in (
        ({}, "catch up", 0),
        ({"flushdb": True}, "load", client.dbsize()),
        ({"replace": True}, "load", client.dbsize() - 2),
        ({"restart": True}, "load", client.dbsize() - 2),
    ):
        result = migrate(source, redis_url, dry_run=True, **options)
        assert (result["would"], result["would_remove"]) == (would, keys)
        assert dump(redis_url, b"\0") == before


def test_an_eviction_policy_is_warned_about_before_the_load(
    source: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    load = loading.load

    def listen(*arguments: Any, **options: Any) -> None:
        said.append(capsys.readouterr().err)
        load(*arguments, **options)

    monkeypatch.setattr(loading, "load", listen)
    with scratch.redis("appendonly no", "maxmemory-policy allkeys-lru") as server:
        result = migration.migrate(source, server.url)
        assert "warning: maxmemory-policy is allkeys-lru" in said[0]
        assert "warning: appendonly is no" in said[0]
        assert result["warnings"] == [line.removeprefix("warning: ") for line in said[0].splitlines()]
        assert "warning" not in "\n".join(migration.describe(result))
        connections.redis(server.url).config_set("maxmemory-policy", "volatile-ttl")
        plan = migrate(source, server.url, dry_run=True)
        assert "warning: maxmemory-policy is volatile-ttl" in "\n".join(migration.describe(plan))


@pytest.mark.parametrize("kind", ["yes", "no"])
def test_a_replica_is_refused(source: str, redis_url: str, kind: str) -> None:
    primary = connections.redis(redis_url).connection_pool.connection_kwargs
    with (
        scratch.redis(
            f"masterauth {primary['password']}",
            f"replicaof 127.0.0.1 {primary['port']}",
            f"replica-read-only {kind}",
        ) as replica,
        pytest.raises(HelpersError, match="replica, which keeps only what its primary sends"),
    ):
        migrate(source, replica.url)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (["min-replicas-to-write 1"], r"NOREPLICAS.*min-replicas-to-write"),
        (["save 3600 1", "dbfilename broken"], r"MISCONF.*; repair that"),
        (["maxmemory 1000"], r"OOM.*; raise maxmemory"),
    ],
)
def test_what_the_target_would_refuse_is_known_before_the_first_write(
    source: str, configuration: list[str], said: str
) -> None:
    with scratch.redis(*configuration) as server:
        client = connections.redis(server.url)
        if "dbfilename broken" in configuration:
            (Path(server.folder) / "data" / "broken").mkdir()
            client.bgsave()
            until(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok")
        for options in ({}, {"dry_run": True}):
            with pytest.raises(HelpersError, match=said) as caught:
                migrate(source, server.url, **options)
            assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
        assert client.dbsize() == 0


@pytest.mark.slow
def test_a_target_that_reads_its_data_is_to_be_waited_for(source: str) -> None:
    with scratch.redis(
        "enable-debug-command yes", "key-load-delay 10000", "loading-process-events-interval-bytes 1024"
    ) as server:
        client = connections.redis(server.url)
        client.mset({f"x{i}": "y" * 100 for i in range(1000)})
        patient = connections.redis(server.url, socket_timeout=300)
        reload = threading.Thread(target=lambda: patient.execute_command("DEBUG", "RELOAD"))
        reload.start()
        until(lambda: client.info("persistence")["loading"])
        with pytest.raises(HelpersError, match=r"loading the dataset.*; wait until it has read its data"):
            migrate(source, server.url)
        client.config_set("key-load-delay", 0)
        reload.join()


def test_a_target_without_room_for_a_connection(source: str) -> None:
    with scratch.redis("maxclients 2") as server:
        held = [connections.redis(server.url) for _ in range(2)]
        with pytest.raises(HelpersError, match=r"max number of clients reached; raise maxclients"):
            migrate(source, server.url)
        for client in held:
            client.close()


# -- rights


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with scratch.redis("appendonly no") as server:
        yield server.url


def as_mover(url: str, *rules: str) -> str:
    """The URL of a user ``mover`` with such rights in an emptied Redis."""
    client = connections.redis(url)
    client.flushall()
    client.execute_command("ACL", "DELUSER", "mover")
    client.execute_command("ACL", "SETUSER", "mover", "on", ">pass of mover", *rules)
    head, _, tail = url.partition("://:")
    return f"{head}://mover:pass%20of%20mover@{tail.partition('@')[2]}"


def test_the_rights_that_it_asks_for_are_enough_for_everything(source: str, guarded: str) -> None:
    rights = [f"+{name.lower()}" for name in RIGHTS] + ["~shop:user:*", "~shop:product:*", "~shop:order:*"]
    url = as_mover(guarded, *rights, "~shop:migration:*")
    assert migrate(source, url, prefix="shop:", dry_run=True)["memory_bytes"]
    assert migrate(source, url, prefix="shop:")["status"] == "verified"
    client = connections.redis(guarded)
    client.hset("shop:user:1", "email", "x")
    client.hset("shop:user:99", "email", "x")
    client.rpush("shop:user:1:activities", "x")
    client.lset("shop:user:2:activities", 0, "x")
    client.zadd("shop:user:1:orders", {"99": 1})
    client.set("shop:user:3", "x")
    run_sql(source, "DELETE FROM activities WHERE user_id = 1 AND activity_id > 9", "DELETE FROM orders")
    assert migrate(source, url, prefix="shop:")["caught_up"]
    assert migrate(source, url, prefix="shop:", replace=True)["status"] == "verified"
    assert verification.verify(source, url, prefix="shop:", progress=False)["differences"] == 0
    with pytest.raises(HelpersError, match="mover may not run FLUSHDB"):
        migrate(source, url, prefix="shop:", flushdb=True)
    assert migrate(source, as_mover(guarded, *rights, "~*", "+flushdb"), flushdb=True)["differences"] == 0


@pytest.mark.parametrize("name", [name for name in RIGHTS if name != "UNWATCH"])
def test_each_right_that_is_missing_is_named_before_the_first_write(
    source: str, guarded: str, name: str
) -> None:
    url = as_mover(guarded, "~*", "+@all", f"-{name.lower()}")
    if name == "MEMORY|USAGE":  # only estimates need it
        assert migrate(source, url, dry_run=True)["memory_bytes"] is None
        assert migrate(source, url)["status"] == "verified"
        return
    with pytest.raises(HelpersError) as caught:
        migrate(source, url)
    said = str(caught.value)
    assert name.lower() in said.lower() and "ACL SETUSER" in said
    assert "pass of mover" not in said and "\n" not in said
    assert connections.redis(guarded).dbsize() == 0


def test_all_that_is_missing_is_named_at_once(source: str, guarded: str) -> None:
    url = as_mover(guarded, "+@all", "-rpush", "-zadd", "~shop:migration:*", "~shop:user:*", "%R~*")
    with pytest.raises(HelpersError) as caught:
        migrate(source, url, prefix="shop:")
    remedy = "`ACL SETUSER mover +rpush +zadd ~shop:product:* ~shop:order:*`"
    assert "RPUSH and ZADD" in str(caught.value) and remedy in str(caught.value)
    client = connections.redis(guarded)
    assert client.dbsize() == 0
    client.execute_command(*remedy.strip("`").split())
    assert migrate(source, url, prefix="shop:")["status"] == "verified"


def test_one_line_on_the_command_line(source: str, guarded: str) -> None:
    url = as_mover(guarded, "+@all", "-info", "~*")
    command = [sys.executable, "-m", "helpers", "migrate", "--source", source, "--target", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("helpers migrate: redis at 127.0.0.1:") and done.stderr.count("\n") == 1
