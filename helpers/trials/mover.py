"""The mover: a migration in a process of its own, started as a user starts it; watched, and killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import IO, Any

from redis import Redis

from helpers.errors import HelpersError
from helpers.relational import redis_model
from helpers.servers import connections
from helpers.target import lease_key, state_key

PATIENCE_S = 120
DONE, STOPPED = 0, 2
"""Exit codes of a migration that is done, and of one that could not be done."""
PHASES = (
    "before the first batch",
    "first third of the load",
    "second third",
    "last third",
    "catching up",
    "verifying",
    "after the verification",
)
"""What a migration may be doing, as its target tells it."""
START, *THIRDS, CATCHING_UP, VERIFYING, OVER = PHASES


@dataclass(frozen=True)
class Standing:
    """How far a migration is, as its target tells it: the state, and the holder of the lease or None."""

    state: dict[str, str]
    lease: str | None

    @property
    def tables(self) -> Collection[str]:
        """The tables of its model, as the state names them; the course's where it names none."""
        recorded = json.loads(self.state.get("tables", "{}"))
        return {table["name"] for table in recorded.values()} or redis_model.TABLES

    @property
    def rows(self) -> int:
        """Rows of the tables that are committed."""
        tables, found = self.tables, 0
        for name, rows in self.state.items():
            kind, _, stream = name.partition(":")
            if kind == "rows" and (stream in tables or re.sub(r"\.[0-9]+$", "", stream) in tables):
                found += int(rows)
        return found

    @property
    def status(self) -> str | None:
        """``loading``, ``reconciling``, ``complete``; None when nothing was begun."""
        return self.state.get("status")

    def phase(self, before: "Standing", rows: int) -> str:
        """What the run was doing that found the target as it was ``before``: one of ``PHASES``.

        Args:
            before: what the run found.
            rows: of the source.
        """
        if self == before or (self.state == before.state and self.status != "reconciling"):
            return START
        if self.status == "complete":
            return VERIFYING if self.lease else OVER
        if self.status == "reconciling":
            return CATCHING_UP
        if self.rows == 0:
            return START
        return THIRDS[min(3 * self.rows // rows, 2)]


def look(client: Redis, prefix: str = "") -> Standing:
    """How far the migration of a target is; the client decodes responses."""
    with client.pipeline(transaction=True) as both:
        both.hgetall(state_key(prefix)).get(lease_key(prefix))
        return Standing(*both.execute())


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code, its JSON when it gave one, and its last line on stderr."""

    code: int
    result: dict[str, Any] | None
    said: str


class Mover:
    """``python -m helpers migrate --json``, started at once; a context manager that leaves no process behind.

    Args:
        source: PostgreSQL URL.
        target: Redis URL.
        options: words of the command line besides.
        command: another command than ``migrate`` with a source, a target and ``--json``.
    """

    def __init__(self, source: str, target: str, *options: str, command: str = "migrate") -> None:
        words = [sys.executable, "-m", "helpers", command, "--json", *options]
        # By environment, because anybody on the machine may read a command line.
        environment = {**os.environ, "POSTGRES_URL": source, "REDIS_URL": target}
        # A pipe that nobody reads for an hour would fill up, and hold the process.
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._began = time.monotonic()
        self._process = subprocess.Popen(words, env=environment, stdout=self._out, stderr=self._err)

    def __enter__(self) -> "Mover":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._began

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def sleep_until(self, age_s: float) -> None:
        """Wait until it is so old, or has ended."""
        while self.running and (left := age_s - self.age_s) > 0:
            time.sleep(min(left, 0.02))

    def kill(self) -> bool:
        """Kill it by SIGKILL; whether it was still running."""
        self._process.send_signal(signal.SIGKILL)
        return self._process.wait() == -signal.SIGKILL

    def wait(self, timeout_s: float | None = PATIENCE_S) -> Ended:
        """How it ended, after at most so long, or whenever.

        Raises:
            HelpersError: it did not end; it was killed.
        """
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise HelpersError(f"a command did not end within {timeout_s} s; it was killed") from error
        out, err = (_text(file) for file in (self._out, self._err))
        said = next((line for line in reversed(err.splitlines()) if line.strip()), "it said nothing")
        return Ended(self._process.returncode, json.loads(out) if out.strip() else None, said)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def kill_at(source: str, target: str, *, prefix: str = "", rows: int, batch_rows: int = 1000) -> int:
    """Start a migration, and kill it by SIGKILL once so many rows are committed.

    Args:
        source: PostgreSQL URL.
        target: Redis URL.
        prefix: stands before every key.
        rows: that must be committed before the kill.
        batch_rows: most rows in a batch.

    Returns:
        Rows that are committed after the kill.

    Raises:
        HelpersError: it ended before it could be killed; migrate more rows.
    """
    client = connections.redis(target, decode_responses=True)
    try:
        with Mover(source, target, "--prefix", prefix, "--batch-rows", str(batch_rows)) as mover:
            while look(client, prefix).rows < rows and mover.running and mover.age_s < PATIENCE_S:
                time.sleep(0.001)
            if not mover.kill():
                raise HelpersError(
                    f"the migration ended before it was killed at {rows:,} rows ({mover.wait().said}); "
                    "migrate more rows"
                )
        return look(client, prefix).rows
    finally:
        client.close()


BEFORE = 0.1
"""This part of the moments lies before a run holds its lease: until then it has only looked."""


def watch(start: Callable[[], Mover], client: Redis, rows: int) -> dict[str, float]:
    """When a migration that nobody disturbs begins and ends what it does, in seconds after its start.

    Args:
        start: starts it.
        client: of its target, which is emptied first; it decodes responses.
        rows: of its source.

    Returns:
        ``begun_s`` (it holds the lease), ``loaded_s``, ``verified_s`` (it has given the lease back) and
        ``ended_s``.

    Raises:
        HelpersError: it did not succeed.
    """
    client.flushall()
    empty = look(client)
    seen: dict[str, float] = {}
    with start() as mover:
        while mover.running:
            now = look(client)
            if now.lease:
                seen.setdefault("begun", mover.age_s)
            seen.setdefault(now.phase(empty, rows), mover.age_s)
            time.sleep(0.001)
        ended_s, ended = mover.age_s, mover.wait()
    if ended.code != DONE:
        raise HelpersError(f"the undisturbed migration ended with {ended.code}: {ended.said}")

    def first(*names: str) -> float:
        return min((seen[name] for name in names if name in seen), default=ended_s)

    return {
        "begun_s": first("begun", *PHASES[1:]),
        "loaded_s": first(VERIFYING, OVER),
        "verified_s": first(OVER),
        "ended_s": ended_s,
    }


def medians(watched: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The medians of what ``watch`` saw several times."""
    return {name: median(times[name] for times in watched) for name in watched[0]}


@dataclass(frozen=True)
class Moment:
    """So many seconds after a run has taken its lease (before it, when negative), or after it has loaded."""

    seconds: float
    after: str = "lease"


def draw_moment(
    chance: random.Random, times: Mapping[str, float], rows: int, before: Standing, *, late: bool = False
) -> Moment:
    """A moment for a kill, uniform over the time in which a run works, or only over its verification.

    It counts from the lease because the start of an interpreter takes longer one time than another. A run
    that finds rows committed has less to load, but has to compare them, which takes about as long as
    verifying.

    Args:
        chance: where the number comes from.
        times: of an undisturbed run, as ``watch`` gives them.
        rows: of the source.
        before: what the run finds.
        late: only over the verification.
    """
    verifying = times["verified_s"] - times["loaded_s"]
    if late:
        return Moment(chance.uniform(0, verifying), "load")
    left = 1 - min(before.rows / rows, 1)
    work = left * (times["loaded_s"] - times["begun_s"]) + verifying * (2 if before.rows else 1)
    return Moment(chance.uniform(-BEFORE * work / (1 - BEFORE), work))


def wait_for_moment(mover: Mover, client: Redis, before: Standing, begun_s: float, moment: Moment) -> None:
    """Wait until a running migration has come to a moment, or has ended.

    Args:
        mover: the migration.
        client: of its target.
        before: what it found.
        begun_s: when runs usually take their lease, in seconds after their start.
        moment: as ``draw_moment`` gives it.
    """

    def come() -> bool:
        now = look(client)
        if moment.after == "load":
            return now.status == "complete" and now.state != before.state
        return now.lease not in (None, before.lease)

    if moment.seconds >= 0:
        while mover.running and not come():
            time.sleep(0.001)
        begun_s = mover.age_s
    mover.sleep_until(begun_s + moment.seconds)
