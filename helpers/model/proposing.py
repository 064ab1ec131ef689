"""A model proposed from the tables that are there: what is printed, can be used, and is meant to be edited.

A table with a unique key becomes hashes; each foreign key a sorted set, or a set, that leads back; a table
that is nothing but its key becomes sets. What cannot be held stands there as a comment, with its reason.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Protocol

from helpers.errors import HelpersError
from helpers.model.declaration import Key, Model
from helpers.model.guiding import BOOKKEEPING
from helpers.model.plan import Plan
from helpers.model.tables import Column, Table
from helpers.model.templates import Pattern, Template, overlap
from helpers.text import one_line

_MOMENTS = ("moment", "zoned", "date")
_HEAD = """\
# Which keys Redis holds, and which table each comes from. Edit it, then look at what becomes of it:
#   python -m helpers model --check FILE
"""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of a table.

    Attributes:
        columns: of the table.
        table: the name of the table that they refer to.
        relation: the same without schema and quotes.
        referred: its columns, each that of the column in the same place.
    """

    columns: tuple[str, ...]
    table: str
    relation: str
    referred: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """What stands in a schema: a table, or something like it.

    Attributes:
        table: its name, columns and unique keys.
        foreign: its foreign keys.
        heirs: names of the tables that inherit from it.
        refused: why it cannot be held, with the remedy; None when it can.
    """

    table: Table
    foreign: tuple[ForeignKey, ...] = ()
    heirs: tuple[str, ...] = ()
    refused: str | None = None


class Catalogue(Protocol):
    """A source as a model needs to know it; ``helpers.source.LiveTables`` is one."""

    @property
    def where(self) -> str:
        """The server, for messages."""

    @property
    def encoding(self) -> str:
        """Of the database, as PostgreSQL names it."""

    @property
    def schemas(self) -> list[str]:
        """Where its user looks for tables."""

    def hidden(self) -> list[str]:
        """Schemas with tables where the user does not look."""

    def relations(self, names: Sequence[str] | None = None) -> list[Relation]:
        """What there is, or what of it is named."""

    def bind(self, model: Model) -> dict[str, Table]:
        """The tables of a model."""

    def try_streams(self, plan: Plan) -> None:
        """Refuses a plan that the server would refuse."""


@dataclass(frozen=True)
class Proposal:
    """What is proposed.

    Attributes:
        text: a model as TOML, with comments.
        tables: names of the tables that it has.
        left_out: why each other table is not in it, by name.
        hint: where more tables are, that were not asked for; empty where there are none.
    """

    text: str
    tables: list[str]
    left_out: dict[str, str]
    hint: str = ""


def propose(source: Catalogue, tables: Sequence[str] | None = None) -> str:
    """A model for the tables of a source, as TOML with comments, which ``load`` takes as it is.

    Args:
        source: for example ``helpers.source.LiveTables(url)``.
        tables: names as PostgreSQL quotes them, ``sales.orders``; all where its user looks when None.

    Raises:
        HelpersError: there is no table that could be held.

    With a table of customers, and one of their orders::

        >>> from helpers import model, source
        >>> with source.LiveTables(url) as live:
        ...     text = model.propose(live)
        >>> for key in model.load(text).keys:
        ...     print(key.type, key.name)
        hash customers:{customer_id}
        hash orders:{order_id}
        sorted_set customers:{customer_id}:orders
    """
    return proposal(source, tables).text


def proposal(source: Catalogue, tables: Sequence[str] | None = None) -> Proposal:
    """The same as ``propose``, with the names of the tables and the reasons of those that are left out."""
    relations = source.relations(tables)
    hidden = source.hidden() if tables is None else []
    hint = (
        f"schemas {_some(hidden)} have tables, too: add them to search_path, or give --table"
        if hidden
        else ""
    )
    if not relations:
        raise HelpersError(
            f"{source.where}: no table where this user looks ({', '.join(source.schemas) or 'no schema'}); "
            + (f"{hint}, or check the database in the URL" if hint else "check the database in the URL")
        )
    left_out = {one.table.name: one.refused for one in relations if one.refused is not None}
    _leave_out_parents(relations, left_out)
    held = [one for one in relations if one.table.name not in left_out]
    if not held:
        name, reason = next(iter(left_out.items()))
        raise HelpersError(
            f"{source.where}: no table that could be held; {one_line(name)}: {one_line(reason)}"
        )
    named = _Names(relations)
    blocks = [_HEAD]
    for one in held:
        keys = list(_keys(one, named))
        blocks += [f"# {one_line(one.table.name)}\n" + Model(keys).toml()]
    if left_out:
        lines = (f"# {one_line(name)}: {one_line(reason)}\n" for name, reason in left_out.items())
        blocks.append("# Left out:\n" + "".join(lines))
    return Proposal("\n".join(blocks), [one.table.name for one in held], left_out, hint)


