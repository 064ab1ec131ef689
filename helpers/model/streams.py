"""The streams in which a plan's rows are read, and how they are cut where several processes load.

A *stream* is one of the queries of a load. A *partition* is a range of it, where several processes load, or
all of it. A *batch* is as many of its rows as are written at once. The *owner* of an element or member is
what the name of its key holds of the row: in ``user:{user_id}:orders`` the user.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from helpers.model import rows
from helpers.model.kinds import KeyKind, Pair
from helpers.model.tables import Column, Table, quoted

PARTITIONS = "partitions"
"""Field of the state: where the streams are cut."""


@dataclass(frozen=True)
class Stream:
    """One of the queries of a load.

    Attributes:
        name: its name in the state.
        table: the table it reads.
        kinds: the kinds of keys that are made of it: of one row each, or collections of one owner.
        columns: what is read, the columns that order it first.
        order: the columns that order it and mark a position; the owner's first.
        owner: how many of them are the owner's; 0 where each row is a key of its own.
        where: which rows are read, as SQL.
        pair: the list and sorted set among the kinds that hold a row together.
    """

    name: str
    table: Table
    kinds: tuple[KeyKind, ...]
    columns: tuple[str, ...]
    order: tuple[str, ...]
    owner: int
    where: str
    pair: Pair | None = None

    @property
    def single(self) -> bool:
        """Whether each row is a key of its own."""
        return self.kinds[0].single

    @property
    def counts(self) -> bool:
        """Whether its rows count as those of its table."""
        return self.name == self.table.name

    @cached_property
    def order_sql(self) -> tuple[str, ...]:
        """What it is ordered by: rows of one owner follow each other, whatever equal means to their type.

        Columns are those of the table: ORDER BY takes a name alone for that of what is selected, which may
        be a text.
        """
        of = quoted(self.table.relation)
        return tuple(
            rows.grouping_sql(self._column(name), of) if place < self.owner else f"{of}.{quoted(name)}"
            for place, name in enumerate(self.order)
        )

    def literals(self, values: Iterable[str]) -> list[str]:
        """Values of the first columns of the order, as what these are compared with.

        Args:
            values: as PostgreSQL writes them.
        """
        casts = [
            "" if place < self.owner else self._column(name).cast for place, name in enumerate(self.order)
        ]
        return [rows.literal(value) + cast for value, cast in zip(values, casts, strict=False)]

    def after_sql(self, position: Iterable[str]) -> str:
        """The rows behind a position, as SQL.

        Args:
            position: values of the columns of the order, as PostgreSQL writes them.
        """
        return f"({', '.join(self.order_sql)}) > ({', '.join(self.literals(position))})"

    @property
    def columns_sql(self) -> str:
        """What it selects; bytes as hex, which COPY writes without escapes."""
        columns = map(self._column, self.columns)
        return ", ".join(f"encode({c.sql}, 'hex')" if c.format.name == "bytes" else c.sql for c in columns)

    def _column(self, name: str) -> Column:
        return self.table.columns[self.table.places[name]]


@dataclass(frozen=True)
class Partition:
    """A stream, or the rows of it whose first column of the order lies in a range.

    So all rows of one owner are in the same partition.

    Attributes:
        stream: what it is cut from.
        number: which of the stream's partitions, from 0; None where the stream is whole.
        low: where it begins, as PostgreSQL's text; None where it is open below.
        high: where the next one begins; None where it is open above.
    """

    stream: Stream
    number: int | None = None
    low: str | None = None
    high: str | None = None

    @property
    def name(self) -> str:
        """Its name in the state."""
        return self.stream.name if self.number is None else f"{self.stream.name}.{self.number}"

    @property
    def where(self) -> str:
        """Which rows are in it, as SQL."""
        first = self.stream.order_sql[0]
        low = [] if self.low is None else [f"{first} >= {self.stream.literals([self.low])[0]}"]
        high = [] if self.high is None else [f"{first} < {self.stream.literals([self.high])[0]}"]
        return " AND ".join([f"({self.stream.where})", *low, *high])


def partition_names(state: Mapping[str, str]) -> list[str]:
    """The names of all partitions of a load that several processes do.

    Args:
        state: fields of the migration's state.
    """
    cuts = json.loads(state.get(PARTITIONS, "{}"))
    return [
        name
        for stream, keys in cuts.items()
        for name in ([f"{stream}.{number}" for number in range(len(keys) + 1)] if keys else [stream])
    ]


def ranges(stream: Stream, cuts: Sequence[Any]) -> list[Partition]:
    """The partitions of a stream, in their order.

    Args:
        stream: the stream.
        cuts: where the second and each further one begins; none where it stays whole.
    """
    if not cuts:
        return [Partition(stream)]
    ends = [None, *map(str, cuts), None]
    return [Partition(stream, n, ends[n], ends[n + 1]) for n in range(len(ends) - 1)]
