"""Stores on disk with more data than their caches hold: what reading takes then, and what is lost."""

import base64
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from helpers import settings
from helpers.comparison import CassandraStore, MongoStore, Operation, PostgresStore, Store, loops, statistics
from helpers.errors import HelpersError, first_line
from helpers.relational import REFERENCE, Activity
from helpers.results import NOT_MEASURED
from helpers.scaling.summary import SHARES
from helpers.servers import cassandra as cassandra_server, machine, scratch

FREE_GB = 6
"""Disk space without which all three are left out."""
SEED = 13
HOT_USERS = 200
ROUND_READS = 200
LONG_EACH = 10
LONG_BYTES = 3_000
"""Random bytes in an activity's type; as base64 a third more characters, which LZ4 and Snappy cannot shorten.
"""
CACHE_GB = 0.25
"""The smallest cache that MongoDB accepts."""
MONGODB_USERS = 20_000
BUFFERS_MB = 32
POSTGRES_USERS = 5_000
CASSANDRA_USERS = 5_000
MEMTABLE_MB = 16
ROUNDS = 6
CHECKED_USERS = 300


class LongTexts(PostgresStore):
    """PostgreSQL whose activities may be of a type of any length, of which it keeps a long one in pieces in a
    table of its own (TOAST).
    """

    def create(self) -> None:
        """Make the tables, and widen the column."""
        super().create()
        self.do("ALTER TABLE activities ALTER activity_type TYPE text")


