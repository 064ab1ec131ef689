"""Real throw-away servers filled beyond their memory, and what is told of those that cannot be."""

from contextlib import contextmanager

import psutil
import pytest

from helpers.comparison import stores
from helpers.errors import HelpersError
from helpers.scaling import beyond_cache, beyond_maxmemory, beyond_memory
from helpers.servers import (
    cassandra as cassandra_server,
    mongodb as mongodb_server,
    postgres as postgres_server,
    redis as redis_server,
    scratch,
)


@pytest.fixture(scope="module")
def full_redis():
    done: list[str] = []
    return beyond_memory.redis(done.append), done


def test_redis_refuses_what_does_not_fit_and_keeps_the_rest(full_redis):
    found, done = full_redis
    assert done == ["redis, noeviction", "redis, allkeys-lru"]
    row = found["policies"]["noeviction"]
    assert row["settings"]["maxmemory-policy"] == "noeviction"
    assert row["acknowledged"] + row["refused"] == row["written"]
    assert row["refused"] > 0.2 * row["written"] < row["acknowledged"] * 2
    assert row["words"].startswith("OOM command not allowed when used memory")
    assert row["gone"] == row["keys_evicted"] == row["users_torn"] == 0
    assert row["accepted_after_delete"] is True


def test_redis_drops_acknowledged_activities_the_oldest_first(full_redis):
    row = full_redis[0]["policies"]["allkeys-lru"]
    assert row["refused"] == 0
    assert row["acknowledged"] == row["written"]
    assert row["keys_evicted"] * beyond_maxmemory.EACH > row["gone"] > 0.2 * row["written"]
    assert "accepted_after_delete" not in row
    shares = row["gone_share_by_tenth"]
    assert len(shares) == beyond_maxmemory.TENTHS
    assert sum(shares[:3]) > sum(shares[-3:])
    assert sum(shares) / 10 == pytest.approx(row["gone"] / row["written"], abs=0.01)


def test_the_quick_profile_is_redis_alone():
    done: list[str] = []
    found = beyond_memory.measure("quick", done.append)
    assert len(done) == beyond_memory.STEPS["quick"]
    assert set(found) == {*stores.NAMES, "not_shown"}
    assert "policies" in found["redis"]
    for name in ("postgres", "mongodb", "cassandra"):
        assert found[name] == {"not measured": "the quick profile leaves it out"}
    assert found["not_shown"]
    lines = beyond_memory.describe(found)
    assert len(lines) == 5
    assert lines[-1] == "cassandra beyond its memory: not measured, the quick profile leaves it out"


def test_postgres_reads_from_its_buffers_and_from_beyond_them():
    found = beyond_memory.postgres(users=1_500, rounds=2)
    assert found["file_bytes"] > found["cache_bytes"] == 2**25
    assert found["cache_bytes"] >= found["cached_bytes"] > found["cache_bytes"] / 2
    reads = found["reads"]
    assert [row["n"] for row in reads.values()] == [2 * beyond_cache.ROUND_READS] * 3
    assert reads["outside"]["into_cache_bytes"] > 5 * reads["inside"]["into_cache_bytes"]
    assert reads["forgotten"]["from_disk_bytes"] > 10 * reads["outside"]["from_disk_bytes"]
    assert (found["lost"], found["acknowledged"]) == (0, 15_000)


def test_mongodb_reads_from_its_cache_and_from_beyond_it():
    found = beyond_memory.mongodb(users=9_000, rounds=2)
    assert found["cache_bytes"] == 2**28
    assert found["file_bytes"] > found["cache_bytes"] > found["cached_bytes"]
    reads = found["reads"]
    assert [row["n"] for row in reads.values()] == [2 * beyond_cache.ROUND_READS] * 3
    assert reads["outside"]["into_cache_bytes"] > 10 * reads["inside"]["into_cache_bytes"]
    assert reads["forgotten"]["from_disk_bytes"] > 10 * reads["outside"]["from_disk_bytes"]
    assert set(found["ratios"]) == {"outside", "forgotten"}
    assert (found["lost"], found["acknowledged"]) == (0, 90_000)
    assert found["checked"] >= 3_000


def test_cassandra_writes_its_memtables_to_files():
    found = beyond_memory.cassandra(users=1_200, rounds=2)
    assert found["memtable_setting"] == "16MiB"
    assert found["written_bytes"] > 2 * found["memtable_bytes"]
    assert found["tables_written"] >= 3
    assert found["flushes"] >= 3
    assert found["file_bytes"] > found["memtable_bytes"]
    assert found["lost"] == 0
    assert set(found["reads"]) == {"inside", "outside"}


def test_what_is_missing_or_changed_is_counted(mongodb_url):
    with stores.connect("mongodb", mongodb_url) as store:
        try:
            beyond_cache._stored(store, 5)
            assert beyond_cache._checked(store, 5) == {"checked": 50, "lost": 0}
            store.database.activities.delete_one({"_id": 3})
            store.database.activities.update_one({"_id": 17}, {"$set": {"activity_type": "changed"}})
            assert beyond_cache._checked(store, 5) == {"checked": 50, "lost": 2}
        finally:
            store.drop()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("postgres", postgres_server),
        ("redis", redis_server),
        ("mongodb", mongodb_server),
        ("cassandra", cassandra_server),
    ],
)
def test_a_server_that_cannot_be_started_is_not_measured(name, module, monkeypatch):
    monkeypatch.setattr(module, "missing", lambda: "there is none")
    assert getattr(beyond_memory, name)() == {
        "not measured": f"{name}: cannot be started here: there is none"
    }


@pytest.mark.parametrize("name", ["postgres", "mongodb", "cassandra"])
def test_without_disk_space_nothing_is_started(name, monkeypatch):
    monkeypatch.setattr(beyond_cache, "FREE_GB", 10**6)
    assert "GB of disk are free" in getattr(beyond_memory, name)()["not measured"]


def test_a_server_killed_on_the_way_is_told_in_one_line(monkeypatch):
    started, opened = scratch.redis, []

    @contextmanager
    def watched(*configuration):
        with started(*configuration) as server:
            opened.append(server)
            yield server

    monkeypatch.setattr(scratch, "redis", watched)
    with pytest.raises(
        HelpersError, match=r"^redis at 127\.0\.0\.1:\d+: the throw-away server failed"
    ) as told:
        beyond_memory.redis(lambda what: opened[0].kill())
    assert "\n" not in str(told.value)
    assert not psutil.pid_exists(opened[0].pid) or psutil.Process(opened[0].pid).status() == "zombie"
    assert not opened[0].folder.exists()
