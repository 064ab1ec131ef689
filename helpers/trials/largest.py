"""The largest migration: as many rows as this machine holds, once, with a kill on the way.

Its servers are throw-away ones. Faker makes a base of rows, and PostgreSQL multiplies it: all is spread over
users and products as in the base, and only ids are new, with the names that end with one. A guard keeps the
machine from running out of memory: what was measured until then is saved, with the reason.
"""

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from psycopg2.extensions import cursor as Cursor

from helpers import results, settings
from helpers.errors import HelpersError
from helpers.progress import bar
from helpers.relational import population, schema
from helpers.servers import Scratch, connections, machine, scratch
from helpers.text import count, duration_s, size_bytes, three
from helpers.trials.ladder import GROWN, NOTHING_SAVED, tables
from helpers.trials.mover import Ended, Mover, Standing, look

BASE_ROWS = 1_000_000
"""Most rows that Faker makes; the others are made of them."""
LEAST_ROWS, MOST_ROWS = 10_000, 2_000_000_000
"""With fewer it is over before it can be killed; with more the ids of a table would not fit."""
ROUNDS = 3
"""How often the base is migrated by itself."""
KILLED_AT = 0.4
"""The share of its rows that is committed when it is killed."""
LEFT_BYTES = 1_500_000_000
"""Memory, and room on the disk, that stay free for the rest of the machine."""
PROCESSES_BYTES = 600_000_000
"""What the mover and PostgreSQL take besides."""
SAFE = 1.1
"""What a row needs is taken so many times: Redis doubles its table of keys at once."""
SORTED = 1.5
"""The disk is to hold the source so many times: sorting its largest tables takes room for a while."""
SAMPLE_S = 10.0
"""Seconds between two samples of the timeline."""
LOOK_S = 0.001
GUARD_S = 0.1
"""Seconds between two looks at the machine's memory; and at the target, once a process is no longer young."""
MOST_BATCH_ROWS, BATCHES = 20_000, 50
"""A batch is as large as a migration's own, or, of few rows, so many times smaller than all."""
TIMELINE = ("doing", "seconds", "rows", "reads", "redis_bytes", "mover_rss_mb", "postgres_mb")
"""Columns of the timeline."""
SOURCE = (
    "wal_level = 'minimal'",
    "max_wal_senders = 0",
    "fsync = off",
    "autovacuum = off",
    "max_wal_size = '16GB'",
    "maintenance_work_mem = '512MB'",
)


