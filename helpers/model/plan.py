"""The plan of a model: its keys bound to tables that are there, and the streams in which their rows are read.

From it follows which rows are held and which are rejected, how keys are named and known again, what can be
restored, and how a load is cut. What does not fit together is refused here, before anything is written.

A *stream* is one of the queries of a load. A *partition* is a range of it, where several processes load, or
all of it. A *batch* is as many of its rows as are written at once.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

from helpers.errors import HelpersError
from helpers.model import rows
from helpers.model.declaration import Key, Model, parse
from helpers.model.formats import FORMATS
from helpers.model.tables import Column, Table, quoted
from helpers.model.templates import Pattern, Template, overlap
from helpers.text import one_line

BOOKKEEPING = "migration:"
"""What the keys of a migration's own bookkeeping begin with, behind the prefix."""
SINGLE = ("hash", "string")
"""Types of keys that hold one row."""
PARTITIONS = "partitions"
"""Field of the state: where the streams are cut."""


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
    """

    name: str
    type: str
    table: Table
    key: Pattern
    fields: tuple[tuple[str, Column], ...] = ()
    value: Pattern | None = None
    score: Column | None = None
    order: tuple[str, ...] = ()

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

    def of(self, kind: KeyKind) -> tuple[int, ...]:
        """Where the columns of a kind's name stand in ``columns``."""
        return tuple(self.columns.index(name) for name in kind.key.columns)


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


