"""Columns of byte strings: any values go in and come out joined as they should."""

from datetime import datetime

import numpy as np
from hypothesis import given, strategies as st

from helpers.columns import Strings, decimals, joined, numbers, spread, weave, whole
from helpers.source import copytext

VALUES = st.lists(st.none() | st.binary(max_size=300), min_size=1)
INT64 = st.integers(-(2**63), 2**63 - 1)


def column(values: list[bytes | None]) -> Strings:
    """A column of some values."""
    lengths = np.array([len(value or b"") for value in values], dtype=np.int64)
    data = np.frombuffer(b"".join(value or b"" for value in values), dtype=np.uint8)
    present = np.array([value is not None for value in values], dtype=bool)
    return Strings(data, np.cumsum(lengths) - lengths, lengths, None if present.all() else present)


@given(VALUES)
def test_a_column_gives_its_values_back(values: list[bytes | None]) -> None:
    strings = column(values)
    assert [strings.at(i) for i in range(len(strings))] == values


@given(st.lists(INT64, min_size=1))
def test_whole_numbers_and_their_text(found: list[int]) -> None:
    text = decimals(np.array(found, dtype=np.int64))
    assert [text.at(i) for i in range(len(text))] == [str(number).encode() for number in found]
    assert numbers(text).tolist() == found


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=5000)), min_size=1))
def test_pieces_are_joined_row_by_row(rows: list[tuple[bytes, bytes]]) -> None:
    first, second = (column(list(values)) for values in zip(*rows, strict=True))
    woven = weave(b"<", first, b"", b"\r\n", second, b">")
    assert joined(woven) == b"".join(b"<%b\r\n%b>" % row for row in rows)
    assert woven.at(len(rows) - 1) == b"<%b\r\n%b>" % rows[-1]


def test_a_head_before_some_rows_only() -> None:
    heads = spread(column([b"A:", b"B:"]), np.array([0, 2]), 4)
    assert joined(weave(heads, column([b"1", b"2", b"3", b"4"]))) == b"A:12B:34"


def test_fixed_width() -> None:
    assert joined(weave(whole(np.frombuffer(b"abcdef", dtype=np.uint8).reshape(2, 3)), b";")) == b"abc;def;"


def escaped(value: bytes | None) -> bytes:
    """A value as COPY writes it."""
    if value is None:
        return b"\\N"
    for plain, letter in ((b"\\", b"\\"), (b"\b", b"b"), (b"\f", b"f"), (b"\n", b"n"), (b"\r", b"r")):
        value = value.replace(plain, b"\\" + letter)
    return value.replace(b"\t", b"\\t").replace(b"\v", b"\\v")


@given(st.lists(st.tuples(*[st.none() | st.binary(max_size=30)] * 3), min_size=1))
def test_copy_text_is_read_as_it_was_meant(rows: list[tuple[bytes | None, ...]]) -> None:
    text = b"".join(b"\t".join(map(escaped, row)) + b"\n" for row in rows)
    found = copytext.columns(text, 3)
    assert [tuple(column.at(i) for column in found) for i in range(len(rows))] == rows


@given(st.lists(st.datetimes(), min_size=1))
def test_dates_of_any_length(moments: list[datetime]) -> None:
    values: list[bytes | None] = [
        moment.isoformat(" ").rstrip("0" if moment.microsecond else "").encode() for moment in moments
    ]
    text, since = copytext.dates(column(values))
    assert [text.at(i) for i in range(len(values))] == [
        moment.isoformat(timespec="microseconds").encode() for moment in moments
    ]
    assert (since.astype("datetime64[us]") == np.array(moments, dtype="datetime64[us]")).all()
