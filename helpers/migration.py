"""Move the four tables from PostgreSQL to Redis: exactly once, resumable, and verified field by field."""

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from helpers import model, resp, servers, text, verification
from helpers.errors import HelpersError
from helpers.progress import bar
from helpers.rss import peak_rss_mb
from helpers.transfer import estimation, loading, target
from helpers.transfer.checkpoint import FORMAT, Checkpoint, LeaseLost
from helpers.transfer.differences import Differences
from helpers.transfer.rejects import Rejects
from helpers.transfer.source import Source, SourceLost
from helpers.transfer.walk import Walk

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between attempts; counted anew whenever an attempt got further."""
MOST_BATCH_ROWS = 100_000


@dataclass
class Run:
    """One call of ``migrate``: what was asked for, and what was found and done so far."""

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
        return _dry_run(run)
    failures = 0
    while True:
        before = run.rows_now
        try:
            return _attempt(run)
        except (resp.Lost, SourceLost, LeaseLost) as error:
            failures = 1 if run.rows_now > before else failures + 1
            if not run.begun or failures > len(BACKOFF_S):
                if not run.begun:
                    raise
                raise HelpersError(f"{error}; {run.told}, the same command goes on from there") from error
            time.sleep(BACKOFF_S[failures - 1])
        except resp.Refused as error:
            raise HelpersError(f"{error}; {run.told}") from error


def _attempt(run: Run) -> dict[str, Any]:
    """One attempt, from the state in the target to the result."""
    with Source(run.source_url) as source, contextlib.closing(resp.Connection(run.target_url)) as connection:
        fitness = target.inspect(connection)
        checkpoint = Checkpoint(connection, run.prefix)
        if not run.begun:
            _refuse(run, source, connection, checkpoint)
        checkpoint.acquire(run.token)
        run.token = checkpoint.token
        try:
            result = _bring(run, source, connection, checkpoint)
        except BaseException as error:
            if not isinstance(error, (resp.Lost, LeaseLost)):
                checkpoint.release()
            raise
        checkpoint.release()
        return {**result, "warnings": fitness.warnings}


def _refuse(run: Run, source: Source, connection: resp.Connection, checkpoint: Checkpoint) -> None:
    """Stop before anything is written, when something there is not ours to change."""
    where = f"redis at {connection.address}"
    if not any(source.ask(f"SELECT EXISTS (SELECT FROM {t})")[0][0] for t in model.TABLES):
        raise HelpersError(
            f"postgres at {source.address}: all four tables are empty; check the URL, or fill them with "
            "`python -m helpers populate`"
        )
    state = checkpoint.read()
    if run.flushdb:
        return
    if not state:
        _refuse_foreign_keys(run, connection)
    elif state.get("format") != FORMAT:
        raise HelpersError(
            f"{where}: {checkpoint.key.decode()} is of format {state.get('format')!r}, not {FORMAT!r}; "
            "it was written by another version: use that one, or another --prefix"
        )
    elif state.get("source") != source.identity and not run.replace:
        raise HelpersError(
            f"{where}: holds a migration of another source ({state.get('source')}, not {source.identity}); "
            "use another --prefix, or --replace to remove it"
        )


def _refuse_foreign_keys(run: Run, connection: resp.Connection) -> None:
    for found in target.scan(connection, run.prefix):
        names = text.join([_printable(key) for _, key in found[:3]])
        raise HelpersError(
            f"redis at {connection.address}: holds keys of the model that no migration wrote (such as "
            f"{names}); "
            "use another --prefix or database, or remove them"
            + ("; --replace removes only what a migration recorded here" if run.replace else "")
        )


def _printable(key: bytes) -> str:
    """A key as one word for a message."""
    return key.decode("utf-8", "backslashreplace")


def _bring(run: Run, source: Source, connection: resp.Connection, checkpoint: Checkpoint) -> dict[str, Any]:
    """With the lease held: begin or resume, load, catch up, verify."""
    state = checkpoint.read()
    anew = not run.begun and (run.restart or run.replace or run.flushdb)
    if (state and (anew or state.get("status") == "removing")) or (anew and run.flushdb):
        state = _remove(run, connection, checkpoint)
    if not state:
        checkpoint.commit(state=_first_state(source))
        state = checkpoint.read()
    elif not run.begun:
        run.resumed = state["status"] != "complete"
    run.begun = True
    started = time.perf_counter()
    progress = loading.Progress(state)
    was_complete = state["status"] == "complete"
    changed = state.get("changed") == "1" or state["snapshot"] != source.snapshot
    reconcile = was_complete or changed or state["status"] == "reconciling"
    if changed and state.get("changed") != "1" and not was_complete:
        checkpoint.commit(state={"changed": "1"})
    if state["status"] == "loading":
        _load(run, source, checkpoint, progress)
    caught_up: Counter[str] = Counter()
    if reconcile:
        checkpoint.commit(state={"status": "reconciling"})
        caught_up = _reconcile(run, source, connection, checkpoint)
    rejects = Rejects()
    if reconcile or progress.rejected():
        rejects.collect(source, checkpoint.renew_when_due)
    rows = source.counts() if reconcile else progress.table_rows()
    checkpoint.commit(
        state={
            "status": "complete",
            "changed": "0",
            "snapshot": source.snapshot,
            "finished": _now(),
        }
    )
    run.load_seconds += time.perf_counter() - started
    result: dict[str, Any] = {
        "status": "loaded, not verified",
        "rows_read": rows,
        "rows_rejected": {table: sum(rejects.counts[table].values()) for table in model.TABLES},
        "rejects_by_reason": dict(sum(rejects.counts.values(), Counter())),
        "reject_file": rejects.path,
        "resumed": run.resumed,
        "rows_loaded_now": run.rows_now,
        "load_seconds": run.load_seconds,
        "rows_per_second": run.rows_now / run.load_seconds if run.rows_now else 0.0,
        "caught_up": dict(caught_up),
        "snapshot": source.snapshot,
        "checkpoint": checkpoint.key.decode(),
        "verify_seconds": None,
        "differences": None,
    }
    if run.verify:
        checked = verification.compare(
            source, connection, prefix=run.prefix, progress=run.progress, idle=checkpoint.renew_when_due
        )
        result |= checked
        result["status"] = "different" if checked["differences"] else "verified"
    return result | {"peak_rss_mb": peak_rss_mb()}


def _first_state(source: Source) -> dict[str, str]:
    return {
        "format": FORMAT,
        "source": source.identity,
        "snapshot": source.snapshot,
        "status": "loading",
        "changed": "0",
        "started": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _remove(run: Run, connection: resp.Connection, checkpoint: Checkpoint) -> dict[str, str]:
    """Take away what an earlier migration wrote here; the state says so until it is done."""
    if run.flushdb and not run.begun:
        checkpoint.commit(
            resp.encode("FLUSHDB") + resp.encode("SET", checkpoint.lease, checkpoint.token, "PX", 15_000),
            2,
        )
        return {}
    checkpoint.commit(state={"status": "removing"})
    target.remove(connection, run.prefix, checkpoint.commit)
    checkpoint.commit(resp.encode("DEL", checkpoint.key), 1)
    return {}


def _load(run: Run, source: Source, checkpoint: Checkpoint, progress: loading.Progress) -> None:
    counts = source.counts()
    done = sum(progress.rows.values())
    with bar(sum(counts.values()), "migrate", enabled=run.progress) as shown:
        shown.update(done)

        def advance(rows: int) -> None:
            shown.update(rows)
            run.rows_now += rows
            run.told = progress.told()

        run.told = progress.told()
        loading.load(
            source, checkpoint, progress, prefix=run.prefix, batch_rows=run.batch_rows, advance=advance
        )


def _reconcile(run: Run, source: Source, connection: resp.Connection, checkpoint: Checkpoint) -> Counter[str]:
    """Put right whatever differs between target and snapshot; what that was, by problem."""
    differences = Differences()
    with bar(sum(source.counts().values()), "catch up", enabled=run.progress) as shown:
        walk = Walk(
            source,
            connection,
            run.prefix,
            differences,
            mender=lambda commands: checkpoint.commit(b"".join(commands), len(commands), doing="catch up"),
            advance=shown.update,
            idle=checkpoint.renew_when_due,
        )
        try:
            walk.run()
        finally:
            differences.close()
    return differences.by_problem


def _dry_run(run: Run) -> dict[str, Any]:
    """What a migration would do, without doing it."""
    with Source(run.source_url) as source, contextlib.closing(resp.Connection(run.target_url)) as connection:
        fitness = target.inspect(connection)
        checkpoint = Checkpoint(connection, run.prefix)
        _refuse(run, source, connection, checkpoint)
        state = checkpoint.read()
        rejects = Rejects().collect(source)
        rows = source.counts()
        estimate = estimation.estimate(source, connection, run.prefix, rows)
        warnings = list(fitness.warnings)
        free = fitness.limit_bytes - fitness.used_bytes
        if fitness.limit_bytes and estimate["memory_bytes"] and estimate["memory_bytes"] > free:
            warnings.append(
                f"about {text.size_bytes(estimate['memory_bytes'])} are needed and "
                f"{text.size_bytes(max(free, 0))} "
                "are left below maxmemory"
            )
        return {
            "status": "dry run",
            "would": "catch up" if state.get("status") == "complete" else "resume" if state else "load",
            "rows_read": rows,
            "rows_rejected": {table: sum(rejects.counts[table].values()) for table in model.TABLES},
            "rejects_by_reason": dict(sum(rejects.counts.values(), Counter())),
            "reject_file": rejects.path,
            **estimate,
            "snapshot": source.snapshot,
            "warnings": warnings,
            "resumed": False,
            "differences": None,
            "peak_rss_mb": peak_rss_mb(),
        }


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
