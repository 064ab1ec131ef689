"""Move the four tables from PostgreSQL to Redis: exactly once, resumable, and verified field by field."""

import time
from typing import Any

from helpers import resp, servers, text, verification
from helpers.errors import HelpersError
from helpers.transfer import loading
from helpers.transfer.attempt import attempt
from helpers.transfer.checkpoint import LeaseLost
from helpers.transfer.plan import plan
from helpers.transfer.run import Run
from helpers.transfer.source import SourceLost

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between attempts; counted anew whenever an attempt got further."""
MOST_BATCH_ROWS = 100_000


def migrate(
    source: str | None = None,
    target: str | None = None,
    *,
    batch_rows: int | None = None,
    workers: int = 1,
    dry_run: bool = False,
    restart: bool = False,
    replace: bool = False,
    flushdb: bool = False,
    verify: bool = True,
    prefix: str = "",
    progress: bool = True,
) -> dict[str, Any]:
    """Bring Redis to hold what one snapshot of PostgreSQL holds, then verify it.

    The first call loads. Called again after an interruption it goes on from the last committed batch;
    called again on a target it has filled, or when the source changed in between, it brings the target up
    to date.

    Args:
        source: PostgreSQL URL; the resolved server when None. It is only read.
        target: Redis URL; the resolved server when None.
        batch_rows: most rows in a batch, 1 to 100,000.
        workers: processes that load; only 1 is built.
        dry_run: say what would be done; write nothing that stays.
        restart: drop an unfinished load and begin anew.
        replace: remove what an earlier migration wrote (and only that), then load anew.
        flushdb: empty the whole Redis database first, foreign keys too.
        verify: compare every field afterwards.
        prefix: stands before every key.
        progress: show progress bars.

    Returns:
        ``status`` (``verified``, ``different``, ``loaded, not verified``, or ``dry run``), ``rows_read`` and
        ``rows_rejected`` per table, ``rejects_by_reason``, ``reject_file`` (JSON lines, or None),
        ``resumed``, ``rows_loaded_now``, ``load_seconds``, ``rows_per_second`` (of this call's load),
        ``caught_up`` (corrections by problem), ``snapshot``, ``checkpoint``, ``warnings``,
        ``peak_rss_mb``, and those of ``verification.verify`` (``verify_seconds`` and ``differences`` are
        None when it was left out).

    Raises:
        HelpersError: a bad option, an unreachable server, or a refusal; the message says how far it is.
    """
    if batch_rows is not None and not 1 <= batch_rows <= MOST_BATCH_ROWS:
        raise HelpersError(f"batch_rows is {batch_rows}; it must be from 1 to {MOST_BATCH_ROWS:,}")
    if workers != 1:
        raise HelpersError(
            f"workers is {workers}; only 1 is built: Redis executes commands in one thread, which one "
            "process fills"
        )
    run = Run(
        source_url=source or servers.url("postgres"),
        target_url=target or servers.url("redis"),
        prefix=prefix,
        batch_rows=batch_rows or loading.BATCH_ROWS,
        restart=restart,
        replace=replace,
        flushdb=flushdb,
        verify=verify,
        progress=progress,
    )
    if dry_run:
        return plan(run)
    failures = 0
    while True:
        before = run.rows_now
        try:
            return attempt(run)
        except (resp.Lost, SourceLost, LeaseLost) as error:
            failures = 1 if run.rows_now > before else failures + 1
            if not run.begun or failures > len(BACKOFF_S):
                if not run.begun:
                    raise
                raise HelpersError(f"{error}; {run.told}, the same command goes on from there") from error
            time.sleep(BACKOFF_S[failures - 1])
        except resp.Refused as error:
            raise HelpersError(f"{error}; {run.told}") from error


def describe(result: dict[str, Any]) -> list[str]:
    """What ``migrate`` did, as lines for people."""
    rows = text.join([f"{text.count(number)} {table}" for table, number in result["rows_read"].items()])
    lines = [f"warning: {warning}" for warning in result["warnings"]]
    if result["status"] == "dry run":
        memory = result["memory_bytes"]
        lines += [
            f"would {result['would']}: {rows}",
            f"estimated: {text.size_bytes(memory) if memory else 'unknown'} in Redis, "
            f"{text.duration_us(result['load_seconds_estimated'] * 1e6)}",
        ]
    else:
        lines.append(
            f"{'resumed, ' if result['resumed'] else ''}read: {rows}; "
            f"{text.count(result['rows_loaded_now'])} rows loaded now in "
            f"{text.duration_us(result['load_seconds'] * 1e6)} ({text.count(result['rows_per_second'])} "
            "rows/s)"
        )
    if result.get("caught_up"):
        found = text.join([f"{text.count(n)} × {problem}" for problem, n in result["caught_up"].items()])
        lines.append(f"caught up: {found}")
    rejected = sum(result["rows_rejected"].values())
    if rejected:
        reasons = text.join([f"{text.count(n)} × {name}" for name, n in result["rejects_by_reason"].items()])
        lines.append(f"rejected: {text.plural(rejected, 'row')} ({reasons}), all in {result['reject_file']}")
    if result["status"] == "loaded, not verified":
        lines.append("loaded, not verified")
    elif result["status"] != "dry run":
        lines += verification.describe(result)
    return lines
