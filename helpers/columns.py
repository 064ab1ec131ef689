"""Columns of byte strings, and their joining row by row, without a Python object a row.

``weave`` puts *pieces* together, row by row: columns, and plain bytes that are the same in each row. It gives
a *woven* column, whose rows follow each other in the buffer without a gap: ``joined``, ``stacked`` and
``merged`` rely on that.

A column holds one buffer and, for each row, where its string starts and how long it is (Arrow's layout for
variable-size binary: https://arrow.apache.org/docs/format/Columnar.html). Rows whose strings have the same
length are copied by one numpy assignment; lengths are few, so a batch of any size costs a few dozen of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

TEN = np.uint32(10)
EIGHT_DIGITS = np.uint64(10**8)
POWERS = np.array([10**n for n in range(1, 20)], dtype=np.uint64)


@dataclass(frozen=True)
class Strings:
    """A column of n byte strings.

    Attributes:
        data: the buffer, shared or not.
        starts: where each string starts in the buffer, shape (n,).
        lengths: how long each is, shape (n,); 0 where there is none.
        present: False where the value is NULL, shape (n,); None when none is.
    """

    data: Bytes
    starts: Numbers
    lengths: Numbers
    present: Mask | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: "NDArray[np.generic] | slice") -> "Strings":
        present = None if self.present is None else self.present[rows]
        return Strings(self.data, self.starts[rows], self.lengths[rows], present)

    def at(self, row: int) -> bytes | None:
        """The string of one row; None when it is NULL."""
        if self.present is not None and not self.present[row]:
            return None
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes()

    def only(self, rows: Mask | None) -> "Strings":
        """The same, with nothing in the other rows; everything when ``rows`` is None."""
        return self if rows is None else Strings(self.data, self.starts, np.where(rows, self.lengths, 0))


def whole(matrix: Bytes) -> Strings:
    """Strings of one width from a matrix of shape (n, width)."""
    n, width = matrix.shape
    return Strings(np.ascontiguousarray(matrix).ravel(), np.arange(n) * width, np.full(n, width))


def column_of(*texts: bytes) -> Strings:
    """A column of some texts."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return Strings(np.frombuffer(b"".join(texts), dtype=np.uint8), np.cumsum(lengths) - lengths, lengths)


def spread(strings: Strings, rows: Numbers, n: int) -> Strings:
    """A column that holds strings at some of its rows, and empty ones elsewhere.

    Args:
        strings: a column of m rows; none is NULL.
        rows: at which row each of them goes, shape (m,), no row twice.
        n: how many rows the column has.
    """
    starts, lengths = np.zeros((2, n), dtype=np.int64)
    starts[rows], lengths[rows] = strings.starts, strings.lengths
    return Strings(strings.data, starts, lengths)


def decimals(numbers: Numbers) -> Strings:
    """A column of whole numbers as decimal text, none of which is NULL."""
    if not len(numbers) or (numbers.min() >= 0 and numbers.max() < len(SMALL)):
        return SMALL[numbers]
    return _decimals(numbers)


def _decimals(numbers: Numbers) -> Strings:
    n = len(numbers)
    negative = numbers < 0
    rest = np.abs(numbers).astype(np.uint64)  # of int64's least number too, whose absolute value int64 lacks
    width = len(str(int(rest.max()))) + 1
    matrix = np.empty((width, n), dtype=np.uint8)
    lengths = 1 + np.searchsorted(POWERS, rest, side="right")
    for end in range(width - 1, 0, -8):  # eight digits fit in 32 bits, which are quicker to divide
        high = rest // EIGHT_DIGITS
        low, rest = (rest - high * EIGHT_DIGITS).astype(np.uint32), high
        for place in range(end, max(end - 8, 0), -1):
            tenth = low // TEN
            matrix[place], low = low - tenth * TEN, tenth
    matrix += ord("0")
    matrix[width - 1 - lengths[negative], np.flatnonzero(negative)] = ord("-")
    lengths += negative
    return Strings(matrix.T.ravel(), np.arange(1, n + 1) * width - lengths, lengths)


