"""One snapshot compared with one target, as a whole or in partitions.

What should be there is computed by another way than the writer's (``expected_replies``). Whole windows are
compared byte by byte, and only what differs is looked at (``inspector``).
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from helpers.columns import Strings, joined
from helpers.migration import expected_replies
from helpers.migration.expected_replies import Expectations, Question
from helpers.migration.findings import Differences
from helpers.migration.inspector import Inspector
from helpers.migration.required import required_keys
from helpers.migration.threads import Conveyor, side_by_side
from helpers.model import KeyKind, Partition, Plan
from helpers.source import Source, copybinary
from helpers.target import encode, keyspace, resp

WINDOW_ROWS = 20_000
ASKED_KEYS = 20_000
"""About how many keys of a kind the snapshot is asked for at once, whether it requires them."""


@dataclass(frozen=True)
class Compared:
    """What became of a comparison of some rows, as another process tells of it.

    Attributes:
        rows: of each table that were compared.
        keys: of each kind that there should be.
        missing: how many keys were not there.
        differences: the path of the file that holds them; None where there are none.
    """

    rows: Mapping[str, int]
    keys: Mapping[str, int]
    missing: int
    differences: str | None


class Comparison:
    """Compares one snapshot with one target.

    Args:
        source: the snapshot.
        connection: the target.
        differences: where each difference is noted.
        mender: runs commands that put a difference right; None to look only.
        made: names of registers that are made by this.
        advance: told how many rows were compared, for a progress bar.
        idle: called now and then while PostgreSQL sorts.
        window_rows: how many rows Redis is asked about at once; ``WINDOW_ROWS`` when None.

    Attributes:
        rows: rows of each table that were compared.
        keys: keys of each kind that there should be.
    """

    def __init__(
        self,
        source: Source,
        connection: resp.Connection,
        differences: Differences,
        *,
        mender: Callable[[list[bytes]], object] | None = None,
        made: Collection[str] = (),
        advance: Callable[[int], object] = lambda rows: None,
        idle: Callable[[], None] = lambda: None,
        window_rows: int | None = None,
    ) -> None:
        self._source, self._connection = source, connection
        self._window_rows = window_rows or WINDOW_ROWS
        self._advance, self._idle, self._differences = advance, idle, differences
        self._inspector = Inspector(source, connection, source.plan, differences, mender, made)
        self.rows: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()

    def look(self, partitions: Sequence[Partition]) -> None:
        """Compare the rows of some partitions.

        Args:
            partitions: in any order.

        Raises:
            resp.Lost, SourceLost: a server went away.
        """
        waiting = deque(partitions)

        def lane(take: Callable[[], Partition]) -> None:
            while waiting:
                try:
                    partition = take()
                except IndexError:  # the other lane was quicker
                    return
                question = expected_replies.question(partition, self._source.plan.prefix)
                rows = self._stream(conveyor, question)
                if question.stream.counts:
                    self.rows[question.stream.table.name] += rows
                self.keys.update(question.keys)

        with Conveyor(self._ask, self._idle) as conveyor:
            # While PostgreSQL puts what comes last in order, which may be long, the others go.
            lanes = [lambda: lane(waiting.popleft), lambda: lane(waiting.pop)]
            side_by_side(lanes, conveyor.abandon, self._source.cancel)

    @property
    def compared(self) -> Compared:
        """What became of it so far, to be told to another process."""
        return Compared(dict(self.rows), dict(self.keys), self._inspector.missing, self._differences.path)

    def add(self, compared: Compared) -> None:
        """Take over what another process compared."""
        self.rows.update(compared.rows)
        self.keys.update(compared.keys)
        self._inspector.missing += compared.missing
        if compared.differences:
            self._differences.add_file(compared.differences)

    def advance(self, rows: int) -> None:
        """Tell the progress bar of rows that another process compared."""
        self._advance(rows)

    def finish(self) -> None:
        """Look for keys that should not be there, once each that should be there was looked at.

        Raises:
            resp.Lost, SourceLost: a server went away.
        """
        find_extra_keys(self._source, self._connection, self.keys, self._inspector, self._idle)
        find_expiring(self._source.plan, self._connection, self._inspector, self._idle)

    def _stream(self, conveyor: Conveyor[Expectations], question: Question) -> int:
        """Read the rows of a stream and give the conveyor what to expect of every few thousand of them.

        Where the connection is lost, it goes on from behind the last row, as long as the snapshot is there.

        Args:
            conveyor: to the thread that asks Redis.
            question: the rows, and what to ask about them.

        Returns:
            How many rows there were.
        """
        last: list[Strings] | None = None
        total = 0

        def position() -> list[str] | None:
            return None if last is None else question.position(last)

        def attempt() -> None:
            reader = copybinary.Reader(question.width)

            def take(chunk: bytes) -> None:
                nonlocal last, total
                columns = reader.columns(chunk)
                for start in range(0, len(columns[0]), self._window_rows):
                    window = [column[start : start + self._window_rows] for column in columns]
                    conveyor.put(question.window(window))
                    last = [column[-1:] for column in window]
                    total += len(window[0])

            self._source.chunks(question.query(position()), take, binary=True)

        self._source.keep_reading(attempt, position)
        conveyor.put(question.end())
        return total

    def _ask(self, asked: Expectations) -> None:
        self._idle()
        replies = self._connection.unexpected_replies(asked.commands, asked.replies)
        if replies is not None:
            self._inspector.inspect(joined(asked.commands), joined(asked.replies), replies)
        self._advance(asked.rows)


def find_expiring(
    plan: Plan, connection: resp.Connection, inspector: Inspector, idle: Callable[[], None]
) -> None:
    """Find keys, and fields of hashes, that Redis would remove by itself: no row of the source ends so.

    Args:
        plan: of the migration.
        connection: the target.
        inspector: notes and mends them.
        idle: called now and then.
    """
    keys, fields = keyspace.expiring(connection, plan)
    if not keys and not fields:
        return
    kinds, seen = {kind.name: kind for kind in plan.written}, set()
    for found in keyspace.scan(connection, plan):
        idle()
        asked: list[tuple[bytes, bytes | None, bytes]]
        asked = [(key, None, encode("PTTL", key)) for _, key in found]
        for name, key in found if fields else ():
            for field, _ in kinds[name].fields if kinds[name].type == "hash" else ():
                asked.append((key, field.encode(), encode("HPTTL", key, "FIELDS", 1, field)))
        replies = connection.ask(*(command for _, _, command in asked), doing="verify")
        for (key, part, _), reply in zip(asked, replies, strict=True):
            left = reply[0] if isinstance(reply, list) else reply
            if left < 0 or (key, part) in seen:  # SCAN may give a key twice
                continue
            seen.add((key, part))
            last = encode("PERSIST", key) if part is None else encode("HPERSIST", key, "FIELDS", 1, part)
            what = "expiring key" if part is None else "expiring field"
            inspector.note(key, part, "no expiry", f"{left} ms left", what, last)
        inspector.mend()


def find_extra_keys(
    source: Source,
    connection: resp.Connection,
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
        wanted: how many keys of each kind there should be.
        inspector: told of every key that was missing; it notes and mends those that are too many.
        idle: called now and then.
    """
    plan = source.plan
    if not inspector.missing:
        if keyspace.holds_only(connection, plan, sum(wanted.values())):
            return
        found = keyspace.count(connection, plan)
        if all(found[kind.name] == wanted[kind.name] for kind in plan.written):
            return
    seen: set[bytes] = set()
    waiting: dict[str, list[bytes]] = defaultdict(list)

    def judge(kind: KeyKind, keys: list[bytes]) -> None:
        right = required_keys(source, plan, kind, keys)
        for key in keys:
            if key not in right and key not in seen:  # SCAN may give a key twice
                seen.add(key)
                held = connection.call("TYPE", key)
                if held == b"none":  # gone since; or left behind on a node that its slot has left
                    continue
                inspector.note(key, None, None, held, "extra key", encode("UNLINK", key))
        inspector.mend()

    kinds = {kind.name: kind for kind in plan.written}
    for keys in keyspace.scan(connection, plan):
        idle()
        for name, key in keys:
            waiting[name].append(key)
        for name in [name for name, some in waiting.items() if len(some) >= ASKED_KEYS]:
            judge(kinds[name], waiting.pop(name))
    for name, some in waiting.items():
        judge(kinds[name], some)
