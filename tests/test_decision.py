"""Scores, ties and flips by hand, and a decision that no client's limit decides."""

import json
import math

import pytest
from comparison_records import data, interval, percentiles, results
from redis.crc import key_slot

from helpers.comparison import decision
from helpers.comparison.redis import RedisStore
from helpers.comparison.statistics import Interval
from helpers.comparison.summary import GRID
from helpers.relational import redis_model
from helpers.results import Results

FAST_REDIS = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
LIMITED = "the servers' processor time is not known"


def exact(value):
    return Interval(value, value, value)


def around(value, low, high):
    return Interval(value, low, high)


def by_store(**values):
    return {store: exact(value) for store, value in values.items()}


def nodes(**ratios):
    """What several nodes cost: a ratio and seconds by store."""
    return {
        "costs": {
            store: {"second_node": interval(ratio), "killed_node_s": interval(seconds)}
            for store, (ratio, seconds) in ratios.items()
        }
    }


ALIKE = nodes(redis=(1.5, 2.0), mongodb=(1.5, 2.0), cassandra=(1.5, 2.0))


def with_core(found, at=None, **cores):
    """Rows of throughput in which one core of each server allows so many operations per second."""
    for row in found["throughput"]:
        row["core_per_s"] = interval(cores[row["store"]]) if row["store"] in cores else None
        row["limit"] = at or "server"
    return found


def with_base(found, us=600.0):
    """A comparison in which PostgreSQL took part: as Redis, but as slow as is said."""
    found["counts"]["postgres"] = found["counts"]["redis"]
    for row in [row for row in found["latency"] if row["store"] == "redis"]:
        found["latency"].append(row | {"store": "postgres", "percentiles_us": percentiles(us)})
    return found


def values_of(measures, label):
    (found,) = [one for one in measures if label in one.label]
    return {store: one.value for store, one in found.values.items()}


def test_a_measure_scores_the_best_one_and_others_by_their_distance():
    less = decision.Measure("performance", "time", "µs", True, by_store(a=10, b=20, c=40))
    more = decision.Measure("scalability", "rate", "1/s", False, by_store(a=10, b=20, c=40))
    assert less.scores() == by_store(a=1.0, b=0.5, c=0.25)
    assert more.scores() == by_store(a=0.25, b=0.5, c=1.0)
    assert decision.Measure("x", "", "", False, by_store(a=0, b=0)).scores() == by_store(a=0.0, b=0.0)


def test_a_score_carries_the_worst_and_the_best_case():
    pair = {"a": around(10, 9, 12), "b": around(20, 16, 25)}
    scored = decision.Measure("performance", "time", "µs", True, pair).scores()
    assert scored["a"] == Interval(1, 1, 1)  # at its worst, 12, still before 16
    assert scored["b"] == Interval(0.5, 9 / 25, 12 / 16)
    close = decision.Measure("performance", "time", "µs", True, pair | {"b": around(11, 10, 12)}).scores()
    assert close["a"].low == 10 / 12 and close["b"].high == 1  # each may be the best
    assert decision.best(close) == ["a", "b"]


def test_the_base_line_is_held_against_the_best_candidate_and_is_no_candidate():
    values = by_store(redis=10, mongodb=20, postgres=5)
    scored = decision.Measure("performance", "time", "µs", True, values).scores()
    assert scored == by_store(redis=1.0, mongodb=0.5, postgres=2.0)
    found = with_base(data(FAST_REDIS), us=50.0)
    assert decision.candidates(found) == ["redis", "mongodb", "cassandra"]
    assert all("postgres" not in of for of in decision.scores(found).values())
    assert decision.scores(found)["performance"] == decision.scores(data(FAST_REDIS))["performance"]
    staying = decision.staying(found)
    assert staying["performance"].value > 1
    assert "scalability" not in staying  # it has no measure there
    assert decision.staying(data(FAST_REDIS)) == {}


