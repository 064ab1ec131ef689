import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from helpers.comparison import statistics


def test_samples_needed_are_those_of_the_order_statistics():
    assert [statistics.samples_needed(share) for share in (0.5, 0.9, 0.99, 0.999)] == [6, 36, 368, 3688]


def test_median_of_one_to_hundred_has_the_textbook_ranks():
    # Hahn and Meeker, section 5.2: for n = 100 and the median the 95 % ranks are 40 and 61
    interval = statistics.percentile(list(range(100, 0, -1)), 0.5)
    assert interval == statistics.Interval(50, 40, 61)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 0.999])
def test_ranks_are_the_quantiles_of_the_binomial_distribution(share):
    from scipy import stats  # which takes a second

    least = statistics.samples_needed(share)
    for count in (*range(least, least + 300), 5_000, 20_000, 100_000):
        interval = statistics.percentile(np.arange(1, count + 1), share)
        low, high = stats.binom.ppf((0.025, 0.975), count, share)
        assert (interval.low, interval.high) == (max(low, 1), min(high + 1, count)), count


def test_a_rank_that_has_just_the_confidence_is_taken():
    # Of seven samples, one or none lies below the median in 8 of 128 cases: 0.0625, which binary numbers hold
    assert statistics.percentile(range(1, 8), 0.5, 0.875) == statistics.Interval(4, 1, 6)


def test_percentile_is_absent_one_sample_below_the_least():
    assert statistics.percentile(range(3687), 0.999) is None
    assert statistics.percentile(range(3688), 0.999) is not None
    assert statistics.percentile([], 0.5) is None


def test_percentile_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(7)
    truth = math.log(10)  # p90 of the standard exponential distribution
    found = [statistics.percentile(random.exponential(size=200), 0.9) for _ in range(600)]
    covered = sum(interval.low <= truth <= interval.high for interval in found) / len(found)
    assert 0.92 < covered < 0.995


def test_block_bootstrap_sees_the_spread_between_blocks():
    alike = [np.arange(100.0)] * 5
    apart = [np.arange(100.0) + shift for shift in (0, 500, 1000, 1500, 2000)]
    narrow, wide = (statistics.bootstrap_blocks(blocks, np.median) for blocks in (alike, apart))
    assert narrow.low == narrow.value == narrow.high == 49.5
    assert wide.low < 800 < 1200 < wide.high
    assert statistics.bootstrap_blocks(alike[:2], np.median) is None
    assert statistics.bootstrap_blocks(apart, np.median) == wide  # the seed decides


def test_log_ratio_of_literal_blocks():
    ratio = statistics.log_ratio(
        [2, 4, 8], [1, 1, 1]
    )  # logs ln2, 2 ln2, 3 ln2: mean 2 ln2, standard error ln2/sqrt(3)
    assert ratio.value == pytest.approx(4)
    reach = 4.302652729911275 * math.log(2) / math.sqrt(3)
    assert (ratio.low, ratio.high) == pytest.approx((4 * math.exp(-reach), 4 * math.exp(reach)))
    assert ratio.p == pytest.approx(0.07417990022744853)


def test_log_ratio_turns_with_its_arguments():
    one, other = [3.0, 5.0, 4.0], [1.5, 2.0, 2.5]
    there, back = statistics.log_ratio(one, other), statistics.log_ratio(other, one)
    assert there.value == pytest.approx(1 / back.value)
    assert there.low == pytest.approx(1 / back.high)
    assert there.p == pytest.approx(back.p)


def test_log_ratio_edges():
    assert statistics.log_ratio([2], [1]) is None
    assert statistics.log_ratio([2, 2], [2, 2]).p == 1.0
    assert statistics.log_ratio([4, 4], [2, 2]) == statistics.Ratio(2, 2, 2, 0)
    with pytest.raises(ValueError, match="pair them"):
        statistics.log_ratio([1, 2], [1])
    with pytest.raises(ValueError, match="positive"):
        statistics.log_ratio([1, 0], [1, 1])


def test_geometric_mean_of_literal_blocks():
    assert statistics.geometric_mean([1, 100]).value == pytest.approx(10)
    assert statistics.geometric_mean([5]) is None


def test_holm_on_the_worked_example():
    # Holm 1979 / R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_makes_a_p_value_smaller_nor_changes_the_order(p_values):
    adjusted = statistics.holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)


def test_describe_names_what_is_there_and_what_is_not():
    found = statistics.describe([range(400)], {"p50": 0.5, "p99.9": 0.999})
    assert found["p50"]["value"] == 199
    assert found["p99.9"] is None
    assert statistics.describe([[], []], {"p50": 0.5}) == {"p50": None}


def test_describe_takes_its_interval_from_blocks_where_there_are_enough():
    apart = [np.linspace(level, level + 1, 200) for level in (1, 5, 9, 13)]
    (pooled,) = statistics.describe([np.concatenate(apart)], {"p50": 0.5}).values()
    (blocked,) = statistics.describe([*apart, []], {"p50": 0.5}).values()
    assert blocked["value"] == pooled["value"]
    assert blocked["low"] < pooled["low"] < pooled["high"] < blocked["high"]
    (two,) = statistics.describe(
        [np.concatenate(apart[:2]), np.concatenate(apart[2:])], {"p50": 0.5}
    ).values()
    assert two == pooled
    assert statistics.describe(apart, {"p50": 0.5})["p50"] == blocked


def test_intervals_are_compared_and_written():
    one, other = statistics.Interval(2, 1, 4), statistics.Interval(5, 4, 8)
    assert one.overlaps(other) and other.overlaps(one)
    assert not one.overlaps(statistics.Interval(5, 4.1, 8))
    assert one.holds(1) and one.holds(4) and not one.holds(0.9)
    assert other.times(one) == statistics.Interval(2.5, 1, 8)
    assert statistics.Interval.of({"value": 2, "low": 1, "high": 4, "p": 0.5}) == one
    assert one.written() == "2.00 (1.00 to 4.00)"
