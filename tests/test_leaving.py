"""Why leave PostgreSQL: the sentence turns with the results, and says where nothing was measured."""

import pytest
from comparison_records import data, results

from helpers.comparison import leaving

US = {"postgres": 200.0, "redis": 100.0, "mongodb": 200.0, "cassandra": 800.0}


def told(found):
    return leaving.gains_and_losses(results(found))


def of(text, store):
    """What is said of one store."""
    return text.partition(f"{store} ")[2].partition(". ")[0]


def test_gains_losses_and_ties_are_told_apart():
    text = told(data(US))
    assert text.startswith(
        "Against staying with PostgreSQL (medians of one client, 50/50 mix; below 1 is shorter): "
    )
    assert of(text, "Redis").startswith(
        "gains time to read a profile (0.500 times), read the last 20 activities (0.5"
    )
    assert "loses" not in of(text, "Redis")
    assert of(text, "MongoDB").startswith("shows no difference in time to read a profile, read the last")
    assert of(text, "Cassandra").startswith("loses time to read a profile (4.00 times)")
    assert text.endswith("whose user or product does not exist.")


def test_the_sentence_turns_with_the_results():
    text = told(data(US | {"postgres": 50.0}))
    assert of(text, "Redis").startswith("loses time to read a profile (2.00 times)")
    assert "gains time" not in text


def test_one_operation_may_gain_where_another_loses():
    found = data(US)
    for row in found["ratios"]:
        if row["operation"] == "place_order" and {row["store"], row["against"]} == {"postgres", "redis"}:
            row["ratio"] = 0.25
    assert "gains time to read a profile" in of(told(found), "Redis")
    assert "; loses time to place an order (4.00 times)" in of(told(found), "Redis")


def test_the_strict_tier_is_told_where_it_was_measured():
    found = data(US)
    assert "on disk first" not in told(found)
    strict = [{**row, "tier": "strict"} for row in found["ratios"] if row["mix"] == "50/50"]
    for row in strict:
        if row["operation"] == "append_activity" and {row["store"], row["against"]} == {"postgres", "redis"}:
            row["ratio"] = 0.2
    found["ratios"] += strict
    said = of(told(found), "Redis").partition("with every write on disk first it ")[2]
    assert said.startswith(
        "gains time to place an order (0.500 times), loses time to append an activity (5.00 times)"
    )
    assert "read" not in said.partition(";")[0]


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (3000.0, "3.00 times the operations"),
        (500.0, "0.500 times"),
        (1010.0, "no difference shown in operations"),
    ],
)
def test_a_processor_second_does_more_less_or_as_much(rate, said):
    found = data(US)
    for row in found["throughput"]:
        value = rate if row["store"] == "redis" else 1000.0
        row["core_per_s"] = {"value": value, "low": value * 0.98, "high": value * 1.02}
    assert f"with 16 clients: {said}" in of(told(found), "Redis")
    for row in found["throughput"]:
        row["limit"] = "client" if row["store"] == "redis" else row["limit"]
    assert "processor second" not in of(told(found), "Redis")
    for row in found["throughput"]:
        row["core_per_s"] = None
    assert "processor second" not in told(found)


def test_what_was_not_measured_is_told():
    assert told(None) == "What leaving PostgreSQL gains and loses was not measured."
    found = data(US)
    del found["counts"]["postgres"]
    assert told(found) == "What leaving PostgreSQL gains and loses was not measured."
    found = data(US)
    found["ratios"], found["throughput"] = [], []
    assert "Redis cannot be compared." in told(found)
