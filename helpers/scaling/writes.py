"""Clients that write on while something happens to the servers, and what came of their writes: counts for a
setting, points for a timeline, errors by kind.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from statistics import median
from typing import Any

from helpers.comparison import statistics
from helpers.errors import HelpersError, brief, first_line
from helpers.servers import Write, Writer, lost, outage_s, unasked

DETECTION_S = 2.0
"""After how long a silent node counts as dead, in every store where that can be set so."""

POINTS = 1500
"""Most points of a timeline."""


class Failed(Exception):
    """A write that was not acknowledged; its text is one line: the error's kind, a colon, what it says."""

    def __init__(self, error: BaseException, kind: str = "") -> None:
        # pymongo adds its timeouts, and its whole view of the servers, to what went wrong
        reason = re.split(r", (?:full error|Timeout): | \(configured timeouts: ", first_line(error))[0]
        super().__init__(f"{kind or type(error).__name__}: {brief(reason)}")


@contextmanager
def in_one_line(
    where: str, errors: tuple[type[BaseException], ...], say: Callable[[BaseException], str] = first_line
) -> Iterator[None]:
    """Inside, what a driver raises, or a writer that waited too long, becomes a ``HelpersError``.

    Args:
        where: the servers, with which its line begins.
        errors: what the driver raises.
        say: gives the text of one of them.
    """
    try:
        yield
    except errors as error:
        raise HelpersError(f"{where}: {say(error)}") from error
    except TimeoutError as error:
        raise HelpersError(f"{where}: a write was {error}") from error


class Scene:
    """Writers under which something happens to the servers, and what happened when, by one clock.

    Args:
        shown: the writer whose clock it is, and whose counts and timeline stand for the whole.
        steady_s: how long undisturbed writing lasts.

    Attributes:
        writers: by name, once they write.
        events: [second, what], rounded to milliseconds.
        windows: (from, to), in seconds, of each time that something happened, by what happened.
    """

    def __init__(self, shown: str, steady_s: float) -> None:
        self.shown, self.steady_s = shown, steady_s
        self.writers: dict[str, Writer] = {}
        self.events: list[list[Any]] = []
        self.windows: dict[Any, list[tuple[float, float]]] = {}

    @contextmanager
    def writing(self, writes: Mapping[str, Callable[[int], object]], per_s: float) -> Iterator[None]:
        """Inside, every writer writes.

        Args:
            writes: writes a number or raises ``Failed``, by the writer's name.
            per_s: most writes a second of each.
        """
        self.writers = {name: Writer(write, (Failed,), per_s=per_s) for name, write in writes.items()}
        with ExitStack() as stack:
            for writer in self.writers.values():
                stack.enter_context(writer)
            yield

    @property
    def writes(self) -> dict[str, list[Write]]:
        """What came of the writes so far, by writer."""
        return {name: writer.writes for name, writer in self.writers.items()}

    def now_s(self) -> float:
        """Seconds since the writers began; 0 before that."""
        return self.writers[self.shown].now_s() if self.writers else 0.0

    def event(self, what: str) -> None:
        """Note what happens now, if the writers have begun."""
        if self.writers:
            self.events.append([round(self.now_s(), 3), what])

    def pass_time(self) -> None:
        """Let the writers write undisturbed."""
        time.sleep(self.steady_s)

    def wait_for(self, acknowledged: int, *, timeout_s: float = 60.0) -> None:
        """Wait until so many more writes of each writer were acknowledged.

        Raises:
            TimeoutError: they were not.
        """
        for writer in self.writers.values():
            writer.wait_for(acknowledged, timeout_s=timeout_s)

    @contextmanager
    def window(self, what: Any) -> Iterator[None]:
        """A time that belongs to what happens inside; an outage in it begins with an acknowledgement."""
        began = self.now_s()
        self.pass_time()
        yield
        self.windows.setdefault(what, []).append((began, self.now_s()))

    def tiers(self, kept: Mapping[str, Collection[int]]) -> dict[str, dict[str, Any]]:
        """The counts of each writer, given the numbers that the servers hold of each afterwards."""
        return {name: counts(writes, kept[name]) for name, writes in self.writes.items()}

    def cases(self, kept: Mapping[str, Collection[int]]) -> dict[Any, dict[str, Any]]:
        """The counts of each writer in each of the ``windows``."""
        return {
            what: {name: case(writes, windows, kept[name]) for name, writes in self.writes.items()}
            for what, windows in self.windows.items()
        }

    def latency_ms(self, to_s: float, *, failed: bool = True) -> dict[str, dict[str, float]]:
        """How long the writes of each writer took that were sent before a second, failed ones too or not."""
        took = {
            name: [
                (write.ended_s - write.sent_s) * 1000
                for write in between(writes, 0, to_s)
                if failed or write.acknowledged
            ]
            for name, writes in self.writes.items()
        }
        return {name: middle_and_most(times) for name, times in took.items() if times}

    def times_as_long(self, name: str, against: str, to_s: float) -> dict[str, float] | None:
        """How many times as long the median of one writer's acknowledged writes before a second is as that of
        another; None with too few.

        The ends are those of both medians' intervals, each at its worst.
        """
        both = [
            statistics.percentile(
                [
                    write.ended_s - write.sent_s
                    for write in between(self.writes[writer], 0, to_s)
                    if write.acknowledged
                ],
                0.5,
            )
            for writer in (name, against)
        ]
        over, under = both
        return None if over is None or under is None else over.times(under).as_dict()

    def common(self, kept: Collection[int], settings: Mapping[str, str]) -> dict[str, Any]:
        """What each part of the result ``nodes`` tells alike.

        Args:
            kept: numbers of the shown writer that the servers hold afterwards.
            settings: as the servers state them, and the driver's own.

        Returns:
            ``writes``, ``acknowledged``, ``lost``, ``unasked``, ``outage_s`` and ``timeline`` ([second sent,
            milliseconds, 1 or 0]) of the shown writer; ``events`` ([second, what]); ``settings``.
        """
        writes = self.writes[self.shown]
        shown = {"shown": self.shown} if len(self.writers) > 1 else {}
        whole = {name: value for name, value in counts(writes, kept).items() if name != "errors"}
        return whole | {
            "timeline": timeline(writes),
            "events": self.events,
            "settings": {**shown, "timeline": thinned(writes), **settings},
        }


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


