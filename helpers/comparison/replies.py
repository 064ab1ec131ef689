"""Answers as plain Python, the same for every store."""

from datetime import datetime
from typing import NamedTuple


class Profile(NamedTuple):
    """The answer of ``read_profile``."""

    username: str
    email: str
    created_at: datetime


class Seen(NamedTuple):
    """One element of the answer of ``last_activities``."""

    activity_type: str
    activity_date: datetime


class Order(NamedTuple):
    """The answer of ``read_order``."""

    order_id: int
    user_id: int
    product_id: int
    order_date: datetime
    quantity: int
