"""COPY's binary format: rows become columns, and dates text of our own making.

Only the verifier reads this; the writer reads ``copytext``, where PostgreSQL makes the text.
Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY
"""

import numpy as np

from helpers.transfer.strings import Bytes, Numbers, Strings

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(SIGNATURE) + 8
EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from which PostgreSQL counts."""
TRAILER = b"\xff\xff"
DAY_US = 86_400_000_000


def rows(messages: list[bytes]) -> list[bytes]:
    """The rows in some messages of COPY: the first of all brings the header, the last of all holds no row."""
    if messages and messages[0].startswith(SIGNATURE):
        first = messages[0][HEADER_BYTES:]
        messages = [first, *messages[1:]] if first else messages[1:]
    return messages[:-1] if messages and messages[-1] == TRAILER else list(messages)


def columns(rows: list[bytes], width: int) -> list[Strings]:
    """The columns of some rows, undecoded.

    Args:
        rows: rows as ``row`` gives them.
        width: columns of a row.

    Returns:
        ``width`` columns; a NULL is not present.
    """
    data = np.frombuffer(b"".join(rows), dtype=np.uint8)
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    at = np.cumsum(sizes) - sizes + 2
    found = []
    for _ in range(width):
        lengths = _integers(data, at, 4)
        present = lengths >= 0
        lengths = np.maximum(lengths, 0)
        found.append(Strings(data, at + 4, lengths, None if present.all() else present))
        at = at + 4 + lengths
    return found


def integers(column: Strings) -> Numbers:
    """The numbers of a column of int8, or the counts of a column of timestamps; 0 where NULL."""
    if column.present is None:
        return _integers(column.data, column.starts, 8)
    found = np.zeros(len(column), dtype=np.int64)
    found[column.present] = _integers(column.data, column.starts[column.present], 8)
    return found


def _integers(data: Bytes, starts: Numbers, width: int) -> Numbers:
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    whole = np.ndarray((data.size - width + 1,), dtype=f">i{width}", buffer=data, strides=(1,))
    return whole[starts].astype(np.int64)


def moments(column: Strings) -> Numbers:
    """Microseconds since 1970 of a column of timestamps."""
    return integers(column) + EPOCH_US


def iso(microseconds: Numbers) -> Strings:
    """ISO 8601 of fixed width, for moments of the years 1 to 9999 in microseconds since 1970."""
    n = len(microseconds)
    days, rest = np.divmod(microseconds, DAY_US)
    known, which = np.unique(days, return_inverse=True)
    text = np.datetime_as_string(known.astype("datetime64[D]")).astype("S10")
    matrix = np.empty((n, 26), dtype=np.uint8)
    matrix[:, :10] = text.view(np.uint8).reshape(-1, 10)[which]
    matrix[:, [10, 13, 16, 19]] = np.frombuffer(b"T::.", dtype=np.uint8)
    seconds, below = np.divmod(rest, 1_000_000)
    clock = (seconds // 3600 * 100 + seconds // 60 % 60) * 100 + seconds % 60
    for number, places in ((clock, (18, 17, 15, 14, 12, 11)), (below, (25, 24, 23, 22, 21, 20))):
        number = number.astype(np.uint32)
        for place in places:
            tenth = number // np.uint32(10)
            matrix[:, place] = number - tenth * np.uint32(10) + ord("0")
            number = tenth
    return Strings(matrix.ravel(), np.arange(n) * 26, np.full(n, 26))
