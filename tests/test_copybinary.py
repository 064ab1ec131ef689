"""COPY's binary format is cut into rows wherever the pieces end, whatever the values look like."""

import datetime
import struct
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from helpers.columns import Strings
from helpers.source import copybinary

# Numbers that, with the length behind them, look like the beginning of a row.
TRAPS = st.sampled_from([3, 0x30003, 3 << 32 | 8, 0x0003_0000_0008_0003, -(2**63)])
INT8 = st.integers(-(2**63), 2**63 - 1) | TRAPS
TEXT = st.binary(max_size=20) | st.just(b"\x00\x03\x00\x00\x00\x08") | st.binary(min_size=300, max_size=400)
ROWS = st.lists(st.tuples(INT8, st.none() | INT8, st.none() | TEXT))


def copied(rows: list[tuple[Any, ...]]) -> bytes:
    """The rows as COPY writes them in binary."""
    out = [copybinary.SIGNATURE, bytes(8)]
    for row in rows:
        out.append(struct.pack(">h", len(row)))
        for value in row:
            data = struct.pack(">q", value) if isinstance(value, int) else value
            out.append(struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data)
    return b"".join([*out, copybinary.TRAILER])


@pytest.mark.slow
@given(ROWS, st.integers(1, 500))
def test_rows_come_back_from_pieces_of_any_length(rows: list[tuple[Any, ...]], size: int) -> None:
    text, reader, found = copied(rows), copybinary.Reader(3), []
    for start in range(0, len(text), size):
        columns = reader.columns(text[start : start + size])
        ids, numbers = copybinary.integers(columns[0]), copybinary.integers(columns[1])
        for i in range(len(ids)):
            number = None if columns[1].at(i) is None else int(numbers[i])
            found.append((int(ids[i]), number, columns[2].at(i)))
    assert found == rows


def test_moments_and_their_text() -> None:
    texts = ["0001-01-01T00:00:00.000000", "1969-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"]
    since = np.array(texts, dtype="datetime64[us]").astype(np.int64)
    found = copybinary.iso(since)
    assert [found.at(i) for i in range(3)] == [text.encode() for text in texts]


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1])
def test_integers(number: int) -> None:
    (column,) = copybinary.Reader(1).columns(copied([(number,)]))
    assert copybinary.integers(column).tolist() == [number]


def test_rows_of_more_columns_than_a_byte_counts() -> None:
    rows = [
        (number, *[None if place % 7 == 0 else b"x" * (place % 5) for place in range(700)])
        for number in range(9)
    ]
    columns = copybinary.Reader(701).columns(copied(rows))
    assert copybinary.integers(columns[0]).tolist() == list(range(9))
    assert [tuple(column.at(row) for column in columns[1:]) for row in range(9)] == [row[1:] for row in rows]


@given(st.lists(st.none() | st.text(st.sampled_from("a%:{}é"))))
def test_escapes(texts: list[str | None]) -> None:
    found = copybinary.escaped(column([None if text is None else text.encode() for text in texts]))
    for row, text in enumerate(texts):
        wanted = (
            None if text is None else "".join(f"%{ord(c):02X}" if c in "%:{}" else c for c in text).encode()
        )
        assert found.at(row) == wanted


def column(values: list[bytes | None]) -> Strings:
    """A column of some values."""
    rows = [(number, value) for number, value in enumerate(values)]
    return copybinary.Reader(2).columns(copied(rows))[1]


@given(st.lists(st.none() | st.uuids()))
def test_uuids(values: list[uuid.UUID | None]) -> None:
    found = copybinary.uuid_texts(column([None if value is None else value.bytes for value in values]))
    assert [found.at(row) for row in range(len(values))] == [
        value and str(value).encode() for value in values
    ]


@given(st.lists(st.none() | st.binary()))
def test_bytes(values: list[bytes | None]) -> None:
    found = copybinary.hex_texts(column(values))
    wanted = [None if value is None else b"\\x" + value.hex().encode() for value in values]
    assert [found.at(row) for row in range(len(values))] == wanted


@given(st.lists(st.none() | st.times()))
def test_times(values: list[datetime.time | None]) -> None:
    def counted(value: datetime.time) -> bytes:
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        return struct.pack(">q", seconds * 1_000_000 + value.microsecond)

    found = copybinary.time_texts(column([None if value is None else counted(value) for value in values]))
    wanted = [
        None
        if value is None
        else (
            f"{value:%H:%M:%S}" + (f".{value.microsecond:06}".rstrip("0") if value.microsecond else "")
        ).encode()
        for value in values
    ]
    assert [found.at(row) for row in range(len(values))] == wanted
