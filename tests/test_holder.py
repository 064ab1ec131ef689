"""Who holds a lease is known again, and known to be dead."""

import os
import subprocess
import sys
import time

import pytest

from helpers.target import holder


def test_this_process_is_alive_and_has_one_token_a_call() -> None:
    assert holder.alive(holder.token()) is True
    assert holder.token() != holder.token()
    assert holder.name(holder.token()) == f"process {os.getpid()} of this machine"


def test_one_that_ended_is_dead_also_while_its_parent_does_not_look() -> None:
    code = "from helpers.target import holder; print(holder.token(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        token = process.stdout.readline()
        assert holder.alive(token) is True
        process.kill()
        deadline = time.monotonic() + 10
        while holder.alive(token) is not False and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.returncode is None  # nobody has waited for it
        assert holder.alive(token) is False
    assert holder.alive(token) is False


def test_another_process_with_the_same_number_is_not_it() -> None:
    mark, machine, pid, started = holder.token().split()
    assert holder.alive(f"{mark} {machine} {pid} {int(started) - 1}") is False


@pytest.mark.parametrize("place", [1, 2])
def test_nothing_is_known_of_other_machines(place: int) -> None:
    parts = holder.token().split()
    parts[place] = "ffffffffffffffff"
    assert holder.alive(" ".join(parts)) is None
    assert place == 2 or holder.name(" ".join(parts)) == f"process {os.getpid()} of another machine"


@pytest.mark.parametrize("text", ["", "theirs", "a b c d e", "\n"])
def test_what_is_no_token_is_another_programs(text: str) -> None:
    assert holder.alive(text) is None
    assert holder.name(text) == "another program"


def test_the_time_of_day_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    token = holder.token()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert holder.alive(token) is True and holder.token().split()[1:] == token.split()[1:]
