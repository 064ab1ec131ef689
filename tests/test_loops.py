"""Loops on a store that is a plain object, whose behaviour is known to the microsecond, and on one that
is killed.
"""

import gzip
import itertools
import json
import threading
import time
from datetime import datetime

import numpy as np
import pytest

from helpers.comparison import loops, samples, stores
from helpers.comparison.workload import Operation, Population, Workload, arrivals
from helpers.errors import HelpersError
from helpers.servers import scratch

READ = Operation("read_profile", (1,))


class Sleeper:
    """Takes as long as it is told; not a store that keeps anything.

    The first calls wait for each other, as many as are to be under way ``together``.
    """

    name, address, ERRORS = "sleeper", "nowhere:0", (OSError,)

    def __init__(self, seconds, fail_from=10**9, fail_to=10**9, together=0):
        self.seconds, self.fail_from, self.fail_to = seconds, fail_from, fail_to
        self.calls, self.lock, self.under_way, self.most = 0, threading.Lock(), 0, 0
        self.together, self.barrier = together, threading.Barrier(max(together, 1), timeout=60)

    def null_op(self):
        pass

    def server_cpu_s(self):
        return 0.0

    def read_profile(self, user_id):
        with self.lock:
            self.calls += 1
            number = self.calls
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        if number <= self.together:
            self.barrier.wait()
        time.sleep(self.seconds)
        with self.lock:
            self.under_way -= 1
        if self.fail_from <= number < self.fail_to:
            raise OSError("told to fail")
        return number


def _lags_us(run):
    return np.asarray(run.latency_us) - np.asarray(run.service_us)


def test_closed_loop_times_each_operation():
    run = loops.closed(Sleeper(0.005), [[READ] * 20])
    assert run.operations == ["read_profile"] * 20
    assert all(5000 <= us < 5_000_000 for us in run.latency_us)  # microseconds, on a busy machine too
    assert run.wall_s >= sum(run.latency_us) / 1e6 * 0.99
    assert run.errors == 0


def test_closed_loop_runs_clients_at_once():
    sleeper = Sleeper(0.01, together=4)
    run = loops.closed(sleeper, [[READ] * 10] * 4)
    assert sleeper.most == 4
    assert len(run.latency_us) == 40


def test_a_failed_operation_is_counted_and_is_no_sample():
    run = loops.closed(Sleeper(0.0, fail_from=3, fail_to=5), [[READ] * 10])
    assert (run.errors, run.error) == (2, "told to fail")
    assert len(run.latency_us) == 8


def test_failures_in_a_row_end_the_run_with_a_message():
    with pytest.raises(
        HelpersError, match=r"sleeper at nowhere:0: .* after 6 operations, 5 failed \(told to fail\)"
    ):
        loops.closed(Sleeper(0.0, fail_from=7), [[READ] * 100])


def test_an_error_that_is_no_failure_of_the_store_is_not_swallowed():
    with pytest.raises(AttributeError, match="dance"):
        loops.closed(Sleeper(0.0), [[Operation("dance", ())]])


def test_open_loop_counts_from_when_operations_were_due():
    # one client, 10 ms each, all due at once: the last waits for all before it, its service time does
    # not show it
    run = loops.open_loop(Sleeper(0.01), [READ] * 10, [0.0] * 10, clients=1)
    assert max(run.latency_us) >= 95_000
    assert np.median(run.service_us) < max(run.latency_us) / 2
    assert _lags_us(run).max() >= 85_000


def test_open_loop_does_not_send_before_the_time():
    run = loops.open_loop(Sleeper(0.0), [READ] * 5, [0.02 * n for n in range(5)], clients=4)
    assert run.wall_s >= 0.08
    assert _lags_us(run).min() >= 0


def test_a_server_killed_in_a_block_ends_it_with_its_errors_counted(state_folder, monkeypatch):
    population = Population(users=50, products=5, activities=0, orders=0, latest=datetime(2026, 1, 1))
    stream = Workload(population, seed=1).stream(200_000, "50/50")
    with scratch.redis("appendonly no") as server:
        store = stores.connect("redis", server.url)
        append, appended = store.append_activity, itertools.count()

        def kill_at_last(*arguments):
            if next(appended) == 100:
                server.kill()
            return append(*arguments)

        monkeypatch.setattr(store, "append_activity", kill_at_last)
        with pytest.raises(
            HelpersError, match=r"redis at 127\.0\.0\.1:\d+: stopped answering after [\d,]+ oper.* 5 failed"
        ):
            loops.closed(store, [stream])
        store.close()


def test_floors_take_time_and_are_not_free(tmp_path):
    echo = loops.echo_us(50)
    assert len(echo) == 50
    assert 1 < min(echo) < 5000
    assert min(loops.fsync_us(5, tmp_path)) > 1
    assert list(tmp_path.iterdir()) == []


def test_samples_survive_writing_and_reading(tmp_path):
    run = loops.closed(Sleeper(0.0), [[READ] * 5])
    kept = samples.of_run(
        run, phase="closed", tier="relaxed", mix="50/50", block=1, position=2, store="redis", clients=1
    )
    path = samples.write([kept, kept], tmp_path)
    first = path.read_bytes()
    assert list(samples.read(tmp_path)) == [kept, kept]
    assert kept.of("read_profile") == kept.latency_us
    assert kept.of("place_order") == []
    assert samples.write([kept, kept], tmp_path).read_bytes() == first
    path.write_bytes(first[:-20])
    with pytest.raises(HelpersError, match="not readable as raw samples"):
        list(samples.read(tmp_path))
    with pytest.raises(HelpersError, match="helpers bench"):
        list(samples.read(tmp_path / "nothing"))


def test_raw_samples_of_an_old_version_are_named(tmp_path):
    first = {"phase": "closed", "store": "redis", "clients": 1}  # version 1 had no line before its runs
    for line, version in ((first, 1), ({"format": samples.FORMAT, "version": 3}, 3)):
        with gzip.open(tmp_path / samples.FILE, "wt", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        with pytest.raises(
            HelpersError, match=f"raw samples of version {version}, and this program reads version 2"
        ):
            list(samples.read(tmp_path))


def test_arrivals_and_stream_have_the_same_length():
    import numpy as np

    assert len(arrivals(np.random.default_rng(1), 100, 2.5)) == 250
