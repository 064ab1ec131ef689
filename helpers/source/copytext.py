"""COPY's text format: rows as PostgreSQL writes them become columns.

Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS-TEXT
"""

import re
from collections.abc import Callable

import numpy as np

from helpers.columns import Bytes, Mask, Numbers, Strings, place, whole
from helpers.model import DATE_WIDTH

ESCAPE = re.compile(rb"\\(.)", re.S)
ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
FORM = np.frombuffer(b"1970-01-01T00:00:00.000000", dtype=np.uint8)


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


def dates(column: Strings) -> tuple[Strings, Numbers]:
    """(ISO 8601 of fixed width, microseconds since 1970) of dates that are of the years 1 to 9999.

    Args:
        column: n dates as PostgreSQL writes them (DateStyle ISO); where NULL, what is given back has no
            meaning.

    Returns:
        A column of ``model.DATE_WIDTH`` bytes a row, and whole numbers of shape (n,).
    """
    n = len(column)
    text = whole(np.tile(FORM, (n, 1)))
    place(column, text.data, text.starts)
    text.data[10::DATE_WIDTH] = ord("T")
    moments = text.data.view(f"S{DATE_WIDTH}").astype("datetime64[us]").astype(np.int64)
    return Strings(text.data, text.starts, text.lengths, column.present), moments
