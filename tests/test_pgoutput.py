"""Messages of logical decoding: literal bytes, and any values there and back."""

import struct

import pytest
from hypothesis import given, strategies as st

from helpers.source import pgoutput
from helpers.source.pgoutput import Begin, Change, Commit, Incomplete, Relation, Truncate, decode

ROW = b"\0\3" + b"t\0\0\0\0017" + b"n" + b"t\0\0\0\2a\xff"
VALUES = (b"7", None, b"a\xff")


def row(kind: bytes, values: tuple[bytes | None, ...]) -> bytes:
    sent = [b"n" if v is None else b"t" + struct.pack(">I", len(v)) + v for v in values]
    return kind + struct.pack(">H", len(values)) + b"".join(sent)


def test_a_transaction() -> None:
    begin = b"B" + bytes.fromhex("00000000016b3748") + bytes.fromhex("0002f3a1c3d4e5f6") + b"\0\0\2\1"
    assert decode(begin) == Begin(0x16B3748, 0x2F3A1C3D4E5F6 + pgoutput.EPOCH_US)
    commit = b"C\0" + struct.pack(">QQq", 5, 9, -1)
    assert decode(commit) == Commit(5, 9, pgoutput.EPOCH_US - 1)


def test_a_table() -> None:
    told = b"R\0\0\x40\x0cshop\0users\0f\0\2" + b"\1user_id\0\0\0\0\x17\xff\xff\xff\xff"
    told += b"\0username\0\0\0\4\x13\0\0\0\x36"
    assert decode(told) == Relation(
        0x400C, "shop", "users", "f", (("user_id", 23, -1), ("username", 1043, 54))
    )


def test_rows() -> None:
    oid = b"\0\0\0\x0c"
    assert decode(b"I" + oid + b"N" + ROW) == Change(12, None, VALUES)
    assert decode(b"D" + oid + b"O" + ROW) == Change(12, VALUES, None)
    assert decode(b"U" + oid + b"O" + ROW + b"N" + row(b"", (b"8",))) == Change(12, VALUES, (b"8",))
    assert decode(b"T\0\0\0\2\1\0\0\0\x0c\0\0\0\x0d") == Truncate((12, 13))


def test_a_value_that_did_not_change_stands_in_the_old_row() -> None:
    new = b"N\0\3" + b"u" + b"t\0\0\0\1x" + b"u"
    assert decode(b"U\0\0\0\x0cO" + ROW + new) == Change(12, VALUES, (b"7", b"x", b"a\xff"))


@pytest.mark.parametrize(
    "message",
    [
        b"U\0\0\0\x0cN" + ROW,  # the default identity, key not changed
        b"U\0\0\0\x0cK" + ROW + b"N" + ROW,
        b"D\0\0\0\x0cK" + ROW,
        b"I\0\0\0\x0cN\0\1u",
    ],
)
def test_an_old_row_that_is_not_whole_is_named(message: bytes) -> None:
    with pytest.raises(Incomplete):
        decode(message)


def test_what_changes_no_row_is_nothing() -> None:
    assert decode(b"O" + bytes(8) + b"origin\0") is None
    assert decode(b"Y\0\0\0\1shop\0mood\0") is None


@pytest.mark.parametrize(
    "message", [b"", b"Z", b"B\0", b"I\0\0\0\1N\0\1t\0\0\0\5ab", b"I\0\0\0\1N\0\1x", b"R\0\0\0\1shop"]
)
def test_what_is_no_message_is_an_error(message: bytes) -> None:
    with pytest.raises(ValueError):
        decode(message)


@given(st.lists(st.none() | st.binary(max_size=40)), st.lists(st.none() | st.binary(max_size=40)))
def test_any_values(old: list[bytes | None], new: list[bytes | None]) -> None:
    sent = b"U\0\0\0\1" + row(b"O", tuple(old)) + row(b"N", tuple(new))
    assert decode(sent) == Change(1, tuple(old), tuple(new))


@given(st.integers(0, 2**64 - 1))
def test_places_in_the_log(lsn: int) -> None:
    assert pgoutput.parse_lsn(pgoutput.lsn_text(lsn)) == lsn


def test_a_place_is_written_as_postgresql_does() -> None:
    assert pgoutput.lsn_text(0x1_016B3748) == "1/16B3748"
