"""Following onto a cluster: what is committed is there once, whoever dies, moves or takes over meanwhile."""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from clustered import STATE, empty, held, state
from following import LARGE, ROUGH, Scramble, follow, prepare, start, verified
from migrating import dump, migrate, run_sql, until
from test_follow import CHANGES
from test_follow_tables import plan_of, proposed

from helpers.errors import HelpersError
from helpers.migration import follower, following
from helpers.relational import population
from helpers.servers.redis_cluster import Cluster, cluster as throw_away
from helpers.source import publication, slot
from helpers.target import LeaseLost, checkpoint_of, connect, redo, resp
from helpers.target.cluster_checkpoint import ClusterCheckpoint
from helpers.trials.traffic import traffic

SOME = "INSERT INTO activities SELECT n, 1 + n % 2, 'x', '2026-01-01' FROM"
LOG = f"{STATE}:redo"


@pytest.fixture
def moved(source: str, nodes: Cluster) -> str:
    """A source that was migrated to be followed."""
    prepare(source)
    assert migrate(source, nodes.urls[0], follow=True)["status"] == "verified"
    return source


@pytest.fixture
def populated(postgres_url: str) -> str:
    """A source with enough rows for rough traffic."""
    population.populate(postgres_url, users=60, products=20, activities=2_000, orders=300, progress=False)
    prepare(postgres_url)
    return postgres_url


@pytest.fixture(scope="module")
def replicated() -> Iterator[Cluster]:
    """A cluster of three masters with a replica each."""
    with throw_away(3, 1) as made:
        yield made


def own(nodes: Cluster, prefix: str = "") -> set[str]:
    """Keys of the bookkeeping."""
    return {key for node in nodes.masters() for key in node.ask("KEYS", f"{prefix}migration:*")}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_committed_is_there_once(moved: str, nodes: Cluster, redis_url: str, change: str) -> None:
    url = nodes.urls[1]
    run_sql(moved, CHANGES[change])
    result = follow(moved, url)
    assert (result["transactions"], result["lag_bytes"], result["lag_seconds"]) == (1, 0, 0.0)
    assert verified(moved, url)
    found = held(nodes)
    assert follow(moved, url)["transactions"] == 0
    assert held(nodes) == found
    following.drop_slot(moved, url)
    assert own(nodes) == {STATE}
    migrate(moved, redis_url)
    assert dump(redis_url) == found


