"""Whatever is killed in the middle: the same command goes on, nothing is lost or doubled."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import bound
import pytest
from migrating import dump, interrupted, migrate, run_sql, until, without_bars
from proxy import proxy

from helpers import cli, settings
from helpers.columns import NOTHING, Strings, joined
from helpers.errors import HelpersError
from helpers.migration import job, loading, restoration
from helpers.model import Partition
from helpers.relational import population, schema
from helpers.servers import connections, scratch
from helpers.source.snapshot import Source, SourceLost
from helpers.target import keyspace
from helpers.target.checkpoint import Checkpoint


class Stop(Exception):
    """Stands for a kill, in the middle of a load."""


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    send = Checkpoint.send
    left = [batches]

    def limited(self: Checkpoint, *arguments: Any, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            self.settle()
            raise Stop
        send(self, *arguments, **options)

    monkeypatch.setattr(Checkpoint, "send", limited)


def stopped(source: str, target: str, batches: int, **options: Any) -> None:
    """A migration that is dead after some batches, its lease too."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, batches)
        with pytest.raises(Stop):
            migrate(source, target, batch_rows=5, **options)
    connections.redis(target).delete("migration:lease")


def anew(source: str, target: str) -> dict[bytes, Any]:
    """What a migration from nothing leaves."""
    connections.redis(target).flushdb()
    assert migrate(source, target)["status"] == "verified"
    return dump(target)


