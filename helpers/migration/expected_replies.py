"""What to ask Redis about some rows, and the replies that must come, byte by byte.

Nothing here is the writer's: rows come from COPY's binary format; numbers, dates, times, UUIDs, booleans and
bytes become text in ``copybinary``, everything else in PostgreSQL by ``format`` and ``to_json``.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from helpers.columns import (
    NOTHING,
    Mask,
    Numbers,
    Strings,
    bulk_string,
    column_of,
    decimal_piece,
    decimals,
    merged,
    repeats,
    spread,
    stacked,
    weave,
)
from helpers.model import EXACT_SCORE, Column, KeyKind, Partition, Pattern, ScoreOrder, Stream
from helpers.source import copybinary
from helpers.target import resp

Piece = bytes | Strings
LISTPACK_VALUE = 64
"""Bytes of the longest value with which Redis keeps a small hash in the order of its fields."""
LISTPACK_FIELDS = 128
"""How many fields such a hash has at most."""
LENGTHS: Mapping[str, bytes] = {"list": b"LLEN", "set": b"SCARD", "zset": b"ZCARD"}
"""What asks how many elements or members a key of each type has."""
PLAIN_TEXT = re.compile(r"text|character varying(\([0-9]+\))?")
"""Types whose binary form is their text."""
_NIL = np.frombuffer(b"$-1\r\n", dtype=np.uint8)
_MARKER = "0::int8"
"""What stands first in a row whose first column is no whole number, for ``copybinary.Reader``."""


@dataclass(frozen=True)
class Expectations:
    """Commands that only read, and the replies that they must get.

    Attributes:
        commands: a column in RESP, each row one command or several on the same key.
        replies: a column in RESP: what the same row of ``commands`` gets.
        rows: how many rows of the source they are about; 0 where these were counted before.
    """

    commands: Strings = NOTHING
    replies: Strings = NOTHING
    rows: int = 0


@dataclass(frozen=True)
class _Value:
    """A column of a query, and how it becomes text.

    Attributes:
        place: where it stands in the query.
        text: makes the text; None where it is text already.
        escaped: whether ``copybinary.escaped`` comes after that.
    """

    place: int
    text: Callable[[Strings], Strings] | None = None
    escaped: bool = False

    def of(self, columns: Sequence[Strings]) -> Strings:
        """The texts of some rows."""
        found = columns[self.place]
        found = self.text(found) if self.text else found
        return copybinary.escaped(found) if self.escaped else found


class _Query:
    """The columns of a query, each asked for once.

    Args:
        stream: whose rows it reads.
    """

    def __init__(self, stream: Stream) -> None:
        self._columns = {column.name: column for column in stream.table.columns}
        first = self._columns[stream.order[0]] if stream.order else None
        number = first is not None and first.format.name == "integer"
        self.sql = [f"{first.sql}::int8" if first and number else _MARKER]

    def _place(self, sql: str) -> int:
        if sql not in self.sql:
            self.sql.append(sql)
        return self.sql.index(sql)

    def text(self, name: str, *, raw: bool = True, escaped: bool = False) -> _Value:
        """Canonical text of a column.

        Args:
            name: the column.
            raw: bytes stand as they are; else as hex.
            escaped: with escapes.
        """
        column = self._columns[name]
        form, sql = column.format.name, column.sql
        makers: Mapping[str, tuple[str, Callable[[Strings], Strings] | None]] = {
            "integer": (f"{sql}::int8", copybinary.decimal_texts),
            "numeric": (f"{sql}::text", None),
            "float": (f"{sql}::text", None),
            "boolean": (sql, copybinary.truth_texts),
            "uuid": (sql, copybinary.uuid_texts),
            "moment": (sql, _moments),
            "zoned": (sql, _zoned),
            "date": (sql, copybinary.date_texts),
            "time": (sql, copybinary.time_texts),
            "bytes": (sql, None if raw else copybinary.hex_texts),
            "text": (_text_sql(column), None),
        }
        asked, make = makers[form]
        return _Value(self._place(asked), make, escaped)

    def json(self, name: str) -> _Value:
        """Canonical text of a column as a string in JSON, with its quotes."""
        column = self._columns[name]
        if column.format.name == "text":
            return _Value(self._place(f"to_json({_text_sql(column)})::text"))
        value = self.text(name, raw=False)
        before = b'"\\' if column.format.name == "bytes" else b'"'

        def quoted(texts: Strings) -> Strings:
            made = value.text(texts) if value.text else texts
            return replace(weave(before, made, b'"').only(made.present), present=made.present)

        return _Value(value.place, quoted)

    def score(self, column: Column) -> "_Value | _Number":
        """A score as Redis writes it, or the whole number of which it is the nearest double."""
        form, sql = column.format.name, column.sql
        if form in ("numeric", "float"):  # a real is the number that its text says; of -0 Redis says 0
            return _Value(self._place(f"({sql}::text::float8 + 0)::text"))
        return self.number(column)

    def number(self, column: Column) -> "_Number":
        """The whole number of which a score is the nearest double."""
        form, sql = column.format.name, column.sql
        makers = {
            "integer": (f"{sql}::int8", copybinary.integers),
            "moment": (sql, copybinary.moments),
            "zoned": (sql, copybinary.moments),
            "date": (sql, copybinary.days),
            "time": (sql, copybinary.integers),
        }
        asked, make = makers[form]
        return _Number(self._place(asked), make)


@dataclass(frozen=True)
class _Number:
    """A column of a query that is a whole number.

    Attributes:
        place: where it stands in the query.
        of: makes the numbers.
    """

    place: int
    of: Callable[[Strings], Numbers]


def _moments(column: Strings) -> Strings:
    return copybinary.moment_texts(column, zoned=False)


def _zoned(column: Strings) -> Strings:
    return copybinary.moment_texts(column, zoned=True)


def _text_sql(column: Column) -> str:
    """PostgreSQL's own text of a column, as its output function gives it, and NULL of NULL."""
    if PLAIN_TEXT.fullmatch(column.type):
        return column.sql
    text = f"format('%s', {column.sql})"
    if not column.nullable:
        return text
    # IS NULL is also true of a composite value whose fields are all NULL.
    return f"CASE WHEN {column.sql} IS DISTINCT FROM NULL THEN {text} END"


