"""Several processes load at the same time: the same result, exactly once, whoever is killed or paused."""

import contextlib
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import following
import psutil
import pytest
from migrating import dump, migrate, run_sql, until, without_bars
from psycopg2 import sql

from helpers import model
from helpers.columns import column_of
from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.migration.task import CompareTask, LoadTask, do
from helpers.model import PARTITIONS
from helpers.relational import population
from helpers.servers import connections, process, scratch
from helpers.source import partitions
from helpers.source.snapshot import Source
from helpers.target import resp
from helpers.target.checkpoint import Checkpoint, PartitionCheckpoint
from helpers.target.lease import LeaseLost
from helpers.trials import judge

HOSTILE = """
INSERT INTO activities SELECT 500000 + n, NULL, 'x', '2026-01-01' FROM generate_series(1, 20) n;
INSERT INTO activities SELECT 600000 + n, 1 + n % 200, E'a\\tb:\\\\c', 'infinity'
  FROM generate_series(1, 20) n;
INSERT INTO activities SELECT 700000 - n, 1 + n % 3, 'far', timestamp '9000-01-01' + n * interval '1 us'
  FROM generate_series(1, 60) n;
INSERT INTO orders SELECT 500000 + n, NULL, 1, '2026-01-01', NULL FROM generate_series(1, 20) n;
INSERT INTO orders SELECT 600000 + n, 1, NULL, '0044-03-15 BC', 1 FROM generate_series(1, 20) n;
INSERT INTO users VALUES (-7, 'before', NULL, NULL), (900000, NULL, NULL, NULL);
"""


def fill(url: str, activities: int = 20_000, orders: int = 4_000) -> None:
    population.populate(url, users=300, products=50, activities=activities, orders=orders, progress=False)


def start(source: str, target: str, *options: str, **more: Any) -> "subprocess.Popen[str]":
    """A migration in a process of its own."""
    return following.start(source, target, "migrate", "--json", "--batch-rows", "200", *options, **more)


