"""The messages of PostgreSQL's logical decoding plugin ``pgoutput``, protocol version 1, as records.

Rows come as the text that the types' output functions write, as in ``COPY``. Updates and deletes are taken
only with the whole old row (``REPLICA IDENTITY FULL``): then a value that was stored apart and did not
change, which is not sent again, stands in the old row.

Source: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

import struct
from dataclasses import dataclass

EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from which PostgreSQL counts."""
FULL = "f"
Values = tuple[bytes | None, ...]
"""Values of a row, in the order of the table's columns; None is NULL."""


class Incomplete(ValueError):
    """An update or delete came without the whole old row."""


@dataclass(frozen=True)
class Begin:
    """A transaction begins.

    Attributes:
        commit_lsn: where its commit stands in the log.
        committed_us: when that was, in microseconds since 1970, UTC.
    """

    commit_lsn: int
    committed_us: int


@dataclass(frozen=True)
class Commit:
    """A transaction ends.

    Attributes:
        commit_lsn: where its commit stands in the log.
        end_lsn: where that ends; what comes later begins there.
        committed_us: when it was, in microseconds since 1970, UTC.
    """

    commit_lsn: int
    end_lsn: int
    committed_us: int


@dataclass(frozen=True)
class Relation:
    """A table, told before its first change and after it was altered.

    Attributes:
        oid: by which changes name it.
        schema: the name of its schema.
        name: its name.
        identity: ``d``, ``n``, ``f`` or ``i``, as in ``pg_class.relreplident``.
        columns: (name, number of the type, its modifier) of each column.
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Change:
    """A row was inserted, updated or deleted.

    Attributes:
        oid: of the table.
        old: the whole row before; None for an insert.
        new: the whole row afterwards; None for a delete.
    """

    oid: int
    old: Values | None
    new: Values | None


@dataclass(frozen=True)
class Truncate:
    """Some tables were emptied."""

    oids: tuple[int, ...]


Message = Begin | Commit | Relation | Change | Truncate


def lsn_text(lsn: int) -> str:
    """A place in the log as PostgreSQL writes it: ``0/16B3748``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """The place in the log that ``lsn_text`` wrote."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def decode(message: bytes) -> Message | None:
    """The record of a message; None for one that tells of no change (the origin, a type, a free message).

    Raises:
        Incomplete: the old row is not there, or not whole.
        ValueError: it is no message of this protocol.
    """
    kind = message[:1]
    try:
        if kind == b"I":
            return Change(_oid(message), None, _row(message, 5, b"N", None)[0])
        if kind == b"U":
            old, at = _row(message, 5, b"O", None)
            return Change(_oid(message), old, _row(message, at, b"N", old)[0])
        if kind == b"D":
            return Change(_oid(message), _row(message, 5, b"O", None)[0], None)
        if kind == b"B":
            lsn, moment, _ = struct.unpack_from(">QqI", message, 1)
            return Begin(lsn, moment + EPOCH_US)
        if kind == b"C":
            _, lsn, end, moment = struct.unpack_from(">BQQq", message, 1)
            return Commit(lsn, end, moment + EPOCH_US)
        if kind == b"R":
            return _relation(message)
        if kind == b"T":
            number, _ = struct.unpack_from(">IB", message, 1)
            return Truncate(struct.unpack_from(f">{number}I", message, 6))
    except (struct.error, IndexError) as error:
        raise ValueError(f"a message that ends too early: {message[:60]!r}") from error
    if kind in (b"O", b"Y", b"M"):
        return None
    raise ValueError(f"a message of an unknown kind: {message[:60]!r}")


def _oid(message: bytes) -> int:
    return int.from_bytes(message[1:5], "big")


def _row(message: bytes, at: int, kind: bytes, old: Values | None) -> tuple[Values, int]:
    """(values, place behind them) of the row that begins at a place, where its kind stands.

    Args:
        kind: ``N`` for a new row, ``O`` for a whole old one.
        old: where values stand that did not change and are not sent.
    """
    if message[at : at + 1] != kind:
        if message[at : at + 1] in (b"K", b"N"):
            raise Incomplete("the old row is not whole")
        raise ValueError(f"no row at {at} of {message[:60]!r}")
    (number,) = struct.unpack_from(">H", message, at + 1)
    at += 3
    values: list[bytes | None] = []
    for column in range(number):
        mark = message[at]
        at += 1
        if mark == 0x74:  # t: text
            (size,) = struct.unpack_from(">I", message, at)
            at += 4
            value = message[at : at + size]
            if len(value) != size:
                raise IndexError
            values.append(value)
            at += size
        elif mark == 0x6E:  # n: NULL
            values.append(None)
        elif mark == 0x75 and old is not None:  # u: stored apart, unchanged
            values.append(old[column])
        elif mark == 0x75:
            raise Incomplete("a value that did not change was not sent")
        else:
            raise ValueError(f"a value of an unknown kind: {chr(mark)!r}")
    return tuple(values), at


def _relation(message: bytes) -> Relation:
    (oid,) = struct.unpack_from(">I", message, 1)
    schema, at = _name(message, 5)
    name, at = _name(message, at)
    identity = chr(message[at])
    (number,) = struct.unpack_from(">H", message, at + 1)
    at += 3
    columns = []
    for _ in range(number):
        column, at = _name(message, at + 1)
        type_, modifier = struct.unpack_from(">Ii", message, at)
        at += 8
        columns.append((column, type_, modifier))
    return Relation(oid, schema, name, identity, tuple(columns))


def _name(message: bytes, at: int) -> tuple[str, int]:
    end = message.find(b"\0", at)
    if end < 0:
        raise IndexError
    return message[at:end].decode("utf-8", "surrogateescape"), end + 1
