"""Work that runs side by side in threads, so that one lane reads while another waits."""

import threading
from collections.abc import Callable, Sequence


def side_by_side(works: Sequence[Callable[[], object]], cancel: Callable[[], object]) -> None:
    """Run some functions at the same time, the last of them in this thread; come back when all have ended.

    Args:
        works: what to run.
        cancel: called when one of them fails or this thread is interrupted, so that the others end soon.

    Raises:
        BaseException: the first failure.
    """
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
            cancel()

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works[:-1]]
    for thread in threads:
        thread.start()
    for work in (works[-1], *(thread.join for thread in threads)):
        run(work)
    for thread in threads:  # an interrupt may have come while one was waited for
        thread.join()
    if failed:
        raise failed[0]
