"""Why leave PostgreSQL: the sentence turns with the results, and says where nothing was measured."""

import pytest
from comparison_records import data, results

from helpers.comparison import leaving
from helpers.results import Missing

US = {"postgres": 200.0, "redis": 100.0, "mongodb": 200.0, "cassandra": 800.0}


def told(found):
    return leaving.gains_and_losses(results(found))


def of(text, store):
    """What is said of one store."""
    return text.partition(f"{store} ")[2].partition(". ")[0]


@pytest.mark.slow
def test_gains_losses_and_ties_are_told_apart():
    text = told(data(US))
    assert text.startswith("Against staying with PostgreSQL (medians of one client, 50/50 mix): ")
    assert of(text, "Redis").startswith("is quicker to read a profile, read the last 20 activities, app")
    assert "slower" not in of(text, "Redis")
    assert of(text, "MongoDB").startswith("shows no difference in time to read a profile, read the last")
    assert of(text, "Cassandra").startswith("is slower to read a profile")
    assert text.endswith("whose user or product does not exist.")


def test_the_sentence_turns_with_the_results():
    text = told(data(US | {"postgres": 50.0}))
    assert "mix): Redis, MongoDB and Cassandra are slower to read a profile, read the last" in text
    assert "quicker" not in text and text.count("slower") == 1


def test_one_operation_may_gain_where_another_loses():
    found = data(US)
    for row in found["ratios"]:
        if row["operation"] == "place_order" and {row["store"], row["against"]} == {"postgres", "redis"}:
            row["ratio"] = 0.25
    assert "is quicker to read a profile" in of(told(found), "Redis")
    assert "; it is slower to place an order" in of(told(found), "Redis")


def row(found, store):
    return leaving.table(results(found)).set_index("store").loc[store]


def test_the_table_has_ratios_of_both_tiers_and_says_what_is_not_shown():
    found = data(US)
    assert row(found, "Redis")["read a profile"] == "0.500"
    assert row(found, "MongoDB")["read a profile"].endswith(", not shown")
    assert row(found, "Cassandra")["place an order"] == "4.00"
    assert row(found, "Redis")["append an activity, strict"] == "n/a"
    strict = [{**row, "tier": "strict"} for row in found["ratios"] if row["mix"] == "50/50"]
    for one in strict:
        if one["operation"] == "append_activity" and {one["store"], one["against"]} == {"postgres", "redis"}:
            one["ratio"] = 0.2
    found["ratios"] += strict
    assert row(found, "Redis")["append an activity, strict"] == "5.00"
    assert row(found, "Redis")["place an order, strict"] == "0.500"
    for damage in (lambda: found["counts"].pop("postgres"), lambda: found.update(ratios=[])):
        damage()
        with pytest.raises(Missing):
            leaving.table(results(found))


@pytest.mark.parametrize(("rate", "said"), [(3000.0, "3.00"), (500.0, "0.500"), (1010.0, "1.01, not shown")])
def test_a_processor_second_does_more_less_or_as_much(rate, said):
    found = data(US)
    for one in found["throughput"]:
        value = rate if one["store"] == "redis" else 1000.0
        one["core_per_s"] = {"value": value, "low": value * 0.98, "high": value * 1.02}
    assert row(found, "Redis")["operations of a processor second"] == said
    for one in found["throughput"]:
        one["limit"] = "client" if one["store"] == "redis" else one["limit"]
    assert row(found, "Redis")["operations of a processor second"] == "n/a"


def test_what_was_not_measured_is_told():
    assert told(None) == "What leaving PostgreSQL gains and loses was not measured."
    found = data(US)
    del found["counts"]["postgres"]
    assert told(found) == "What leaving PostgreSQL gains and loses was not measured."
    found = data(US)
    found["ratios"], found["throughput"] = [], []
    assert "Redis, MongoDB and Cassandra cannot be compared." in told(found)
