"""One attempt of a run, from the state in the target to the result."""

import contextlib
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from helpers import model, resp, verification
from helpers.progress import bar
from helpers.rss import peak_rss_mb
from helpers.transfer import loading, target
from helpers.transfer.checkpoint import FORMAT, Checkpoint, LeaseLost
from helpers.transfer.differences import Differences
from helpers.transfer.refusals import refuse
from helpers.transfer.rejects import Rejects
from helpers.transfer.run import Run
from helpers.transfer.source import Source
from helpers.transfer.walk import Walk


def attempt(run: Run) -> dict[str, Any]:
    """One attempt, from the state in the target to the result."""
    with Source(run.source_url) as source, contextlib.closing(resp.Connection(run.target_url)) as connection:
        fitness = target.inspect(connection)
        checkpoint = Checkpoint(connection, run.prefix)
        if not run.begun:
            refuse(run, source, connection, checkpoint)
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
    rows, rejects = source.counts(), Rejects()
    if reconcile or rows != progress.table_rows():
        rejects.collect(source, checkpoint.renew_when_due)
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
    done = sum(progress.table_rows().values())
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
