"""The job of one call of ``migrate`` or ``follow``: what was asked for, and how far it is."""

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.errors import HelpersError
from helpers.settings import SILENCE_S

if TYPE_CHECKING:  # Dask takes memory and a moment
    from helpers.migration.workers import Workers
    from helpers.model import Model


MOST_WORKERS = 64
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between attempts; counted anew whenever an attempt got further."""
PATIENCE = (
    f"A server that is lost in the middle is tried again {len(BACKOFF_S)} times, with {sum(BACKOFF_S):.0f} s "
    "of waiting between them, counted anew whenever rows got through; one that keeps silent (of PostgreSQL "
    f"the host) counts as lost after {SILENCE_S} s. Then, as after any interruption, the same command goes "
    "on from where it stopped."
)
"""The same in words."""
RESUMES = "the same command goes on from there"
"""What a message says of an interruption."""


def wait_to_retry(failures: int) -> bool:
    """Wait before the next attempt, longer after each failure; at once False when there were too many.

    Args:
        failures: attempts that failed one after the other, at least one.
    """
    if failures > len(BACKOFF_S):
        return False
    time.sleep(BACKOFF_S[failures - 1])
    return True


@dataclass
class Job:
    """One call of ``migrate`` or ``follow``, over all its attempts.

    Attributes:
        source_url: where PostgreSQL is.
        target_url: where Redis is, or a node of a Redis Cluster.
        prefix: stands before every key.
        model: as ``model.load`` takes it; the recorded one, or the course's, when None.
        batch_rows: most rows in a batch.
        restart: an unfinished load is dropped first.
        replace: what an earlier migration wrote is removed first.
        flushdb: the whole database is emptied first.
        verify: every field is compared afterwards.
        progress: progress bars are shown.
        follow: it loads from the snapshot of a replication slot, which it makes.
        workers: processes that load.
        scheduler: address of the Dask scheduler whose workers load instead; None without one.
        name: random, for its lease.
        begun: it held the lease once; what is lost from then on is tried again.
        cleared: what it was to remove is gone.
        resumed: it found an unfinished load; None before it looked.
        rows_now: rows that it loaded.
        load_seconds: what that took in all attempts, with catching up.
        cpu_seconds: processor time of all that loaded, while they did.
        busy: what its last attempt to load ran up against, as ``limits.Limits`` gives it.
        peak_rss_mb: the most memory that another process held which loaded.
        bytes_per_row: estimated memory per row of each table, where memory is limited.
        slot: the replication slot that it made last.
        how_far: how far it is, for messages.
        warnings: what a user should know.
    """

    source_url: str
    target_url: str
    prefix: str
    model: "Model | str | Path | None" = None
    batch_rows: int = 0
    restart: bool = False
    replace: bool = False
    flushdb: bool = False
    verify: bool = True
    progress: bool = True
    follow: bool = False
    workers: int = 1
    scheduler: str | None = None
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    begun: bool = False
    cleared: bool = False
    resumed: bool | None = None
    rows_now: int = 0
    load_seconds: float = 0.0
    cpu_seconds: float = 0.0
    busy: dict[str, float | None] = field(default_factory=lambda: {"redis_busy": None, "cores_busy": None})
    peak_rss_mb: float = 0.0
    bytes_per_row: dict[str, float] = field(default_factory=dict)
    slot: str | None = None
    how_far: str = "nothing was written"
    warnings: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Count the time inside as that of the load, also of an attempt that fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.load_seconds += time.perf_counter() - started

    @property
    def anew(self) -> bool:
        """Whether something is to be removed before it loads."""
        return (self.restart or self.replace or self.flushdb) and not self.cleared


def check_workers(workers: int) -> None:
    """Refuse a number of processes that nobody can mean.

    Raises:
        HelpersError: it is not from 1 to 64.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise HelpersError(f"workers is {workers}; it must be from 1 to {MOST_WORKERS}")


def open_workers(
    workers: int, scheduler: str | None = None
) -> "contextlib.AbstractContextManager[Workers | None]":
    """Those who share the work, to be entered; None for this process alone, which needs no Dask.

    Args:
        workers: how many processes of this machine.
        scheduler: the address of a Dask scheduler elsewhere, whose workers are taken instead.
    """
    if workers == 1 and scheduler is None:
        return contextlib.nullcontext()
    from helpers.migration.workers import Workers

    return Workers(workers, scheduler)
