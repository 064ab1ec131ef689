"""What changes of rows come to in Redis: from old and new rows to calls of a script.

Redis holds for a row what the model says, or nothing when the row is rejected. So an update takes away what
the old row had there and puts what the new one has; which of both is nothing does not matter. Of several
changes only what they come to counts: a row that came and went leaves nothing to do, and of a key or member
that one row leaves and another takes only what the other has there.

The place of a row in a list is the number of rows before it. A sorted set tells it, which only Redis knows at
the moment of writing, hence a script; or the list has a register, in which it was looked for before
(``places``), and the script makes sure that what leaves is there. The script also answers for the whole: the
position is written only when everything else was, because ``EXEC`` goes on after an error.

In a cluster no script sees a sorted set and the lists beside it, so that its places are looked for before as
well (``ranks``), and each operation is on one key.
"""

import json
import re
import secrets
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from helpers import model
from helpers.errors import HelpersError
from helpers.model import Column, Guide, KeyKind, Limits, Pattern, Plan, Table
from helpers.source import publication
from helpers.target import encode
from helpers.text import show

SCRIPT = Path(__file__).with_name("effects.lua").read_bytes()
MOST_WORDS = 500_000
"""Words of a call: Redis before 7 takes no more than twice as many in a command."""
AT_ONCE = 1_000
"""Members in one command of the script: Lua cannot unpack many more."""
NO_TEXT = b"\xff"
"""An element that no text is: 255 is in no UTF-8."""
DAY_US = 86_400_000_000
FIRST_DAY = date(1970, 1, 1).toordinal()
Row = tuple[str | None, ...]
"""Values of a row as PostgreSQL writes them, in the order of the table's columns; None for NULL."""
Word = bytes | str | int
Place = tuple[bytes, bytes, Row]
"""(key of a register, what stands there for a row, the row)."""
Find = Callable[[KeyKind, Sequence[Place]], "tuple[Sequence[tuple[int, int]], Mapping[bytes, int]]"]
"""Finds where rows stand in a register, or would, among those that are there: which of some rows, and its
place, in the order of the list; and how long each register is."""
Text = Callable[[str], bytes]
Rank = Callable[["Sequence[Ranked]"], "tuple[Sequence[int], Mapping[bytes, int]]"]
"""Finds how many members stand before each of some entries in their sorted sets, and how many there are."""
T = TypeVar("T")


# -- values


def text_of(column: Column) -> Text:
    """What writes the canonical text of a column's values, as it stands in a template or in JSON."""
    return _TEXTS.get(column.format.name, _plain)


def field_of(column: Column) -> Text:
    """The same as it stands in a field, where bytes stand as they are."""
    return _raw if column.format.name == "bytes" else text_of(column)


def score_of(column: Column) -> Callable[[str], int | float]:
    """What makes the score of a column's values: whole numbers where they are, else the nearest double."""
    return _SCORES[column.format.name]


