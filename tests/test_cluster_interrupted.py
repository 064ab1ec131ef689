"""Movers that are killed or paused, masters that are lost, slots that move: the same command goes on."""

import contextlib
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from clustered import STATE, empty, held, state
from following import start
from migrating import dump, migrate, run_sql, until as when

from helpers.columns import NOTHING, Strings, column_of, joined
from helpers.errors import HelpersError
from helpers.migration import loading, parallel, verification
from helpers.relational import population
from helpers.servers import connections
from helpers.servers.redis_cluster import Cluster, cluster as throw_away
from helpers.servers.redis_nodes import until
from helpers.target import (
    checkpoint,
    checkpoint_of,
    cluster,
    cluster_checkpoint,
    connect,
    keyspace,
    partition_checkpoint_of,
    resp,
    routing,
)
from helpers.target.lease import LEASE_MS, LeaseLost, new_token


@pytest.fixture
def many(postgres_url: str) -> str:
    """The URL of a source whose load takes a second or two in small batches."""
    population.populate(postgres_url, users=60, products=30, activities=9_000, orders=1_500, progress=False)
    return postgres_url


def lengths(nodes: Cluster) -> dict[str, int]:
    with nodes.client() as client:
        keys = list(client.scan_iter("user:*:activities", count=1000))
        return {key: client.llen(key) for key in keys}


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """What all connections to clusters met together."""
    found: Counter[str] = Counter()
    begin = cluster.Cluster.__init__

    def counted(self: cluster.Cluster, url: str, first: resp.Connection) -> None:
        begin(self, url, first)
        self.met = found

    monkeypatch.setattr(cluster.Cluster, "__init__", counted)
    return found


def test_killed_at_random_moments(many: str, redis_url: str, nodes: Cluster) -> None:
    migrate(many, redis_url)
    wanted = dump(redis_url)
    chance = random.Random(5)
    kills = 0
    more: list[str] = []
    for _ in range(15):
        before = state(nodes)
        with start(many, nodes.urls[0], "migrate", "--batch-rows", "60", "--no-verify", *more) as process:
            when(lambda: process.poll() is not None or state(nodes) != before)  # noqa: B023
            time.sleep(chance.uniform(0, 0.1))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
        more = ["--restart"] * (process.returncode == 0)
        for key, length in lengths(nodes).items():
            assert length <= len(wanted[key.encode()]), key
        if kills == 6:
            break
    assert kills == 6
    result = migrate(many, nodes.urls[0], batch_rows=60)
    assert (result["status"], result["differences"]) == ("verified", 0)
    assert result["caught_up"] == {}, "exactly once, and not put right"
    assert held(nodes) == wanted


