"""Which sorted set tells the place of a row in a list.

Who follows a source puts rows into the middle of lists and takes them out again. Equal elements cannot be
told apart, so that only the number of those before it says which is meant. A sorted set of the same rows and
owner, by the same order, knows it: those with a lower score, and of the same score those that come earlier by
what their members say. (A ``Pair`` is something else: list and sorted set hold whole rows, to be restored.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.errors import HelpersError
from helpers.model.rows import EXACT_SCORE
from helpers.model.tables import Column
from helpers.model.templates import hole

if TYPE_CHECKING:
    from helpers.model.kinds import KeyKind
    from helpers.model.plan import Plan

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
    """

    scored: "KeyKind"
    lists: "tuple[KeyKind, ...]"
    ties: tuple[Column, ...]

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
    return tuple(name for name in kind.order if name not in kind.owner)


def guides(plan: "Plan") -> tuple[Guide, ...]:
    """The guides of all lists whose owners may have several rows.

    Args:
        plan: a plan.

    Raises:
        HelpersError: a list has none; it says what to put beside it.
    """
    found: dict[str, tuple[KeyKind, list[KeyKind]]] = {}
    for kind in plan.kinds:
        if kind.type == "list" and order_within(kind):
            guide = next((one for one in plan.kinds_of(kind.table.name) if _guides(plan, one, kind)), None)
            if guide is None:
                raise HelpersError(f"{plan.model.where}: key {str(kind.key.template)!r}: {_remedy(kind)}")
            found.setdefault(guide.name, (guide, []))[1].append(kind)
    return tuple(
        Guide(scored, tuple(lists), tuple(_column(scored, name) for name in order_within(lists[0])[1:]))
        for scored, lists in found.values()
    )


def exact(number: int) -> bool:
    """Whether a double holds a whole number, and none beside it, exactly."""
    return abs(number) < EXACT_SCORE or int(float(number)) == number


def inexact(table: str, row: str) -> str:
    """What to say of a row whose score is too far.

    Args:
        table: its name.
        row: its key, for people.
    """
    return (
        f"row {row} of {table} has a number or date (beyond 2255 or before 1684) that no score holds "
        "exactly, and whether it can be kept depends on its neighbours; set it to one that a double holds, "
        "as dates of whole seconds, then `migrate --follow`"
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
    )


def _column(kind: "KeyKind", name: str) -> Column:
    return kind.table.columns[kind.table.places[name]]


def _remedy(kind: "KeyKind") -> str:
    first, *ties = order_within(kind)
    why = "following could not find a row's place in this list"
    wrong = [name for name in ties if _column(kind, name).format.name not in TIES]
    if _column(kind, first).format.name not in EXACT or wrong:
        name = first if _column(kind, first).format.name not in EXACT else wrong[0]
        return (
            f"{why}, which is ordered by {name} ({_column(kind, name).type}); order it by a number or date "
            "and a unique key, or migrate without --follow"
        )
    names = [name for name in kind.needs if _column(kind, name).nullable and name not in (*kind.owner, first)]
    value = ":".join(
        f"{{{hole(name)}}}" for name in dict.fromkeys((*ties, *names, *(() if ties else (first,))))
    )
    return (
        f"{why} without a sorted set of the same rows and order beside it; add one with a name that "
        f"begins {str(kind.key.template)!r}, table = {kind.table.name!r}, value = {value!r} and score = "
        f"{first!r}, or migrate without --follow"
    )
