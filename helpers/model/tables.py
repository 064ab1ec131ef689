"""Tables as a model needs to know them: names as PostgreSQL quotes them, columns, unique keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from helpers.model.formats import FORMATS, Format

_PLAIN = re.compile(r"(?:[a-z_]|[^\0-\x7f])(?:[a-z0-9_$]|[^\0-\x7f])*")
_PART = re.compile(r'(?:"((?:[^"\0]|"")+)"|((?:[A-Za-z_]|[^\0-\x7f])(?:[A-Za-z0-9_$]|[^\0-\x7f])*))(\.|$)')


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the catalogue, without quotes.
        type: as ``format_type`` gives it, with its schema where that is not ``pg_catalog``.
        format: how its values are written.
        nullable: whether it may be NULL.
        generated: whether PostgreSQL computes it from others.
        bounded: whether no value of it can be nearly as long as what Redis holds.
    """

    name: str
    type: str
    format: Format
    nullable: bool = True
    generated: bool = False
    bounded: bool = True

    @cached_property
    def sql(self) -> str:
        """Its name in a query."""
        return quoted(self.name)

    @property
    def cast(self) -> str:
        """What stands behind a literal that is compared with it: rows of composite types need it."""
        return f"::{self.type}" if "." in self.type else ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: what the model, the state and results call it.
        schema: its schema.
        relation: its name there, both without quotes.
        columns: in their order.
        keys: unique keys over columns that are NOT NULL, the primary key first.
        only: other tables inherit from it, whose rows are theirs.
    """

    name: str
    schema: str
    relation: str
    columns: tuple[Column, ...]
    keys: tuple[tuple[str, ...], ...]
    only: bool = False

    @cached_property
    def sql(self) -> str:
        """What a query reads from."""
        return ("ONLY " if self.only else "") + self.sql_name

    @cached_property
    def sql_name(self) -> str:
        """Its name in a statement."""
        return f"{quoted(self.schema)}.{quoted(self.relation)}"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns by which its rows are told apart."""
        return self.keys[0]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each column stands in a row."""
        return {column.name: place for place, column in enumerate(self.columns)}

    def column(self, name: str) -> Column | None:
        """The column that a model names, as it is or in quotes; None where there is none."""
        if name not in self.places and len(name) > 2 and name[0] == name[-1] == '"':
            name = name[1:-1].replace('""', '"')
        return self.columns[self.places[name]] if name in self.places else None

    def record(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "schema": self.schema,
            "relation": self.relation,
            "columns": [
                [one.name, one.type, one.format.name, one.nullable, one.generated, one.bounded]
                for one in self.columns
            ],
            "keys": [list(key) for key in self.keys],
            "only": self.only,
        }

    @classmethod
    def recorded(cls, name: str, record: Mapping[str, Any]) -> "Table":
        """The table that ``record`` gave.

        Args:
            name: what it is called.
            record: from JSON.
        """
        columns = tuple(
            Column(column, type_, FORMATS[format_], nullable, generated, bounded)
            for column, type_, format_, nullable, generated, bounded in record["columns"]
        )
        keys = tuple(tuple(key) for key in record["keys"])
        return cls(name, record["schema"], record["relation"], columns, keys, record["only"])


def quoted(name: str) -> str:
    """A name in quotes, as SQL takes any."""
    return '"' + name.replace('"', '""') + '"'


def parse_name(text: str) -> tuple[str | None, str]:
    """(schema, relation) of a name as PostgreSQL quotes it; no schema where none stands before a dot.

    Raises:
        ValueError: it is no such name.
    """
    parts, at = [], 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            break
        parts.append(found[1].replace('""', '"') if found[1] else _folded(found[2]))
        at = found.end()
    if at < len(text) or not 1 <= len(parts) <= 2 or text.endswith("."):
        raise ValueError(
            f"{text!r} is no name of a table; write table, schema.table, or in quotes what is not plain "
            'lower case: "My table"'
        )
    return (parts[0] if len(parts) == 2 else None), parts[-1]


def write_name(schema: str | None, relation: str) -> str:
    """The name that ``parse_name`` reads, quoted where it must be.

    Args:
        schema: of the table; None to leave it to the search path.
        relation: the table's own name, as the catalogue has it.
    """
    return ".".join(
        part if _PLAIN.fullmatch(part) else quoted(part) for part in (schema, relation) if part is not None
    )


def _folded(name: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
