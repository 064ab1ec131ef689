"""Intervals for what was measured: percentiles, ratios between stores, many tests at once.

The unit of replication is the block. Within one, samples follow each other and are not independent, so an
interval from them is the narrowest one can claim; between blocks, everything that drifts (caches, compaction,
neighbours) has had a chance to change. So intervals come from blocks wherever there are enough of them, and
differences between stores rest on blocks only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
ENOUGH_BLOCKS = 3
"""With fewer there is nothing to draw again."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval, in the unit of what was measured."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The three numbers by name, for JSON."""
        return asdict(self)


def samples_needed(share: float, confidence: float = CONFIDENCE) -> int:
    """The fewest samples with which a percentile has a two-sided interval: 3,688 for p99.9 at 95 %.

    The upper end exists only if some sample lies above the percentile with the confidence wanted:
    ``share**n <= (1 - confidence) / 2`` (Hahn and Meeker, Statistical Intervals, 1991, section 5.2).
    """
    extreme = max(share, 1 - share)
    return math.ceil(math.log((1 - confidence) / 2) / math.log(extreme))


def percentile(
    samples: Sequence[float] | np.ndarray, share: float, confidence: float = CONFIDENCE
) -> Interval | None:
    """A percentile with its distribution-free interval from order statistics, None when there are too few
    samples.

    The number of samples below the true percentile is binomial(n, share), so the ranks that hold it with the
    confidence wanted are that distribution's quantiles (Hahn and Meeker, 1991, section 5.2). Nothing is
    assumed about the shape of the distribution; independence is, so read it as the narrowest honest interval.

    Args:
        samples: in any order.
        share: 0.5 for the median, 0.999 for p99.9.
    """
    ordered = np.sort(np.asarray(samples, dtype=float))
    count = len(ordered)
    if count < samples_needed(share, confidence):
        return None
    tail = (1 - confidence) / 2
    from scipy import stats  # imported where it is used: it takes longer than the rest of a report

    low = int(stats.binom.ppf(tail, count, share))
    high = int(stats.binom.ppf(1 - tail, count, share)) + 1
    value = ordered[max(math.ceil(share * count) - 1, 0)]
    return Interval(float(value), float(ordered[max(low - 1, 0)]), float(ordered[min(high - 1, count - 1)]))


def bootstrap_blocks(
    blocks: Sequence[Sequence[float] | np.ndarray],
    statistic: Callable[[np.ndarray], float],
    *,
    resamples: int = 400,
    seed: int = 1,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """A statistic of all samples with an interval from drawing whole blocks again, None with fewer than
    three blocks.

    Percentile bootstrap over clusters (Davison and Hinkley, Bootstrap Methods and their Application, 1997,
    section 3.8): a block is kept together, so what makes its samples alike widens the interval as it should.

    Args:
        blocks: samples of each block, of any length.
        statistic: of an array of samples.
        resamples: how often blocks are drawn.
        seed: of the drawing.
        confidence: of the interval, between 0 and 1.
    """
    if len(blocks) < ENOUGH_BLOCKS:
        return None
    drawn = _drawn(blocks, statistic, resamples, seed)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(np.concatenate(blocks))), float(low), float(high))


def _drawn(
    blocks: Sequence[Sequence[float] | np.ndarray],
    statistic: Callable[[np.ndarray], Any],
    resamples: int,
    seed: int,
) -> list[Any]:
    """A statistic of as many whole blocks as there are, drawn with replacement, so many times."""
    arrays = [np.asarray(block, dtype=float) for block in blocks]
    random = np.random.default_rng(seed)
    return [
        statistic(np.concatenate([arrays[i] for i in random.integers(0, len(arrays), len(arrays))]))
        for _ in range(resamples)
    ]


@dataclass(frozen=True)
class Ratio(Interval):
    """How many times larger one figure is than another, with Student's interval and the p-value."""

    p: float


def log_ratio(
    these: Sequence[float], others: Sequence[float], confidence: float = CONFIDENCE
) -> Ratio | None:
    """The geometric mean of block-wise ratios these/others with its t-interval, None with fewer than two
    blocks.

    Pairs are blocks: both stores did the same operations in the same block, so what the block shares
    cancels. The logarithm makes a ratio and its inverse symmetric; the interval is Student's on the mean
    of the logarithms.

    Raises:
        ValueError: the two do not have the same number of blocks, or a value is not positive.
    """
    if len(these) != len(others):
        raise ValueError(f"{len(these)} blocks against {len(others)}: pair them first")
    if any(value <= 0 for value in (*these, *others)):
        raise ValueError("a ratio needs positive values")
    logs = np.log(np.asarray(these, dtype=float)) - np.log(np.asarray(others, dtype=float))
    if len(logs) < 2:
        return None
    mean, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(len(logs))
    if error == 0:
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean), 1.0 if mean == 0 else 0.0)
    from scipy import stats

    reach = float(stats.t.ppf((1 + confidence) / 2, len(logs) - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, len(logs) - 1))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), p)


def geometric_mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The geometric mean of block values with its t-interval, None with fewer than two blocks."""
    ratio = log_ratio(values, [1.0] * len(values), confidence)
    return None if ratio is None else Interval(ratio.value, ratio.low, ratio.high)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being many, in the order given.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6
    (1979): the k-th smallest of m is multiplied by m - k + 1, and no adjusted value is below that of a
    smaller one.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def describe(
    blocks: Sequence[Sequence[float] | np.ndarray], shares: Mapping[str, float], *, resamples: int = 200
) -> dict[str, Any]:
    """Each percentile of all samples by its name as ``{value, low, high}``, or None where they are too few.

    The interval comes from drawing whole blocks again; with fewer than three blocks from order statistics.

    Args:
        blocks: samples of each block; an empty one counts for nothing.
        shares: by name, 0.5 for the median.
        resamples: how often blocks are drawn.
    """
    filled = [np.asarray(block, dtype=float) for block in blocks if len(block)]
    samples = np.concatenate(filled) if filled else np.empty(0)
    found = {name: percentile(samples, share) for name, share in shares.items()}
    if len(filled) >= ENOUGH_BLOCKS:
        wanted = [shares[name] for name, one in found.items() if one is not None]
        drawn = _drawn(filled, lambda some: np.quantile(some, wanted), resamples, seed=1)
        ends = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0).T
        known = [(name, one) for name, one in found.items() if one is not None]
        for (name, one), (low, high) in zip(known, ends, strict=True):
            found[name] = Interval(one.value, float(min(low, one.value)), float(max(high, one.value)))
    return {name: None if one is None else one.as_dict() for name, one in found.items()}
