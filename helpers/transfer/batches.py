"""The writer's fast way: rows as COPY writes them become Redis commands in bytes, a batch at a time.

Client objects per command are what makes a migration slow, so a row here costs one or two ``%`` templates.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from helpers import model, resp
from helpers.transfer.source import Part

Row = list[bytes | None]

ESCAPE = re.compile(rb"\\(.)", re.S)
ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass
class Batch:
    """Commands for some rows, and what the checkpoint says once they are written."""

    part: str
    commands: bytes
    command_count: int
    rows: int
    position: tuple[str, ...]
    score_order: tuple[int | None, float, int] | None = None
    reasons: Counter[str] = field(default_factory=Counter)


def split(text: bytes) -> list[Row]:
    """Rows of COPY's text format, fields unescaped, NULL as None."""
    rows: list[Row] = [list(line.split(b"\t")) for line in text.split(b"\n")[:-1]]
    if b"\\" in text:
        return [[_unescape(value) for value in row] for row in rows]  # type: ignore[arg-type]
    return rows


def _unescape(value: bytes) -> bytes | None:
    if b"\\" not in value:
        return value
    if value == b"\\N":
        return None
    return ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), value)


def as_text(row: Row) -> list[str | None]:
    """The values as text; bytes that are not UTF-8 stay as they are."""
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in row]


def dates(texts: list[bytes]) -> tuple[list[bytes], list[int]]:
    """(ISO 8601 of fixed width, microseconds since 1970) of dates as PostgreSQL writes them.

    Raises:
        ValueError: one of them is infinite, BC, or after the year 9999.
    """
    if not texts:
        return [], []
    array = np.array(texts)
    # The fifth character is the hyphen behind a year of four digits; numpy itself would take a longer year.
    if not (array.view("S1").reshape(len(texts), -1)[:, 4] == b"-").all():
        raise ValueError("a year that has not four digits")
    numbers = array.astype("datetime64[us]").astype("int64").tolist()
    return [_widen(text) for text in texts], numbers


def _widen(text: bytes) -> bytes:
    if len(text) == 26:
        return text[:10] + b"T" + text[11:]
    if len(text) == 19:
        return text[:10] + b"T" + text[11:] + b".000000"
    return (text[:10] + b"T" + text[11:]).ljust(26, b"0")


def _plain(date: bytes | None) -> bool:
    """Whether a date is of the common form, without asking the model."""
    return date is not None and len(date) >= 19 and date[4:5] == b"-" and not date.endswith(b"C")


