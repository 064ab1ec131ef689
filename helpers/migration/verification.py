"""Compare every field, list element, score and key in Redis with PostgreSQL."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from helpers import model, servers, text
from helpers.columns import Strings, joined
from helpers.migration import expected, strays
from helpers.migration.expected import Collections, Questions
from helpers.migration.findings import Differences
from helpers.migration.inspector import Inspector
from helpers.migration.threads import Conveyor, side_by_side
from helpers.model import HASHED
from helpers.progress import bar
from helpers.servers import machine
from helpers.source import Source, copybinary, slot
from helpers.target import cluster, resp

WINDOW_ROWS = 20_000


class Walk:
    """Compares one snapshot with one target.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration.
        differences: where each difference is noted.
        mender: runs commands that put a difference right; None to look only.
        advance: told how many rows were walked, for a progress bar.
        idle: called now and then while PostgreSQL sorts.

    Attributes:
        rows: rows of each table that were compared.
        keys: keys of each kind that there should be.
    """

    def __init__(
        self,
        source: Source,
        connection: resp.Connection,
        prefix: str,
        differences: Differences,
        *,
        mender: Callable[[list[bytes]], object] | None = None,
        advance: Callable[[int], object] = lambda rows: None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._source, self._connection, self._prefix = source, connection, prefix
        self._advance, self._idle = advance, idle
        self._inspector = Inspector(source, connection, prefix, differences, mender)
        self.rows: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()

    def run(self) -> None:
        """Walk hashes, collections, and the keys that should not be there."""
        prefix = self._prefix.encode()
        *references, activities = expected.collections(prefix)

        def first_lane() -> None:
            for table in HASHED:
                rows = self._stream(
                    conveyor,
                    expected.HASH_QUERIES[table],
                    len(model.COLUMNS[table]),
                    lambda columns, table=table: expected.hashes(table, columns, prefix),  # type: ignore[misc]
                )
                self.rows[table] = self.keys[table[:-1]] = rows
            for collections in references:
                self._collections(conveyor, collections)

        def second_lane() -> None:
            self.rows["activities"] = self._collections(conveyor, activities)

        with Conveyor(self._compare, self._idle) as conveyor:
            # While PostgreSQL puts the activities in order, the others go.
            side_by_side([first_lane, second_lane], conveyor.abandon, self._source.cancel)
        strays.look(self._source, self._connection, self._prefix, self.keys, self._inspector, self._idle)

    def _collections(self, conveyor: Conveyor[Questions], collections: Collections) -> int:
        rows = self._stream(conveyor, collections.query, 4 if collections.listed else 3, collections.window)
        conveyor.put(collections.end())
        self.keys.update(dict.fromkeys(collections.kinds, collections.owners))
        return rows

    def _stream(
        self,
        conveyor: Conveyor[Questions],
        query: str,
        width: int,
        ask: Callable[[list[Strings]], Questions],
    ) -> int:
        """Stream a query and put questions about every few thousand rows; how many rows these were."""
        reader = copybinary.Reader(width)
        total = 0

        def take(piece: bytes) -> None:
            nonlocal total
            columns = reader.columns(piece)
            for start in range(0, len(columns[0]), WINDOW_ROWS):
                conveyor.put(ask([column[start : start + WINDOW_ROWS] for column in columns]))
            total += len(columns[0])

        self._source.chunks(query, take, binary=True)
        return total

    def _compare(self, asked: Questions) -> None:
        self._idle()
        replies = self._connection.unlike(asked.commands, asked.answers)
        if replies is not None:
            self._inspector.inspect(joined(asked.commands), joined(asked.answers), replies)
        self._advance(asked.rows)


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
        "peak_rss_mb": machine.peak_rss_mb(),
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