def test_scores_follow_the_latencies_and_turn_with_them():
    scored = decision.scores(with_core(data(FAST_REDIS), redis=9.0, mongodb=6.0, cassandra=3.0), ALIKE)
    assert list(scored) == list(decision.CRITERIA)
    assert scored["performance"]["redis"].value == 1
    assert scored["performance"]["mongodb"].value == pytest.approx(1 / 3, rel=0.01)
    turned = decision.scores(data({"redis": 900.0, "mongodb": 300.0, "cassandra": 100.0}))
    assert turned["performance"]["cassandra"].value == 1
    assert turned["performance"]["redis"].value == pytest.approx(1 / 9, rel=0.01)


def test_a_measure_missing_for_one_store_counts_for_none_and_is_named():
    found = with_core(data(FAST_REDIS), redis=9.0, mongodb=6.0, cassandra=3.0)
    assert values_of(decision.measures(found), "one core")["redis"] == 9
    with_core(found, redis=9.0, mongodb=6.0)
    assert not [one for one in decision.measures(found) if "one core" in one.label]
    assert ("scalability", LIMITED) in {(one.criterion, one.why) for one in decision.missing(found)}
    found["open_loop"] = []
    assert "use_case_fit" not in decision.scores(found)


def test_idle_memory_is_no_complexity():
    found = data(FAST_REDIS)
    before = decision.scores(found)["complexity"]
    found["counts"]["redis"]["idle_rss_mb"] = 1e6
    assert decision.scores(found)["complexity"] == before


def test_where_the_client_was_the_limit_nobody_is_first_for_it():
    """Redis reaches ten times the rate of the others, and would answer all in time; its client says so."""
    at16 = {"redis": 100_000.0, "mongodb": 10_000.0, "cassandra": 10_000.0}
    alike = data(dict.fromkeys(FAST_REDIS, 100.0), at16=at16)
    for row in alike["open_loop"]:
        row["limit"] = "client"
        row["latency_quantiles_us"] = [1.0 if row["store"] == "redis" else 1e6] * len(GRID)
    with_core(alike, at="client", redis=5000.0, mongodb=5000.0, cassandra=5000.0)
    for store in alike["counts"]:
        alike["counts"][store] |= {key: alike["counts"]["redis"][key] for key in ("sent", "records_written")}
    scored = decision.scores(alike)
    assert "use_case_fit" not in scored
    for criterion in ("performance", "complexity", "data_model"):
        assert len(decision.best(scored[criterion])) == 3, criterion
    assert "the client was the limit" in " ".join(one.why for one in decision.missing(alike))
    assert not [one for one in decision.measures(alike) if "through" in one.label or "reached" in one.label]
    with_core(alike, at="client", redis=9000.0, mongodb=5000.0, cassandra=5000.0)
    assert not [one for one in decision.measures(alike) if "one core" in one.label]
    assert "the clients could not load each server" in [one.why for one in decision.missing(alike)]
    with_core(alike, redis=1000.0, mongodb=5000.0, cassandra=5000.0)  # it costs its server most
    assert "redis" not in decision.best(decision.scores(alike)["scalability"])


def test_a_second_node_and_a_killed_one_count_in_scalability():
    found = with_core(data(FAST_REDIS), redis=5.0, mongodb=5.0, cassandra=5.0)
    level = decision.scores(found, ALIKE)["scalability"]
    dear = nodes(redis=(3.0, 2.0), mongodb=(1.5, 2.0), cassandra=(1.5, 2.0))
    assert decision.scores(found, dear)["scalability"]["redis"].value < level["redis"].value
    slow = nodes(redis=(1.5, 20.0), mongodb=(1.5, 2.0), cassandra=(1.5, 2.0))
    assert decision.scores(found, slow)["scalability"]["redis"].value < level["redis"].value
    dear["costs"]["mongodb"]["second_node"] = None
    assert [one for one in decision.missing(found, dear) if "two nodes" in one.label]