def _near(numbers: Numbers) -> tuple[Strings, Mask]:
    """(texts, which are the same as the one before) of the doubles nearest to some whole numbers."""
    if max(-int(numbers.min()), int(numbers.max())) <= EXACT_SCORE:
        return decimals(numbers), _same(numbers)
    near = numbers.astype(np.float64)
    if near.max() < 2.0**63:
        return decimals(near.astype(np.int64)), _same(near)
    texts = (b"%d" % int(number) for number in near.tolist())  # one is no number of 64 bits
    return column_of(*texts), _same(near)


def _same(values: "NDArray[np.generic]") -> Mask:
    """Which values are the same as the one before; the first is not."""
    found = np.zeros(len(values), dtype=bool)
    np.equal(values[1:], values[:-1], out=found[1:])
    return found


def _repeats(column: Strings) -> Mask:
    """``columns.repeats`` of a column as it was read; numbers are compared as such."""
    width = int(column.lengths[0])
    if width not in (4, 8) or (column.lengths != width).any():
        return repeats(column)
    values = np.ndarray((column.data.size - width + 1,), f"u{width}", column.data, strides=(1,))[
        column.starts
    ]
    return _same(values)


def question(partition: Partition, prefix: str) -> "Question":
    """What to ask about the rows of a partition.

    Args:
        partition: which rows.
        prefix: stands before every key.
    """
    stream = replace(partition.stream, where=partition.where)
    return (_Rows if stream.single else Collections)(stream, prefix.encode())


