"""The plan of a model: its keys bound to tables that are there, and the streams in which their rows are read.

From it follows which rows are held and which are rejected, how keys are named and known again, what can be
restored, and how a load is cut. What does not fit together is refused here, before anything is written.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from helpers.model import guiding, rows
from helpers.model.binding import bind, misfit, numbered
from helpers.model.declaration import Model, parse
from helpers.model.formats import FORMATS
from helpers.model.guiding import BOOKKEEPING, REGISTERED
from helpers.model.kinds import Holder, KeyKind, Pair, holder_of
from helpers.model.streams import PARTITIONS, Partition, Stream, ranges
from helpers.model.tables import Table
from helpers.model.templates import Pattern, Template, overlap


@dataclass(frozen=True)
class Plan:
    """A model bound to its tables.

    Args:
        model: as it is declared.
        bound: each table by what the model's ``table`` says of it; several may say the same.
        prefix: stands before every key.
        encoding: of the database, as PostgreSQL names it.
        registered: names of the lists that have a register, as they are followed.

    Attributes:
        kinds: of the model's keys.
        registers: the kinds of the migration's own that are written beside them.

    Raises:
        HelpersError: the model does not fit the tables, or its keys do not fit together; it names the file,
            the key and the remedy.
    """

    model: Model
    bound: Mapping[str, Table]
    prefix: str = ""
    encoding: str = "UTF8"
    registered: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(init=False)
    kinds: tuple[KeyKind, ...] = field(init=False)
    registers: tuple[KeyKind, ...] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, Table] = {}
        for key in self.model.keys:
            table = self.bound[key.table]
            found.setdefault(table.name, table)
        object.__setattr__(self, "tables", found)
        object.__setattr__(self, "kinds", tuple(self._kinds()))
        lists = [kind for kind in self.kinds if kind.name in self.registered]
        object.__setattr__(self, "registers", tuple(map(guiding.register, lists)))

    def registering(self, names: Sequence[str]) -> "Plan":
        """The same plan with registers beside some of its lists, and no others.

        Args:
            names: of these lists.
        """
        return self if tuple(names) == self.registered else replace(self, registered=tuple(names))

    # -- binding

    def _kinds(self) -> Iterator[KeyKind]:
        found: list[KeyKind] = []
        for key in self.model.keys:
            kind = bind(key, self.bound[key.table], self.model, [one.name for one in found])
            found.append(kind)
        own = Pattern(Template((BOOKKEEPING, ""), ("any",)), (FORMATS["text"],), in_name=False)
        for key, kind in zip(self.model.keys, found, strict=True):
            if overlap(kind.key, own):
                raise misfit(
                    self.model,
                    key,
                    f"it could be named as the migration's own {BOOKKEEPING}state; begin it otherwise",
                )
        for (one, a), (other, b) in combinations(zip(self.model.keys, found, strict=True), 2):
            if overlap(a.key, b.key):
                raise misfit(
                    self.model,
                    other,
                    f"it and key {one.name!r} could have the same name; let another word stand in one of "
                    "them",
                )
        yield from sorted(found, key=lambda kind: not kind.single)

    @property
    def written(self) -> tuple[KeyKind, ...]:
        """All kinds of keys that are written: the model's and the registers."""
        return (*self.kinds, *self.registers)

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
        return {name: holder_of(table, self.kinds_of(name)) for name, table in self.tables.items()}

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
    def register_limits(self) -> Mapping[str, "rows.Limits"]:
        """Of each register, by its name, which rows it could hold."""
        return {one.name: rows.Limits(one.table, [one], []) for one in self.registers}

    @cached_property
    def pairs(self) -> Mapping[str, Pair]:
        """Of each table whose rows a list and a sorted set hold together, these."""
        return {name: one.pair for name, one in self.holders.items() if one.pair}

    # -- streams

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """What a load reads: keys of one row first, then collections that lead back, then those with rows."""
        holding = {kind.name for one in self.holders.values() for kind in one.kinds}

        def rank(kind: KeyKind) -> int:
            return 0 if kind.single else 2 if (kind.of or kind).name in holding else 1

        ranked = sorted(self.written, key=rank)  # a register last, as it leaves the names of streams alone
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
        name = table.name if counts else next(n for n in numbered(one.name) if n not in taken)
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
        return [one for stream in self.streams for one in ranges(stream, cuts.get(stream.name, []))]

    # -- keys

    @cached_property
    def _by_head(self) -> "list[tuple[int, dict[bytes, tuple[re.Pattern[bytes], list[KeyKind]]]]]":
        """Of each length: the beginnings of keys that have it, each with the kinds that begin so."""
        heads: dict[bytes, list[KeyKind]] = {}
        for kind in self.written:
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
        heads = sorted({kind.key.template.literals[0] for kind in self.written})
        return tuple(h for h in heads if not any(h != o and h.startswith(o) for o in heads))

    @cached_property
    def glob(self) -> str:
        """A SCAN MATCH pattern that every key of the model matches; some others do too."""

        def escaped(text: str) -> str:
            return re.sub(r"([*?\[\]\\^])", r"\\\1", text)

        heads = [kind.key.template.literals[0].encode() for kind in self.written]
        common = min(map(len, heads))
        letters = [sorted({head[i : i + 1] for head in heads}) for i in range(min(common, 3))]
        if not all(letter.isalnum() and letter.isascii() for some in letters for letter in some):
            letters = []
        classes = "".join(f"[{b''.join(some).decode()}]" for some in letters)
        return f"{escaped(self.prefix)}{classes}*"

    # -- records

    def record(self) -> dict[str, str]:
        """What the state keeps of it, as fields."""
        tables = {said: {"name": t.name, **t.record()} for said, t in self.bound.items()}
        own = {REGISTERED: json.dumps(self.registered)} if self.registered else {}
        return {"model": self.model.toml(), "tables": json.dumps(tables), **own}

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
        declared = parse(state["model"], "the recorded model")
        return cls(declared, tables, prefix, registered=registered(state))


def registered(state: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the lists that have a register.

    Args:
        state: fields of the migration's state.
    """
    return tuple(json.loads(state.get(REGISTERED, "[]")))