def under(pid: int) -> list[psutil.Process]:
    """The processes that a process started, and those that these did."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def workers(pid: int) -> list[psutil.Process]:
    found = []
    for one in under(pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            if "spawn_main" in " ".join(one.cmdline()):
                found.append(one)
    return found


def gone(processes: list[psutil.Process], patience_s: float = 60) -> bool:
    return not psutil.wait_procs(processes, timeout=patience_s)[1]


def loaded(client: Any) -> int:
    """Rows that are committed."""
    state = client.hgetall("migration:state")
    return sum(int(value) for name, value in state.items() if name.startswith("rows:"))


def further(client: Any, rows: int, mover: "subprocess.Popen[str]") -> None:
    """Wait until more rows are committed, or the migration has ended."""
    until(lambda: loaded(client) > rows or mover.poll() is not None)


LOGGED = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ - (distributed|tornado)\b[\w.]* - (INFO|WARNING) - .*")
"""What Dask may say of an end that takes it long, as on a machine that is busy; an error is none of it."""


def own_words(errors: str) -> str:
    """What a command said itself on stderr."""
    lines = without_bars(errors).splitlines(keepends=True)
    return "".join(line for line in lines if not LOGGED.fullmatch(line.rstrip("\n")))


def client_of(url: str) -> Any:
    return connections.redis(url, decode_responses=True)


def once(source: str, target: str) -> None:
    """Nothing is lost or doubled, as an independent judge sees it, and no claim is left."""
    assert judge.compare(source, target) == {"lost": 0, "doubled": 0, "altered": 0}
    assert not client_of(target).keys("migration:claim:*")


# -- The same result


def test_two_workers_leave_what_one_leaves(postgres_url: str, redis_url: str) -> None:
    fill(postgres_url, activities=6_000, orders=1_500)
    run_sql(postgres_url, "SET session_replication_role = replica", HOSTILE)
    alone = migrate(postgres_url, redis_url, prefix="alone:")
    both = migrate(postgres_url, redis_url, prefix="both:", workers=2, batch_rows=200)
    held, shared = (
        {key.removeprefix(name): value for key, value in dump(redis_url).items() if key.startswith(name)}
        for name in (b"alone:", b"both:")
    )
    assert len(held) > 2_000 and shared == held
    assert alone.keys() == both.keys()
    same = ("status", "rows_read", "rows_rejected", "rejects_by_reason", "rows_loaded_now", "caught_up")
    assert [both[name] for name in same] == [alone[name] for name in same]
    assert both["status"] == "verified" and both["rejects_by_reason"]["score_order"] > 0
    rejected = [set(Path(one["reject_file"]).read_text().splitlines()) for one in (alone, both)]
    assert len(rejected[0]) == sum(alone["rows_rejected"].values()) and rejected[0] == rejected[1]
    assert (alone["workers"], both["workers"]) == (1, 2)
    assert alone["mover_cpu_seconds"] > 0 and both["mover_cpu_seconds"] > 0 and both["peak_rss_mb"] > 50
    client = client_of(redis_url)
    cuts = [json.loads(client.hget(f"{name}:migration:state", "partitions")) for name in ("alone", "both")]
    assert not any(cuts[0].values()) and len(cuts[1]["activities"]) == partitions.SHARES * 2 - 1
    assert not client.keys("both:migration:claim:*") and not client.keys("both:migration:lease")
    assert migrate(postgres_url, redis_url, prefix="both:", workers=2)["caught_up"] == {}
    _damage(client, "both:")
    one, two = (
        verification.verify(postgres_url, redis_url, prefix="both:", workers=number, progress=False)
        for number in (1, 2)
    )
    assert len(one["by_problem"]) >= 5 and len(one["examples"]) == 20 < one["differences"]
    for name in ("rows_checked", "keys_checked", "differences", "by_problem"):
        assert two[name] == one[name], name
    files = [sorted(Path(found["difference_file"]).read_text().splitlines()) for found in (one, two)]
    assert files[0] == files[1] and len(files[0]) == one["differences"]
    assert Path(two["difference_file"]).parent == Path(one["difference_file"]).parent
    assert not [path for path in Path(two["difference_file"]).parent.iterdir() if path.is_dir()]


def _damage(client: Any, prefix: str) -> None:
    """Of each kind some, in rows far from each other."""
    for number in range(1, 300, 30):
        client.delete(f"{prefix}user:{number}")
        client.hset(f"{prefix}order:{number}", "quantity", "x")
        client.hset(f"{prefix}product:{number + 1_000}", "price", "1")
        client.lpop(f"{prefix}user:{number + 1}:activities")
        client.zincrby(
            f"{prefix}user:{number + 2}:orders",
            1,
            client.zrange(f"{prefix}user:{number + 2}:orders", 0, 0)[0],
        )
        client.set(f"{prefix}user:{number + 3}:activities:by_time", "x")


SHAPES = {
    "one user has nearly all": "UPDATE activities SET user_id = 17 WHERE activity_id % 10 > 0",
    "empty tables": "TRUNCATE products, activities, orders",
    "three rows": "TRUNCATE users, products, activities, orders; "
    "INSERT INTO users VALUES (1, 'a', 'b', NULL); INSERT INTO products VALUES (5, 'c', 1); "
    "INSERT INTO activities VALUES (1, 1, 'x', '2026-01-01')",
    "far ids": "UPDATE users SET user_id = user_id * 7000000 - 1000000000; "
    "UPDATE activities SET user_id = user_id * 7000000 - 1000000000",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_is_in_one_partition(postgres_url: str, shape: str) -> None:
    fill(postgres_url, activities=4_000, orders=500)
    run_sql(postgres_url, "SET session_replication_role = replica", SHAPES[shape])
    with Source(postgres_url) as source:
        state = {PARTITIONS: json.dumps(partitions.cut(source, 4, 3))}
        found = source.plan.partitions(state)
        assert len({one.name for one in found}) == len(found)
        for stream in source.plan.streams:
            of = [one for one in found if one.stream is stream]
            table = stream.table.sql
            counts = [source.ask(f"SELECT count(*) FROM {table} WHERE {one.where}")[0][0] for one in of]
            whole = source.ask(f"SELECT count(*) FROM {table} WHERE {stream.where}")[0][0]
            assert sum(counts) == whole
            if shape == "far ids" and stream.table.name != "products":
                assert max(counts) < 3 * whole / len(counts)


@pytest.mark.parametrize("shape", ["one user has nearly all", "three rows"])
def test_tables_of_any_shape_are_loaded_by_more_workers_than_they_need(
    postgres_url: str, redis_url: str, shape: str
) -> None:
    fill(postgres_url, activities=4_000, orders=500)
    run_sql(postgres_url, "SET session_replication_role = replica", SHAPES[shape])
    result = migrate(postgres_url, redis_url, workers=3, batch_rows=100)
    assert (result["status"], result["workers"]) == ("verified", 3)
    once(postgres_url, redis_url)


BY_QUANTITY = """
[[key]]
name = "by_quantity:{user_id}"
type = "list"
table = "orders"
value = "{product_id}"
order = ["quantity"]
"""


def test_a_migration_to_follow_is_loaded_from_the_slots_snapshot(redis_url: str) -> None:
    with scratch.postgres("wal_level = logical") as server:
        fill(server.url, activities=3_000)
        for table in ("users", "products", "activities", "orders"):
            run_sql(server.url, f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        text = model.course() + BY_QUANTITY
        result = migrate(server.url, redis_url, model=text, follow=True, workers=2, batch_rows=200)
        assert result["status"] == "verified" and result["slot"]
        client = connections.redis(redis_url)
        lists = [key for key in client.scan_iter(count=1000) if key.startswith(b"by_quantity:")]
        assert lists and all(client.llen(b"migration:register:" + key) == client.llen(key) for key in lists)
        client.close()


def test_one_process_needs_no_dask(source: str, redis_url: str) -> None:
    code = (
        "import sys; from helpers import cli; code = cli.main(['migrate']); "
        "sys.exit(code or [name for name in sys.modules if name in ('dask', 'distributed')] or 0)"
    )
    own = {**os.environ, "POSTGRES_URL": source, "REDIS_URL": redis_url}
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_of_dask_stays_in_this_process(source: str, redis_url: str) -> None:
    import dask
    import distributed

    before, configured = dict(os.environ), dask.config.get("distributed.scheduler.worker-ttl")
    assert migrate(source, redis_url, workers=2)["status"] == "verified"
    assert dict(os.environ) == before
    assert dask.config.get("distributed.scheduler.worker-ttl") == configured
    with pytest.raises(ValueError, match="No clients found"):
        distributed.default_client()
    assert not workers(os.getpid())


def test_nobody_else_reaches_the_workers() -> None:
    """What is given to them holds passwords, and who reaches a scheduler may run code."""
    import distributed

    from helpers.migration.workers import Workers

    with Workers(1) as pool:
        pool.start()
        address = pool._cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        with pytest.raises((OSError, TypeError)):
            distributed.Client(address.replace("tls", "tcp"), timeout=1, set_as_default=False)
        for one in (psutil.Process(), *workers(os.getpid())):
            for place in one.net_connections():
                if place.status == "LISTEN":
                    assert place.laddr.ip == "127.0.0.1"
                    with pytest.raises(OSError):  # refused, or there is nothing to see
                        urllib.request.urlopen(f"http://127.0.0.1:{place.laddr.port}/info/main/workers.html")


DASK_SPEAKS = """
import logging
from helpers.migration.workers import _quiet
names = ["asyncio", "distributed.nanny", *logging.Logger.manager.loggerDict]
names = [name for name in names if name.startswith(("asyncio", "distributed", "tornado"))]
levels = [logging.getLogger(name).level for name in names]
with _quiet():
    for name in names:
        logging.getLogger(name).critical("of %s", name)  # as a scheduler does that an interrupt closes
