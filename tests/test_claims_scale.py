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
TABLES = ("latency_table", "space_table", "how_table", "evictions_table", "reads_table")
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
    assert text.startswith("From 1,000 to 100,000 activities, medians of blocks were compared in 16 tests")
    assert "4 medians are shown to be longer, at most 2.00 times, on MongoDB." in text
    assert "shorter" not in text
    assert text.endswith("For the other 12 no difference is shown.")


def test_shrinking_is_named_as_such():
    text = scale.growth(results(data(LEVEL | {"cassandra": (900.0, 450.0)})))
    assert "4 medians are shown to be shorter, at most 0.500 times, on Cassandra." in text
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
    assert "No median is shown to change; the intervals leave room for a factor of 1.0" in text


def test_one_block_tests_nothing():
    assert scale.growth(results(data(number=1))).endswith("was not measured with enough blocks.")


@pytest.mark.slow
def test_tails_are_multiples_and_need_samples():
    text = scale.tails(results(data(LEVEL | {"redis": (100.0, 300.0)})))
    assert "becomes 1.00 to 3.00 times what it was (not tested), most on Redis to " in text
    assert "most on MongoDB" in scale.tails(results(data(LEVEL | {"mongodb": (100.0, 300.0)})))
    assert "not measured with enough samples" in scale.tails(results(data(count=20)))


def test_space_names_the_least_and_who_does_not_say_it():
    text = scale.space(results(data()))
    assert "one takes 10 B to 120 B of the disk, least in Cassandra and most in PostgreSQL." in text
    assert "In memory it takes 80 B to 200 B. Cassandra does not say what it takes in memory." in text
    assert text.endswith("The memory that is PostgreSQL's and MongoDB's is what a cache held just then.")


def test_space_turns_with_the_results_and_knows_a_tie():
    assert "least in Redis and most in" in scale.space(results(data(disk=DISK | {"redis": (9, 9)})))
    level = scale.space(results(data(disk=dict.fromkeys(DISK, (50, 50)))))
    assert "one takes 50 B of the disk. In memory" in level
    silent = scale.space(results(data(memory=dict.fromkeys(MEMORY))))
    assert silent.endswith("PostgreSQL, Redis, MongoDB and Cassandra do not say what it takes in memory.")
    assert "cache" not in silent


def test_space_against_the_smallest_size():
    text = scale.space_growth(results(data()))
    assert "one takes 0.500 to 0.889 times in memory and 0.500 to 1.00 times on disk what it took." in text
    told = scale.space_growth(results(data(memory=dict.fromkeys(MEMORY), disk=dict.fromkeys(DISK))))
    assert told.endswith("no server says.")


def test_server_memory_may_be_unknown():
    found = data()
    for row in found["space"]:
        row["rss_after_mb"] += {"redis": -100, "mongodb": 500}.get(row["store"], 0)
    text = scale.server_memory(results(found))
    assert text.endswith("is Redis's 60.0 MB and MongoDB's 660 MB, the least and the most of all servers.")
    for row in found["space"]:
        if row["store"] == "mongodb":
            row["rss_after_mb"] = None
    text = scale.server_memory(results(found))
    assert "MongoDB's" not in text and text.endswith("It is unknown for MongoDB.")


def test_rates_of_loading_name_the_slowest_and_the_quickest():
    text = scale.loading(results(data()))
    assert text.startswith("One client loaded 10,000 activities a second (one load")
    found = data()
    for row in found["space"]:
        row["load_s"] *= {"redis": 0.5, "cassandra": 4}.get(row["store"], 1)
    text = scale.loading(results(found))
    assert "2,500 to 20,000 activities a second, slowest into Cassandra and quickest into Redis" in text


def test_leaving_turns_with_space_and_loads():
    found = data()
    for row in found["space"]:
        row["load_s"] *= {"redis": 0.5, "cassandra": 4}.get(row["store"], 1)
    text = scale.leaving(results(found))
    assert text.startswith(
        "Against PostgreSQL, the others load 100,000 activities at 0.250 to 2.00 times the"
    )
    assert text.endswith("They take 0.0833 to 0.500 times its disk.")
    found = data(disk=DISK | {"redis": (240, 240), "mongodb": (120, 120), "cassandra": None})
    assert scale.leaving(results(found)).endswith("They take 1.00 to 2.00 times its disk.")
    found = data(disk=dict.fromkeys(DISK))
    assert scale.leaving(results(found)).endswith("at 1.00 times the rate (one load each, not tested).")


def test_leaving_is_not_told_without_the_base_line_or_without_another():
    for kept in (lambda store: store != "postgres", lambda store: store == "postgres"):
        found = data()
        found["space"] = [row for row in found["space"] if kept(row["store"])]
        assert scale.leaving(results(found)).endswith("was not measured.")


def test_refused_writes_and_what_is_left():
    found = data()
    policies = found["outgrown"]["redis"]["policies"]
    text = scale.refusing(results(found))
    assert "With room for 1 MiB and the policy noeviction, Redis took 600 activities and refused 400" in text
    assert "(OOM command not allowed)" in text
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
    assert "Redis acknowledged 1,000 activities, of which 20.0 % are gone again." in text
    assert "Of the tenth written first 100 % are gone, of the tenth written last 0 %." in text
    assert "Of 3 users only one of list and sorted set is left" in text
    policies["allkeys-lru"] = policy(acknowledged=1000, refused=0)
    text = scale.evicting(results(found))
    assert text.endswith("acknowledged 1,000 activities, and none of them is gone.")
    policies["allkeys-lru"] = policy(acknowledged=1000, refused=0, gone=200)
    assert "list and sorted set" not in scale.evicting(results(found))


def test_reads_beyond_the_cache():
    text = scale.mongodb_beyond(results(data()))
    assert text.startswith(
        "With a cache of 256 MiB, MongoDB took 4.00 times as much data and refused nothing."
    )
    assert "A read takes 100 µs in the cache (median). Not in the cache it takes 3.00 times as long." in text
    assert "Not in the cache, files dropped by the kernel, it takes 9.00 times as long." in text
    assert text.endswith("Of 500 acknowledged activities asked for, none is missing or changed.")


def test_reads_beyond_shared_buffers():
    text = scale.postgres_beyond(results(data()))
    assert text.startswith(
        "With shared buffers of 256 MiB, PostgreSQL took 4.00 times as much data and refused nothing."
    )
    assert " Not in shared buffers it takes 3.00 times as long." in text


def test_reads_that_do_not_differ_and_rows_that_are_lost():
    found = data()
    text = scale.cassandra_beyond(results(found))
    assert text.startswith("With 16 MiB for memtables, Cassandra took 256 MiB and refused nothing;")
    assert "it wrote them out in 70 flushes." in text
    assert (
        "A read takes 1.00 ms written last and read before (median). Of any age no difference is shown."
        in text
    )
    part = found["outgrown"]["cassandra"]
    part["lost"], part["ratios"]["outside"] = 7, None
    text = scale.cassandra_beyond(results(found))
    assert text.endswith("7 are missing or changed.")
    assert " Of any age it was not compared." in text


def test_tables_hold_every_row():
    found = results(data())
    assert len(tables.latency_table(found)) == 16
    assert list(tables.latency_table(found).columns)[2:] == [
        "1,000 activities",
        "100,000 activities",
        "median, most / fewest",
    ]
    assert all(cell.endswith("not shown") for cell in tables.latency_table(found)["median, most / fewest"])
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
