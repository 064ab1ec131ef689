"""Sentences turn with the results: win, tie, reverse, missing."""

import re

import pytest
from comparison_records import data, interval, record, results

from helpers.comparison import claims, summary, tables
from helpers.results import Missing

FAST_REDIS = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
FAST_CASSANDRA = {"redis": 900.0, "mongodb": 300.0, "cassandra": 100.0}
CLAIMS = (
    "equal_answers", "fastest", "differences", "tails", "driver_share", "cost", "scaling", "core_rates",
    "open_loop", "duration", "warm_up", "errors", "samples",
)  # fmt: skip
TABLES = (
    "core_rates_table", "cost_table", "load_table", "floors_table", "idioms_table", "open_loop_table",
    "percentile_table",
    "ratio_table", "settings_table", "space_table", "throughput_table",
)  # fmt: skip


def test_the_fastest_store_is_named_with_its_lead():
    text = claims.fastest(results(data(FAST_REDIS)))
    assert "Redis has the lowest median in all four operations; where a difference is shown" in text
    assert "the others take 3.00 to 9.00 times as long." in text
    assert "no difference" not in text.lower()


def test_swapped_stores_turn_the_sentence():
    text = claims.fastest(results(data(FAST_CASSANDRA)))
    assert "Cassandra has the lowest median in all four operations" in text
    assert "the others take 3.00 to 9.00 times as long." in text
    assert "Redis has the lowest" not in text


def test_a_tie_names_no_fastest_store():
    text = claims.fastest(results(data(dict.fromkeys(FAST_REDIS, 100.0))))
    assert text.endswith("the 50/50 mix, no store is shown to be fastest in all four operations.")
    assert "lowest median" not in text


def test_a_tie_of_two_names_the_pair():
    text = claims.fastest(results(data({"redis": 100.0, "mongodb": 100.0, "cassandra": 900.0})))
    assert "the others take 9.00 times as long." in text
    assert "No difference is shown to MongoDB in all four operations." in text


def test_operations_that_different_stores_lead_are_named():
    found = data(FAST_REDIS)
    for row in found["latency"]:
        if row["operation"] == "place_order" and row["store"] == "cassandra":
            row["percentiles_us"]["p50"] = interval(1.0)
    for row in found["ratios"]:
        if row["operation"] == "place_order" and "cassandra" in (row["store"], row["against"]):
            row["ratio"] = 0.5 if row["store"] == "cassandra" else 2.0
    text = claims.fastest(results(found))
    assert "Redis has the lowest median to read a profile, to read the last 20 activities and to app" in text
    assert "Cassandra has the lowest median to place an order; where" in text


def test_differences_count_what_is_shown():
    text = claims.differences(results(data(FAST_REDIS)))
    assert text.startswith("Of 24 paired t-tests on the logarithms of ratios of block medians, 24 show a")
    assert "after Holm's correction over all." in text and "with the block as its unit" in text
    assert "Where none is shown" not in text
    tie = claims.differences(results(data(dict.fromkeys(FAST_REDIS, 100.0))))
    assert "0 show a difference" in tie
    assert tie.endswith("Where none is shown, the pair is most often Redis and MongoDB.")


def test_a_single_block_tests_nothing():
    assert (
        claims.differences(results(data(FAST_REDIS, blocks=1))) == "Differences between stores: not measured."
    )


def test_tails_need_samples():
    found = data(FAST_REDIS)
    assert claims.tails(results(found)).startswith("The 99th percentile is at most 1.0")
    for row in found["latency"]:
        if row["store"] == "mongodb":
            row["percentiles_us"]["p99"] = interval(row["percentiles_us"]["p50"]["value"] * 9)
    text = claims.tails(results(found))
    assert "times the median on Redis, and at most 9.00 times on MongoDB; the others lie between." in text
    for row in found["latency"]:
        row["percentiles_us"]["p99"] = None
    assert "not measured with enough samples" in claims.tails(results(found))


def test_samples_are_those_of_one_client_in_the_relaxed_tier():
    found = data(FAST_REDIS)
    assert claims.samples(results(found)) == "Each store and operation: 600 samples in 6 blocks."
    found["latency"] = [row for row in found["latency"] if row["mix"] != "50/50"]
    assert claims.samples(results(found)) == "Samples: not measured."


def test_driver_share_is_null_operation_over_operation():
    found = data(FAST_REDIS)  # null operations take half of each store's latency
    text = claims.driver_share(results(found))
    assert text.startswith("A bare TCP round trip takes 20.0 µs. A driver's null operation takes 4")
    assert "no floor" not in text
    found["floors"]["null_op_us"]["mongodb"]["p50"] = interval(30.0)
    text = claims.driver_share(results(found))
    assert text.startswith("A bare TCP round trip takes 20.0 µs. A")
    found["floors"]["echo_us"]["p50"] = interval(40.0)
    slow = claims.driver_share(results(found))
    assert "takes 40.0 µs, longer than a null operation of MongoDB, so it is no floor here." in slow
    assert "takes 9 to 46 % of the median of its store's operations, least on MongoDB and most on" in text


