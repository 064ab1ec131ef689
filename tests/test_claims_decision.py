"""Sentences and tables of the decision turn with results: win, tie, reverse, missing, a client's limit."""

import re

import pytest
from comparison_records import data, interval, percentiles
from nodes_records import LEFT_OUT, data as nodes_data
from test_decision import FAST_REDIS, with_base, with_core

from helpers.comparison import decision, decision_claims as claims, decision_figures as figures
from helpers.comparison.decision import CRITERIA
from helpers.comparison.summary import GRID
from helpers.comparison.workload import OPERATIONS
from helpers.report import style
from helpers.results import Missing, Result, Results

FAST_CASSANDRA = {"redis": 900.0, "mongodb": 300.0, "cassandra": 100.0}
CLAIMS = ("choice", "choose", "first", "leads", "left_out", "sensitivity")
TABLES = ("measures_table", "decision_table", "division_table")


def results(found, nodes=None):
    """Results with these comparisons and nodes; without any for None."""
    given = {"comparison": found, "nodes": nodes}
    return Results(
        {
            kind: Result(kind, "quick", "2026-01-01T00:00:00+00:00", {}, of)
            for kind, of in given.items()
            if of is not None
        }
    )


def weighted(found, **weights):
    found["weights"] = weights
    return results(found)


def dominated():
    """A comparison in which Redis is ahead in everything."""
    found = with_core(data(FAST_REDIS), redis=9.0, mongodb=1.0, cassandra=1.0)
    for store in ("mongodb", "cassandra"):
        found["counts"][store]["records_written"] = dict.fromkeys(OPERATIONS, 50)
        found["counts"][store]["definitions"] = 50
    found["counts"]["redis"]["definitions"] = 1
    for row in found["throughput"]:
        row["core_per_s"] = interval(1e6 if row["store"] == "redis" else 1.0)
    return found


def test_the_choice_follows_the_scores_and_the_weights():
    text = claims.choice(weighted(data(FAST_REDIS), performance=1.0))
    assert text.startswith("With these weights Redis comes first with 1.00, before MongoDB with 0.33. ")
    text = claims.choice(weighted(data(FAST_CASSANDRA), performance=1.0))
    assert "Cassandra comes first with 1.00, before MongoDB with 0.33." in text
    assert "MongoDB comes first" in claims.choice(weighted(data(FAST_CASSANDRA), data_model=1.0))
    assert (
        "MongoDB is first alone in data model" in text and "Cassandra is first alone in performance" in text
    )
    assert text.endswith(claims.leads(weighted(data(FAST_CASSANDRA), performance=1.0)))
    assert text.startswith(claims.first(weighted(data(FAST_CASSANDRA), performance=1.0)))


def test_each_store_is_to_be_chosen_for_what_it_leads_in():
    text = claims.choose(results(data(FAST_REDIS)))
    assert "Choose Redis if performance" in text and "Choose MongoDB if data model" in text
    assert claims.choose(results(dominated())).endswith(
        "Nothing that was measured here says to choose MongoDB. Nothing that was measured here says to "
        "choose Cassandra."
    )
    text = claims.choose(results(data(FAST_CASSANDRA)))
    assert "Choose Cassandra if performance" in text
    level = claims.choose(results(data(dict.fromkeys(FAST_REDIS, 100.0))))
    assert all(f"Choose {store} if " in level for store in ("Redis", "MongoDB", "Cassandra"))


def test_overlapping_intervals_are_a_tie_and_no_store_is_called_first():
    level = data(dict.fromkeys(FAST_REDIS, 100.0))
    text = claims.choice(weighted(level, performance=1.0))
    assert text.startswith("With these weights no store comes first alone: ")
    assert "are level, as intervals overlap." in text
    assert "Level at the top: performance (Redis, MongoDB and Cassandra)" in text
    assert "comes first with" not in text
    unsure = data(FAST_REDIS)  # three times as fast, but nothing is sure
    for row in unsure["latency"]:
        for one in filter(None, row["percentiles_us"].values()):
            one["low"], one["high"] = one["value"] / 9, one["value"] * 9
    text = claims.choice(weighted(unsure, performance=1.0))
    assert "no store comes first alone: Redis" in text


