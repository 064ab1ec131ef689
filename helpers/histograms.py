"""HDR histograms of latencies: a distribution in a few kilobytes, up to the last sample.

The form is the HdrHistogram project's (V2, compressed, base64), so that its other tools read it too:
nanoseconds, three significant digits. Histograms are filled after a run, from its samples.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from helpers.errors import HelpersError, first_line
from helpers.results import Missing

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

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
    for item in histogram.get_recorded_iterator():
        value = item.value_iterated_to
        # record_corrected_value of the Python port adds one more, shorter than the interval
        while (value := value - interval_ns) >= interval_ns > 0:
            filled.record_value(value, item.count_at_value_iterated_to)
    return filled


def percentiles(histogram: "HdrHistogram") -> tuple[list[float], list[float]]:
    """The points of a percentile plot, from the fastest operation to the slowest.

    Returns:
        (1 / (1 - share), latency in microseconds), the first from 1 to the number of samples.
    """
    total = histogram.get_total_count()
    reach: list[float] = []
    latency_us: list[float] = []
    for item in histogram.get_percentile_iterator(TICKS):
        slower = 1 - item.percentile_level_iterated_to / 100
        reach.append(total if slower * total < 1 else 1 / slower)
        latency_us.append(item.value_iterated_to / 1000)
        if reach[-1] == total:
            break
    if latency_us:  # between the last tick and the slowest operation lies nothing else
        latency_us[-1] = histogram.get_max_value() / 1000
    return reach, latency_us


def _empty() -> "HdrHistogram":
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        raise Missing("histogram: `hdrhistogram` is not installed here") from error
    return HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
