"""The writer's fast way: rows as COPY writes them become Redis commands, a batch at a time.

Client objects per command are what makes a migration slow, so a row here costs one or two f-strings. Text
is handled as Latin-1, in which a character is a byte: lengths are byte lengths, and whatever bytes came go
out again unchanged.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from helpers import model
from helpers.transfer.source import Part

Column = list[Any]  # str, or None for NULL
ESCAPE = re.compile(r"\\(.)", re.S)
ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass
class Batch:
    """Commands for some rows, and what the checkpoint says once they are written."""

    part: str
    rows: int
    position: tuple[str, ...]
    commands: bytes = b""
    command_count: int = 0
    score_order: tuple[int | None, float, int] | None = None
    reasons: Counter[str] = field(default_factory=Counter)


def split(lines: bytes, width: int) -> list[Column]:
    """Columns of rows in COPY's text format, unescaped, NULL as None."""
    text = lines.decode("latin-1")
    values: Column = text.replace("\n", "\t").split("\t")
    values.pop()
    if "\\" in text:
        values = [_unescape(value) if "\\" in value else value for value in values]
    return [values[i::width] for i in range(width)]


def _unescape(value: str) -> str | None:
    return None if value == "\\N" else ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), value)


def as_text(value: str | None) -> str | None:
    """What the bytes of a value mean as UTF-8; bytes that mean nothing stay as they are."""
    return None if value is None else value.encode("latin-1").decode("utf-8", "surrogateescape")


def dates(texts: Column) -> tuple[list[str], list[int]]:
    """(ISO 8601 of fixed width, microseconds since 1970) of dates as PostgreSQL writes them.

    Raises:
        ValueError: one of them is NULL, infinite, BC, or after the year 9999.
    """
    if not texts:
        return [], []
    if None in texts:
        raise ValueError("NULL")
    array = np.array(texts, dtype="S")
    width = model.DATE_WIDTH
    if not 19 <= array.itemsize <= width:
        raise ValueError("not every date is of the common form")
    array = array.astype(f"S{width}")
    codes = array.view(np.uint8).reshape(len(texts), width)
    # The fifth character is the hyphen behind a year of four digits; numpy would take a longer year, and
    # half of BC.
    if not (codes[:, 4] == ord("-")).all() or (codes == ord("C")).any():
        raise ValueError("not a year of four digits after Christ")
    numbers = array.astype("datetime64[us]").astype("int64").tolist()
    codes[:, 10] = ord("T")
    point, digits = codes[:, 19], codes[:, 20:]
    point[point == 0] = ord(".")
    digits[digits == 0] = ord("0")
    text = codes.tobytes().decode("latin-1")
    return [text[i : i + width] for i in range(0, len(text), width)], numbers


