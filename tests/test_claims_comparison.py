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
    "equal_answers", "fastest", "differences", "tails", "driver_share", "cost", "scaling", "open_loop",
    "warm_up", "durability", "strictness", "errors", "choice", "sensitivity",
)  # fmt: skip
TABLES = (
    "cost_table", "decision_table", "floors_table", "idioms_table", "measures_table",
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
    assert re.search(r"Redis's null operation takes 50\.0 µs \(\S+ µs to \S+ µs\), which is 4", text)
    assert "Cassandra's null operation takes 450 µs (" in text


def test_cost_says_when_the_server_is_unknown():
    found = data(FAST_REDIS)
    assert "Redis 40.0 µs in the client and 20.0 µs in the server" in claims.cost(results(found))
    found["cost"]["cassandra"]["50/50"]["server_cpu_us"] = None
    assert "Cassandra 40.0 µs in the client, the server's is unknown" in claims.cost(results(found))


def test_scaling_rises_falls_and_stays():
    at16 = {"redis": 30_000.0, "mongodb": 1_000.0, "cassandra": 1e6 / 900}
    found = data(FAST_REDIS, at16=at16)
    for row in found["throughput"]:
        row["low"], row["high"] = row["per_s"] * 0.9, row["per_s"] * 1.1
    text = claims.scaling(results(found))
    assert "Redis rises to 3.00 times, from 10,000 to 30,000 per second" in text
    assert "MongoDB falls to 0.300 times" in text
    assert "Cassandra: no change shown" in text
    for row in found["throughput"]:
        row["client_bound"] = row["store"] == "redis" and row["clients"] == 16
    assert "was the limit for Redis with 16 clients: there" in claims.scaling(results(found))
    for row in found["throughput"]:
        row["client_bound"] = False
    assert claims.scaling(results(found)).endswith("The client was the limit nowhere.")


def test_open_loop_names_who_fell_behind():
    found = data(FAST_REDIS)
    for row in found["open_loop"]:
        row["achieved_per_s"] = 399.0 if row["store"] != "cassandra" else 300.0
    text = claims.open_loop(results(found))
    assert text.startswith("At 400 operations per second")
    assert text.endswith("and fell behind (300 per second).")
    assert text.count("fell behind") == 1


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
