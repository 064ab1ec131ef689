"""Who holds a lease is known again, and known to be dead."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from following import FULL
from migrating import migrate, run_sql, until
from proxy import proxy

from helpers.columns import Strings, column_of
from helpers.errors import HelpersError
from helpers.migration import comparing, following
from helpers.migration.expected_replies import Expectations
from helpers.migration.follower import Lag
from helpers.servers import connections
from helpers.source import Source
from helpers.target import Checkpoint, checkpoint, lease, resp
from helpers.target.checkpoint import PartitionCheckpoint


def test_this_process_is_alive_and_has_one_token_a_call() -> None:
    assert lease.still_runs(lease.new_token()) is True
    assert lease.new_token() != lease.new_token()
    assert lease.holder(lease.new_token()) == f"process {os.getpid()} of this machine"


def test_one_that_ended_is_dead_also_while_its_parent_does_not_look() -> None:
    code = "from helpers.target import lease; print(lease.new_token(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        token = process.stdout.readline()
        assert lease.still_runs(token) is True
        process.kill()
        deadline = time.monotonic() + 60
        while lease.still_runs(token) is not False and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.returncode is None  # nobody has waited for it
        assert lease.still_runs(token) is False
    assert lease.still_runs(token) is False


def test_another_process_with_the_same_number_is_not_it() -> None:
    mark, machine, pid, started = lease.new_token().split()
    assert lease.still_runs(f"{mark} {machine} {pid} {int(started) - 1}") is False


@pytest.mark.parametrize("place", [1, 2])
def test_nothing_is_known_of_other_machines(place: int) -> None:
    parts = lease.new_token().split()
    parts[place] = "ffffffffffffffff"
    assert lease.still_runs(" ".join(parts)) is None
    assert place == 2 or lease.holder(" ".join(parts)) == f"process {os.getpid()} of another machine"


@pytest.mark.parametrize("text", ["", "theirs", "a b c d e", "\n"])
def test_what_is_no_token_is_another_programs(text: str) -> None:
    assert lease.still_runs(text) is None
    assert lease.holder(text) == "another program"


def test_the_time_of_day_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    token = lease.new_token()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert lease.still_runs(token) is True and lease.new_token().split()[1:] == token.split()[1:]


@pytest.fixture
def held(redis_url: str) -> Iterator[tuple[Checkpoint, Callable[[], int]]]:
    """A lease that is held, and how many milliseconds are left of it."""
    client: Any = connections.redis(redis_url)
    with contextlib.closing(resp.Connection(redis_url)) as connection:
        found = Checkpoint(connection, "")
        found.acquire()
        yield found, lambda: client.pttl("migration:lease")


@pytest.mark.slow
@pytest.mark.parametrize("state", [None, {"x": 1}])
def test_a_commit_prolongs_the_lease_to_its_full_life(
    held: tuple[Checkpoint, Callable[[], int]], state: dict[str, Any] | None
) -> None:
    holding, left_ms = held
    time.sleep(3)
    before = left_ms()
    holding.commit(state=state)
    assert before <= lease.LEASE_MS - 3000 and before + 1000 < left_ms() <= lease.LEASE_MS


def test_a_renewal_is_made_when_it_is_due_and_not_before(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str
) -> None:
    holding, left_ms = held
    third = lease.LEASE_MS / 3000

    def renews() -> bool:
        time.sleep(0.05)
        before = left_ms()
        holding.renew_when_due()
        return left_ms() > before

    assert not renews()
    holding.renewed = time.monotonic() - third + 2
    assert not renews()
    holding.renewed = time.monotonic() - third - 0.1
    assert renews() and left_ms() > lease.LEASE_MS // 2
    assert not renews(), "it is counted from there"
    holding.renewed = time.monotonic() - third - 0.1
    holding.commit(state={"x": 1})
    assert not renews(), "a commit is a renewal, too"
    holding.renewed = time.monotonic() - third - 0.1
    connections.redis(redis_url).delete("migration:lease")
    with pytest.raises(lease.LeaseLost):
        holding.renew_when_due()


def test_the_lease_of_a_partition_lives_until_it_is_taken(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str
) -> None:
    holding, left_ms = held
    with contextlib.closing(resp.Connection(redis_url)) as connection:
        one = PartitionCheckpoint(connection, "", "users", holding.token)
        one.take()
        client: Any = connections.redis(redis_url)
        for _ in range(2):
            assert client.pttl("migration:claim:users") > 12 * 60 * 60 * 1000
            before = left_ms()
            time.sleep(0.05)
            one.commit()
            assert left_ms() < before, "a worker does not keep a coordinator's lease alive"


def test_a_lease_that_was_replaced_behind_a_batch_is_noticed(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str
) -> None:
    """The batch was still ours; the next one would be watched over in vain."""
    holding, _ = held
    with pytest.raises(lease.LeaseLost):
        holding.commit(column_of(resp.encode("SET", "x", 1), resp.encode("SET", holding.lease, "theirs")))
    assert connections.redis(redis_url).get("x") == b"1"


def test_nothing_is_written_once_a_lease_was_replaced_since_it_was_taken(redis_url: str) -> None:
    client: Any = connections.redis(redis_url)
    with contextlib.closing(resp.Connection(redis_url)) as connection:
        holding = Checkpoint(connection, "")
        holding.acquire()
        client.set("migration:lease", "theirs")
        with pytest.raises(lease.LeaseLost):
            holding.commit(column_of(resp.encode("SET", "x", 1)))
    assert not client.exists("x")


def setting(key: str) -> Strings:
    return column_of(resp.encode("SET", key, 1))


def test_a_batch_that_is_sent_is_known_to_be_written_once_something_waited_for_it(
    held: tuple[Checkpoint, Callable[[], int]],
) -> None:
    holding, _ = held
    written: list[int] = []
    for number in range(3):
        holding.send(setting("x"), {"at": number}, written=partial(written.append, number))
        assert written == list(range(number)), "the one before"
    assert holding.commit(column_of(resp.encode("GET", "x"))) == [b"1"]
    assert written == [0, 1, 2] and holding.read()["at"] == "2"
    assert holding.settle() == [], "nothing is left"


def test_the_next_batch_is_on_its_way_before_the_reply_to_the_last_one(redis_url: str) -> None:
    """But its EXEC is not."""
    second = threading.Event()
    seen: list[bytes] = []

    def asked(data: bytes) -> bytes:
        seen.append(data)
        if b"second" in data:
            second.set()
        return data

    def answered(data: bytes) -> bytes:
        if b"of the first" in data:
            assert second.wait(60)
            time.sleep(0.2)
            assert b"EXEC" not in b"".join(seen).partition(b"second")[2]
        return data

    with proxy(redis_url, asked=asked, answered=answered) as port:
        connection = resp.Connection(re.sub(r":\d+/", f":{port}/", redis_url))
        with contextlib.closing(connection):
            holding = Checkpoint(connection, "")
            holding.acquire()
            holding.send(column_of(resp.encode("ECHO", "of the first")))
            holding.send(column_of(resp.encode("ECHO", "second")))
            assert holding.settle() == [b"second"]
            holding.release()


@pytest.mark.parametrize("partition", [False, True])
@pytest.mark.parametrize("between", [False, True])
def test_who_lost_the_lease_writes_nothing_that_was_sent(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str, partition: bool, between: bool
) -> None:
    """Lost before the first of two batches, or between them: what is on its way is never executed."""
    holding, _ = held
    client: Any = connections.redis(redis_url)
    with contextlib.closing(resp.Connection(redis_url)) as connection:
        one = holding
        if partition:
            one = PartitionCheckpoint(connection, "", "users", holding.token)
            one.take()
        if between:
            one.send(setting("x"))
            until(lambda: client.exists("x"))
        client.set(one.lease, "theirs")
        with pytest.raises(lease.LeaseLost):
            one.send(setting("y"))
            one.send(setting("z"))
            one.settle()
        assert one.settle() == []
        assert sorted(client.keys("?")) == [b"x"] * between


def test_a_coordinator_that_is_gone_ends_what_its_worker_has_sent(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str
) -> None:
    holding, _ = held
    client: Any = connections.redis(redis_url)
    with contextlib.closing(resp.Connection(redis_url)) as connection:
        one = PartitionCheckpoint(connection, "", "users", holding.token)
        one.take()
        client.delete("migration:lease")
        one.send(setting("x"))
        with pytest.raises(lease.LeaseLost):
            one.send(setting("y"))
    assert client.keys("?") == [b"x"]


def test_behind_a_batch_that_failed_nothing_is_written(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str
) -> None:
    holding, _ = held
    client: Any = connections.redis(redis_url)
    written: list[int] = []
    holding.commit(state={"at": 0})
    wrong = column_of(resp.encode("LPUSH", "migration:state", 1))
    holding.send(wrong, doing="first", written=partial(written.append, 1))
    with pytest.raises(resp.Refused, match="first: WRONGTYPE"):
        holding.send(setting("y"), {"at": 1})
    assert not written
    assert holding.commit(column_of(resp.encode("GET", "y"))) == [None], "the connection can be used"
    holding.release()
    assert client.hgetall("migration:state") == {b"at": b"0"}
    assert client.keys("?") == [] and not client.exists("migration:lease")


def test_behind_a_batch_that_failed_the_lease_is_watched_as_before(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str
) -> None:
    holding, _ = held
    client: Any = connections.redis(redis_url)
    holding.commit(state={"at": 0})
    holding.send(column_of(resp.encode("LPUSH", "migration:state", 1)))
    with pytest.raises(resp.Refused):
        holding.send(setting("y"))
    client.set("migration:lease", "theirs")
    with pytest.raises(lease.LeaseLost):
        holding.commit(setting("z"))
    holding.release()
    assert client.keys("?") == [] and client.get("migration:lease") == b"theirs"


def test_what_was_sent_before_a_release_ends_with_its_connection(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that sends may not have ended yet: it finds the closed connection, and no other."""
    holding, _ = held
    client: Any = connections.redis(redis_url)
    give_back = Checkpoint._give_back

    def meanwhile(self: Checkpoint) -> None:
        assert holding.connection is not self.connection
        give_back(self)

    monkeypatch.setattr(Checkpoint, "_give_back", meanwhile)
    holding.send(setting("x"))
    until(lambda: client.exists("x"))
    holding.connection.close()
    holding.release(redis_url)
    assert not client.exists("migration:lease")
    with pytest.raises(resp.Lost):
        holding.send(setting("y"), {"at": 1})
    assert client.keys("?") == [b"x"] and not client.exists("migration:state")