@dataclass(frozen=True)
class Plan:
    """A model bound to its tables.

    Args:
        model: as it is declared.
        tables: each by what the model's ``table`` says of it; several may say the same.
        prefix: stands before every key.
        encoding: of the database, as PostgreSQL names it.

    Raises:
        HelpersError: the model does not fit the tables, or its keys do not fit together; it names the file,
            the key and the remedy.
    """

    model: Model
    bound: Mapping[str, Table]
    prefix: str = ""
    encoding: str = "UTF8"
    tables: Mapping[str, Table] = field(init=False)
    kinds: tuple[KeyKind, ...] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, Table] = {}
        for key in self.model.keys:
            table = self.bound[key.table]
            found.setdefault(table.name, table)
        object.__setattr__(self, "tables", found)
        object.__setattr__(self, "kinds", tuple(self._kinds()))

    # -- binding

    def _kinds(self) -> Iterator[KeyKind]:
        found: list[KeyKind] = []
        for key in self.model.keys:
            kind = _bind(key, self.bound[key.table], self.model, [one.name for one in found])
            found.append(kind)
        own = Pattern(Template((BOOKKEEPING, ""), ("any",)), (FORMATS["text"],), in_name=False)
        for key, kind in zip(self.model.keys, found, strict=True):
            if overlap(kind.key, own):
                raise _refused(
                    self.model,
                    key,
                    f"it could be named as the migration's own {BOOKKEEPING}state; begin it otherwise",
                )
        for (one, a), (other, b) in combinations(zip(self.model.keys, found, strict=True), 2):
            if overlap(a.key, b.key):
                raise _refused(
                    self.model,
                    other,
                    f"it and key {one.name!r} could have the same name; let another word stand in one of "
                    "them",
                )
        yield from sorted(found, key=lambda kind: not kind.single)

    # -- rows

    def kinds_of(self, table: str) -> list[KeyKind]:
        """The kinds of keys that hold rows of a table.

        Args:
            table: its name.
        """
        return [kind for kind in self.kinds if kind.table.name == table]

    @cached_property
    def holders(self) -> Mapping[str, "Holder"]:
        """Of each table, what holds its rows so that they can be given back."""
        return {name: _holder(table, self.kinds_of(name)) for name, table in self.tables.items()}

    @property
    def warnings(self) -> list[str]:
        """What a user should know: which tables cannot be restored, and why."""
        return [
            f"{name} cannot be restored from Redis: no key holds "
            + (", ".join(one.lost) if one.lost else "a row as a whole")
            for name, one in self.holders.items()
            if not one.restorable
        ]

    @cached_property
    def limits(self) -> Mapping[str, "rows.Limits"]:
        """Of each table, which rows can be held."""
        return {
            name: rows.Limits(
                table,
                self.kinds_of(name),
                self.holders[name].kinds,
                strict=self.model.dates == "iso",
                any_bytes=self.encoding == "SQL_ASCII",
            )
            for name, table in self.tables.items()
        }

    def held_sql(self, table: str) -> str:
        """Rows of a table that are held, as SQL (``reject_reason`` says the same of one row).

        Args:
            table: its name.
        """
        return self.limits[table].sql

    def asks_sql(self, kind: KeyKind) -> str:
        """Rows that a kind of key holds, as SQL."""
        return self.limits[kind.table.name].asks_sql(kind)

    def reject_reason(self, table: str, row: Sequence[str | None]) -> str | None:
        """Why a row cannot be held, by name (see ``rows.REASONS``); None when it can.

        Args:
            table: its name.
            row: values of all columns as PostgreSQL writes them under ``formats.SETTINGS``, None for NULL;
                bytes that are no UTF-8 as surrogates.
        """
        return self.limits[table].reason(row)

    @cached_property
    def pairs(self) -> Mapping[str, Pair]:
        """Of each table whose rows a list and a sorted set hold together, these."""
        return {name: one.pair for name, one in self.holders.items() if one.pair}

    # -- streams

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """What a load reads: keys of one row first, then collections that lead back, then those with rows."""
        holding = {kind.name for one in self.holders.values() for kind in one.kinds}
        ranked = sorted(self.kinds, key=lambda k: 0 if k.single else 2 if k.name in holding else 1)
        groups: dict[Any, list[KeyKind]] = {}
        for kind in ranked:
            by = (kind.owner, kind.sorted_by) if not kind.single else ()
            groups.setdefault((kind.table.name, kind.single, by, self.asks_sql(kind)), []).append(kind)
        first: dict[str, list[KeyKind]] = {}
        for kinds in groups.values():
            name, held = kinds[0].table.name, any(kind.name in holding for kind in kinds)
            if name not in first or (held and not any(kind.name in holding for kind in first[name])):
                first[name] = kinds
        taken = set(self.tables)
        return tuple(
            self._stream(kinds, kinds is first[kinds[0].table.name], taken) for kinds in groups.values()
        )

    def _stream(self, kinds: list[KeyKind], counts: bool, taken: set[str]) -> Stream:
        one, table = kinds[0], kinds[0].table
        name = table.name if counts else next(n for n in _numbered(one.name) if n not in taken)
        taken.add(name)
        order = table.key if one.single else tuple(dict.fromkeys((*one.owner, *one.sorted_by)))
        used = {c for kind in kinds for c in (*kind.holds, *kind.needs)}
        more = (column.name for column in table.columns if column.name in used)
        columns = tuple(dict.fromkeys((*order, *more)))
        pair = self.pairs.get(table.name)
        return Stream(
            name,
            table,
            tuple(kinds),
            columns,
            order,
            0 if one.single else len(one.owner),
            self.asks_sql(one),
            pair if pair and pair.list in kinds else None,
        )

    def partitions(self, state: Mapping[str, str]) -> list[Partition]:
        """The partitions of a load, in the order of ``streams``; a stream that is not cut is one partition.

        Args:
            state: fields of the migration's state.
        """
        cuts = json.loads(state.get(PARTITIONS, "{}"))
        return [one for stream in self.streams for one in _ranges(stream, cuts.get(stream.name, []))]

    # -- keys

    @cached_property
    def regex(self) -> "re.Pattern[bytes]":
        """Its ``fullmatch`` of a key, with the prefix, has the kind's place among ``kinds`` in ``lastgroup``.

        It is written k0, k1.
        """
        whole = "|".join(f"(?P<k{i}>{kind.key.regex()})" for i, kind in enumerate(self.kinds))
        return re.compile(f"{re.escape(self.prefix)}(?:{whole})".encode(), re.S)

    @cached_property
    def _by_head(self) -> "list[tuple[int, dict[bytes, tuple[re.Pattern[bytes], list[KeyKind]]]]]":
        """Of each length: the beginnings of keys that have it, each with the kinds that begin so."""
        heads: dict[bytes, list[KeyKind]] = {}
        for kind in self.kinds:
            heads.setdefault(self.prefix.encode() + kind.key.literals[0], []).append(kind)
        found: dict[int, dict[bytes, tuple[re.Pattern[bytes], list[KeyKind]]]] = {}
        for head, kinds in heads.items():
            whole = "|".join(f"({kind.key.regex()})" for kind in kinds)
            regex = re.compile(f"{re.escape(self.prefix)}(?:{whole})".encode(), re.S)
            found.setdefault(len(head), {})[head] = regex, kinds
        return sorted(found.items())

    def kind_of(self, key: bytes) -> KeyKind | None:
        """The kind of a key, with the prefix; None when it is none of the model's."""
        for length, heads in self._by_head:  # one regular expression of hundreds of kinds would be slow
            if (some := heads.get(key[:length])) and (found := some[0].fullmatch(key)):
                return some[1][(found.lastindex or 1) - 1]
        return None

    def key_of(self, kind: KeyKind, values: Sequence[bytes]) -> bytes:
        """The key of a kind, with the prefix.

        Args:
            kind: one of ``kinds``.
            values: the canonical text of the columns in its name.
        """
        return self.prefix.encode() + kind.key.text(values)

    def split(self, kind: KeyKind, key: bytes) -> tuple[bytes, ...] | None:
        """The values that ``key_of`` was given; None when the key is of another kind."""
        begin = self.prefix.encode()
        return kind.key.split(key[len(begin) :]) if key.startswith(begin) else None

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """What the model's keys begin with, behind the prefix; none is the beginning of another."""
        heads = sorted({kind.key.template.literals[0] for kind in self.kinds})
        return tuple(h for h in heads if not any(h != o and h.startswith(o) for o in heads))

    @cached_property
    def glob(self) -> str:
        """A SCAN MATCH pattern that every key of the model matches; some others do too."""

        def escaped(text: str) -> str:
            return re.sub(r"([*?\[\]\\^])", r"\\\1", text)

        heads = [kind.key.template.literals[0].encode() for kind in self.kinds]
        common = min(map(len, heads))
        letters = [sorted({head[i : i + 1] for head in heads}) for i in range(min(common, 3))]
        if not all(letter.isalnum() and letter.isascii() for some in letters for letter in some):
            letters = []
        classes = "".join(f"[{b''.join(some).decode()}]" for some in letters)
        return f"{escaped(self.prefix)}{classes}*"

    # -- records

    def record(self) -> dict[str, str]:
        """What the state keeps of it, as fields."""
        return {
            "model": self.model.toml(),
            "tables": json.dumps({said: {"name": t.name, **t.record()} for said, t in self.bound.items()}),
        }

    @classmethod
    def recorded(cls, state: Mapping[str, str], prefix: str) -> "Plan | None":
        """The plan that a state recorded; None when it recorded none.

        Args:
            state: fields of the migration's state.
            prefix: the prefix of the migration.
        """
        if "model" not in state or "tables" not in state:
            return None
        tables = {said: Table.recorded(one["name"], one) for said, one in json.loads(state["tables"]).items()}
        return cls(parse(state["model"], "the recorded model"), tables, prefix)


