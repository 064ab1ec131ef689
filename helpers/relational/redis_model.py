"""The course's Redis model as functions: names of keys, values and their way back, one row at a time.

===============================  ==========  ===================================================
key                              type        holds
===============================  ==========  ===================================================
``user:{id}``                    hash        username, email, created_at
``product:{id}``                 hash        name, price
``order:{id}``                   hash        user_id, product_id, order_date, quantity
``user:{id}:activities``         list        ``type:date``, oldest first (date, then activity_id)
``user:{id}:activities:by_time`` sorted set  member ``activity_id:type``, score of activity_date
``user:{id}:orders``             sorted set  member ``order_id``, score of order_date
``product:{id}:orders``          sorted set  member ``order_id``, score of order_date
===============================  ==========  ===================================================

The migration derives the same from ``helpers/model/course.toml``, and a test compares both. These functions
are for whoever reads and writes single keys: notebooks, the comparison, trials.

Values are canonical text: NUMERIC with its scale (``19.90``, also ``NaN``), TIMESTAMP as fixed-width ISO 8601
with microseconds, NULL as an absent field. A score is the date in microseconds since 1970 as a double.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

TABLES: tuple[str, ...] = ("users", "products", "activities", "orders")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "users": ("user_id", "username", "email", "created_at"),
    "products": ("product_id", "product_name", "price"),
    "activities": ("activity_id", "user_id", "activity_type", "activity_date"),
    "orders": ("order_id", "user_id", "product_id", "order_date", "quantity"),
}
"""Columns of each table in the order in which rows are given and taken here."""
FIELDS: Mapping[str, tuple[str, ...]] = {
    "users": ("username", "email", "created_at"),
    "products": ("name", "price"),
    "orders": ("user_id", "product_id", "order_date", "quantity"),
}
"""Fields of the hash of each table, beside the table's columns after the key."""
DATES: tuple[str, ...] = ("created_at", "activity_date", "order_date")
"""Columns that hold a TIMESTAMP."""
DATE_WIDTH = 26
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


def user_key(user_id: int, prefix: str = "") -> str:
    """``user:{id}``, the hash of a user.

    Args:
        user_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}user:{user_id}"


def product_key(product_id: int, prefix: str = "") -> str:
    """``product:{id}``, the hash of a product.

    Args:
        product_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}product:{product_id}"


def order_key(order_id: int, prefix: str = "") -> str:
    """``order:{id}``, the hash of an order.

    Args:
        order_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}order:{order_id}"


def activities_key(user_id: int, prefix: str = "") -> str:
    """``user:{id}:activities``, the list of a user's activities, oldest first.

    Args:
        user_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}user:{user_id}:activities"


def activities_by_time_key(user_id: int, prefix: str = "") -> str:
    """``user:{id}:activities:by_time``, the sorted set of a user's activities.

    Args:
        user_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}user:{user_id}:activities:by_time"


def user_orders_key(user_id: int, prefix: str = "") -> str:
    """``user:{id}:orders``, the sorted set of a user's order numbers.

    Args:
        user_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}user:{user_id}:orders"


def product_orders_key(product_id: int, prefix: str = "") -> str:
    """``product:{id}:orders``, the sorted set of a product's order numbers.

    Args:
        product_id: the row's number, of 64 bits.
        prefix: stands before every key of a migration.
    """
    return f"{prefix}product:{product_id}:orders"


def timestamp_text(moment: datetime) -> str:
    """ISO 8601 with microseconds, always 26 characters: ``2026-11-22T10:00:00.000000``."""
    return moment.isoformat(timespec="microseconds")


def parse_timestamp(text: str) -> datetime:
    """The moment that ``timestamp_text`` wrote.

    Raises:
        ValueError: the text is not of that form.
    """
    if len(text) != DATE_WIDTH:
        raise ValueError(f"{text!r} is not {DATE_WIDTH} characters of ISO 8601")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f")


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 00:00 (timestamps here have no zone); exact for every date."""
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The moment that lies so many microseconds after 1970-01-01 00:00."""
    return EPOCH + number * MICROSECOND


def encode_activity(activity_type: str, activity_date: datetime) -> str:
    """The list element ``type:date``.

    Args:
        activity_type: any text; it may hold colons.
        activity_date: without a zone.
    """
    return f"{activity_type}:{timestamp_text(activity_date)}"


def decode_activity(element: str) -> tuple[str, datetime]:
    """(activity_type, activity_date) of a list element, split by width: a type may hold colons.

    Raises:
        ValueError: the element is not of that form.
    """
    activity_type, colon, date = (
        element[: -DATE_WIDTH - 1],
        element[-DATE_WIDTH - 1 : -DATE_WIDTH],
        element[-DATE_WIDTH:],
    )
    if colon != ":":
        raise ValueError(f"{element!r} is not type:date")
    return activity_type, parse_timestamp(date)


def encode_member(activity_id: int, activity_type: str) -> str:
    """The member ``activity_id:type`` of the sorted set of activities.

    Args:
        activity_id: the row's number.
        activity_type: any text; it may hold colons.
    """
    return f"{activity_id}:{activity_type}"


def encode_row(table: str, row: Sequence[Any]) -> dict[str, str]:
    """The hash of a row of users, products or orders; a NULL is an absent field.

    Args:
        table: ``users``, ``products`` or ``orders``.
        row: values as psycopg2 gives them, in the order of ``COLUMNS[table]``.
    """
    return {
        field: _text(value) for field, value in zip(FIELDS[table], row[1:], strict=True) if value is not None
    }


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return timestamp_text(value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def decode_row(table: str, number: int, fields: Mapping[str, str]) -> tuple[Any, ...]:
    """The row of a hash, values as psycopg2 gives them: the inverse of ``encode_row``.

    Args:
        table: ``users``, ``products`` or ``orders``.
        number: the row's key, which the hash does not hold.
        fields: the hash as text.
    """
    return (number, *(_decode(field, fields.get(field)) for field in FIELDS[table]))


def _decode(field: str, text: str | None) -> Any:
    if text is None:
        return None
    if field in DATES:
        return parse_timestamp(text)
    if field == "price":
        return Decimal(text)
    return int(text) if field in ("user_id", "product_id", "quantity") else text