def postgres(
    step: Callable[[str], object] = lambda what: None, *, users: int = POSTGRES_USERS, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Store more than the shared buffers hold; read what is in them, what is not, and what the kernel has
    forgotten too.

    Args:
        step: called with what was done, twice.
        users: how many are stored, with ten long activities each.
        rounds: of reads.
    """
    with ExitStack() as stack:
        try:
            need_disk()
            server = stack.enter_context(
                scratch.postgres(f"shared_buffers = '{BUFFERS_MB}MB'", "autovacuum = off")
            )
            store = stack.enter_context(LongTexts(server.url))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        with in_one_line(store.name, server.url, store.ERRORS):
            found = _stored(store, users)
            store.do("CHECKPOINT")
            step("postgres, stored")
            reader = Reader(store, server.pid, users, store.read_bytes)
            reads = reader.rounds(_forgetting(reader, server.folder), rounds)
            size = store.activity_size()
            found |= {
                "version": server.version,
                "cache_bytes": BUFFERS_MB * 2**20,
                "cached_bytes": size.memory_bytes,
                "file_bytes": size.disk_bytes,
                "rss_mb": store.server_rss_mb(),
                "reads": reads,
                "ratios": reader.ratios("inside"),
                **_checked(store, users),
            }
            step("postgres, read")
        return found


def mongodb(
    step: Callable[[str], object] = lambda what: None, *, users: int = MONGODB_USERS, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Store more than the cache holds; read what is in it, what is not, and what the kernel has
    forgotten too.

    Args:
        step: called with what was done, twice.
        users: how many are stored, with ten long activities each.
        rounds: of reads.
    """
    with ExitStack() as stack:
        try:
            need_disk()
            server = stack.enter_context(scratch.mongodb(cache_gb=CACHE_GB))
            store = stack.enter_context(MongoStore(server.url))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        with in_one_line(store.name, server.url, store.ERRORS):
            found = _stored(store, users)
            store.client.admin.command("fsync")
            stats = store.database.command("collStats", "activities")
            cache = _cache(store)
            step("mongodb, stored")
            reader = Reader(store, server.pid, users, lambda: _cache(store)["bytes read into cache"])
            reads = reader.rounds(_forgetting(reader, server.folder), rounds)
            found |= {
                "version": server.version,
                "cache_bytes": cache["maximum bytes configured"],
                "cached_bytes": _cache(store)["bytes currently in the cache"],
                "stored_bytes": stats["size"],
                "file_bytes": stats["storageSize"],
                "rss_mb": store.server_rss_mb(),
                "reads": reads,
                "ratios": reader.ratios("inside"),
                **_checked(store, users),
            }
            step("mongodb, read")
        return found


def cassandra(
    step: Callable[[str], object] = lambda what: None, *, users: int = CASSANDRA_USERS, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Store many times what the memtables hold; read what was written last and what was written at any
    time.

    Args:
        step: called with what was done, twice.
        users: how many are stored, with ten long activities each.
        rounds: of reads.
    """
    memtable = f"{MEMTABLE_MB}MiB"
    with ExitStack() as stack:
        try:
            need_disk()
            server = stack.enter_context(
                scratch.cassandra(memtable_heap_space=memtable, memtable_offheap_space=memtable)
            )
            store = stack.enter_context(CassandraStore(server.url))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        with in_one_line(store.name, server.url, store.ERRORS):
            before = _tasks(store)
            found = _stored(store, users)
            tasks = {name: number - before[name] for name, number in _tasks(store).items()}
            files = store.activity_size()
            step("cassandra, stored")
            reader = Reader(store, server.pid, users, lambda: 0)
            parts: dict[str, Callable[[], object]] = {"inside": reader.warm, "outside": lambda: None}
            reads = reader.rounds(parts, rounds)
            found |= {
                "version": server.version,
                "heap_bytes": cassandra_server.HEAP_MB * 2**20,
                "memtable_bytes": MEMTABLE_MB * 2**20,
                "memtable_setting": store.settings()["memtable heap"],
                "flushes": tasks["MemtableFlushWriter"],
                "compactions": tasks["CompactionExecutor"],
                "tables_written": _tables_written(server.folder),
                "file_bytes": files.disk_bytes,
                "rss_mb": store.server_rss_mb(),
                "reads": reads,
                "ratios": reader.ratios("inside"),
                **_checked(store, users),
            }
            step("cassandra, read")
        return found


def _forgetting(reader: "Reader", folder: Path) -> dict[str, Callable[[], object]]:
    """What makes each part ready where the kernel can be asked to forget a server's files."""
    return {
        "inside": reader.warm,
        "outside": lambda: _recall(folder),
        "forgotten": lambda: _forget(folder),
    }


def need_disk() -> None:
    """Return if there is room for data that outgrow a cache.

    Raises:
        HelpersError: there is not.
    """
    free = shutil.disk_usage(settings.home()).free
    if free < FREE_GB * 1e9:
        raise HelpersError(
            f"{free / 1e9:.1f} GB of disk are free where servers keep their data, {FREE_GB} are needed"
        )


@contextlib.contextmanager
def in_one_line(name: str, url: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Tell what a driver raises in one line.

    Args:
        name: of the store.
        url: of the server; only its address is told.
        errors: what the driver raises.

    Raises:
        HelpersError: in place of one of them.
    """
    try:
        yield
    except errors as error:
        raise HelpersError(
            f"{name} at {settings.address(url)}: the throw-away server failed ({first_line(error)}); nothing "
            "was saved, measure again"
        ) from error


class Reader:
    """Reads of one activity each, in rounds of each kind, with what the server read for them."""

    def __init__(self, store: Store, pid: int, users: int, into_cache: Callable[[], int]) -> None:
        self._store, self._users, self._into_cache = store, users, into_cache
        self._random = np.random.default_rng(SEED)
        self._hot = list(range(users - min(HOT_USERS, users) + 1, users + 1))
        self._process = psutil.Process(pid)
        self._times: dict[str, list[list[float]]] = {}

    def warm(self) -> None:
        """Read the few users of ``inside``, so that they are in memory."""
        loops.closed(self._store, [_reads(self._hot)])

    def rounds(self, parts: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
        """Each part in every round, in turns.

        Args:
            parts: by name, what makes each ready; ``inside`` reads a few users, the others any.
            rounds: of ``ROUND_READS`` reads of each part.

        Returns:
            By part ``n`` reads, ``percentiles_us``, ``into_cache_bytes`` and ``from_disk_bytes`` (None where
            the kernel does not say).
        """
        moved: dict[str, list[tuple[int, int | None]]] = {name: [] for name in parts}
        self._times = {name: [] for name in parts}
        for number in range(rounds):
            names = list(parts)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                parts[name]()
                chosen = self._hot if name == "inside" else list(range(1, self._users + 1))
                users = self._random.choice(chosen, ROUND_READS, replace=len(chosen) < ROUND_READS)
                cache, disk = self._into_cache(), self._from_disk()
                run = loops.closed(self._store, [_reads(int(user) for user in users)])
                self._times[name].append(run.latency_us)
                after = self._from_disk()
                moved[name].append(
                    (self._into_cache() - cache, None if disk is None or after is None else after - disk)
                )
        return {name: self._row(name, moved[name]) for name in parts}

    def ratios(self, base: str) -> dict[str, Any]:
        """How many times longer the median of each other part takes, rounds paired; None with one round."""
        medians = {name: [float(np.median(us)) for us in of] for name, of in self._times.items()}
        found = {}
        for name in medians:
            if name != base:
                ratio = statistics.log_ratio(medians[name], medians[base])
                found[name] = None if ratio is None else ratio.as_dict() | {"p": ratio.p}
        return found

    def _row(self, name: str, moved: list[tuple[int, int | None]]) -> dict[str, Any]:
        samples = np.concatenate(self._times[name])
        disk = [part for _, part in moved]
        return {
            "n": len(samples),
            "percentiles_us": statistics.describe(self._times[name], SHARES),
            "into_cache_bytes": sum(part for part, _ in moved),
            "from_disk_bytes": None if None in disk else sum(part or 0 for part in disk),
        }

    def _from_disk(self) -> int | None:
        """Bytes that the kernel fetched from the disk for the server so far, None where it does not say."""
        try:
            return sum(one.io_counters().read_bytes for one in machine.family(self._process))
        except (psutil.Error, AttributeError):
            return None


def _reads(users: Iterable[int]) -> list[Operation]:
    return [Operation("last_activities", (user, 1)) for user in users]


def _stored(store: Store, users: int) -> dict[str, Any]:
    store.create()
    if store.name == "postgres":  # which refuses the activities of a user who does not exist
        store.load_rows(
            "users", ((n, f"user{n}", f"u{n}@example.org", REFERENCE) for n in range(1, users + 1))
        )
    began = time.perf_counter()
    store.load_rows("activities", _long(users))
    seconds = time.perf_counter() - began
    number = users * LONG_EACH
    return {"acknowledged": number, "written_bytes": number * len(_text(0)), "load_s": seconds}


def _long(users: Iterable[int] | int) -> Iterator[Activity]:
    for user in range(1, users + 1) if isinstance(users, int) else users:
        for number in range((user - 1) * LONG_EACH + 1, user * LONG_EACH + 1):
            yield number, user, _text(number), REFERENCE + timedelta(milliseconds=number)


def _text(number: int) -> str:
    """The long type of an activity, the same for the same number."""
    return base64.b64encode(np.random.default_rng([SEED, number]).bytes(LONG_BYTES)).decode()


def _checked(store: Store, users: int) -> dict[str, int]:
    """Users spread over all of them: how many activities were asked for, how many are not as written."""
    asked = range(1, users + 1, max(users // CHECKED_USERS, 1))
    lost = 0
    for user in asked:
        expected = [(kind, at) for _, _, kind, at in _long([user])]
        answered = {tuple(seen) for seen in store.last_activities(user, LONG_EACH)}
        lost += sum(row not in answered for row in expected)
    return {"checked": len(asked) * LONG_EACH, "lost": lost}


def _cache(store: MongoStore) -> dict[str, int]:
    return dict(store.client.admin.command("serverStatus")["wiredTiger"]["cache"])


def _forget(folder: Path) -> None:
    """Ask the kernel to drop what it holds of a server's files; what is not written yet stays."""
    for path in (folder / "data").rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _recall(folder: Path) -> None:
    """Read a server's files once, so that the kernel holds them."""
    for path in (folder / "data").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def _tasks(store: CassandraStore) -> dict[str, int]:
    rows = store.session.execute("SELECT name, completed_tasks FROM system_views.thread_pools")
    wanted = ("MemtableFlushWriter", "CompactionExecutor")
    return dict.fromkeys(wanted, 0) | {name: done for name, done in rows if name in wanted}


def _tables_written(folder: Path) -> int:
    """How many SSTables of activities were ever written: their files are numbered."""
    paths = (folder / "data").rglob("activities_by_user-*/*-Data.db")
    return max(
        (int(path.name.split("-")[1]) for path in paths if path.name.split("-")[1].isdigit()), default=0
    )