assert len(names) > 10 and levels == [logging.getLogger(name).level for name in names]
"""


def test_what_dask_says_is_not_for_the_user() -> None:
    done = subprocess.run([sys.executable, "-c", DASK_SPEAKS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("said", "own"),
    [
        ("2026-11-27 10:00:00,123 - distributed.nanny - WARNING - Restarting worker\n", ""),
        ("2026-11-27 10:00:00,123 - distributed.core - INFO - unresponsive for 3.1 s\n", ""),
        ("2026-11-27 10:00:00,123 - distributed.worker - ERROR - x\n", None),
        ("Traceback (most recent call last):\n", None),
        ("helpers migrate: x\n", None),
    ],
)
def test_own_words_are_told_from_dasks(said: str, own: str | None) -> None:
    assert own_words(said) == (said if own is None else own)


# -- Whoever is killed


def test_a_killed_load_is_resumed_by_another_number_of_workers(postgres_url: str, redis_url: str) -> None:
    fill(postgres_url)
    chance, client, kills = random.Random(5), client_of(redis_url), 0
    for number in ("2", "3", "1"):
        before = loaded(client)
        with start(postgres_url, redis_url, "--workers", number, "--batch-rows", "10") as mover:
            further(client, before, mover)
            time.sleep(chance.uniform(0, 0.15))
            children = under(mover.pid)
            if mover.poll() is None:
                mover.kill()
                kills += 1
        assert gone(children)
    assert kills >= 2
    result = migrate(postgres_url, redis_url, workers=2, batch_rows=200)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
    once(postgres_url, redis_url)


def test_killed_workers_are_replaced_and_nothing_is_doubled(postgres_url: str, redis_url: str) -> None:
    fill(postgres_url, activities=30_000)
    chance, client, kills = random.Random(6), client_of(redis_url), 0
    with start(postgres_url, redis_url, "--workers", "2", "--batch-rows", "10") as mover:
        further(client, 0, mover)
        deadline = time.monotonic() + 120
        while mover.poll() is None and kills < 3:
            assert time.monotonic() < deadline
            before = loaded(client)
            if found := workers(mover.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    chance.choice(found).kill()
                    kills += client.hget("migration:state", "status") == "loading"
            further(client, before, mover)
            time.sleep(chance.uniform(0, 0.3))
        out, said = mover.communicate()
    assert (mover.returncode, own_words(said)) == (0, "")
    result = json.loads(out)
    assert kills >= 2 and result["status"] == "verified"
    assert (result["resumed"], result["caught_up"]) == (False, {})
    once(postgres_url, redis_url)


@pytest.fixture
def job(postgres_url: str, redis_url: str) -> Iterator[tuple[Checkpoint, LoadTask]]:
    """A load that was begun, whose lease is held, and the task of one of its partitions."""
    fill(postgres_url, activities=3_000)
    with contextlib.closing(resp.Connection(redis_url)) as connection, Source(postgres_url) as source:
        checkpoint = Checkpoint(connection, "")
        checkpoint.acquire()
        cuts = json.dumps(partitions.cut(source, 2, 200))
        checkpoint.commit(state={PARTITIONS: cuts, "claimed": "1"})
        yield (
            checkpoint,
            LoadTask(
                source_url=postgres_url,
                target_url=redis_url,
                prefix="",
                model=source.plan.model.toml(),
                batch_rows=50,
                partition="activities.1",
                snapshot=source.exported,
                lease=checkpoint.token,
            ),
        )


def claim(task: LoadTask) -> PartitionCheckpoint:
    found = PartitionCheckpoint(resp.Connection(task.target_url), "", task.partition, task.lease)
    found.take()
    return found


def test_who_lost_its_partition_to_another_cannot_write_it(job: tuple[Checkpoint, LoadTask]) -> None:
    checkpoint, task = job
    older = claim(task)
    older.commit(column_of(resp.encode("SET", "theirs", 1)), {"rows:activities.1": 1})
    newer = claim(task)
    with pytest.raises(LeaseLost):
        older.commit(column_of(resp.encode("SET", "theirs", 2)), {"rows:activities.1": 2})
    assert newer.commit(column_of(resp.encode("GET", "theirs"))) == [b"1"]
    assert checkpoint.read()["rows:activities.1"] == "1"
    checkpoint.commit()  # renews, and disturbs nobody
    other = claim(dataclasses.replace(task, partition="activities.2"))
    other.commit(column_of(resp.encode("SET", "others", 1)))
    newer.commit(column_of(resp.encode("SET", "theirs", 3)))


def test_who_takes_the_lease_stops_all_workers_of_the_one_before(job: tuple[Checkpoint, LoadTask]) -> None:
    _, task = job
    older = claim(task)
    connection = connections.redis(task.target_url)
    connection.delete("migration:lease")
    with contextlib.closing(resp.Connection(task.target_url)) as another:
        Checkpoint(another, "").acquire()
        with pytest.raises(LeaseLost):
            older.commit(column_of(resp.encode("SET", "theirs", 2)))
        assert not connection.exists("theirs") and not connection.keys("migration:claim:*")
        with pytest.raises(LeaseLost):
            claim(task)
        assert do(task).error == "LeaseLost"


def test_a_worker_without_its_coordinator_stops(job: tuple[Checkpoint, LoadTask]) -> None:
    _, task = job
    left = claim(task)
    connections.redis(task.target_url).delete("migration:lease")
    with pytest.raises(LeaseLost):
        left.commit()


def test_a_lease_given_back_takes_the_claims_with_it(job: tuple[Checkpoint, LoadTask]) -> None:
    checkpoint, task = job
    left = claim(task)
    checkpoint.release()
    with pytest.raises(LeaseLost):
        left.commit(column_of(resp.encode("SET", "theirs", 1)))
    assert set(client_of(task.target_url).keys("*")) == {"migration:state"}


def test_a_paused_worker_cannot_write_what_another_took_over(
    job: tuple[Checkpoint, LoadTask], postgres_url: str, redis_url: str
) -> None:
    _, task = job
    code = (
        "import json, sys, time; from helpers.migration.task import LoadTask, do; "
        "from helpers.target.checkpoint import PartitionCheckpoint as One; send = One.send; "
        "One.send = lambda *words, **more: (time.sleep(0.02), send(*words, **more))[1]; "
        "print(do(LoadTask(**json.load(sys.stdin))))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as paused:
        paused.stdin.write(json.dumps(vars(task) | {"batch_rows": 1}))
        paused.stdin.close()
        client = client_of(redis_url)
        until(lambda: client.hget("migration:state", "rows:activities.1"))
        paused.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        before = int(client.hget("migration:state", "rows:activities.1"))
        assert do(task).error is None
        after = client.hgetall("migration:state")
        assert int(after["rows:activities.1"]) > before and after["done:activities.1"] == "1"
        held = dump(redis_url)
        paused.send_signal(signal.SIGCONT)
        said = paused.stdout.read()
    assert "LeaseLost" in said
    assert (client.hgetall("migration:state"), dump(redis_url)) == (after, held)


def test_a_partition_that_nobody_loaded_is_no_success(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the workers say: the load goes on until each partition is there as a whole."""
    from helpers.migration.workers import Workers

    fill(postgres_url, activities=2_000, orders=300)
    work, times = Workers.work, list[int]()

    def forgetful(self: Workers, tasks: Any, idle: Any) -> Any:
        times.append(len(tasks))
        return work(self, tasks[len(times) == 1 :], idle)

    monkeypatch.setattr(Workers, "work", forgetful)
    result = migrate(postgres_url, redis_url, workers=2, batch_rows=100)
    assert len(times) > 1 and times[-1] < times[0]  # on a busy machine an attempt may lose its lease besides
    assert (result["status"], result["rows_loaded_now"], result["caught_up"]) == ("verified", 2_650, {})
    once(postgres_url, redis_url)


