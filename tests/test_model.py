"""The key model: encodings give back every row, and every row that they cannot give back is named."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from helpers import model

DATES = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59, 999999))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
IDS = st.integers(-(2**31), 2**31 - 1)


def test_keys_as_the_seed_names_them() -> None:
    assert model.user_key(1) == "user:1"
    assert model.product_key(2, "p:") == "p:product:2"
    assert model.order_key(3) == "order:3"
    assert model.activities_key(1) == "user:1:activities"
    assert model.activities_by_time_key(1) == "user:1:activities:by_time"
    assert model.user_orders_key(1) == "user:1:orders"
    assert model.product_orders_key(1) == "product:1:orders"


def test_values_as_the_seed_writes_them() -> None:
    assert model.timestamp_text(datetime(2026, 11, 22, 10)) == "2026-11-22T10:00:00.000000"
    assert model.encode_activity("login", datetime(2026, 1, 2)) == "login:2026-01-02T00:00:00.000000"
    assert model.encode_row("products", (1, "Lamp", Decimal("19.90"))) == {"name": "Lamp", "price": "19.90"}
    assert model.encode_row("users", (1, "a", None, None)) == {"username": "a"}


@given(DATES)
def test_dates_come_back(moment: datetime) -> None:
    assert model.parse_timestamp(model.timestamp_text(moment)) == moment
    assert model.from_microseconds(model.microseconds(moment)) == moment


@given(st.datetimes(min_value=datetime(1685, 1, 1), max_value=datetime(2255, 1, 1)))
def test_scores_are_exact_in_the_stated_years(moment: datetime) -> None:
    number = model.microseconds(moment)
    assert int(float(number)) == number


@given(TEXTS, DATES, IDS)
def test_activities_come_back(kind: str, moment: datetime, number: int) -> None:
    assert model.decode_activity(model.encode_activity(kind, moment)) == (kind, moment)
    assert model.decode_member(model.encode_member(number, kind)) == (number, kind)


@given(
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | DATES,
    st.none() | st.decimals(-99999999, 99999999, places=2, allow_nan=False),
    st.none() | IDS,
)
def test_rows_come_back(
    a: str | None, b: str | None, moment: datetime | None, price: Decimal | None, n: int | None
) -> None:
    rows: dict[str, tuple[Any, ...]] = {
        "users": (1, a, b, moment),
        "products": (2, a, price),
        "orders": (3, n, n, moment, n),
    }
    for table, row in rows.items():
        again = model.decode_row(table, row[0], model.encode_row(table, row))
        assert again == row
        assert [str(v) for v in again] == [str(v) for v in row]  # 1.0 and 1.00 are equal, but not the same


def test_what_is_no_key_of_the_model() -> None:
    pattern = model.key_pattern("a.b:")
    for key, kind in {
        b"a.b:user:1": "user",
        b"a.b:user:-7:activities": "user_activities",
        b"a.b:user:1:activities:by_time": "user_activities_by_time",
        b"a.b:product:0:orders": "product_orders",
    }.items():
        found = pattern.fullmatch(key)
        assert found is not None
        assert found.lastgroup == kind
    for key in (
        b"user:1",
        b"aXb:user:1",
        b"a.b:user:01",
        b"a.b:user:+1",
        b"a.b:user:",
        b"a.b:user:1:x",
        b"a.b:order:1:orders",
    ):
        assert pattern.fullmatch(key) is None
    assert model.key_id(b"a.b:user:-7:activities", "a.b:") == -7


def test_globs_escape_the_prefix() -> None:
    assert model.glob("a*[b]?") == r"a\*\[b\]\?[upo][sr][eod]*:*"


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("activities", ("1", None, "a", "2026-01-01 00:00:00"), "null_user_id"),
        ("activities", ("1", "1", None, "2026-01-01 00:00:00"), "null_activity_type"),
        ("activities", ("1", "1", "a", None), "null_activity_date"),
        ("activities", ("1", "1", "a", "-infinity"), "infinite_date"),
        ("orders", ("1", None, None, "infinity", None), "infinite_date"),
        ("users", ("1", "a", "b", "0044-03-15 00:00:00 BC"), "bc_date"),
        ("users", ("1", "a", "b", "10000-01-01 00:00:00"), "year_over_9999"),
        ("users", ("1", None, None, None), "no_field"),
        ("products", ("1", None, None), "no_field"),
        ("products", ("1", "", None), None),
        ("orders", ("1", None, None, None, "1"), None),
        ("users", ("1", None, None, "9999-12-31 23:59:59.999999"), None),
    ],
)
def test_reject_reasons(table: str, row: tuple[str | None, ...], reason: str | None) -> None:
    assert model.reject_reason(table, row) == reason
    assert reason is None or reason in model.REASONS


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=12, unique_by=lambda pair: pair[1])
)
def test_score_order_keeps_what_can_be_put_together_again(rows: list[tuple[int, int]]) -> None:
    start = model.microseconds(datetime(9999, 1, 1))
    order = model.ScoreOrder()
    kept = [(start + n, i) for n, i in sorted(rows) if order.keeps(1, start + n, i)]
    assert kept == sorted(kept, key=lambda pair: (float(pair[0]), pair[1]))
