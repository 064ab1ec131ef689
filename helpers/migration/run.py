"""One run of the migration: what was asked for, and how far it is."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from helpers.settings import SILENCE_S


@dataclass
class Run:
    """One call of ``migrate`` or ``follow``, over all its attempts.

    Attributes:
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
        peak_rss_mb: the most memory that another process held which loaded.
        bytes_per_row: estimated memory per row of each table, where memory is limited.
        slot: the replication slot that it made last.
        told: how far it is, for messages.
        warnings: what a user should know.
    """

    source_url: str
    target_url: str
    prefix: str
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
    peak_rss_mb: float = 0.0
    bytes_per_row: dict[str, float] = field(default_factory=dict)
    slot: str | None = None
    told: str = "nothing was written"
    warnings: list[str] = field(default_factory=list)

    @contextmanager
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


BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between attempts; counted anew whenever an attempt got further."""
PATIENCE = (
    f"A server that is lost in the middle is tried again {len(BACKOFF_S)} times, with {sum(BACKOFF_S):.0f} s "
    "of waiting between them, counted anew whenever rows got through; one that keeps silent (of PostgreSQL "
    f"the host) counts as lost after {SILENCE_S} s. Then, as after any interruption, the same command goes "
    "on from where it stopped."
)
"""The same in words."""