# -- What goes wrong arrives


def test_who_waits_for_a_table_waits_for_the_end(postgres_url: str, redis_url: str) -> None:
    """And no worker waits for him: TRUNCATE lets no reader pass that comes after it."""
    fill(postgres_url)
    client = client_of(redis_url)
    with start(postgres_url, redis_url, "--workers", "2", "--batch-rows", "10") as mover:
        # Both have begun.
        further(client, 0, mover)
        until(lambda: len(client.keys("migration:claim:*")) > 1)
        time.sleep(0.3)
        waiting = threading.Thread(target=run_sql, args=(postgres_url, "TRUNCATE activities"))
        waiting.start()
        out, said = mover.communicate()
        waiting.join()
    assert (mover.returncode, own_words(said)) == (0, "")
    result = json.loads(out)
    assert (result["status"], result["rows_read"]["activities"]) == ("verified", 20_000)


def test_a_second_migration_is_refused(postgres_url: str, redis_url: str) -> None:
    fill(postgres_url, activities=5_000, orders=1_000)
    client = client_of(redis_url)
    with start(postgres_url, redis_url, "--workers", "2", "--batch-rows", "5") as mover:
        until(lambda: loaded(client) > 0)
        psutil.Process(mover.pid).suspend()  # or it might have ended before the other one looks
        try:
            with pytest.raises(HelpersError, match="another migration is under way"):
                # Workers would have to start first; on a busy machine the lease might run out meanwhile.
                migrate(postgres_url, redis_url)
        finally:
            psutil.Process(mover.pid).resume()
        out, said = mover.communicate()
    assert (mover.returncode, own_words(said)) == (0, "") and json.loads(out)["status"] == "verified"