def numbers(strings: Strings) -> Numbers:
    """The whole numbers that decimal texts say, shape (n,); 0 where one is empty."""
    found = np.zeros(len(strings), dtype=np.int64)
    for length, rows in _by_length(strings.lengths):
        digits = _window(strings.data, length)[strings.starts[rows]].view(np.uint8).reshape(-1, length)
        negative = digits[:, 0] == ord("-")
        number = np.where(negative, 0, digits[:, 0] - ord("0")).astype(np.int64)
        for place in range(1, length):  # int64's least number comes about by overflow, as it should
            number = number * 10 + (digits[:, place] - ord("0"))
        found[rows] = np.where(negative, -number, number)
    return found


def weave(*pieces: bytes | Strings) -> Strings:
    """Row by row, the pieces one after the other; a piece of plain bytes is the same in each row.

    Args:
        pieces: at least one column; all columns have the same number of rows. A NULL counts as empty.

    Returns:
        A woven column, in a buffer of its own.
    """
    n = next(len(piece) for piece in pieces if isinstance(piece, Strings))
    pieces = _fewer(pieces)
    lengths = np.zeros(n, dtype=np.int64)
    for piece in pieces:
        lengths += len(piece) if isinstance(piece, bytes) else piece.lengths
    ends = np.cumsum(lengths)
    starts = ends - lengths
    out = np.empty(int(ends[-1]) if n else 0, dtype=np.uint8)
    at = starts.copy()
    for piece in pieces:
        if isinstance(piece, bytes):
            if piece and n:
                _window(out, len(piece))[at] = np.void(piece)
            at += len(piece)
        else:
            place(piece, out, at)
            at += piece.lengths
    return Strings(out, starts, lengths)


def place(strings: Strings, out: Bytes, at: Numbers) -> None:
    """Copy each string into a buffer, to its own place there.

    Args:
        strings: a column of n rows.
        out: the buffer, which is written to; long enough for each string at its place.
        at: where in the buffer each begins, shape (n,).
    """
    for length, rows in _by_length(strings.lengths):
        _window(out, length)[at[rows]] = _window(strings.data, length)[strings.starts[rows]]


