"""One run of the migration: what was asked for, and how far it is."""

from dataclasses import dataclass


@dataclass
class Run:
    """One call of ``migrate``, over all its attempts."""

    source_url: str
    target_url: str
    prefix: str
    batch_rows: int
    restart: bool
    replace: bool
    flushdb: bool
    verify: bool
    progress: bool
    token: str | None = None
    begun: bool = False
    resumed: bool = False
    rows_now: int = 0
    load_seconds: float = 0.0
    told: str = "nothing is in the target yet"
