"""COPY's binary format: rows become columns, and numbers, dates, UUIDs and bytes text of our own making.

Only the verifier reads this; the writer reads ``copytext``, where PostgreSQL makes the text.
Sources: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-BINARY, and the functions
``*_send`` in PostgreSQL's ``src/backend/utils/adt``.
"""

import re

import numpy as np

from helpers.columns import Bytes, Mask, Numbers, Strings, decimals, weave, whole

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(SIGNATURE) + 8
EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from which PostgreSQL counts."""
TRAILER = b"\xff\xff"
KEY_BYTES = 8
"""Bytes of an int8, as the length that stands before it."""
_BEHIND = 8
DAY_US = 86_400_000_000
EPOCH_DAYS = 10_957
"""Days from 1970 to 2000, from which PostgreSQL counts."""
DATE_WIDTH = 26
FIRST_DAY, END_DAY = -719_162, 2_932_897
"""0001-01-01 and 10000-01-01 in days since 1970: between them a date has four digits for the year."""
_RESERVED = ((b"%", b"%25"), (b":", b"%3A"), (b"{", b"%7B"), (b"}", b"%7D"))
_ANY_RESERVED = re.compile(rb"[%:{}]")
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_TRUTH = np.frombuffer(b"truefalse", dtype=np.uint8)


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
        high, low = divmod(self._width, 256)
        found = np.flatnonzero((data[1 : size + 1] == low) & (data[5 : size + 5] == KEY_BYTES))
        for place, byte in ((0, high), (2, 0), (3, 0), (4, 0)):
            found = found[data[found + place] == byte]
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
    """The numbers of a column of int8, or the counts of a column of timestamps or times; 0 where NULL."""
    return _present_integers(column, 8)


def _present_integers(column: Strings, width: int) -> Numbers:
    if column.present is None:
        return _integers(column.data, column.starts, width)
    found = np.zeros(len(column), dtype=np.int64)
    found[column.present] = _integers(column.data, column.starts[column.present], width)
    return found


def _integers(data: Bytes, starts: Numbers, width: int) -> Numbers:
    if not len(starts):
        return np.empty(0, dtype=np.int64)
    whole = np.ndarray((data.size - width + 1,), dtype=f">i{width}", buffer=data, strides=(1,))
    return whole[starts].astype(np.int64)


def moments(column: Strings) -> Numbers:
    """Microseconds since 1970 of a column of timestamps, none of which is beyond the year 9999."""
    return integers(column) + EPOCH_US


def days(column: Strings) -> Numbers:
    """Days since 1970 of a column of dates; 1970-01-01 where NULL."""
    found = _present_integers(column, 4) + EPOCH_DAYS
    return found if column.present is None else np.where(column.present, found, 0)


# -- as text


def decimal_texts(column: Strings) -> Strings:
    """A column of int8 as decimal text."""
    return _null_as(column, decimals(integers(column)))


def _null_as(column: Strings, texts: Strings) -> Strings:
    """The texts that were made of a column, without those of its NULLs."""
    if column.present is None:
        return texts
    return Strings(texts.data, texts.starts, np.where(column.present, texts.lengths, 0), column.present)


def iso(microseconds: Numbers, *, zoned: bool = False) -> Strings:
    """ISO 8601 of fixed width, for at least one moment of the years 1 to 9999.

    Args:
        microseconds: since 1970.
        zoned: whether a ``Z`` stands behind each.
    """
    days, rest = np.divmod(microseconds, DAY_US)
    matrix = np.empty((len(microseconds), DATE_WIDTH + zoned), dtype=np.uint8)
    matrix[:, :10] = _days_matrix(days)
    matrix[:, [10, 13, 16, 19]] = np.frombuffer(b"T::.", dtype=np.uint8)
    _set_clock(matrix, rest, 11)
    if zoned:
        matrix[:, DATE_WIDTH] = ord("Z")
    return whole(matrix)


def _days_matrix(days: Numbers) -> Bytes:
    """The ten characters of each of some days since 1970."""
    first, last = int(days.min()), int(days.max())
    if last - first < len(days):
        known, which = np.arange(first, last + 1), days - first
    else:
        known, which = np.unique(days, return_inverse=True)
    text = np.datetime_as_string(known.astype("datetime64[D]")).astype("S10")
    return text.view("V10")[which].view(np.uint8).reshape(-1, 10)


def _set_clock(matrix: Bytes, microseconds: Numbers, at: int) -> None:
    """Write the digits of ``10:00:00.000000`` from a column of the matrix on, not what is between them."""
    seconds, below = np.divmod(microseconds, 1_000_000)
    clock = (seconds // 3600 * 100 + seconds // 60 % 60) * 100 + seconds % 60
    for number, places in ((clock, (7, 6, 4, 3, 1, 0)), (below, (14, 13, 12, 11, 10, 9))):
        number = number.astype(np.uint32)
        for place in places:
            tenth = number // np.uint32(10)
            matrix[:, at + place] = number - tenth * np.uint32(10) + ord("0")
            number = tenth


def moment_texts(column: Strings, *, zoned: bool) -> Strings:
    """A column of timestamps as ISO 8601; those that have no such form as PostgreSQL writes them.

    Args:
        column: of binary timestamps.
        zoned: whether they are ``timestamptz``, written in UTC.
    """
    since = integers(column)
    low, high = FIRST_DAY * DAY_US - EPOCH_US, END_DAY * DAY_US - EPOCH_US
    fits = (since >= low) & (since < high)
    if not len(since) or fits.all():
        found = iso(since + EPOCH_US, zoned=zoned) if len(since) else column
        return _null_as(column, found)
    found = iso(np.where(fits, since, 0) + EPOCH_US, zoned=zoned)
    far = np.flatnonzero(~fits)
    texts = [_far_moment(number, zoned) for number in since[far].tolist()]
    return _null_as(column, _with(found, far, texts))


def date_texts(column: Strings) -> Strings:
    """A column of dates as ISO 8601; those that have no such form as PostgreSQL writes them."""
    since = days(column)
    fits = (since >= FIRST_DAY) & (since < END_DAY)
    if not len(since):
        return column
    found = whole(_days_matrix(np.where(fits, since, 0)))
    if not fits.all():
        far = np.flatnonzero(~fits)
        found = _with(found, far, [_far_date(number) for number in since[far].tolist()])
    return _null_as(column, found)


def _with(column: Strings, rows: Numbers, texts: list[bytes]) -> Strings:
    """A column with other texts in some rows."""
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    starts, lengths = column.starts.copy(), column.lengths.copy()
    starts[rows], lengths[rows] = column.data.size + np.cumsum(sizes) - sizes, sizes
    return Strings(
        np.concatenate((column.data, np.frombuffer(b"".join(texts), dtype=np.uint8))), starts, lengths
    )


def _far_date(number: int) -> bytes:
    """What PostgreSQL writes for a date beyond the years 1 to 9999, or infinity; days since 1970."""
    if number - EPOCH_DAYS in (-(2**31), 2**31 - 1):
        return b"infinity" if number > 0 else b"-infinity"
    day, era = _far_day(number)
    return (day + era).encode()


def _far_moment(number: int, zoned: bool) -> bytes:
    """The same for a timestamp; microseconds since 2000."""
    if number in (-(2**63), 2**63 - 1):
        return b"infinity" if number > 0 else b"-infinity"
    number_of_day, rest = divmod(number + EPOCH_US, DAY_US)
    day, era = _far_day(number_of_day)
    second, below = divmod(rest, 1_000_000)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    fraction = f".{below:06}".rstrip("0") if below else ""
    return f"{day} {clock}{fraction}{'+00' if zoned else ''}{era}".encode()


def _far_day(number: int) -> tuple[str, str]:
    """(date, era) of a day since 1970, in the Gregorian calendar; the year before 1 is 1 BC."""
    text = str(np.datetime64(number, "D"))
    year, month, day = text.rsplit("-", 2)
    before = 1 - int(year)
    return (
        (f"{before:04}-{month}-{day}", " BC") if before > 0 else (f"{year.lstrip('+'):0>4}-{month}-{day}", "")
    )


def time_texts(column: Strings) -> Strings:
    """A column of times of day as ``10:00:00``, with a fraction where there is one: ``10:00:00.5``."""
    since = integers(column)
    matrix = np.empty((len(since), 15), dtype=np.uint8)
    matrix[:, [2, 5, 8]] = np.frombuffer(b"::.", dtype=np.uint8)
    _set_clock(matrix, since, 0)
    found = whole(matrix)
    below, lengths = since % 1_000_000, np.full(len(since), 15)
    for _ in range(6):
        zero = (below % 10 == 0) & (lengths > 9)
        lengths, below = lengths - zero, np.where(zero, below // 10, 1)
    lengths[lengths == 9] = 8
    return _null_as(column, Strings(found.data, found.starts, lengths))


def uuid_texts(column: Strings) -> Strings:
    """A column of UUIDs as 36 characters each."""
    here = np.arange(len(column)) if column.present is None else np.flatnonzero(column.present)
    matrix = np.zeros((len(column), 36), dtype=np.uint8)
    if len(here):
        raw = column.data[column.starts[here][:, None] + np.arange(16)]
        digits = _HEX[raw].reshape(-1, 32)
        matrix[:, [8, 13, 18, 23]] = ord("-")
        at = 0
        for begin, size in ((0, 8), (9, 4), (14, 4), (19, 4), (24, 12)):
            matrix[here, begin : begin + size] = digits[:, at : at + size]
            at += size
    return _null_as(column, whole(matrix))


def truth_texts(column: Strings) -> Strings:
    """A column of booleans as ``true`` and ``false``."""
    true: Mask = np.zeros(len(column), dtype=bool)
    here = slice(None) if column.present is None else column.present
    true[here] = column.data[column.starts[here]] != 0
    return _null_as(column, Strings(_TRUTH, np.where(true, 0, 4), np.where(true, 4, 5)))


def hex_texts(column: Strings) -> Strings:
    """A column of bytes as ``\\x`` and two digits a byte."""
    raw = weave(column)
    digits = Strings(_HEX[raw.data].reshape(-1), raw.starts * 2, raw.lengths * 2)
    return _null_as(column, weave(b"\\x", digits))


def escaped(column: Strings) -> Strings:
    """A column of texts with ``%25``, ``%3A``, ``%7B`` and ``%7D`` for ``%``, ``:`` and braces.

    No text of PostgreSQL has a zero byte, so that one may mark the ends of all.
    """
    raw = weave(column, b"\0").data.tobytes()
    if not _ANY_RESERVED.search(raw):
        return column
    for letter, escape in _RESERVED:
        raw = raw.replace(letter, escape)
    data = np.frombuffer(raw, dtype=np.uint8)
    ends = np.flatnonzero(data == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    return Strings(data, starts, ends - starts, column.present)