class Encoder:
    """Turns the rows of one part into batches; made anew when a load goes on from a checkpoint."""

    def __init__(self, part: Part, prefix: str, score_order: tuple[Any, ...] | None = None) -> None:
        self.part = part
        self.prefix = prefix.encode().decode("latin-1")
        self.order = model.ScoreOrder(*(score_order or ()))
        self._date = next((i for i, name in enumerate(part.columns) if name.endswith(("_at", "_date"))), None)
        self._encode = {"orders": self._orders, "activities": self._activities}.get(part.name, self._hashes)

    def batch(self, lines: list[bytes]) -> Batch:
        """The batch of some rows, each as COPY wrote it."""
        columns = split(b"".join(lines), len(self.part.columns))
        position = tuple(columns[self.part.columns.index(name)][-1] for name in self.part.key)
        batch = Batch(self.part.name, len(lines), position)
        texts: Column = []
        numbers: Column = []
        try:
            if any(None in column for column in columns):
                raise ValueError("NULL")
            if self._date is not None:
                texts, numbers = dates(columns[self._date])
        except ValueError:
            columns, texts, numbers = self._careful(columns, batch)
        commands = self._encode(columns, texts, numbers, batch) if columns[0] else []
        batch.command_count = len(commands)
        batch.commands = "".join(commands).encode("latin-1")
        if self.part.name == "activities":
            batch.score_order = (self.order.user_id, self.order.score, self.order.highest)
        return batch

    def _careful(self, columns: list[Column], batch: Batch) -> tuple[list[Column], Column, Column]:
        """The rows that can be held, with their dates; the others are rejected by name."""
        order = [self.part.columns.index(name) for name in model.COLUMNS[self.part.table]]
        kept = []
        for row in zip(*columns, strict=True):
            if None in row or (self._date is not None and not _plain(row[self._date])):
                reason = model.reject_reason(self.part.table, [as_text(row[i]) for i in order])
                if reason:
                    batch.reasons[reason] += 1
                    continue
            kept.append(row)
        columns = [list(column) for column in zip(*kept, strict=True)] or [[] for _ in columns]
        if self._date is None:
            return columns, [], []
        known = iter(list(zip(*dates([d for d in columns[self._date] if d is not None]), strict=True)))
        pairs = [(None, None) if date is None else next(known) for date in columns[self._date]]
        return columns, [text for text, _ in pairs], [number for _, number in pairs]

    def _hashes(self, columns: list[Column], texts: Column, numbers: Column, batch: Batch) -> list[str]:
        if texts:  # users: the date is the last column
            columns = [*columns[:-1], texts]
        names = model.FIELDS[self.part.table]
        key = f"{self.prefix}{self.part.table[:-1]}:"
        return [_hash(key, names, row) for row in zip(*columns, strict=True)]

    def _orders(self, columns: list[Column], texts: Column, numbers: Column, batch: Batch) -> list[str]:
        key = f"{self.prefix}order:"
        names = model.FIELDS["orders"]
        extra, u_name, p_name, d_name, q_name = len(key), *(f"${len(n)}\r\n{n}\r\n" for n in names)
        by_user: defaultdict[str, list[str]] = defaultdict(list)
        by_product: defaultdict[str, list[str]] = defaultdict(list)
        out: list[str] = []
        o_s, u_s, p_s, _, q_s = columns
        for o, u, p, q, text, number in zip(o_s, u_s, p_s, q_s, texts, numbers, strict=True):
            if u is None or p is None or q is None or text is None:
                out.append(_hash(key, names, (o, u, p, text, q)))
                if text is None:
                    continue
            else:
                out.append(
                    f"*10\r\n$4\r\nHSET\r\n${extra + len(o)}\r\n{key}{o}\r\n{u_name}${len(u)}\r\n{u}\r\n"
                    f"{p_name}${len(p)}\r\n{p}\r\n{d_name}$26\r\n{text}\r\n{q_name}${len(q)}\r\n{q}\r\n"
                )
            member = f"${len(str(number))}\r\n{number}\r\n${len(o)}\r\n{o}\r\n"
            if u is not None:
                by_user[u].append(member)
            if p is not None:
                by_product[p].append(member)
        for kind, groups in (("user:", by_user), ("product:", by_product)):
            extra = len(self.prefix) + len(kind) + 7
            start = f"{self.prefix}{kind}"
            out += [
                f"*{2 + 2 * len(members)}\r\n$4\r\nZADD\r\n${extra + len(i)}\r\n{start}{i}:orders\r\n"
                f"{''.join(members)}"
                for i, members in groups.items()
            ]
        return out

    def _activities(self, columns: list[Column], texts: Column, numbers: Column, batch: Batch) -> list[str]:
        if -min(numbers) >= model.EXACT_SCORE or max(numbers) >= model.EXACT_SCORE:
            kept = self._in_order(columns, numbers, batch)
            columns = [[column[i] for i in kept] for column in columns]
            texts, numbers = [texts[i] for i in kept], [numbers[i] for i in kept]
        users, _, activities, kinds = columns
        # What depends on the type alone is made once for each type in the batch.
        forms = {k: (f"${len(k) + 27}\r\n{k}:", f":{k}\r\n", len(k) + 1) for k in set(kinds)}
        of_row = [forms[k] for k in kinds]
        elements = [f"{head}{date}\r\n" for (head, _, _), date in zip(of_row, texts, strict=True)]
        members = [
            f"${len(s)}\r\n{s}\r\n${len(a) + more}\r\n{a}{tail}"
            for s, a, (_, tail, more) in zip(map(str, numbers), activities, of_row, strict=True)
        ]
        out: list[str] = []
        start, total = 0, len(users)
        while start < total:
            user, end = users[start], start + 1
            while end < total and users[end] == user:
                end += 1
            key = f"{self.prefix}user:{user}:activities"
            size = end - start
            out.append(
                f"*{2 + size}\r\n$5\r\nRPUSH\r\n${len(key)}\r\n{key}\r\n{''.join(elements[start:end])}"
            )
            out.append(
                f"*{2 + 2 * size}\r\n$4\r\nZADD\r\n${len(key) + 8}\r\n{key}:by_time\r\n"
                f"{''.join(members[start:end])}"
            )
            start = end
        return out

    def _in_order(self, columns: list[Column], numbers: Column, batch: Batch) -> list[int]:
        kept = []
        for i, (user, activity, number) in enumerate(zip(columns[0], columns[2], numbers, strict=True)):
            if self.order.keeps(int(user), number, int(activity)):
                kept.append(i)
            else:
                batch.reasons["score_order"] += 1
        return kept


def _plain(date: str | None) -> bool:
    """Whether a date is of the common form, without asking the model."""
    return date is not None and len(date) >= 19 and date[4:5] == "-" and not date.endswith("C")


def _hash(key: str, names: tuple[str, ...], row: tuple[Any, ...]) -> str:
    """HSET of a row; a NULL is an absent field."""
    whole = f"{key}{row[0]}"
    parts = [
        f"${len(name)}\r\n{name}\r\n${len(value)}\r\n{value}\r\n"
        for name, value in zip(names, row[1:], strict=True)
        if value is not None
    ]
    return f"*{2 + 2 * len(parts)}\r\n$4\r\nHSET\r\n${len(whole)}\r\n{whole}\r\n{''.join(parts)}"