class Question:
    """The rows of a stream, and what is asked about them.

    Args:
        stream: which rows.
        prefix: stands before every key.

    Attributes:
        stream: which rows.
        keys: how many keys of each kind there should be, by the rows so far.
        width: how many columns the query has.
    """

    def __init__(self, stream: Stream, prefix: bytes) -> None:
        self.stream, self._prefix = stream, prefix
        self._query = _Query(stream)
        self._keys = [self._pieces(kind.key) for kind in stream.kinds]
        self._ask_for()
        self._position = [self._query.text(name, raw=False) for name in stream.order]
        self.keys = dict.fromkeys((kind.name for kind in stream.kinds), 0)
        self.width = len(self._query.sql)

    def query(self, after: Sequence[str] | None = None) -> str:
        """The rows in the order of the stream.

        Args:
            after: the position of the last row that is not wanted any more; None for all rows.
        """
        stream, order = self.stream, ", ".join(self.stream.order_sql)
        where = stream.where
        if after is not None:
            where = f"({where}) AND {stream.after_sql(after)}"
        return f"SELECT {', '.join(self._query.sql)} FROM {stream.table.sql} WHERE {where} ORDER BY {order}"

    def position(self, columns: Sequence[Strings]) -> list[str]:
        """Where the last of some rows stands.

        Args:
            columns: what ``query`` gives of at least one row, as ``copybinary.Reader`` cuts it.
        """
        last = [column[-1:] for column in columns]
        return [(value.of(last).at(0) or b"").decode("utf-8", "surrogateescape") for value in self._position]

    def window(self, columns: Sequence[Strings]) -> Expectations:
        """What to ask about the next rows.

        Args:
            columns: what ``query`` gives of at least one row, as ``copybinary.Reader`` cuts it.
        """
        raise NotImplementedError

    def end(self) -> Expectations:
        """What is left to ask behind the last row."""
        return Expectations()

    def _ask_for(self) -> None:
        """Add to the query what its kinds hold."""
        raise NotImplementedError

    def _pieces(self, pattern: Pattern) -> "list[bytes | _Value]":
        """A template as pieces."""
        found: list[bytes | _Value] = [pattern.literals[0]]
        for name, escaped, behind in zip(pattern.columns, pattern.escaped, pattern.literals[1:], strict=True):
            found += [self._query.text(name, raw=pattern.raw, escaped=escaped), behind]
        return found

    def _key(self, pieces: "Sequence[bytes | _Value]", texts: "_Texts") -> list[Piece]:
        """A key as a bulk string."""
        return _bulk([self._prefix, *texts.pieces(pieces)])


class _Texts:
    """Texts that are made of some rows, each once.

    Args:
        columns: of a query.
    """

    def __init__(self, columns: Sequence[Strings]) -> None:
        self._columns = columns
        self._made: dict[_Value, Strings] = {}
        self._numbers: dict[_Number, Numbers] = {}

    def of(self, value: _Value) -> Strings:
        """The texts of a column."""
        if value not in self._made:
            self._made[value] = value.of(self._columns)
        return self._made[value]

    def numbers(self, number: _Number) -> Numbers:
        """The whole numbers of a column."""
        if number not in self._numbers:
            self._numbers[number] = number.of(self._columns[number.place])
        return self._numbers[number]

    def pieces(self, pieces: "Sequence[bytes | _Value]") -> list[Piece]:
        """The pieces of a template."""
        return [one if isinstance(one, bytes) else self.of(one) for one in pieces]


def _bulk(pieces: Sequence[Piece]) -> list[Piece]:
    """``bulk_string``, also of pieces that are the same in each row."""
    if all(isinstance(one, bytes) for one in pieces):
        return [resp.bulk_string(b"".join(one for one in pieces if isinstance(one, bytes)))]
    return bulk_string(*pieces)


class _Rows(Question):
    """A stream whose rows are keys of their own."""

    def _ask_for(self) -> None:
        self._fields: list[list[_Value]] = []
        self._values: list[list[bytes | _Value]] = []
        for kind in self.stream.kinds:
            read = self._query.json if kind.type == "string" else self._query.text
            self._fields.append([read(column.name) for _, column in kind.fields])
            self._values.append(self._pieces(kind.value) if kind.value else [])

    def window(self, columns: Sequence[Strings]) -> Expectations:
        texts, rows = _Texts(columns), len(columns[0])
        found = []
        for place, kind in enumerate(self.stream.kinds):
            self.keys[kind.name] += rows
            key = self._key(self._keys[place], texts)
            if kind.type == "hash":
                found += self._hashes(kind, key, [texts.of(value) for value in self._fields[place]])
                continue
            value = texts.pieces(self._values[place]) if kind.value else self._objects(place, kind, texts)
            found.append(
                Expectations(
                    weave(b"*2\r\n$3\r\nGET\r\n", *_rows_of(key, rows)), weave(*_rows_of(_bulk(value), rows))
                )
            )
        return _together(found, rows if self.stream.counts else 0)

    def _objects(self, place: int, kind: KeyKind, texts: _Texts) -> list[Piece]:
        """The pieces of a JSON object, in which a NULL is absent."""
        pieces: list[Piece] = []
        for (name, _), value in zip(kind.fields, self._fields[place], strict=True):
            text = texts.of(value)
            field: list[Piece] = [b"," + json.dumps(name, ensure_ascii=False).encode() + b":", text]
            pieces += field if text.present is None else [weave(*field).only(text.present)]
        found = weave(*pieces)
        comma = (found.lengths > 0).astype(np.int64)
        return [b"{", Strings(found.data, found.starts + comma, found.lengths - comma), b"}"]

    def _hashes(self, kind: KeyKind, key: list[Piece], texts: list[Strings]) -> list[Expectations]:
        """HGETALL of those whose fields Redis keeps in order, HMGET and HLEN of the others."""
        rows = next((len(piece) for piece in key if isinstance(piece, Strings)), 0)
        names = [name.encode() for name, _ in kind.fields]
        small = len(names) <= LISTPACK_FIELDS and max(map(len, names)) <= LISTPACK_VALUE
        long = [text for text in texts if int(text.lengths.max()) > LISTPACK_VALUE]
        if small and not long:
            return [_all_fields(names, key, texts)]
        ordered = np.full(rows, small)
        for text in long:
            ordered &= text.lengths <= LISTPACK_VALUE
        found, some = [], np.flatnonzero(ordered)
        if len(some):
            found.append(_all_fields(names, _some(key, some), [text[some] for text in texts]))
        others = np.flatnonzero(~ordered)
        return [*found, _each_field(names, _some(key, others), [text[others] for text in texts])]


