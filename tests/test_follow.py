"""Following: what is committed at the source since the migration's snapshot is in Redis exactly once."""

import json
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from following import CASCADES, FULL, LARGE, chase, follow, leave_nothing, prepare, start, verified
from migrating import ROWS, dump, migrate, run_sql, until

from helpers import cli, settings
from helpers.columns import NOTHING, Strings, joined
from helpers.errors import HelpersError
from helpers.migration import follower, following, job, loading, restoration, verification
from helpers.model import Plan, load
from helpers.relational import population, schema
from helpers.servers import connections, scratch
from helpers.source import publication, slot, tables
from helpers.source.changes import Stream
from helpers.source.snapshot import Source, SourceLost
from helpers.source.upstream import Upstream
from helpers.target.checkpoint import Checkpoint
from helpers.trials import judge


def published(upstream: Upstream) -> str:
    """The name of the publication of the course's tables."""
    return publication.name_of(Plan(load(), tables.bind(upstream.ask, upstream.where, load())))


def slots(source: str) -> list[slot.Slot]:
    with Upstream(source) as upstream:
        mine = published(upstream)
        return [found for found in slot.find(upstream.ask) if found.name.startswith(mine)]


@pytest.fixture
def live(source: str) -> str:
    """A source that may be followed; its slots go with it, as ``postgres_url`` sees to."""
    prepare(source)
    return source


@pytest.fixture
def moved(live: str, redis_url: str) -> str:
    """A source that was migrated to be followed."""
    assert migrate(live, redis_url, follow=True)["status"] == "verified"
    return live