@dataclass(frozen=True)
class Holder:
    """What holds a table's rows so that they can be given back.

    Attributes:
        kinds: the kinds of keys that do so, together; none where no kinds do.
        lost: columns that no kind holds, where that is the reason.
        pair: the list and sorted set, where they do so together.
    """

    kinds: tuple[KeyKind, ...] = ()
    lost: tuple[str, ...] = ()
    pair: Pair | None = None

    @property
    def restorable(self) -> bool:
        """Whether the table can be restored from Redis."""
        return bool(self.kinds)


def _holder(table: Table, kinds: Sequence[KeyKind]) -> Holder:
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
    best = max(kinds, key=lambda kind: len(wanted & set(kind.holds)))
    lost = [c.name for c in table.columns if c.name in wanted and c.name not in best.holds]
    nowhere = [name for name in lost if not any(name in kind.holds for kind in kinds)]
    return Holder(lost=tuple(nowhere or lost))


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
        and (tie,) in one.table.keys
    )
    return Pair(one, other, column) if fits else None


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


def _ranges(stream: Stream, cuts: Sequence[Any]) -> list[Partition]:
    if not cuts:
        return [Partition(stream)]
    ends = [None, *map(str, cuts), None]
    return [Partition(stream, n, ends[n], ends[n + 1]) for n in range(len(ends) - 1)]


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _refused(model: Model, key: Key, why: str) -> HelpersError:
    return HelpersError(one_line(f"{model.where}: key {key.name!r}: {why}"))


