"""What becomes of each table by a model, before anything is moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.model.declaration import Model, load
from helpers.model.kinds import KeyKind
from helpers.model.plan import Plan
from helpers.model.proposing import Catalogue
from helpers.text import one_line


@dataclass(frozen=True)
class Becomes:
    """What the rows of a table become.

    Attributes:
        keys: each kind of key as plain values: ``kind``, ``type``, ``name``, and what it is made of.
        restorable: whether its rows can be restored from them.
        held_nowhere: columns that no key holds.
    """

    keys: Sequence[Mapping[str, Any]]
    restorable: bool
    held_nowhere: Sequence[str]


def check(model: "Model | str | Path | None", source: Catalogue) -> dict[str, Becomes]:
    """What becomes of each table of a model.

    Args:
        model: a model, the path to one, or its text; the course's when None.
        source: where its tables are, for example ``helpers.source.LiveTables(url)``.

    Raises:
        HelpersError: it cannot be read, or does not fit the tables: one line that names file, key and remedy.

    With a table of customers, and one of their orders::

        >>> from helpers import model, source
        >>> tags = model.Key("customer:{customer_id}:orders", "set", "orders", value="{order_id}")
        >>> with source.LiveTables(url) as live:
        ...     found = model.check(model.Model([tags]), live)
        >>> found["orders"].restorable, found["orders"].held_nowhere
        (False, ['placed_at', 'total'])
        >>> print(*model.describe(found), sep="\\n")
        orders: cannot be restored: held nowhere: placed_at, total
          set customer:{customer_id}:orders = {order_id}
    """
    declared = load(model)
    plan = Plan(declared, source.bind(declared), encoding=source.encoding)
    source.try_streams(plan)
    return judge(plan)


def judge(plan: Plan) -> dict[str, Becomes]:
    """What becomes of each table of a plan, by its name."""
    found = {}
    for name, table in plan.tables.items():
        kinds = plan.kinds_of(name)
        held = {column for kind in kinds for column in kind.holds}
        nowhere = [one.name for one in table.columns if one.name not in held and not one.generated]
        found[name] = Becomes([_kind(kind) for kind in kinds], plan.holders[name].restorable, nowhere)
    return found


def _kind(kind: KeyKind) -> dict[str, Any]:
    """A kind of key as plain values."""
    type_ = "sorted_set" if kind.type == "zset" else kind.type
    found: dict[str, Any] = {"kind": kind.name, "type": type_, "name": str(kind.key.template)}
    if kind.fields:
        found["fields"] = {name: {"column": column.name, "type": column.type} for name, column in kind.fields}
    if kind.value is not None:
        found["value"] = str(kind.value.template)
    if kind.score is not None:
        found["score"] = kind.score.name
    if kind.order:
        found["order"] = list(kind.order)
    return found


def describe(found: Mapping[str, Becomes]) -> list[str]:
    """The same in lines."""
    lines = []
    for name, one in found.items():
        lines.append(f"{name}: {'can' if one.restorable else 'cannot'} be restored{_why(one)}")
        lines += [f"  {key['type']} {key['name']}{_holds(key)}" for key in one.keys]
    return list(map(one_line, lines))


def _why(one: Becomes) -> str:
    if one.restorable:
        return ""
    if one.held_nowhere:
        return f": held nowhere: {', '.join(one.held_nowhere)}"
    return ": no key holds a row whole; a hash without `fields` does"


def _holds(key: Mapping[str, Any]) -> str:
    fields = (
        name if name == of["column"] else f"{name} = {of['column']}"
        for name, of in key.get("fields", {}).items()
    )
    what = f" = {key['value']}" if "value" in key else f": {', '.join(fields)}"
    score = f" by {key['score']}" if "score" in key else ""
    return what + score + (f" by {', '.join(key['order'])}" if "order" in key else "")
