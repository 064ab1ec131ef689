"""The walk: every row of the source's snapshot, against what the target holds for it.

The replies that Redis must give are computed as bytes and compared whole; only where they differ are they
parsed and looked at one by one. With a mender, what differs is put right; that is how a migration catches up
with a source that changed.
"""

from collections import Counter
from collections.abc import Callable

from helpers import model
from helpers.columns import Strings, joined
from helpers.migration import expected, strays
from helpers.migration.expected import Collections, Questions
from helpers.migration.findings import Differences
from helpers.migration.inspector import Inspector
from helpers.migration.threads import Conveyor, side_by_side
from helpers.model.streams import HASHED
from helpers.source import copybinary
from helpers.source.snapshot import Source
from helpers.target import resp

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
