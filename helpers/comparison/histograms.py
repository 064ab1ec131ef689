"""HDR histograms of latencies: a distribution in a few kilobytes, up to the last sample.

The form is the HdrHistogram project's (V2, compressed, base64), so that its other tools read it too:
nanoseconds, three significant digits. Histograms are filled after a run, from its samples.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from helpers.errors import HelpersError, first_line
from helpers.results import Missing

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram
    from numpy.typing import NDArray

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
