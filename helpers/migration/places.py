"""Where rows stand in lists with registers: a few values of a register, which PostgreSQL puts in order.

A register holds, element by element beside a list, the values by which its rows stand where they do. Which
of two comes first is known to PostgreSQL alone, by types and collations of the columns, and it needs no table
for it. So of each list some elements are read, between two of which a row must stand, then some of those
between, until there are none.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2

from helpers.errors import HelpersError, first_line
from helpers.migration.effects import Place
from helpers.model import Column, KeyKind, order_within
from helpers.source import Upstream, publication
from helpers.target import encode, resp
from helpers.text import show

FEW, MANY = 16, 500
"""How many elements are read at once of what is left of a list, for one row and for many."""
MOST_BYTES = 4 << 20
"""About so much is read and put in order at once."""
Values = tuple[str | None, ...]


@dataclass
class _Span:
    """Where some rows may stand in a list.

    Attributes:
        key: of the register.
        low: so many elements come before them, at least.
        high: so many, at most.
        rows: which of those that are looked for.
    """

    key: bytes
    low: int
    high: int
    rows: list[int]


class Finder:
    """Finds places in the registers of a target whose lease is held, so that nobody else changes them.

    Args:
        connection: the target.
        upstream: the source.
        seen: its tables as ``publication.seen`` gave them.
        idle: called now and then.
    """

    def __init__(
        self,
        connection: resp.Connection,
        upstream: Upstream,
        seen: Mapping[str, Any],
        idle: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection, self._upstream, self._seen, self._idle = connection, upstream, seen, idle
        self._longest: dict[str, int] = {}

    def find(
        self, register: KeyKind, places: Sequence[Place]
    ) -> tuple[Sequence[tuple[int, int]], Mapping[bytes, int]]:
        """Where rows stand in a register, or would, among those that are there.

        Args:
            register: the register.
            places: of each row the key, its element, and the row.

        Returns:
            (Which of the rows, how many elements stand before it), those of one key in the order of its list;
            and how many elements each key has.

        Raises:
            resp.Lost, SourceLost: a server went away.
            HelpersError: the register is not as it was left, or its values cannot be compared any more.
        """
        columns = [register.table.columns[register.table.places[name]] for name in order_within(register)]
        values = [tuple(row[register.table.places[one.name]] for one in columns) for _, _, row in places]
        of: dict[bytes, list[int]] = defaultdict(list)
        for which, (key, _, _) in enumerate(places):
            of[key].append(which)
        lengths = dict(
            zip(of, self._connection.ask(*(encode("LLEN", key) for key in of), doing="follow"), strict=True)
        )
        whole = [_Span(key, 0, lengths[key], rows) for key, rows in of.items()]
        left, found = ([span for span in whole if bool(span.high) is some] for some in (True, False))
        while left:
            spans, left = left, []
            for some, chosen in self._cut(register, spans):
                for span in self._narrowed(register, columns, some, chosen, values):
                    (left if span.low < span.high else found).append(span)
        found.sort(key=lambda span: span.low)
        shared = [span for span in found if len(span.rows) > 1]
        items = [(n, False, values[row]) for n, span in enumerate(shared) for row in span.rows]
        rows = [row for span in shared for row in span.rows]
        ordered = iter([rows[n] for n in (self._sorted(columns, register, items) if items else ())])
        return [
            (next(ordered) if len(span.rows) > 1 else row, span.low) for span in found for row in span.rows
        ], lengths

    def _cut(
        self, register: KeyKind, spans: Sequence[_Span]
    ) -> Iterator[tuple[list[_Span], list[list[int]]]]:
        """(some of the spans, which elements to look at in each), as many as may be read at once."""
        some, chosen, number = list[_Span](), list[list[int]](), 0
        for span in spans:
            longest = self._longest.get(register.name, MOST_BYTES)  # the first may be of any length
            room = MOST_BYTES // longest
            width = span.high - span.low
            few = min(max(FEW, min(len(span.rows), MANY)), max(room, 1), width)
            if some and number + few + len(span.rows) > room:
                yield some, chosen
                some, chosen, number = [], [], 0
            some.append(span)
            # The last one is among them: most rows come behind all others.
            chosen.append([span.low + width * (n + 1) // few - 1 for n in range(few)])
            number += few + len(span.rows)
        if some:
            yield some, chosen

    def _narrowed(
        self,
        register: KeyKind,
        columns: Sequence[Column],
        spans: Sequence[_Span],
        chosen: Sequence[Sequence[int]],
        values: Sequence[Values],
    ) -> Iterator[_Span]:
        """The spans, each in those parts of it between elements in which rows are."""
        self._idle()
        asked = [(span.key, at) for span, some in zip(spans, chosen, strict=True) for at in some]
        elements = self._connection.ask(*(encode("LINDEX", key, at) for key, at in asked), doing="follow")
        longest = max((len(one or b"") for one in elements), default=0) + 1
        self._longest[register.name] = max(self._longest.get(register.name, 0), longest)
        read = iter([self._values(register, key, one) for (key, _), one in zip(asked, elements, strict=True)])
        items = [
            item
            for n, (span, some) in enumerate(zip(spans, chosen, strict=True))
            for item in (
                *((n, True, next(read)) for _ in some),
                *((n, False, values[row]) for row in span.rows),
            )
        ]
        meant = [
            (n, i)
            for n, (span, some) in enumerate(zip(spans, chosen, strict=True))
            for i in (*some, *span.rows)
        ]
        parts: list[dict[int, list[int]]] = [defaultdict(list) for _ in spans]
        before = [0] * len(spans)
        for number in self._sorted(columns, register, items):
            n, i = meant[number]
            if items[number][1]:
                before[n] += 1
            else:
                parts[n][before[n]].append(i)
        for span, some, part in zip(spans, chosen, parts, strict=True):
            for count, rows in part.items():
                low = some[count - 1] + 1 if count else span.low
                high = some[count] if count < len(some) else span.high
                yield _Span(span.key, low, high, rows)

    def _sorted(
        self, columns: Sequence[Column], register: KeyKind, items: Sequence[tuple[int, bool, Values]]
    ) -> list[int]:
        """The numbers of some items in PostgreSQL's order.

        Args:
            columns: that order them.
            register: which register they are of.
            items: (to which others it belongs, whether it stands in the register, its values); of equal ones
                that which does comes last.
        """
        collations = self._seen[register.table.name].get("collations", {})
        names = ", ".join(f"v{n}" for n in range(len(columns)))
        order = ", ".join(
            f"v{n}::{one.type}" + (f" COLLATE {collations[one.name]}" if one.name in collations else "")
            for n, one in enumerate(columns)
        ).replace("%", "%%")
        arrays = ", ".join(["%s::int8[]", "%s::int8[]", "%s::bool[]", *["%s::text[]"] * len(columns)])
        given = list(zip(*(value for _, _, value in items), strict=True))
        try:
            found = self._upstream.ask(
                f"SELECT n FROM unnest({arrays}) x (n, belongs, stands, {names}) "
                f"ORDER BY belongs, {order}, stands, n",
                [
                    list(range(len(items))),
                    [belongs for belongs, _, _ in items],
                    [stands for _, stands, _ in items],
                    *map(list, given),
                ],
            )
        except psycopg2.Error as error:
            raise HelpersError(
                f"{self._upstream.where}: values by which rows of {register.table.name} stand in a list "
                f"cannot be compared any more: {first_line(error)}; {publication.AGAIN}"
            ) from error
        return [n for (n,) in found]

    def _values(self, register: KeyKind, key: bytes, element: bytes | None) -> Values:
        """The values of an element, as PostgreSQL reads them."""
        assert register.value is not None
        found = None if element is None else register.value.split(element)
        if found is None:
            raise HelpersError(
                f"redis at {self._connection.address}: {show(key)} is not as it was left; {publication.AGAIN}"
            )
        column = register.table.columns[register.table.places[register.value.columns[0]]]
        if register.value.raw and column.format.name == "bytes":
            return (f"\\x{found[0].hex()}",)
        return tuple(one.decode() for one in found)