def test_no_store_is_first_because_its_client_was_the_limit():
    at16 = {"redis": 100_000.0, "mongodb": 10_000.0, "cassandra": 10_000.0}
    found = data(dict.fromkeys(FAST_REDIS, 100.0), at16=at16)
    for row in found["open_loop"]:
        row["limit"] = "client"
        row["latency_quantiles_us"] = [1.0 if row["store"] == "redis" else 1e6] * len(GRID)
    with_core(found, at="client", redis=5000.0, mongodb=5000.0, cassandra=5000.0)
    text = claims.choice(weighted(found, performance=1.0, use_case_fit=5.0))
    assert "no store comes first alone" in text and "use-case fit" not in text
    assert "Not counted, because the client was the limit at each offered rate: share" in claims.left_out(
        results(found)
    )


def test_what_is_left_out_is_named_with_its_reason():
    found = with_core(data(FAST_REDIS), redis=3.0, mongodb=2.0, cassandra=1.0)
    text = claims.left_out(results(found))
    assert "because not measured on several nodes of each store: a write that two nodes hold" in text
    assert "because the strict tier was not measured for each: p50 of an activity and an order" in text
    for row in [row for row in found["latency"] if row["mix"] == "50/50"]:
        found["latency"].append(row | {"tier": "strict", "percentiles_us": percentiles(1000.0)})
    whole = results(found, nodes_data())
    assert claims.left_out(whole) == "Every measure of the decision has a value for each store."
    nodes = nodes_data()
    nodes["costs"]["cassandra"]["killed_node_s"] = None
    assert "longest time without an acknowledgement" in claims.left_out(results(found, nodes))
    assert LEFT_OUT["not measured"] not in claims.left_out(whole)


def test_sensitivity_says_where_the_choice_flips():
    text = claims.sensitivity(results(data(FAST_REDIS)))
    others = r"\d+ % of the weight(, \S+ \d+ %)*( or \S+ \d+ %)?\."
    first = "MongoDB would have the highest result if"
    assert re.match(rf"{first} data model had {others} {first} \S+ had only {others}", text), text
    assert text.count("would have the highest result") < len(CRITERIA)
    text = claims.sensitivity(results(dominated()))
    assert "No change of a single weight would give the highest result to another store." in text
    assert "Redis is first alone in 100 %, MongoDB in 0 %." in text


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_says_that_it_was_not_measured(name):
    claim = getattr(claims, name)
    assert claim(results(None)).endswith(" not measured.")
    assert claim(results({})).endswith(" not measured.")


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_rows_or_is_missing(name):
    table = getattr(claims, name)
    frame = table(results(data(FAST_REDIS)))
    assert len(frame) >= 3 and not frame.isna().any().any()
    assert {"Redis", "MongoDB", "Cassandra"} <= {*frame.columns, *frame.to_numpy().ravel().tolist()}
    assert "PostgreSQL" not in str(frame)
    with pytest.raises(Missing):
        table(results(None))


def test_tables_show_weights_scores_and_the_base_line_beside():
    found = results(data(FAST_REDIS))
    chosen = claims.decision_table(found, weights={"performance": 1})
    assert list(chosen["weight"]) == ["0 %", "100 %", "0 %", "0 %", "0 %", "100 %"]
    assert str(chosen.iloc[-1]["Redis"]).startswith("1.00")
    assert chosen.iloc[-1]["first"] == "Redis"
    beside = results(with_base(data(FAST_REDIS)), nodes_data())
    chosen = claims.decision_table(beside).set_index("criterion")
    assert chosen.loc["Scalability", "PostgreSQL, beside"] == "n/a"
    assert chosen.loc["Result", "PostgreSQL, beside"] == "n/a"
    assert chosen.loc["Performance", "PostgreSQL, beside"] != "n/a"
    measured = claims.measures_table(beside)
    assert list(dict.fromkeys(measured["criterion"])) == list(decision.CRITERIA.values())
    assert set(measured["kind"]) >= {"counted", "measured", "stated"}
    stated = claims.division_table(beside).set_index("store")
    assert stated.loc["Redis", "operations as they are"] == "2 of 4"
    assert stated.loc["PostgreSQL", "operations as they are"] == "n/a"


def test_figures_show_the_base_line_beside_and_rates_that_no_client_limited():
    beside = results(with_base(data(FAST_REDIS)), nodes_data())
    assert "PostgreSQL, beside" in style.svg(figures.decision(beside))
    assert "PostgreSQL" not in style.svg(figures.decision(results(data(FAST_REDIS))))
    assert len(figures.sensitivity(beside).axes) == len(decision.CRITERIA)
    found = data(FAST_REDIS)
    assert len(figures.fit(results(found)).axes) == 2
    found["open_loop"][0]["limit"] = "client"
    assert len(figures.fit(results(found)).axes) == 1
    for row in found["open_loop"]:
        row["limit"] = "client"
    with pytest.raises(Missing, match="client was not the limit"):
        figures.fit(results(found))
