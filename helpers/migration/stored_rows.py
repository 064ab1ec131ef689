"""What Redis holds for users, products and orders, as rows again: read in windows, every value checked.

Values stay bytes all the way to COPY, so that they come back as they were. They are looked at strictly: what
no migration would have written is named. PostgreSQL is more lenient ("now" is a date to it, and 24:00 the
next day): asking it alone would guess.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis
import numpy as np

from helpers import model
from helpers.errors import HelpersError
from helpers.source import table_checks
from helpers.target import encode, resp
from helpers.text import show

MOST_ROWS = 10_000
WINDOW_BYTES = 2 << 20
MEND = "mend it by hand, or by `migrate` from its source"
INT8 = range(-(2**63), 2**63)
DATE = (
    rb"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}"
)
NUMBER = rb"(?:0|-?[1-9][0-9]{0,18})"
ELEMENT = re.compile(rb"(.*):(" + DATE + rb")", re.S)
"""A list element, (activity_type, activity_date)."""
MEMBER = re.compile(rb"(" + NUMBER + rb"):(.*)", re.S)
"""A member of the sorted set of activities, (activity_id, activity_type)."""
FORMS: Mapping[str, tuple["re.Pattern[bytes]", str]] = {
    "int": (re.compile(NUMBER), "a whole number of 64 bits"),
    "timestamp": (re.compile(DATE), "a date such as 2026-11-22T10:00:00.000000"),
    "numeric": (re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|NaN|-?Infinity"), "a number such as 19.90"),
}
"""Pattern of each kind of value (see ``table_checks.COLUMN_KINDS``), and its name. Texts may be anything."""


@dataclass(frozen=True)
class TableRows:
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


class StoredRows:
    """The rows that Redis holds under a prefix; it is only read.

    Args:
        connection: Redis, or a cluster.
        prefix: the prefix of the migration.

    Attributes:
        window: how many rows are asked for at once.
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

        Args:
            keys: (kind, key), as ``keyspace.scan`` gives them.

        Raises:
            HelpersError: a number has more than 64 bits.
        """
        prefix = self.prefix.decode()
        for kind, key in keys:
            if kind not in ("user_orders", "product_orders"):
                number = model.key_id(key, prefix)
                if number not in INT8:
                    raise self.damaged(key, "is no key that a row can have")
                yield kind, number

    def hashes(self, table: str, numbers: Sequence[int]) -> TableRows:
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
            if fault := first_fault(table_checks.COLUMN_KINDS.get(column, "int"), values):
                raise self.damaged(held[fault[0]], fault[1], values[fault[0]], field)
        return TableRows(table, columns, held)

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
                    raise self.connection.refused(reply, "restore")
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


def first_fault(kind: str, values: Sequence[bytes | None]) -> tuple[int, str] | None:
    """The first value that is not of its form, as (its place, what is wrong with it), or None.

    Args:
        kind: of the values: ``int``, ``text``, ``timestamp`` or ``numeric``.
        values: values of a column; None is NULL.
    """
    if kind not in FORMS:
        return None
    form, words = FORMS[kind]
    for i, value in enumerate(values):
        if value is None:
            continue
        if not form.fullmatch(value) or (kind == "int" and len(value) > 18 and int(value) not in INT8):
            return i, f"is not {words}"
    if kind == "timestamp":
        try:
            date_microseconds([value for value in values if value is not None])
        except ValueError:  # 30 February
            return next(i for i, value in enumerate(values) if value and not _is_day(value)), "is no day"
    return None


def date_microseconds(dates: Sequence[bytes]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Microseconds since 1970 of dates of the right form.

    Raises:
        ValueError: one of them is no day of the calendar.
    """
    return np.array(dates, dtype=f"S{model.DATE_WIDTH}").astype("datetime64[us]").astype("int64")


def _is_day(date: bytes) -> bool:
    try:
        date_microseconds([date])
    except ValueError:
        return False
    return True
