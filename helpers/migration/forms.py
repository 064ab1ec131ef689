"""The canonical forms of values in Redis, looked at strictly: what no migration would have written is named.

PostgreSQL is more lenient ("now" is a date to it, and 24:00 the next day): asking it alone would guess.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from helpers import model

INT8 = range(-(2**63), 2**63)
DATE = (
    rb"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}"
)
NUMBER = rb"(?:0|-?[1-9][0-9]{0,18})"
ELEMENT = re.compile(rb"(.*):(" + DATE + rb")", re.S)
"""A list element, (activity_type, activity_date)."""
MEMBER = re.compile(rb"(" + NUMBER + rb"):(.*)", re.S)
"""A member of the sorted set of activities, (activity_id, activity_type)."""
FORMS = {
    "int": (re.compile(NUMBER), "a whole number of 64 bits"),
    "timestamp": (re.compile(DATE), "a date such as 2026-11-22T10:00:00.000000"),
    "numeric": (re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|NaN|-?Infinity"), "a number such as 19.90"),
}
"""Pattern of each kind of value (see ``shape.EXPECTED``), and its name. Texts may be anything."""


def fault(kind: str, values: Sequence[bytes | None]) -> tuple[int, str] | None:
    """The first value that is not of its form, as (its place, what is wrong with it), or None.

    Args:
        kind: ``int``, ``text``, ``timestamp`` or ``numeric``.
        values: values of a column; None is NULL.
    """
    if kind not in FORMS:
        return None
    form, words = FORMS[kind]
    for i, value in enumerate(values):
        if value is None:
            continue
        if not form.fullmatch(value) or (kind == "int" and len(value) > 18 and int(value) not in INT8):
            return i, f"is not {words}"
    if kind == "timestamp":
        try:
            microseconds([value for value in values if value is not None])
        except ValueError:  # 30 February
            return next(i for i, value in enumerate(values) if value and not _is_day(value)), "is no day"
    return None


def microseconds(dates: Sequence[bytes]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Microseconds since 1970 of dates of the right form.

    Raises:
        ValueError: one of them is no day of the calendar.
    """
    return np.array(dates, dtype=f"S{model.DATE_WIDTH}").astype("datetime64[us]").astype("int64")


def _is_day(date: bytes) -> bool:
    try:
        microseconds([date])
    except ValueError:
        return False
    return True
