"""The writer's way: rows as COPY writes them become Redis commands, a batch at a time.

Client objects per command are what makes a migration slow. Here no row becomes a Python object: the bytes of
a batch's commands are woven from the columns that COPY gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helpers.columns import (
    NOTHING,
    Mask,
    Numbers,
    Strings,
    bulk_string,
    decimal_piece,
    decimals,
    merged,
    numbers,
    repeats,
    rewritten,
    spread,
    stacked,
    weave,
)
from helpers.model import EXACT_SCORE, Column, Format, KeyKind, Pattern, ScoreOrder, Stream, escape
from helpers.source import copytext

Piece = bytes | Strings
Owner = int | str | None
"""Whose row it is: a number where one is all, else the name of the key without the prefix."""
NOBODY = (0, 0)
"""Nothing was pushed yet, so that the first list begins empty."""
IN_JSON: Mapping[int, bytes] = {number: b"\\u%04x" % number for number in range(32)} | {
    ord(letter): f"\\{escaped}".encode() for letter, escaped in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)
}
"""What stands for the bytes that a string of JSON cannot hold."""


@dataclass(frozen=True)
class Batch:
    """Commands for some rows, and what the checkpoint says once they are written.

    Attributes:
        rows: how many rows it is made of.
        position: of the last of them, what the stream is ordered by, as text.
        commands: their commands in RESP, one a row, no two of them on the same key.
        rejected: rows left out because their score would put them in another place.
        score_order: what ``model.ScoreOrder`` has to go on from.
        pushed: the last owner of a list and how long its list is now; None without ``PUSH``.
    """

    rows: int
    position: tuple[str, ...]
    commands: Strings
    rejected: int = 0
    score_order: tuple[object, float, int] | None = None
    pushed: tuple[Owner, int] | None = None


class Encoder:
    """Turns the rows of one stream into batches; made anew when a load goes on from a checkpoint.

    Args:
        stream: which rows.
        prefix: stands before every key.
        score_order: ``Batch.score_order`` of the last batch; None where there was none.
        push_script: the name of ``PUSH`` in the target; elements are pushed by RPUSH where it is empty.
        pushed: ``Batch.pushed`` of the last batch.
    """

    def __init__(
        self,
        stream: Stream,
        prefix: str,
        score_order: tuple[object, float, int] | None = None,
        *,
        push_script: bytes = b"",
        pushed: tuple[Owner, int] = NOBODY,
    ) -> None:
        self._push_script, self._pushed = push_script, pushed
        self.stream, self.prefix = stream, prefix.encode()
        self._order = ScoreOrder(*(score_order or ()))
        self._formats = {
            column.name: column.format for column in stream.table.columns if column.name in stream.columns
        }

    def batch(self, columns: list[Strings]) -> Batch:
        """The batch of some rows.

        Args:
            columns: the stream's columns of at least one row, as ``copytext.columns`` gives them; rows of one
                owner follow each other, over batches too.
        """
        stream, rows = self.stream, len(columns[0])
        read = dict(zip(stream.columns, columns, strict=True))
        position = tuple(self._position(name, read[name]) for name in stream.order)
        made = _Rows(read, self._formats)
        if stream.single:
            return Batch(rows, position, stacked(*(self._single(kind, made) for kind in stream.kinds)))
        rejected, order = 0, None
        if stream.pair:
            kept = self._in_order(made)
            if kept is not None:
                rejected = rows - len(kept)
                made = made.only(kept)
            order = (self._order.owner, self._order.score, self._order.highest)
        pushing = bool(self._push_script) and any(kind.type == "list" for kind in stream.kinds)
        if rejected == rows:
            return Batch(rows, position, NOTHING, rejected, order, self._pushed if pushing else None)
        groups = self._grouped(made)
        commands = [self._collection(kind, groups, made) for kind in stream.kinds]
        return Batch(rows, position, stacked(*commands), rejected, order, self._pushed if pushing else None)

    def _position(self, name: str, column: Strings) -> str:
        value = (column.at(len(column) - 1) or b"").decode("utf-8", "surrogateescape")
        return f"\\x{value}" if self._formats[name].name == "bytes" else value

    # -- keys of one row

    def _single(self, kind: KeyKind, rows: "_Rows") -> Strings:
        """HSET or SET for each row."""
        key = bulk_string(self.prefix, *rows.pieces(kind.key))
        if kind.type == "string":
            value = rows.pieces(kind.value) if kind.value else rows.json(kind)
            return weave(b"*3\r\n$3\r\nSET\r\n", *key, *bulk_string(*value))
        words: Numbers = np.full(rows.number, 2 + 2 * len(kind.fields))
        pieces: list[Piece] = []
        for name, column in kind.fields:
            text = rows.field(column.name)
            encoded = name.encode()
            field: list[Piece] = [b"$%d\r\n%b\r\n" % (len(encoded), encoded), *bulk_string(text)]
            if text.present is not None:
                words -= 2 * ~text.present
                field = [weave(*field).only(text.present)]
            pieces += field
        return weave(b"*", decimal_piece(words), b"\r\n$4\r\nHSET\r\n", *key, *pieces)

    # -- keys of many rows

    def _collection(self, kind: KeyKind, groups: "_Groups", rows: "_Rows") -> Strings:
        """One command for each group of rows of the same owner."""
        assert kind.value is not None
        score = rows.score(kind.score) if kind.score else NOTHING
        value = rows.pieces(kind.value)
        if kind.type == "zset":
            items = bulk_string(score[::-1]) + bulk_string(*(_reversed(piece) for piece in value))
            return self._commands(b"ZADD", groups.reversed(), kind, items, 2)
        if kind.type == "list" and self._push_script:
            return self._pushes(groups, kind, bulk_string(*value))
        return self._commands(
            b"SADD" if kind.type == "set" else b"RPUSH", groups, kind, bulk_string(*value), 1
        )

    def _key(self, groups: "_Groups", kind: KeyKind) -> list[Piece]:
        if not kind.key.columns:  # one key for all rows
            name = self.prefix + kind.key.literals[0]
            return [b"$%d\r\n%b\r\n" % (len(name), name)]
        return bulk_string(self.prefix, *groups.heads.pieces(kind.key))

    def _commands(
        self, command: bytes, groups: "_Groups", kind: KeyKind, items: list[Piece], words: int
    ) -> Strings:
        """One command for each group.

        Args:
            command: its name.
            groups: the rows.
            kind: of the keys.
            items: pieces of what each row adds, in the order of the groups' rows.
            words: how many words these are.
        """
        head = b"\r\n$%d\r\n%b\r\n" % (len(command), command)
        heads = weave(b"*", decimals(2 + groups.sizes * words), head, *self._key(groups, kind))
        return merged(weave(spread(heads, groups.first, groups.rows), *items), groups.first)

    def _pushes(self, groups: "_Groups", kind: KeyKind, items: list[Piece]) -> Strings:
        """One call of ``PUSH`` for each group; the first list may go on from the last batch."""
        before = np.zeros(len(groups.first), dtype=np.int64)
        if groups.owners.at(0) == self._pushed[0]:
            before[0] = self._pushed[1]
        last = len(groups.first) - 1
        self._pushed = groups.owners.at(last), int(before[-1] + groups.sizes[-1])
        script = b"\r\n$7\r\nEVALSHA\r\n$%d\r\n%b\r\n$1\r\n1\r\n" % (
            len(self._push_script),
            self._push_script,
        )
        key = self._key(groups, kind)
        heads = weave(b"*", decimals(5 + groups.sizes), script, *key, *bulk_string(decimals(before)))
        return merged(weave(spread(heads, groups.first, groups.rows), *items), groups.first)

    def _grouped(self, rows: "_Rows") -> "_Groups":
        begins: Mask = np.zeros(rows.number, dtype=bool)
        for name in self.stream.order[: self.stream.owner]:
            begins |= ~repeats(rows.read[name])
        begins[0] = True
        first = np.flatnonzero(begins)
        heads = rows.only(first)
        return _Groups(rows.number, self._owners(heads), heads, first, np.diff(np.append(first, rows.number)))

    def _owners(self, rows: "_Rows") -> "_Owners":
        names = self.stream.order[: self.stream.owner]
        if len(names) == 1 and self._formats[names[0]].name == "integer":
            return _Owners(numbers(rows.read[names[0]]), None)
        if not names:
            return _Owners(None, None)
        return _Owners(None, weave(*rows.pieces(self.stream.kinds[0].key)))

    def _in_order(self, rows: "_Rows") -> Numbers | None:
        """The rows that list and sorted set can give back; None for all."""
        pair = self.stream.pair
        assert pair is not None
        moments = rows.numbers(pair.moment)
        if max(-int(moments.min()), int(moments.max())) < EXACT_SCORE:
            return None
        owners = self._owners(rows).of_rows(rows.number)
        ties = numbers(rows.read[pair.tie.name]).tolist()
        return np.flatnonzero(
            [self._order.keeps(*row) for row in zip(owners, moments.tolist(), ties, strict=True)]
        )


class _Rows:
    """Columns of some rows, and the texts that are made of them, each once.

    Args:
        read: the columns as COPY gave them, by name.
        formats: of their values.

    Attributes:
        number: how many rows there are.
    """

    def __init__(self, read: Mapping[str, Strings], formats: Mapping[str, Format]) -> None:
        self.read, self._formats = read, formats
        self._fields: dict[str, Strings] = {}
        self._numbers: dict[str, Numbers] = {}
        self.number = len(next(iter(read.values())))

    def only(self, rows: Numbers) -> "_Rows":
        """Some of the rows."""
        return _Rows({name: column[rows] for name, column in self.read.items()}, self._formats)

    def field(self, name: str) -> Strings:
        """Canonical text of a column, bytes as they are."""
        if name not in self._fields:
            self._fields[name] = copytext.canonical(self.read[name], self._formats[name])
        return self._fields[name]

    def numbers(self, column: Column) -> Numbers:
        """Whole numbers whose nearest doubles are scores, of a column whose values can all be scores."""
        name, form = column.name, column.format
        if name not in self._numbers:
            if form.name in ("moment", "zoned"):  # one look gives both
                self._fields[name], self._numbers[name] = copytext.moments(self.read[name], form)
            else:
                self._numbers[name] = copytext.numbers_of(self.read[name], form)
        return self._numbers[name]

    def score(self, column: Column) -> Strings:
        """What ZADD takes."""
        if column.format.name in ("integer", "numeric", "float"):
            return self.read[column.name]
        return decimals(self.numbers(column))

    def pieces(self, pattern: Pattern) -> list[Piece]:
        """The pieces of a template."""
        found: list[Piece] = [pattern.literals[0]]
        for name, escaped, literal in zip(
            pattern.columns, pattern.escaped, pattern.literals[1:], strict=True
        ):
            as_hex = self._formats[name].name == "bytes" and not pattern.raw
            text = self.read[name] if as_hex else self.field(name)
            if as_hex:
                found.append(b"\\x")
            found += [rewritten(text, b"%:{}", escape) if escaped else text, literal]
        return [piece for piece in found if not isinstance(piece, bytes) or piece]

    def json(self, kind: KeyKind) -> list[Piece]:
        """The pieces of a JSON object."""
        pieces: list[Piece] = []
        for name, column in kind.fields:
            text = self.field(column.name)
            before = b',"' + json_text(name.encode()) + b'":"'
            if column.format.name == "bytes":
                before, text = before + b"\\\\x", self.read[column.name]
            else:
                text = rewritten(text, bytes(IN_JSON), json_text)
            field: list[Piece] = [before, text, b'"']
            pieces += field if text.present is None else [weave(*field).only(text.present)]
        fields = weave(*pieces)
        some = fields.lengths > 0  # the first comma goes
        return [b"{", Strings(fields.data, fields.starts + some, fields.lengths - some), b"}"]


def json_text(value: bytes) -> bytes:
    """A text as it stands in a string of JSON."""
    return b"".join(IN_JSON.get(number, bytes((number,))) for number in value)


def _reversed(piece: Piece) -> Piece:
    return piece if isinstance(piece, bytes) else piece[::-1]


@dataclass(frozen=True)
class _Owners:
    """Whose each row is.

    Attributes:
        numbers: where an owner is one number.
        names: where it is anything else; both None where there is one owner for all.
    """

    numbers: Numbers | None
    names: Strings | None

    def at(self, row: int) -> Owner:
        """The owner of a row."""
        if self.numbers is not None:
            return int(self.numbers[row])
        if self.names is None:
            return ""
        return (self.names.at(row) or b"").decode("utf-8", "surrogateescape")

    def of_rows(self, rows: int) -> Sequence[Owner]:
        """The owner of each row."""
        return self.numbers.tolist() if self.numbers is not None else [self.at(row) for row in range(rows)]

    def __getitem__(self, rows: Numbers) -> "_Owners":
        return _Owners(
            None if self.numbers is None else self.numbers[rows],
            None if self.names is None else self.names[rows],
        )


@dataclass(frozen=True)
class _Groups:
    """Rows of the same owner that follow each other.

    Attributes:
        rows: how many rows there are, at least one.
        owners: the owner of each group.
        heads: the first row of each group.
        first: where it is among the rows.
        sizes: how many rows each has.
    """

    rows: int
    owners: _Owners
    heads: _Rows
    first: Numbers
    sizes: Numbers

    def reversed(self) -> "_Groups":
        """The groups of the same rows from the last to the first.

        Redis searches a small sorted set from its lowest score on for the place of a new member (ZADD of
        what is encoded as a listpack). From the highest score down, that is the first place it looks at.
        """
        first = self.rows - self.first - self.sizes
        backwards = np.arange(len(first))[::-1]
        heads = self.heads.only(backwards)
        return _Groups(self.rows, self.owners[backwards], heads, first[::-1], self.sizes[::-1])