def _leave_out_parents(relations: Sequence[Relation], left_out: dict[str, str]) -> None:
    """A table is held together with all that inherit from it, or not at all."""
    names = {one.table.name for one in relations}
    while True:
        found = {
            one.table.name: heir
            for one in relations
            if one.table.name not in left_out
            for heir in one.heirs
            if heir in left_out or heir not in names
        }
        for name, heir in found.items():
            left_out[name] = (
                f"{heir} inherits from it and is not held, so that a key might come twice; give that a "
                "primary key, and take both"
            )
        if not found:
            return


class _Names:
    """Names of keys that no two tables share."""

    def __init__(self, relations: Sequence[Relation]) -> None:
        self._words: dict[str, str] = {}
        self._given: list[Pattern] = []
        taken = {BOOKKEEPING.rstrip(":")}
        for one in sorted(relations, key=lambda one: _word(one.table.relation) != one.table.relation):
            word = _word(one.table.relation)
            whole = f"{_word(one.table.schema)}.{word}"
            numbered = (f"{whole}_{number}" for number in count(2))
            found = next(name for name in chain([word, whole], numbered) if name not in taken)
            taken.add(found)
            self._words[one.table.name] = found

    def word(self, foreign: ForeignKey) -> str:
        """What a table's keys begin with."""
        return self._words.get(foreign.table) or _word(foreign.relation)

    def of(self, table: Table) -> str:
        """What a table's keys begin with."""
        return self._words[table.name]

    def give(self, table: Table, head: str, columns: Sequence[str], tail: str = "") -> str:
        """A name for a kind of key, different from all that were given.

        Args:
            table: whose columns these are.
            head: the word it begins with.
            columns: in the holes.
            tail: what follows, if anything.
        """
        for begin in chain([head], (f"{head}_{number}" for number in count(2))):
            last = tail and f":{tail}"
            literals = (f"{begin}:", *[":"] * (len(columns) - 1), last) if columns else (begin + last,)
            template = Template(literals, tuple(columns))
            formats = tuple(table.columns[table.places[name]].format for name in columns)
            pattern = Pattern(template, formats, in_name=True)
            if not any(overlap(pattern, other) for other in self._given):
                self._given.append(pattern)
                return str(template)
        raise AssertionError


def _keys(one: Relation, named: _Names) -> Iterator[Key]:
    """The keys of a table."""
    table, foreign = one.table, _distinct(one.foreign)
    alone = set(table.key) >= {column.name for column in table.columns if not column.generated}
    if not alone:
        fields = {column.name: column.name for column in table.columns}
        yield Key(named.give(table, named.of(table), table.key), "hash", table.name, fields)
    elif len(table.key) == 1:
        yield Key(named.give(table, named.of(table), ()), "set", table.name, value=_template(table.key))
        return
    elif not any(set(table.key) - set(key.columns) for key in foreign):
        first, *rest = table.key
        yield Key(named.give(table, named.of(table), [first]), "set", table.name, value=_template(rest))
    for key in foreign:
        several = sum(other.table == key.table for other in foreign) > 1
        tail = named.of(table) + (f":by_{'_'.join(map(_word, key.columns))}" if several else "")
        name = named.give(table, named.word(key), key.columns, tail)
        value = [column for column in table.key if not alone or column not in key.columns] or table.key
        score = None if alone else _score(table, key)
        kind = "set" if score is None else "sorted_set"
        yield Key(name, kind, table.name, value=_template(value), score=None if score is None else score.name)


def _distinct(foreign: Sequence[ForeignKey]) -> list[ForeignKey]:
    found: dict[tuple[object, str], ForeignKey] = {}
    for one in foreign:
        found.setdefault((frozenset(zip(one.columns, one.referred, strict=True)), one.table), one)
    return list(found.values())


def _score(table: Table, foreign: ForeignKey) -> Column | None:
    """What elements stand by: the first moment that is never NULL, else the first such whole number."""
    never = [one for one in table.columns if not one.nullable and one.name not in foreign.columns]
    moments = [one for one in never if one.format.name in _MOMENTS]
    return next(iter(moments + [one for one in never if one.format.name == "integer"]), None)


def _template(columns: Sequence[str]) -> str:
    return str(Template(("", *[":"] * (len(columns) - 1), ""), tuple(columns)))


def _some(names: Sequence[str]) -> str:
    """The first few of some names."""
    return one_line(", ".join([*names[:5], *(["..."] if len(names) > 5 else [])]))


def _word(name: str) -> str:
    """A name as it may stand in a key: without what separates there, and what SCAN takes for a pattern."""
    return re.sub(r"[^\w.\-]+", "_", name)