def test_a_renewal_counts_from_when_it_was_sent(held: tuple[Checkpoint, Callable[[], int]]) -> None:
    """The reply may be read much later, and the lease has run since."""
    holding, _ = held
    holding.send(state={"at": 1})
    sent = time.monotonic()
    time.sleep(0.2)
    holding.settle()
    assert holding.renewed <= sent


@pytest.mark.parametrize("anew", [False, True])
def test_a_lease_of_another_is_not_given_back(
    held: tuple[Checkpoint, Callable[[], int]], redis_url: str, anew: bool
) -> None:
    holding, _ = held
    client: Any = connections.redis(redis_url)
    client.set("migration:lease", "theirs")
    holding.release(redis_url if anew else None)
    assert client.get("migration:lease") == b"theirs"


def test_a_dead_ones_lease_that_somebody_else_took_meanwhile_is_left_alone(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = connections.redis(redis_url)
    client.set("migration:lease", "of a dead one", px=15_000)
    theirs = lease.new_token()

    def quicker(token: str) -> bool:
        client.set("migration:lease", theirs, px=15_000)
        return token != "of a dead one"

    monkeypatch.setattr(checkpoint, "still_runs", quicker)
    connection = resp.Connection(redis_url)
    with pytest.raises(HelpersError, match="another migration is under way"):
        Checkpoint(connection, "").acquire()
    connection.close()
    assert client.get("migration:lease") == theirs.encode()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Leases last a few seconds; who took one."""
    taken: list[Any] = []
    acquire = Checkpoint.acquire

    def noted(self: Checkpoint, *arguments: Any) -> None:
        taken.append(self)
        acquire(self, *arguments)

    monkeypatch.setattr(checkpoint, "LEASE_MS", 4_500)
    monkeypatch.setattr(Checkpoint, "life_ms", 4_500)
    monkeypatch.setattr(Checkpoint, "acquire", noted)
    return taken


@pytest.mark.slow
def test_a_source_that_is_slow_does_not_cost_the_lease(
    source: str, redis_url: str, short: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it sorts what is to be loaded, and what is to be compared."""
    chunks = Source.chunks

    def slow(self: Source, query: str, *arguments: Any, **options: Any) -> None:
        time.sleep(6 if "activity_date" in query else 0)
        chunks(self, query, *arguments, **options)

    monkeypatch.setattr(Source, "chunks", slow)
    result = migrate(source, redis_url)
    assert (result["status"], result["caught_up"], len(short)) == ("verified", {}, 1)


@pytest.mark.slow
def test_a_target_that_is_compared_for_long_does_not_cost_the_lease(
    source: str, redis_url: str, short: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, client, left_ms = comparing.Comparison._ask, connections.redis(redis_url), list[Any]()

    def slow(self: comparing.Comparison, asked: Expectations) -> None:
        time.sleep(0.5)
        left_ms.append(client.pttl("migration:lease"))
        ask(self, asked)

    monkeypatch.setattr(comparing, "WINDOW_ROWS", 5)
    monkeypatch.setattr(comparing.Comparison, "_ask", slow)
    assert (migrate(source, redis_url)["status"], len(short)) == ("verified", 1)
    assert len(left_ms) > 10 and min(left_ms) > 0


@pytest.mark.slow
def test_a_follower_without_anything_to_apply_keeps_the_lease(
    source: str, redis_url: str, short: list[Any]
) -> None:
    run_sql(source, *FULL)
    migrate(source, redis_url, follow=True, verify=False)
    client, left_ms = connections.redis(redis_url), list[Any]()

    def look(_: Lag) -> None:
        left_ms.append(client.pttl("migration:lease"))

    following.follow(source, redis_url, until_idle_s=6.5, shown=False, report=look)
    following.drop_slot(source, redis_url)
    assert len(left_ms) > 5 and min(left_ms) > 0
    assert len(short) == 3, "each took it once"
