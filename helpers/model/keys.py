"""The Redis model: key names and encodings, in one place.

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

Values are canonical text: NUMERIC with its scale (``19.90``, also ``NaN``), TIMESTAMP as fixed-width ISO 8601
with microseconds, NULL as an absent field. A score is the date in microseconds since 1970 as a double.
An order without user, product or date is held by its hash and lacks only the references back that need them.
``reject_reason`` names the rows that these rules could not give back exactly.
"""

import re
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
EXACT_SCORE = 2**53
"""Whole numbers up to this size are exact as a double: dates from 1684 to 2255."""

LONGEST_BYTES = 512 * 2**20 - 64
"""Bytes of the longest text that is held, alone or with a date or a number in an element."""

REASONS: Mapping[str, str] = {
    "null_user_id": "an activity without a user has no key",
    "null_activity_type": "an activity without a type has no list element",
    "null_activity_date": "an activity without a date has no place in the list and no score",
    "infinite_date": "infinity and -infinity are no dates",
    "bc_date": "a date before the year 1 has no ISO 8601 form of fixed width",
    "year_over_9999": "a date after the year 9999 has no ISO 8601 form of fixed width",
    "too_long": "Redis' strings end at 512 MB",
    "not_utf8": "text that is no UTF-8 (a database of the encoding SQL_ASCII holds any bytes)",
    "no_field": "every column but the key is NULL, and Redis holds no empty hash",
    "score_order": "its score equals that of an activity with an earlier date and a higher id (beyond 2255), "
    "so that list and sorted set could not be put together again",
}
"""Why a row cannot be held, by reason name."""

_ID = r"(0|-?[1-9][0-9]{0,18})"
_KINDS: Mapping[str, str] = {
    "user": rf"user:{_ID}",
    "product": rf"product:{_ID}",
    "order": rf"order:{_ID}",
    "user_activities": rf"user:{_ID}:activities",
    "user_activities_by_time": rf"user:{_ID}:activities:by_time",
    "user_orders": rf"user:{_ID}:orders",
    "product_orders": rf"product:{_ID}:orders",
}
KINDS = tuple(_KINDS)
TYPES: Mapping[str, str] = {
    "user": "hash",
    "product": "hash",
    "order": "hash",
    "user_activities": "list",
    "user_activities_by_time": "zset",
    "user_orders": "zset",
    "product_orders": "zset",
}
"""Redis type of each kind of key."""


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


def glob(prefix: str = "") -> str:
    """A SCAN MATCH pattern that every key of the model under the prefix matches; some foreign ones do too."""
    escaped = re.sub(r"([*?\[\]\\^])", r"\\\1", prefix)
    starts = ("".join(dict.fromkeys(at)) for at in zip(*(kind[:3] for kind in KINDS), strict=True))
    return f"{escaped}{''.join(f'[{letters}]' for letters in starts)}*:*"


def key_pattern(prefix: str = "") -> "re.Pattern[bytes]":
    """A pattern whose ``fullmatch`` of a key has the kind as ``lastgroup`` and the row's number as its text.

    Only canonical numbers match: ``user:01`` and ``user:+1`` are not keys of the model.
    """
    whole = "|".join(f"(?P<{kind}>{body.replace('(', '(?:')})" for kind, body in _KINDS.items())
    return re.compile(rf"{re.escape(prefix)}(?:{whole})".encode())


def key_id(key: bytes, prefix: str = "") -> int:
    """The row's number in a key of the model: ``b"user:7:orders"`` gives 7.

    Args:
        key: one that ``key_pattern`` matches.
        prefix: the prefix that it has.
    """
    return int(key[len(prefix.encode()) :].split(b":", 2)[1])


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


def decode_member(member: str) -> tuple[int, str]:
    """(activity_id, activity_type) of a member, split at the first colon: a type may hold more."""
    number, _, activity_type = member.partition(":")
    return int(number), activity_type


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


def date_reason(text: str) -> str | None:
    """Why a date as PostgreSQL writes it (DateStyle ISO) cannot be held, or None.

    Args:
        text: for example ``2026-11-22 10:00:00.5``, ``infinity``, ``0044-03-15 00:00:00 BC``.
    """
    if text in ("infinity", "-infinity"):
        return "infinite_date"
    if text.endswith("BC"):
        return "bc_date"
    return "year_over_9999" if text.index("-") > 4 else None


def reject_reason(table: str, row: Sequence[str | None]) -> str | None:
    """Why a row cannot be held by the model, by name (see ``REASONS``), or None when it can.

    Args:
        table: one of ``TABLES``.
        row: values as text as PostgreSQL writes them, None for NULL, in the order of ``COLUMNS[table]``.
    """
    named = dict(zip(COLUMNS[table], row, strict=True))
    if table == "activities":
        for column in ("user_id", "activity_type", "activity_date"):
            if named[column] is None:
                return f"null_{column}"
    elif all(value is None for value in row[1:]):
        return "no_field"
    for column in DATES:
        date = named.get(column)
        if date is not None and (reason := date_reason(date)):
            return reason
    for value in row[1:]:
        try:
            if value is not None and len(value.encode()) > LONGEST_BYTES:
                return "too_long"
        except UnicodeEncodeError:  # bytes that could not be decoded stand there as surrogates
            return "not_utf8"
    return None


class ScoreOrder:
    """Tells which activities list and sorted set could not be put together again.

    They are in step when sorted by (date, id) and by (score, id). Where a double no longer holds single
    microseconds, two dates may share a score; then ids decide, and an activity whose id is lower than that of
    an earlier date with the same score would change places. Ask for each activity in the order of the list.

    Args:
        user_id: whose activity was asked for last; None for nobody's.
        score: of that activity.
        highest: the highest id among the last activities of that score.
    """

    def __init__(self, user_id: int | None = None, score: float = 0.0, highest: int = 0) -> None:
        self.user_id, self.score, self.highest = user_id, score, highest

    def keeps(self, user_id: int, number: int, activity_id: int) -> bool:
        """Whether an activity can be given back exactly; those that cannot are left out of what follows.

        Args:
            user_id: whose it is.
            number: microseconds since 1970 of its date.
            activity_id: its number.
        """
        if user_id == self.user_id and float(number) == self.score:
            if activity_id < self.highest:
                return False
            self.highest = activity_id
            return True
        self.user_id, self.score, self.highest = user_id, float(number), activity_id
        return True


def inexact_date(activity: str | None) -> str:
    """What to say of an activity whose date is too far for an exact score."""
    return (
        f"activity {activity} has a date beyond 2255 or before 1684 whose microseconds no score holds "
        "exactly, and whether it can be kept depends on its neighbours; set it to whole seconds, then "
        "`migrate --follow`"
    )