def _all_fields(names: list[bytes], key: list[Piece], texts: list[Strings]) -> Expectations:
    words = np.full(len(texts[0]), 2 * len(names))
    pieces: list[Piece] = []
    for name, text in zip(names, texts, strict=True):
        pair = [resp.bulk_string(name), *bulk_string(text)]
        if text.present is not None:
            words -= 2 * ~text.present
            pair = [weave(*pair).only(text.present)]
        pieces += pair
    return Expectations(
        weave(b"*2\r\n$7\r\nHGETALL\r\n", *key), weave(b"*", decimal_piece(words), b"\r\n", *pieces)
    )


def _each_field(names: list[bytes], key: list[Piece], texts: list[Strings]) -> Expectations:
    asked = b"".join(map(resp.bulk_string, names))
    many, count = np.full(len(texts[0]), len(names)), np.zeros(len(texts[0]), dtype=np.int64)
    pieces: list[Piece] = []
    for text in texts:
        if text.present is None:
            pieces += bulk_string(text)
            count += 1
        else:
            nil = Strings(_NIL, np.zeros_like(count), np.where(text.present, 0, len(_NIL)))
            pieces += [weave(*bulk_string(text)).only(text.present), nil]
            count += text.present
    head = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(names))
    return Expectations(
        weave(head, *key, asked, b"*2\r\n$4\r\nHLEN\r\n", *key),
        weave(b"*", decimals(many), b"\r\n", *pieces, b":", decimals(count), b"\r\n"),
    )


def _some(pieces: list[Piece], rows: Numbers) -> list[Piece]:
    """The pieces of some rows."""
    return [piece if isinstance(piece, bytes) else piece[rows] for piece in pieces]


def _rows_of(pieces: list[Piece], rows: int) -> list[Piece]:
    """The same pieces, a column among them."""
    if any(isinstance(piece, Strings) for piece in pieces):
        return pieces
    return [*pieces, Strings(NOTHING.data, *np.zeros((2, rows), dtype=np.int64))]


def _together(found: list[Expectations], rows: int) -> Expectations:
    """All of some expectations, the first of which may be empty."""
    found = found if len(found[0].commands) else found[1:]
    return Expectations(
        stacked(*(one.commands for one in found)), stacked(*(one.replies for one in found)), rows
    )


