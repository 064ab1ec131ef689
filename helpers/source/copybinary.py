"""COPY's binary format: rows become columns, and dates text of our own making.

Only the verifier reads this; the writer reads ``copytext``, where PostgreSQL makes the text.
Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY
"""

import numpy as np

from helpers.columns import Bytes, Numbers, Strings, whole
from helpers.model import DATE_WIDTH

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(SIGNATURE) + 8
EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from which PostgreSQL counts."""
TRAILER = b"\xff\xff"
KEY_BYTES = 8
"""Bytes of an int8, as the length that stands before it."""
_BEHIND = 8
DAY_US = 86_400_000_000


class Reader:
    """Cuts chunks of any length into rows whose first value is an int8 that is never NULL.

    Rows have no mark at their end; their fields' lengths tell where the next one begins. Instead of going
    from row to row, all places that look like the beginning of a row are found at once, and the end of each
    is computed; if each ends where the next begins, they are the rows.

    Args:
        width: values of a row.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._rest, self._header = b"", True

    def columns(self, chunk: bytes) -> list[Strings]:
        """The columns of the rows that end in this chunk, undecoded; a NULL is not present."""
        text = self._rest + chunk
        if self._header and len(text) >= HEADER_BYTES:
            text, self._header = text[HEADER_BYTES:], False
        size = 0 if self._header else len(text)
        # Behind the last row there may be too little to look at a field's length: nothing is read there.
        data = np.frombuffer(text + bytes(_BEHIND), dtype=np.uint8)
        begins = self._likely(data, size)
        starts, lengths, ends = _fields(data, begins, size, self._width)
        rows = _rows(begins, ends, size)
        end = int(ends[rows[-1]]) if len(rows) else 0
        self._rest = b"" if text[end:] == TRAILER else text[end:]
        return [
            _column(data, start[rows], length[rows]) for start, length in zip(starts, lengths, strict=True)
        ]

    def _likely(self, data: Bytes, size: int) -> Numbers:
        """All places that look like the beginning of a row: how many values, and the length of the first."""
        found = np.flatnonzero((data[1 : size + 1] == self._width) & (data[5 : size + 5] == KEY_BYTES))
        for zero in (0, 2, 3, 4):
            found = found[data[found + zero] == 0]
        return found


def _fields(
    data: Bytes, begins: Numbers, size: int, width: int
) -> tuple[list[Numbers], list[Numbers], Numbers]:
    """(starts, lengths) of each column if rows begin at these places, and where they end; a NULL's length
    is negative.
    """
    starts, lengths, at = [], [], begins + 2
    for _ in range(width):
        length = _integers(data, np.minimum(at, size), 4)
        starts.append(at + 4)
        lengths.append(length)
        at = at + 4 + np.maximum(length, 0)
    return starts, lengths, at


def _rows(begins: Numbers, ends: Numbers, size: int) -> Numbers:
    """Which of these are the rows that end in the buffer: they follow one another from its beginning on."""
    rows = np.arange(len(begins))
    if _broken(begins, ends):  # a number that ends in the width looks so: but no row ends before it
        ended = np.zeros(size + 2, dtype=bool)
        ended[np.minimum(ends, size + 1)] = ended[0] = True
        rows = np.flatnonzero(ended[begins])
    if _broken(begins[rows], ends[rows]):
        row_at, at, found = {begin: row for row, begin in enumerate(begins.tolist())}, 0, []
        while at in row_at:
            found.append(row_at[at])
            at = int(ends[found[-1]])
        rows = np.array(found, dtype=np.int64)
    return rows[ends[rows] <= size]


def _broken(begins: Numbers, ends: Numbers) -> bool:
    """Whether they are not the rows of a buffer, one behind the other from its beginning on."""
    return bool(len(begins)) and bool(begins[0] or (ends[:-1] != begins[1:]).any())


def _column(data: Bytes, starts: Numbers, lengths: Numbers) -> Strings:
    present = lengths >= 0
    if present.all():
        return Strings(data, starts, lengths)
    return Strings(data, starts, np.maximum(lengths, 0), present)


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
    """ISO 8601 of fixed width, for at least one moment of the years 1 to 9999 in microseconds since 1970."""
    days, rest = np.divmod(microseconds, DAY_US)
    first, last = int(days.min()), int(days.max())
    if last - first < len(days):
        known, which = np.arange(first, last + 1), days - first
    else:
        known, which = np.unique(days, return_inverse=True)
    text = np.datetime_as_string(known.astype("datetime64[D]")).astype("S10")
    matrix = np.empty((len(microseconds), DATE_WIDTH), dtype=np.uint8)
    matrix[:, :10] = text.view("V10")[which].view(np.uint8).reshape(-1, 10)
    matrix[:, [10, 13, 16, 19]] = np.frombuffer(b"T::.", dtype=np.uint8)
    seconds, below = np.divmod(rest, 1_000_000)
    clock = (seconds // 3600 * 100 + seconds // 60 % 60) * 100 + seconds % 60
    for number, places in ((clock, (18, 17, 15, 14, 12, 11)), (below, (25, 24, 23, 22, 21, 20))):
        number = number.astype(np.uint32)
        for place in places:
            tenth = number // np.uint32(10)
            matrix[:, place] = number - tenth * np.uint32(10) + ord("0")
            number = tenth
    return whole(matrix)