@pytest.mark.parametrize("rows", [7, 45])
def test_a_batch_that_was_written_but_not_recorded_is_not_doubled(
    source: str, redis_url: str, nodes: Cluster, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """The mover dies between the answers of the nodes and the checkpoint; batches are cut elsewhere then."""

    class Stop(Exception):
        pass

    run_sql(source, "UPDATE activities SET user_id = 1 WHERE activity_id < 25")
    migrate(source, redis_url)
    call = cluster.Cluster.call

    def dies(self: cluster.Cluster, *words: Any) -> Any:
        if cluster_checkpoint.COMMIT in words and "position:activities" in words:
            raise Stop
        return call(self, *words)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(cluster.Cluster, "call", dies)
            with pytest.raises(Stop):
                migrate(source, nodes.urls[0], batch_rows=rows)
        with nodes.client() as client:
            client.delete(f"{STATE}:lease")
            assert client.exists("user:1:activities")
        for key, length in lengths(nodes).items():
            assert length <= len(dump(redis_url)[key.encode()])
    result = migrate(source, nodes.urls[0], batch_rows=4)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
    assert held(nodes) == dump(redis_url)


def agree(nodes: Cluster) -> None:
    """Wait until all nodes tell the same of all slots, and will not take it back."""
    until(lambda: len({str(node.ask("CLUSTER SLOTS")) for node in nodes.nodes}) == 1, "all nodes agree")
    time.sleep(0.2)  # what they told each other before has come by then


@contextlib.contextmanager
def moving(nodes: Cluster, begins: Callable[[], Any]) -> Iterator[None]:
    """Slots go from node to node, from a moment on until the end; then they go back."""
    end, failed = threading.Event(), []
    before = [nodes.slots(node)[0] for node in nodes.nodes]

    def move() -> None:
        try:
            when(begins)
            while not end.is_set():
                for i, part in enumerate(before):
                    giver, taker = nodes.nodes[i], nodes.nodes[(i + 1) % 3]
                    for some in (range(part[k], part[k] + 200) for k in (0, 400, 800)):
                        nodes.move(some, giver, taker, lambda what: time.sleep(0.05))
                        agree(nodes)
                        nodes.move(some, taker, giver, lambda what: None)
                        agree(nodes)
                        if end.is_set():
                            return
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert not failed
    nodes.settle()


def test_slots_that_move_during_the_load(
    many: str, redis_url: str, nodes: Cluster, met: "Counter[str]"
) -> None:
    migrate(many, redis_url)
    with moving(nodes, lambda: "rows:users" in state(nodes)):
        for _ in range(10):  # how many of its batches meet a slot under way is chance
            result = migrate(many, nodes.urls[0], batch_rows=60, replace=True)
            assert (result["status"], result["rows_loaded_now"]) == ("verified", 10_590)
            if met["ASK"] and met["MOVED"]:
                break
    assert met["ASK"] > 0 and met["MOVED"] > 0, met
    assert held(nodes) == dump(redis_url)


def test_slots_that_move_while_it_is_verified(
    many: str, nodes: Cluster, met: "Counter[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extra key is found, and only it, while keys are under way; so is what is removed."""
    url = nodes.urls[0]
    migrate(many, url, verify=False)
    monkeypatch.setattr(keyspace, "SCAN_COUNT", 50)
    with nodes.client() as client:
        client.hset("order:99999", "quantity", 1)
    exchange = cluster.Cluster.exchange

    def slow(self: cluster.Cluster, *commands: bytes) -> bytes:
        time.sleep(0.03)
        return exchange(self, *commands)

    monkeypatch.setattr(cluster.Cluster, "exchange", slow)
    with moving(nodes, lambda: True):
        deadline = time.monotonic() + 120
        while not (met["ASK"] and met["MOVED"]) and time.monotonic() < deadline:
            found = verification.verify(many, url, progress=False)
            assert found["by_problem"] == {"extra key": 1}, found["examples"]
        assert met["ASK"] > 0 and met["MOVED"] > 0, met
        assert migrate(many, url)["caught_up"] == {"extra key": 1}
    assert verification.verify(many, url, progress=False)["differences"] == 0


def test_keys_on_their_way_to_a_node_without_slots_are_seen(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a cluster grows, and who grows it has stopped in the middle."""
    with throw_away(3, 0, "cluster-allow-replica-migration no") as nodes:
        giver, _, new = nodes.nodes
        nodes.move(nodes.slots(new)[0], new, giver, lambda what: None)
        agree(nodes)
        url = nodes.urls[1]
        migrate(source, url)
        with nodes.client() as client:
            client.hset("order:777", "quantity", 1)
            client.hset("x:order:777", "quantity", 1)
        for key in ("order:777", "x:order:777", "user:1", "user:1:activities"):
            slot = giver.ask("CLUSTER KEYSLOT", key)
            (owner,) = (node for node in nodes.nodes[:2] if any(slot in part for part in nodes.slots(node)))
            new.ask("CLUSTER SETSLOT", slot, "IMPORTING", owner.ask("CLUSTER MYID"))
            owner.ask("CLUSTER SETSLOT", slot, "MIGRATING", new.ask("CLUSTER MYID"))
            secret = urlsplit(new.url).password
            owner.ask("MIGRATE", "127.0.0.1", new.port, key, 0, 5000, "AUTH", secret)
        assert new.ask("DBSIZE") == 4
        assert verification.verify(source, url, progress=False)["by_problem"] == {"extra key": 1}
        with pytest.raises(HelpersError, match=r"no migration wrote .such as x:order:777"):
            migrate(source, url, prefix="x:")
        assert migrate(source, url)["caught_up"] == {"extra key": 1}
        assert migrate(source, url, replace=True)["status"] == "verified"
        assert migrate(source, url, flushdb=True)["status"] == "verified"
        assert sum(node.ask("DBSIZE") for node in nodes.nodes) == 34 + 1


def test_who_lost_the_lease_cannot_write(source: str, nodes: Cluster) -> None:
    """Not over the connections it has, nor over one that it opens later."""
    url = nodes.urls[0]
    migrate(source, url)
    slow, other = (checkpoint_of(connect(url), "") for _ in range(2))
    slow.acquire()
    writes = column_of(*(resp.encode("HSET", f"user:{n}", "email", "old") for n in range(1, 7)))
    late = connect(nodes.urls[1])  # as one that has just come, before it is named
    with nodes.client() as client:
        client.delete(slow.lease.decode())  # its time is over
    other.acquire()
    before = held(nodes, b"\0")
    with pytest.raises((LeaseLost, resp.Lost)):
        slow.commit(writes)
    assert held(nodes, b"\0").keys() == before.keys()
    assert held(nodes) == {key: value for key, value in before.items() if b"migration:" not in key}
    assert isinstance(late, cluster.Cluster)
    slow.connection = late
    with pytest.raises(LeaseLost):
        slow._enter_and_check(late.masters()[0])
    assert other.commit(column_of(resp.encode("HSET", "user:1", "email", "new"))) == [0]
    other.release()
    for connection in (late, other.connection):
        connection.close()


def test_who_lost_the_lease_opens_no_connection_any_more(nodes: Cluster) -> None:
    slow = checkpoint_of(connect(nodes.urls[0]), "")
    slow.acquire()
    assert isinstance(slow.connection, cluster.Cluster)
    for address in list(slow.connection._nodes):
        slow.connection._nodes.pop(address).close()
    with nodes.client() as client:
        client.set(slow.lease.decode(), "theirs")
    with pytest.raises(LeaseLost):
        slow.commit(column_of(*(resp.encode("HSET", f"user:{n}", "email", "old") for n in range(9))))
    assert held(nodes) == {}
    slow.connection.close()


def test_a_lease_that_is_lost_while_others_are_ended_is_noticed(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fence = checkpoint_of(connect(nodes.urls[0]), ""), cluster_checkpoint.ClusterCheckpoint._fence

    def lost(self: cluster_checkpoint.ClusterCheckpoint) -> None:
        fence(self)
        with nodes.client() as client:
            client.set(self.lease.decode(), "theirs")

    monkeypatch.setattr(cluster_checkpoint.ClusterCheckpoint, "_fence", lost)
    with pytest.raises(LeaseLost):
        slow.acquire()
    slow.connection.close()


def test_a_dead_ones_lease_that_somebody_else_took_meanwhile_is_left_alone(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = new_token()
    slow = checkpoint_of(connect(nodes.urls[0]), "")
    with nodes.client() as client:
        client.set(slow.lease.decode(), "of a dead one", px=15_000)

        def quicker(token: str) -> bool:
            client.set(slow.lease.decode(), theirs, px=15_000)
            return token != "of a dead one"

        monkeypatch.setattr(checkpoint, "still_runs", quicker)
        with pytest.raises(HelpersError, match="another migration is under way"):
            slow.acquire()
        assert client.get(slow.lease.decode()) == theirs
        slow.release()
        assert client.get(slow.lease.decode()) == theirs, "nor is it given back"
    slow.connection.close()


def test_a_connection_to_a_master_that_became_a_replica_is_ended_too() -> None:
    """It may become a master again, and what was sent over the connection then would be written."""
    with throw_away(3, 1) as nodes:

        def names() -> set[str]:
            found = {one["name"] for node in nodes.nodes for one in node.ask("CLIENT LIST")}
            return {name for name in found if name.startswith("migration:")}

        slow, old = checkpoint_of(connect(nodes.urls[0]), ""), nodes.nodes[1]
        slow.acquire()
        assert names() == {slow._name}
        taker = nodes.replica_of(old)
        taker.ask("CLUSTER", "FAILOVER")
        until(lambda: taker.ask("ROLE")[0] == "master" and old.ask("ROLE")[0] == "slave", "taken")
        agree(nodes)
        with nodes.client() as client:
            client.delete(slow.lease.decode())  # its time is over
        other = checkpoint_of(connect(nodes.urls[0]), "")
        other.acquire()
        assert names() == {other._name}
        other.release()
        for one in (slow, other):
            one.connection.close()


def test_a_list_that_is_shorter_than_it_was_is_left_to_the_comparison(nodes: Cluster) -> None:
    connection = connect(nodes.urls[0])
    assert isinstance(connection, cluster.Cluster)
    name = connection.script(cluster_checkpoint.PUSH)

    def push(before: int, *elements: str) -> list[Any]:
        length = connection.call("EVALSHA", name, 1, "list", before, *elements)
        held = [one.decode() for one in connection.call("LRANGE", "list", 0, -1)]
        assert length == len(held)
        return held

    assert push(0, "a", "b", "c") == ["a", "b", "c"]
    assert push(0, "a", "b", "c") == ["a", "b", "c"], "it came twice"
    assert push(0, "a", "b", "c", "d") == ["a", "b", "c", "d"], "cut elsewhere"
    assert push(4, "e") == push(4, "e") == ["a", "b", "c", "d", "e"]
    assert push(6, "g") == ["a", "b", "c", "d", "e"], "what is lost is not to be guessed"
    connection.close()


@pytest.mark.parametrize("lost", ["main", "own"])
def test_a_worker_without_its_coordinator_or_its_partition_moves_no_position(
    nodes: Cluster, lost: str
) -> None:
    """A lease that ran out, which nobody took: all connections are open still."""
    lead = checkpoint_of(connect(nodes.urls[0]), "")
    lead.acquire()
    one = partition_checkpoint_of(connect(nodes.urls[0]), "", "users", lead.token)
    one.take()
    one.commit(state={"rows:users": 1})
    with nodes.client() as client:
        client.delete((lead if lost == "main" else one).lease.decode())
    with pytest.raises(LeaseLost):
        one.commit(state={"rows:users": 2})
    assert state(nodes)["rows:users"] == "1"
    with nodes.client() as client:
        client.delete(lead.lease.decode(), one.lease.decode())
    for left in (lead, one):
        left.connection.close()


def test_partitions_that_were_taken_back_cannot_be_written(nodes: Cluster) -> None:
    lead = checkpoint_of(connect(nodes.urls[0]), "")
    lead.acquire()
    lead.commit(state={"claimed": "1"})
    one = partition_checkpoint_of(connect(nodes.urls[0]), "", "users", lead.token)
    one.take()
    lead.end_partition_leases()
    with pytest.raises((resp.Lost, LeaseLost)):
        one.commit(column_of(*(resp.encode("HSET", f"user:{n}", "email", "x") for n in range(9))))
    assert held(nodes) == {}
    lead.commit(column_of(resp.encode("HSET", "user:1", "email", "x")))
    lead.release()
    for left in (lead, one):
        left.connection.close()


def test_a_mover_that_was_paused_stops_and_changes_nothing(many: str, nodes: Cluster) -> None:
    with start(many, nodes.urls[0], "migrate", "--batch-rows", "20") as slow:
        when(lambda: "rows:activities" in state(nodes))
        slow.send_signal(signal.SIGSTOP)
        with nodes.client() as client:
            client.delete(f"{STATE}:lease")  # its time is over
        connection = connect(nodes.urls[1])
        other = checkpoint_of(connection, "")
        other.acquire()
        before = held(nodes)
        slow.send_signal(signal.SIGCONT)
        _, said = slow.communicate(timeout=120)
        assert slow.returncode == 2
        assert re.search(r"another migration is under way \(process \d+ of this machine", said), said
        assert held(nodes) == before
        other.release()
        connection.close()
    result = migrate(many, nodes.urls[0])
    assert (result["status"], result["resumed"]) == ("verified", True)


def test_connections_of_other_prefixes_are_left_alone(source: str, nodes: Cluster) -> None:
    first, second = (checkpoint_of(connect(nodes.urls[0]), prefix) for prefix in ("a:", "b:"))
    first.acquire()
    second.acquire()
    first.commit(state={"x": 1})
    for one in (first, second):
        one.release()
        one.connection.close()


def test_a_lost_master_is_replaced_by_its_replica(many: str) -> None:
    with throw_away(3, 1, timeout_ms=1500) as nodes:
        done = threading.Event()
        slot = routing.slot(STATE.encode())
        # It has the state and the lease, and the URL names it.
        (keeper,) = (node for node in nodes.masters() if any(slot in part for part in nodes.slots(node)))

        def kill() -> None:
            when(lambda: "rows:activities" in state(nodes))
            keeper.kill()
            done.set()

        thread = threading.Thread(target=kill)
        thread.start()
        result = migrate(many, keeper.url, batch_rows=60)
        thread.join()
        assert done.is_set() and result["status"] == "verified"
        assert verification.verify(many, nodes.urls[3], progress=False)["differences"] == 0
        for key, length in lengths(nodes).items():
            with connections.postgres(many) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM activities WHERE user_id = %s", (key.split(":")[1],))
                assert cursor.fetchone() == (length,), key
            connection.close()


def test_a_master_that_became_a_replica_is_not_believed(source: str) -> None:
    """Its replica took over without that any connection broke."""
    with throw_away(3, 1) as nodes:
        connection = connect(nodes.urls[0])
        assert isinstance(connection, cluster.Cluster)
        connection.check()
        (old,) = (node for node in connection.masters() if node.address == nodes.nodes[1].address)
        taker = nodes.replica_of(nodes.nodes[1])
        taker.ask("CLUSTER", "FAILOVER")
        until(lambda: taker.ask("ROLE")[0] == "master" and nodes.nodes[1].ask("ROLE")[0] == "slave", "taken")
        with pytest.raises(resp.Lost, match=f"redis at {nodes.nodes[1].address}: it is a master no more"):
            connection.check()
        with pytest.raises(resp.Lost, match="a master no more"):
            old.call("FLUSHDB")
        with pytest.raises(resp.Lost, match="a master no more"):
            connection.exchange(*(resp.encode("HSET", f"user:{n}", "email", "x") for n in range(100)))
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_master_that_changes_behind_the_load_makes_it_compare_all(
    source: str, redis_url: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection breaks, and nothing is sent to it any more: what it lost must be found before the end."""
    module = loading if workers == 1 else parallel
    with throw_away(3, 1) as nodes:
        slots = [routing.slot(STATE.encode()), routing.slot(b"user:1:activities")]
        keeper, old = (
            node
            for slot in slots
            for node in nodes.masters()
            if any(slot in part for part in nodes.slots(node))
        )
        assert keeper is not old, "the state must not be what finds it"
        taker, load = nodes.replica_of(old), module.load

        def lose(*arguments: Any, **options: Any) -> Any:
            found = load(*arguments, **options)
            monkeypatch.undo()
            taker.ask("CLUSTER", "FAILOVER")
            until(lambda: taker.ask("ROLE")[0] == "master" and old.ask("ROLE")[0] == "slave", "taken")
            taker.ask("DEL", "user:1:activities")
            return found

        monkeypatch.setattr(module, "load", lose)
        result = migrate(source, nodes.urls[0], verify=False, workers=workers)
        assert result["rows_loaded_now"] == 51
        assert result["caught_up"] in ({"missing key": 1}, {}), (
            "what an earlier attempt mended is not told again"
        )
        agree(nodes)
        assert verification.verify(source, taker.url, progress=False)["differences"] == 0
        migrate(source, redis_url)
        assert held(nodes) == dump(redis_url)


def test_the_lease_of_a_cluster_is_prolonged_by_a_commit(nodes: Cluster) -> None:
    holding = checkpoint_of(connect(nodes.urls[0]), "")
    holding.acquire()
    with nodes.client() as client:
        for commands in (NOTHING, column_of(resp.encode("SET", "x", 1))):
            client.pexpire(f"{STATE}:lease", LEASE_MS // 3)
            holding.commit(commands)
            assert LEASE_MS // 2 < client.pttl(f"{STATE}:lease") <= LEASE_MS
        part = partition_checkpoint_of(holding.connection, "", "users", holding.token)
        before = client.pttl(f"{STATE}:lease")
        part.take()
        part.commit()
        assert client.pttl(f"{STATE}:lease") <= before, "a worker does not keep a coordinator's lease alive"
        assert client.pttl(f"{STATE}:claim:users") > 12 * 60 * 60 * 1000
        client.delete(f"{STATE}:claim:users")
    holding.release()
    holding.connection.close()


def test_a_state_that_was_lost_alone_is_made_up_for(
    source: str, redis_url: str, nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node is lost, the others keep what was written from a snapshot that is no more."""
    commit, batches = cluster_checkpoint.ClusterCheckpoint.commit, [3]

    def lost(self: cluster_checkpoint.ClusterCheckpoint, *arguments: Any, **options: Any) -> list[Any]:
        batches[0] -= any(b"EVALSHA" in joined(one) for one in arguments if isinstance(one, Strings))
        if batches == [0]:
            batches[0] = -99
            run_sql(source, "DELETE FROM activities WHERE activity_id < 20", "DELETE FROM orders")
            with nodes.client() as client:
                client.delete(STATE)
            raise resp.Lost("the node of the state")
        return commit(self, *arguments, **options)

    monkeypatch.setattr(cluster_checkpoint.ClusterCheckpoint, "commit", lost)
    result = migrate(source, nodes.urls[0], batch_rows=5)
    assert batches[0] < -90 and result["status"] == "verified"
    migrate(source, redis_url)
    assert held(nodes) == dump(redis_url)


def test_a_lost_master_without_replica_is_one_line(many: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("helpers.migration.job.BACKOFF_S", (0.1, 0.2))
    monkeypatch.setattr(cluster, "WAIT_S", 1.0)
    with throw_away(3, 0, "appendfsync always") as nodes:
        lost: list[Any] = []

        def batch(self: cluster.Cluster, commands: Strings) -> list[Any]:
            if not lost and b"user:1:activities" in joined(commands):
                lost.append(True)
                nodes.nodes[2].kill()
            return replies(self, commands)

        replies = cluster.Cluster.replies
        monkeypatch.setattr(cluster.Cluster, "replies", batch)
        with pytest.raises(HelpersError, match=r"rows are in the target, the same command goes on") as caught:
            migrate(many, nodes.urls[0], batch_rows=60)
        assert lost and "\n" not in str(caught.value)
        assert nodes.nodes[2].address in str(caught.value) or "CLUSTERDOWN" in str(caught.value)
        with pytest.raises(HelpersError):
            verification.verify(many, nodes.urls[0], progress=False)
        nodes.nodes[2].start()
        nodes.settle()
        with nodes.client() as client:
            client.delete(f"{STATE}:lease")  # this process, which held it, lives
        result = migrate(many, nodes.urls[0], batch_rows=60)
        assert (result["status"], result["resumed"], result["differences"]) == ("verified", True, 0)


def test_the_scripts_are_known_to_a_node_that_forgot_them(
    source: str, redis_url: str, nodes: Cluster, met: "Counter[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, redis_url)
    script = cluster.Cluster.script

    def forgotten(self: cluster.Cluster, text: str) -> bytes:
        name = script(self, text)
        for node in nodes.nodes:
            node.ask("SCRIPT", "FLUSH")
        return name

    monkeypatch.setattr(cluster.Cluster, "script", forgotten)
    assert migrate(source, nodes.urls[0])["status"] == "verified"
    assert met["NOSCRIPT"] > 0 and held(nodes) == dump(redis_url)


def test_writes_to_one_key_keep_their_order() -> None:
    """Also where the first of them is refused for a moment, and those behind it would not be."""
    with throw_away(3) as nodes:
        connection = connect(nodes.urls[0])
        assert isinstance(connection, cluster.Cluster)
        slot, end = routing.slot(b"list"), threading.Event()
        (giver,) = (node for node in nodes.nodes if any(slot in part for part in nodes.slots(node)))
        taker = nodes.nodes[nodes.nodes.index(giver) - 1]
        commands = [resp.encode("RPUSH", "list", n) for n in range(20)]
        times = 0

        def push() -> None:
            nonlocal times
            while not end.is_set():
                connection.exchange(*commands)
                times += 1

        pushes = threading.Thread(target=push)
        pushes.start()
        try:
            for _ in range(3):
                nodes.move(range(slot, slot + 1), giver, taker, lambda what: time.sleep(0.1))
                agree(nodes)
                giver, taker = taker, giver
        finally:
            end.set()
            pushes.join()
        assert connection.met["ASK"] + connection.met["MOVED"] > 0
        assert [int(x) for x in connection.call("LRANGE", "list", 0, -1)] == list(range(20)) * times
        connection.close()


REPLY = re.compile(rb"(?<=\n)[+:][^\r]*|^[+:][^\r]*")
MAY_FAIL = (b"KILL", cluster_checkpoint.DROP.encode())
"""Ending who has gone already, and giving the lease back, which runs out anyway."""


def test_no_error_reply_passes(source: str, nodes: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the simple replies of any node, in arrays too, become an error: a migration never succeeds."""
    run_sql(source, "DELETE FROM activities WHERE activity_id > 4", "DELETE FROM orders WHERE order_id > 2")
    run_sql(source, "DELETE FROM users WHERE user_id > 5")
    seen, wanted, hit = 0, -1, b""
    send, receive = resp.Connection.send, resp.Connection.receive
    last: dict[int, bytes] = {}

    def sent(self: resp.Connection, *commands: bytes) -> int:
        last[id(self)] = b"".join(commands)
        return send(self, *commands)

    def received(self: resp.Connection, number: int) -> bytes:
        nonlocal seen, hit
        data = receive(self, number)
        if any(words in last[id(self)] for words in MAY_FAIL):
            return data
        for found in REPLY.finditer(data):
            seen += 1
            if seen - 1 == wanted:
                hit = last[id(self)]
                return data[: found.start()] + b"-ERR injected" + data[found.end() :]
        return data

    monkeypatch.setattr(resp.Connection, "send", sent)
    monkeypatch.setattr(resp.Connection, "receive", received)
    for older in (False, True):
        seen, wanted, total = 0, -1, 0
        while wanted < total:
            empty(nodes)
            if older:
                wanted, before = -1, wanted
                migrate(source, nodes.urls[0])
                wanted = before
            seen, hit = 0, b""
            if wanted < 0:
                assert migrate(source, nodes.urls[0])["status"] == "verified"
                total = seen
                assert total > (25 if older else 60)
            else:
                with pytest.raises(HelpersError, match="injected"):
                    status = migrate(source, nodes.urls[0])["status"]
                    pytest.fail(f"{status}, although an answer to {hit!r} was an error")
            wanted += 9


def test_several_workers_leave_what_one_leaves(
    many: str, redis_url: str, nodes: Cluster, met: "Counter[str]"
) -> None:
    migrate(many, redis_url)
    result = migrate(many, nodes.urls[0], batch_rows=60, workers=2)
    assert (result["status"], result["workers"], result["rows_loaded_now"]) == ("verified", 2, 10_590)
    assert held(nodes) == dump(redis_url)
    keys = {key for node in nodes.masters() for key in dump(node.url, b"\0") if b"migration:" in key}
    assert keys == {STATE.encode()}


def test_a_killed_load_of_workers_is_resumed_by_one(many: str, redis_url: str, nodes: Cluster) -> None:
    migrate(many, redis_url)
    with start(many, nodes.urls[0], "migrate", "--batch-rows", "5", "--workers", "2") as process:
        when(lambda: sum(name.startswith("rows:activities") for name in state(nodes)) > 1)
        process.send_signal(signal.SIGKILL)
    result = migrate(many, nodes.urls[0], batch_rows=60)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
    assert held(nodes) == dump(redis_url)


def test_a_claim_that_was_lost_cannot_write(source: str, nodes: Cluster) -> None:
    """Neither one that another took over, nor one whose migration lost its lease."""
    write = column_of(*(resp.encode("HSET", f"user:{n}", "email", "x") for n in (1, 2)))
    lead = checkpoint_of(connect(nodes.urls[0]), "")
    lead.acquire()
    lead.commit(state={"claimed": "1"})

    def claimed(partition: str) -> Any:
        found = partition_checkpoint_of(connect(nodes.urls[0]), "", partition, lead.token)
        found.take()
        assert found.commit(write)
        return found

    one, other, again = claimed("users"), claimed("orders"), claimed("users")
    with pytest.raises(resp.Lost):
        one.commit(write)
    assert other.commit(write) == again.commit(write) == [0, 0]
    with nodes.client() as client:
        client.delete(f"{STATE}:lease", "user:1", "user:2")
    new = checkpoint_of(connect(nodes.urls[0]), "")
    new.acquire()
    for lost in (lead, other, again):
        with pytest.raises((resp.Lost, LeaseLost)):
            lost.commit(write)
    late = partition_checkpoint_of(connect(nodes.urls[0]), "", "orders", lead.token)
    with pytest.raises(LeaseLost):
        late.take()
    assert held(nodes) == {}
    new.release()
    for left in (new, late):
        left.connection.close()
