"""Sentences turn with the results: loss, none, refusal, missing parts."""

import pytest
from nodes_records import LEFT_OUT, NAMES, data, results, tier

from helpers.results import Missing
from helpers.scaling import nodes, nodes_claims, tables
from helpers.scaling.nodes_schemas import PARTS

OF_PART = {
    "redis_replica": ("replica_killed", "replica_cut_off", "replica_lag", "replicas_wanted"),
    "redis_cluster": ("slots_moved", "cluster_failover", "order_in_cluster"),
    "mongodb_set": ("mongodb",),
    "cassandra_ring": ("cassandra", "cassandra_returned"),
}
OF_ALL = ("summary", "not_told")
TABLES = (
    "failures_table",
    "cases_table",
    "order_table",
    "failover_table",
    "nodes_settings_table",
)


@pytest.mark.parametrize("name", [*(name for of in OF_PART.values() for name in of), "summary", "not_told"])
def test_what_was_not_measured_is_told(name):
    assert "not measured" in getattr(nodes_claims, name)(results(None))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_nothing_is_missing(name):
    with pytest.raises(Missing):
        getattr(tables, name)(results(None))


@pytest.mark.parametrize("part", NAMES)
def test_the_reason_why_a_part_was_left_out_is_told_and_its_rows_are_gone(part):
    whole, found = data(), data()
    found[part] = LEFT_OUT
    for name in OF_PART[part]:
        assert getattr(nodes_claims, name)(results(found)).endswith("not measured: no room.")
    assert len(tables.failures_table(results(found))) == len(tables.failures_table(results(whole))) - 2
    assert f"Not measured: {PARTS[part]}." in nodes_claims.summary(results(found))


@pytest.mark.parametrize("part", NAMES)
def test_findings_that_lack_something_are_not_guessed(part):
    found = data()
    found[part]["found"] = {}
    told = [getattr(nodes_claims, name)(results(found)) for name in OF_PART[part]]
    assert any(text.endswith("not measured.") for text in told)


def test_the_summary_names_the_settings_that_lost_and_no_other():
    text = nodes_claims.summary(results(data()))
    assert text.startswith("Nodes were killed under 8 settings of 4 set-ups.")
    assert "Acknowledged writes were lost under 2 of them; the other 6 lost none." in text
    assert text.endswith("These are Redis, primary and replica (no WAIT) and MongoDB, replica set (w:1).")


def test_the_summary_turns_when_nothing_or_everything_is_lost():
    found = data()
    for part in NAMES:
        for one in found[part]["tiers"].values():
            one["lost"] = 0
    acknowledged = sum(one["acknowledged"] for part in NAMES for one in found[part]["tiers"].values())
    assert f"None of {acknowledged} acknowledged writes was lost." in nodes_claims.summary(results(found))
    for part in NAMES:
        for one in found[part]["tiers"].values():
            one["lost"] = 2
    text = nodes_claims.summary(results(found))
    assert "lost under 8 of them." in text
    assert "lost none" not in text


def test_loss_after_a_cut_turns_with_the_tiers():
    found = data()
    text = nodes_claims.replica_cut_off(results(found))
    assert "With no WAIT, 40 of 98 acknowledged writes were lost (2 writes were not acknowledged)" in text
    assert "With WAIT 1, none of 97 acknowledged writes was lost (3 writes were not acknowledged)" in text
    assert text.endswith("still held 40 writes (no WAIT), and gave them up to become the replica.")
    cases = found["redis_replica"]["found"]["cases"]["cut off"]
    cases["no WAIT"], cases["WAIT 1"] = cases["WAIT 1"], cases["no WAIT"]
    text = nodes_claims.replica_cut_off(results(found))
    assert "With no WAIT, none of 97" in text
    assert "With WAIT 1, 40 of 98" in text
    assert "still held 3 writes (WAIT 1)" in text


def test_nothing_acknowledged_is_no_loss():
    found = data()
    found["redis_replica"]["found"]["cases"]["cut off"]["WAIT 1"] = tier(acknowledged=0)
    assert "With WAIT 1, no write was acknowledged" in nodes_claims.replica_cut_off(results(found))


