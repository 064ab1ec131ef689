"""Sentences turn with the results: growth, shrinking, no difference, loss, missing."""

import copy

import pytest
from scale_records import DISK, LEVEL, MEMORY, STORES, data, policy, results

from helpers.results import Missing
from helpers.scaling import claims as scale, tables

CLAIMS = (
    "growth", "tails", "space", "space_growth", "server_memory", "loading", "leaving", "refusing",
    "evicting", "mongodb_beyond", "postgres_beyond",
    "cassandra_beyond", "not_shown",
)  # fmt: skip
TABLES = ("latency_table", "growth_table", "space_table", "how_table", "evictions_table", "reads_table")
LEFT_OUT = {"not measured": "no disk"}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_was_not_measured_is_told(name):
    assert "was not measured" in getattr(scale, name)(results(None))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_nothing_is_missing(name):
    with pytest.raises(Missing):
        getattr(tables, name)(results(None))


@pytest.mark.parametrize("store", STORES)
def test_the_reason_why_a_store_was_left_out_is_told(store):
    found = data()
    found["outgrown"][store] = LEFT_OUT
    claims = {
        "redis": [scale.refusing, scale.evicting],
        "postgres": [scale.postgres_beyond],
        "mongodb": [scale.mongodb_beyond],
        "cassandra": [scale.cassandra_beyond],
    }
    for claim in claims[store]:
        assert claim(results(found)).endswith("was not measured: no disk.")


def test_growth_is_named_where_it_is_shown():
    text = scale.growth(results(data(LEVEL | {"mongodb": (300.0, 600.0)})))
    assert text.startswith("From 1,000 to 100,000 activities (16 tests")
    assert "the median is longer to read a profile on MongoDB (2.00 times, 1.9" in text
    assert "shorter" not in text
    assert text.endswith("; for the other 12 no difference is shown.")


def test_shrinking_is_named_as_such():
    text = scale.growth(results(data(LEVEL | {"cassandra": (900.0, 450.0)})))
    assert "the median is shorter to read a profile on Cassandra (0.500 times" in text
    assert "longer" not in text


def test_growth_and_shrinking_of_everything_leave_no_rest():
    found = data(
        {
            "redis": (100.0, 200.0),
            "mongodb": (300.0, 900.0),
            "cassandra": (900.0, 90.0),
            "postgres": (9.0, 3.0),
        }
    )
    text = scale.growth(results(found))
    assert "longer" in text
    assert "shorter" in text
    assert "no difference" not in text


def test_no_growth_is_told_with_what_the_intervals_leave_open():
    text = scale.growth(results(data()))
    assert "no median is shown to change; the intervals leave room for a factor of 1.0" in text


def test_one_block_tests_nothing():
    assert scale.growth(results(data(number=1))).endswith("was not measured with enough blocks.")


def test_tails_are_multiples_and_need_samples():
    text = scale.tails(results(data(LEVEL | {"redis": (100.0, 300.0)})))
    assert (
        "against 1,000, 1.00 times on PostgreSQL, 3.00 times on Redis, 1.00 times on MongoDB and 1.00" in text
    )
    assert "not measured with enough samples" in scale.tails(results(data(count=20)))


def test_space_names_the_least_and_who_does_not_say_it():
    text = scale.space(results(data()))
    assert (
        "in memory 100 B in PostgreSQL, 80 B in Redis and 200 B in MongoDB (Cassandra: not told); on" in text
    )
    assert (
        "120 B in PostgreSQL, 45 B in Redis, 60 B in MongoDB and 10 B in Cassandra, least in Cassandra."
        in text
    )
    assert text.endswith(
        "The memory that is PostgreSQL's and MongoDB's is what a cache held of them just then."
    )


def test_space_turns_with_the_results_and_knows_a_tie():
    swapped = scale.space(results(data(disk=DISK | {"redis": (9, 9)})))
    assert "least in Redis." in swapped
    level = dict.fromkeys(DISK, (50, 50))
    assert "least in PostgreSQL, Redis, MongoDB and Cassandra." in scale.space(results(data(disk=level)))
    silent = scale.space(results(data(memory=dict.fromkeys(MEMORY))))
    assert "in memory no server says it" in silent
    assert "cache" not in silent


def test_space_against_the_smallest_size():
    text = scale.space_growth(results(data()))
    assert "Redis 0.889 times in memory and 1.00 times on disk" in text
    assert text.endswith("Cassandra 0.500 times on disk.")
    told = scale.space_growth(results(data(memory=dict.fromkeys(MEMORY), disk=dict.fromkeys(DISK))))
    assert told.endswith("PostgreSQL not told; Redis not told; MongoDB not told; Cassandra not told.")


def test_server_memory_may_be_unknown():
    found = data()
    assert "Redis from 100 to 160 MB" in scale.server_memory(results(found))
    for row in found["space"]:
        if row["store"] == "cassandra":
            row["rss_after_mb"] = None
    assert scale.server_memory(results(found)).endswith("Cassandra unknown.")


def test_rates_of_loading_are_listed_at_both_ends():
    text = scale.loading(results(data()))
    assert "by one client at: PostgreSQL 10,000 per second (10,000 at 1,000); Redis 10,000" in text
    found = data()
    found["space"] = [row for row in found["space"] if row["activities"] == 1_000]
    assert " at 1,000)" not in scale.loading(results(found))


