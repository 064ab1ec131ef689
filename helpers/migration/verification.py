"""Compare every field, list element, score and key in Redis with PostgreSQL."""

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import model as models, servers, text
from helpers.errors import HelpersError
from helpers.migration import parallel
from helpers.migration.comparing import Comparison
from helpers.migration.findings import Differences
from helpers.migration.job import check_workers, open_workers
from helpers.migration.refusals import refuse_model
from helpers.model import Model
from helpers.progress import bar
from helpers.servers import machine
from helpers.source import Source, SourceLost, slot
from helpers.target import checkpoint_of, connect, resp, state_key

if TYPE_CHECKING:  # Dask takes memory and a moment
    from helpers.migration.workers import Workers


def verify(
    source: str | None = None,
    target: str | None = None,
    *,
    model: "Model | str | Path | None" = None,
    prefix: str = "",
    workers: int = 1,
    progress: bool = True,
) -> dict[str, Any]:
    """What differs between a PostgreSQL database as it is now and its copy in Redis.

    Rows that the model cannot hold are expected to be absent. Keys that are not of the model are not
    looked at. Nothing is written to either.

    Args:
        source: PostgreSQL URL; the resolved server when None.
        target: URL of Redis or of a node of a Redis Cluster; the resolved server when None.
        model: path of a model, its text, or a ``Model``; when None the one that the migration recorded, or
            the course's where none is recorded.
        prefix: the prefix of the migration.
        workers: processes of this machine that compare, 1 to 64; see ``moving.migrate``.
        progress: show a progress bar.

    Returns:
        ``rows_checked`` per table, ``differences`` (count), ``by_problem``, ``examples`` (the first 20,
        each with key, field, expected, actual, problem), ``difference_file`` (all of them as JSON lines,
        or None), ``keys_checked`` per kind of key, ``verify_seconds``, ``snapshot``, ``peak_rss_mb`` (of the
        largest process), ``left_behind`` (a line for each replication slot that nobody follows).

    Raises:
        HelpersError: a bad option, a server cannot be reached, tables are missing, or the migration was of
            another model than the one that is given.
    """
    check_workers(workers)
    source, given = source or servers.url("postgres"), None if model is None else models.load(model)
    connection = connect(target or servers.url("redis"))
    try:
        state = checkpoint_of(connection, prefix).read()
        recorded = models.parse(state["model"], "the recorded model") if "model" in state else None
        with _opened(source, given or recorded, prefix, state, connection) as snapshot:
            if state:
                refuse_model(snapshot.plan, state, f"redis at {connection.address}")
            with open_workers(workers) as divided:
                result = compare(snapshot, connection, progress=progress, workers=divided)
            return result | {"left_behind": slot.warnings(snapshot.ask)}
    finally:
        connection.close()


def _opened(
    source: str, model: Model | None, prefix: str, state: Mapping[str, str], connection: resp.Connection
) -> Source:
    """The snapshot, where it is known which tables are meant, or the course's are there."""
    try:
        found = Source(source, model, prefix=prefix)
        found.plan = found.plan.registering(models.registered(state))
        return found
    except SourceLost:
        raise
    except HelpersError as error:
        if state or model is not None:
            raise
        key = state_key(prefix, clustered=connection.clustered)
        raise HelpersError(
            f"redis at {connection.address}: no migration was recorded there ({key}); "
            "check the URL, its database number, and --prefix, or give the --model that is meant"
        ) from error


def compare(
    source: Source,
    connection: resp.Connection,
    *,
    progress: bool,
    idle: Callable[[], None] = lambda: None,
    mender: Callable[[list[bytes]], object] | None = None,
    made: Collection[str] = (),
    workers: "Workers | None" = None,
) -> dict[str, Any]:
    """``verify`` on a snapshot and a connection that are open already; with a mender it catches up.

    Args:
        source: the snapshot, with the plan.
        connection: the target.
        progress: show a progress bar.
        idle: called now and then by the thread that uses the connection.
        mender: runs a list of commands in RESP that put differences right; None to look only.
        made: names of registers that are made by this: that they lack elements is no difference.
        workers: processes of this machine that compare; this one alone when None, as it is with a mender.

    Returns:
        What ``verify`` returns, but for ``left_behind``. With a mender ``differences`` were mended.

    Raises:
        resp.Lost, SourceLost, WorkersLost: a server or the processes went away.
        HelpersError: a reply was an error. What ``idle`` or ``mender`` raise goes through.
    """
    started = time.perf_counter()
    differences = Differences()
    title = "catch up" if mender else "verify"
    with bar(sum(source.counts().values()), title, enabled=progress) as shown:
        comparison = Comparison(
            source, connection, differences, mender=mender, made=made, advance=shown.update, idle=idle
        )
        try:
            peak_rss_mb = 0.0
            if workers is None:
                comparison.look(source.plan.partitions({}))
            else:
                peak_rss_mb = parallel.compare(workers, source, connection.url, comparison, idle)
            comparison.finish()
        finally:
            differences.close()
    return {
        "rows_checked": {table: comparison.rows[table] for table in source.plan.tables},
        "keys_checked": {kind.name: comparison.keys[kind.name] for kind in source.plan.kinds},
        "differences": differences.count,
        "by_problem": dict(differences.by_problem),
        "examples": differences.examples,
        "difference_file": differences.path,
        "verify_seconds": time.perf_counter() - started,
        "snapshot": source.snapshot,
        "peak_rss_mb": max(machine.peak_rss_mb(), peak_rss_mb),
    }


def describe(result: dict[str, Any]) -> list[str]:
    """What ``verify`` found, as lines for people."""
    rows = text.rows_of(result["rows_checked"])
    lines = [f"warning: {warning}" for warning in result.get("left_behind", ())]
    lines += [f"checked: {rows} in {text.duration_us(result['verify_seconds'] * 1e6)}"]
    if not result["differences"]:
        return [*lines, "no differences"]
    lines.append(f"{text.plural(result['differences'], 'difference')}, all in {result['difference_file']}")
    for found in result["examples"]:
        field = "" if found["field"] is None else f" {found['field']}"
        lines.append(
            f"  {found['problem']}: {found['key']}{field}: expected {found['expected']!r}, actual "
            f"{found['actual']!r}"
        )
    return lines
