"""Sentences turn with the results: win, tie, reverse, missing."""

import re

import pytest
from comparison_records import data, interval, results

from helpers.comparison import claims, tables
from helpers.comparison.workload import OPERATIONS
from helpers.results import Missing

FAST_REDIS = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
FAST_CASSANDRA = {"redis": 900.0, "mongodb": 300.0, "cassandra": 100.0}
CLAIMS = (
    "equal_answers", "fastest", "differences", "tails", "driver_share", "cost", "scaling", "core_rates",
    "open_loop", "duration", "warm_up", "durability", "strictness", "errors", "choice", "sensitivity",
)  # fmt: skip
TABLES = (
    "core_rates_table", "cost_table", "decision_table", "floors_table", "idioms_table", "measures_table",
    "open_loop_table", "percentile_table", "ratio_table", "settings_table", "space_table", "throughput_table",
)  # fmt: skip


def test_the_fastest_store_is_named_with_its_lead():
    text = claims.fastest(results(data(FAST_REDIS)))
    assert "Redis has the lowest median to read a profile (110 µs; " in text
    assert "3.00 times as long on MongoDB, 9.00 times as long on Cassandra" in text
    assert "no difference" not in text


def test_swapped_stores_turn_the_sentence():
    text = claims.fastest(results(data(FAST_CASSANDRA)))
    assert "Cassandra has the lowest median to read a profile" in text
    assert "3.00 times as long on MongoDB" in text
    assert "9.00 times as long on Redis" in text
    assert "Redis has the lowest" not in text


def test_a_tie_names_no_fastest_store():
    text = claims.fastest(results(data(dict.fromkeys(FAST_REDIS, 100.0))))
    assert "no store is shown to be fastest to read a profile (no difference shown to" in text
    assert "lowest median" not in text


def test_a_tie_of_two_names_the_pair():
    text = claims.fastest(results(data({"redis": 100.0, "mongodb": 100.0, "cassandra": 900.0})))
    assert "9.00 times as long on Cassandra, no difference shown to MongoDB" in text


def test_differences_count_what_is_shown():
    assert "24 show a difference." in claims.differences(results(data(FAST_REDIS)))
    tie = claims.differences(results(data(dict.fromkeys(FAST_REDIS, 100.0))))
    assert (
        "0 show a difference. No difference is shown between Redis and MongoDB to read a profile (95/5" in tie
    )
    assert "and 21 more" in tie


def test_a_single_block_tests_nothing():
    assert (
        claims.differences(results(data(FAST_REDIS, blocks=1))) == "Differences between stores: not measured."
    )


def test_tails_need_samples():
    found = data(FAST_REDIS)
    assert "times the median on Redis" in claims.tails(results(found))
    for row in found["latency"]:
        row["percentiles_us"]["p99"] = None
    assert "not measured with enough samples" in claims.tails(results(found))


def test_driver_share_is_null_operation_over_operation():
    text = claims.driver_share(results(data(FAST_REDIS)))  # null operations take half of each store's latency
    assert re.search(
        r"Redis's null operation \(nothing\) takes 50\.0 µs \(\S+ µs to \S+ µs\), which is 4", text
    )
    assert "Cassandra's null operation (nothing) takes 450 µs (" in text
    assert "no floor" not in text


def test_a_null_operation_that_was_timed_twice_is_told_with_both_conditions():
    found = data(FAST_REDIS)
    assert "cross-check" not in claims.driver_share(results(found))
    row = {
        "store": "redis",
        "program": "redis-benchmark",
        "operation": "null",
        "ours_us": {"p50": interval(80.0)},
    }
    found["cross_check"] = {
        "rows": [row | {"clients": 1}, row | {"clients": 16}, row | {"clients": 1, "operation": "read"}]
    }
    text = claims.driver_share(results(found))
    assert text.endswith(
        " In the cross-check, at another time and in turns with redis-benchmark, Redis's takes 80.0 µs "
        "(78.4 µs to 81.6 µs)."
    )
    assert text.count("In the cross-check") == 1


