"""Which values a column of the course's types cannot hold as they are, and which type can."""

import re
from collections.abc import Sequence

INT4 = range(-(2**31), 2**31)
PRICE = re.compile(rb"-?[0-9]{1,8}\.[0-9]{2}|NaN")
"""What NUMERIC(10,2) gives back with its scale."""
LIMIT = re.compile(r"character varying\(([0-9]+)\)")


def wider(type_: str, values: Sequence[bytes | None]) -> str | None:
    """The type that a column needs for some values, or None when its own will do.

    Args:
        type_: the column's type as in ``schema.COLUMNS``, or one that this function gave.
        values: values of their canonical forms; None is NULL.
    """
    held = [value for value in values if value is not None]
    if type_ == "integer":
        return "bigint" if any(len(v) > 9 and int(v) not in INT4 for v in held) else None
    if type_ == "numeric(10,2)":
        return None if all(PRICE.fullmatch(v) for v in held) else "numeric"
    if limit := LIMIT.fullmatch(type_):
        most = int(limit[1])
        long = (v for v in held if len(v) > most)  # in bytes; the limit is in characters
        return "text" if any(len(v.decode("utf-8", "replace")) > most for v in long) else None
    return None