def middle_and_most(values: Sequence[float]) -> dict[str, float]:
    """Median and maximum."""
    return {"median": median(values), "max": max(values)}


def between(writes: Sequence[Write], from_s: float, to_s: float) -> list[Write]:
    """The writes sent from one second on and before another.

    Args:
        writes: of one writer, in order.
        from_s, to_s: seconds from the writer's beginning.
    """
    return [write for write in writes if from_s <= write.sent_s < to_s]


def outage_in_s(writes: Sequence[Write], from_s: float, to_s: float) -> float:
    """The longest part of a time without an acknowledgement, in seconds, the time's ends counted in.

    Args:
        writes: of one writer, in order.
        from_s, to_s: where the time begins and ends, in seconds from the writer's beginning.
    """
    ends = [write.ended_s for write in writes if write.acknowledged and from_s < write.ended_s < to_s]
    return max(after - before for before, after in pairwise([from_s, *ends, to_s]))


def case(
    writes: Sequence[Write], windows: Sequence[tuple[float, float]], kept: Collection[int]
) -> dict[str, Any]:
    """The counts of the writes that were sent in one or several times.

    Args:
        writes: of one writer, in order.
        windows: the times, each (from, to) in seconds from the writer's beginning.
        kept: the numbers that the servers hold afterwards.

    Returns:
        As ``counts``; ``outage_s`` is the longest part of any of the times without an acknowledgement, their
        ends counted in.
    """
    together = [write for window in windows for write in between(writes, *window)]
    return counts(together, kept) | {"outage_s": max(outage_in_s(writes, *window) for window in windows)}


def failover(
    detection: str, detect_s: float | None, promoted_by: str, outages_s: Sequence[float]
) -> dict[str, Any]:
    """What the deaths of nodes cost under one way of noticing them.

    Args:
        detection: ``SHIPPED``, ``SET`` or ``COMMAND``.
        detect_s: after how long a silent node counts as dead; None where no such time is set.
        promoted_by: who makes another node take the writes.
        outages_s: of each kill, the longest time without an acknowledgement.
    """
    return {
        "detection": detection,
        "detect_s": detect_s,
        "promoted_by": promoted_by,
        "outages_s": list(outages_s),
    }


def gone(writes: Sequence[Write], kept: Collection[int]) -> list[Write]:
    """The acknowledged writes that are not among those kept."""
    numbers = set(lost(writes, kept))
    return [write for write in writes if write.number in numbers]


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