@pytest.mark.parametrize(("seed", "most", "prefix"), [(1, 5_000, ""), (2, 3, "{one slot}:")])
def test_a_hostile_schema_as_it_is_proposed(
    hostile_url: str,
    nodes: Cluster,
    redis_url: str,
    seed: int,
    most: int,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every table at random, in transactions that go whole and in parts, in many slots and in one."""
    monkeypatch.setattr(follower, "MOST_CHANGES", most)
    text, url = proposed(hostile_url), nodes.urls[0]
    done = migrate(hostile_url, url, model=text, follow=True, prefix=prefix)
    assert done["status"] == "verified"
    with Scramble(hostile_url, plan_of(hostile_url, text).tables.values(), seed) as writer:
        for _ in range(3):
            for _ in range(40):
                writer.transaction()
            follow(hostile_url, url, prefix=prefix)
            assert verified(hostile_url, url, prefix=prefix)
    found = held(nodes)
    migrate(hostile_url, redis_url, model=text, verify=False, prefix=prefix)
    assert dump(redis_url) == found
    assert migrate(hostile_url, url, model=text, replace=True, follow=True, prefix=prefix)["caught_up"] == {}
    following.drop_slot(hostile_url, url, prefix=prefix)
    assert len(own(nodes, prefix)) == 1


def test_followers_that_are_killed_under_traffic(populated: str, nodes: Cluster) -> None:
    url, chance, kills = nodes.urls[0], random.Random(11), 0
    migrate(populated, url, follow=True)
    with traffic(populated, operations=ROUGH, per_s=60.0, seed=11):
        while kills < 8:
            if kills in (2, 5):
                run_sql(
                    populated,
                    "INSERT INTO activities (user_id, activity_type, activity_date) SELECT "
                    "(SELECT min(user_id) FROM users), 'large', now() + i * interval '1 s' "
                    f"FROM generate_series(1, {LARGE}) i",
                )
            before, process = state(nodes).get(slot.POSITION), start(populated, url, "follow")
            while process.poll() is None and state(nodes).get(slot.POSITION) == before:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            assert process.returncode == -signal.SIGKILL, said
            kills += 1
    follow(populated, url, 0.3)
    assert verified(populated, url)


class Stop(Exception):
    """As if the process ended here."""


def after_the_log(patch: pytest.MonkeyPatch) -> None:
    def dies(self: redo.Redo, *arguments: Any, **options: Any) -> None:
        raise Stop

    patch.setattr(redo.Redo, "_apply", dies)


def between_two_slots(patch: pytest.MonkeyPatch) -> None:
    apply = redo.Redo._apply

    def dies(self: redo.Redo, parts: Any, doing: str = "") -> None:
        assert len(parts) > 3
        apply(self, parts[::2], doing)
        raise Stop

    patch.setattr(redo.Redo, "_apply", dies)


def before_the_state(patch: pytest.MonkeyPatch) -> None:
    record = ClusterCheckpoint.record

    def dies(self: ClusterCheckpoint, key: bytes, fields: Mapping[str, Any]) -> None:
        if redo.NUMBER in fields:
            raise Stop
        record(self, key, fields)

    patch.setattr(ClusterCheckpoint, "record", dies)


@pytest.mark.parametrize("where", [after_the_log, between_two_slots, before_the_state])
def test_a_batch_that_was_begun_is_applied_once(
    moved: str, nodes: Cluster, redis_url: str, where: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Whatever comes to the source meanwhile: the next batch is cut elsewhere."""
    url = nodes.urls[0]
    run_sql(moved, f"{SOME} generate_series(95, 150) n")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        where(patch)
        follow(moved, url)
    run_sql(moved, "DELETE FROM activities WHERE activity_id % 3 = 0", "DELETE FROM users WHERE user_id = 2")
    result = follow(moved, url)
    assert result["transactions"] == 1 and verified(moved, url)
    migrate(moved, redis_url)
    assert dump(redis_url) == held(nodes)


def test_slots_move_while_it_follows(populated: str, nodes: Cluster) -> None:
    url, over, faults = nodes.urls[0], threading.Event(), []
    migrate(populated, url, follow=True)

    def go_on() -> None:
        while not over.is_set():
            try:
                follow(populated, url, 0.2)
            except HelpersError as error:
                faults.append(str(error))
                return

    thread = threading.Thread(target=go_on)
    with traffic(populated, operations=ROUGH, per_s=80.0, seed=3):
        thread.start()
        first, second, _ = nodes.nodes
        for giver, taker in ((first, second), (second, first)):
            (some, *_) = nodes.slots(giver)
            nodes.move(some[:300], giver, taker, lambda what: time.sleep(0.3))
    over.set()
    thread.join()
    assert not faults
    follow(populated, url, 0.3)
    assert verified(populated, url)


def test_a_master_that_is_lost_is_followed_by_its_replica(populated: str, replicated: Cluster) -> None:
    """Each in turn, that with the state among them."""
    empty(replicated)
    migrate(populated, replicated.urls[0], follow=True)
    for seed in range(2):
        with traffic(populated, operations=ROUGH, per_s=60.0, seed=seed):
            before = state(replicated)
            process = start(populated, replicated.urls[0], "follow", "--until-idle", "1")
            until(lambda: state(replicated) != before)  # noqa: B023  # it is under way
            lost = replicated.masters()[seed]
            url = next(node.url for node in replicated.masters() if node is not lost)
            lost.kill()
            time.sleep(3)
        _, said = process.communicate()
        lost.start()
        replicated.settle()
        assert process.returncode in (0, 1), said
        follow(populated, url, 0.3)
        assert verified(populated, url)


def test_what_cannot_be_followed_is_named_as_it_is_there(nodes: Cluster, postgres_url: str) -> None:
    with pytest.raises(HelpersError, match=r"no migration was recorded there \(migration:\{state\}\); begin"):
        follow(postgres_url, nodes.urls[0])
    with pytest.raises(HelpersError, match=r"no migration was recorded there \(migration:\{state\}\); check"):
        verified(postgres_url, nodes.urls[0])


def lose_a_slot(nodes: Cluster) -> None:
    key = redo.mark_keys("")[7].decode()
    with nodes.client() as client:
        client.delete(key)


def lose_a_batch(nodes: Cluster) -> None:
    with nodes.client() as client:
        (some, *_) = (key for key in redo.mark_keys("").values() if client.get(key.decode()) != "0")
        client.set(some.decode(), 0)
        client.delete(LOG)


def lose_the_state(nodes: Cluster) -> None:
    with nodes.client() as client:
        client.hset(STATE, mapping={redo.NUMBER: 0, redo.SUM: 0})
        client.delete(LOG)


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (lose_a_slot, "what was in 1 of its slots is gone"),
        (lose_a_batch, "batches are missing in some slots"),
        (lose_the_state, "it has batch 1, the state 0"),
    ],
)
def test_what_a_node_has_lost_is_noticed(
    moved: str, nodes: Cluster, lose: Callable[[Cluster], None], said: str
) -> None:
    url = nodes.urls[0]
    run_sql(moved, "UPDATE activities SET activity_type = 'new'")
    follow(moved, url)
    lose(nodes)
    for _ in range(2):
        with pytest.raises(HelpersError) as caught:
            follow(moved, url)
        assert f"the cluster is not as it was left ({said}); {publication.AGAIN}" in str(caught.value)
    assert migrate(moved, url, follow=True)["differences"] == 0
    run_sql(moved, "UPDATE activities SET activity_type = 'newer'")
    assert follow(moved, url)["transactions"] == 1 and verified(moved, url)