def run(*, rows: int, folder: Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Migrate about so many rows, kill it on the way, let it go on, verify; and save the result ``largest``.

    Args:
        rows: in all tables, about.
        folder: results folder; that of the current run when None.
        progress: show progress bars.

    Returns:
        ``wanted`` (rows), ``rows`` per table, ``batch_rows``, ``cores``;
        ``base`` as ``measure_base`` gives it, ``filled`` as ``fill`` does;
        ``forecast`` of the dry run: ``memory_bytes``, ``load_seconds``, and ``seconds`` that it took;
        ``killed`` and ``resumed``: ``rows`` and ``reads`` (committed at the end; a row that several streams
        read counts as often), ``seconds`` (of the process), ``first_s`` (until its first batch is committed)
        and ``loaded_s`` (until all are written; None for the killed);
        ``verified``: ``seconds``, ``verify_seconds``, ``rows_checked`` per table, ``differences``;
        each of these four with ``peak_rss_mb`` of its process;
        ``redis``: ``memory_bytes`` (used more than before), ``rss_bytes``, ``bytes_per_row``;
        ``least_available_bytes`` (memory of the machine, at its scarcest);
        ``timeline``: the columns of ``TIMELINE``, seconds since the first process was started;
        ``ended``: None, or why it ended early. What was not measured any more is None then.

    Raises:
        HelpersError: rows out of range, no room for them, or a process failed.
    """
    if not LEAST_ROWS <= rows <= MOST_ROWS:
        raise HelpersError(f"--rows {rows}: give a whole number from {LEAST_ROWS:,} to {MOST_ROWS:,}")
    factor = math.ceil(rows / BASE_ROWS)
    base = tables(round(rows / factor))
    with scratch.postgres(*SOURCE) as source, scratch.redis(*NOTHING_SAVED) as target:
        population.populate(source.url, **base, progress=progress)
        small = measure_base(source.url, target.url, progress)
        see_room(small["rows"] * factor, small)
        filled = fill(source.url, factor, progress=progress)
        trial = Trial(source, target, small["rows"] * factor, progress)
        data = {
            "wanted": rows,
            "rows": {table: number * factor for table, number in base.items()},
            "base": small,
            "batch_rows": trial.batch_rows,
            "cores": psutil.cpu_count(),
            "filled": filled,
            **trial.run(),
        }
        versions = {"postgres": source.version, "redis": target.version}
    results.save("largest", data, profile=profile_of(rows), servers=versions, folder=folder)
    return data


def profile_of(rows: int) -> str:
    """``full`` for as many rows as the ladder's largest migration or more, else ``quick``."""
    return "full" if rows >= max(GROWN["full"]) else "quick"


def publishable(rows: int) -> None:
    """See that a migration of so many rows would be published.

    Raises:
        HelpersError: they are too few.
    """
    if profile_of(rows) != "full":
        raise HelpersError(
            f"{rows:,} rows are not published: the ladder's largest migration has {max(GROWN['full']):,}; "
            "give as many or more, or leave --publish out"
        )


def describe(data: Mapping[str, Any]) -> list[str]:
    """What ``run`` measured, as lines for people."""
    forecast, killed, resumed = data["forecast"], data["killed"], data["resumed"]
    verified, redis = data["verified"], data["redis"]
    lines = [
        f"{count(sum(data['rows'].values()))} rows, filled in {duration_s(data['filled']['seconds'])}; "
        f"{size_bytes(data['filled']['bytes'])} in PostgreSQL"
    ]
    if forecast:
        needed, seconds = size_bytes(forecast["memory_bytes"]), duration_s(forecast["load_seconds"])
        lines.append(f"forecast: {needed}, {seconds}")
    if killed:
        lines.append(
            f"killed after {duration_s(killed['seconds'])} with {count(killed['rows'])} rows committed"
        )
    if resumed:
        lines.append(
            f"gone on for {duration_s(resumed['seconds'])} to {count(resumed['rows'])} rows committed"
        )
    if verified:
        lines.append(
            f"verified in {duration_s(verified['seconds'])}: {count(verified['differences'])} differences"
        )
    if redis["bytes_per_row"]:
        each = three(redis["bytes_per_row"])
        lines.append(f"Redis: {size_bytes(redis['memory_bytes'])}, {each} bytes a row")
    return [*lines, *([f"ended early: {data['ended']}"] if data["ended"] else [])]


def measure_base(source: str, target: str, progress: bool = True) -> dict[str, Any]:
    """Migrate and verify the base by itself: what a row costs among few, on the same servers.

    Args:
        source: PostgreSQL URL, filled with the base.
        target: URL of a Redis of its own; it is emptied.
        progress: show a progress bar.

    Returns:
        ``rows`` and ``rounds``; medians of ``load_seconds``, ``verify_seconds`` and ``bytes_per_row`` (in
        Redis); ``disk_bytes_per_row`` (in PostgreSQL).

    Raises:
        HelpersError: a process failed.
    """
    client = connections.redis(target, socket_timeout=connections.FLUSH_S)
    rounds = []
    try:
        with bar(ROUNDS, "base", unit="migrations", enabled=progress) as shown:
            for _ in range(ROUNDS):
                client.flushall()
                before = client.info("memory")["used_memory"]
                with Mover(source, target, "--no-verify") as mover:
                    loaded = result_of(mover.wait(timeout_s=None))
                with Mover(source, target, command="verify") as mover:
                    verified = result_of(mover.wait(timeout_s=None))
                rows = sum(loaded["rows_read"].values())
                rounds.append(
                    {
                        "load_seconds": loaded["load_seconds"],
                        "verify_seconds": verified["verify_seconds"],
                        "bytes_per_row": (client.info("memory")["used_memory"] - before) / rows,
                    }
                )
                shown.update()
        client.flushall()
    finally:
        client.close()
    return {
        "rows": rows,
        "rounds": ROUNDS,
        **{name: median(one[name] for one in rounds) for name in rounds[0]},
        "disk_bytes_per_row": database_bytes(source) / rows,
    }


def see_room(rows: int, base: Mapping[str, Any]) -> None:
    """Refuse what this machine has no room for.

    Args:
        rows: in all.
        base: what a row needs, as ``measure_base`` gives it.

    Raises:
        HelpersError: with the number of rows that there is room for.
    """
    memory, disk = base["bytes_per_row"] * SAFE, base["disk_bytes_per_row"] * SORTED
    free_memory, free_disk = available_bytes() - LEFT_BYTES - PROCESSES_BYTES, free_disk_bytes() - LEFT_BYTES
    fit = max(int(min(free_memory / memory, free_disk / disk)), 0)
    if rows > fit:
        short = "memory" if free_memory / memory < free_disk / disk else f"room in {settings.home()}"
        remedy = f"give --rows {fit} or fewer" if fit >= LEAST_ROWS else "make room"
        raise HelpersError(
            f"{rows:,} rows need about {size_bytes(rows * memory)} of memory and {size_bytes(rows * disk)} "
            f"of disk, and there is not enough {short}; {remedy}"
        )


def available_bytes() -> int:
    """Memory that this machine can still give."""
    return int(psutil.virtual_memory().available)


def free_disk_bytes() -> int:
    """What the disk of the state folder, where throw-away servers keep their data, can still hold."""
    return shutil.disk_usage(settings.home()).free


def database_bytes(url: str) -> int:
    """The size of a database with its indexes."""
    connection = connections.postgres(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int((cursor.fetchone() or (0,))[0])
    finally:
        connection.close()


def fill(url: str, factor: int, *, progress: bool = True) -> dict[str, Any]:
    """Multiply the rows of the course's tables: each is there so many times, each time with ids of its own.

    The tables become unlogged, and their keys and indexes are made again after the rows: nobody needs what is
    written here after a crash of the server.

    Args:
        url: PostgreSQL URL of a server that is ours alone; ids count from 1, as ``populate`` makes them.
        factor: how often.
        progress: show a progress bar.

    Returns:
        ``seconds``, ``bytes`` (of the database, with its indexes) and ``bytes_per_row``.
    """
    connection, began = connections.postgres(url), time.perf_counter()
    connection.autocommit = True
    try:
        with connection.cursor() as cursor, _without_keys(cursor, progress):
            counts = {}
            for table in schema.TABLES:
                cursor.execute(f"ALTER TABLE {table} SET UNLOGGED")
                cursor.execute(f"CREATE TEMPORARY TABLE base_{table} AS TABLE {table}")
                counts[table] = cursor.rowcount
            rows = sum(counts.values())
            with bar(rows * factor, "fill", enabled=progress) as shown:
                shown.update(rows)
                for number in range(1, factor):
                    for table in schema.TABLES:
                        cursor.execute(copying(table, {name: of * number for name, of in counts.items()}))
                    shown.update(rows)
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {', '.join(schema.TABLES)}")
    finally:
        connection.close()
    size = database_bytes(url)
    return {
        "seconds": time.perf_counter() - began,
        "bytes": size,
        "bytes_per_row": size / (rows * factor),
    }


def copying(table: str, more: Mapping[str, int]) -> str:
    """The statement that writes the rows of a table's base once more.

    Args:
        table: one of the course's.
        more: by how much the ids of each table are larger in this copy.
    """
    values = {key: f"{key} + {more[name]}" for name, key in schema.KEYS.items()}
    number = f"(user_id + {more['users']})::text"  # names end with the id, and an email's name is the user's
    values["username"] = f"regexp_replace(username, '[0-9]+$', {number})"
    values["email"] = f"regexp_replace(email, '[0-9]+@', {number} || '@')"
    columns = list(schema.COLUMNS[table])
    chosen = ", ".join(values.get(name, name) for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM base_{table}"


@contextmanager
def _without_keys(cursor: Cursor, progress: bool) -> Iterator[None]:
    """Drop the keys and indexes of the course's tables, and make the same again on leaving.

    It does not when it is left by an error: the server is thrown away then.
    """
    cursor.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype FROM pg_constraint "
        "WHERE contype IN ('p', 'u', 'f') AND conrelid::regclass::text = ANY(%s) "
        "ORDER BY contype = 'f'",
        [list(schema.TABLES)],
    )
    keys = cursor.fetchall()
    for table, name, _, _ in reversed(keys):
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name in schema.INDEXES:
        cursor.execute(f"DROP INDEX {name}")
    yield
    made = [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition, _ in keys]
    with bar(len(schema.INDEXES) + len(made), "keys", unit="keys", enabled=progress) as shown:
        for statement in [*schema.INDEXES.values(), *made]:
            cursor.execute(statement)
            shown.update()


class Trial:
    """One migration that is killed, goes on, and is verified; each command is a process of its own.

    Args:
        source: the filled PostgreSQL.
        target: an empty Redis.
        rows: of the source.
        progress: show progress bars.
    """

    def __init__(self, source: Scratch, target: Scratch, rows: int, progress: bool) -> None:
        self.batch_rows = max(min(MOST_BATCH_ROWS, rows // BATCHES), 1)
        self._source, self._target, self._rows, self._progress = source, target, rows, progress
        self._postgres = psutil.Process(source.pid)
        self._client = connections.redis(
            target.url, decode_responses=True, socket_timeout=connections.FLUSH_S
        )
        self._ended: str | None = None
        self._least = available_bytes()
        self._began = time.monotonic()
        self._timeline: dict[str, list[Any]] = {name: [] for name in TIMELINE}

    def run(self) -> dict[str, Any]:
        """Forecast, load, kill, go on, verify; what ``run`` of this module says of them.

        Raises:
            HelpersError: a process failed, or ended before it could be killed.
        """
        before = int(self._client.info("memory")["used_memory"])
        parts: dict[str, Any] = dict.fromkeys(("forecast", "killed", "resumed", "verified"))
        try:
            for name, part in (
                ("forecast", self._forecast),
                ("killed", self._kill),
                ("resumed", self._go_on),
                ("verified", self._verify),
            ):
                parts[name] = part()
                if self._ended:
                    break
            memory, now = self._client.info("memory"), look(self._client)
        finally:
            self._client.close()
        used = int(memory["used_memory"]) - before
        return parts | {
            "redis": {
                "memory_bytes": used,
                "rss_bytes": int(memory["used_memory_rss"]),
                "bytes_per_row": used / now.rows if now.rows else None,
            },
            "least_available_bytes": self._least,
            "timeline": self._timeline,
            "ended": self._ended,
        }

    def _forecast(self) -> dict[str, Any] | None:
        with self._mover("--dry-run") as mover:
            seen = self._watch("dry run", mover)
            if self._ended:
                return None
            result = result_of(mover.wait())
        return {
            "memory_bytes": result["memory_bytes"],
            "load_seconds": result["load_seconds_estimated"],
            "seconds": seen["seconds"],
            "peak_rss_mb": result["peak_rss_mb"],
        }

    def _kill(self) -> dict[str, Any]:
        with self._mover(*self._options) as mover:
            seen = self._watch("load", mover, until=KILLED_AT * self._rows)
            if not mover.kill() and not self._ended:
                raise HelpersError(
                    f"the migration ended before it was killed ({mover.wait().said}); migrate more rows"
                )
        now = look(self._client)
        return seen | {"rows": now.rows, "reads": reads(now), "loaded_s": None}

    def _go_on(self) -> dict[str, Any]:
        with self._mover(*self._options) as mover:
            seen = self._watch("resumed load", mover)
            if self._ended:
                return seen
            result = result_of(mover.wait())
        if not result["resumed"]:
            raise HelpersError("the same command did not go on with the migration that was killed")
        return seen | {"peak_rss_mb": result["peak_rss_mb"]}

    def _verify(self) -> dict[str, Any] | None:
        with self._mover(command="verify") as mover:
            seen = self._watch("verify", mover)
            if self._ended:
                return None
            result = result_of(mover.wait())
        kept = ("verify_seconds", "rows_checked", "differences", "peak_rss_mb")
        return {"seconds": seen["seconds"]} | {name: result[name] for name in kept}

    @property
    def _options(self) -> tuple[str, ...]:
        return "--no-verify", "--batch-rows", str(self.batch_rows)

    def _mover(self, *options: str, command: str = "migrate") -> Mover:
        return Mover(self._source.url, self._target.url, *options, command=command)

    def _watch(self, doing: str, mover: Mover, until: float = math.inf) -> dict[str, Any]:
        """Look at a process until it ends, so many rows are committed, or the machine has no more room."""
        process, peak, guard_s, sample_s = psutil.Process(mover.pid), 0.0, 0.0, 0.0
        before = now = look(self._client)
        first_s = loaded_s = None
        loads = doing.endswith("load")  # nothing tells how far the others are
        with bar(self._rows if loads else None, doing, enabled=self._progress) as shown:
            shown.update(before.rows if loads else 0)
            while mover.running and now.rows < until:
                if mover.age_s >= guard_s:
                    guard_s = mover.age_s + GUARD_S
                    rss_mb = machine.rss_mb(process) or 0.0
                    peak = max(peak, rss_mb)
                    if mover.age_s >= sample_s:
                        sample_s += SAMPLE_S
                        self._sample(doing, now, rss_mb)
                        shown.refresh()
                    if self._short(doing):
                        break
                time.sleep(LOOK_S if mover.age_s < SAMPLE_S else GUARD_S)
                now = look(self._client)
                shown.update(now.rows - shown.n if loads else 0)
                if first_s is None and reads(now) > reads(before):
                    first_s = mover.age_s
                if loaded_s is None and now.status not in (None, "loading") and now.state != before.state:
                    loaded_s = mover.age_s
            seconds = mover.age_s
        self._sample(doing, now, peak)
        return {
            "rows": now.rows,
            "reads": reads(now),
            "seconds": seconds,
            "first_s": first_s,
            "loaded_s": loaded_s,
            "peak_rss_mb": peak,
        }

    def _short(self, doing: str) -> bool:
        """Whether the machine has no more room; then the trial has ended early."""
        free = available_bytes()
        self._least = min(self._least, free)
        for what, left in (("of memory were available", free), ("were free on the disk", free_disk_bytes())):
            if left < LEFT_BYTES:
                self._ended = f"only {size_bytes(left)} {what} during the {doing}"
        return self._ended is not None

    def _sample(self, doing: str, now: Standing, rss_mb: float) -> None:
        values = (
            doing,
            round(time.monotonic() - self._began, 1),
            now.rows,
            reads(now),
            int(self._client.info("memory")["used_memory"]),
            round(rss_mb, 1),
            round(machine.family_pss_mb(self._postgres) or 0.0, 1),
        )
        for name, value in zip(TIMELINE, values, strict=True):
            self._timeline[name].append(value)


def reads(standing: Standing) -> int:
    """Rows that all streams have read and committed: of a row that several keys need, each counts."""
    return sum(int(rows) for name, rows in standing.state.items() if name.startswith("rows:"))


def result_of(ended: Ended) -> dict[str, Any]:
    """What a command gave that has succeeded, or found differences.

    Raises:
        HelpersError: it could not be done; with the line that it said.
    """
    if ended.result is None:
        raise HelpersError(f"a command ended with {ended.code}: {ended.said}")
    return ended.result
