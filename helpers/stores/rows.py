"""Rows and answers as plain Python, the same for every store."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1)


class User(NamedTuple):
    """A row of ``users``."""

    user_id: int
    username: str
    email: str
    created_at: datetime


class Product(NamedTuple):
    """A row of ``products``."""

    product_id: int
    product_name: str
    price: Decimal


class Activity(NamedTuple):
    """A row of ``activities``."""

    activity_id: int
    user_id: int
    activity_type: str
    activity_date: datetime


class Order(NamedTuple):
    """A row of ``orders``."""

    order_id: int
    user_id: int
    product_id: int
    order_date: datetime
    quantity: int


class Profile(NamedTuple):
    """The answer of ``read_profile``."""

    username: str
    email: str
    created_at: datetime


class Seen(NamedTuple):
    """One element of the answer of ``last_activities``."""

    activity_type: str
    activity_date: datetime


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC: MongoDB's and Cassandra's own dates stop at milliseconds,
    PostgreSQL's do not.
    """
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The moment that ``to_us`` gave."""
    return EPOCH + timedelta(microseconds=microseconds)