def test_what_a_divided_redis_takes_is_what_its_slots_say():
    """The stated fact: an operation is taken as it is when all of its keys lie in one slot."""
    keys = {
        "read_profile": [redis_model.user_key(1)],
        "last_activities": [redis_model.activities_key(1)],
        "append_activity": [redis_model.activities_key(1), f"{redis_model.activities_key(1)}:by_time"],
        "place_order": [
            redis_model.order_key(1), redis_model.user_orders_key(1), redis_model.product_orders_key(1)
        ],
    }  # fmt: skip
    for operation, names in keys.items():
        for name in names:
            pattern = name.replace("1", "ID")
            assert pattern in RedisStore.IDIOMS[operation].commands
    taken = [names for names in keys.values() if len({key_slot(name.encode()) for name in names}) == 1]
    assert len(taken) == decision.DIVISION["redis"].operations


def test_durability_counts_by_what_the_same_promise_costs():
    found = data(FAST_REDIS)
    (gone,) = [one for one in decision.missing(found) if "on disk" in one.label]
    assert gone.criterion == "use_case_fit"
    for row in [row for row in found["latency"] if row["mix"] == "50/50"]:
        found["latency"].append(row | {"tier": "strict", "percentiles_us": percentiles(1000.0)})
    assert set(values_of(decision.measures(found), "on disk").values()) == {2000.0}
    before = decision.scores(found)["use_case_fit"]["redis"].value
    for row in found["latency"]:
        if (row["tier"], row["store"]) == ("strict", "redis"):
            row["percentiles_us"] = percentiles(4000.0)
    assert decision.scores(found)["use_case_fit"]["redis"].value < before


def test_fit_is_the_mean_over_limits_and_rates():
    found = data(FAST_REDIS)
    for row in found["open_loop"]:
        at = {"redis": 99.0, "mongodb": 10_000.0, "cassandra": 1e6}[row["store"]]
        row["latency_quantiles_us"] = [at] * len(GRID)
        row["latency_us"]["p50"] = {"value": at, "low": at / 2, "high": at * 2}
    fits = decision.fits(found)
    assert fits["redis"].value == 1
    # the limits from 10 ms on are 11 of 31; those from 5 ms on 14, from 20 ms on 7
    assert fits["mongodb"].value == pytest.approx(11 / 31)
    assert (fits["mongodb"].low, fits["mongodb"].high) == pytest.approx((7 / 31, 14 / 31))
    assert fits["cassandra"].value == 0
    slower = max(row["offered_per_s"] for row in found["open_loop"])
    for row in found["open_loop"]:
        if row["offered_per_s"] == slower:
            row["latency_quantiles_us"] = [1e6] * len(GRID)
    assert decision.fits(found)["redis"].value == 0.5
    for row in found["open_loop"]:
        if row["offered_per_s"] == slower and row["store"] == "cassandra":
            row["limit"] = "client"  # of one store is enough: the rate says nothing of the others' rank
    assert decision.rates(found) == [min(row["offered_per_s"] for row in found["open_loop"])]
    assert decision.fits(found)["redis"].value == 1


SCORED = {"performance": by_store(a=1.0, b=0.5), "complexity": by_store(a=0.2, b=1.0)}


def test_totals_are_the_weighted_mean_of_values_and_of_ends():
    total = decision.totals(SCORED, {"performance": 3, "complexity": 1})
    assert total["a"].value == pytest.approx(0.8) and total["b"].value == pytest.approx(0.625)
    total = decision.totals(SCORED, {"performance": 0, "complexity": 5})
    assert total == by_store(a=0.2, b=1.0)
    wide = {"performance": {"a": around(0.8, 0.6, 1.0)}, "complexity": {"a": around(0.4, 0.2, 0.8)}}
    total = decision.totals(wide, {"performance": 1, "complexity": 1})
    assert (total["a"].low, total["a"].high) == pytest.approx((0.4, 0.9))


@pytest.mark.parametrize(
    "weights", [{"performance": -1.0}, {"beauty": 1.0}, {"performance": 0.0}, {"scalability": 1.0}]
)
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        decision.totals({"performance": by_store(a=1.0, b=0.5)}, weights)