@pytest.mark.parametrize("group", [False, True])
def test_an_interrupt_stops_all(postgres_url: str, redis_url: str, group: bool) -> None:
    """To the process alone, or to all of its group, as a terminal does."""
    fill(postgres_url)
    client = client_of(redis_url)
    options = ("--workers", "2", "--batch-rows", "10")
    with start(postgres_url, redis_url, *options, start_new_session=True) as mover:
        until(lambda: loaded(client) > 0)
        children = under(mover.pid)
        (os.killpg if group else os.kill)(mover.pid, signal.SIGINT)
        said = without_bars(mover.communicate()[1])
    assert mover.returncode == 130
    assert re.fullmatch(
        r"helpers migrate: interrupted; [\d,]+ of 24,350 rows are in the target, "
        r"the same command goes on from there\n",
        said,
    )
    assert gone(children) and not client.keys("migration:[lc]*")
    result = migrate(postgres_url, redis_url)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
    assert result["rows_loaded_now"] > 0


def test_lost_connections_are_opened_again(postgres_url: str, redis_url: str) -> None:
    fill(postgres_url)
    client = client_of(redis_url)
    cuts = []

    def cut() -> None:
        until(lambda: loaded(client) > 0)
        cuts.append(client.client_kill_filter(skipme=True))
        run_sql(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'helpers migrate' AND query LIKE 'COPY%'",
        )

    thread = threading.Thread(target=cut)
    thread.start()
    result = migrate(postgres_url, redis_url, workers=2, batch_rows=20)
    thread.join()
    assert cuts and (result["status"], result["caught_up"]) == ("verified", {})
    once(postgres_url, redis_url)


