"""A client that writes on while something happens to the servers, and what came of each of its writes."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from helpers.errors import first_line


@dataclass(frozen=True)
class Write:
    """One write: its number, when it was sent and when it ended (seconds from the beginning), and the
    first line of its error, empty when it was acknowledged.
    """

    number: int
    sent_s: float
    ended_s: float
    error: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the server said that it was done."""
        return not self.error


class Writer:
    """Writes numbers from 0 on in a thread, one after the other, until its ``with`` block ends.

    Args:
        write: called with each number; an exception of ``errors`` is noted, and the next number follows.
        errors: what the driver raises when a write fails.
        per_s: most writes a second; a write that takes longer than its turn delays the next.

    Attributes:
        writes: what came of each write so far.
    """

    def __init__(
        self, write: Callable[[int], object], errors: tuple[type[BaseException], ...], *, per_s: float = 200.0
    ) -> None:
        self._write, self._errors, self._pause = write, errors, 1 / per_s
        self.writes: list[Write] = []
        self._began = time.perf_counter()
        self._end = threading.Event()
        self._fault: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Writer":
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if self._fault and error is None:
            raise self._fault[0]

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    def wait_for(self, acknowledged: int, *, timeout_s: float = 60.0) -> None:
        """Wait until so many more writes were acknowledged.

        Raises:
            TimeoutError: they were not.
        """
        seen, deadline = len(self.writes), time.monotonic() + timeout_s
        while sum(write.acknowledged for write in self.writes[seen:]) < acknowledged:
            if self._fault:
                raise self._fault[0]
            if time.monotonic() > deadline:
                last = self.writes[-1].error if self.writes else "nothing was written"
                raise TimeoutError(f"not acknowledged within {timeout_s:.0f} s: {last}")
            time.sleep(0.01)

    def _run(self) -> None:
        number = 0
        try:
            while not self._end.is_set():
                sent, error = self.now_s(), ""
                try:
                    self._write(number)
                except self._errors as failed:
                    error = first_line(failed) or type(failed).__name__
                ended = self.now_s()
                self.writes.append(Write(number, sent, ended, error))
                number += 1
                self._end.wait(max(self._pause - (ended - sent), 0))
        except BaseException as fault:
            self._fault.append(fault)


def outage_s(writes: Sequence[Write]) -> float:
    """The longest time between two acknowledgements that follow each other; 0 with fewer than two."""
    ends = [write.ended_s for write in writes if write.acknowledged]
    return max((after - before for before, after in pairwise(ends)), default=0.0)


def lost(writes: Sequence[Write], kept: Collection[int]) -> list[int]:
    """Numbers of the acknowledged writes that are not among those kept.

    Args:
        writes: of one writer.
        kept: the numbers that the servers hold.
    """
    held = set(kept)
    return [write.number for write in writes if write.acknowledged and write.number not in held]


def unasked(writes: Sequence[Write], kept: Collection[int]) -> list[int]:
    """Numbers that are kept though their write failed: a client that writes them again doubles them.

    Args:
        writes: of one writer.
        kept: the numbers that the servers hold.
    """
    held = set(kept)
    return [write.number for write in writes if not write.acknowledged and write.number in held]
