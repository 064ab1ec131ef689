"""Compare every field, list element, score and key in Redis with PostgreSQL."""

import time
from collections.abc import Callable
from typing import Any

from helpers import model, servers, text
from helpers.migration.findings import Differences
from helpers.migration.walk import Walk
from helpers.progress import bar
from helpers.servers.machine import peak_rss_mb
from helpers.source import slot
from helpers.source.snapshot import Source
from helpers.target import cluster, resp


def verify(
    source: str | None = None, target: str | None = None, *, prefix: str = "", progress: bool = True
) -> dict[str, Any]:
    """What differs between a PostgreSQL database as it is now and its copy in Redis.

    Rows that the model cannot hold are expected to be absent. Keys that are not of the model are not
    looked at.
    Nothing is written to either.

    Args:
        source: PostgreSQL URL; the resolved server when None.
        target: URL of Redis or of a node of a Redis Cluster; the resolved server when None.
        prefix: the prefix of the migration.
        progress: show a progress bar.

    Returns:
        ``rows_checked`` per table, ``differences`` (count), ``by_problem``, ``examples`` (the first 20,
        each with key, field, expected, actual, problem), ``difference_file`` (all of them as JSON lines,
        or None), ``keys_checked`` per kind of key, ``verify_seconds``, ``snapshot``, ``peak_rss_mb``,
        ``left_behind`` (a line for each replication slot that nobody follows).

    Raises:
        HelpersError: a server cannot be reached, or tables are missing.
    """
    with Source(source or servers.url("postgres")) as snapshot:
        connection = cluster.connect(target or servers.url("redis"))
        try:
            result = compare(snapshot, connection, prefix=prefix, progress=progress)
            return result | {"left_behind": slot.warnings(snapshot.ask)}
        finally:
            connection.close()


def compare(
    source: Source,
    connection: resp.Connection,
    *,
    prefix: str,
    progress: bool,
    idle: Callable[[], None] = lambda: None,
    mender: Callable[[list[bytes]], object] | None = None,
) -> dict[str, Any]:
    """``verify`` on a snapshot and a connection that are open already.

    With a mender, which runs commands that put a difference right, this catches up.
    """
    started = time.perf_counter()
    differences = Differences()
    title = "catch up" if mender else "verify"
    with bar(sum(source.counts().values()), title, enabled=progress) as shown:
        walk = Walk(source, connection, prefix, differences, mender=mender, advance=shown.update, idle=idle)
        try:
            walk.run()
        finally:
            differences.close()
    return {
        "rows_checked": {table: walk.rows[table] for table in model.TABLES},
        "keys_checked": {kind: walk.keys[kind] for kind in model.KINDS},
        "differences": differences.count,
        "by_problem": dict(differences.by_problem),
        "examples": differences.examples,
        "difference_file": differences.path,
        "verify_seconds": time.perf_counter() - started,
        "snapshot": source.snapshot,
        "peak_rss_mb": peak_rss_mb(),
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