def test_a_null_operation_as_long_as_an_operation_is_called_no_floor():
    found = data(FAST_REDIS)
    found["floors"]["null_op_us"]["cassandra"]["p50"] = interval(2000.0)
    text = claims.driver_share(results(found))
    assert "Cassandra's null operation (nothing) takes no less than to read a" in text
    assert text.count("it is no floor") == 1
    rows = list(tables.floors_table(results(found))["floor"])
    assert [row for row in rows if "no floor" in row] == ["null operation, Cassandra (nothing), no floor"]


def test_the_parts_of_an_operations_time_add_up_and_what_is_unknown_is_said():
    found = data(FAST_REDIS)
    redis = found["cost"]["redis"]["50/50"]
    assert redis["asking_us"] + redis["rest_us"] == pytest.approx(redis["elapsed_us"], abs=0.02)
    text = claims.cost(results(found))
    assert "the asking thread works for 3 to 27 %, least on Cassandra and most on Redis" in text
    assert "unknown" not in text
    redis["server_cpu_us"] = None
    assert claims.cost(results(found)).endswith("The processor time of the server is unknown for Redis.")


def test_scaling_rises_falls_and_stays():
    at16 = {"redis": 30_000.0, "mongodb": 1_000.0, "cassandra": 1e6 / 900}
    found = data(FAST_REDIS, at16=at16)
    for row in found["throughput"]:
        row["low"], row["high"] = row["per_s"] * 0.9, row["per_s"] * 1.1
    text = claims.scaling(results(found))
    assert "16 clients multiply the rate of one by 3.00 on Redis." in text
    assert "16 clients lower the rate of one by 0.300 on MongoDB." in text
    assert "On Cassandra no change is shown." in text
    assert (
        "the limit was the wait for each answer, as nobody was busy (Redis, MongoDB and Cassandra)." in text
    )
    assert "No store is called first by these rates" in text


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


@pytest.mark.slow
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
    assert "No store is called first by these rates" in text
    assert "most" not in text


def test_where_the_client_was_the_limit_nothing_is_said_of_the_servers():
    # the fault of an old report: one process of clients, and so no gain by more of them
    found = loaded(dict.fromkeys(LEADER, 9_000.0), "client", core=LEADER)
    text = claims.scaling(results(found))
    assert "On Redis, MongoDB and Cassandra the clients could send no more, so the server could do" in text
    assert not re.search("multiply|lower|no change|most", text)
    text = claims.core_rates(results(found))
    assert (
        "No store is called first, as the clients could not load Redis, MongoDB and Cassandra in full."
        in text
    )
    assert "allows most" not in text
    assert set(tables.throughput_table(results(found))["limit"]) == {"waiting", "client"}


def test_a_run_whose_only_process_of_clients_has_no_time_left_names_nobody():
    found, runs = data(FAST_REDIS), []
    for store, rate in {"redis": 5217, "mongodb": 5251, "cassandra": 3353}.items():
        for clients, per_s in ((1, rate), (16, rate)):
            wall_s = 400 / per_s
            busy = {"client_cpu_s": wall_s, "busiest_cpu_s": wall_s, "server_cpu_s": wall_s / 5}
            more = busy if clients == 16 else {}
            runs += [
                record(
                    store, us=1e6 / per_s, phase="concurrency", clients=clients, block=block, processes=1,
                    wall_s=wall_s, machine_busy_share=0.6, **more,
                )
                for block in range(4)
            ]  # fmt: skip
    found["throughput"] = summary.throughput(runs, list(FAST_REDIS))
    assert [row["limit"] for row in found["throughput"] if row["clients"] == 16] == ["client"] * 3
    for claim in (claims.scaling, claims.core_rates):
        text = claim(results(found))
        assert "No store is called first" in text
        assert not re.search("multiply|lower|no change|most", text)


@pytest.mark.parametrize(
    ("store", "client", "server", "machine", "expected"),
    [
        ("redis", 0.99, 0.3, 0.65, "client"),
        ("redis", 0.5, 0.9, 0.7, "server"),  # it answers in one thread
        ("redis", 0.99, 0.9, 0.95, "server"),
        ("redis", 0.9, 0.4, 0.95, "machine"),
        ("mongodb", 0.5, 0.9, 0.7, "waiting"),  # it could use a second core
        ("mongodb", 0.1, 1.8, 0.97, "server"),
        ("mongodb", 0.9, 0.9, 0.97, "machine"),
        ("mongodb", 0.9, None, None, "client"),
        ("mongodb", 0.3, None, None, "waiting"),
    ],
)
def test_what_was_the_limit_follows_from_who_was_busy(store, client, server, machine, expected):
    assert summary.limit(store, client=client, server=server, machine=machine, cores=2) == expected


