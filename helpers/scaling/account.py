"""What came of a writer's writes: counts for a setting, points for a timeline, errors by kind."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from helpers.errors import brief, first_line
from helpers.servers import Write, lost, outage_s, unasked

POINTS = 1500
"""Most points of a timeline."""


class Failed(Exception):
    """A write that was not acknowledged; its text is one line: the error's kind, a colon, what it says."""

    def __init__(self, error: BaseException, kind: str = "") -> None:
        # pymongo adds its timeouts, and its whole view of the servers, to what went wrong
        reason = re.split(r", (?:full error|Timeout): | \(configured timeouts: ", first_line(error))[0]
        super().__init__(f"{kind or type(error).__name__}: {brief(reason)}")


def counts(writes: Sequence[Write], kept: Collection[int]) -> dict[str, Any]:
    """What came of these writes.

    Args:
        writes: of one writer, in order.
        kept: the numbers that the servers hold afterwards.

    Returns:
        ``writes``, ``acknowledged``, ``lost``, ``unasked``, ``outage_s``, and ``errors``: how many of each
        kind.
    """
    failed = Counter(write.error.split(":")[0] for write in writes if not write.acknowledged)
    return {
        "writes": len(writes),
        "acknowledged": sum(write.acknowledged for write in writes),
        "lost": len(lost(writes, kept)),
        "unasked": len(unasked(writes, kept)),
        "outage_s": outage_s(writes),
        "errors": dict(failed),
    }


def whole(tier: Mapping[str, Any]) -> dict[str, Any]:
    """What a part tells of the tier that stands for the whole: its counts without the errors by kind."""
    return {name: value for name, value in tier.items() if name != "errors"}


def middle_and_most(values: Sequence[float]) -> dict[str, float]:
    """Median and maximum."""
    return {"median": median(values), "max": max(values)}


def between(writes: Sequence[Write], from_s: float, to_s: float) -> list[Write]:
    """The writes sent from one second on and before another."""
    return [write for write in writes if from_s <= write.sent_s < to_s]


def case(writes: Sequence[Write], from_s: float, to_s: float, kept: Collection[int]) -> dict[str, Any]:
    """The counts of the writes sent in a time; its ``outage_s`` is the longest part of it without an
    acknowledgement, its ends counted in.
    """
    ends = [write.ended_s for write in writes if write.acknowledged and from_s < write.ended_s < to_s]
    longest = max(after - before for before, after in pairwise([from_s, *ends, to_s]))
    return counts(between(writes, from_s, to_s), kept) | {"outage_s": longest}


def timeline(writes: Sequence[Write], points: int = POINTS) -> list[list[float]]:
    """Writes as [second sent, milliseconds, 1 when acknowledged else 0], at most so many of them.

    Of too many, each ``stretch`` of writes keeps its slowest acknowledged one and its slowest failed one: no
    outage is thinned away.
    """
    length = stretch(len(writes), points)
    chosen: list[Write] = []
    for start in range(0, len(writes), length):
        part = writes[start : start + length]
        for done in (True, False):
            alike = [write for write in part if write.acknowledged is done]
            chosen += [max(alike, key=lambda write: write.ended_s - write.sent_s)] if alike else []
    chosen.sort(key=lambda write: write.sent_s)
    return [
        [
            round(write.sent_s, 4),
            round((write.ended_s - write.sent_s) * 1000, 3),
            1 if write.acknowledged else 0,
        ]
        for write in chosen
    ]


def stretch(writes: int, points: int = POINTS) -> int:
    """How many writes one after the other share a place in the timeline; 1 when each is in it."""
    return 1 if writes <= points else -(-writes // (points // 2))


def thinned(writes: Sequence[Write]) -> str:
    """What the timeline shows, in words."""
    length = stretch(len(writes))
    return (
        "every write" if length == 1 else f"of each {length} writes the slowest acknowledged and failed one"
    )
