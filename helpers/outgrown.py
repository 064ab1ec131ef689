"""What each store does when its data outgrow its memory, shown on throw-away servers.

Redis keeps everything in memory: at ``maxmemory`` it refuses writes or drops keys. MongoDB and Cassandra keep
the data in files and a part of them in memory: there it is reading that changes.
"""

import base64
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis as redis_py

from helpers import connections, loops, model, settings, statistics, stores, text
from helpers.errors import HelpersError, first_line
from helpers.results import NOT_MEASURED
from helpers.rows import REFERENCE
from helpers.scale_summary import SHARES
from helpers.schema import Activity
from helpers.servers import cassandra as cassandra_server
from helpers.servers import scratch
from helpers.stores.base import Store
from helpers.stores.cassandra import CassandraStore
from helpers.stores.mongodb import MongoStore
from helpers.workload import Operation

STEPS = {"quick": 2, "full": 6}
"""How often ``measure`` calls ``step``."""
SEED = 13

ROOM_BYTES = {"quick": 2**20, "full": 2**23}
"""What Redis may use beyond what it uses when empty."""
EACH = 25
"""Activities of a user, written to Redis in one transaction."""
USER_BYTES = 1_024
"""Users are as many as would fit if each took no more than this; each takes about twice as much."""
POLICIES = ("noeviction", "allkeys-lru")
TENTHS = 10

LONG_EACH = 10
LONG_BYTES = 3_000
"""Random bytes in an activity's type; as base64 a third more characters, which LZ4 and Snappy cannot shorten.
"""
CACHE_GB = 0.25
"""The smallest cache that MongoDB accepts."""
MONGODB_USERS = 20_000
CASSANDRA_USERS = 5_000
MEMTABLE_MB = 16
HOT_USERS = 200
ROUNDS = 6
ROUND_READS = 200
CHECKED_USERS = 300
FREE_GB = 6
"""Disk space without which MongoDB and Cassandra are left out."""

NOT_SHOWN = (
    "The kernel's page cache: what a server reads from a file may come from there and not from the disk. For "
    "MongoDB the kernel is asked to forget the files in a third row; for Cassandra, which maps its files "
    "into memory, that cannot be asked from outside.",
    "Swap: with memory for all servers together nothing is moved there.",
    "A machine whose memory is full: there the kernel ends processes, which no setting of a store prevents.",
)


def measure(profile: str, step: Callable[[str], object] = lambda what: None) -> dict[str, Any]:
    """Fill throw-away servers beyond their memory.

    Args:
        profile: ``quick`` (Redis only) or ``full``.
        step: called with what was done, ``STEPS`` times.

    Returns:
        By store what was found, or ``{"not measured": reason}``; under ``not_shown`` what this cannot tell.

    Raises:
        HelpersError: a server stopped answering.
    """
    found: dict[str, Any] = {"redis": redis(step, room_bytes=ROOM_BYTES[profile])}
    for name, fill in (("mongodb", mongodb), ("cassandra", cassandra)):
        if profile == "full":
            found[name] = fill(step)
        else:
            found[name] = {NOT_MEASURED: "the quick profile leaves it out"}
    return found | {"not_shown": list(NOT_SHOWN)}


