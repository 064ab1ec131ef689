"""Clients in several processes on a real server: what comes back, and what is left when one is lost."""

import os
import signal
import threading
import time
from datetime import datetime

import numpy as np
import psutil
import pytest
from migrating import until

from helpers.comparison import answers, loops, processes, stores
from helpers.comparison.workload import LIMIT, Operation, Population, Workload
from helpers.errors import HelpersError
from helpers.servers import connections, scratch

READ = Operation("last_activities", (1, LIMIT))
POPULATION = Population(users=50, products=5, activities=0, orders=0, latest=datetime(2026, 1, 1))


@pytest.fixture(scope="module")
def server(state_folder):
    with scratch.redis("appendonly no") as server:
        yield server


@pytest.fixture
def store(server):
    with stores.opened("redis", server.url) as store:
        store.create()
        yield store


def when_asked(url, act):
    """Act, in another thread, when a server has been asked some thousand times more."""
    client = connections.redis(url)
    before = client.info("stats")["total_commands_processed"]

    def wait():
        with client:
            until(lambda: client.info("stats")["total_commands_processed"] > before + 5_000)
        act()

    threading.Thread(target=wait).start()


@pytest.fixture
def crowd(store):
    with processes.Processes({"redis": store}, 2) as crowd:
        yield crowd
    assert children() == []


def children():
    """The processes of clients of this one that live."""
    found = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in found if "spawn_main" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_clients_are_dealt_to_processes_and_their_answers_come_back_in_order(crowd, store):
    streams = Workload(POPULATION, seed=1).streams(400, "50/50", clients=5)
    apart = crowd.closed("redis", streams)
    store.create()
    together = loops.closed(store, streams)
    assert apart.operations == together.operations
    assert answers.compare_runs({"apart": apart, "together": together}) > 5
    assert (apart.processes, together.processes) == (2, 1)
    assert apart.errors == 0 and len(apart.latency_us) == 400
    assert 0 < apart.busiest_cpu_s < apart.client_cpu_s
    assert 0 < apart.asking_cpu_s <= apart.client_cpu_s
    assert apart.server_cpu_s > 0 and 0 < apart.machine_busy_share <= 1
    assert apart.wall_s * 1e6 >= max(apart.latency_us)


@pytest.mark.slow
def test_one_client_is_in_one_process_and_processes_are_kept(crowd, server):
    assert crowd.closed("redis", [[READ] * 10]).processes == 1
    (first,) = children()
    assert crowd.closed("redis", [[READ] * 10] * 3).processes == 2
    both = children()
    assert first in both and len(both) == 2
    assert crowd.closed("redis", [[READ] * 10] * 16).processes == 2
    assert children() == both
    secret = server.url.partition("@")[0].rpartition(":")[2]
    assert len(secret) > 8 and not any(secret in " ".join(one.cmdline()) for one in both)


def test_in_an_open_loop_nothing_is_sent_before_it_is_due(crowd):
    due_s = [0.02 * number for number in range(11)]
    run = crowd.open_loop("redis", [READ] * 11, due_s, clients=3)
    assert len(run.latency_us) == 11 and run.processes == 2
    assert run.wall_s >= 0.2
    assert (np.asarray(run.latency_us) - np.asarray(run.service_us)).min() >= 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [(signal.SIGKILL, r"died \(exit code -9\)"), (signal.SIGSTOP, "made no progress for 3 s")],
)
def test_a_process_that_dies_or_hangs_is_one_error_and_no_other_is_left(store, monkeypatch, how, said):
    with processes.Processes({"redis": store}, 2) as crowd:
        crowd.closed("redis", [[READ]] * 2)
        monkeypatch.setattr(processes, "PATIENCE_S", 3.0)
        pid = children()[0].pid
        when_asked(store.url, lambda: os.kill(pid, how))
        with pytest.raises(HelpersError, match=f"a process of clients has {said}; nothing of this block"):
            crowd.closed("redis", [[READ] * 1_000_000] * 2)
        assert children() == []
        # and the next run begins anew
        assert len(crowd.closed("redis", [[READ]] * 2).latency_us) == 2


@pytest.mark.slow
def test_a_process_that_takes_no_order_is_one_error(store, monkeypatch):
    with processes.Processes({"redis": store}, 2) as crowd:
        crowd.closed("redis", [[READ]] * 2)
        monkeypatch.setattr(processes, "PATIENCE_S", 1.5)
        os.kill(children()[0].pid, signal.SIGSTOP)
        with pytest.raises(HelpersError, match=r"has made no progress for 1\.5 s; nothing of this block"):
            crowd.closed("redis", [[READ] * 200_000] * 2)  # more than the pipe to it holds
        assert children() == []


@pytest.mark.slow
def test_a_server_that_is_gone_is_named_with_what_was_done(store, server):
    with scratch.redis("appendonly no") as gone, stores.opened("redis", gone.url) as asked:
        asked.create()
        with processes.Processes({"redis": asked}, 2) as crowd:
            crowd.closed("redis", [[READ]] * 2)
            when_asked(gone.url, gone.kill)
            with pytest.raises(
                HelpersError,
                match=r"redis at \S+: stopped answering after [1-9][\d,]* operations, \d+ failed",
            ):
                crowd.closed("redis", [[READ] * 1_000_000] * 2)
    assert children() == []


def test_what_is_no_failure_of_the_store_is_not_swallowed(store):
    with processes.Processes({"redis": store}, 2) as crowd:
        with pytest.raises(RuntimeError, match="no attribute 'dance'"):
            crowd.closed("redis", [[Operation("dance", ())]] * 2)
        assert children() == []


def test_the_clients_begin_together(crowd):
    crowd.closed("redis", [[READ]] * 2)
    before = time.perf_counter()
    run = crowd.closed("redis", [[READ] * 200] * 2)
    # one after the other they would take the sum of all latencies
    assert run.wall_s < sum(run.latency_us) / 1e6 * 0.9
    assert run.wall_s < time.perf_counter() - before