def test_memory_that_ends_stops_all_and_more_lets_them_go_on(postgres_url: str) -> None:
    fill(postgres_url, activities=40_000)
    with scratch.redis("appendonly no") as server:
        client = connections.redis(server.url)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_500_000)
        with pytest.raises(
            HelpersError, match=r"^redis at .*: OOM.*; [\d,]+ of 44,350 rows .*, about .* are needed"
        ):
            migrate(postgres_url, server.url, batch_rows=500, workers=2)
        assert not workers(os.getpid())
        client.config_set("maxmemory", 0)
        result = migrate(postgres_url, server.url, workers=2)
        assert (result["status"], result["resumed"]) == ("verified", True)


# -- A scheduler elsewhere


class Elsewhere:
    """A scheduler, and workers that are started when a test wants one; what they say is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, list[subprocess.Popen[str]]()
        port = process.free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        until(lambda: process.listening(port))

    def _start(self, *words: str, **more: str) -> None:
        command, own = [sys.executable, "-m", "dask", *words], {**os.environ, **more}
        log = self.folder / f"log-{len(self.running)}"
        with log.open("w") as file:
            self.running.append(
                subprocess.Popen(
                    command, env=own, cwd=self.folder, stdout=file, stderr=subprocess.STDOUT, text=True
                )
            )

    def worker(self, **more: str) -> None:
        """Start a worker, and wait until the scheduler knows it."""
        words = ("worker", self.address, "--nthreads", "2", "--no-nanny", "--no-dashboard")
        self._start(*words, "--local-directory", str(self.folder), **more)
        import distributed

        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.running) - 1, timeout=300)

    def end(self) -> str:
        """End all, and give what they said."""
        for one in reversed(self.running):
            one.terminate()
        for one in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(3)
            one.kill()
            one.wait()
        return "".join(path.read_text() for path in self.folder.glob("log-*"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    found = Elsewhere(tmp_path)
    yield found
    found.end()


def test_a_scheduler_elsewhere(
    postgres_url: str, redis_url: str, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    address = elsewhere.address
    fill(postgres_url)
    with pytest.raises(HelpersError, match=r"^Dask scheduler at tcp://.*: it has no worker; start some"):
        migrate(postgres_url, redis_url, scheduler=address, dry_run=True)
    assert dump(redis_url, b"\0") == {}
    elsewhere.worker()
    result = migrate(postgres_url, redis_url, scheduler=address, batch_rows=200)
    assert (result["status"], result["workers"]) == ("verified", 2)
    once(postgres_url, redis_url)
    # A worker that has other code: refused by name, before anything is written.
    other = tmp_path / "other" / "helpers"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    elsewhere.worker(PYTHONPATH=str(other.parent))
    with pytest.raises(HelpersError, match=r"worker tcp://.* has (not this|another version of this) package"):
        migrate(postgres_url, redis_url, scheduler=address, prefix="other:")
    assert not client_of(redis_url).keys("other:*")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--workers", "0"), "workers is 0; it must be from 1 to 64"),
        (("--workers", "1000"), "workers is 1000; it must be from 1 to 64"),
        (("--workers", "2", "--scheduler", "tcp://127.0.0.1:1"), ".*; leave one of them out"),
        (
            ("--scheduler", "tcp://127.0.0.1:1"),
            r"Dask scheduler at tcp://127.0.0.1:1: .*; check the address.*",
        ),
        (("--scheduler", "nowhere"), "scheduler is 'nowhere'; it must be tcp://HOST:PORT or .*"),
        (("--scheduler", "http://127.0.0.1:1"), "scheduler is 'http://127.0.0.1:1'; it must be .*"),
    ],
)
def test_bad_options_are_one_line(
    source: str, redis_url: str, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(source, redis_url, *options) as mover:
        out, told = mover.communicate()
    assert (mover.returncode, out) == (2, "")
    assert re.fullmatch(f"helpers migrate: {said}\n", without_bars(told))
    assert dump(redis_url, b"\0") == {}


# -- Secrets

SECRET = "Tell-Nobody-Here"


def test_passwords_are_told_nowhere(postgres_url: str, redis_url: str, elsewhere: Elsewhere) -> None:
    """Not in process lists, the words of a failing run, or what scheduler and workers elsewhere log."""
    fill(postgres_url)
    connection = connections.postgres(postgres_url)
    connection.autocommit = True
    (schema,) = re.findall(r"search_path%3D(\w+)", postgres_url)
    cursor, mover = connection.cursor(), sql.Identifier("mover_of_workers")
    cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(mover), [SECRET])
    cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), mover))
    cursor.execute(
        sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(sql.Identifier(schema), mover)
    )
    client = connections.redis(redis_url)
    client.acl_setuser("mover", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all"])
    source = re.sub(r"//[^@]+@", f"//mover_of_workers:{SECRET}@", postgres_url)
    target = re.sub(r"//[^@]+@", f"//mover:{SECRET}@", redis_url)
    elsewhere.worker()
    revoke = sql.SQL("REVOKE SELECT ON ALL TABLES IN SCHEMA {} FROM {}")
    said: list[str] = []

    def look() -> None:
        for one in psutil.process_iter(["cmdline"]):
            said.append(" ".join(one.info["cmdline"] or ()))

    try:
        for way in (("--workers", "2"), ("--scheduler", elsewhere.address)):
            client.flushdb()
            with start(source, target, *way, "--batch-rows", "10") as run:
                further(client_of(redis_url), 0, run)
                look()
                # From now on workers are refused, by the one server or by the other.
                if way[0] == "--workers":
                    client.execute_command("ACL", "SETUSER", "mover", "-rpush")
                else:
                    cursor.execute(revoke.format(sql.Identifier(schema), mover))
                out, told = run.communicate()
            said += [out, told]
            assert run.returncode == 2 and len(without_bars(told).splitlines()) == 1, told
            client.execute_command("ACL", "SETUSER", "mover", "+rpush")
    finally:
        client.acl_deluser("mover")
        cursor.execute(sql.SQL("DROP OWNED BY {}").format(mover))
        cursor.execute(sql.SQL("DROP ROLE {}").format(mover))
        connection.close()
    logs = elsewhere.end()
    assert "Worker" in logs
    assert SECRET not in "\n".join(said) + logs
    known: dict[str, Any] = {"prefix": "", "model": "", "partition": "users", "snapshot": "x"}
    for task in (
        LoadTask(source_url=source, target_url=target, **known, batch_rows=1, lease=SECRET),
        CompareTask(source_url=source, target_url=target, **known, cuts="{}", folder=""),
    ):
        assert SECRET not in repr(task)