class Collections(Question):
    """A stream whose rows are elements and members of their owner's keys, asked for in windows."""

    _open: list[bytes] | None = None
    """The keys of the owner whose rows may go on."""
    _length = 0
    """How many of these there were so far."""
    _last_score: dict[str, bytes | None]
    """Of each sorted set: the score of the open owner's last row."""

    def _ask_for(self) -> None:
        stream, query = self.stream, self._query
        self._values = [self._pieces(kind.value) for kind in stream.kinds if kind.value]
        self._scores = [query.score(kind.score) if kind.score else None for kind in stream.kinds]
        self._owner = [query.text(name) for name in stream.order[: stream.owner]]
        self._last_score = {}
        self._order = ScoreOrder()
        if stream.pair:
            self._moment = query.number(stream.pair.moment)
            self._tie = query.number(stream.pair.tie)

    def window(self, columns: Sequence[Strings]) -> Expectations:
        """``Question.window``: a range or a question about each member, and the length at an owner's end."""
        counted = len(columns[0]) if self.stream.counts else 0
        first, texts = self._first(columns), _Texts(columns)
        kept = self._kept(columns, first, texts)
        if kept is not None:
            if not len(kept):
                return Expectations(rows=counted)
            columns = [column[kept] for column in columns]
            first, texts = self._first(columns), _Texts(columns)
        n, heads = len(columns[0]), _Texts([column[first] for column in columns])
        keys = [weave(*_rows_of(self._key(pieces, heads), len(first))) for pieces in self._keys]
        goes_on = [key.at(0) for key in keys] == self._open
        before = Expectations() if goes_on else self.end()
        sizes = np.diff(np.append(first, n))
        begin = np.zeros(len(first), dtype=np.int64)
        begin[0] = self._length
        for kind in self.stream.kinds:
            self.keys[kind.name] += len(first) - goes_on
        self._open = [key.at(len(first) - 1) or b"" for key in keys]
        self._length = int(begin[-1] + sizes[-1])
        # The last owner may have more rows: its end is asked for when another one comes.
        ended = np.arange(len(first)) < len(first) - 1
        groups = _Groups(n, first, sizes, begin, ended)
        found = [before]
        for place, kind in enumerate(self.stream.kinds):
            value = _bulk(texts.pieces(self._values[place]))
            found += self._collection(kind, self._scores[place], groups, keys[place], value, texts)
        return _together(found, counted)

    def _first(self, columns: Sequence[Strings]) -> Numbers:
        """The first row of each owner."""
        same: Mask = np.ones(len(columns[0]), dtype=bool)
        for place in dict.fromkeys(value.place for value in self._owner):
            same &= _repeats(columns[place])
        same[0] = False
        return np.flatnonzero(~same)

    def _kept(self, columns: Sequence[Strings], first: Numbers, texts: _Texts) -> Numbers | None:
        """The rows that list and sorted set can give back; None for all."""
        if self.stream.pair is None:
            return None
        moments = texts.numbers(self._moment)
        if max(-int(moments.min()), int(moments.max())) < EXACT_SCORE:
            return None
        heads = _Texts([column[first] for column in columns])
        names = weave(*_rows_of(self._key(self._keys[0], heads), len(first)))
        of = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(moments))))
        owners = [names.at(row) for row in range(len(first))]
        ties = texts.numbers(self._tie)
        rows = zip(of.tolist(), moments.tolist(), ties.tolist(), strict=True)
        return np.flatnonzero([self._order.keeps(owners[owner], moment, tie) for owner, moment, tie in rows])

    def _collection(
        self,
        kind: KeyKind,
        score: "_Value | _Number | None",
        groups: "_Groups",
        key: Strings,
        value: list[Piece],
        texts: _Texts,
    ) -> list[Expectations]:
        """What to ask about the keys of one kind."""
        if kind.type == "list":
            return [groups.range(key, b"LRANGE", value, 1)]
        if kind.type == "set":
            return [groups.each(key, b"SMISMEMBER", value, [b":1\r\n"], b"SCARD")]
        assert score is not None
        if isinstance(score, _Number):
            scores, same = _near(texts.numbers(score))
        else:
            scores = texts.of(score)
            same = repeats(scores)
        tied = self._tied(kind, scores, same, groups)
        items = [*value, *bulk_string(scores)]
        if not tied.any():
            return [groups.range(key, b"ZRANGE", items, 2)]
        # Members of one score stand in the order of their bytes: these are asked for one by one.
        some, rows = groups.some(tied)
        one_by_one = some.each(key[tied], b"ZMSCORE", _some(value, rows), bulk_string(scores[rows]), b"ZCARD")
        if tied.all():
            return [one_by_one]
        others, rows = groups.some(~tied)
        found = _together([one_by_one, others.range(key[~tied], b"ZRANGE", _some(items, rows), 2)], 0)
        place = np.argsort(np.concatenate((np.flatnonzero(tied), np.flatnonzero(~tied))))
        return [Expectations(weave(found.commands[place]), weave(found.replies[place]))]

    def _tied(self, kind: KeyKind, scores: Strings, same: Mask, groups: "_Groups") -> Mask:
        """Of each group, whether two members have the same score, that of the window before among them.

        Args:
            kind: of the sorted sets.
            scores: of all rows.
            same: of each row, whether its score is that of the row before.
            groups: the rows.
        """
        same[groups.first] = False
        tied: Mask = np.logical_or.reduceat(same, groups.first)
        if groups.begin[0] and self._last_score.get(kind.name) == scores.at(0):
            tied[0] = True
        self._last_score[kind.name] = scores.at(len(scores) - 1)
        return tied

    def left_out(self, columns: Sequence[Strings]) -> set[bytes]:
        """The members, of the first kind, of those rows that list and sorted set cannot give back.

        Args:
            columns: what ``query`` gives, as ``copybinary.Reader`` cuts it.
        """
        if not len(columns[0]):
            return set()
        texts = _Texts(columns)
        kept = self._kept(columns, self._first(columns), texts)
        if kept is None:
            return set()
        value = texts.pieces(self._values[0])
        members = weave(*_rows_of(value, len(columns[0])))
        return {members.at(row) or b"" for row in set(range(len(members))).difference(kept.tolist())}

    def end(self) -> Expectations:
        """``Question.end``: how long the collections of the last owner are, unless that was asked already."""
        if self._open is None:
            return Expectations()
        asked, lengths = [], column_of(*[b":%d\r\n" % self._length] * len(self._open))
        for kind, key in zip(self.stream.kinds, self._open, strict=True):
            name = LENGTHS[kind.type]
            asked.append(b"*2\r\n" + resp.bulk_string(name) + key)
        self._open, self._length = None, 0
        return Expectations(column_of(*asked), lengths)