def test_what_somebody_else_changed_stops_it_and_is_not_made_worse(moved: str, nodes: Cluster) -> None:
    url = nodes.urls[0]
    with nodes.client() as client:
        client.rpush("user:1:activities", "not ours")
    run_sql(moved, "INSERT INTO activities VALUES (90, 1, 'x', '2026-05-01')")
    for _ in range(2):
        with pytest.raises(HelpersError, match=r"not as it was left.*; run `migrate --follow` again"):
            follow(moved, url)
    assert migrate(moved, url, follow=True)["differences"] == 0
    assert verified(moved, url)


def test_the_log_is_emptied(moved: str, nodes: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that is old enough, but the last batch."""
    monkeypatch.setattr(redo, "KEPT_S", 3600.0)
    url = nodes.urls[0]
    for name in ("a", "b", "c"):
        run_sql(moved, f"UPDATE activities SET activity_type = '{name}'")
        follow(moved, url, 0.0)
    with nodes.client() as client:
        assert client.hlen(LOG) == 3
    monkeypatch.setattr(redo, "KEPT_S", 0.0)
    follow(moved, url)
    with nodes.client() as client:
        assert client.hkeys(LOG) == [state(nodes)[redo.NUMBER]]


def test_a_call_is_not_larger_than_a_server_takes(
    source: str, nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All keys are in one slot, and its changes in several calls."""
    monkeypatch.setattr(redo, "MOST_WORDS", 60)
    prepare(source)
    url, prefix = nodes.urls[0], "{one}:"
    migrate(source, url, follow=True, prefix=prefix)
    run_sql(source, "UPDATE orders SET quantity = 7; DELETE FROM users WHERE user_id = 2")
    assert follow(source, url, prefix=prefix)["transactions"] == 1
    with nodes.client() as client:
        assert int(client.hget(f"{prefix}{STATE}", redo.NUMBER)) > 2
    assert verified(source, url, prefix=prefix)


def test_who_lost_the_lease_writes_no_batch(moved: str, nodes: Cluster) -> None:
    slow = checkpoint_of(connect(nodes.urls[0]), "")
    assert isinstance(slow, ClusterCheckpoint)
    slow.acquire("slow")
    late = redo.Redo(slow, "return 1")
    late.recover(slow.read())
    with nodes.client() as client:
        client.delete(slow.lease.decode())
    follow(moved, nodes.urls[0])
    before = held(nodes), state(nodes), own(nodes)
    with pytest.raises((resp.Lost, LeaseLost)):
        late.write([("C", 2, "DEL", b"user:1")], {}, "late")
    assert (held(nodes), state(nodes), own(nodes)) == before
    slow.connection.close()
