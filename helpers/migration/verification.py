"""Compare every field, list element, score and key in Redis with PostgreSQL.

What should be there is computed by another way than the writer's (``expected_replies``). Whole windows are
compared byte by byte, and only what differs is looked at (``inspector``).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from helpers import model, servers, text
from helpers.columns import Strings, joined
from helpers.migration import expected_replies
from helpers.migration.expected_replies import Collections, Expectations
from helpers.migration.findings import Differences
from helpers.migration.inspector import Inspector
from helpers.migration.threads import Conveyor, side_by_side
from helpers.model import HASHED, KEPT
from helpers.progress import bar
from helpers.servers import machine
from helpers.source import Source, copybinary, slot
from helpers.target import connect, encode, keyspace, resp

WINDOW_ROWS = 20_000
REQUIRED_BY = {
    "user": ("users", "user_id", ""),
    "product": ("products", "product_id", ""),
    "order": ("orders", "order_id", ""),
    "user_activities": ("activities", "user_id", ""),
    "user_activities_by_time": ("activities", "user_id", ""),
    "user_orders": ("orders", "user_id", " AND order_date IS NOT NULL"),
    "product_orders": ("orders", "product_id", " AND order_date IS NOT NULL"),
}
"""Of each kind of key: the table and column whose rows require it, and on what condition."""


def verify(
    source: str | None = None, target: str | None = None, *, prefix: str = "", progress: bool = True
) -> dict[str, Any]:
    """What differs between a PostgreSQL database as it is now and its copy in Redis.

    Rows that the model cannot hold are expected to be absent. Keys that are not of the model are not
    looked at. Nothing is written to either.

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
        connection = connect(target or servers.url("redis"))
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
    """``verify`` on a snapshot and a connection that are open already; with a mender it catches up.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration.
        progress: show a progress bar.
        idle: called now and then by the thread that uses the connection.
        mender: runs a list of commands in RESP that put differences right; None to look only.

    Returns:
        What ``verify`` returns, but for ``left_behind``. With a mender ``differences`` were mended.

    Raises:
        resp.Lost, SourceLost: a server went away.
        HelpersError: a reply was an error. What ``idle`` or ``mender`` raise goes through.
    """
    started = time.perf_counter()
    differences = Differences()
    title = "catch up" if mender else "verify"
    with bar(sum(source.counts().values()), title, enabled=progress) as shown:
        comparison = Comparison(
            source, connection, prefix, differences, mender=mender, advance=shown.update, idle=idle
        )
        try:
            comparison.run()
        finally:
            differences.close()
    return {
        "rows_checked": {table: comparison.rows[table] for table in model.TABLES},
        "keys_checked": {kind: comparison.keys[kind] for kind in model.KINDS},
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


class Comparison:
    """Compares one snapshot with one target.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration.
        differences: where each difference is noted.
        mender: runs commands that put a difference right; None to look only.
        advance: told how many rows were compared, for a progress bar.
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
        """Compare hashes and collections, then look for keys that should not be there.

        Raises:
            resp.Lost, SourceLost: a server went away.
        """
        prefix = self._prefix.encode()
        *references, activities = expected_replies.collections(prefix)

        def first_lane() -> None:
            for table in HASHED:
                rows = self._stream(
                    conveyor,
                    expected_replies.HASH_QUERIES[table],
                    len(model.COLUMNS[table]),
                    lambda columns, table=table: expected_replies.hashes(table, columns, prefix),  # type: ignore[misc]
                )
                self.rows[table] = self.keys[table[:-1]] = rows
            for collections in references:
                self._collections(conveyor, collections)

        def second_lane() -> None:
            self.rows["activities"] = self._collections(conveyor, activities)

        with Conveyor(self._ask, self._idle) as conveyor:
            # While PostgreSQL puts the activities in order, the others go.
            side_by_side([first_lane, second_lane], conveyor.abandon, self._source.cancel)
        find_extra_keys(self._source, self._connection, self._prefix, self.keys, self._inspector, self._idle)

    def _collections(self, conveyor: Conveyor[Expectations], collections: Collections) -> int:
        rows = self._stream(conveyor, collections.query, 4 if collections.listed else 3, collections.window)
        conveyor.put(collections.end())
        self.keys.update(dict.fromkeys(collections.kinds, collections.owners))
        return rows

    def _stream(
        self,
        conveyor: Conveyor[Expectations],
        query: str,
        width: int,
        expect: Callable[[list[Strings]], Expectations],
    ) -> int:
        """Stream a query and give the conveyor what to expect of every few thousand rows.

        Args:
            conveyor: to the thread that asks Redis.
            query: the rows.
            width: how many columns they have.
            expect: what to expect of some rows, given as columns.

        Returns:
            How many rows there were.
        """
        reader = copybinary.Reader(width)
        total = 0

        def take(chunk: bytes) -> None:
            nonlocal total
            columns = reader.columns(chunk)
            for start in range(0, len(columns[0]), WINDOW_ROWS):
                conveyor.put(expect([column[start : start + WINDOW_ROWS] for column in columns]))
            total += len(columns[0])

        self._source.chunks(query, take, binary=True)
        return total

    def _ask(self, asked: Expectations) -> None:
        self._idle()
        replies = self._connection.unexpected_replies(asked.commands, asked.replies)
        if replies is not None:
            self._inspector.inspect(joined(asked.commands), joined(asked.replies), replies)
        self._advance(asked.rows)


def find_extra_keys(
    source: Source,
    connection: resp.Connection,
    prefix: str,
    wanted: Mapping[str, int],
    inspector: Inspector,
    idle: Callable[[], None],
) -> None:
    """Find the keys that are too many, after each that there should be was looked at.

    Where none was missing and the database holds as many keys as it should, there can be no other. Where it
    holds more, they may be another program's: then the model's keys are counted by kind, and where that does
    not agree, or keys were missing, those too many are found.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration.
        wanted: how many keys of each kind there should be.
        inspector: told of every key that was missing; it notes and mends those that are too many.
        idle: called now and then.
    """
    if not inspector.missing:
        if keyspace.holds_only(connection, prefix, sum(wanted.values())):
            return
        found = keyspace.count(connection, prefix)
        if all(found[kind] == wanted[kind] for kind in model.KINDS):
            return
    seen: set[bytes] = set()
    for keys in keyspace.scan(connection, prefix):
        idle()
        by_kind: dict[str, dict[int, bytes]] = {}
        for kind, key in keys:
            by_kind.setdefault(kind, {})[model.key_id(key, prefix)] = key
        for kind, by_id in by_kind.items():
            for number in by_id.keys() - _existing(source, kind, by_id):
                key = by_id[number]
                if key not in seen:  # SCAN may give a key twice
                    seen.add(key)
                    held = connection.call("TYPE", key)
                    if held == b"none":  # gone since; or left behind on a node that its slot has left
                        continue
                    inspector.note(key, None, None, held, "extra key", encode("UNLINK", key))
        inspector.mend()


def _existing(source: Source, kind: str, ids: Iterable[int]) -> set[int]:
    """Those of the numbers for which the snapshot requires a key of that kind."""
    table, column, more = REQUIRED_BY[kind]
    rows = source.ask(
        f"SELECT n FROM unnest(%s::int8[]) n WHERE EXISTS (SELECT FROM {table} WHERE {column} = n AND "
        f"{KEPT[table]}{more})",
        ([number for number in ids if -(2**63) <= number < 2**63],),
    )
    return {row[0] for row in rows}