def _plain(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _boolean(value: str) -> bytes:
    return b"true" if value == "t" else b"false"


def _moment(value: str) -> bytes:
    """ISO 8601 of fixed width of a moment; PostgreSQL's own text where there is none."""
    if not _iso(value):
        return value.encode()
    day, _, clock = value.partition(" ")
    return f"{day}T{clock}{'.' if len(clock) == 8 else ''}".ljust(26, "0").encode()


def _zoned(value: str) -> bytes:
    """The same of a moment in UTC."""
    return _moment(value.removesuffix("+00")) + b"Z" if _iso(value) else value.encode()


def _iso(value: str) -> bool:
    return value[4:5] == "-" and not value.endswith("BC")


def _time(value: str) -> int:
    hours, minutes, seconds = value.split(":")
    whole, _, fraction = seconds.partition(".")
    return (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0"))


@lru_cache(maxsize=4096)
def _date(value: str) -> int:
    return date.fromisoformat(value).toordinal() - FIRST_DAY


def _microseconds(value: str) -> int:
    day, _, clock = value.removesuffix("+00").partition(" ")
    return _date(day) * DAY_US + _time(clock)


_TEXTS: Mapping[str, Text] = {"boolean": _boolean, "moment": _moment, "zoned": _zoned}
_SCORES: Mapping[str, Callable[[str], int | float]] = {
    "integer": int,
    "numeric": float,
    "float": float,
    "moment": _microseconds,
    "zoned": _microseconds,
    "date": _date,
    "time": _time,
}


# -- rows


class Entry(NamedTuple):
    """What a row comes to in a sorted set and the lists beside it; sorted, it is in the order of the lists.

    Attributes:
        score: of the sorted set.
        order: what settles equal scores, as it is compared.
        ties: the same as text.
        member: of the sorted set.
        elements: one in each list.
    """

    score: int | float
    order: tuple[int | bytes, ...]
    ties: tuple[bytes, ...]
    member: bytes
    elements: tuple[bytes, ...]

    def words(self) -> tuple[Word, ...]:
        """As the script reads it."""
        return (score_text(self.score), *self.ties, self.member, *self.elements)


class Ranked(NamedTuple):
    """An entry whose place in the lists is looked for.

    Attributes:
        key: of the sorted set.
        entry: what is or comes there.
        there: whether it is there.
        order_of: gives of a member what settles equal scores, as ``Entry.order``; None where scores are all.
    """

    key: bytes
    entry: Entry
    there: bool
    order_of: Callable[[bytes], tuple[int | bytes, ...]] | None


Owner = tuple[bytes, tuple[bytes, ...]]
"""The keys of a sorted set and of the lists beside it."""
Piece = tuple[str, bytes, bytes]
"""(type of the key, key, member or nothing): what one row has alone."""
Content = bytes | int | float | tuple[bytes, ...]
"""A string, an element, a score, or fields with their values; nothing of a member of a set."""


def _filled(pattern: Pattern, table: Table, prefix: bytes = b"") -> Callable[[Row], bytes]:
    """What fills a pattern from rows of a table, none of whose columns in it is NULL."""
    first, *literals = pattern.literals
    first = prefix + first
    holes: list[tuple[int, Text, bytes]] = []
    for name, escaped, literal in zip(pattern.columns, pattern.escaped, literals, strict=True):
        column = table.columns[table.places[name]]
        text = field_of(column) if pattern.raw else text_of(column)
        holes.append((table.places[name], _escaped(text) if escaped else text, literal))
    if len(holes) == 1:
        ((at, text, last),) = holes
        return lambda row: first + text(row[at] or "") + last

    def fill(row: Row) -> bytes:
        found = first
        for at, text, literal in holes:
            found += text(row[at] or "") + literal
        return found

    return fill


def _escaped(text: Text) -> Text:
    return lambda value: model.escape(text(value))


class _Kind:
    """What a row comes to in a kind of key.

    Attributes:
        kind: the kind.
        key: gives the key of a row that it holds.
        needs: where columns stand without which a row that is held is not in it.
        used: gives what of a row it depends on.
    """

    def __init__(self, kind: KeyKind, prefix: bytes) -> None:
        table = kind.table
        self.kind, self.key = kind, _filled(kind.key, table, prefix)
        self.needs = [table.places[name] for name in kind.needs if table.columns[table.places[name]].nullable]
        self.used = itemgetter(*sorted({table.places[name] for name in (*kind.needs, *kind.holds)}))
        self._value = _filled(kind.value, table) if kind.value else None
        own = field_of if kind.type == "hash" else text_of
        self._fields = [(name.encode(), table.places[one.name], own(one)) for name, one in kind.fields]
        self._score = (table.places[kind.score.name], score_of(kind.score)) if kind.score else None

    def value(self, row: Row) -> bytes:
        """An element, a member or a string."""
        if self._value is not None:
            return self._value(row)
        found = {
            name.decode(): text(value).decode("utf-8", "surrogateescape")
            for name, at, text in self._fields
            if (value := row[at]) is not None
        }
        return _plain(json.dumps(found, ensure_ascii=False, separators=(",", ":")))

    def fields(self, row: Row) -> tuple[bytes, ...]:
        """The fields of a hash, each with its value behind it."""
        found: list[bytes] = []
        for name, at, text in self._fields:
            if (value := row[at]) is not None:
                found += (name, text(value))
        return tuple(found)

    def score(self, row: Row) -> int | float:
        """The score of a row."""
        assert self._score is not None
        at, number = self._score
        return number(row[at] or "")

    def holds(self, row: Row) -> bool:
        """Whether a row that can be held has the columns that it needs."""
        return not self.needs or all(row[at] is not None for at in self.needs)

    def piece(self, row: Row) -> tuple[Piece, Content] | None:
        """Where the row is, and what is there; None where it is not."""
        if not self.holds(row):
            return None
        type_, key = self.kind.type, self.key(row)
        if type_ == "hash":
            fields = self.fields(row)
            return ((type_, key, b""), fields) if fields else None
        if type_ == "zset":
            return (type_, key, self.value(row)), self.score(row)
        if type_ == "set":
            return (type_, key, self.value(row)), b""
        return (type_, key, b""), self.value(row)


class _Timeline:
    """What a row comes to in a sorted set and the lists in which it tells the places."""

    def __init__(self, guide: Guide, kinds: Mapping[str, _Kind]) -> None:
        self.guide, table = guide, guide.scored.table
        self.scored = kinds[guide.scored.name]
        self.lists = [kinds[one.name] for one in guide.lists]
        used = {name for one in (guide.scored, *guide.lists) for name in one.needs}
        self.used = itemgetter(*sorted(table.places[name] for name in used))
        self._ties = [
            (table.places[one.name], text_of(one), model.TIES[one.format.name]) for one in guide.ties
        ]
        assert guide.scored.value is not None
        self._pattern, places = _lua(guide.scored.value, [one.name for one in guide.ties])
        self._how = ",".join(f"{how}{place}" for (_, _, how), place in zip(self._ties, places, strict=True))
        self._tie_places = [guide.scored.value.columns.index(one.name) for one in guide.ties]

    def entry(self, row: Row) -> tuple[Owner, Entry]:
        """Of which keys it is, and what is there.

        Raises:
            HelpersError: its score is not exact.
        """
        score = self.scored.score(row)
        if self.guide.whole and not model.exact(int(score)):
            raise HelpersError(model.inexact(self.guide, _named(self.guide.scored.table, row)))
        ties = tuple(text(row[at] or "") for at, text, _ in self._ties)
        order = tuple(
            int(tie) if how == model.BY_NUMBER else tie
            for tie, (_, _, how) in zip(ties, self._ties, strict=True)
        )
        owner = (self.scored.key(row), tuple(one.key(row) for one in self.lists))
        elements = tuple(one.value(row) for one in self.lists)
        return owner, Entry(score, order, ties, self.scored.value(row), elements)

    def words(self, owner: Owner, gone: Sequence[Entry], come: Sequence[Entry]) -> list[Word]:
        """The script's operation that takes some rows of an owner away and brings others."""
        mark = _mark(self.lists)
        key, lists = owner
        words: list[Word] = [
            "T",
            key,
            self._pattern,
            self._how,
            mark,
            len(lists),
            *lists,
            len(gone),
            len(come),
        ]
        for one in gone:
            words += one.words()
        for one in sorted(come, key=lambda one: (one.score, one.order)):
            words += one.words()
        return words

    def order_of(self, member: bytes) -> tuple[int | bytes, ...]:
        """What settles equal scores in a member, as ``Entry.order``.

        Raises:
            HelpersError: it is none of the model's.
        """
        pattern = self.guide.scored.value
        found = pattern.split(member) if pattern else None
        if pattern is None or found is None:
            raise HelpersError(
                f"{self.guide.scored.name} has a member of another form ({show(member)}); {publication.AGAIN}"
            )
        return tuple(
            int(tie) if how == model.BY_NUMBER else tie
            for tie, (_, _, how) in zip((found[at] for at in self._tie_places), self._ties, strict=True)
        )

    def ranked(self, owner: Owner, gone: Sequence[Entry], come: Sequence[Entry]) -> list[Ranked]:
        """Whose places are to be looked for."""
        order_of = self.order_of if self._ties else None
        there = ((True, one) for one in gone), ((False, one) for one in come)
        return [Ranked(owner[0], one, is_there, order_of) for some in there for is_there, one in some]

    def apart(
        self,
        owner: Owner,
        gone: Sequence[tuple[int, Entry]],
        come: Sequence[tuple[int, Entry]],
        length: int,
    ) -> Iterator[list[Word]]:
        """The same as ``words`` in operations on one key each.

        Args:
            owner: the keys.
            gone: rows that leave, each with how many stand before it.
            come: rows that come, each with how many of those that are there will stand before it.
            length: how many there are.
        """
        key, lists = owner
        for some in _cut(gone):
            yield _command("ZREM", key, *(one.member for _, one in some))
        for more in _cut(come):
            yield _command(
                "ZADD", key, *(word for _, one in more for word in (score_text(one.score), one.member))
            )
        left = sorted(place for place, _ in gone)
        old: list[list[Word]] = [[place, *one.elements] for place, one in gone]
        new: list[list[Word]] = [
            [place - bisect_left(left, place), *one.elements]
            for place, one in sorted(come, key=lambda it: (it[1].score, it[1].order))
        ]
        yield from _split(_mark(self.lists), lists, length, old, new)


class _Registered:
    """What a row comes to in a list and its register.

    Attributes:
        register: of the list.
        used: gives what of a row both depend on.
    """

    def __init__(self, register: KeyKind, limits: Limits, kinds: Mapping[str, _Kind]) -> None:
        assert register.of is not None
        self.register, self._limits = register, limits
        self._lists = [kinds[register.name], kinds[register.of.name]]
        self.used = self._lists[1].used

    def holds(self, row: Row) -> bool:
        """Whether a row that can be held is in them."""
        return self._lists[1].holds(row)

    def entry(self, row: Row) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """(keys of register and list, the row's element in each).

        Raises:
            HelpersError: the register has no room for the row.
        """
        if not self._limits.short(row):
            raise HelpersError(model.too_long(self.register, _named(self.register.table, row)))
        return tuple(one.key(row) for one in self._lists), tuple(one.value(row) for one in self._lists)

    def words(
        self, changes: Sequence[tuple[Row, int]], find: Find, *, apart: bool = False
    ) -> Iterator[list[Word]]:
        """The script's operations, one for each list of some that change.

        Args:
            changes: rows that come (a count above 0) or go.
            find: where they stand, or would.
            apart: whether each is on one key: then list and register have their own.
        """
        made = [(*self.entry(row), row, count) for row, count in changes]
        places, lengths = find(self.register, [(keys[0], mine[0], row) for keys, mine, row, _ in made])
        gone: dict[bytes, list[int]] = defaultdict(list)
        for which, place in places:
            keys, _, _, count = made[which]
            if count < 0:
                gone[keys[0]].append(place)
        lines: dict[tuple[bytes, ...], tuple[list[list[Word]], list[list[Word]]]]
        lines = defaultdict(lambda: ([], []))
        for which, place in places:
            keys, mine, _, count = made[which]
            before = bisect_left(gone[keys[0]], place) if count > 0 else 0  # these are no longer there
            lines[keys][count > 0].append([place - before, *mine])
        weave = _split if apart else _woven
        for keys, (old, new) in lines.items():
            yield from weave(_mark(self._lists), keys, lengths[keys[0]], old, new)


def _woven(
    mark: bytes, keys: Sequence[bytes], length: int, old: Sequence[list[Word]], new: Sequence[list[Word]]
) -> Iterator[list[Word]]:
    """The operation on lists of one length whose places are known.

    Args:
        mark: is an element of none of them.
        keys: of the lists.
        length: of each.
        old: what leaves: its place, and its element in each list.
        new: what comes, in its order: the place that it would have without what leaves, and its elements.
    """
    rows = [word for one in (*old, *new) for word in one]
    yield ["R", mark, len(keys), *keys, length, len(old), len(new), *rows]


def _split(
    mark: bytes, keys: Sequence[bytes], length: int, old: Sequence[list[Word]], new: Sequence[list[Word]]
) -> Iterator[list[Word]]:
    """``_woven``, with an operation for each list."""
    for which, key in enumerate(keys, 1):
        mine = ([[one[0], one[which]] for one in some] for some in (old, new))
        yield from _woven(mark, [key], length, *mine)


def _mark(lists: Sequence[_Kind]) -> bytes:
    """What is an element of none of some lists."""
    patterns = [one.kind.value for one in lists]
    texts = all(not one.raw or one.formats[0].name != "bytes" for one in patterns if one)
    return NO_TEXT if texts else NO_TEXT + secrets.token_bytes(32)


def _named(table: Table, row: Row) -> str:
    """The key of a row, for people."""
    return ", ".join(str(row[table.places[name]]) for name in table.key)


def _lua(pattern: Pattern, wanted: Sequence[str]) -> tuple[str, list[int]]:
    """(pattern of Lua that a template's texts match, which of its captures each wanted column is).

    Where a hole ends is known by what its characters and its width may be, so that there is but one match.
    """
    captured: list[str] = []
    found = "^" + _quoted(pattern.template.literals[0])
    for name, one, escaped, literal in zip(
        pattern.columns, pattern.formats, pattern.escaped, pattern.template.literals[1:], strict=True
    ):
        letters = "[^:{}]" if escaped else "." if one.letters is None else f"[{_quoted(one.letters)}]"
        hole = letters * one.width if one.width else letters + "*"
        if name in wanted and name not in captured:
            captured.append(name)
            hole = f"({hole})"
        found += hole + _quoted(literal)
    return found + "$", [captured.index(name) + 1 for name in wanted]


def _quoted(text: str) -> str:
    """A text as a pattern of Lua 5.1."""
    return re.sub(r"[^\w\s\x00-\x08\x80-\U0010ffff]", lambda m: "%" + m[0], text).replace("\0", "%z")


class Forms:
    """What the rows of each table come to in Redis.

    Args:
        plan: of the migration.

    Raises:
        HelpersError: nothing tells the places of rows in one of its lists.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, prefix = plan, plan.prefix.encode()
        for kind in model.unguided(plan):
            if kind.name not in plan.registered:
                raise HelpersError(
                    f"{plan.model.where}: key {str(kind.key.template)!r}: nothing tells a row's place in "
                    "this list; run `migrate --follow` again, which keeps the places"
                )
        kinds = {kind.name: _Kind(kind, prefix) for kind in plan.written}
        timelines = [_Timeline(guide, kinds) for guide in model.guides(plan)]
        guided = {one.name for line in timelines for one in (line.guide.scored, *line.guide.lists)}
        guided |= set(plan.registered)
        self.kinds = {
            table: [kinds[kind.name] for kind in plan.kinds_of(table) if kind.name not in guided]
            for table in plan.tables
        }
        self.timelines = {
            table: [line for line in timelines if line.guide.scored.table.name == table]
            for table in plan.tables
        }
        self.registered = {
            table: [
                _Registered(one, plan.register_limits[one.name], kinds)
                for one in plan.registers
                if one.table.name == table
            ]
            for table in plan.tables
        }


def unsought(
    register: KeyKind, places: Sequence[Place]
) -> tuple[Sequence[tuple[int, int]], Mapping[bytes, int]]:
    """A ``Find`` for plans without registers."""
    raise AssertionError(register)


class Effects:
    """Changes that are not in Redis yet.

    Args:
        forms: what rows come to.

    Attributes:
        changes: how many there are of each table.
        held: by how much the number of rows of each table that Redis holds changes.
        rejected: by how much the number of rejected rows of each table changes.
        rejects: (table, reason, row) of each new row that cannot be held.
    """

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._rows: dict[tuple[str, Row], int] = {}
        self.changes: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.rejects: list[tuple[str, str, Row]] = []

    def change(self, table: str, old: Row | None, new: Row | None) -> None:
        """Note a change, in the order of the source's log.

        Args:
            table: one of the plan's.
            old: the row before; None for an insert.
            new: the row afterwards; None for a delete.
        """
        self.changes[table] += 1
        for row, count in ((old, -1), (new, 1)):
            if row is None:
                continue
            reason = self._forms.plan.reject_reason(table, row)
            if reason is not None:
                self.rejected[table] += count
                if count > 0:
                    self.rejects.append((table, reason, row))
                continue
            self.held[table] += count
            total = self._rows.pop((table, row), 0) + count
            if total:
                self._rows[table, row] = total

    def commands(self, state_key: bytes, fields: Mapping[str, str], find: Find = unsought) -> list[bytes]:
        """The script calls that bring all of it to Redis, and set fields of the state in the end, in RESP.

        They belong in one ``EXEC``. After an error in one of them those behind it do nothing.

        Args:
            state_key: the hash that holds the state.
            fields: its fields to set, with their values.
            find: where rows stand in registers, as these are until the commands run.

        Raises:
            HelpersError: whether a row can be held depends on others.
        """
        calls: list[list[Word]] = [[]]
        for operation in self._operations(find):
            if calls[-1] and len(calls[-1]) + len(operation) > MOST_WORDS:
                calls.append([])
            calls[-1] += operation
        pairs: list[Word] = [word for pair in fields.items() for word in pair]
        return [
            encode("EVAL", SCRIPT, 0, state_key, *((0,) if i < len(calls) else (len(pairs), *pairs)), *words)
            for i, words in enumerate(calls, 1)
        ]

    def apart(self, rank: Rank, find: Find = unsought) -> list[list[Word]]:
        """The script's operations, each on one key, which is its fourth word, for a target without ``EXEC``.

        Args:
            rank: where rows stand in sorted sets, as these are until the operations are done.
            find: where rows stand in registers, likewise.

        Raises:
            HelpersError: whether a row can be held depends on others.
        """
        return list(self._operations(find, rank))

    def _operations(self, find: Find, rank: Rank | None = None) -> Iterator[list[Word]]:
        """All that is taken away, then all that comes, then the lists; each on one key if ranks are given."""
        gone: dict[Piece, Content] = {}
        come: dict[Piece, Content] = {}
        lines: dict[tuple[str, int, Owner], tuple[list[Entry], list[Entry]]] = defaultdict(lambda: ([], []))
        rows: dict[str, list[tuple[Row, int]]] = defaultdict(list)
        for (table, row), count in self._rows.items():
            rows[table].append((row, count))
        for table, some in rows.items():
            for kind in self._forms.kinds[table]:
                for row, count in _differing(some, kind.used):
                    if (found := kind.piece(row)) is not None:
                        (come if count > 0 else gone)[found[0]] = found[1]
            for i, line in enumerate(self._forms.timelines[table]):
                for row, count in _differing(some, line.used):
                    if line.scored.holds(row):
                        owner, entry = line.entry(row)
                        lines[table, i, owner][count > 0].append(entry)
        same = [piece for piece, content in gone.items() if come.get(piece) == content]
        for piece in same:
            del gone[piece], come[piece]
        yield from _taken(gone, come, AT_ONCE if rank is None else 1)
        yield from _brought(come)
        if rank is None:
            for (table, i, owner), (old, new) in lines.items():
                yield self._forms.timelines[table][i].words(owner, old, new)
        else:
            yield from self._ranked(lines, rank)
        for table, some in rows.items():
            for one in self._forms.registered[table]:
                changes = [change for change in _differing(some, one.used) if one.holds(change[0])]
                if changes:
                    yield from one.words(changes, find, apart=rank is not None)

    def _ranked(
        self, lines: "Mapping[tuple[str, int, Owner], tuple[list[Entry], list[Entry]]]", rank: Rank
    ) -> Iterator[list[Word]]:
        """The operations on sorted sets and the lists beside them."""
        asked = [
            one
            for (table, i, owner), (old, new) in lines.items()
            for one in self._forms.timelines[table][i].ranked(owner, old, new)
        ]
        places, lengths = rank(asked) if asked else ((), {})
        found = iter(places)
        for (table, i, owner), (old, new) in lines.items():
            gone, come = ([(next(found), one) for one in some] for some in (old, new))
            yield from self._forms.timelines[table][i].apart(owner, gone, come, lengths[owner[0]])


def _differing(rows: Sequence[tuple[Row, int]], used: Callable[[Row], Any]) -> Iterator[tuple[Row, int]]:
    """Of rows that come (a count above 0) or go, those between which what is used of them differs."""
    found: dict[Any, tuple[Row, int]] = {}
    for row, count in rows:
        told = used(row)
        before = found.pop(told, None)
        if before is not None:
            count += before[1]
        if count:
            found[told] = (row, count)
    return iter(found.values())


def _taken(
    gone: Mapping[Piece, Content], come: Mapping[Piece, Content], at_once: int
) -> Iterator[list[Word]]:
    """Operations that take away what is there, but strings that are simply set anew.

    Args:
        gone: what is there.
        come: what comes instead.
        at_once: how many keys one of them may remove.
    """
    keys: list[bytes] = []
    members: dict[tuple[str, bytes], list[bytes]] = defaultdict(list)
    for type_, key, member in gone:
        if type_ in ("set", "zset"):
            members[type_, key].append(member)
        elif type_ != "string" or (type_, key, member) not in come:
            keys.append(key)
    for some in _cut(keys, at_once):
        yield _command("DEL", *some)
    for (type_, key), all_ in members.items():
        for some in _cut(all_):
            yield _command("SREM" if type_ == "set" else "ZREM", key, *some)


def _brought(come: Mapping[Piece, Content]) -> Iterator[list[Word]]:
    """Operations that bring what comes."""
    members: dict[tuple[str, bytes], list[tuple[Word, ...]]] = defaultdict(list)
    for (type_, key, member), content in come.items():
        if type_ == "zset":
            assert isinstance(content, int | float)
            members[type_, key].append((score_text(content), member))
        elif type_ == "set":
            members[type_, key].append((member,))
        elif isinstance(content, tuple):
            yield _command("HSET", key, *content)
        else:
            assert isinstance(content, bytes)
            yield _command("SET" if type_ == "string" else "RPUSH", key, content)
    for (type_, key), all_ in members.items():
        for some in _cut(all_):
            yield _command("SADD" if type_ == "set" else "ZADD", key, *(word for one in some for word in one))


def _command(*words: Word) -> list[Word]:
    return ["C", len(words), *words]


def _cut(some: Sequence[T], at_once: int = AT_ONCE) -> Iterator[Sequence[T]]:
    return (some[at : at + at_once] for at in range(0, len(some), at_once))


def score_text(score: int | float) -> str:
    """A score as Redis reads it."""
    return str(score) if isinstance(score, int) else repr(score)