CHANGES = {
    "rows of all kinds": """
UPDATE users SET email = 'other@example.org' WHERE user_id = 1;
INSERT INTO users VALUES (-5, 'early', 'early@example.org', NULL);
UPDATE activities SET user_id = 3 WHERE activity_id IN (3, 6);
DELETE FROM activities WHERE activity_id = 9;
INSERT INTO activities VALUES (700, 1, 'first', '2020-01-01');
DELETE FROM orders WHERE order_id < 3""",
    "a table emptied": "TRUNCATE activities",
    "tables emptied but one row": "TRUNCATE activities, orders; DELETE FROM users; "
    "DELETE FROM products WHERE product_id > 1",
    "keys moved": "ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey; "
    "ALTER TABLE activities DROP CONSTRAINT activities_user_id_fkey; "
    "UPDATE users SET user_id = -user_id; UPDATE orders SET order_id = -order_id",
    "a table made anew": f"DROP TABLE activities; {schema.DDL['activities']}; "
    "INSERT INTO activities VALUES (1, 1, 'x', '2026-01-01'), (31, 2, 'y', '2026-01-02')",
    "rows that cannot be held": "UPDATE activities SET activity_type = NULL WHERE activity_id < 9; "
    "UPDATE orders SET order_date = 'infinity' WHERE order_id > 6",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("batches", [1, 3, 6, 9, 12, 100])
def test_a_source_that_changed_between_two_runs_is_caught_up(
    source: str, redis_url: str, batches: int, change: str
) -> None:
    if batches < 100:
        stopped(source, redis_url, batches)
    else:
        migrate(source, redis_url)
    run_sql(source, CHANGES[change])
    # As if the source had been restored from a backup, whose next transactions have the numbers of others.
    with Source(source) as snapshot:
        connections.redis(redis_url).hset("migration:state", "snapshot", snapshot.snapshot)
    result = migrate(source, redis_url, batch_rows=5)
    assert (result["status"], result["resumed"]) == ("verified", batches < 100)
    held = dump(redis_url)
    assert held == anew(source, redis_url)


def test_a_schema_of_the_same_name_is_the_same_source(source: str, redis_url: str) -> None:
    stopped(source, redis_url, 6)
    name = source.rpartition("%3D")[2]
    run_sql(source, f"DROP SCHEMA {name} CASCADE", f"CREATE SCHEMA {name}", *schema.DDL.values())
    run_sql(source, "INSERT INTO users VALUES (77, 'other', NULL, NULL)")
    assert migrate(source, redis_url)["status"] == "verified"
    assert set(dump(redis_url)) == {b"user:77"}


def test_a_source_that_was_emptied_is_refused(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    before = dump(redis_url, b"\0")
    run_sql(source, "TRUNCATE users, products, activities, orders")
    with pytest.raises(HelpersError, match="all 4 tables are empty"):
        migrate(source, redis_url)
    assert dump(redis_url, b"\0") == before


def test_an_unfinished_load_may_be_dropped(source: str, redis_url: str) -> None:
    stopped(source, redis_url, 6)
    run_sql(source, "DELETE FROM users WHERE user_id = 6")
    result = migrate(source, redis_url, restart=True)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", False, {})
    assert result["rows_loaded_now"] == 50
    held = dump(redis_url)
    assert held == anew(source, redis_url)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_removal_that_was_interrupted_goes_on(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    monkeypatch.setattr(keyspace, "SCAN_COUNT", 10)
    migrate(source, redis_url)
    client = connections.redis(redis_url)
    keys = client.dbsize()
    stopped(source, redis_url, batches, replace=True)
    assert client.hget("migration:state", "status") == b"removing"
    assert (client.dbsize() < keys - 1) == (batches > 1)
    client.set("session:1", "theirs")
    result = migrate(source, redis_url)
    assert (result["status"], result["rows_loaded_now"]) == ("verified", 51)
    assert client.get("session:1") == b"theirs"


@pytest.mark.parametrize("option", ["replace", "restart", "flushdb"])
def test_a_connection_lost_in_the_middle_of_a_removal_is_opened_again(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    migrate(source, redis_url)
    client = connections.redis(redis_url)
    client.hset("user:99", "username", "stale")
    commit = Checkpoint.commit
    lost: list[Any] = []

    def cut(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> Any:
        if not lost and re.search(b"UNLINK|FLUSHDB", joined(commands)):
            lost.append(True)
            client.client_kill_filter(skipme=True)
        return commit(self, commands, *arguments, **options)

    monkeypatch.setattr(Checkpoint, "commit", cut)
    result = migrate(source, redis_url, **{option: True})
    assert lost and (result["status"], result["rows_loaded_now"]) == ("verified", 51)
    assert (result["resumed"], result["caught_up"]) == (False, {})


def test_a_target_that_is_mended_half_is_not_complete(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    run_sql(source, CHANGES["rows of all kinds"])
    commit = Checkpoint.commit

    def stop(self: Checkpoint, *arguments: Any, **options: Any) -> Any:
        found = commit(self, *arguments, **options)
        if options.get("doing") == "catch up":
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "commit", stop)
        with pytest.raises(KeyboardInterrupt):
            migrate(source, redis_url)
    assert connections.redis(redis_url).hget("migration:state", "status") == b"reconciling"
    with pytest.raises(HelpersError, match="not finished"):
        restoration.restore(redis_url, source, schema="half", progress=False)
    result = migrate(source, redis_url)
    assert (result["status"], result["resumed"]) == ("verified", True) and result["caught_up"]
    held = dump(redis_url)
    assert held == anew(source, redis_url)


@pytest.mark.parametrize("part", [stream.name for stream in bound.course().streams])
def test_a_load_goes_on_with_the_row_behind_the_last_one(source: str, redis_url: str, part: str) -> None:
    """Comparing would put right what is there twice or not at all: so there must be nothing to put right."""
    run_sql(source, "INSERT INTO products SELECT n, 'more', n FROM generate_series(11, 15) n")
    interrupted(source, redis_url, lambda state: state.get(f"rows:{part}") == 4, batch_rows=2)
    client: Any = connections.redis(redis_url, decode_responses=True)
    tables = ("users", "products", "activities", "orders")
    held = sum(int(client.hget("migration:state", f"rows:{table}") or 0) for table in tables)
    result = migrate(source, redis_url, batch_rows=2)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
    assert result["rows_loaded_now"] == 56 - held
    state = client.hgetall("migration:state")
    read = {name.removeprefix("rows:"): int(rows) for name, rows in state.items() if name.startswith("rows:")}
    orders = dict.fromkeys(("orders", "user_orders", "product_orders"), 12)
    assert read == {"users": 6, "products": 8, "activities": 30, **orders}


def test_after_a_kill_alone_there_is_nothing_to_put_right(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=200, products=20, activities=9_000, orders=1_500, progress=False)
    client = connections.redis(redis_url)
    command = [sys.executable, "-m", "helpers", "migrate", "--source", postgres_url, "--target", redis_url]
    for field in ("rows:users", "rows:orders", "rows:activities"):
        client.flushdb()
        mover = subprocess.Popen([*command, "--batch-rows", "3"], stderr=subprocess.DEVNULL)
        until(lambda: client.hexists("migration:state", field) or mover.poll() is not None)  # noqa: B023
        mover.kill()
        assert mover.wait() == -signal.SIGKILL
        result = migrate(postgres_url, redis_url)
        assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
        assert 0 < result["rows_loaded_now"] < 10_720


def test_killed_at_random_moments(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=300, products=50, activities=20_000, orders=4_000, progress=False)
    command = [sys.executable, "-m", "helpers", "migrate", "--source", postgres_url, "--target", redis_url]
    command += ["--batch-rows", "200", "--no-verify"]
    chance = random.Random(7)
    client = connections.redis(redis_url, decode_responses=True)
    kills, more = 0, list[str]()
    for _ in range(40):  # some come too late
        before = client.hgetall("migration:state")
        process = subprocess.Popen([*command, *more], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until(lambda: process.poll() is not None or client.hgetall("migration:state") != before)  # noqa: B023
        time.sleep(chance.uniform(0, 0.12))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        more = ["--restart"] * (process.wait() == 0)
        if kills == 6:
            break
    assert kills == 6
    result = migrate(postgres_url, redis_url, batch_rows=200)
    assert (result["status"], result["caught_up"]) == ("verified", {})
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
            until(lambda: client.hget("migration:state", "rows:activities"))
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
        until(lambda: client.hget("migration:state", "rows:activities"))
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


def test_a_key_of_another_type_in_the_middle_is_no_success(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading.load

    def load_with_interference(*arguments: Any, **options: Any) -> None:
        connections.redis(redis_url).set("user:2:activities", "theirs")
        load(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load", load_with_interference)
        with pytest.raises(HelpersError, match=r"WRONGTYPE.*; the same command puts that right"):
            migrate(source, redis_url)
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    assert result["caught_up"]


@pytest.mark.parametrize("in_process", [False, True])
def test_an_error_whose_reply_was_never_read_is_put_right(
    source: str, redis_url: str, in_process: bool
) -> None:
    """A foreign key makes one command of a transaction fail; the rest stands, and nobody hears of it."""
    client = connections.redis(redis_url)
    movers: list[subprocess.Popen[bytes]] = []
    met: list[str] = []

    def asked(data: bytes) -> bytes:
        if not met and b"RPUSH" in data and b"user:2:activities" in data:
            met.append("asked")
            client.set("user:2:activities", "theirs")
        return data

    def answered(data: bytes) -> bytes:
        if met != ["asked"] or b"WRONGTYPE" not in data:
            return data
        met.append("answered")
        client.delete("user:2:activities")  # and no trace of it stays
        if in_process:
            client.client_kill_filter(skipme=True)
        else:
            movers[0].kill()
        return b""

    with proxy(redis_url, asked=asked, answered=answered) as port:
        url = re.sub(r":\d+/", f":{port}/", redis_url)
        if in_process:
            result = migrate(source, url)
        else:
            command = [sys.executable, "-m", "helpers", "migrate", "--source", source, "--target", url]
            movers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            assert movers[0].wait(60) == -signal.SIGKILL
            result = migrate(source, redis_url)
    assert met == ["asked", "answered"]
    assert (result["status"], result["caught_up"]) == ("verified", {"missing key": 1})
    held = dump(redis_url)
    assert held == anew(source, redis_url)


def test_a_batch_that_arrives_after_its_connection_was_given_up_is_not_executed(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SILENCE_S", 0.5)
    held, begun_again, arrived = threading.Event(), threading.Event(), threading.Event()

    def asked(data: bytes) -> bytes:
        if not held.is_set() and b"RPUSH" in data and b"user:2:activities" in data:
            held.set()
            assert begun_again.wait(30)
            threading.Timer(0.2, arrived.set).start()
        elif held.is_set() and b"HGETALL" in data and b"migration:state" in data:
            threading.Timer(0.2, begun_again.set).start()  # the next attempt knows how far it is
        elif held.is_set() and b"RPUSH" in data:
            assert arrived.wait(30)
        return data

    with proxy(redis_url, asked=asked) as port:
        result = migrate(source, re.sub(r":\d+/", f":{port}/", redis_url))
    assert arrived.is_set() and (result["status"], result["caught_up"]) == ("verified", {})


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_gives_the_lease_back(postgres_url: str, redis_url: str, wanted: signal.Signals) -> None:
    population.populate(postgres_url, users=200, products=20, activities=20_000, orders=3_000, progress=False)
    client = connections.redis(redis_url, decode_responses=True)
    command = [sys.executable, "-m", "helpers", "migrate", "--source", postgres_url, "--target", redis_url]
    mover = subprocess.Popen([*command, "--batch-rows", "20"], stderr=subprocess.PIPE, text=True)
    until(lambda: client.hget("migration:state", "rows:users"))
    mover.send_signal(wanted)
    said = without_bars(mover.communicate()[1])
    assert mover.returncode == 130
    assert re.fullmatch(
        r"helpers migrate: interrupted; [\d,]+ of 23,220 rows are in the target, "
        r"the same command goes on from there\n",
        said,
    )
    assert client.hget("migration:state", "status") == "loading"
    assert not client.exists("migration:lease")
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    result = json.loads(done.stdout)
    assert (done.returncode, result["resumed"], result["status"]) == (0, True, "verified")
    assert 0 < result["rows_loaded_now"] < 23_220 and result["caught_up"] == {}


def test_rows_that_were_written_when_the_source_is_lost_count(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply to the last batch was not read yet."""
    monkeypatch.setattr(job, "BACKOFF_S", (0.01, 0.02))
    send, read, sent, lost = Checkpoint.send, Source.read, threading.Event(), list[bool]()

    def noted(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> None:
        send(self, commands, *arguments, **options)
        if len(commands):
            sent.set()

    def lose(self: Source, partition: Partition, *arguments: Any) -> None:
        read(self, partition, *arguments)
        if not lost and partition.stream.counts:
            assert sent.wait(60)
            lost.append(True)
            raise SourceLost("postgres at somewhere: gone")

    monkeypatch.setattr(Checkpoint, "send", noted)
    monkeypatch.setattr(Source, "read", lose)
    result = migrate(source, redis_url, batch_rows=5)
    assert lost and (result["status"], result["caught_up"]) == ("verified", {})
    assert result["rows_loaded_now"] == 51


@pytest.mark.parametrize("lost", ["redis", "postgres"])
def test_a_server_that_stays_away_is_told_with_how_far_it_is(
    postgres_url: str, redis_url: str, lost: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(job, "BACKOFF_S", (0.01, 0.02, 0.03))
    with getattr(scratch, lost)() as server:
        source, target = (server.url, redis_url) if lost == "postgres" else (postgres_url, server.url)
        population.populate(source, users=200, products=20, activities=40_000, orders=2_000, progress=False)
        client = connections.redis(target)
        send, batches = Checkpoint.send, []

        def kill(self: Checkpoint, *arguments: Any, **options: Any) -> None:
            batches.append(1)
            if len(batches) == 30:
                server.kill()
            send(self, *arguments, **options)

        command = ["migrate", "--source", source, "--target", target, "--batch-rows", "100"]
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "send", kill)
            assert cli.main(command) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert re.fullmatch(
            rf"helpers migrate: {lost} at 127.0.0.1:\d+: .*; [\d,]+ of 42,220 rows are in the target, "
            r"the same command goes on from there",
            told,
        )
        if lost == "postgres":
            assert not client.exists("migration:lease")
        server.start()
        connections.redis(target).delete("migration:lease")  # of this process, which lives on
        result = migrate(source, target)
        assert (result["status"], result["resumed"]) == ("verified", True)
        assert 0 < result["rows_loaded_now"] < 42_220


def test_a_target_that_keeps_silent_counts_as_lost_and_is_waited_for(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    population.populate(postgres_url, users=100, products=20, activities=9_000, orders=500, progress=False)
    monkeypatch.setattr(settings, "SILENCE_S", 0.5)
    with scratch.redis("appendonly no") as server:
        send, batches = Checkpoint.send, []

        def silence(self: Checkpoint, *arguments: Any, **options: Any) -> None:
            batches.append(1)
            if len(batches) == 30:
                os.kill(server.pid, signal.SIGSTOP)
                threading.Timer(1.5, lambda: os.kill(server.pid, signal.SIGCONT)).start()
            send(self, *arguments, **options)

        monkeypatch.setattr(Checkpoint, "send", silence)
        result = migrate(postgres_url, server.url, batch_rows=100)
        assert (result["status"], result["caught_up"]) == ("verified", {})
        assert result["load_seconds"] > settings.SILENCE_S, "the attempt that was lost took its time, too"


def test_a_target_that_forgot_everything_is_loaded_anew(postgres_url: str) -> None:
    population.populate(postgres_url, users=100, products=20, activities=9_000, orders=500, progress=False)
    with scratch.redis("appendonly no") as server:
        send, batches = Checkpoint.send, []

        def crash(self: Checkpoint, *arguments: Any, **options: Any) -> None:
            batches.append(1)
            if len(batches) == 30:
                server.kill()
                server.start()
            send(self, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "send", crash)
            result = migrate(postgres_url, server.url, batch_rows=100)
        assert (result["status"], result["differences"]) == ("verified", 0)
        assert result["rows_loaded_now"] > 9_620