def _bind(key: Key, table: Table, model: Model, taken: Sequence[str]) -> KeyKind:
    """The kind of key that a declared one is, once its table is known.

    Args:
        key: as it is declared.
        table: its table.
        model: which it is of, for messages.
        taken: names of kinds that are there already.

    Raises:
        HelpersError: it does not fit.
    """

    def column(name: str) -> Column:
        found = table.column(name)
        if found is None:
            names = ", ".join(one.name for one in table.columns)
            raise _refused(model, key, f"table {table.name} has no column {name!r}; it has {names}")
        return found

    def pattern(text: str, option: str) -> Pattern:
        template = Template.parse(text)
        columns = [column(name) for name in template.columns]
        bound = Template(template.literals, tuple(one.name for one in columns))
        found = Pattern(bound, tuple(one.format for one in columns), in_name=option == "name")
        if fault := found.fault():
            raise _refused(model, key, f"{option} {text!r}: {fault}")
        return found

    if not table.keys:
        raise _refused(
            model,
            key,
            f"table {table.name} has no unique key over NOT NULL columns, so that its rows could not be told "
            "apart; give it a primary key, or leave it out",
        )
    name = pattern(key.name, "name")
    value = None if key.value is None else pattern(key.value, "value")
    fields: tuple[tuple[str, Column], ...] = ()
    if value is None:
        pairs = (
            key.fields.items() if key.fields is not None else ((one.name, one.name) for one in table.columns)
        )
        fields = tuple((field_, column(of)) for field_, of in pairs)
    score = None if key.score is None else column(key.score)
    if score is not None and not score.format.scored:
        raise _refused(
            model,
            key,
            f"score {score.name} is of type {score.type}; a score is a number, a date or a time of day",
        )
    order = [column(one).name for one in key.order]
    if key.type == "list" and not any(set(one) <= set(order) for one in table.keys):
        order += [one for one in table.key if one not in order]
    told = set(name.columns) if key.type in SINGLE else {*name.columns, *(value.columns if value else ())}
    if key.type != "list" and not any(set(one) <= told for one in table.keys):
        where = "name does" if key.type in SINGLE else "name and value together do"
        raise _refused(
            model,
            key,
            f"{where} not hold a unique key of {table.name}, so that rows would fall together; it has "
            f"{' or '.join(f'({chr(44).join(one)})' for one in table.keys)}",
        )
    words = re.findall(r"\w+", " ".join(name.template.literals)) or [table.name]
    called = next(one for one in _numbered("_".join(words)) if one not in taken)
    type_ = "zset" if key.type == "sorted_set" else key.type
    return KeyKind(called, type_, table, name, fields, value, score, tuple(order))
