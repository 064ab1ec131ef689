"""Work that runs side by side in threads, so that one lane reads while another waits."""

import threading
from collections.abc import Callable, Sequence


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
