"""COPY's text format: rows as PostgreSQL writes them become columns.

Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT
"""

import re
from collections.abc import Callable

import numpy as np

from helpers.columns import Bytes, Mask, Numbers, Strings, column_of, numbers, place, weave, whole
from helpers.model import FORMATS, Format

ESCAPE = re.compile(rb"\\(.)", re.S)
ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
DATE_WIDTH = FORMATS["moment"].width or 0
FORM = np.frombuffer(b"1970-01-01T00:00:00.000000", dtype=np.uint8)
FORM_ZONED = np.append(FORM, np.uint8(ord("Z")))
BOOLEANS = column_of(b"false", b"true")
NIBBLES = np.zeros(256, dtype=np.uint8)
NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)


def whole_rows(take: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """A function that takes chunks of COPY's text of any length, and gives ``take`` whole rows of them."""
    rest = b""

    def cut(chunk: bytes) -> None:
        nonlocal rest
        text = rest + chunk
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        if end:
            take(text[:end])

    return cut


def columns(rows: bytes, width: int) -> list[Strings]:
    """The columns of some whole rows.

    Args:
        rows: rows as COPY writes them, each with its newline.
        width: columns of a row.

    Returns:
        ``width`` columns, unescaped; a NULL is not present.
    """
    data = np.frombuffer(rows, dtype=np.uint8)
    ends = np.flatnonzero((data == ord("\t")) | (data == ord("\n")))
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - starts
    present = None
    if b"\\" in rows:
        data, starts, lengths, present = _unescaped(data, starts, lengths)
    return [
        Strings(data, starts[i::width], lengths[i::width], None if present is None else present[i::width])
        for i in range(width)
    ]


def _unescaped(data: Bytes, starts: Numbers, lengths: Numbers) -> tuple[Bytes, Numbers, Numbers, Mask]:
    """The same fields with those that hold a backslash read anew and put behind the buffer."""
    marks = np.flatnonzero(data == ord("\\"))
    fields = np.unique(np.searchsorted(starts, marks, side="right") - 1)
    lengths, present = lengths.copy(), np.ones(len(starts), dtype=bool)
    null = (lengths[fields] == 2) & (data[starts[fields] + 1] == ord("N"))
    present[fields[null]] = False
    lengths[fields[null]] = 0
    more, end = [], len(data)
    for field in fields[~null].tolist():
        value = unescaped(data[starts[field] : starts[field] + lengths[field]].tobytes())
        starts[field], lengths[field] = end, len(value)
        more.append(value)
        end += len(value)
    return np.concatenate((data, np.frombuffer(b"".join(more), dtype=np.uint8))), starts, lengths, present


def unescaped(value: bytes) -> bytes:
    """The bytes of a value that is not NULL."""
    return ESCAPE.sub(lambda found: ESCAPED.get(found[1], found[1]), value)


def texts(row: bytes) -> list[str | None]:
    """The values of one row as text; bytes that are no UTF-8 stay as they are."""
    values = row.rstrip(b"\n").split(b"\t")
    return [None if v == b"\\N" else unescaped(v).decode("utf-8", "surrogateescape") for v in values]


def canonical(column: Strings, form: Format) -> Strings:
    """The canonical text of a column, as it stands in a field; of bytes the bytes themselves.

    Args:
        column: as ``columns`` gives it, of ``encode(..., 'hex')`` where it is of bytes.
        form: the format of its values.
    """
    if form.name == "boolean":
        true = first_bytes(column) == ord("t")
        return Strings(BOOLEANS.data, BOOLEANS.starts[true * 1], BOOLEANS.lengths[true * 1], column.present)
    if form.name == "bytes":
        return _unhexed(column)
    if form.name not in ("moment", "zoned"):
        return column
    return _moments(column, zoned=form.name == "zoned")


def first_bytes(column: Strings) -> Bytes:
    """The first byte of each string, shape (n,); 0 of an empty one."""
    if not column.data.size:
        return np.zeros(len(column), dtype=np.uint8)
    found = column.data[np.minimum(column.starts, column.data.size - 1)]
    return np.where(column.lengths > 0, found, 0).astype(np.uint8)


def _unhexed(column: Strings) -> Strings:
    hexed = weave(column)
    halves = NIBBLES[hexed.data].reshape(-1, 2)
    data = (halves[:, 0] << 4 | halves[:, 1]).astype(np.uint8)
    return Strings(data, hexed.starts // 2, hexed.lengths // 2, column.present)


def _moments(column: Strings, *, zoned: bool) -> Strings:
    """ISO 8601 of fixed width, in UTC with a Z; what has no such form stays as it is."""
    n = len(column)
    if not n:
        return column
    last = column.starts + column.lengths - 1
    data = column.data
    plain = (data[np.minimum(column.starts + 4, data.size - 1)] == ord("-")) & (data[last] <= ord("9"))
    if column.present is not None:
        plain &= column.present
    if plain.all():
        return dates(column, zoned=zoned)[0]
    rows, others = np.flatnonzero(plain), np.flatnonzero(~plain)
    text = dates(column[rows], zoned=zoned)[0] if len(rows) else column[rows]
    own = weave(column[others])
    starts, lengths = np.zeros((2, n), dtype=np.int64)
    starts[rows], lengths[rows] = text.starts, text.lengths
    before = text.data.size if len(rows) else 0
    starts[others], lengths[others] = own.starts + before, own.lengths
    data = np.concatenate((text.data, own.data)) if len(rows) else own.data
    return Strings(data, starts, lengths, column.present)


def numbers_of(column: Strings, form: Format) -> Numbers:
    """Whole numbers whose nearest doubles are the scores of a column, shape (n,).

    Args:
        column: of whole numbers, moments, dates or times as ``columns`` gives it; none is NULL, each has a
            form in ISO 8601.
        form: the format of its values.

    Returns:
        The numbers themselves of whole numbers; microseconds since 1970 UTC; days for dates; microseconds
        since midnight for times of day.
    """
    if form.name == "integer":
        return numbers(column)
    if form.name == "date":
        return _padded(column, FORM[:10]).view("S10").astype("datetime64[D]").astype(np.int64)
    if form.name == "time":
        text = _padded(column, FORM[11:])
        digits = (text.reshape(-1, 15) - ord("0")).astype(np.int64)
        clock = ((digits[:, 0] * 10 + digits[:, 1]) * 60 + digits[:, 3] * 10 + digits[:, 4]) * 60
        below = digits[:, 9:] @ 10 ** np.arange(5, -1, -1)
        return (clock + digits[:, 6] * 10 + digits[:, 7]) * 1_000_000 + below
    return moments(column, form)[1]


def moments(column: Strings, form: Format) -> tuple[Strings, Numbers]:
    """(canonical text, microseconds since 1970) of a column of moments that all have a form in ISO 8601.

    Args:
        column: as ``columns`` gives it; none is NULL.
        form: the format of its values.
    """
    return dates(column, zoned=form.name == "zoned")


def _padded(column: Strings, form: Bytes) -> Bytes:
    """The strings one after the other, each made as long as a form by the rest of it."""
    text = whole(np.tile(form, (len(column), 1)))
    place(column, text.data, text.starts)
    return text.data


def dates(column: Strings, *, zoned: bool = False) -> tuple[Strings, Numbers]:
    """(ISO 8601 of fixed width, microseconds since 1970) of dates that are of the years 1 to 9999.

    Args:
        column: n dates as PostgreSQL writes them (DateStyle ISO); where NULL, what is given back has no
            meaning.
        zoned: each ends in ``+00``, for which there is a Z.

    Returns:
        A column of ``DATE_WIDTH`` bytes a row, or one more, and whole numbers of shape (n,).
    """
    n = len(column)
    text = whole(np.tile(FORM_ZONED if zoned else FORM, (n, 1)))
    place(Strings(column.data, column.starts, column.lengths - 3 * zoned), text.data, text.starts)
    width = DATE_WIDTH + zoned
    text.data[10::width] = ord("T")
    moments = np.ndarray((n,), f"S{DATE_WIDTH}", text.data, strides=(width,))
    numbers = moments.astype("datetime64[us]").astype(np.int64)
    return Strings(text.data, text.starts, text.lengths, column.present), numbers
