"""What Redis holds, as rows again: keys of one row, read in windows, every value checked.

Values stay bytes all the way to COPY, so that they come back as they were. They are looked at strictly: what
no migration would have written is named (``helpers.migration.stored_values``).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis

from helpers.errors import HelpersError
from helpers.migration.stored_values import INT8, Texts, first_fault, too_long
from helpers.model import Column, KeyKind, Plan, Table
from helpers.target import encode, resp
from helpers.text import show

MOST_ROWS = 10_000
WINDOW_BYTES = 2 << 20
MEND = "mend it by hand, or by `migrate` from its source"
Values = Sequence[bytes | None]
"""The values of a column, None for NULL."""


@dataclass(frozen=True)
class TableRows:
    """Some rows of a table.

    Attributes:
        table: whose they are.
        columns: those of its columns that PostgreSQL does not compute.
        values: of each of them.
        keys: the Redis key that each row came from.
        fields: what a column is called there, where that is not its name.
    """

    table: Table
    columns: Sequence[Column]
    values: Sequence[Values]
    keys: Sequence[bytes]
    fields: Mapping[str, str] = field(default_factory=dict)


class Window:
    """How many rows to ask for at once for replies near ``WINDOW_BYTES``: judged by the last ones."""

    def __init__(self) -> None:
        self.rows = 500

    def saw(self, rows: int, size: int) -> None:
        """Take note of some replies.

        Args:
            rows: how many rows they held in all.
            size: how many bytes of RESP they were.
        """
        fitting = max(rows, 1) * WINDOW_BYTES // max(size, 1)
        self.rows = max(1, min(fitting, 4 * self.rows, MOST_ROWS))


class Holding:
    """A kind of key that holds rows.

    Args:
        kind: the kind.
        prefix: the prefix of the migration.

    Attributes:
        begin: where in a key the whole number begins that is all that its name holds.
        end: how many bytes stand behind it; None where the name holds anything else.
    """

    def __init__(self, kind: KeyKind, prefix: bytes) -> None:
        self.kind, self._prefix = kind, prefix
        self._head, self._tail = prefix + kind.key.literals[0], kind.key.literals[-1]
        self._texts = Texts(kind.key)
        numbered = [one.name for one in kind.key.formats] == ["integer"]
        self.begin, self.end = len(self._head), len(self._tail) if numbered else None

    def keys(self, names: Sequence[int | bytes]) -> tuple[list[bytes], list[Sequence[bytes]]]:
        """(keys, values of each column in their name).

        Args:
            names: the numbers in them, or themselves.
        """
        if self.end is not None:
            numbers = [b"%d" % name for name in names if isinstance(name, int)]
            return [b"%b%b%b" % (self._head, number, self._tail) for number in numbers], [numbers]
        keys = [name for name in names if isinstance(name, bytes)]
        begin = len(self._prefix)
        found = [match.groups() for key in keys if (match := self._texts.match(key[begin:]))]
        return keys, self._texts.converted(list(zip(*found, strict=True)))


class StoredRows:
    """The rows that Redis holds of a migration; it is only read.

    Args:
        connection: Redis, or a cluster.
        plan: of the migration.

    Attributes:
        window: how many rows are asked for at once.
        kinds: the kinds of keys that hold rows: each table's, by name.
        left_out: hash fields that no column takes, by table.
        example: one of them, as ``field of key``.
    """

    def __init__(self, connection: resp.Connection, plan: Plan) -> None:
        self.connection, self.plan = connection, plan
        self.window = Window()
        self.left_out: Counter[str] = Counter()
        self.example: dict[str, str] = {}
        prefix = plan.prefix.encode()
        self._kinds = {kind.name: kind for holder in plan.holders.values() for kind in holder.kinds}
        self.kinds = {name: Holding(kind, prefix) for name, kind in self._kinds.items()}
        self._names = list(self.kinds)
        self._partners = {pair.scored.name: pair.list for pair in plan.pairs.values()}
        # Of each kind: the number of what its keys are kept as, and where the number in them stands.
        self._ways = {
            name: (
                self._names.index(partner.name if (partner := self._partners.get(name)) else name),
                one.begin,
                one.end,
            )
            for name, one in self.kinds.items()
        }

    def named(
        self, keys: Iterable[tuple[str, bytes]]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, bytes]]]:
        """(number of the kind, name) of the keys that hold rows; of a list and a sorted set, the list's.

        Args:
            keys: (kind, key), as ``keyspace.scan`` gives them.

        Returns:
            Those that a number names, and those that the key itself names.

        Raises:
            HelpersError: a number has more than 64 bits.
        """
        numbers: list[tuple[int, int]] = []
        names: list[tuple[int, bytes]] = []
        for kind, key in keys:
            if kind not in self._ways:
                continue
            place, begin, end = self._ways[kind]
            if end is None:
                names.append((place, self._name(kind, key)))
                continue
            number = int(key[begin : len(key) - end])
            if len(key) > 18 and number not in INT8:
                raise self.damaged(key, "is no key that a row can have")
            numbers.append((place, number))
        return numbers, names

    def _name(self, kind: str, key: bytes) -> bytes:
        """What names a key where no number does."""
        if kind not in self._partners:
            return key
        values = self.plan.split(self._kinds[kind], key)
        assert values is not None
        return self.plan.key_of(self._partners[kind], values)

    def kind(self, number: int) -> Holding:
        """The kind that ``named`` gave a number."""
        return self.kinds[self._names[number]]

    def rows_of(self, holding: Holding, names: Sequence[int | bytes]) -> TableRows:
        """The rows that keys of one row each hold; a key that is gone has none.

        Args:
            holding: their kind, hash or string.
            names: of the keys.

        Raises:
            HelpersError: a key does not hold what the migration wrote.
        """
        keys, owners = holding.keys(names)
        if holding.kind.type == "hash":
            return self._hashes(holding.kind, keys, owners)
        return self._strings(holding.kind, keys, owners)

    def _hashes(self, kind: KeyKind, keys: list[bytes], owners: list[Sequence[bytes]]) -> TableRows:
        names = [name.encode() for name, _ in kind.fields]
        replies = self.ask("hash", {key: encode("HGETALL", key) for key in keys}, len(keys))
        whole = [reply[1::2] for reply in replies if reply[::2] == names]
        if len(whole) == len(keys):  # each field is there, as the migration wrote them
            return self._checked(kind, owners, list(zip(*whole, strict=True)), keys)
        rows, there = [], []
        table = kind.table.name
        for place, (key, reply) in enumerate(zip(keys, replies, strict=True)):
            if not reply:
                continue
            found = dict(zip(reply[::2], reply[1::2], strict=True))
            row = [found.pop(name, None) for name in names]
            if found:
                self.left_out[table] += len(found)
                self.example.setdefault(table, f"{show(next(iter(found)))} of {show(key)}")
            if row.count(None) == len(row):
                raise self.damaged(key, f"holds none of {', '.join(name for name, _ in kind.fields)}")
            rows.append(row)
            there.append(place)
        return self._checked(kind, _at(owners, there), list(zip(*rows, strict=True)), _at([keys], there)[0])

    def _strings(self, kind: KeyKind, keys: list[bytes], owners: list[Sequence[bytes]]) -> TableRows:
        replies = self.ask("string", {key: encode("GET", key) for key in keys}, len(keys))
        there = [place for place, reply in enumerate(replies) if reply is not None]
        held, texts = _at([keys, replies], there)
        values: list[Values]
        if kind.value is None:
            objects = [self._object(kind, key, text) for key, text in zip(held, texts, strict=True)]
            values = list(zip(*objects, strict=True))
        else:
            split = Texts(kind.value)
            found = [split.match(text) for text in texts]
            if None in found:
                place = found.index(None)
                raise self.damaged(held[place], f"is no {kind.value.template}", texts[place])
            groups = [match.groups() for match in found if match]
            values = list(split.converted(list(zip(*groups, strict=True)))) if groups else []
        return self._checked(kind, _at(owners, there), values, held)

    def _object(self, kind: KeyKind, key: bytes, text: bytes) -> list[bytes | None]:
        """The values of a JSON object's fields."""
        try:
            found = json.loads(text)
            again = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        except (ValueError, RecursionError):
            found, again = None, b""
        if (
            not isinstance(found, dict)
            or again != text
            or not all(isinstance(v, str) for v in found.values())
        ):
            raise self.damaged(key, "is no JSON object of texts, as `migrate` writes them", text)
        known = [name for name, _ in kind.fields if name in found]
        if known != list(found):
            named = ", ".join(name for name, _ in kind.fields)
            raise self.damaged(key, f"has other fields, or in another order, than {named}", text)
        values: list[bytes | None] = []
        for name, column in kind.fields:
            value = found[name].encode() if name in found else None
            if value is not None and column.format.name == "bytes":
                try:
                    value = _unhexed(value)
                except ValueError:
                    raise self.damaged(key, r"is not \x and hex", value, name) from None
            values.append(value)
        return values

    def _checked(
        self, kind: KeyKind, owners: Sequence[Values], values: Sequence[Values], held: Sequence[bytes]
    ) -> TableRows:
        """Rows of keys of one row.

        Args:
            kind: of the keys.
            owners: the values of the columns in the keys' names.
            values: those of the fields, or of the columns in the value; may be empty where there are no keys.
            held: the keys.
        """
        inside = (
            [column.name for _, column in kind.fields] if kind.value is None else list(kind.value.columns)
        )
        names = [*kind.key.columns, *inside]
        if not held:
            return self.table_rows(kind, names, [()] * len(names), held, {})
        iso = self.plan.model.dates == "iso"
        for (name, column), found in zip(kind.fields, values, strict=kind.value is None):
            if fault := first_fault(column, found, iso=iso):
                raise self.damaged(held[fault[0]], fault[1], found[fault[0]], name)
        fields = {column.name: name for name, column in kind.fields}
        return self.table_rows(kind, names, [*owners, *values], held, fields)

    def table_rows(
        self,
        kind: KeyKind,
        names: Sequence[str],
        values: Sequence[Values],
        keys: Sequence[bytes],
        fields: Mapping[str, str] | None = None,
    ) -> TableRows:
        """Rows of what was read, in the order of the table's columns; a column may be there several times.

        Args:
            kind: of the keys.
            names: the column that each of the values is of.
            values: these.
            keys: that each row came from.
            fields: see ``TableRows``.

        Raises:
            HelpersError: a column that is there twice does not say the same twice.
        """
        first: dict[str, Values] = {}
        for name, found in zip(names, values, strict=True):
            column = kind.table.columns[kind.table.places[name]]
            if name not in first:
                first[name] = found
                if fault := too_long(column, found) if fields is None else None:
                    raise self.damaged(keys[fault[0]], fault[1], found[fault[0]], name)
            elif (row := first_unequal(first[name], found)) is not None:
                value, other = first[name][row], found[row]
                raise self.damaged(
                    keys[row],
                    f"is not the {name} {show(value)!r} that stands there too",
                    other,
                    (fields or {}).get(name, name),
                )
        columns = [one for one in kind.table.columns if not one.generated]
        return TableRows(kind.table, columns, [first[one.name] for one in columns], keys, fields or {})

    def ask(self, type_: str, commands: Mapping[bytes, bytes], rows: int = 0) -> list[Any]:
        """The replies to some commands, in their order.

        Args:
            type_: of the keys, in words.
            commands: the command for each key.
            rows: how many rows the replies hold in all; 0 when they hold none.

        Raises:
            HelpersError: a reply is an error; a key of another type is named.
        """
        raw = self.connection.exchange(b"".join(commands.values()))
        if rows:
            self.window.saw(rows, len(raw))
        replies = resp.parse(raw)
        for key, reply in zip(commands, replies, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                if not str(reply).startswith("WRONGTYPE"):
                    raise self.connection.error_of(reply, "restore")
                found = show(self.connection.call("TYPE", key)).replace("zset", "sorted set")
                raise self.damaged(key, f"is a {found}, not a {type_}")
        return replies

    def damaged(
        self, key: bytes, what: str, value: bytes | None = None, field: str = "", remedy: str = MEND
    ) -> HelpersError:
        """The error for a key that does not hold what the migration wrote: one line.

        Args:
            key: the Redis key.
            what: what is wrong with it, or with a value in it.
            value: that value; None when it is the key itself.
            field: where in the key the value stands, in words.
            remedy: what helps.
        """
        shown = "" if value is None else f" {show(value[:60])!r}{'...' if len(value) > 60 else ''}"
        return HelpersError(
            f"redis at {self.connection.address}: {show(key)}{' ' + field if field else ''}{shown} {what}; "
            f"{remedy}; nothing was written to postgres"
        )


def first_unequal(one: Values, other: Values) -> int | None:
    """The first row in which two columns do not say the same; None where there is none."""
    if list(one) == list(other):  # either may be a tuple
        return None
    return next(row for row, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)


def _at(columns: Sequence[Sequence[Any]], places: Sequence[int]) -> list[list[Any]]:
    """Of each column, what stands at some places."""
    return [[column[place] for place in places] for column in columns]


def _unhexed(text: bytes) -> bytes:
    found = bytes.fromhex(text[2:].decode())
    if text != b"\\x" + found.hex().encode():
        raise ValueError
    return found
