"""The writer notes every write, goes on after failures, and hides none of its own faults."""

import time

import pytest

from helpers.servers.writer import Write, Writer, lost, outage_s, unasked


def test_failures_are_noted_and_the_next_number_follows() -> None:
    def write(number: int) -> None:
        if number % 3 == 1:
            raise OSError("gone\nand more")

    with Writer(write, (OSError,), per_s=2000) as writer:
        writer.wait_for(10)
    assert [w.number for w in writer.writes] == list(range(len(writer.writes)))
    assert {w.number % 3 for w in writer.writes if not w.acknowledged} == {1}
    assert {w.error for w in writer.writes} == {"", "gone"}


def test_what_is_no_failure_of_the_store_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), Writer(lambda number: 1 // number, (OSError,)):
        time.sleep(0.05)


def test_waiting_for_what_does_not_come_ends() -> None:
    def write(number: int) -> None:
        raise OSError("gone")

    with pytest.raises(TimeoutError, match="gone"), Writer(write, (OSError,)) as writer:
        writer.wait_for(1, timeout_s=0.05)


def test_outage_loss_and_what_nobody_promised() -> None:
    writes = [Write(0, 0, 1), Write(1, 1, 2), Write(2, 2, 5, "x"), Write(3, 5, 6), Write(4, 6, 6.5)]
    assert outage_s(writes) == 4
    assert outage_s(writes[:1]) == 0
    assert lost(writes, [0, 2, 4]) == [1, 3]
    assert unasked(writes, {0, 2}) == [2]
