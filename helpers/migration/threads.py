"""One thread that works on what another prepares, so that both wait for their server at the same time."""

import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Abandoned(Exception):
    """The conveyor takes nothing more, because something else failed."""


class Conveyor(Generic[Item]):
    """Calls a function in a thread with each item given to ``put``, in order; a few items may wait.

    An error in the function reaches the caller at its next ``put`` or at the end of the ``with`` block.

    Args:
        work: called with each item.
        idle: called when no item came for ``idle_s`` seconds.
    """

    WAITING = 4
    """Most items that wait: enough that neither side stands still while the other has a slow moment."""

    def __init__(
        self, work: Callable[[Item], None], idle: Callable[[], None] = lambda: None, idle_s: float = 1.0
    ) -> None:
        self._work, self._idle, self._idle_s = work, idle, idle_s
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=self.WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Conveyor[Item]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error not in (None, error) and not isinstance(self._error, Abandoned):
            raise self._error

    def put(self, item: Item) -> None:
        """Give an item; waits while too many wait already."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def abandon(self) -> None:
        """Take nothing more: whoever gives an item gets an error."""
        self._error = self._error or Abandoned("the conveyor was abandoned")

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=self._idle_s)
            except queue.Empty:
                item_or_idle: Callable[[], None] = self._idle
            else:
                if item is None:
                    return
                found = item
                item_or_idle = lambda: self._work(found)  # noqa: B023, E731
            if self._error is None:  # after an error, only empty the queue so that nobody waits for ever
                try:
                    item_or_idle()
                except BaseException as error:
                    self._error = error


def side_by_side(works: Sequence[Callable[[], object]], *cancels: Callable[[], object]) -> None:
    """Run some functions at the same time, the last of them in this thread; come back when all have ended.

    Args:
        works: what to run.
        cancels: called when one of them fails or this thread is interrupted, so that the others end soon.

    Raises:
        BaseException: the first failure.
    """
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
            for cancel in cancels:
                cancel()

    ends = [threading.Event() for _ in works[:-1]]  # a join that was interrupted would not wait again

    def lane(work: Callable[[], object], end: threading.Event) -> None:
        run(work)
        end.set()

    for work, end in zip(works[:-1], ends, strict=True):
        threading.Thread(target=lane, args=(work, end), daemon=True).start()
    for work in (works[-1], *(end.wait for end in ends)):
        run(work)
    for end in ends:  # an interrupt may have come while one was waited for
        end.wait()
    if failed:
        raise failed[0]