def test_an_outage_is_a_range_where_kills_differ():
    text = nodes_claims.replica_killed(results(data()))
    assert "killed twice" in text
    assert "nothing was acknowledged for 500 ms to 750 ms" in text
    assert "nothing was acknowledged for 250 ms." in text


def test_a_primary_that_takes_writes_alone_is_told():
    found = data()
    assert nodes_claims.replicas_wanted(results(found)).endswith(
        "writes: NOREPLICAS Not enough good replicas."
    )
    found["redis_replica"]["found"]["refused_alone"] = ""
    assert nodes_claims.replicas_wanted(results(found)).endswith("still took writes.")


def test_moved_slots_tell_failures_and_lost_keys():
    found = data()
    text = nodes_claims.slots_moved(results(found))
    assert "MOVED 5 times, ASK once and TRYAGAIN never" in text
    assert "; no write failed. Of what" in text
    assert "none of the 5,000 keys from before was lost" in text
    of = found["redis_cluster"]["found"]
    of["keys_before_lost"] = 7
    of["cases"]["slots moved"]["whole"] = tier(acknowledged=97, lost=1, errors={"TryAgain": 3})
    text = nodes_claims.slots_moved(results(found))
    assert (
        "3 writes failed (3 by TryAgain). Of what was acknowledged, 1 of 97 acknowledged writes was lost"
        in text
    )
    assert "7 of the 5,000 keys from before were lost" in text


def test_a_failover_tells_what_the_other_masters_did():
    text = nodes_claims.cluster_failover(results(data()))
    assert "With whole, keys of the killed master could not be written for 2.00 s, and none of 98" in text
    assert "Of 60 writes to other masters none failed" in text
    assert "With partial, keys of the killed master could not be written for 2.50 s, and none of 90" in text
    assert "Of 60 writes to other masters 3 failed" in text


def test_a_table_of_failovers_that_no_part_recorded_is_missing():
    found = data()
    for part in NAMES:
        found[part]["failover"] = []
    with pytest.raises(Missing, match="notice"):
        tables.failover_table(results(found))


def test_the_table_of_failovers_has_two_columns_and_no_number_where_nothing_was_set():
    frame = tables.failover_table(results(data())).set_index("Nodes")
    assert list(frame.columns) == [
        "writes", "who promotes", "as shipped: dead after", "as shipped: silence",
        "as set: dead after", "as set: silence",
    ]  # fmt: skip
    assert frame.loc["Redis Cluster", "as set: dead after"] == "2 s"
    assert frame.loc["MongoDB, replica set", "as shipped: silence"] == "12.0 s (1 kill)"
    assert frame.loc["Redis, primary and replica", "as shipped: dead after"] == "n/a"
    killed = frame.loc["Redis, primary and replica", "as set: silence"]
    assert killed == "500 ms to 750 ms (2 kills)"
    assert frame.loc["Cassandra, ring", "as set: silence"] == "n/a"


def test_only_what_was_set_alike_costs_anything_in_the_decision():
    found = data()
    told = nodes.costs(found)
    assert told["redis"]["killed_node_s"]["value"] == pytest.approx(2.6, rel=0.01)  # not 16 s, nor 0.5 s
    assert told["mongodb"]["killed_node_s"]["value"] == pytest.approx(3.1, rel=0.01)
    assert told["cassandra"]["killed_node_s"]["value"] == pytest.approx(0.06, rel=0.02)
    assert told["redis"]["second_node"]["value"] == 1.3
    found["mongodb_set"]["failover"] = found["mongodb_set"]["failover"][1:]  # as shipped alone
    found["redis_cluster"] = LEFT_OUT
    found["cassandra_ring"]["failover"][0]["outages_s"] = [0.05]  # one kill tells no interval
    told = nodes.costs(found)
    assert [one["killed_node_s"] for one in told.values()] == [None, None, None]


def test_the_order_is_taken_or_refused_by_names_of_keys():
    found = data()
    text = nodes_claims.order_in_cluster(results(found))
    assert "refuses the order's transaction with keys named as in the model. It answers CROSSSLOT" in text
    assert text.endswith("It takes it with keys named one hash tag.")
    for way in found["redis_cluster"]["found"]["order"]:
        way["driver"] = way["server"] = ""
    assert nodes_claims.order_in_cluster(results(found)).endswith("none is refused.")
    for way in found["redis_cluster"]["found"]["order"]:
        way["driver"] = "no"
    assert nodes_claims.order_in_cluster(results(found)).endswith("No way of naming them is taken.")


