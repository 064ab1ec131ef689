"""COPY's binary format: rows become columns, and dates text of our own making.

Only the verifier reads this; the writer reads ``copytext``, where PostgreSQL makes the text.
Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY
"""

import struct

import numpy as np

from helpers.model import DATE_WIDTH
from helpers.transfer.strings import Bytes, Numbers, Strings, whole

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
    """Cuts pieces of any length into rows whose first value is an int8 that is never NULL.

    Rows have no mark at their end; their fields' lengths tell where the next one begins. Instead of going
    from row to row, all places that look like the beginning of a row are found at once, and the end of each
    is computed; if each ends where the next begins, they are the rows.

    Args:
        width: values of a row.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._mark = np.frombuffer(struct.pack(">hh", width, 0), dtype=np.uint32)[0]
        self._rest, self._header = b"", True

    def columns(self, piece: bytes) -> list[Strings]:
        """The columns of the rows that end in this piece, undecoded; a NULL is not present."""
        text = self._rest + piece
        if self._header:
            if len(text) < HEADER_BYTES:
                self._rest = text
                return columns(np.empty(0, np.uint8), np.empty(0, np.int64), self._width)
            text, self._header = text[HEADER_BYTES:], False
        # Behind the last row there may be too little to look at a field's length: nothing is read there.
        data = np.frombuffer(text + bytes(_BEHIND), dtype=np.uint8)
        starts, end = self._starts(data, len(text))
        self._rest = b"" if text[end:] == TRAILER else text[end:]
        return columns(data, starts, self._width)

    def _starts(self, data: Bytes, size: int) -> tuple[Numbers, int]:
        """(where rows begin, where the last of them ends)."""
        words = np.ndarray((size,), dtype=np.uint32, buffer=data, strides=(1,))
        found = np.flatnonzero(words == self._mark)
        found = found[(data[found + 4] == 0) & (data[found + 5] == KEY_BYTES)]
        ends = self._ends(data, found, size)
        if _broken(found, ends):  # a number that ends in the width looks so: but no row ends before it
            likely = (found == 0) | np.isin(found, ends)
            found, ends = found[likely], ends[likely]
        if _broken(found, ends):
            end_of, at, rows = dict(zip(found.tolist(), ends.tolist(), strict=True)), 0, []
            while at in end_of:
                rows.append((at, end_of[at]))
                at = end_of[at]
            found, ends = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        whole = ends <= size
        found, ends = found[whole], ends[whole]
        return found, int(ends[-1]) if len(ends) else 0

    def _ends(self, data: Bytes, starts: Numbers, size: int) -> Numbers:
        at = starts + 2
        for _ in range(self._width):
            length = _integers(data, np.minimum(at, size), 4)
            at = np.where(at + 4 > size, size + 1, at + 4 + np.maximum(length, 0))
        return at


def _broken(starts: Numbers, ends: Numbers) -> bool:
    """Whether they are not the rows of a buffer, one behind the other from its beginning on."""
    return bool(len(starts)) and bool(starts[0] or (ends[:-1] != starts[1:]).any())


def columns(data: Bytes, starts: Numbers, width: int) -> list[Strings]:
    """The columns of rows that begin at some places of a buffer."""
    at = starts + 2
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
    days, rest = np.divmod(microseconds, DAY_US)
    known, which = np.unique(days, return_inverse=True)
    text = np.datetime_as_string(known.astype("datetime64[D]")).astype("S10")
    matrix = np.empty((len(microseconds), DATE_WIDTH), dtype=np.uint8)
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
    return whole(matrix)
