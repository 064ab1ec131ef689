"""Lanes end together: the first failure is the one that is told, and nobody is waited for in vain."""

import threading

import pytest

from helpers.migration.threads import Abandoned, Conveyor, side_by_side


def test_all_run_and_the_last_one_here() -> None:
    seen: dict[str, bool] = {}

    def note(name: str) -> None:
        seen[name] = threading.current_thread() is threading.main_thread()

    side_by_side([lambda: note("first"), lambda: note("last")], lambda: None)
    assert seen == {"first": False, "last": True}


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_cancels_the_other_and_is_raised(failing: int) -> None:
    stopped = threading.Event()

    def fail() -> None:
        raise ValueError("first")

    def wait() -> None:
        assert stopped.wait(60)
        raise KeyError("second, because it was cancelled")

    works = [fail, wait] if failing == 0 else [wait, fail]
    with pytest.raises(ValueError, match="first"):
        side_by_side(works, stopped.set)


def test_an_abandoned_conveyor_takes_nothing_and_tells_the_real_reason() -> None:
    done: list[int] = []
    with pytest.raises(ValueError, match="real"), Conveyor(done.append) as conveyor:
        conveyor.put(1)
        conveyor.abandon()
        with pytest.raises(Abandoned):
            conveyor.put(2)
        raise ValueError("real")
    assert 2 not in done


def test_what_fails_on_the_conveyor_reaches_who_puts() -> None:
    def work(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"), Conveyor(work) as conveyor:
        for item in range(1000):
            conveyor.put(item)
