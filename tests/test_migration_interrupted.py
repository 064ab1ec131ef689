"""Whatever is killed in the middle: the same command goes on, nothing is lost or doubled."""

import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from migrating import dump, migrate, run_sql

from helpers import connections, population
from helpers.errors import HelpersError
from helpers.servers import scratch
from helpers.transfer import loading
from helpers.transfer.checkpoint import Checkpoint


class Stop(Exception):
    """Stands for a kill, in the middle of a load."""


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    commit = Checkpoint.commit
    left = [batches]

    def limited(self: Checkpoint, *arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Stop
        return commit(self, *arguments, **options)

    monkeypatch.setattr(Checkpoint, "commit", limited)


@pytest.mark.parametrize("batches", [1, 3, 6, 9, 12])
def test_a_source_that_changed_between_two_runs_is_caught_up(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, batches)
        with pytest.raises(Stop):
            migrate(source, redis_url, batch_rows=5)
    connections.redis(redis_url).delete("migration:lease")
    run_sql(
        source,
        "UPDATE users SET email = 'other@example.org' WHERE user_id = 1",
        "INSERT INTO users VALUES (-5, 'early', 'early@example.org', NULL)",
        "UPDATE activities SET user_id = 3 WHERE activity_id IN (3, 6)",
        "DELETE FROM activities WHERE activity_id = 9",
        "INSERT INTO activities VALUES (700, 1, 'first', '2020-01-01')",
        "DELETE FROM orders WHERE order_id < 3",
    )
    result = migrate(source, redis_url, batch_rows=5)
    assert (result["status"], result["resumed"]) == ("verified", True)
    assert result["rows_read"] == {"users": 7, "products": 3, "activities": 30, "orders": 10}
    held = dump(redis_url)
    connections.redis(redis_url).flushdb()
    migrate(source, redis_url)
    assert dump(redis_url) == held


def test_killed_at_random_moments(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=300, products=50, activities=20_000, orders=4_000, progress=False)
    command = [sys.executable, "-m", "helpers", "migrate", "--source", postgres_url, "--target", redis_url]
    command += ["--batch-rows", "200", "--no-verify"]
    chance = random.Random(7)
    client = connections.redis(redis_url, decode_responses=True)
    kills = 0
    for _ in range(8):
        before = client.hgetall("migration:state")
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and client.hgetall("migration:state") == before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.12))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 5
    result = migrate(postgres_url, redis_url, batch_rows=200)
    assert (result["status"], result["differences"]) == ("verified", 0)
    held = dump(redis_url)
    client.flushdb()
    migrate(postgres_url, redis_url)
    assert dump(redis_url) == held


def test_a_server_killed_in_the_middle_is_waited_for(postgres_url: str) -> None:
    population.populate(postgres_url, users=200, products=20, activities=30_000, orders=3_000, progress=False)
    with scratch.redis("appendonly yes", "appendfsync always") as server:
        done = threading.Event()

        def crash() -> None:
            client = connections.redis(server.url)
            while not client.hget("migration:state", "rows:activities"):
                time.sleep(0.001)
            server.kill()
            server.start()
            done.set()

        thread = threading.Thread(target=crash)
        thread.start()
        result = migrate(postgres_url, server.url, batch_rows=100)
        thread.join()
        assert done.is_set()
        assert (result["status"], result["differences"]) == ("verified", 0)


def test_a_lost_source_connection_is_opened_again(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, users=200, products=20, activities=30_000, orders=3_000, progress=False)
    client = connections.redis(redis_url)

    def cut() -> None:
        while not client.hget("migration:state", "rows:activities"):
            time.sleep(0.001)
        run_sql(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'helpers "
            "migrate' "
            "AND query LIKE 'COPY%'",
        )

    thread = threading.Thread(target=cut)
    thread.start()
    result = migrate(postgres_url, redis_url, batch_rows=100)
    thread.join()
    assert (result["status"], result["differences"]) == ("verified", 0)


def test_a_key_of_another_type_in_the_middle_is_no_success(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = loading.load

    def load_with_interference(*arguments: Any, **options: Any) -> None:
        connections.redis(redis_url).set("user:2:activities", "theirs")
        load(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load", load_with_interference)
        with pytest.raises(HelpersError, match="WRONGTYPE"):
            migrate(source, redis_url)
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    assert result["caught_up"]