def test_two_ways_to_a_rate_agree_or_not():
    text = claims.core_rates(results(loaded(LEADER, "server", core=LEADER)))
    assert "What a core allows agrees with the rate reached on Redis, MongoDB and Cassandra." in text
    half = loaded(LEADER, "server", core={**LEADER, "redis": 60_000.0})
    text = claims.core_rates(results(half))
    assert "The rate reached is 0.500 times what a core allows on Redis, so the two do not agree." in text
    assert "What a core allows agrees with the rate reached on MongoDB and Cassandra." in text
    for limit in ("machine", "client", "waiting"):
        assert "agree" not in claims.core_rates(results(loaded(LEADER, limit, core=LEADER)))
    unknown = loaded(LEADER, "server", core={**LEADER, "mongodb": None})
    text = claims.core_rates(results(unknown))
    assert "The processor time of MongoDB is not known." in text
    assert text.endswith("No store is called first: not every server's processor time is known.")


def test_the_core_that_allows_most_is_named_or_a_tie_is():
    text = claims.core_rates(results(loaded(LEADER, "machine", core=LEADER)))
    assert text.endswith("A core of Redis allows most, 3.00 to 30.0 times as many operations as the others.")
    reverse = dict(zip(LEADER, reversed(LEADER.values()), strict=True))
    assert "A core of Cassandra allows most" in claims.core_rates(
        results(loaded(LEADER, "machine", core=reverse))
    )
    tie = claims.core_rates(results(loaded(LEADER, "machine", core=dict.fromkeys(LEADER, 5e3))))
    assert tie.endswith(
        "No difference is shown between those whose core allows most, Redis, MongoDB and Cassandra."
    )


def test_open_loop_names_who_fell_behind_and_who_is_quickest():
    found = data(FAST_REDIS)
    for row in found["open_loop"]:
        row["achieved_per_s"] = 399.0 if row["store"] != "cassandra" else 300.0
    text = claims.open_loop(results(found))
    assert text.startswith("When 400 operations a second arrive at random, waiting counts most on ")
    assert "The lowest from when it was due is Redis's, " in text
    assert text.endswith("On Cassandra only 300 were done (limit: waiting).")
    assert text.count("were done") == 1
    for row in found["open_loop"]:
        row["limit"] = "client"
    assert claims.open_loop(results(found)).count("were done (limit: client)") == 1
    text = claims.open_loop(results(data(FAST_CASSANDRA)))
    assert "The lowest from when it was due is Cassandra's, " in text


def test_how_long_measuring_took_is_told():
    assert claims.duration(results(data(FAST_REDIS))) == "The comparison was measured in 40.0 s."


def test_warm_up_compares_with_the_settled_half():
    found = data(FAST_REDIS)
    found["warm_up"] = {"redis": [50.0, 20, 10, 10, 10, 10], "mongodb": [10.0] * 6, "cassandra": []}
    text = claims.warm_up(results(found))
    assert text.startswith("The first operations took 1.00 to 5.00 times as long as those in the second half")
    assert text.endswith("the warm-up, least on MongoDB and most on Redis.")
    found["warm_up"] = {"redis": []}
    assert claims.warm_up(results(found)) == "Warm-up: not measured."


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


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_says_that_it_was_not_measured(name):
    claim = getattr(claims, name)
    assert claim(results(None)).endswith(": not measured.")
    assert "not measured" not in claim(results(data(FAST_REDIS)))


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
    with pytest.raises(Missing, match="strict"):
        tables.percentile_table(found, tier="strict")


def test_a_setting_that_is_alike_in_all_tiers_is_there_once():
    found = data(FAST_REDIS)
    alone = tables.settings_table(results(found))
    assert set(alone["tier"]) == {"all"} and len(alone) == 6
    found["tiers"]["strict"] = {store: {"version": "1", "setting": "off"} for store in FAST_REDIS}
    found["tiers"]["strict"]["cassandra"] = {"not measured": "no Java"}
    frame = tables.settings_table(results(found))
    redis = frame[frame["store"] == "Redis"]
    assert redis[["setting", "tier", "value"]].to_numpy().tolist() == [
        ["version", "all", "1"],
        ["setting", "relaxed", "on"],
        ["setting", "strict", "off"],
    ]
    cassandra = frame[frame["store"] == "Cassandra"]
    assert cassandra["tier"].tolist() == ["relaxed", "relaxed", "strict"]


def test_load_and_who_was_busy_are_one_table():
    found = results(data(FAST_REDIS))
    frame = tables.load_table(found)
    assert len(frame) == len(tables.throughput_table(found))
    assert list(frame.columns[:4]) == ["store", "clients", "processes", "operations per second"]
    assert {"one core allows", "server, cores", "machine"} <= set(frame.columns)
    assert frame.columns[-1] == "limit" and not frame.columns.duplicated().any()