def test_best_names_all_whose_intervals_overlap():
    assert decision.best(by_store(a=0.7, b=0.9, c=0.896)) == ["b", "c"]
    assert decision.best(by_store(a=0.7, b=0.9, c=0.89)) == ["b"]
    overlapping = {"a": around(0.7, 0.6, 0.85), "b": around(0.9, 0.8, 1.0), "c": around(0.5, 0.4, 0.7)}
    assert decision.best(overlapping) == ["b", "a"]
    apart = overlapping | {"a": around(0.7, 0.65, 0.75)}
    assert decision.best(apart) == ["b"]


def test_flip_is_where_the_totals_cross():
    # a: 1*w + 0.2*(1-w), b: 0.5*w + 1*(1-w); equal at w = 0.8/1.3 = 0.615
    (flip, other) = decision.flips(SCORED, {"performance": 3, "complexity": 1})
    assert (flip.criterion, flip.store) == ("performance", "b")
    assert flip.share_now == 0.75
    assert flip.share_then == pytest.approx(0.615, abs=0.006)
    assert other.share_then == pytest.approx(0.385, abs=0.006)
    first = {"performance": by_store(a=1.0, b=0.5), "complexity": by_store(a=0.9, b=0.1)}
    assert decision.flips(first, {"performance": 1}) == []


def test_shares_of_weightings_see_dominance_and_ties():
    better, worse = by_store(a=1.0, b=0.5), by_store(a=0.0, b=1.0)
    dominated = {"performance": better, "complexity": better}
    assert decision.shares_of_weightings(dominated) == ({"a": 1, "b": 0}, 0)
    against = {"performance": by_store(a=1.0, b=0.0), "complexity": worse}
    alone, level = decision.shares_of_weightings(against)  # eleven weightings, the middle one a tie
    assert alone == pytest.approx({"a": 5 / 11, "b": 5 / 11}) and level == pytest.approx(1 / 11)
    unsure = {"performance": {"a": around(0.9, 0.5, 1.0), "b": around(0.8, 0.5, 1.0)}}
    assert decision.shares_of_weightings(unsure) == ({"a": 0, "b": 0}, 1)


def test_share_within_interpolates_between_the_points_kept():
    quantiles = [100 * share for share in GRID]  # uniform from 0 to 100
    assert decision.share_within(quantiles, 50) == pytest.approx(0.5)
    assert decision.share_within(quantiles, 25.5) == pytest.approx(0.255)
    assert decision.share_within(quantiles, 1000) == 1
    assert decision.share_within(quantiles, -1) == 0


def test_limits_weigh_each_decade_alike():
    steps = [math.log10(b / a) for a, b in zip(decision.LIMITS_US, decision.LIMITS_US[1:], strict=False)]
    assert steps == pytest.approx([0.1] * 30)


def test_weights_given_later_act_and_are_kept_for_the_report(tmp_path):
    found = results(data(FAST_REDIS))
    record = found["comparison"]
    envelope = {
        "format": "user-activity-results", "kind": "comparison", "profile": "quick",
        "created": record.created, "data": record.data,
    }  # fmt: skip
    (tmp_path / "comparison.json").write_text(json.dumps(envelope))
    mine = dict(decision.EQUAL_WEIGHTS) | {"performance": 7.0}
    held = Results({"comparison": record}, tmp_path)
    changed = decision.weighed(held, mine)
    assert changed.require("comparison")["weights"] == mine
    assert held.require("comparison")["weights"] == decision.EQUAL_WEIGHTS
    assert json.loads((tmp_path / "comparison.json").read_text())["data"]["weights"] == mine
    assert decision.weighed(results(None), mine).keys() == set()
    assert decision.weighed(found, mine).require("comparison")["weights"] == mine  # without a folder
    with pytest.raises(ValueError, match="weights"):
        decision.weighed(held, {"beauty": 1.0})
