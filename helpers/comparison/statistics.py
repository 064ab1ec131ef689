"""Intervals for what was measured: percentiles, ratios between stores, many tests at once.

The unit of replication is the block. Within one, samples follow each other and are not independent, so an
interval from them is the narrowest one can claim; between blocks, everything that drifts (caches, compaction,
neighbours) has had a chance to change. So intervals come from blocks wherever there are enough of them, and
differences between stores rest on blocks only.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.errors import HelpersError, first_line
from helpers.results import Missing
from helpers.text import three

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram
    from numpy.typing import NDArray

ALPHA = 0.05
CONFIDENCE = 0.95
ENOUGH_BLOCKS = 3
"""With fewer there is nothing to draw again."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval, in the unit of what was measured."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Mapping[str, float]) -> "Interval":
        """The interval of a saved result."""
        return Interval(found["value"], found["low"], found["high"])

    def as_dict(self) -> dict[str, float]:
        """The three numbers by name, for JSON."""
        return asdict(self)

    def written(self, write: Callable[[float], str] = three) -> str:
        """As people read it: ``1.23 (1.10 to 1.38)``.

        Args:
            write: makes a number text.
        """
        return f"{write(self.value)} ({write(self.low)} to {write(self.high)})"

    def times(self, under: "Interval") -> "Interval":
        """How many times larger it is than another; each end takes those of both at their worst."""
        return Interval(self.value / under.value, self.low / under.high, self.high / under.low)

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.low <= value <= self.high

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two have a value in common: then no difference is shown."""
        return self.low <= other.high and other.low <= self.high


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
    low = _binomial_quantile(tail, count, share)
    high = _binomial_quantile(1 - tail, count, share) + 1
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

    Args:
        these, others: a positive value of each block, in the same order.
        confidence: of the interval.

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
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return _ratio(float(logs.mean()), error, len(logs) - 1, confidence)


def unpaired_log_ratio(
    these: Sequence[float], others: Sequence[float], confidence: float = CONFIDENCE
) -> Ratio | None:
    """The ratio of two geometric means with Welch's interval on the logarithms, None with fewer than two
    values on a side.

    For blocks that cannot be paired, because the two were not measured at the same time (Welch, The
    generalization of Student's problem when several different population variances are involved,
    Biometrika 34, 1947).

    Args:
        these, others: a positive value of each block.
        confidence: of the interval.
    """
    if min(len(these), len(others)) < 2:
        return None
    logs = [np.log(np.asarray(values, dtype=float)) for values in (these, others)]
    parts = [float(one.var(ddof=1)) / len(one) for one in logs]
    spread = sum(part**2 / (len(one) - 1) for part, one in zip(parts, logs, strict=True))
    freedom = sum(parts) ** 2 / spread if spread else 1.0
    mean = float(logs[0].mean() - logs[1].mean())
    return _ratio(mean, math.sqrt(sum(parts)), freedom, confidence)


def prepare() -> None:
    """Load what is imported where it is used: in a measurement it would be in the way, and an import that is
    interrupted cannot be taken up again.
    """
    from scipy import special  # noqa: F401


def _binomial_quantile(level: float, count: int, share: float) -> int:
    """The smallest number of successes that so large a part of binomial(count, share) does not exceed."""
    from scipy import special  # scipy.stats would take longer than the rest of a report

    found: int = math.ceil(special.bdtrik(level, count, share))
    # What is found by approximation may be one too many.
    one_less = max(found - 1, 0)
    return one_less if special.bdtr(one_less, count, share) >= level else found


def _ratio(mean: float, error: float, freedom: float, confidence: float) -> Ratio:
    """The ratio whose logarithm has this mean, standard error and degrees of freedom."""
    if error == 0:
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean), 1.0 if mean == 0 else 0.0)
    from scipy import special

    reach = float(special.stdtrit(freedom, (1 + confidence) / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(mean) / error))
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


def mark_shown(rows: Sequence[dict[str, Any]]) -> None:
    """Add to rows with ``p`` their ``p_holm``, adjusted over all of them, and ``shown``: whether a difference
    remains at ``ALPHA``.
    """
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
        row["shown"] = adjusted < ALPHA


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


def rounded(described: Mapping[str, Any]) -> dict[str, Any]:
    """What ``describe`` gives, to hundredths."""
    return {
        name: None if one is None else {end: round(float(value), 2) for end, value in one.items()}
        for name, one in described.items()
    }


LOWEST_NS = 100
"""Steps at the low end are below this, as saved samples have tenths of microseconds."""
HIGHEST_NS = 3_600 * 10**9
DIGITS = 3
TICKS = 5
"""Points drawn each time the share of slower operations halves."""


def encoded(latency_us: Iterable[float]) -> str | None:
    """A histogram of latencies as text; None where no wheel of ``hdrhistogram`` is installed.

    Args:
        latency_us: in any order, microseconds.
    """
    try:
        histogram = _empty()
    except Missing:
        return None
    for us in latency_us:
        histogram.record_value(min(round(us * 1000), HIGHEST_NS))
    return str(histogram.encode().decode("ascii"))


def decoded(text: str | None) -> "HdrHistogram":
    """The histogram that ``encoded`` made text of.

    Raises:
        Missing: there is none, or ``hdrhistogram`` is not installed.
        HelpersError: the text is damaged.
    """
    if text is None:
        raise Missing("histogram: not recorded where the comparison was measured")
    empty = _empty()
    try:
        return empty.decode(text)
    except Exception as error:  # zlib, struct, ctypes and the library's own, each with its base
        raise HelpersError(
            f"histogram: damaged ({first_line(error)}); measure again with `python -m helpers bench`"
        ) from error


def corrected(histogram: "HdrHistogram", interval_us: float) -> "HdrHistogram":
    """The classical correction of a service-time histogram for coordinated omission.

    For a value longer than the interval, the operations are added that a client which sends every
    ``interval_us`` would have sent meanwhile: the value less one interval, less two, down to one interval
    (``recordValueWithExpectedInterval`` of HdrHistogram; Tene, 2013).

    Args:
        histogram: of service times; it stays as it is.
        interval_us: microseconds from one operation of a client to its next.
    """
    filled = _empty()
    filled.add(histogram)
    interval_ns = round(interval_us * 1000)
    for value, count in zip(*_recorded(histogram), strict=True):
        # record_corrected_value of the Python port adds one more, shorter than the interval
        while (value := value - interval_ns) >= interval_ns > 0:
            filled.record_value(value, int(count))
    return filled


def percentiles(histogram: "HdrHistogram") -> tuple[list[float], list[float]]:
    """The points of a percentile plot, from the fastest operation to the slowest.

    Returns:
        (1 / (1 - share), latency in microseconds), the first from 1 to the number of samples.
    """
    values_ns, counts = _recorded(histogram)
    if not values_ns:
        return [], []
    upto = np.cumsum(counts)
    total = int(upto[-1])
    reach = [2 ** (tick / TICKS) for tick in range(math.ceil(TICKS * math.log2(total)))] + [float(total)]
    ranks = [max(1, math.ceil(total - total / one - 1e-9)) for one in reach[:-1]]
    at_ns = [values_ns[place] for place in np.searchsorted(upto, ranks)]
    # between the last tick and the slowest operation lies nothing else
    return reach, [ns / 1000 for ns in [*at_ns, values_ns[-1]]]


def _recorded(histogram: "HdrHistogram") -> "tuple[list[int], NDArray[np.int64]]":
    """The values that occur, each the highest of its step, in nanoseconds, and how often.

    The library's own iterator looks at each of many thousand counts, most of which are zero.
    """
    counts = np.ctypeslib.as_array(histogram.counts).astype(np.int64)
    places = np.flatnonzero(counts)
    lowest = [histogram.get_value_from_index(int(place)) for place in places]
    return [histogram.get_highest_equivalent_value(value) for value in lowest], counts[places]


def _empty() -> "HdrHistogram":
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        raise Missing("histogram: `hdrhistogram` is not installed here") from error
    return HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
