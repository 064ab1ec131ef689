"""A task: one partition to load or to compare, as a worker is given it, does it, and tells of it."""

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.migration import comparing, loading
from helpers.migration.findings import Differences
from helpers.model import PARTITIONS, parse
from helpers.servers import connections, machine
from helpers.source import Source, SourceLost
from helpers.target import LeaseLost, connect, partition_checkpoint_of, resp

RETRIED = {kind.__name__: kind for kind in (resp.Lost, SourceLost, LeaseLost)}
"""Errors after which another attempt may help, by the name of the class."""
WINDOW_ROWS = 5_000
"""Rows that a comparison asks about at once: few, as Dask takes memory besides."""
_kept: list[Source] = []
"""Snapshots that a task of this process has left open for the next one."""


class WorkersLost(HelpersError):
    """Those who do tasks went away; trying again later may help."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker needs to know. Its ``repr`` shows no URL: they may hold passwords.

    Attributes:
        source_url: where PostgreSQL is.
        target_url: where Redis is, or a node of a Redis Cluster.
        prefix: the prefix of the migration.
        model: as TOML.
        partition: its name.
        snapshot: the exported one, which ends with the process that exported it.
        registered: names of the lists that have a register.
        keep: whether the process ends with the command, and may keep its connection to the snapshot.
    """

    source_url: str = field(repr=False)
    target_url: str = field(repr=False)
    prefix: str
    model: str
    partition: str
    snapshot: str
    registered: tuple[str, ...] = ()
    keep: bool = False

    def run(self) -> Any:
        """Do it.

        Returns:
            What was found, where something was asked for.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LoadTask(Task):
    """Take a partition and load what is missing of it.

    Attributes:
        batch_rows: most rows in a batch.
        lease: the token of the migration's lease.
    """

    batch_rows: int
    lease: str = field(repr=False)

    def run(self) -> None:
        """Load it."""
        with contextlib.closing(connect(self.target_url)) as connection:
            checkpoint = partition_checkpoint_of(connection, self.prefix, self.partition, self.lease)
            checkpoint.take()
            with _source(self) as source:
                loaded = loading.LoadProgress(
                    source.plan, checkpoint.read()
                )  # nobody else can change it any more
                if self.partition in loaded.done:
                    return
                loading.load(
                    source,
                    checkpoint,
                    loaded,
                    batch_rows=self.batch_rows,
                    only=self.partition,
                )


@dataclass(frozen=True, kw_only=True)
class CompareTask(Task):
    """Compare a partition with the target.

    Attributes:
        cuts: where the streams are cut, as the state would say it.
        folder: where the file of differences goes.
    """

    cuts: str
    folder: str

    def run(self) -> comparing.Compared:
        """Compare it, and leave alone what no row asks for."""
        with contextlib.closing(connect(self.target_url)) as connection, _source(self) as source:
            partitions = source.plan.partitions({PARTITIONS: self.cuts})
            (mine,) = (one for one in partitions if one.name == self.partition)
            with contextlib.closing(Differences(Path(self.folder))) as differences:
                comparison = comparing.Comparison(source, connection, differences, window_rows=WINDOW_ROWS)
                comparison.look([mine])
            return comparison.compared


@dataclass(frozen=True)
class Outcome:
    """How a task ended, and what the process had used by then.

    Attributes:
        process: a name of it that no other has.
        peak_rss_mb: the most memory that it held so far.
        cpu_from: its seconds of processor time when the task began.
        cpu_to: the same when it ended.
        error: the name of the class of an error that stopped it; None without one.
        text: the error's line.
        code: of an error reply of Redis.
        found: what the task gave.
    """

    process: str
    peak_rss_mb: float
    cpu_from: float
    cpu_to: float
    error: str | None = None
    text: str = ""
    code: str = ""
    found: Any = None

    def check(self) -> None:
        """Raise what stopped the task, as it would have been raised in this process.

        Raises:
            resp.Lost, SourceLost, LeaseLost: a server or the partition is gone; another attempt may help.
            HelpersError: no other attempt would help.
        """
        if self.error is None:
            return
        if self.error == resp.Refused.__name__:
            refused = resp.Refused(self.text)
            refused.code = self.code
            raise refused
        raise RETRIED.get(self.error, HelpersError)(self.text)


def do(task: Task) -> Outcome:
    """Do a task, and tell how it ended.

    It raises nothing: what a worker raises is written to logs, and an error may hold what it is about.
    """
    began = time.process_time()
    error: str | None = None
    text = code = ""
    found = None
    try:
        found = task.run()
    except HelpersError as fault:
        error, text, code = type(fault).__name__, str(fault), getattr(fault, "code", "")
    except Exception as fault:  # a fault of this package, or an interrupt of its process
        error, text = "HelpersError", f"{task.partition}: {type(fault).__name__}: {first_line(fault)}"
    for secret in (*settings.secrets(task.source_url), *settings.secrets(task.target_url)):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    used = began, time.process_time()
    return Outcome(connections.PROCESS, machine.peak_rss_mb(), *used, error, text, code, found)


@contextlib.contextmanager
def _source(task: Task) -> Iterator[Source]:
    """The snapshot of a task.

    It is kept for the next one where that may be: whoever waits for a table to be unlocked lets nobody pass
    that comes after him, and would be waited for by each further task.
    """
    source = (
        _kept.pop()
        if task.keep and _kept
        else Source(
            task.source_url,
            parse(task.model, "the model of the migration"),
            prefix=task.prefix,
            snapshot=lambda: task.snapshot,
            lanes=1,
        )
    )
    source.plan = source.plan.registering(task.registered)
    try:
        yield source
    except BaseException:
        source.close()
        raise
    if task.keep:
        _kept.append(source)
    else:
        source.close()


@cache
def code_digest() -> str:
    """A digest of the package's modules."""
    found = hashlib.sha256()
    folder = Path(__file__).parent.parent
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]
