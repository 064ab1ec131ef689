"""Rows from keys that hold many: lists, sets, sorted sets, and a list and a sorted set together.

The two hold the same rows of an owner, so that each place of one belongs to that place of the other once
both are in the order of (score, tie); ``model.ScoreOrder`` sees to it that this is the order of the list.
Redis orders equal scores by the text of the member, so that members are sorted here; those of an owner whose
rows do not fit into one window are sorted elsewhere, as many may share a score.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from helpers.errors import HelpersError
from helpers.migration.stored_rows import Holding, StoredRows, TableRows, first_unequal
from helpers.migration.stored_values import INT8, Texts, scores
from helpers.model import Column, KeyKind, Pair
from helpers.target import encode
from helpers.text import show

Member = tuple[float, int, bytes]
"""(score, tie, member)"""
Split = tuple[float, int, tuple[bytes, ...]]
"""(score, tie, what each hole of the member's template holds)"""
Owner = tuple[bytes, ...]
"""The values of the columns in a key's name."""
Batches = Callable[[], int]
"""Asked before each list that is given back for how many of something it may have."""
WORDS = {"list": "list", "set": "set", "zset": "sorted set"}
SIZES = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD"}


class Stage(Protocol):
    """Where what does not fit into a window is put in order."""

    def sort(self, members: Iterable[list[Member]], rows: Batches) -> Iterator[list[Member]]:
        """Members in the order of (score, tie).

        Args:
            members: in batches, in any order.
            rows: asked before each list for how many members it may have.
        """

    def distinct(self, members: Iterable[list[bytes]], rows: Batches) -> Iterator[list[bytes]]:
        """Each member once.

        Args:
            members: in batches; one may come twice.
            rows: asked before each list for how many members it may have.
        """


class Timelines:
    """The rows of a kind of key that holds many of them.

    Args:
        stored: the way to Redis.
        holding: the kind; of a list and a sorted set, the list's.
        stage: the way to sort what does not fit into a window.
    """

    def __init__(self, stored: StoredRows, holding: Holding, stage: Stage) -> None:
        self.stored, self._holding, self._stage = stored, holding, stage
        self._kind = holding.kind
        found = stored.plan.pairs.get(self._kind.table.name)
        self._pair = found if found and found.list == self._kind else None
        self._beside = stored.kinds[self._pair.scored.name] if self._pair else None
        assert self._kind.value is not None
        self._texts = Texts(self._kind.value)
        self._names = [*self._kind.key.columns, *self._kind.value.columns]
        if self._pair is not None:
            assert self._pair.scored.value is not None
            self._scored = Texts(self._pair.scored.value)
            self._tie = self._pair.scored.value.columns.index(self._pair.tie.name)

    def rows_of(self, names: Sequence[int | bytes]) -> Iterator[TableRows]:
        """The rows of some owners, a window at a time; rows of one list are in its order.

        Args:
            names: of the keys.

        Raises:
            HelpersError: a key does not hold what the migration wrote.
        """
        window = self.stored.window
        group: list[_Key] = []
        rows = 0
        for key in self._sizes(names):
            if key.size > window.rows:
                yield from self._long(key)
                continue
            if rows + key.size > window.rows:
                yield self._short(group)
                group, rows = [], 0
            group.append(key)
            rows += key.size
        if group:
            yield self._short(group)

    def _sizes(self, names: Sequence[int | bytes]) -> list["_Key"]:
        """Those keys that hold any rows."""
        keys, columns = self._holding.keys(names)
        owners: Sequence[Owner] = list(zip(*columns, strict=True)) if columns else [()] * len(keys)
        sizes = self._count(self._kind, keys)
        beside: Sequence[bytes] = keys
        if self._beside is not None:
            beside = self._keys_beside(names, keys)
            for key, other, length, cardinality in zip(
                keys, beside, sizes, self._count(self._beside.kind, beside), strict=True
            ):
                if length != cardinality:
                    raise self.stored.damaged(
                        key, f"holds {length:,} elements, and {show(other)} {cardinality:,} members"
                    )
        return [_Key(*found) for found in zip(keys, beside, owners, sizes, strict=True) if found[3]]

    def _keys_beside(self, names: Sequence[int | bytes], keys: Sequence[bytes]) -> list[bytes]:
        assert self._beside is not None
        if self._beside.end is not None:
            return self._beside.keys(names)[0]
        found = (self.stored.plan.split(self._kind, key) for key in keys)
        return [self.stored.plan.key_of(self._beside.kind, values) for values in found if values is not None]

    def _count(self, kind: KeyKind, keys: Sequence[bytes]) -> list[int]:
        return self.stored.ask(WORDS[kind.type], {key: encode(SIZES[kind.type], key) for key in keys})

    def _short(self, group: Sequence["_Key"]) -> TableRows:
        """All rows of a few owners."""
        rows = sum(key.size for key in group)
        found = self.stored.ask(WORDS[self._kind.type], {key.name: self._all(key) for key in group}, rows)
        if self._pair is None:
            return self._rows(
                [(key, 0, *self._elements(reply)) for key, reply in zip(group, found, strict=True)]
            )
        scored = self.stored.ask(
            "sorted set", {key.beside: _scores(key.beside, 0, key.size) for key in group}, rows
        )
        return self._put_together(
            self._pair,
            [
                (key, 0, elements, sorted(self._members(key, members)))
                for key, elements, members in zip(group, found, scored, strict=True)
            ],
        )

    def _all(self, key: "_Key") -> bytes:
        if self._kind.type == "set":
            return encode("SMEMBERS", key.name)
        return (
            _elements(key.name, 0, key.size) if self._kind.type == "list" else _scores(key.name, 0, key.size)
        )

    def _elements(self, reply: list[bytes]) -> tuple[list[bytes], list[float] | None]:
        """(elements, their scores) of a reply; no scores where there are none."""
        if self._kind.type != "zset":
            return reply, None
        return reply[::2], [float(score) for score in reply[1::2]]

    def _long(self, key: "_Key") -> Iterator[TableRows]:
        """The rows of one owner, in windows."""
        window = self.stored.window
        if self._pair is not None:
            start = 0
            for some in self._stage.sort(self._all_members(key), lambda: window.rows):
                (listed,) = self.stored.ask(
                    "list", {key.name: _elements(key.name, start, len(some))}, len(some)
                )
                pairs = [word for score, _, member in some for word in (member, score)]
                yield self._put_together(self._pair, [(key, start, listed, self._members(key, pairs))])
                start += len(some)
            return
        if self._kind.type == "set":
            for members in self._stage.distinct(self._scan(key), lambda: window.rows):
                yield self._rows([(key, 0, members, None)])
            return
        ask = _elements if self._kind.type == "list" else _scores
        for start, rows in self._windows(key):
            (found,) = self.stored.ask(WORDS[self._kind.type], {key.name: ask(key.name, start, rows)}, rows)
            yield self._rows([(key, start, *self._elements(found))])

    def _windows(self, key: "_Key") -> Iterator[tuple[int, int]]:
        start = 0
        while start < key.size:
            rows = min(self.stored.window.rows, key.size - start)
            yield start, rows
            start += rows

    def _all_members(self, key: "_Key") -> Iterator[list[Member]]:
        for start, rows in self._windows(key):
            (scored,) = self.stored.ask("sorted set", {key.beside: _scores(key.beside, start, rows)}, rows)
            split = self._members(key, scored)
            yield [(score, tie, member) for (score, tie, _), member in zip(split, scored[::2], strict=True)]

    def _scan(self, key: "_Key") -> Iterator[list[bytes]]:
        """The members of a set; one may come twice."""
        cursor = b"0"
        while True:
            command = encode("SSCAN", key.name, cursor, "COUNT", self.stored.window.rows)
            ((cursor, members),) = self.stored.ask("set", {key.name: command})
            self.stored.window.saw(len(members), sum(map(len, members)) + 8 * len(members))
            yield members
            if cursor == b"0":
                return

    # -- rows of one kind

    def _rows(self, stretches: Sequence[tuple["_Key", int, list[bytes], list[float] | None]]) -> TableRows:
        """The rows of elements or members."""
        match, found, keys = self._texts.match, [], []
        for key, start, elements, _ in stretches:
            owner = key.owner
            for place, element in enumerate(elements, start):
                text = match(element)
                if text is None:
                    raise self.stored.damaged(
                        key.name, f"is no {self._texts.pattern.template}", element, self._place(place)
                    )
                found.append((*owner, *text.groups()))
            keys += [key.name] * len(elements)
        values = self._columns(found, self._texts)
        rows = self.stored.table_rows(self._kind, self._names, values, keys)
        score = self._kind.score
        if score is not None:
            said = [one for _, _, _, some in stretches for one in some or ()]
            row = self._other_score(score, values[self._names.index(score.name)], said, stretches)
            if row is not None:
                key, _, member = _at(stretches, row)
                raise self.stored.damaged(
                    key.name, f"does not fit its score {said[row]:.17g}", member, "member"
                )
        return rows

    def _place(self, place: int) -> str:
        return f"element {place}" if self._kind.type == "list" else "member"

    def _columns(self, rows: Sequence[tuple[bytes, ...]], *texts: Texts) -> list[Sequence[bytes]]:
        """Columns of rows that begin with an owner, behind which the holes of some templates follow."""
        columns: list[Sequence[bytes]] = list(zip(*rows, strict=True))
        found = columns[: len(self._kind.key.columns)]
        for one in texts:
            found += one.converted(columns[len(found) : len(found) + len(one.pattern.columns)])
        return found

    def _other_score(
        self, score: Column, values: Sequence[bytes], said: Sequence[float], stretches: Sequence[Any]
    ) -> int | None:
        """The first row whose score is not that of its value; None where all are.

        Raises:
            HelpersError: a value is no day of the calendar.
        """
        try:
            apart = np.flatnonzero(scores(score, values) != np.array(said))
        except ValueError:
            row = next(i for i, value in enumerate(values) if not _is_day(score, value))
            key, place, _ = _at(stretches, row)
            raise self.stored.damaged(key.name, "is no day", values[row], self._place(place)) from None
        return int(apart[0]) if len(apart) else None

    # -- rows of a list and a sorted set

    def _members(self, key: "_Key", scored: Sequence[Any]) -> list[Split]:
        """Members as ZRANGE gives them beside their scores."""
        match, tie, found = self._scored.match, self._tie, []
        for member, score in zip(scored[::2], scored[1::2], strict=True):
            text = match(member)
            if text is None or (len(member) > 18 and int(text[tie + 1]) not in INT8):
                raise self.stored.damaged(
                    key.beside, f"is no {self._scored.pattern.template}", member, "member"
                )
            holes = text.groups()
            found.append((float(score), int(holes[tie]), holes))
        return found

    def _put_together(
        self, pair: Pair, stretches: Sequence[tuple["_Key", int, list[bytes], list[Split]]]
    ) -> TableRows:
        """The rows of list elements and members in the same places."""
        match, rows, keys, said = self._texts.match, [], [], []
        for key, start, listed, members in stretches:
            if len(listed) != len(members):
                raise self.stored.damaged(key.name, "became shorter while it was read")
            owner = key.owner
            for place, (element, member) in enumerate(zip(listed, members, strict=True), start):
                text = match(element)
                if text is None:
                    raise self.stored.damaged(
                        key.name, f"is no {self._texts.pattern.template}", element, f"element {place}"
                    )
                rows.append((*owner, *text.groups(), *member[2]))
                said.append(member[0])
            keys += [key.name] * len(listed)
        columns = self._columns(rows, self._texts, self._scored)
        names = [*self._names, *self._scored.pattern.columns]
        for place, name in enumerate(names):
            first = columns[names.index(name)]
            if (row := first_unequal(first, columns[place])) is not None:
                raise self._apart(stretches, row)
        moments = columns[names.index(pair.moment.name)]
        if (apart := self._other_score(pair.moment, moments, said, stretches)) is not None:
            raise self._apart(stretches, apart)
        return self.stored.table_rows(self._kind, names, columns, keys)

    def _apart(
        self, stretches: Sequence[tuple["_Key", int, list[bytes], list[Split]]], row: int
    ) -> HelpersError:
        """The error for an element and a member that are not of the same row."""
        key, place, element = _at(stretches, row)
        score, _, holes = [member for _, _, _, members in stretches for member in members][row]
        literals = self._scored.pattern.literals
        member = literals[0] + b"".join(h + text for h, text in zip(holes, literals[1:], strict=True))
        scored = f"{show(member)!r} with the score {score:.0f}"
        what = f"does not fit {scored}, the member in its place in the sorted set"
        return self.stored.damaged(key.name, what, element, f"element {place}")


@dataclass(frozen=True)
class _Key:
    """A key that holds rows.

    Attributes:
        name: the key.
        beside: of a list with a sorted set, the sorted set's.
        owner: the values of the columns in its name.
        size: how many rows it holds.
    """

    name: bytes
    beside: bytes
    owner: Owner
    size: int


def _at(stretches: Sequence[Any], row: int) -> tuple[_Key, int, bytes]:
    """(key, place there, element) of a row of some stretches."""
    return [
        (key, start + i, element) for key, start, found, _ in stretches for i, element in enumerate(found)
    ][row]


def _is_day(column: Column, value: bytes) -> bool:
    try:
        scores(column, [value])
    except ValueError:  # 30 February
        return False
    return True


def _elements(key: bytes, start: int, rows: int) -> bytes:
    return encode("LRANGE", key, start, start + rows - 1)


def _scores(key: bytes, start: int, rows: int) -> bytes:
    return encode("ZRANGE", key, start, start + rows - 1, "WITHSCORES")