CHANGES = {
    "inserts": "INSERT INTO users VALUES (9, 'nine', NULL, NULL); "
    "INSERT INTO activities VALUES (90, 9, 'login', '2026-05-01'), (91, 9, 'x', '2026-05-01')",
    "an activity older than all": "INSERT INTO activities VALUES (90, 1, 'login', '0001-01-01')",
    "activities of the same moment": "INSERT INTO activities SELECT n, 1, n % 2, '2026-01-01' "
    "FROM generate_series(95, 105) n; DELETE FROM activities WHERE activity_id IN (96, 100)",
    "an activity moves to another user": "UPDATE activities SET user_id = 3 WHERE activity_id IN (1, 4, 6)",
    "another date, another type": "UPDATE activities SET activity_date = '2026-02-01' WHERE activity_id = 9; "
    "UPDATE activities SET activity_type = 'b' WHERE activity_id = 8",
    "changed keys": "UPDATE users SET user_id = 70 WHERE user_id = 2; "
    "UPDATE products SET product_id = -1 WHERE product_id = 1; "
    "UPDATE orders SET order_id = order_id + 5 WHERE order_id = 12; "
    "UPDATE activities SET activity_id = 9000000 WHERE activity_id = 3",
    "deletes with cascades": "DELETE FROM users WHERE user_id < 3; DELETE FROM products WHERE product_id = 3",
    "a value becomes NULL and back": "UPDATE users SET email = NULL WHERE user_id = 1; UPDATE orders SET "
    "quantity = NULL, product_id = NULL WHERE order_id = 1; UPDATE orders SET user_id = NULL WHERE "
    "order_id = 2; UPDATE orders SET product_id = 2 WHERE order_id = 1",
    "rows that cannot be held any more": "UPDATE activities SET activity_type = NULL WHERE activity_id = 5; "
    "UPDATE orders SET order_date = '-infinity' WHERE order_id = 3; UPDATE activities SET activity_date = "
    "'0044-03-15 BC' WHERE activity_id = 6; INSERT INTO products VALUES (8, NULL, NULL)",
    "TRUNCATE": "TRUNCATE activities",
    "TRUNCATE in the middle": "INSERT INTO orders VALUES (90, 1, 1, '2026-01-01', 1); TRUNCATE orders, "
    "activities; INSERT INTO orders VALUES (1, 6, 3, '2026-01-01', 1)",
    "TRUNCATE with all that refers": "TRUNCATE users CASCADE; INSERT INTO users VALUES (5, 'e', NULL, NULL)",
    "what was undone": "SAVEPOINT a; DELETE FROM orders; ROLLBACK TO SAVEPOINT a; DELETE FROM orders WHERE "
    "order_id = 4",
    "prices": "UPDATE products SET price = 'NaN' WHERE product_id = 1; UPDATE products SET price = 5 WHERE "
    "product_id = 2",
    "hostile text": r"UPDATE users SET username = E'\t\n\\N', email = '' WHERE user_id = 1; "
    r"INSERT INTO activities VALUES (90, 1, E'a:b\n2026-01-01', '2026-01-01'), (91, 1, '', '2026-01-01')",
    "dates far away": "INSERT INTO activities SELECT n, 1, 'x', '9999-12-31 23:59:59' FROM "
    "generate_series(95, 105) n; UPDATE activities SET activity_date = '0001-01-01' WHERE activity_id = 99",
    "a key that goes and comes back": "DELETE FROM activities WHERE activity_id = 7; "
    "INSERT INTO activities VALUES (7, 5, 'again', '2026-01-01'); DELETE FROM users WHERE user_id = 6; "
    "INSERT INTO users VALUES (6, NULL, 'six', NULL)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_committed_is_there_once(moved: str, redis_url: str, change: str) -> None:
    run_sql(moved, CHANGES[change])
    result = follow(moved, redis_url)
    assert (result["transactions"], result["lag_bytes"], result["lag_seconds"]) == (1, 0, 0.0)
    assert verified(moved, redis_url)
    held = dump(redis_url)
    assert follow(moved, redis_url)["transactions"] == 0
    assert dump(redis_url) == held
    client = connections.redis(redis_url)
    following.drop_slot(moved, redis_url)
    client.flushdb()
    migrate(moved, redis_url)
    assert dump(redis_url) == held


@pytest.mark.parametrize("most", [1, 7])
def test_transactions_that_go_in_parts(
    moved: str, redis_url: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MOST_CHANGES", most)
    names = ["an activity older than all", "activities of the same moment", "changed keys"]
    names += ["TRUNCATE", "deletes with cascades", "TRUNCATE with all that refers"]
    run_sql(moved, *(CHANGES[name] for name in names))
    result = follow(moved, redis_url)
    assert result["transactions"] == 1 and result["parts"] > 3
    assert verified(moved, redis_url)


@pytest.mark.parametrize(("most", "value"), [("MOST_CHANGES", 5), ("MOST_BYTES", 500)])
def test_what_waits_to_be_written_is_bounded(
    moved: str, redis_url: str, most: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In changes and in bytes: of one transaction, and of many that came in the meantime."""
    monkeypatch.setattr(follower, most, value)
    send, written = Checkpoint.send, list[int]()

    def counted(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> None:
        written.append(joined(commands).count(b"of 40"))
        send(self, commands, *arguments, **options)

    monkeypatch.setattr(Checkpoint, "send", counted)
    change = "INSERT INTO users SELECT n, repeat('of 40', 8) || n FROM generate_series({0}, {0} + 1) n"
    for number in range(100, 140, 2):
        run_sql(moved, change.format(number))
    result = follow(moved, redis_url)
    assert (result["transactions"], result["parts"], sum(written)) == (20, 0, 320)
    assert max(written) < 200 and all(number % 16 == 0 for number in written), "whole transactions"
    written.clear()
    run_sql(moved, "; ".join(change.format(number) for number in range(200, 240, 2)))
    result = follow(moved, redis_url)
    assert result["transactions"] == 1 and result["parts"] > 1 and sum(written) == 320
    assert max(written) < 200
    assert verified(moved, redis_url)


def test_a_part_is_sent_while_redis_works_on_the_one_before(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MOST_CHANGES", 10)
    send, ahead = Checkpoint.send, list[bool]()

    def noted(self: Checkpoint, *arguments: Any, **options: Any) -> None:
        ahead.append(self._sent is not None)
        send(self, *arguments, **options)

    monkeypatch.setattr(Checkpoint, "send", noted)
    run_sql(
        moved, "INSERT INTO activities SELECT n, 1, 'many', '2026-01-01' FROM generate_series(100, 599) n"
    )
    result = follow(moved, redis_url)
    assert result["changes"]["activities"] == 500 and result["parts"] > 40
    assert any(ahead)
    assert verified(moved, redis_url)


@pytest.mark.parametrize("written", range(1, 8))
def test_a_large_transaction_that_was_stopped_in_the_middle_goes_on_there(
    moved: str, redis_url: str, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts are not idempotent: equal activities are added, which twice would be there twice."""
    monkeypatch.setattr(follower, "MOST_CHANGES", 10)
    run_sql(
        moved,
        "INSERT INTO activities SELECT n, 1 + n % 2, 'same', '2026-01-01' FROM generate_series(100, 125) n",
        "TRUNCATE orders",
        "INSERT INTO orders SELECT n, 1, 1, '2026-01-01', 1 FROM generate_series(1, 15) n",
        "UPDATE activities SET activity_date = '2026-01-02' WHERE activity_id BETWEEN 100 AND 125",
    )
    send, batches = Checkpoint.send, []

    def stop(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> None:
        send(self, commands, *arguments, **options)
        batches.append(1) if b"EVAL" in joined(commands) else None
        if len(batches) == written:
            self.settle()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "send", stop)
        with pytest.raises(KeyboardInterrupt):
            follow(moved, redis_url)
    part = connections.redis(redis_url, decode_responses=True).hget("migration:state", "follow:part")
    assert part and part.split()[1] != "0"
    run_sql(moved, CHANGES["prices"])  # of this one nothing is done yet
    held = follow(moved, redis_url)["rows_held"]
    assert held["orders"] == 15 and held["activities"] == 56
    assert verified(moved, redis_url)


def test_what_the_server_sends_again_is_applied_once(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot begins where it was confirmed last, which is older than what Redis holds."""
    run_sql(moved, "INSERT INTO activities SELECT n, 1, 'x', '2026-01-01' FROM generate_series(95, 105) n")
    assert follow(moved, redis_url)["transactions"] == 1
    monkeypatch.setattr(following, "Stream", lambda url, name, told, _: Stream(url, name, told, 0))
    run_sql(moved, "INSERT INTO activities VALUES (200, 1, 'y', '2026-01-01')")
    assert follow(moved, redis_url)["changes"]["activities"] == 1
    assert verified(moved, redis_url)


def test_readers_see_only_states_that_the_source_had(moved: str, redis_url: str) -> None:
    """An activity that moves to and fro is always there once, and its list and sorted set agree."""
    seen, over = set(), threading.Event()

    def read() -> None:
        client = connections.redis(redis_url)
        while not over.is_set():
            with client.pipeline(transaction=True) as both:
                for user in (1, 2):
                    both.llen(f"user:{user}:activities").zcard(f"user:{user}:activities:by_time")
                seen.add(tuple(both.execute()))

    run_sql(moved, "DELETE FROM activities WHERE user_id IN (1, 2) AND activity_id <> 3")
    follow(moved, redis_url)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(30):
            run_sql(moved, "UPDATE activities SET user_id = 3 - user_id WHERE activity_id = 3")
            follow(moved, redis_url) if _ % 10 == 0 else None
        follow(moved, redis_url)
    finally:
        over.set()
        reader.join()
    assert seen <= {(1, 1, 0, 0), (0, 0, 1, 1)} and len(seen) == 2


def test_rejects_are_counted_named_and_taken_back(moved: str, redis_url: str, capsys: Any) -> None:
    run_sql(moved, "INSERT INTO activities VALUES (95, 1, NULL, '2026-01-01')")
    ways = ["--source", moved, "--target", redis_url, "--until-idle", "0"]
    assert cli.main(["follow", *ways, "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["rows_rejected"] == {"users": 0, "products": 0, "activities": 1, "orders": 0}
    assert result["rows_held"]["activities"] == 30
    (line,) = Path(result["reject_file"]).read_text().splitlines()
    assert json.loads(line)["reason"] == "null_activity_type" and json.loads(line)["key"] == "95"
    assert cli.main(["follow", *ways]) == 1
    assert "rejected: 1 row of the source are not in Redis" in capsys.readouterr().out
    run_sql(moved, "UPDATE activities SET activity_type = 'login' WHERE activity_id = 95")
    assert cli.main(["follow", *ways]) == 0
    assert verified(moved, redis_url)


def test_lag_is_told_until_it_is_nothing(moved: str, redis_url: str) -> None:
    run_sql(moved, "UPDATE activities SET activity_date = activity_date + interval '1 s'")
    lags: list[follower.Lag] = []
    result = follow(moved, redis_url, report=lags.append)
    assert lags[0].bytes > 1000 and lags[0].seconds > 0
    assert (lags[-1].bytes, lags[-1].seconds) == (0, 0.0) == (result["lag_bytes"], result["lag_seconds"])
    assert [lag.at_s for lag in lags] == sorted(lag.at_s for lag in lags)
    assert result["changes"]["activities"] == 30 and result["position"] > "0/0"


def test_the_log_is_not_kept_longer_than_needed(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is applied is confirmed, but not at once; and other tables' changes do not hold the log."""
    monkeypatch.setattr(follower, "LOOK_S", 0.1)
    monkeypatch.setattr(follower, "CONFIRM_AFTER_S", 60)
    client = connections.redis(redis_url, decode_responses=True)

    def confirmed() -> tuple[int, int]:
        """(what the server may throw away, what is in Redis)"""
        position = str(client.hget("migration:state", "follow:position"))
        return slot.parse_lsn(slots(moved)[0].confirmed or "0/0"), slot.parse_lsn(position)

    def look(_: follower.Lag) -> None:
        done, position = confirmed()
        assert done <= position

    run_sql(moved, "CREATE TABLE other AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
    with Upstream(moved) as upstream:
        before = slot.parse_lsn(upstream.ask("SELECT pg_current_wal_lsn()::text")[0][0])
    run_sql(moved, "UPDATE users SET email = NULL")
    follow(moved, redis_url, report=look)
    done, position = confirmed()
    assert done <= before < position
    run_sql(moved, "DROP TABLE other", "CREATE TABLE other AS SELECT repeat('x', 1000) FROM "
            "generate_series(1, 3000)")  # fmt: skip
    monkeypatch.setattr(follower, "CONFIRM_AFTER_S", 0.2)
    follow(moved, redis_url, 1.5, report=look)
    assert confirmed()[0] > before + 2e6
    monkeypatch.setattr(follower, "BEAT", "SELECT 1")  # then psycopg2 confirms what keepalives say
    run_sql(moved, "DROP TABLE other")
    follow(moved, redis_url, 1.0, report=look)
    done, position = confirmed()
    assert before + 2e6 < done <= position


def test_a_large_transaction_in_bounded_memory(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=50, products=5, activities=500, orders=50, progress=False)
    prepare(postgres_url)
    migrate(postgres_url, redis_url, follow=True)

    def peak(rows: int) -> float:
        run_sql(
            postgres_url,
            "INSERT INTO activities (user_id, activity_type, activity_date) SELECT 1 + i % 50, 'large', "
            f"timestamp '2026-01-01' + i * interval '1 s' FROM generate_series(1, {rows}) i",
            "UPDATE activities SET activity_type = 'x' WHERE activity_id % 10 = 0",
        )
        words = ["follow", "--until-idle", "0", "--json"]
        out, err = start(postgres_url, redis_url, *words).communicate()
        result = json.loads(out)
        assert result["transactions"] == 1 and result["changes"]["activities"] > rows, err
        return float(result["peak_rss_mb"])

    small, big = peak(10_000), peak(100_000)
    assert verified(postgres_url, redis_url)
    following.drop_slot(postgres_url, redis_url)
    assert big < small + 15


def test_killed_at_random_while_writers_write(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=40, products=10, activities=1500, orders=200, progress=False)
    prepare(postgres_url)
    found = chase(postgres_url, redis_url, kills=8, seed=11, per_s=40)
    assert found["by_problem"] == {} and found["faults"] == [], found
    assert found["struck"] and found["committed"] > 100
    run_sql(
        postgres_url,
        "DELETE FROM activities WHERE num_nulls(user_id, activity_type, activity_date) > 0",
        "DELETE FROM orders WHERE order_date = 'infinity'",
        "DELETE FROM users WHERE num_nonnulls(username, email, created_at) = 0",
    )
    follow(postgres_url, redis_url)
    assert judge.compare(postgres_url, redis_url) == {"lost": 0, "doubled": 0, "altered": 0}
    following.drop_slot(postgres_url, redis_url)


def test_rows_committed_during_the_load_come_by_following(
    live: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed behind the slot's snapshot, while the load goes on: TRUNCATE has to wait for it."""
    load = loading.load

    def load_while_others_write(*arguments: Any, **options: Any) -> None:
        run_sql(live, CHANGES["changed keys"], CHANGES["inserts"])
        load(*arguments, **options)

    monkeypatch.setattr(loading, "load", load_while_others_write)
    result = migrate(live, redis_url, follow=True)
    assert (result["status"], result["rows_read"]["users"]) == ("verified", 6)
    assert follow(live, redis_url)["transactions"] == 1
    assert verified(live, redis_url)


def test_a_table_emptied_between_slot_and_load_is_not_empty_in_the_load(
    live: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRUNCATE is not of the snapshot's world: the tables are locked before the slot is made."""
    create, emptied = slot.create_slot, list[threading.Thread]()

    def create_and_empty(*arguments: Any) -> Any:
        found = create(*arguments)
        thread = threading.Thread(target=run_sql, args=(live, "TRUNCATE activities"))
        thread.start()
        emptied.append(thread)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(slot, "create_slot", create_and_empty)
    result = migrate(live, redis_url, follow=True)
    emptied[0].join()
    assert (result["status"], result["rows_read"]["activities"]) == ("verified", 30)
    assert follow(live, redis_url)["truncated"] == 1
    assert verified(live, redis_url)


def test_a_load_that_goes_on_makes_another_slot(
    live: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, batches = Checkpoint.send, []

    def stop(self: Checkpoint, *arguments: Any, **options: Any) -> None:
        batches.append(1)
        if len(batches) == 6:
            self.settle()
            raise KeyboardInterrupt
        send(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "send", stop)
        with pytest.raises(KeyboardInterrupt, match=r"slot helpers_follow_\w+ keeps WAL until then"):
            migrate(live, redis_url, follow=True, batch_rows=5)
    (first,) = slots(live)
    run_sql(live, CHANGES["deletes with cascades"])
    with pytest.raises(HelpersError, match=r"not finished \(status 'loading'\); run `migrate --follow`"):
        follow(live, redis_url)
    with pytest.raises(HelpersError, match="is followed from slot"):
        migrate(live, redis_url)
    result = migrate(live, redis_url, follow=True)
    (second,) = slots(live)
    assert (result["status"], result["resumed"], result["slot"]) == ("verified", True, second.name)
    assert first.name != second.name
    run_sql(live, CHANGES["prices"])
    follow(live, redis_url)
    assert verified(live, redis_url)


def test_again_with_another_snapshot(moved: str, redis_url: str) -> None:
    run_sql(moved, CHANGES["inserts"])
    connections.redis(redis_url).rpush("user:1:activities", "damage")
    assert migrate(moved, redis_url, follow=True)["caught_up"]
    run_sql(moved, CHANGES["changed keys"])
    assert follow(moved, redis_url)["transactions"] == 1
    assert verified(moved, redis_url) and len(slots(moved)) == 1
    assert migrate(moved, redis_url, follow=True, replace=True)["rows_loaded_now"] > 50
    assert verified(moved, redis_url) and len(slots(moved)) == 1


@pytest.mark.parametrize("lost", ["postgres", "redis"])
def test_a_server_killed_under_it_is_waited_for(lost: str, redis_url: str, postgres_url: str) -> None:
    options = ("appendonly yes", "appendfsync everysec") if lost == "redis" else ()
    with getattr(scratch, lost)(*options) as server:
        source, target = (server.url, redis_url) if lost == "postgres" else (postgres_url, server.url)
        run_sql(source, *schema.DDL.values(), ROWS, *FULL, *CASCADES)
        migrate(source, target, follow=True)
        over = threading.Event()

        def disturb() -> None:
            try:
                for number in range(40):
                    if number == 20:
                        server.kill()
                        server.start()
                    run_sql(source, f"INSERT INTO activities VALUES ({100 + number}, 1, 'a', '2026-01-01')")
                    time.sleep(0.02)
            finally:
                over.set()

        thread = threading.Thread(target=disturb)
        thread.start()
        deadline = time.monotonic() + 300
        while not over.is_set():
            assert time.monotonic() < deadline
            follow(source, target, 0.1)
        thread.join()
        follow(source, target)
        assert verified(source, target)
        following.drop_slot(source, target)


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_how_far_it_is(moved: str, redis_url: str, wanted: signal.Signals) -> None:
    client = connections.redis(redis_url, decode_responses=True)
    process = start(moved, redis_url, "follow")
    run_sql(moved, CHANGES["inserts"])
    until(lambda: client.exists("user:9") or process.poll() is not None)
    process.send_signal(wanted)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert re.fullmatch(
        r"helpers follow: interrupted; [01] transactions? applied by this run, [\d.]+ \w+ of WAL were left, "
        "the same command goes on from there",
        said.splitlines()[-1],
    )
    assert not client.exists("migration:lease")
    assert verified(moved, redis_url)


def test_two_movers_at_once(moved: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    process = start(moved, redis_url, "follow")
    try:
        until(lambda: client.exists("migration:lease") or process.poll() is not None)
        for call in (
            lambda: follow(moved, redis_url),
            lambda: migrate(moved, redis_url, follow=True),
            lambda: following.drop_slot(moved, redis_url),
        ):
            with pytest.raises(HelpersError, match="another migration is under way"):
                call()
        (found,) = slots(moved)
        with pytest.raises(HelpersError, match="somebody follows from it"):
            following.drop_slot(moved, redis_url, name=found.name)
    finally:
        process.terminate()
        process.communicate()


def test_a_dead_followers_reader_is_ended(moved: str, redis_url: str) -> None:
    process = start(moved, redis_url, "follow")
    until(lambda: slots(moved)[0].active or process.poll() is not None)
    process.send_signal(signal.SIGSTOP)  # its connection stays open
    client = connections.redis(redis_url)
    client.delete("migration:lease")  # its time is over
    run_sql(moved, CHANGES["changed keys"])
    assert follow(moved, redis_url)["transactions"] == 1
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.communicate(timeout=120)
    assert verified(moved, redis_url)


# -- what is said before anything starts


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (
            ["ALTER TABLE orders REPLICA IDENTITY DEFAULT"],
            r"orders would not tell the old values .* `ALTER TABLE orders REPLICA IDENTITY FULL`",
        ),
        (["ALTER TABLE orders SET UNLOGGED"], "orders is unlogged"),
        (
            ["UPDATE activities SET activity_date = '9999-12-31 23:59:59.999999' WHERE activity_id = 7"],
            r"row 7 of activities has .* \(beyond 2255",
        ),
    ],
)
def test_a_source_that_cannot_be_followed(
    live: str, redis_url: str, statements: list[str], said: str
) -> None:
    run_sql(live, *statements)
    for options in ({}, {"dry_run": True}):
        with pytest.raises(HelpersError, match=said):
            migrate(live, redis_url, follow=True, **options)
    assert dump(redis_url, b"\0") == {} and slots(live) == []
    assert migrate(live, redis_url)["status"] in ("verified", "different")


def test_a_server_without_logical_decoding(redis_url: str) -> None:
    with scratch.postgres("wal_level = replica") as server:
        run_sql(server.url, *schema.DDL.values(), ROWS, *FULL)
        with pytest.raises(HelpersError, match=r"wal_level is replica, .* `ALTER SYSTEM SET wal_level = log"):
            migrate(server.url, redis_url, follow=True)
        assert dump(redis_url, b"\0") == {}
        assert migrate(server.url, redis_url)["status"] == "verified"
        with pytest.raises(HelpersError, match=r"made no replication slot.* run `migrate --follow`"):
            follow(server.url, redis_url)


def test_a_user_without_rights(live: str, redis_url: str) -> None:
    """Each right that is missing is named with the command that gives it; with all of them it follows."""
    name = live.rpartition("%3D")[2]
    role = f"reader_{name}"
    run_sql(live, f"CREATE ROLE {role} LOGIN PASSWORD 'x'", f"GRANT USAGE ON SCHEMA {name} TO {role}")
    run_sql(live, f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {role}")
    theirs = re.sub(r"//.*?@", f"//{role}:x@", live)
    try:
        assert migrate(theirs, redis_url, prefix="plain:")["status"] == "verified"
        with pytest.raises(HelpersError, match=r"may not publish .* `(CREATE PUBLICATION .*?)`") as caught:
            migrate(theirs, redis_url, follow=True)
        run_sql(live, re.search(r"`(CREATE PUBLICATION .*?)`", str(caught.value))[1])
        with pytest.raises(HelpersError, match=rf"`ALTER ROLE {role} REPLICATION`$"):
            migrate(theirs, redis_url, follow=True)
        assert dump(redis_url, b"plain:") == {}
        run_sql(live, f"ALTER ROLE {role} REPLICATION")
        assert migrate(theirs, redis_url, follow=True)["status"] == "verified"
        run_sql(live, CHANGES["changed keys"])
        assert follow(theirs, redis_url)["transactions"] == 1
        assert verified(live, redis_url)
        assert following.drop_slot(theirs, redis_url)["dropped"]
    finally:
        run_sql(live, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
        with Upstream(live) as upstream:
            upstream.ask(f"DROP PUBLICATION IF EXISTS {published(upstream)}")


def test_a_target_user_without_the_right_to_scripts(live: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    client.execute_command("ACL", "SETUSER", "noscript", "on", ">x", "~*", "+@all", "-eval", "-lset")
    try:
        theirs = re.sub(r"//.*?@", "//noscript:x@", redis_url)
        assert migrate(live, theirs)["status"] == "verified"
        with pytest.raises(HelpersError, match=r"may not run EVAL and LSET; nothing was written"):
            migrate(live, theirs, follow=True)
        assert slots(live) == []
    finally:
        client.execute_command("ACL", "DELUSER", "noscript")


def test_a_transaction_that_does_not_end_is_named(
    live: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "SILENCE_S", 1)
    other = connections.postgres(live)
    with other.cursor() as cursor:
        cursor.execute("UPDATE users SET email = NULL WHERE user_id = 1")
        with pytest.raises(
            HelpersError, match=rf"did not end within 1 s \(process {other.info.backend_pid} has the oldest\)"
        ):
            migrate(live, redis_url, follow=True)
    other.close()
    assert slots(live) == []
    assert migrate(live, redis_url, follow=True)["status"] == "verified"


@pytest.mark.parametrize("command", [["follow", "--until-idle", "-1"], ["follow", "--until-idle", "nan"]])
def test_bad_options(command: list[str], capsys: Any) -> None:
    assert cli.main(command) == 2
    assert re.fullmatch(r"helpers follow: --until-idle .*\n", capsys.readouterr().err)


def test_nothing_to_follow(live: str, redis_url: str) -> None:
    with pytest.raises(
        HelpersError, match=r"no migration was recorded there .*; begin with `migrate --follow`"
    ):
        follow(live, redis_url)
    migrate(live, redis_url)
    with pytest.raises(HelpersError, match="no migration there is followed; there is no slot to drop"):
        following.drop_slot(live, redis_url)


# -- what goes wrong on the way


def again(source: str, target: str) -> None:
    """What every message asks for."""
    assert migrate(source, target, follow=True)["status"] == "verified"
    run_sql(source, CHANGES["prices"])
    assert follow(source, target)["transactions"] == 1
    assert verified(source, target)


@pytest.mark.parametrize("running", [True, False])
def test_a_column_that_comes_stops_it_with_nothing_lost(moved: str, redis_url: str, running: bool) -> None:
    run_sql(moved, CHANGES["an activity older than all"])
    follow(moved, redis_url) if not running else None
    held = dump(redis_url)
    statements = ["ALTER TABLE users ADD phone text", "UPDATE users SET phone = '1'"]
    if running:
        process = start(moved, redis_url, "follow")
        client = connections.redis(redis_url)
        until(lambda: client.exists("migration:lease") or process.poll() is not None)
        until(lambda: slots(moved)[0].active or process.poll() is not None)
        run_sql(moved, *statements)
        out, said = process.communicate(timeout=120)
        assert process.returncode == 2 and out == ""
        said = said.splitlines()[-1]
    else:
        run_sql(moved, *statements)
        with pytest.raises(HelpersError) as caught:
            follow(moved, redis_url)
        said = str(caught.value)
        assert dump(redis_url) == held
    assert "users was altered (phone) since the migration; nothing was applied from there on" in said
    assert "drop phone or rename it back" in said
    run_sql(moved, "ALTER TABLE users DROP phone")
    again(moved, redis_url)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["ALTER TABLE products ALTER price TYPE numeric(12,3)"], r"products was altered \(price\)"),
        (
            ["ALTER TABLE users RENAME username TO name", "UPDATE users SET name = 'x' WHERE user_id = 1"],
            "username, name",
        ),
        (["DROP TABLE orders", schema.DDL["orders"], FULL[3]], "does not tell every change"),
        (
            ["ALTER TABLE users REPLICA IDENTITY DEFAULT", "DELETE FROM users WHERE user_id = 6"],
            "IDENTITY FULL",
        ),
    ],
)
def test_tables_that_are_not_what_they_were(
    moved: str, redis_url: str, statements: list[str], said: str
) -> None:
    run_sql(moved, *statements)
    with pytest.raises(HelpersError, match=said):
        follow(moved, redis_url)
    if "RENAME" in statements[0]:
        run_sql(moved, "ALTER TABLE users RENAME name TO username")
    if "DROP" in statements[0]:
        following.drop_slot(moved, redis_url)
    run_sql(moved, *FULL)
    again(moved, redis_url)


def test_a_slot_that_is_gone(moved: str, redis_url: str) -> None:
    with Upstream(moved) as upstream:
        slot.drop(upstream, slots(moved)[0].name)
    with pytest.raises(HelpersError, match=r"slot \w+ is gone, .*; run `migrate --follow` again"):
        follow(moved, redis_url)
    assert following.describe_dropped(following.drop_slot(moved, redis_url))[0].endswith("was gone already")
    again(moved, redis_url)


def test_a_slot_that_the_server_gave_up(redis_url: str) -> None:
    with scratch.postgres("max_slot_wal_keep_size = '1MB'", "max_wal_size = '32MB'") as server:
        run_sql(server.url, *schema.DDL.values(), ROWS, *FULL)
        migrate(server.url, redis_url, follow=True)
        run_sql(
            server.url, "CREATE TABLE other AS SELECT repeat(i::text, 500) FROM generate_series(1, 60000) i"
        )
        with Upstream(server.url) as upstream:
            for _ in range(2):
                upstream.ask("SELECT pg_switch_wal()")
                upstream.ask("CHECKPOINT")
        with pytest.raises(HelpersError, match=r"is lost: .*\(max_slot_wal_keep_size\); run `migrate --foll"):
            follow(server.url, redis_url)
        again(server.url, redis_url)
        following.drop_slot(server.url, redis_url)


def test_a_target_that_forgot_what_it_had(moved: str, redis_url: str) -> None:
    client = connections.redis(redis_url, decode_responses=True)
    before = client.hget("migration:state", "follow:position")
    run_sql(moved, CHANGES["inserts"])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONFIRM_AFTER_S", "LOOK_S"):
            patch.setattr(follower, name, 0.05)
        follow(moved, redis_url, 1.0)
    client.hset("migration:state", "follow:position", before)
    with pytest.raises(HelpersError, match=r"it forgot what it had, .*; run `migrate --follow` again"):
        follow(moved, redis_url)
    again(moved, redis_url)


def test_a_foreign_value_in_the_middle_is_named_and_put_right(moved: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    client.set("user:1:activities", "theirs")
    run_sql(moved, CHANGES["an activity older than all"])
    with pytest.raises(HelpersError, match="WRONGTYPE"):
        follow(moved, redis_url)
    with pytest.raises(HelpersError, match=r"met what it had not written .*; run `migrate --follow` again"):
        follow(moved, redis_url)
    again(moved, redis_url)


def test_what_was_written_when_the_source_is_lost_counts(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "BACKOFF_S", (0.05,) * 5)
    send, read, sent = Checkpoint.send, Stream.read, list[bool]()

    def noted(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> None:
        send(self, commands, *arguments, **options)
        if b"many" in joined(commands):
            sent.append(True)

    def lose(self: Stream) -> bytes | None:
        if len(sent) == 3:
            sent.append(True)
            raise SourceLost("postgres at somewhere: gone")
        return read(self)

    monkeypatch.setattr(follower, "MOST_CHANGES", 10)
    monkeypatch.setattr(Checkpoint, "send", noted)
    monkeypatch.setattr(Stream, "read", lose)
    run_sql(
        moved, "INSERT INTO activities SELECT n, 1, 'many', '2026-01-01' FROM generate_series(100, 149) n"
    )
    result = follow(moved, redis_url)
    assert (result["changes"]["activities"], result["parts"], result["transactions"]) == (50, 5, 1)
    assert verified(moved, redis_url)


def test_an_answer_that_was_never_read_is_applied_once(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks behind EXEC: the transaction is there, and is not applied again."""
    monkeypatch.setattr(job, "BACKOFF_S", (0.05,) * 5)
    send, client = Checkpoint.send, connections.redis(redis_url)
    lost: list[bool] = []

    def cut(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> None:
        before = client.hget("migration:state", "follow:position")
        send(self, commands, *arguments, **options)
        if not lost and b"older" in joined(commands):
            until(lambda: client.hget("migration:state", "follow:position") != before)
            lost.append(True)
            self.connection.close()

    monkeypatch.setattr(Checkpoint, "send", cut)
    run_sql(moved, "INSERT INTO activities VALUES (90, 1, 'older', '2020-01-01')")
    follow(moved, redis_url)
    assert lost and verified(moved, redis_url)


def end_readers(source: str) -> None:
    """End the server's side of every stream, as a network that breaks does."""
    run_sql(source, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_replication")


def test_a_stream_that_is_lost_again_and_again_is_given_up(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(job, "BACKOFF_S", (0.01, 0.02, 0.03))
    opened: list[Stream] = []

    def lost(*arguments: Any) -> Stream:
        assert len(opened) < 20, "endlessly"
        opened.append(Stream(*arguments))
        opened[-1]._connection.close()
        return opened[-1]

    monkeypatch.setattr(following, "Stream", lost)
    before = dump(redis_url)
    run_sql(moved, CHANGES["inserts"])
    ways = ["--source", moved, "--target", redis_url, "--until-idle", "0"]
    assert cli.main(["follow", *ways]) == 2
    assert re.fullmatch(
        r"helpers follow: postgres at .*: slot \w+: .*; 0 transactions applied by this run.*, the same "
        "command goes on from there",
        capsys.readouterr().err.splitlines()[-1],
    )
    assert len(opened) == 4, "once, and after each of three waits"
    assert dump(redis_url) == before and not connections.redis(redis_url).exists("migration:lease")
    monkeypatch.undo()
    assert follow(moved, redis_url)["transactions"] == 1
    assert verified(moved, redis_url)


def test_a_stream_that_is_lost_after_each_change_is_not_given_up(
    moved: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tries are counted anew whenever something was applied."""
    monkeypatch.setattr(job, "BACKOFF_S", (0.01, 0.02))
    send, times = Checkpoint.send, 0

    def cut(self: Checkpoint, commands: Strings = NOTHING, *arguments: Any, **options: Any) -> None:
        nonlocal times
        send(self, commands, *arguments, **options)
        if b"EVAL" in joined(commands) and times < 5:
            times += 1
            end_readers(moved)
            run_sql(moved, f"INSERT INTO activities VALUES (200 + {times}, 1, 'x', '2026-01-01')")

    monkeypatch.setattr(Checkpoint, "send", cut)
    run_sql(moved, "INSERT INTO activities VALUES (200, 1, 'x', '2026-01-01')")
    result = follow(moved, redis_url)
    assert times == 5 and result["changes"]["activities"] == 6
    assert verified(moved, redis_url)


def test_another_schema_of_the_same_database_is_another_source(
    moved: str, redis_url: str, postgres_server: str
) -> None:
    """Also where its tables look the same, and it is followed to somewhere else."""
    name = moved.rpartition("%3D")[2]
    other = connections.with_schema(postgres_server, f"{name}_other")
    run_sql(moved, f"CREATE SCHEMA {name}_other")
    try:
        run_sql(other, *schema.DDL.values(), ROWS, *FULL)
        migrate(other, redis_url, follow=True, prefix="other:")
        run_sql(other, CHANGES["inserts"])
        before, position = dump(redis_url), connections.redis(redis_url).hgetall("migration:state")
        with pytest.raises(HelpersError, match=r"holds a migration of another source .*; check --source"):
            follow(other, redis_url)
        with pytest.raises(HelpersError, match=r"follows another source .*; check --source"):
            following.drop_slot(other, redis_url)
        assert dump(redis_url) == before
        assert connections.redis(redis_url).hgetall("migration:state") == position
        assert len(slots(moved)) == len(slots(other)) == 1
        assert follow(moved, redis_url)["transactions"] == 0
        assert follow(other, redis_url, prefix="other:")["transactions"] == 1
        following.drop_slot(other, redis_url, prefix="other:")
    finally:
        run_sql(moved, f"DROP SCHEMA {name}_other CASCADE")


def test_what_the_version_before_began_is_followed(moved: str, redis_url: str) -> None:
    """Its state has no model, and says less of the tables."""
    client: Any = connections.redis(redis_url, decode_responses=True)
    seen = json.loads(client.hget("migration:state", "follow:tables"))
    less = {name: {"oid": one["oid"], "columns": one["columns"]} for name, one in seen.items()}
    client.hset("migration:state", mapping={"format": "3", "follow:tables": json.dumps(less)})
    client.hdel("migration:state", "model", "tables")
    run_sql(moved, CHANGES["prices"], CHANGES["TRUNCATE in the middle"])
    assert follow(moved, redis_url)["truncated"] == 2
    assert verified(moved, redis_url)
    with pytest.raises(HelpersError, match="another model than model; leave --model out"):
        follow(moved, redis_url, model='[[key]]\nname = "u:{user_id}"\ntype = "hash"\ntable = "users"\n')
    client.close()


IDS = (-1, -100, 100, -9, -10, -11, -2, -99, -(2**31), 2**31 - 1, 99, -101, 0)


def test_activities_of_one_moment_are_in_the_order_of_their_numbers(moved: str, redis_url: str) -> None:
    """Also of negative ones, and whichever comes first."""
    for number in IDS:
        run_sql(moved, f"INSERT INTO activities VALUES ({number}, 1, 'of {number}', '2026-01-01')")
        follow(moved, redis_url)
    client: Any = connections.redis(redis_url, decode_responses=True)
    kinds = [element.partition(":")[0] for element in client.lrange("user:1:activities", 0, len(IDS) - 1)]
    assert kinds == [f"of {number}" for number in sorted(IDS)]
    assert verified(moved, redis_url)
    run_sql(moved, "UPDATE activities SET activity_type = 'new' WHERE activity_id IN (-10, -100, 99)")
    run_sql(moved, "DELETE FROM activities WHERE activity_id IN (-9, -11, 0)")
    follow(moved, redis_url)
    assert verified(moved, redis_url)


# -- slots that are left behind


def test_nothing_of_a_failed_test_stays(moved: str, redis_url: str, postgres_server: str) -> None:
    """A follower that runs, one that sleeps, one of this process, and a slot that nobody reads."""
    migrate(moved, redis_url, follow=True, prefix="b:")
    migrate(moved, redis_url, follow=True, prefix="c:")
    name = migrate(moved, redis_url, follow=True, prefix="d:")["slot"]
    runs, sleeps = start(moved, redis_url, "follow"), start(moved, redis_url, "follow", "--prefix", "b:")
    with Stream(moved, name, name.rpartition("_")[0], 0):
        until(lambda: sum(found.active for found in slots(moved)) == 3)
        sleeps.send_signal(signal.SIGSTOP)
        assert len(slots(moved)) == 4
        leave_nothing(postgres_server)
    assert slots(moved) == [] and None not in (runs.poll(), sleeps.poll())
    with Upstream(moved) as upstream:
        assert upstream.ask("SELECT 1 FROM pg_publication WHERE starts_with(pubname, 'helpers')") == []


def test_a_slot_left_behind_is_told_and_dropped_by_name(moved: str, redis_url: str, capsys: Any) -> None:
    connections.redis(redis_url).flushdb()
    (left,) = slots(moved)
    warned = [w for w in migrate(moved, redis_url)["warnings"] if left.name in w]
    assert re.fullmatch(
        rf"nobody follows from slot {left.name}, which keeps [\d.]+ \w+ of WAL; go on with `follow` on its "
        rf"target, or drop it: `follow --drop-slot {left.name}`",
        warned[0],
    )
    assert any(left.name in w for w in migrate(moved, redis_url, dry_run=True)["warnings"])
    seen = verification.verify(moved, redis_url, progress=False)
    said = [line for line in verification.describe(seen) if line.startswith("warning: nobody follows from")]
    assert any(left.name in line for line in said)
    ways = ["--source", moved, "--target", redis_url]
    assert cli.main(["follow", *ways, "--drop-slot", left.name]) == 0
    assert re.fullmatch(rf"dropped: slot {left.name}, which kept .* of WAL\n", capsys.readouterr().out)
    assert slots(moved) == []
    with Upstream(moved) as upstream:
        assert upstream.ask("SELECT 1 FROM pg_publication WHERE pubname = %s", (left.name[:-9],)) == []
    assert cli.main(["follow", *ways, "--drop-slot", "somebody_elses"]) == 2
    assert "was not made by `migrate --follow`; left alone" in capsys.readouterr().err


def test_ended_it_is_a_migration_as_any_other(moved: str, redis_url: str, capsys: Any) -> None:
    ways = ["--source", moved, "--target", redis_url]
    assert cli.main(["follow", *ways, "--drop-slot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dropped"] is True
    assert slots(moved) == []
    fields: list[Any] = connections.redis(redis_url).hkeys("migration:state")
    assert not [field for field in fields if field.startswith(b"follow:")]
    run_sql(moved, CHANGES["inserts"])
    assert migrate(moved, redis_url)["status"] == "verified"


def test_two_targets_of_one_source(moved: str, redis_url: str) -> None:
    migrate(moved, redis_url, follow=True, prefix="b:")
    run_sql(moved, CHANGES["inserts"])
    follow(moved, redis_url)
    following.drop_slot(moved, redis_url)
    follow(moved, redis_url, prefix="b:")
    assert verified(moved, redis_url) and verified(moved, redis_url, prefix="b:")


def test_a_prefix_and_a_keyword_string(live: str, redis_url: str, postgres_server: str) -> None:
    migrate(live, redis_url, follow=True, prefix="p*:")
    run_sql(live, CHANGES["TRUNCATE in the middle"])
    connections.redis(redis_url).set("user:7", "theirs")
    follow(live, redis_url, prefix="p*:")
    assert verified(live, redis_url, prefix="p*:")
    assert connections.redis(redis_url).get("user:7") == b"theirs"


def test_an_inexact_date_stops_it_by_name(moved: str, redis_url: str) -> None:
    run_sql(moved, "UPDATE activities SET activity_date = '9999-12-31 23:59:59.999999' WHERE activity_id = 7")
    with pytest.raises(HelpersError, match=r"row 7 of activities has .* \(beyond 2255"):
        follow(moved, redis_url)
    run_sql(moved, "UPDATE activities SET activity_date = '9999-12-31 23:59:59' WHERE activity_id = 7")
    again(moved, redis_url)


def test_values_stored_apart(live: str, redis_url: str) -> None:
    """A long text that does not change is not sent with an update."""
    column = "product_name"
    run_sql(live, f"ALTER TABLE products ALTER {column} TYPE text, ALTER {column} SET STORAGE EXTERNAL")
    run_sql(live, f"UPDATE products SET {column} = repeat('long ', 5000) || product_id")
    migrate(live, redis_url, follow=True)
    run_sql(live, "UPDATE products SET price = 1", "UPDATE products SET product_id = 60 WHERE product_id = 1")
    follow(live, redis_url)
    assert verified(live, redis_url)


def test_restored_after_following(moved: str, redis_url: str, postgres_server: str) -> None:
    """What following leaves is a finished migration, with the right numbers of rows."""
    run_sql(moved, CHANGES["deletes with cascades"], CHANGES["rows that cannot be held any more"])
    result = follow(moved, redis_url)
    with Source(moved) as snapshot:
        rows = snapshot.counts()
    state = connections.redis(redis_url, decode_responses=True).hgetall("migration:state")
    assert state["status"] == "complete"
    assert {t: result["rows_held"][t] + result["rows_rejected"][t] for t in rows} == rows
    assert json.loads(state["rows_held"]) == result["rows_held"]
    name = f"{moved.rpartition('%3D')[2]}_back"
    try:
        restored = restoration.restore(redis_url, postgres_server, schema=name, progress=False)
        assert restored["rows"] == result["rows_held"]
        (warning,) = restored["warnings"]
        assert warning.startswith("3 rows (") and "the migration rejected" in warning
    finally:
        run_sql(postgres_server, f"DROP SCHEMA IF EXISTS {name} CASCADE")


def test_a_large_transaction_is_larger_than_a_part() -> None:
    assert LARGE > 2 * follower.MOST_CHANGES


def test_the_command_as_a_process(moved: str, redis_url: str) -> None:
    run_sql(moved, CHANGES["inserts"])
    command = start(moved, redis_url, "follow", "--until-idle", "0.2")
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, err
    assert out.startswith("applied: 1 transaction with changes: 1 of users and 2 of activities; at ")
    assert "Traceback" not in err
    assert isinstance(command, subprocess.Popen)
