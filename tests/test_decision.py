import pytest
from comparison_records import data

from helpers.comparison import decision
from helpers.comparison.summary import GRID

FAST_REDIS = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}


def test_measure_scores_the_best_one_and_others_by_their_distance():
    less = decision.Measure("performance", "time", "µs", True, {"a": 10, "b": 20, "c": 40})
    more = decision.Measure("scalability", "rate", "1/s", False, {"a": 10, "b": 20, "c": 40})
    assert less.scores() == {"a": 1, "b": 0.5, "c": 0.25}
    assert more.scores() == {"a": 0.25, "b": 0.5, "c": 1}
    assert decision.Measure("x", "", "", False, {"a": 0, "b": 0}).scores() == {"a": 0, "b": 0}


def test_scores_follow_the_latencies_and_turn_with_them():
    scored = decision.scores(data(FAST_REDIS))
    assert list(scored) == list(decision.CRITERIA)
    assert scored["performance"]["redis"] == 1
    assert scored["performance"]["mongodb"] == pytest.approx(1 / 3, rel=0.01)
    turned = decision.scores(data({"redis": 900.0, "mongodb": 300.0, "cassandra": 100.0}))
    assert turned["performance"]["cassandra"] == 1
    assert turned["performance"]["redis"] == pytest.approx(1 / 9, rel=0.01)


def test_a_measure_missing_for_one_store_counts_for_none():
    found = data(FAST_REDIS)
    found["counts"]["cassandra"]["idle_rss_mb"] = None
    labels = [measure.label for measure in decision.measures(found)]
    assert "memory of the idle server" not in labels
    assert "definitions and statements for the four operations" in labels
    found["open_loop"] = []
    assert "use_case_fit" not in decision.scores(found)


def test_totals_are_the_weighted_mean():
    scored = {"performance": {"a": 1.0, "b": 0.5}, "complexity": {"a": 0.2, "b": 1.0}}
    assert decision.totals(scored, {"performance": 3, "complexity": 1}) == pytest.approx(
        {"a": 0.8, "b": 0.625}
    )
    assert decision.totals(scored, {"performance": 0, "complexity": 5}) == pytest.approx({"a": 0.2, "b": 1.0})


@pytest.mark.parametrize(
    "weights", [{"performance": -1.0}, {"beauty": 1.0}, {"performance": 0.0}, {"scalability": 1.0}]
)
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        decision.totals({"performance": {"a": 1.0, "b": 0.5}}, weights)


def test_best_names_ties():
    assert decision.best({"a": 0.7, "b": 0.9, "c": 0.896}) == ["b", "c"]
    assert decision.best({"a": 0.7, "b": 0.9, "c": 0.89}) == ["b"]


def test_flip_is_where_the_totals_cross():
    # a: 1*w + 0.2*(1-w), b: 0.5*w + 1*(1-w); equal at w = 0.8/1.3 = 0.615
    scored = {"performance": {"a": 1.0, "b": 0.5}, "complexity": {"a": 0.2, "b": 1.0}}
    (flip, other) = decision.flips(scored, {"performance": 3, "complexity": 1})
    assert (flip.criterion, flip.store) == ("performance", "b")
    assert flip.share_now == 0.75
    assert flip.share_then == pytest.approx(0.615, abs=0.006)
    assert other.share_then == pytest.approx(0.385, abs=0.006)
    assert (
        decision.flips(
            {"performance": {"a": 1.0, "b": 0.5}, "complexity": {"a": 0.9, "b": 0.1}}, {"performance": 1}
        )
        == []
    )


def test_shares_of_weightings_add_up_and_see_dominance():
    better, worse = {"a": 1.0, "b": 0.5}, {"a": 0.0, "b": 1.0}
    assert decision.shares_of_weightings({"performance": better, "complexity": better}) == {"a": 1, "b": 0}
    against = decision.shares_of_weightings({"performance": {"a": 1.0, "b": 0.0}, "complexity": worse})
    assert against == pytest.approx({"a": 0.5, "b": 0.5})


def test_share_within_interpolates_between_the_points_kept():
    quantiles = [100 * share for share in GRID]  # uniform from 0 to 100
    assert decision.share_within(quantiles, 50) == pytest.approx(0.5)
    assert decision.share_within(quantiles, 25.5) == pytest.approx(0.255)
    assert decision.share_within(quantiles, 1000) == 1
    assert decision.share_within(quantiles, -1) == 0