def test_leaving_turns_with_space_and_loads():
    found = data()
    for row in found["space"]:
        row["load_s"] *= {"redis": 0.5, "cassandra": 4}.get(row["store"], 1)
    text = scale.leaving(results(found))
    assert "Redis 0.375 times the disk and loading at 2.00 times the rate" in text
    assert "Cassandra 0.0833 times the disk and loading at 0.250 times the rate" in text
    found = data(disk=DISK | {"redis": (240, 240), "mongodb": (120, 120), "cassandra": None})
    text = scale.leaving(results(found))
    assert "Redis 2.00 times the disk" in text
    assert "MongoDB 1.00 times the disk and loading at 1.00 times the rate" in text
    assert "Cassandra loading at" in text


def test_leaving_is_not_told_without_the_base_line_or_without_another():
    for kept in (lambda store: store != "postgres", lambda store: store == "postgres"):
        found = data()
        found["space"] = [row for row in found["space"] if kept(row["store"])]
        assert scale.leaving(results(found)).endswith("was not measured.")


def test_refused_writes_and_what_is_left():
    found = data()
    policies = found["outgrown"]["redis"]["policies"]
    text = scale.refusing(results(found))
    assert "took 600 of 1,000 activities and refused 400 with `OOM command not allowed`" in text
    assert "none is gone. After a quarter of the users was deleted, it took a write again." in text
    policies["noeviction"] = policy(gone=5, accepted_after_delete=False)
    text = scale.refusing(results(found))
    assert "5 are gone" in text
    assert "still did not take a write again" in text
    policies["noeviction"] = policy(acknowledged=1000, refused=0)
    text = scale.refusing(results(found))
    assert "refused none of them" in text
    assert "deleted" not in text


def test_dropped_keys_and_what_is_gone():
    found = data()
    policies = found["outgrown"]["redis"]["policies"]
    text = scale.evicting(results(found))
    assert "acknowledged 1,000 of 1,000 activities and dropped 9 keys: 200 acknowledged activities" in text
    assert "(20.0 %, 100 % of the tenth written first and 0 % of that written last)" in text
    assert "Of 3 users only one of list and sorted set is left" in text
    policies["allkeys-lru"] = policy(acknowledged=1000, refused=0)
    text = scale.evicting(results(found))
    assert text.endswith("dropped 0 keys: no acknowledged activity is gone.")
    policies["allkeys-lru"] = policy(acknowledged=1000, refused=0, gone=200)
    assert "list and sorted set" not in scale.evicting(results(found))


def test_reads_beyond_the_cache():
    text = scale.mongodb_beyond(results(data()))
    assert "took data of 1.00 GiB (4.00 times as much)" in text
    assert "in the cache 100 µs (0 B into the cache and 0 B from the disk)" in text
    assert "not in the cache 300 µs, 3.00 times as long (2.50 to 3.50) (1.00 MiB into the cache" in text
    assert text.endswith("Of 500 acknowledged activities asked for, none is missing or changed.")


def test_reads_beyond_shared_buffers():
    text = scale.postgres_beyond(results(data()))
    assert text.startswith(
        "With shared buffers of 256 MiB, PostgreSQL took data of 1.00 GiB (4.00 times as much)"
    )
    assert "not in shared buffers 300 µs, 3.00 times as long (2.50 to 3.50) (1.00 MiB into the cache" in text


def test_reads_that_do_not_differ_and_rows_that_are_lost():
    found = data()
    text = scale.cassandra_beyond(results(found))
    assert "70 flushes and 1 compaction task of all tables, 60 SSTables" in text
    assert "of any age 1.01 ms, no difference shown (0.900 to 1.10 times)" in text
    assert "1,200 MB resident" in text
    part = found["outgrown"]["cassandra"]
    part["lost"], part["rss_mb"], part["ratios"]["outside"] = 7, None, None
    part["reads"]["outside"]["from_disk_bytes"] = None
    text = scale.cassandra_beyond(results(found))
    assert text.endswith("7 are missing or changed.")
    assert "resident" not in text
    assert "of any age 1.01 ms." in text


def test_tables_hold_every_row():
    found = results(data())
    assert len(tables.latency_table(found)) == 16
    assert list(tables.latency_table(found).columns)[2:] == ["1,000 activities", "100,000 activities"]
    assert set(tables.growth_table(found)["difference"]) == {"no difference shown"}
    assert tables.space_table(found)["memory, each"].tolist()[3] == "n/a"
    assert len(tables.how_table(found)) == 4
    assert tables.evictions_table(found)["of the acknowledged gone"].tolist() == ["0", "200"]
    assert len(tables.reads_table(found)) == 8


def test_reads_of_one_store_alone():
    found = copy.deepcopy(data())
    found["outgrown"]["cassandra"] = LEFT_OUT
    assert set(tables.reads_table(results(found))["store"]) == {"PostgreSQL", "MongoDB"}
    found["outgrown"]["mongodb"] = found["outgrown"]["postgres"] = LEFT_OUT
    with pytest.raises(Missing):
        tables.reads_table(results(found))
