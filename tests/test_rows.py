from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings, strategies as st

from helpers.errors import HelpersError
from helpers.relational import rows
from helpers.relational.rows import Rows

COUNTS = st.integers(1, 300)
SEEDS = st.integers(-(2**70), 2**70)


@pytest.mark.slow
@given(users=COUNTS, products=COUNTS, activities=COUNTS, orders=COUNTS, seed=SEEDS)
@settings(max_examples=25)
def test_every_population_makes_sense(users, products, activities, orders, seed):
    made = Rows(users=users, products=products, activities=activities, orders=orders, seed=seed)
    people = list(made.users())
    goods = list(made.products())
    assert [row[0] for row in people] == list(range(1, users + 1))
    assert [row[0] for row in goods] == list(range(1, products + 1))
    assert len({row[1] for row in people}) == users
    assert len({row[2] for row in people}) == users
    assert len({row[1] for row in goods}) == products
    assert all(len(row[1]) <= 50 and len(row[2]) <= 100 for row in people)
    assert not set("".join(row[2] for row in people)) & set("%:{}")  # so says exercise 1 of notebook 04
    assert all(
        Decimal("10.00") <= row[2] <= Decimal("100.00") and row[2].as_tuple().exponent == -2 for row in goods
    )
    created = {row[0]: row[3] for row in people}
    assert all(rows.REFERENCE - timedelta(days=365) <= moment < rows.REFERENCE for moment in created.values())
    for number, (activity_id, user_id, kind, moment) in enumerate(made.activities(), 1):
        assert activity_id == number
        assert kind in rows.ACTIVITY_TYPES
        assert created[user_id] < moment < rows.REFERENCE
    for number, (order_id, user_id, product_id, moment, quantity) in enumerate(made.orders(), 1):
        assert order_id == number
        assert created[user_id] < moment < rows.REFERENCE
        assert 1 <= product_id <= products
        assert 1 <= quantity <= 5


def test_the_same_seed_gives_the_same_rows_and_another_does_not():
    for table in ("users", "products", "activities", "orders"):
        first = list(Rows(seed=7).table(table))
        assert list(Rows(seed=7).table(table)) == first
        assert list(Rows(seed=8).table(table)) != first
        assert Rows(seed=7).checksum(table) == Rows(seed=7).checksum(table) != Rows(seed=8).checksum(table)


def test_the_rows_of_the_course_stay_what_they_are():
    """A change here changes every published row: known values of seed 42."""
    made = Rows()
    assert next(made.users())[1:3] == ("april.becker1", "april.becker1@example.com")
    assert next(made.products()) == (1, "Silver Pan", Decimal("15.70"))
    assert next(made.activities())[:3] == (1, 1, "view_product")
    assert {row[2] for row in made.activities()} == set(rows.ACTIVITY_TYPES)


def test_the_reference_is_an_argument_and_moves_everything():
    later = Rows(reference=datetime(2030, 5, 6))
    earlier = Rows(reference=datetime(2029, 5, 6))
    for mine, theirs in zip(later.activities(), earlier.activities(), strict=True):
        assert mine[3] - theirs[3] == timedelta(days=365)


def test_timestamps_have_microseconds():
    assert len({row[3].microsecond for row in Rows(activities=100).activities()}) > 90


def test_some_users_do_more_than_others():
    made = Rows(users=100, activities=10_000)
    per_user = [0] * 101
    for _, user_id, _, _ in made.activities():
        per_user[user_id] += 1
    assert sum(per_user[1:26]) > 2 * sum(per_user[76:])
    assert min(per_user[1:]) > 0


@pytest.mark.parametrize("number", [0, -1, 2**31])
@pytest.mark.parametrize("table", ["users", "products", "activities", "orders"])
def test_a_count_out_of_range_is_named(table, number):
    with pytest.raises(HelpersError, match=f"--{table} {number}:"):
        Rows(**{table: number})


def test_the_largest_population_is_as_lazy_as_the_smallest():
    made = Rows(users=2**31 - 1, activities=2**31 - 1, orders=2**31 - 1, products=2**31 - 1)
    assert all(next(made.table(table)) for table in made.counts)