def _fewer(pieces: "Iterable[bytes | Strings]") -> "tuple[bytes | Strings, ...]":
    """The same pieces, plain bytes that follow each other made one."""
    found: list[bytes | Strings] = []
    for piece in pieces:
        if isinstance(piece, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += piece
        else:
            found.append(piece)
    return tuple(found)


def decimal_piece(numbers: Numbers) -> bytes | Strings:
    """Whole numbers as a piece: plain bytes when all are the same, as lengths often are."""
    if len(numbers) and numbers.min() == numbers.max():
        return b"%d" % numbers[0]
    return decimals(numbers)


def bulk_string(*pieces: bytes | Strings) -> list[bytes | Strings]:
    """Pieces that make, row by row, a bulk string in RESP of some pieces one after the other.

    Args:
        pieces: as ``weave`` takes them; where none is a column, each row's is the same.
    """
    known = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    columns = [one.lengths for one in pieces if isinstance(one, Strings)]
    if not columns:
        return [b"$%d\r\n" % known, *pieces, b"\r\n"]
    lengths: Numbers = reduce(np.add, columns) + known
    return [b"$", decimal_piece(lengths), b"\r\n", *pieces, b"\r\n"]


def joined(*columns: Strings) -> bytes:
    """All strings of woven columns, one after the other, as one piece of bytes."""
    return b"".join(column.data for column in columns)  # type: ignore[misc]


def stacked(*columns: Strings) -> Strings:
    """One woven column of the rows of some, one column after the other."""
    if len(columns) == 1:
        return columns[0]
    before = np.cumsum([0, *(column.data.size for column in columns[:-1])])
    return Strings(
        np.concatenate([column.data for column in columns]),
        np.concatenate([column.starts + at for column, at in zip(columns, before, strict=True)]),
        np.concatenate([column.lengths for column in columns]),
    )


def merged(woven: Strings, first: Numbers) -> Strings:
    """A woven column with fewer rows, each of which holds several rows of it one after the other.

    Args:
        woven: a woven column of n rows.
        first: where each new row begins, shape (m,), ascending; the first is row 0.

    Returns:
        A woven column of m rows in the same buffer.
    """
    starts = woven.starts[first]
    return Strings(woven.data, starts, np.diff(np.append(starts, woven.data.size)))


def to_list(strings: Strings) -> list[bytes]:
    """The strings of a column, one by one."""
    data, starts = strings.data.tobytes(), strings.starts
    return [data[i:j] for i, j in zip(starts.tolist(), (starts + strings.lengths).tolist(), strict=True)]


def repeats(strings: Strings) -> Mask:
    """Which rows of a column are the same as the row before, shape (n,); the first is not."""
    same = np.zeros(len(strings), dtype=bool)
    alike = np.flatnonzero(strings.lengths[1:] == strings.lengths[:-1]) + 1
    same[alike[strings.lengths[alike] == 0]] = True
    for length, rows in _by_length(strings.lengths[alike]):
        at = alike[rows]
        window = _window(strings.data, length)
        one, before = (
            window[strings.starts[places]].view(np.uint8).reshape(-1, length) for places in (at, at - 1)
        )
        same[at] = (one == before).all(axis=1)
    return same


def rewritten(strings: Strings, marks: bytes, write: Callable[[bytes], bytes]) -> Strings:
    """The same column, with those strings that have one of some bytes in them written anew.

    Args:
        strings: a column.
        marks: these bytes.
        write: gives what stands for such a string.
    """
    compact = weave(strings)  # a buffer that others share may have the bytes elsewhere
    found = np.flatnonzero(_marked(compact.data, _runs(marks)))
    if not len(found):
        return strings
    rows = np.unique(np.searchsorted(compact.starts, found, side="right") - 1)
    texts = [write(compact.at(row) or b"") for row in rows.tolist()]
    starts, lengths = compact.starts.copy(), compact.lengths.copy()
    lengths[rows] = [len(text) for text in texts]
    starts[rows] = compact.data.size + np.cumsum(lengths[rows]) - lengths[rows]
    data = np.concatenate((compact.data, np.frombuffer(b"".join(texts), dtype=np.uint8)))
    return Strings(data, starts, lengths, strings.present)


@cache
def _runs(marks: bytes) -> tuple[tuple[int, int], ...]:
    """Some bytes as runs of numbers that follow each other: (the first, how many)."""
    found: list[tuple[int, int]] = []
    for mark in sorted(set(marks)):
        if found and mark == sum(found[-1]):
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((mark, 1))
    return tuple(found)


def _marked(data: Bytes, runs: Iterable[tuple[int, int]]) -> Mask:
    """Which bytes of a buffer are in some runs; some passes over it take less than to look each byte up."""
    found = np.zeros(data.size, dtype=bool)
    for first, size in runs:
        found |= data - np.uint8(first) < size
    return found


def _by_length(lengths: Numbers) -> list[tuple[int, "Numbers | slice"]]:
    """(length, rows that have it), without the empty ones."""
    if not len(lengths):
        return []
    least, most = int(lengths.min()), int(lengths.max())
    if least == most:
        return [(most, slice(None))] if most else []
    found = np.flatnonzero(np.bincount(lengths)) if most < 4096 else np.unique(lengths)
    return [(int(length), (lengths == length).nonzero()[0]) for length in found if length]


def _window(data: Bytes, length: int) -> "NDArray[np.void]":
    """A view whose element i is the ``length`` bytes from i on, to be taken or set as one."""
    return np.ndarray((data.size - length + 1,), dtype=f"V{length}", buffer=data, strides=(1,))


SMALL = _decimals(np.arange(1000))
"""The text of small numbers, most of all of lengths."""
NOTHING = column_of()
"""A column without rows."""
