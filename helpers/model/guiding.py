"""What tells the place of a row in a list: a sorted set of the model's, or a register of the migration's own.

Who follows a source puts rows into the middle of lists and takes them out again. Equal elements cannot be
told apart, so that only the number of those before it says which is meant. A sorted set of the same rows and
owner, by the same order, knows it: those with a lower score, and of the same score those that come earlier by
what their members say. (A ``Pair`` is something else: list and sorted set hold whole rows, to be restored.)

Any other list gets a register when it is to be followed: a list beside it, under the migration's own keys,
with the values by which each row stands where it does. They are in PostgreSQL's order, whatever that is, so
that a place is found by comparing a few of them there; nothing else of the table has to be known for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from helpers.model.formats import FORMATS
from helpers.model.rows import EXACT_SCORE
from helpers.model.tables import Column
from helpers.model.templates import Pattern, Template

if TYPE_CHECKING:
    from helpers.model.kinds import KeyKind
    from helpers.model.plan import Plan

BOOKKEEPING = "migration:"
"""What the keys of a migration's own bookkeeping begin with, behind the prefix."""
REGISTER = f"{BOOKKEEPING}register:"
"""What the key of a register begins with; that of its list follows."""
REGISTERED = "registers"
"""Field of the state: the names of the lists that have a register."""
WHOLE = ("integer", "moment", "zoned")
"""Formats whose scores are whole numbers, of which those beyond ``EXACT_SCORE`` may share a double."""
EXACT = (*WHOLE, "date", "time", "float")
"""Formats whose scores keep rows in the order of their values."""
BY_NUMBER, BY_BYTES = "n", "b"
TIES: Mapping[str, str] = {
    "integer": BY_NUMBER,
    **dict.fromkeys(("uuid", "boolean", "moment", "zoned", "date", "time", "bytes"), BY_BYTES),
}
"""How canonical texts of a format are put in PostgreSQL's order."""


@dataclass(frozen=True)
class Guide:
    """A sorted set and the lists in which it tells the places.

    Attributes:
        scored: the sorted set.
        lists: of the same rows, owner and order.
        ties: the columns that settle equal scores within an owner, in their order.
        paired: whether it holds rows together with one of the lists, so that a register could not serve
            instead: which rows are held then depends on their neighbours, where a score is not exact.
    """

    scored: "KeyKind"
    lists: "tuple[KeyKind, ...]"
    ties: tuple[Column, ...]
    paired: bool = False

    @property
    def score(self) -> Column:
        """The column of the score."""
        assert self.scored.score is not None
        return self.scored.score

    @property
    def whole(self) -> bool:
        """Whether a score may be too far to be exact."""
        return self.score.format.name in WHOLE


def order_within(kind: "KeyKind") -> tuple[str, ...]:
    """The columns that order the rows of one owner in a list; none where an owner has one row at most."""
    if any(set(key) <= set(kind.owner) for key in kind.table.keys):
        return ()
    return tuple(name for name in kind.order if name not in kind.owner)


def guides(plan: "Plan") -> tuple[Guide, ...]:
    """The guides of those lists that have one, but of lists with registers.

    Args:
        plan: a plan.
    """
    found: dict[str, tuple[KeyKind, list[KeyKind]]] = {}
    for kind in _to_place(plan):
        guide = None if kind.name in plan.registered else _guide(plan, kind)
        if guide is not None:
            found.setdefault(guide.name, (guide, []))[1].append(kind)
    pairs = {pair.list.name for pair in plan.pairs.values()}
    return tuple(
        Guide(
            scored,
            tuple(lists),
            tuple(_column(scored, name) for name in order_within(lists[0])[1:]),
            any(one.name in pairs for one in lists),
        )
        for scored, lists in found.values()
    )


def unguided(plan: "Plan") -> tuple["KeyKind", ...]:
    """The lists in which no sorted set tells the places, though their owners may have several rows.

    Args:
        plan: a plan.
    """
    return tuple(kind for kind in _to_place(plan) if _guide(plan, kind) is None)


def register(kind: "KeyKind") -> "KeyKind":
    """The register of a list: a list of what orders its rows, element by element beside its own.

    A moment or date stands there as it does in a field, whether it has a form in ISO 8601 or not.

    Args:
        kind: the list.
    """
    key, columns = kind.key.template, order_within(kind)
    formats = (_column(kind, name).format for name in columns)
    value = Pattern(
        Template(("", *":" * (len(columns) - 1), ""), columns),
        tuple(FORMATS["text"] if one.dated else one for one in formats),
        in_name=False,
    )
    assert not value.fault()
    template = Template((REGISTER + key.literals[0], *key.literals[1:]), key.columns)
    return replace(
        kind, name=f"{kind.name}_register", key=replace(kind.key, template=template), value=value, of=kind
    )


def _to_place(plan: "Plan") -> "list[KeyKind]":
    return [kind for kind in plan.kinds if kind.type == "list" and order_within(kind)]


def _guide(plan: "Plan", kind: "KeyKind") -> "KeyKind | None":
    return next((one for one in plan.kinds_of(kind.table.name) if _guides(plan, one, kind)), None)


def exact(number: int) -> bool:
    """Whether a double holds a whole number, and none beside it, exactly."""
    return abs(number) < EXACT_SCORE or int(float(number)) == number


def inexact(guide: Guide, row: str) -> str:
    """What to say of a row whose score is too far to tell its place.

    Args:
        guide: in which it stands.
        row: its key, for people.
    """
    said = (
        f"row {row} of {guide.scored.table.name} has a number or date (beyond 2255 or before 1684) that no "
        "score holds exactly"
    )
    if not guide.paired:
        return (
            f"{said}, so that no sorted set tells its place in a list any more; run `migrate --follow` "
            "again, which keeps the places itself"
        )
    return (
        f"{said}, and whether it can be kept depends on its neighbours; set it to one that a double holds, "
        "as dates of whole seconds, then `migrate --follow`"
    )


def too_long(register: "KeyKind", row: str) -> str:
    """What to say of a row for which a register has no room.

    Args:
        register: of a list.
        row: its key, for people.
    """
    return (
        f"row {row} of {register.table.name} is put in its place in a list by "
        f"{' and '.join(order_within(register))}, which is longer than what Redis holds; order the list by "
        "other columns, or migrate without --follow"
    )


def _guides(plan: "Plan", one: "KeyKind", kind: "KeyKind") -> bool:
    """Whether a kind is a sorted set that tells the places in a list."""
    if one.type != "zset" or set(one.owner) != set(kind.owner) or plan.asks_sql(one) != plan.asks_sql(kind):
        return False
    assert one.score and one.value
    first, *ties = order_within(kind)
    return (
        first == one.score.name
        and one.score.format.name in EXACT
        and all(tie in one.value.columns and _column(one, tie).format.name in TIES for tie in ties)
        and not (ties and one.value.raw and one.value.formats[0].name == "bytes")  # no text stands there
    )


def _column(kind: "KeyKind", name: str) -> Column:
    return kind.table.columns[kind.table.places[name]]
