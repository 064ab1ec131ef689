"""The course's model: functions and plan name the same keys and say the same values; rows come back."""

from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import pytest
from bound import course
from hypothesis import given, strategies as st

from helpers.model import REASONS, ScoreOrder
from helpers.relational import redis_model

DATES = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59, 999999))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
IDS = st.integers(-(2**31), 2**31 - 1)
PLAN = course()


def test_keys_as_the_seed_names_them() -> None:
    assert redis_model.user_key(1) == "user:1"
    assert redis_model.product_key(2, "p:") == "p:product:2"
    assert redis_model.order_key(3) == "order:3"
    assert redis_model.activities_key(1) == "user:1:activities"
    assert redis_model.activities_by_time_key(1) == "user:1:activities:by_time"
    assert redis_model.user_orders_key(1) == "user:1:orders"
    assert redis_model.product_orders_key(1) == "product:1:orders"


def test_values_as_the_seed_writes_them() -> None:
    assert redis_model.timestamp_text(datetime(2026, 11, 22, 10)) == "2026-11-22T10:00:00.000000"
    assert redis_model.encode_activity("login", datetime(2026, 1, 2)) == "login:2026-01-02T00:00:00.000000"
    assert redis_model.encode_row("products", (1, "Lamp", Decimal("19.90"))) == {
        "name": "Lamp",
        "price": "19.90",
    }
    assert redis_model.encode_row("users", (1, "a", None, None)) == {"username": "a"}


@given(DATES)
def test_dates_come_back(moment: datetime) -> None:
    assert redis_model.parse_timestamp(redis_model.timestamp_text(moment)) == moment
    assert redis_model.from_microseconds(redis_model.microseconds(moment)) == moment


@given(st.datetimes(min_value=datetime(1685, 1, 1), max_value=datetime(2255, 1, 1)))
def test_scores_are_exact_in_the_stated_years(moment: datetime) -> None:
    number = redis_model.microseconds(moment)
    assert int(float(number)) == number


@given(TEXTS, DATES, IDS)
def test_activities_come_back(kind: str, moment: datetime, number: int) -> None:
    assert redis_model.decode_activity(redis_model.encode_activity(kind, moment)) == (kind, moment)
    assert redis_model.encode_member(number, kind) == f"{number}:{kind}"


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
        again = redis_model.decode_row(table, row[0], redis_model.encode_row(table, row))
        assert again == row
        assert [str(v) for v in again] == [str(v) for v in row]  # 1.0 and 1.00 are equal, but not the same


KINDS = {
    "user": "hash",
    "product": "hash",
    "order": "hash",
    "user_activities": "list",
    "user_activities_by_time": "zset",
    "user_orders": "zset",
    "product_orders": "zset",
}


def test_kinds_and_streams_have_the_names_that_unfinished_loads_know() -> None:
    assert {kind.name: kind.type for kind in PLAN.kinds} == KINDS
    names = ["users", "products", "orders", "user_orders", "product_orders", "activities"]
    assert [stream.name for stream in PLAN.streams] == names
    assert list(PLAN.tables) == list(redis_model.TABLES)
    assert [list(stream.order) for stream in PLAN.streams] == [
        ["user_id"],
        ["product_id"],
        ["order_id"],
        ["user_id", "order_date", "order_id"],
        ["product_id", "order_date", "order_id"],
        ["user_id", "activity_date", "activity_id"],
    ]


@given(IDS)
def test_the_plan_names_the_keys_that_the_functions_name(number: int) -> None:
    made = {
        "user": redis_model.user_key,
        "product": redis_model.product_key,
        "order": redis_model.order_key,
        "user_activities": redis_model.activities_key,
        "user_activities_by_time": redis_model.activities_by_time_key,
        "user_orders": redis_model.user_orders_key,
        "product_orders": redis_model.product_orders_key,
    }
    plan = course("a{b:")
    for kind in plan.kinds:
        key = made[kind.name](number, "a{b:").encode()
        assert plan.key_of(kind, [b"%d" % number]) == key
        assert plan.kind_of(key) is kind and plan.split(kind, key) == (b"%d" % number,)


@given(TEXTS, DATES, IDS)
def test_the_plan_says_the_values_that_the_functions_say(text: str, moment: datetime, number: int) -> None:
    said = {
        "activity_type": text.encode(),
        "activity_date": redis_model.timestamp_text(moment).encode(),
        "activity_id": b"%d" % number,
    }
    of = {kind.name: kind.value for kind in PLAN.kinds if kind.value}
    element, member = of["user_activities"], of["user_activities_by_time"]
    for pattern, made in {
        element: redis_model.encode_activity(text, moment),
        member: redis_model.encode_member(number, text),
    }.items():
        values = tuple(said[column] for column in pattern.columns)
        assert pattern.text(values) == made.encode() and pattern.split(made.encode()) == values


def test_the_plan_has_the_fields_that_the_functions_have() -> None:
    for kind in PLAN.kinds:
        if kind.type == "hash":
            table = kind.table.name
            assert tuple(name for name, _ in kind.fields) == redis_model.FIELDS[table]
            assert tuple(column.name for _, column in kind.fields) == redis_model.COLUMNS[table][1:]
            assert tuple(column.name for column in kind.table.columns) == redis_model.COLUMNS[table]


def test_what_is_no_key_of_the_model() -> None:
    plan = course("a.b:")
    for key, kind in {
        b"a.b:user:1": "user",
        b"a.b:user:-7:activities": "user_activities",
        b"a.b:user:1:activities:by_time": "user_activities_by_time",
        b"a.b:product:0:orders": "product_orders",
    }.items():
        found = plan.kind_of(key)
        assert found is not None and found.name == kind
    for key in (
        b"user:1",
        b"aXb:user:1",
        b"a.b:user:01",
        b"a.b:user:+1",
        b"a.b:user:",
        b"a.b:user:1:x",
        b"a.b:order:1:orders",
    ):
        assert plan.kind_of(key) is None


def test_globs_escape_the_prefix_and_match_every_kind() -> None:
    assert course("a*[b]?").glob.startswith(r"a\*\[b\]\?")
    glob = course("p:").glob
    assert all(fnmatchcase(f"p:{kind.key.template.literals[0]}1", glob) for kind in PLAN.kinds)


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
    assert PLAN.reject_reason(table, row) == reason
    assert reason is None or {reason, "null_..."} & REASONS.keys()


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=12, unique_by=lambda pair: pair[1])
)
def test_score_order_keeps_what_can_be_put_together_again(rows: list[tuple[int, int]]) -> None:
    start = redis_model.microseconds(datetime(9999, 1, 1))
    order = ScoreOrder()
    kept = [(start + n, i) for n, i in sorted(rows) if order.keeps(1, start + n, i)]
    assert kept == sorted(kept, key=lambda pair: (float(pair[0]), pair[1]))