def test_a_null_operation_as_long_as_an_operation_is_called_no_floor():
    found = data(FAST_REDIS)
    found["floors"]["null_op_us"]["cassandra"]["p50"] = interval(2000.0)
    text = claims.driver_share(results(found))
    assert (
        "Cassandra's null operation (nothing) takes 2.00 ms (1.96 ms to 2.04 ms), no less than to read a"
        in text
    )
    assert text.count("it is no floor") == 1
    rows = list(tables.floors_table(results(found))["floor"])
    assert [row for row in rows if "no floor" in row] == ["null operation, Cassandra (nothing), no floor"]


def test_the_parts_of_an_operations_time_add_up_and_what_overlaps_is_said():
    found = data(FAST_REDIS)
    redis = found["cost"]["redis"]["50/50"]
    assert redis["asking_us"] + redis["rest_us"] == pytest.approx(redis["elapsed_us"], abs=0.02)
    text = claims.cost(results(found))
    assert (
        "Redis 110 µs, of which the asking thread is on a processor for 30.0 µs and waits for 79.6 µs" in text
    )
    assert "the server uses 20.0 µs of processor time." in text
    redis["server_cpu_us"] = redis["rest_us"] + 10
    assert "at least 10.0 µs of it while other threads or the client work" in claims.cost(results(found))
    redis["server_cpu_us"] = None
    assert "79.6 µs; the server's processor time is unknown" in claims.cost(results(found))


def test_scaling_rises_falls_and_stays():
    at16 = {"redis": 30_000.0, "mongodb": 1_000.0, "cassandra": 1e6 / 900}
    found = data(FAST_REDIS, at16=at16)
    for row in found["throughput"]:
        row["low"], row["high"] = row["per_s"] * 0.9, row["per_s"] * 1.1
    text = claims.scaling(results(found))
    assert "Redis rises to 3.00 times, from 10,000 to 30,000 per second" in text
    assert "MongoDB falls to 0.300 times" in text
    assert "Cassandra: no change shown" in text
    assert (
        "With 16 clients the limit was waiting, as nobody was busy for Redis, MongoDB and Cassandra." in text
    )
    assert "Nobody is called first by these rates" in text


LEADER = {"redis": 30_000.0, "mongodb": 10_000.0, "cassandra": 1_000.0}


def loaded(rates, limit, *, core=None):
    """A comparison in which stores reach these rates with 16 clients, each with this limit."""
    found = data(FAST_REDIS, at16=rates)
    for row in found["throughput"]:
        row["limit"] = limit if row["clients"] == 16 else "waiting"
        row["server_busy_cores"], row["others_busy_share"] = 0.95, 0.0
        if core:
            row["core_per_s"] = None if core[row["store"]] is None else interval(core[row["store"]])
    return found


def test_who_reaches_most_is_named_where_the_servers_were_the_limit():
    assert claims.scaling(results(loaded(LEADER, "server"))).endswith("Redis reaches most.")
    reverse = dict(zip(LEADER, reversed(LEADER.values()), strict=True))
    assert claims.scaling(results(loaded(reverse, "server"))).endswith("Cassandra reaches most.")
    tie = loaded(dict.fromkeys(LEADER, 9_000.0), "server")
    assert "No difference is shown between those that reach most, Redis, MongoDB and" in claims.scaling(
        results(tie)
    )


def test_other_programs_that_were_busy_are_told():
    found = loaded(LEADER, "machine")
    for row, share in zip(found["throughput"], (None, 0.1, -0.01) * 9, strict=False):
        row["others_busy_share"] = share
    assert "no part in this" not in claims.scaling(results(found))
    found["throughput"][0]["others_busy_share"] = 0.4
    assert "used up to 40 % of the machine meanwhile" in claims.scaling(results(found))


@pytest.mark.parametrize("limit", ["client", "machine", "waiting"])
def test_nobody_is_called_first_where_the_servers_were_not_the_limit(limit):
    text = claims.scaling(results(loaded(LEADER, limit)))
    assert "Nobody is called first by these rates" in text
    assert "most" not in text


