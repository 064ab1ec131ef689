"""Kinds of keys bound to their tables, and which of them hold a row so that it can be given back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from helpers.model.tables import Column, Table
from helpers.model.templates import Pattern

SINGLE = ("hash", "string")
"""Types of keys that hold one row."""


@dataclass(frozen=True)
class KeyKind:
    """One kind of key, bound to its table.

    Attributes:
        name: what results call it: the words of its template, ``user_activities``.
        type: what Redis' TYPE says: ``hash``, ``string``, ``list``, ``set`` or ``zset``.
        table: whose rows it holds.
        key: the pattern of its keys, without the prefix.
        fields: of a hash or a JSON object: each field with its column.
        value: the pattern of an element, a member or a string; None where it has fields.
        score: the column of a sorted set's score.
        order: of a list, the columns by which its elements stand, a unique key among them.
        of: of a register, the list whose rows it tells apart; None for a kind of the model's.
    """

    name: str
    type: str
    table: Table
    key: Pattern
    fields: tuple[tuple[str, Column], ...] = ()
    value: Pattern | None = None
    score: Column | None = None
    order: tuple[str, ...] = ()
    of: "KeyKind | None" = None

    @property
    def single(self) -> bool:
        """Whether a key holds one row."""
        return self.type in SINGLE

    @cached_property
    def owner(self) -> tuple[str, ...]:
        """The columns in its name."""
        return tuple(dict.fromkeys(self.key.columns))

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Columns without which a row has no key or element of this kind, in the order of the table's."""
        if self.of is not None:
            return self.of.needs
        score = (self.score.name,) if self.score else ()
        value = self.value.columns if self.value else ()
        found = {*self.owner, *value, *score, *(self.order if self.type == "list" else ())}
        return tuple(column.name for column in self.table.columns if column.name in found)

    @cached_property
    def holds(self) -> tuple[str, ...]:
        """Columns whose values can be read from it."""
        value = self.value.columns if self.value else ()
        found = {*self.owner, *value, *(column.name for _, column in self.fields)}
        return tuple(column.name for column in self.table.columns if column.name in found)

    @cached_property
    def sorted_by(self) -> tuple[str, ...]:
        """The columns that order its rows within a key: of a list its own, else score and unique key."""
        if self.type == "list":
            return self.order
        score = (self.score.name,) if self.score else ()
        return tuple(dict.fromkeys((*score, *self.table.key)))


@dataclass(frozen=True)
class Pair:
    """A list and a sorted set of one owner and order that hold a row together.

    Both in the order of (score, tie), the element and the member in the same place are of the same row.

    Attributes:
        list: holds what is exact.
        scored: its members have the row's number.
        tie: the column of whole numbers, unique, that settles equal scores.
    """

    list: KeyKind
    scored: KeyKind
    tie: Column

    @property
    def moment(self) -> Column:
        """The column of the score, whose exact value the list holds."""
        assert self.scored.score is not None
        return self.scored.score


@dataclass(frozen=True)
class Holder:
    """What holds a table's rows so that they can be given back.

    Attributes:
        kinds: the kinds of keys that do so, together; none where no kinds do.
        lost: columns that no kind holds; none where each is held, but no kind holds a row as a whole.
        pair: the list and sorted set, where they do so together.
    """

    kinds: tuple[KeyKind, ...] = ()
    lost: tuple[str, ...] = ()
    pair: Pair | None = None

    @property
    def restorable(self) -> bool:
        """Whether the table can be restored from Redis."""
        return bool(self.kinds)


def holder_of(table: Table, kinds: Sequence[KeyKind]) -> Holder:
    """What holds a table's rows.

    Args:
        table: the table.
        kinds: all kinds of keys that hold rows of it, at least one.
    """
    wanted = {column.name for column in table.columns if not column.generated}
    for kind in sorted(kinds, key=lambda k: ("hash", "string", "zset", "set", "list").index(k.type)):
        unique = any(set(key) <= set(kind.holds) for key in table.keys)
        if wanted <= set(kind.holds) and unique:
            return Holder((kind,))
    for one in kinds:
        for other in kinds:
            pair = _pair(one, other)
            if pair and wanted <= {*one.holds, *other.holds}:
                return Holder((one, other), pair=pair)
    held = {name for kind in kinds for name in kind.holds}
    return Holder(lost=tuple(c.name for c in table.columns if c.name in wanted - held))


def _pair(one: KeyKind, other: KeyKind) -> Pair | None:
    """The pair of a list and a sorted set, when they are one."""
    if (
        one.type != "list"
        or other.type != "zset"
        or one.key.columns != other.key.columns
        or len(one.order) != 2
    ):
        return None
    assert one.value and other.value and other.score
    moment, tie = one.order
    column = one.table.columns[one.table.places[tie]]
    fits = (
        moment == other.score.name
        and other.score.format.name in ("integer", "moment", "zoned", "date")
        and moment in one.value.columns
        and tie in other.value.columns
        and column.format.name == "integer"
        and (tie,) == one.table.key
    )
    return Pair(one, other, column) if fits else None