def redis(
    step: Callable[[str], object] = lambda what: None, *, room_bytes: int = ROOM_BYTES["quick"]
) -> dict[str, Any]:
    """Write more than ``maxmemory`` holds, under each policy, and look what is there afterwards."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(scratch.redis("appendonly no"))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        client: Any = stack.enter_context(
            contextlib.closing(connections.redis(server.url, decode_responses=True))
        )
        found: dict[str, Any] = {"version": server.version, "room_bytes": room_bytes, "policies": {}}
        with _told("redis", server.url, (redis_py.RedisError, OSError)):
            limit = int(client.info("memory")["used_memory"]) + room_bytes
            client.config_set("maxmemory", limit)
            for policy in POLICIES:
                found["policies"][policy] = _filled(client, policy, room_bytes // USER_BYTES)
                step(f"redis, {policy}")
        return found


def _filled(client: Any, policy: str, users: int) -> dict[str, Any]:
    client.flushall()
    client.config_resetstat()
    client.config_set("maxmemory-policy", policy)
    acknowledged, refused, words = [], 0, ""
    for user in range(1, users + 1):
        try:
            _write(client, user)
            acknowledged.append(user)
        except redis_py.ResponseError as error:
            refused += 1
            words = words or _words(error)
    used = int(client.info("memory")["used_memory"])
    left = _left(client, acknowledged)
    gone = [EACH - activities for activities, _ in left]
    found = {
        "settings": client.config_get("maxmemory", "maxmemory-policy"),
        "used_bytes": used,
        "written": users * EACH,
        "acknowledged": len(acknowledged) * EACH,
        "refused": refused * EACH,
        "words": words,
        "keys_evicted": int(client.info("stats")["evicted_keys"]),
        "gone": sum(gone),
        "gone_share_by_tenth": [round(float(np.mean(p)) / EACH, 4) for p in np.array_split(gone, TENTHS)]
        if len(gone) >= TENTHS
        else [],
        "users_torn": sum(activities != by_time for activities, by_time in left),
    }
    if refused and acknowledged:
        found["accepted_after_delete"] = _accepted_after_delete(client, acknowledged)
    return found


def _accepted_after_delete(client: Any, users: Sequence[int]) -> bool:
    """Whether a write goes through again once a quarter of the users is deleted."""
    for user in users[: len(users) // 4 + 1]:
        client.delete(model.activities_key(user), model.activities_by_time_key(user))
    try:
        _write(client, users[0])
    except redis_py.ResponseError:
        return False
    return True


def _write(client: Any, user: int) -> None:
    """The activities of a user, list and sorted set, in one transaction: all are acknowledged or none."""
    rows = _activities(user)
    with client.pipeline(transaction=True) as pipe:
        pipe.rpush(model.activities_key(user), *(model.encode_activity(kind, at) for _, _, kind, at in rows))
        pipe.zadd(
            model.activities_by_time_key(user),
            {model.encode_member(number, kind): model.microseconds(at) for number, _, kind, at in rows},
        )
        pipe.execute()


def _activities(user: int) -> list[Activity]:
    first = (user - 1) * EACH
    return [
        (number, user, "view_product", REFERENCE + timedelta(milliseconds=number))
        for number in range(first + 1, first + EACH + 1)
    ]


def _left(client: Any, users: Sequence[int]) -> list[tuple[int, int]]:
    """How many of each user's activities are there as they were written, in the list and in the sorted
    set.
    """
    left = []
    for start in range(0, len(users), 100):
        some = users[start : start + 100]
        with client.pipeline(transaction=False) as pipe:
            for user in some:
                pipe.lrange(model.activities_key(user), 0, -1)
                pipe.zrange(model.activities_by_time_key(user), 0, -1)
            found = [set(answer) for answer in pipe.execute()]
        for user, listed, scored in zip(some, found[::2], found[1::2], strict=True):
            rows = _activities(user)
            in_list = sum(model.encode_activity(kind, at) in listed for _, _, kind, at in rows)
            in_set = sum(model.encode_member(number, kind) in scored for number, _, kind, _ in rows)
            left.append((in_list, in_set))
    return left


def _words(error: redis_py.ResponseError) -> str:
    """What the server said, without what the driver puts before it."""
    said = first_line(error).rpartition("caused error: ")[2]
    return f"OOM {said}" if isinstance(error, redis_py.exceptions.OutOfMemoryError) else said


def mongodb(
    step: Callable[[str], object] = lambda what: None, *, users: int = MONGODB_USERS, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Store more than the cache holds; read what is in it, what is not, and what the kernel has
    forgotten too.
    """
    with ExitStack() as stack:
        try:
            _need_disk()
            server = stack.enter_context(scratch.mongodb(cache_gb=CACHE_GB))
            store = stack.enter_context(MongoStore(server.url))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        with _told(store.name, server.url, store.ERRORS):
            found = _stored(store, users)
            store.client.admin.command("fsync")
            stats = store.database.command("collStats", "activities")
            cache = _cache(store)
            step("mongodb, stored")
            reader = _Reader(store, server.pid, users, lambda: _cache(store)["bytes read into cache"])
            parts: dict[str, Callable[[], object]] = {
                "inside": reader.warm,
                "outside": lambda: _recall(server.folder),
                "forgotten": lambda: _forget(server.folder),
            }
            reads = reader.rounds(parts, rounds)
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
    """
    memtable = f"{MEMTABLE_MB}MiB"
    with ExitStack() as stack:
        try:
            _need_disk()
            server = stack.enter_context(
                scratch.cassandra(memtable_heap_space=memtable, memtable_offheap_space=memtable)
            )
            store = stack.enter_context(CassandraStore(server.url))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        with _told(store.name, server.url, store.ERRORS):
            before = _tasks(store)
            found = _stored(store, users)
            tasks = {name: number - before[name] for name, number in _tasks(store).items()}
            files = store.activity_size()
            step("cassandra, stored")
            reader = _Reader(store, server.pid, users, lambda: 0)
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


def _stored(store: Store, users: int) -> dict[str, Any]:
    store.create()
    began = time.perf_counter()
    store.load(users=[], products=[], activities=_long(users), orders=[])
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


class _Reader:
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
        """Each part in every round, in turns, after what makes it ready."""
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
            return int(self._process.io_counters().read_bytes)
        except (psutil.Error, AttributeError):
            return None


def _reads(users: Iterable[int]) -> list[Operation]:
    return [Operation("last_activities", (user, 1)) for user in users]


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


def _need_disk() -> None:
    free = shutil.disk_usage(settings.home()).free
    if free < FREE_GB * 1e9:
        raise HelpersError(
            f"{free / 1e9:.1f} GB of disk are free where servers keep their data, {FREE_GB} are needed"
        )


@contextlib.contextmanager
def _told(name: str, url: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Tell what a driver raises in one line."""
    try:
        yield
    except errors as error:
        raise HelpersError(
            f"{name} at {settings.address(url)}: the throw-away server failed ({first_line(error)}); nothing "
            "was saved, measure again"
        ) from error


def describe(found: Mapping[str, Any]) -> list[str]:
    """What was found, as lines for people."""
    lines = []
    for name in stores.NAMES:
        part = found[name]
        if NOT_MEASURED in part:
            lines.append(f"{name} beyond its memory: not measured, {part[NOT_MEASURED]}")
        elif name == "redis":
            for policy, row in part["policies"].items():
                lines.append(
                    f"redis at its memory's limit, {policy}: of {text.count(row['written'])} activities "
                    f"{text.count(row['refused'])} refused, of the others {text.count(row['gone'])} gone"
                )
        else:
            medians = [
                f"{kind} {text.duration_us(row['percentiles_us']['p50']['value'])}"
                for kind, row in part["reads"].items()
            ]
            lines.append(
                f"{name} beyond its memory: median read {', '.join(medians)}; of "
                f"{text.count(part['checked'])} activities asked for {text.count(part['lost'])} lost"
            )
    return lines