def test_where_the_client_was_the_limit_nothing_is_said_of_the_servers():
    # the fault of an old report: one process of clients, and so no gain by more of them
    found = loaded(dict.fromkeys(LEADER, 9_000.0), "client", core=LEADER)
    text = claims.scaling(results(found))
    assert "Redis: at least 9,000 per second, as the clients could send no more" in text
    assert not re.search("rises|falls|no change|most", text)
    text = claims.core_rates(results(found))
    assert (
        "Nobody is called first, as the clients could not load Redis, MongoDB and Cassandra in full." in text
    )
    assert "allows most" not in text
    assert set(tables.throughput_table(results(found))["limit"]) == {"waiting", "client"}


def test_two_ways_to_a_rate_agree_or_it_is_said_why_not():
    text = claims.core_rates(results(loaded(LEADER, "server", core=LEADER)))
    assert (
        "Redis reached 30,000 per second, and one core of its server allows 30,000 (29,400 to 30,600)" in text
    )
    assert text.count("the two agree") == 3
    half = loaded(LEADER, "server", core={**LEADER, "redis": 60_000.0})
    assert "with 0.950 cores in use the two do not agree (0.500 times)" in claims.core_rates(results(half))
    for limit, why in (
        ("machine", "all cores of the machine were in use"),
        ("client", "the clients could send no more"),
        ("waiting", "its clients waited for each answer"),
    ):
        text = claims.core_rates(results(loaded(LEADER, limit, core=LEADER)))
        assert text.count(f"the two cannot agree, as the server had 0.950 of a core because {why}") == 3
    unknown = loaded(LEADER, "server", core={**LEADER, "mongodb": None})
    text = claims.core_rates(results(unknown))
    assert "MongoDB reached 10,000 per second, and its server's processor time is not known" in text
    assert text.endswith("Nobody is called first: not every server's processor time is known.")


def test_the_core_that_allows_most_is_named_or_a_tie_is():
    text = claims.core_rates(results(loaded(LEADER, "machine", core=LEADER)))
    assert text.endswith(
        "A core of Redis allows most, 3.00 times as many as one of MongoDB and 30.0 times as many as one of "
        "Cassandra."
    )
    reverse = dict(zip(LEADER, reversed(LEADER.values()), strict=True))
    assert "A core of Cassandra allows most" in claims.core_rates(
        results(loaded(LEADER, "machine", core=reverse))
    )
    tie = claims.core_rates(results(loaded(LEADER, "machine", core=dict.fromkeys(LEADER, 5e3))))
    assert tie.endswith(
        "No difference is shown between those whose core allows most, Redis, MongoDB and Cassandra."
    )


def test_open_loop_names_who_fell_behind():
    found = data(FAST_REDIS)
    for row in found["open_loop"]:
        row["achieved_per_s"] = 399.0 if row["store"] != "cassandra" else 300.0
    text = claims.open_loop(results(found))
    assert text.startswith("At 400 operations per second")
    assert text.endswith("and it fell behind (300 per second).")
    assert text.count("it fell behind") == 1
    for row in found["open_loop"]:
        row["limit"] = "client"
    assert claims.open_loop(results(found)).count("the clients fell behind") == 1


def test_how_long_measuring_took_is_told():
    assert claims.duration(results(data(FAST_REDIS))) == "The comparison was measured in 40.0 s."


def test_warm_up_compares_with_the_settled_half():
    found = data(FAST_REDIS)
    found["warm_up"] = {"redis": [50.0, 20, 10, 10, 10, 10], "mongodb": [10.0] * 6, "cassandra": []}
    text = claims.warm_up(results(found))
    assert "5.00 times as long on Redis and 1.00 times as long on MongoDB" in text
    found["warm_up"] = {"redis": []}
    assert claims.warm_up(results(found)) == "Warm-up: not measured."


