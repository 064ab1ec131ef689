"""Who holds a lease is known again, and known to be dead."""

import os
import subprocess
import sys
import time

import pytest

from helpers.target import lease


def test_this_process_is_alive_and_has_one_token_a_call() -> None:
    assert lease.still_runs(lease.new_token()) is True
    assert lease.new_token() != lease.new_token()
    assert lease.holder(lease.new_token()) == f"process {os.getpid()} of this machine"


def test_one_that_ended_is_dead_also_while_its_parent_does_not_look() -> None:
    code = "from helpers.target import lease; print(lease.new_token(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        token = process.stdout.readline()
        assert lease.still_runs(token) is True
        process.kill()
        deadline = time.monotonic() + 10
        while lease.still_runs(token) is not False and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.returncode is None  # nobody has waited for it
        assert lease.still_runs(token) is False
    assert lease.still_runs(token) is False


def test_another_process_with_the_same_number_is_not_it() -> None:
    mark, machine, pid, started = lease.new_token().split()
    assert lease.still_runs(f"{mark} {machine} {pid} {int(started) - 1}") is False


@pytest.mark.parametrize("place", [1, 2])
def test_nothing_is_known_of_other_machines(place: int) -> None:
    parts = lease.new_token().split()
    parts[place] = "ffffffffffffffff"
    assert lease.still_runs(" ".join(parts)) is None
    assert place == 2 or lease.holder(" ".join(parts)) == f"process {os.getpid()} of another machine"


@pytest.mark.parametrize("text", ["", "theirs", "a b c d e", "\n"])
def test_what_is_no_token_is_another_programs(text: str) -> None:
    assert lease.still_runs(text) is None
    assert lease.holder(text) == "another program"


def test_the_time_of_day_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    token = lease.new_token()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert lease.still_runs(token) is True and lease.new_token().split()[1:] == token.split()[1:]
