"""Sentences, tables and the figure on other programs turn with what was found, and say what is missing."""

import jsonschema
import pytest
from comparison_records import data, results
from crosscheck_records import check, pings, several

from helpers.comparison import crosscheck_claims as claims
from helpers.comparison.schemas import CROSS_CHECK
from helpers.results import Missing

US = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
OURS = {"redis": 8000.0, "mongodb": 4000.0, "cassandra": 2000.0}
CLAIMS = ("floor", "agreement", "order", "gain", "versions")


def found(rows, absent=()):
    made = check(rows, absent)
    jsonschema.validate(made, CROSS_CHECK)
    return results(data(US) | {"cross_check": made})


def test_the_floor_tells_win_tie_and_reverse():
    text = claims.floor(found(pings()))
    assert text.startswith(
        "One client of redis-benchmark 7.0.15 gets the answer to a PING from Redis in 30.0 µs"
    )
    assert "30.0 µs (median), 1.50 times a bare TCP round trip. Our driver's null" in text
    assert "takes 90.0 µs, 3.00 times as long. With 16 clients" in text
    assert text.endswith("it sends 32,000 per second, ours 8,000.")
    assert "no difference" not in text
    text = claims.floor(found(pings(ours=30.0, ours_per_s=32000.0, echo=30.0)))
    assert text.count(", no difference shown") == 3
    text = claims.floor(found(pings(ours=15.0, ours_per_s=64000.0)))
    assert "0.500 times as long. " in text and "32,000 per second, ours 64,000." in text


def test_a_program_of_another_version_than_its_server_is_named():
    text = claims.versions(found(pings()))
    assert text == "The versions differ: redis-benchmark 7.0.15 asked Redis 8.2.3."
    same = check(pings())
    same["programs"][0]["version"] = "8.2.1"
    assert "version is that of the server" in claims.versions(results(data(US) | {"cross_check": same}))
    assert "not measured" in claims.versions(found(several(OURS, OURS)))  # go-ycsb has a number of its own


def test_agreement_tells_win_tie_and_reverse():
    slower = several(OURS, {store: rate * 4 for store, rate in OURS.items()}, us=(200.0, 100.0))
    text = claims.agreement(found(slower))
    assert text.startswith(
        "Reads and inserts were also asked for by go-ycsb, in 10 rounds that took turns with ours."
    )
    assert "With 1 client our median is 2.00 times theirs." in text
    assert "With 16 clients our rate is 0.250 times theirs." in text
    assert "no difference" not in text
    tie = claims.agreement(found(several(OURS, OURS)))
    assert "our rate is 1.00 times theirs. In 3 of 3 cases no difference is shown." in tie
    uneven = several(OURS, OURS | {"cassandra": 1000.0, "redis": 16000.0})
    text = claims.agreement(found(uneven))
    assert "our rate is 0.500 to 2.00 times theirs, least on Redis and most on Cassandra. In 1 of 3" in text
    faster = claims.agreement(found(several(OURS, {store: rate / 2 for store, rate in OURS.items()})))
    assert "With 16 clients our rate is 2.00 times theirs." in faster


def test_programs_that_were_not_run_are_named_with_the_reason():
    absent = [
        ("mongodb", "go-ycsb", "go-ycsb is not on PATH"),
        ("cassandra", "go-ycsb", "go-ycsb is not on PATH"),
    ]
    assert claims.agreement(found([], absent)) == (
        "No other program was run. Not run on MongoDB and Cassandra: go-ycsb is not on PATH."
    )
    text = claims.agreement(found(several(OURS, OURS), [("postgres", "pgbench", "pgbench is not on PATH")]))
    assert text.endswith(" Not run on PostgreSQL: pgbench is not on PATH.")
    frame = claims.programs_table(found(pings(), absent))
    assert list(frame["version"]) == ["7.0.15", "not run", "not run"]
    assert frame.iloc[1]["server"] == "go-ycsb is not on PATH"
    with pytest.raises(Missing, match="go-ycsb is not on PATH"):
        claims.table(found([], absent))


def test_the_order_of_stores_is_the_same_or_turned_or_not_told():
    text = claims.order(found(several(OURS, OURS)))
    assert text == (
        "In reads with 16 clients, go-ycsb and ours agree in the order of 3 of 3 pairs of stores."
    )
    text = claims.order(found(several(OURS, OURS | {"cassandra": 6000.0})))
    assert "agree in the order of 2 of 3 pairs of stores; not on MongoDB and Cassandra " in text
    assert text.endswith("(Cassandra by go-ycsb, MongoDB by ours).")
    text = claims.order(found(several(OURS, OURS | {"cassandra": 4100.0})))
    assert "agree in the order of 2 of 2 pairs of stores." in text
    level = dict.fromkeys(OURS, 4000.0)
    assert "order no two stores by rate" in claims.order(found(several(level, level)))
    one_store = {"redis": 8000.0}
    assert claims.order(found(several(one_store, one_store))).endswith(": not measured.")


def test_the_gain_is_of_both_sides():
    text = claims.gain(found(several(OURS, OURS)))
    assert text.startswith(
        "With 16 clients the rate of reads is 4.00 times that of one by go-ycsb, and 2.00 times by ours."
    )
    assert claims.gain(found(pings())).endswith(": not measured.")


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_says_that_it_was_not_measured(name):
    claim = getattr(claims, name)
    assert claim(results(None)).endswith(": not measured.")
    assert claim(results({})).endswith(": not measured.")
    assert claim(results(data(US))).endswith(": not measured.")


def test_one_round_gives_no_interval_and_no_sentence():
    rows = several(OURS, OURS) + pings()
    for row in rows:
        row |= {"ours_per_s": None, "theirs_per_s": None, "ratio": dict.fromkeys(row["ratio"]), "gain": None}
        row |= {"theirs_to_echo": None} if "theirs_to_echo" in row else {}
        del row["gain"]
    for name in ("floor", "order", "gain"):
        assert getattr(claims, name)(found(rows)).endswith(": not measured.")
    assert claims.agreement(found(rows)).startswith("No other program was run")
    assert set(claims.table(found(rows))["ratio of rates"]) == {"n/a"}


def test_the_table_has_a_row_for_each_comparison():
    rows = pings() + several(
        OURS, {store: rate * 4 for store, rate in OURS.items()}, operations=("read", "insert")
    )
    frame = claims.table(found(rows))
    assert len(frame) == len(rows) == 14
    first = frame.iloc[2]
    assert (first["store"], first["program"], first["clients"]) == ("Redis", "go-ycsb", 1)
    assert first["ratio of rates"] == "0.250 (0.225 to 0.275)" and first["operation"] == "read"
    asked = claims.requests_table(found(rows))
    assert len(asked) == 7 and set(asked["ours"]) == {"what we send"}
    with pytest.raises(Missing):
        claims.requests_table(found([], [("redis", "redis-benchmark", "it is not on PATH")]))
    assert first["per second, theirs"] == "32,000"
    with pytest.raises(Missing):
        claims.table(results(None))


def test_the_figure_has_a_line_for_each_store_and_program():
    figure = claims.ratios(found(several(OURS, OURS, operations=("read", "insert"))))
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Reads", "Inserts"]
    assert len(figure.axes[0].get_legend_handles_labels()[1]) == 3
    with pytest.raises(Missing):
        claims.ratios(found(pings()))