def test_mongodb_tells_each_case_and_what_was_rolled_back():
    found = data()
    text = nodes_claims.mongodb(results(found))
    assert text.startswith(
        "When the primary was killed, nothing was acknowledged for 2.50 s to 3.00 s; with w:1"
    )
    assert "When the primary was killed some time after the secondaries, " in text
    assert "with w:1 1 of 98 acknowledged writes was lost. " in text
    for concerns in found["mongodb_set"]["found"]["cases"].values():
        concerns["w:1"]["lost"] = 0
    assert nodes_claims.mongodb(results(found)).count("no acknowledged write was lost") == 2
    assert text.endswith("had set 12 documents aside in rollback files.")
    found["mongodb_set"]["tiers"]["w:1"]["lost"] = 19
    assert nodes_claims.mongodb(results(found)).endswith(
        "in rollback files; 7 of the 19 lost writes are in none."
    )
    found["mongodb_set"]["found"]["rolled_back"] = 0
    assert "No member that came back had set a document aside" in nodes_claims.mongodb(results(found))


def test_cassandra_tells_what_a_quorum_refused_and_what_came_back():
    found = data()
    text = nodes_claims.cassandra(results(found))
    assert "At ONE 0 of 100 writes failed, and none of 100 acknowledged writes was lost." in text
    assert "At QUORUM 40 of 100 writes failed (40 by Unavailable)" in text
    assert "Unavailable 2.00 s after" in text
    found["cassandra_ring"]["found"]["refused_after_s"] = None
    assert nodes_claims.cassandra(results(found)).endswith("No write was refused as Unavailable.")
    text = nodes_claims.cassandra_returned(results(found))
    assert "had missed 30 writes, of which 20 came by themselves within 5.00 s" in text
    assert "lacked 14 acknowledged writes by themselves, and 0 afterwards" in text
    found["cassandra_ring"]["found"]["returned"][0]["still_missed"] = 30
    assert "of which 0 came by themselves." in nodes_claims.cassandra_returned(results(found))
    found["cassandra_ring"]["found"]["returned"] = []
    assert nodes_claims.cassandra_returned(results(found)).endswith("came back.")


def test_tables_hold_a_row_for_each_setting_case_and_way():
    found = results(data())
    assert len(tables.cases_table(found)) == 4 + 2 + 4 + 2
    assert {"Cassandra, ring", "Redis Cluster"} <= set(tables.nodes_settings_table(found)["Nodes"])
    ways = tables.order_table(found)
    assert list(ways["server, script"]) == [
        "CROSSSLOT Keys in request don't hash to the same slot",
        "taken",
    ]


def test_what_one_machine_cannot_tell_is_listed():
    assert nodes_claims.not_told(results(data())).endswith(
        "do not tell what a network adds; what power does."
    )


def test_failures_are_a_row_for_each_setting():
    frame = tables.failures_table(results(data())).set_index(["Nodes", "setting"])
    assert len(frame) == 8
    redis = frame.loc[("Redis, primary and replica (2)", "no WAIT")].to_dict()
    assert (redis["acknowledged"], redis["lost"], redis["longest silence"]) == ("98", "40", "500 ms")
    assert redis["one node killed"] == "500 ms to 750 ms (2 kills)"
    assert frame.loc[("Redis, primary and replica (2)", "WAIT 1"), "one node killed"] == "n/a"
    assert (
        frame.loc[("Redis Cluster (6)", "whole"), "one node killed"] == "2.50 s to 2.70 s (3 kills)"
    )  # as set, and not as shipped
    cassandra = frame.loc[("Cassandra, ring (3)", "QUORUM"), "one node killed"]
    assert cassandra == "50.0 ms to 70.0 ms (3 kills)"
    found = data()
    for part in NAMES:
        found[part] = LEFT_OUT
    with pytest.raises(Missing):
        tables.failures_table(results(found))