def test_durability_names_tiers_and_what_is_absent():
    found = data(FAST_REDIS)
    assert "relaxed: Redis, MongoDB and Cassandra; the strict tier was not measured" in claims.durability(
        results(found)
    )
    assert "not measured in this run" in claims.strictness(results(found))
    found["tiers"]["strict"] = {"redis": {}, "mongodb": {}, "cassandra": {"not measured": "no Java"}}
    text = claims.durability(results(found))
    assert "strict: Redis and MongoDB; Cassandra not: no Java" in text
    for row in [row for row in found["latency"] if row["mix"] == "50/50" and row["store"] != "cassandra"]:
        factor = 4 if row["store"] == "redis" else 0.5
        strict = {**row, "tier": "strict"}
        strict["percentiles_us"] = {"p50": interval(row["percentiles_us"]["p50"]["value"] * factor)}
        found["latency"].append(strict)
    text = claims.strictness(results(found))
    assert "Redis 4.00 times; MongoDB 0.500 times; Cassandra: not measured" in text


def test_errors_are_counted():
    found = data(FAST_REDIS)
    assert claims.errors(results(found)).startswith("None of ")
    found["errors"]["mongodb"] = 1
    assert "1 operation on MongoDB failed" in claims.errors(results(found))


def test_answers_are_added_up():
    text = claims.equal_answers(results(data(FAST_REDIS)))
    assert text == (
        "Redis, MongoDB and Cassandra gave the same answer to each of 70 questions, 50 of them asked "
        "while timing "
        "and 3 about something that does not exist."
    )


def test_choice_follows_the_scores_and_the_weights():
    assert "With these weights Redis comes first" in claims.choice(results(data(FAST_REDIS)))
    weighted = data(FAST_CASSANDRA)
    weighted["weights"] = {"performance": 1.0}
    text = claims.choice(results(weighted))
    assert "Cassandra comes first: Cassandra 1.00, MongoDB 0.33" in text
    weighted["weights"] = {"data_model": 1.0}
    assert "MongoDB comes first" in claims.choice(results(weighted))
    level = data(dict.fromkeys(FAST_REDIS, 100.0))
    level["weights"] = {"performance": 1.0}
    assert "Redis, MongoDB and Cassandra are level at the top" in claims.choice(results(level))


def test_sensitivity_says_where_the_choice_flips():
    text = claims.sensitivity(results(data(FAST_REDIS)))
    assert "The first place would change hands if data model had" in text
    assert "(MongoDB)" in text
    # as if Redis were ahead in everything
    dominated = data(FAST_REDIS, rss={"redis": 1.0, "mongodb": 100.0, "cassandra": 100.0})
    for store in ("mongodb", "cassandra"):
        dominated["counts"][store]["records_written"] = dict.fromkeys(OPERATIONS, 50)
    for row in dominated["throughput"]:
        row["per_s"] = 10.0 if row["store"] != "redis" else 10.0 * row["clients"]
    text = claims.sensitivity(results(dominated))
    assert "No change of a single weight would change the first place." in text
    assert "the first place goes to Redis in 100 %" in text


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_says_that_it_was_not_measured(name):
    claim = getattr(claims, name)
    assert claim(results(None)).endswith(": not measured.")
    assert "not measured" not in claim(results(data(FAST_REDIS))) or name in ("durability", "strictness")


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_rows_or_is_missing(name):
    table = getattr(tables, name)
    frame = table(results(data(FAST_REDIS)))
    assert len(frame) >= 3
    if name not in ("floors_table", "ratio_table"):
        assert {"Redis", "MongoDB", "Cassandra"} <= {*frame.columns, *frame.to_numpy().ravel().tolist()}
    with pytest.raises(Missing):
        table(results(None))


def test_tables_show_numbers_and_what_is_not_available():
    found = results(data(FAST_REDIS))
    percentiles = tables.percentile_table(found)
    assert percentiles.loc[0, "p99.9"] == "n/a"
    assert str(percentiles.loc[0, "p50"]).startswith("1")
    decision = tables.decision_table(found, weights={"performance": 1})
    assert list(decision["weight"]) == ["0 %", "100 %", "0 %", "0 %", "0 %", "100 %"]
    assert decision.iloc[-1]["Redis"] == "1.00"
    with pytest.raises(Missing, match="strict"):
        tables.percentile_table(found, tier="strict")