@dataclass(frozen=True)
class _Groups:
    """Rows of the same owner in a window.

    Attributes:
        n: how many rows the window has.
        first: the first row of each group.
        sizes: how many rows each has.
        begin: the place of its first row in the owner's collections.
        ended: whether its last row is the owner's last.
    """

    n: int
    first: Numbers
    sizes: Numbers
    begin: Numbers
    ended: Mask

    def some(self, wanted: Mask) -> "tuple[_Groups, Numbers]":
        """(some of the groups, their rows)."""
        sizes = self.sizes[wanted]
        rows = np.flatnonzero(np.repeat(wanted, self.sizes))
        return _Groups(
            len(rows), np.cumsum(sizes) - sizes, sizes, self.begin[wanted], self.ended[wanted]
        ), rows

    def range(self, key: Strings, command: bytes, items: list[Piece], words: int) -> Expectations:
        """A range for each group, and the length at the end of a collection.

        Args:
            key: of each group, as a bulk string.
            command: ``LRANGE`` or ``ZRANGE``.
            items: pieces of what a row gets, in bulk strings.
            words: how many bulk strings these are; 2 with a score.
        """
        scores = b"$10\r\nWITHSCORES\r\n" if words == 2 else b""
        last = self.begin + self.sizes - 1
        ends = self._ends(key, b"ZCARD" if words == 2 else b"LLEN")
        asked = weave(
            b"*%d\r\n$%d\r\n%b\r\n" % (4 + (words == 2), len(command), command),
            key,
            *bulk_string(decimals(self.begin)),
            *bulk_string(decimals(last)),
            scores,
            ends,
        )
        return Expectations(asked, self._replies(items, words))

    def each(
        self, key: Strings, command: bytes, members: list[Piece], replies: list[Piece], length: bytes
    ) -> Expectations:
        """A question about every member of each group, and the length at the end of a collection.

        Args:
            key: of each group, as a bulk string.
            command: ``SMISMEMBER`` or ``ZMSCORE``.
            members: pieces of each row's member, as a bulk string.
            replies: pieces of what is said of it.
            length: ``SCARD`` or ``ZCARD``.
        """
        head = b"\r\n$%d\r\n%b\r\n" % (len(command), command)
        heads = weave(b"*", decimals(2 + self.sizes), head, key)
        ends = spread(self._ends(key, length), self.first + self.sizes - 1, self.n)
        asked = merged(weave(spread(heads, self.first, self.n), *members, ends), self.first)
        return Expectations(asked, self._replies(replies, 1))

    def _ends(self, key: Strings, length: bytes) -> Strings:
        name = b"*2\r\n$%d\r\n%b\r\n" % (len(length), length)
        return weave(name, key).only(self.ended)

    def _replies(self, items: list[Piece], words: int) -> Strings:
        """An array for each group, and the length at the end of a collection."""
        heads = weave(b"*", decimals(self.sizes * words), b"\r\n")
        totals = weave(b":", decimals(self.begin + self.sizes), b"\r\n").only(self.ended)
        at_end = spread(totals, self.first + self.sizes - 1, self.n)
        return merged(weave(spread(heads, self.first, self.n), *items, at_end), self.first)