class Encoder:
    """Turns the rows of one part into batches; made anew when a load goes on from a checkpoint."""

    def __init__(self, part: Part, prefix: str, score_order: tuple[Any, ...] | None = None) -> None:
        self.part = part
        self.prefix = prefix.encode()
        self.order = model.ScoreOrder(*(score_order or ()))
        self._position = [part.columns.index(name) for name in part.key]
        self._columns = [part.columns.index(name) for name in model.COLUMNS[part.table]]
        self._date = next((i for i, name in enumerate(part.columns) if name.endswith(("_at", "_date"))), None)
        self._encode = {
            "users": self._hashes,
            "products": self._hashes,
            "orders": self._orders,
            "activities": self._activities,
            "activities_null": self._hashes,
        }[part.name]
        if part.table in model.FIELDS:
            names = [name.encode() for name in model.FIELDS[part.table]]
            self._names = names
            kind = part.table[:-1].encode()
            self._key = self.prefix + kind + b":"
            body = b"".join(resp.bulk(name).replace(b"%", b"%%") + b"$%d\r\n%b\r\n" for name in names)
            head = b"*%d\r\n$4\r\nHSET\r\n" % (2 + 2 * len(names))
            self._template = head + b"$%d\r\n" + self._key.replace(b"%", b"%%") + b"%b\r\n" + body

    def batch(self, lines: list[bytes]) -> Batch:
        """The batch of some rows, each as COPY wrote it."""
        text = b"".join(lines)
        rows = split(text)
        position = tuple((rows[-1][i] or b"").decode() for i in self._position)
        batch = Batch(self.part.name, b"", 0, len(rows), position)
        texts: list[bytes | None] = []
        numbers: list[int | None] = []
        try:
            if b"\\N" in text and any(None in row for row in rows):
                raise ValueError("NULL")
            if self._date is not None:
                texts, numbers = dates([row[self._date] for row in rows])  # type: ignore[assignment, misc]
        except ValueError:
            rows, texts, numbers = self._careful(rows, batch)
        commands = self._encode(rows, texts, numbers, batch)
        batch.command_count = len(commands)
        batch.commands = b"".join(commands)
        if self.part.name == "activities":
            batch.score_order = (self.order.user_id, self.order.score, self.order.highest)
        return batch

    def _careful(
        self, rows: list[Row], batch: Batch
    ) -> tuple[list[Row], list[bytes | None], list[int | None]]:
        """The rows that can be held, with their dates; the others are rejected by name."""
        kept: list[Row] = []
        column = self._date
        for row in rows:
            if None in row or (column is not None and not _plain(row[column])):
                reason = model.reject_reason(self.part.table, as_text([row[i] for i in self._columns]))
                if reason:
                    batch.reasons[reason] += 1
                    continue
            kept.append(row)
        if column is None:
            return kept, [], []
        known = [value for row in kept if (value := row[column]) is not None]
        found = iter(list(zip(*dates(known), strict=True)))
        pairs = [(None, None) if row[column] is None else next(found) for row in kept]
        return kept, [text for text, _ in pairs], [number for _, number in pairs]

    def _hashes(self, rows: list[Row], texts: list[Any], numbers: list[Any], batch: Batch) -> list[bytes]:
        if not rows:
            return []
        template, extra = self._template, len(self._key)
        if texts:  # users: the date is the last column
            rows = [[*row[:-1], text] for row, text in zip(rows, texts, strict=True)]
        if any(None in row for row in rows):
            return [self._hash(row) for row in rows]
        if len(rows[0]) == 4:
            return [
                template % (len(i) + extra, i, len(a), a, len(b), b, len(c), c)  # type: ignore[arg-type]
                for i, a, b, c in rows
            ]
        return [template % (len(i) + extra, i, len(a), a, len(b), b) for i, a, b in rows]  # type: ignore[arg-type]

    def _hash(self, row: Row) -> bytes:
        words: list[bytes] = [b"HSET", self._key + (row[0] or b"")]
        for name, value in zip(self._names, row[1:], strict=True):
            if value is not None:
                words += (name, value)
        return resp.encode(*words)

    def _orders(self, rows: list[Row], texts: list[Any], numbers: list[Any], batch: Batch) -> list[bytes]:
        template, extra = self._template, len(self._key)
        by_user: defaultdict[bytes, list[bytes]] = defaultdict(list)
        by_product: defaultdict[bytes, list[bytes]] = defaultdict(list)
        out: list[bytes] = []
        for (o, u, p, _, q), text, number in zip(rows, texts, numbers, strict=True):
            if u is None or p is None or q is None or text is None:
                out.append(self._hash([o, u, p, text, q]))
                if text is None:
                    continue
            else:
                out.append(
                    template % (len(o) + extra, o, len(u), u, len(p), p, 26, text, len(q), q)  # type: ignore[arg-type]
                )
            score = b"%d" % number
            member = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(score), score, len(o), o)  # type: ignore[arg-type]
            if u is not None:
                by_user[u].append(member)
            if p is not None:
                by_product[p].append(member)
        for kind, groups in ((b"user:", by_user), (b"product:", by_product)):
            for number_text, members in groups.items():
                key = self.prefix + kind + number_text + b":orders"
                head = b"*%d\r\n$4\r\nZADD\r\n$%d\r\n%b\r\n" % (2 + 2 * len(members), len(key), key)
                out.append(head + b"".join(members))
        return out

    def _activities(self, rows: list[Row], texts: list[Any], numbers: list[Any], batch: Batch) -> list[bytes]:
        if not rows:
            return []
        if max(map(abs, numbers)) >= model.EXACT_SCORE:
            rows, texts, numbers = self._in_order(rows, texts, numbers, batch)
        out: list[bytes] = []
        current: bytes | None = None
        elements: list[bytes] = []
        members: list[bytes] = []
        for (user, _, activity, kind), text, number in zip(rows, texts, numbers, strict=True):
            if user != current:
                if current is not None:
                    out += self._user(current, elements, members)
                current, elements, members = user, [], []
            score = b"%d" % number
            size = len(kind)  # type: ignore[arg-type]
            elements.append(b"$%d\r\n%b:%b\r\n" % (size + 27, kind, text))
            members.append(
                b"$%d\r\n%b\r\n$%d\r\n%b:%b\r\n"
                % (len(score), score, len(activity) + 1 + size, activity, kind)  # type: ignore[arg-type]
            )
        if current is not None:
            out += self._user(current, elements, members)
        return out

    def _in_order(
        self, rows: list[Row], texts: list[Any], numbers: list[Any], batch: Batch
    ) -> tuple[list[Row], list[Any], list[Any]]:
        kept = []
        for row, text, number in zip(rows, texts, numbers, strict=True):
            if self.order.keeps(int(row[0] or 0), number, int(row[2] or 0)):
                kept.append((row, text, number))
            else:
                batch.reasons["score_order"] += 1
        columns = list(zip(*kept, strict=True)) or [(), (), ()]
        return list(columns[0]), list(columns[1]), list(columns[2])

    def _user(self, user: bytes, elements: list[bytes], members: list[bytes]) -> tuple[bytes, bytes]:
        key = b"%buser:%b:activities" % (self.prefix, user)
        rpush = b"*%d\r\n$5\r\nRPUSH\r\n$%d\r\n%b\r\n" % (2 + len(elements), len(key), key)
        zadd = b"*%d\r\n$4\r\nZADD\r\n$%d\r\n%b:by_time\r\n" % (2 + 2 * len(members), len(key) + 8, key)
        return rpush + b"".join(elements), zadd + b"".join(members)
