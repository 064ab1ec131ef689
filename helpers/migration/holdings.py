"""What Redis holds for users, products and orders, as rows again: read in windows, every value checked.

Values stay bytes all the way to COPY, so that they come back as they were.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis
import psycopg2

from helpers import model
from helpers.errors import HelpersError
from helpers.migration import forms
from helpers.source import shape
from helpers.target import encode, resp
from helpers.text import show

MOST_ROWS = 10_000
WINDOW_BYTES = 2 << 20
MEND = "mend it by hand, or by `migrate` from its source"


@dataclass(frozen=True)
class Piece:
    """Some rows of a table.

    Attributes:
        table: its name.
        columns: the values of each of ``model.COLUMNS[table]`` as bytes, None for NULL.
        keys: the Redis key that each row came from.
    """

    table: str
    columns: Sequence[Sequence[bytes | None]]
    keys: Sequence[bytes]


class Window:
    """How many rows to ask for at once for an answer near ``WINDOW_BYTES``: judged by the last one."""

    def __init__(self) -> None:
        self.rows = 500

    def saw(self, rows: int, size: int) -> None:
        """Take note of an answer of so many rows and bytes."""
        fitting = max(rows, 1) * WINDOW_BYTES // max(size, 1)
        self.rows = max(1, min(fitting, 4 * self.rows, MOST_ROWS))


class Holdings:
    """The rows that Redis holds under a prefix; it is only read.

    Attributes:
        window: how many rows an answer holds at most.
        left_out: hash fields that no column takes, by table.
        example: one of them, as ``field of key``.
    """

    def __init__(self, connection: resp.Connection, prefix: str) -> None:
        self.connection, self.prefix = connection, prefix.encode()
        self.window = Window()
        self.left_out: Counter[str] = Counter()
        self.example: dict[str, str] = {}

    def numbered(self, keys: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, int]]:
        """(kind, number) of the keys that hold rows, those of references back left out.

        Raises:
            HelpersError: a number has more than 64 bits.
        """
        prefix = self.prefix.decode()
        for kind, key in keys:
            if kind not in ("user_orders", "product_orders"):
                number = model.key_id(key, prefix)
                if number not in forms.INT8:
                    raise self.damaged(key, "is no key that a row can have")
                yield kind, number

    def hashes(self, table: str, numbers: Sequence[int]) -> Piece:
        """The rows that these hashes hold; a hash that is gone has no row.

        Args:
            table: ``users``, ``products`` or ``orders``.
            numbers: the rows' keys.

        Raises:
            HelpersError: a hash does not hold what the migration wrote.
        """
        kind, fields = table[:-1].encode(), model.FIELDS[table]
        names = [field.encode() for field in fields]
        keys = [b"%b%b:%d" % (self.prefix, kind, number) for number in numbers]
        replies = self.ask("hash", {key: encode("HGETALL", key) for key in keys}, len(keys))
        rows, held = [], []
        for key, number, reply in zip(keys, numbers, replies, strict=True):
            found = dict(zip(reply[::2], reply[1::2], strict=True))
            row = [found.pop(name, None) for name in names]
            if found:
                self.left_out[table] += len(found)
                self.example.setdefault(table, f"{show(next(iter(found)))} of {show(key)}")
            if reply:
                rows.append((b"%d" % number, *row))
                held.append(key)
            if reply and not any(value is not None for value in row):
                raise self.damaged(key, f"holds none of {', '.join(fields)}")
        columns = list(zip(*rows, strict=True)) or [()] * len(model.COLUMNS[table])
        for column, field, values in zip(model.COLUMNS[table][1:], fields, columns[1:], strict=True):
            if fault := forms.fault(shape.EXPECTED.get(column, "int"), values):
                raise self.damaged(held[fault[0]], fault[1], values[fault[0]], field)
        return Piece(table, columns, held)

    def ask(self, expected: str, commands: Mapping[bytes, bytes], rows: int = 0) -> list[Any]:
        """The replies to some commands, in their order.

        Args:
            expected: type of the keys, in words.
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
                    raise self.connection.refused(reply, "restore")
                found = show(self.connection.call("TYPE", key)).replace("zset", "sorted set")
                raise self.damaged(key, f"is a {found}, not a {expected}")
        return replies

    def damaged(
        self, key: bytes, what: str, value: bytes | None = None, field: str = "", remedy: str = MEND
    ) -> HelpersError:
        """The error for a key that does not hold what the migration wrote: one line."""
        shown = "" if value is None else f" {show(value[:60])!r}{'...' if len(value) > 60 else ''}"
        return HelpersError(
            f"redis at {self.connection.address}: {show(key)}{' ' + field if field else ''}{shown} {what}; "
            f"{remedy}; nothing was written to postgres"
        )


NULL = rb"\N"
ESCAPES = ((b"\\", rb"\\"), (b"\t", rb"\t"), (b"\n", rb"\n"), (b"\r", rb"\r"))


def lines(piece: Piece) -> bytes:
    """The rows as COPY takes them, a line each; text alone can hold what needs an escape."""
    columns = [
        [NULL if v is None else _escape(v) for v in values]
        if shape.EXPECTED.get(column) == "text"
        else [NULL if v is None else v for v in values]
        for column, values in zip(model.COLUMNS[piece.table], piece.columns, strict=True)
    ]
    return b"".join([b"\t".join(row) + b"\n" for row in zip(*columns, strict=True)])


def _escape(value: bytes) -> bytes:
    for raw, escaped in ESCAPES:
        if raw in value:
            value = value.replace(raw, escaped)
    return value


def refused(error: psycopg2.DataError, piece: Piece) -> tuple[int, str | None]:
    """(row, column) of the value that PostgreSQL refused; None for a column that it did not tell."""
    found = re.search(
        r"\D (\d+)(?:, \w+ (\w+))?", error.diag.context or ""
    )  # COPY users, line 3, column email
    row = min(int(found[1]), len(piece.keys)) - 1 if found else 0
    columns = dict(zip(model.COLUMNS[piece.table], piece.columns, strict=True))
    if found and found[2] in columns:
        return row, found[2]
    return row, next((name for name, values in columns.items() if not _is_text(values[row])), None)


def _is_text(value: bytes | None) -> bool:
    """Whether PostgreSQL can take a value as text in UTF-8."""
    try:
        return value is None or (b"\0" not in value and value.decode() is not None)
    except UnicodeDecodeError:
        return False
