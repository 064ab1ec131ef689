"""Canonical texts as they come back from Redis: what no migration would have written is found.

PostgreSQL is more lenient ("now" is a date to it, and 24:00 the next day): asking it alone would guess. What
it knows better, it is left to say: that there is no 30 February, that a number is too large for its column.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from helpers.model import Column, Pattern, unescape

INT8 = range(-(2**63), 2**63)
_DAY = rb"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_MOMENT = _DAY + rb"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}"
_FRACTION = rb"(?:\.[0-9]{0,5}[1-9])?"
_CLOCK = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]" + _FRACTION
FORMS: Mapping[str, tuple["re.Pattern[bytes]", str]] = {
    name: (re.compile(form), words)
    for name, form, words in (
        ("integer", rb"0|-?[1-9][0-9]{0,18}", "a whole number of 64 bits"),
        ("numeric", rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|NaN|-?Infinity", "a number such as 19.90"),
        (
            "float",
            rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[-+][0-9]{2,3})?|NaN|-?Infinity",
            "a number such as 0.1",
        ),
        ("boolean", rb"true|false", "true or false"),
        ("uuid", rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID"),
        ("moment", _MOMENT, "a date such as 2026-11-22T10:00:00.000000"),
        ("zoned", _MOMENT + b"Z", "a date such as 2026-11-22T10:00:00.000000Z"),
        ("date", _DAY, "a date such as 2026-11-22"),
        ("time", _CLOCK + rb"|24:00:00", "a time such as 10:00:00"),
    )
}
"""How values of each format are written, as a pattern and in words; bytes and texts may be anything."""
_FAR = rb"-?infinity|(?:[1-9][0-9]{4,}-[0-9]{2}-[0-9]{2}%b|[0-9]{4,}-[0-9]{2}-[0-9]{2}%b BC)"
_FAR_FORMS: Mapping[str, "re.Pattern[bytes]"] = {
    name: re.compile(_FAR % (clock, clock))
    for name, clock in (("moment", b" " + _CLOCK), ("zoned", b" " + _CLOCK + rb"\+00"), ("date", b""))
}
"""How PostgreSQL writes what has no ISO 8601 form of four-digit years."""


def first_fault(
    column: Column, values: Sequence[bytes | None], *, iso: bool = False
) -> tuple[int, str] | None:
    """The first value that is not of its form, as (its place, what is wrong with it), or None.

    Args:
        column: whose they are.
        values: as a field holds them; None is NULL.
        iso: no date has another form than ISO 8601.
    """
    if not column.nullable and None in values:
        return values.index(None), "is not there, though the column is NOT NULL"
    name = column.format.name
    if name not in FORMS:
        return None
    form, words = FORMS[name]
    match, far = form.fullmatch, None if iso else _FAR_FORMS.get(name)
    present = [value for value in values if value is not None] if None in values else values
    if all(map(match, present)):  # type: ignore[arg-type]
        return too_long(column, values)
    for i, value in enumerate(values):
        if value is not None and not match(value) and not (far and far.fullmatch(value)):
            return i, f"is not {words}"
    return too_long(column, values)


def too_long(column: Column, values: Sequence[bytes | None]) -> tuple[int, str] | None:
    """The first value that is a whole number of more than 64 bits, as ``first_fault`` gives it.

    Args:
        column: whose values these are; of one that is not of whole numbers none is too long.
        values: text of each row, None for NULL.
    """
    if column.format.name == "integer" and max(map(len, filter(None, values)), default=0) > 18:
        for i, value in enumerate(values):
            if value is not None and len(value) > 18 and int(value) not in INT8:
                return i, f"is not {FORMS['integer'][1]}"
    return None


class Texts:
    """Texts of a template, split into the values of its columns.

    Args:
        pattern: the template.
    """

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        holes = []
        for form, escaped in zip(pattern.formats, pattern.escaped, strict=True):
            if form.name == "text":
                holes.append(rb"((?:[^%:{}]|%25|%3A|%7B|%7D)*)" if escaped else rb"(.*)")
            elif form.name == "bytes":
                holes.append(rb"(.*)" if pattern.raw else rb"\\x((?:[0-9a-f]{2})*)")
            else:
                holes.append(b"(" + FORMS[form.name][0].pattern + b")")
        pieces = [re.escape(one) for one in pattern.literals]
        regex = pieces[0] + b"".join(hole + piece for hole, piece in zip(holes, pieces[1:], strict=True))
        self.match = re.compile(regex, re.S).fullmatch
        self._convert: list[tuple[int, Callable[[bytes], bytes]]] = []
        for place, (form, escaped) in enumerate(zip(pattern.formats, pattern.escaped, strict=True)):
            if escaped:
                self._convert.append((place, lambda text: unescape(text) if b"%" in text else text))
            elif form.name == "bytes" and not pattern.raw:
                self._convert.append((place, lambda text: bytes.fromhex(text.decode())))

    def converted(self, columns: Sequence[Sequence[bytes]]) -> list[Sequence[bytes]]:
        """The values of each hole, from what ``match`` found there."""
        found = list(columns)
        for place, convert in self._convert:
            found[place] = [convert(value) for value in found[place]]
        return found


def scores(column: Column, values: Sequence[bytes]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The scores of some values, as the nearest doubles.

    Args:
        column: whose they are.
        values: of the right form; none is NULL.

    Raises:
        ValueError: one of them is no day of the calendar.
    """
    name = column.format.name
    if name in ("moment", "zoned"):
        return np.array(values, dtype="S26").astype("datetime64[us]").astype("int64").astype("float64")
    if name == "date":
        return np.array(values, dtype="S10").astype("datetime64[D]").astype("int64").astype("float64")
    if name == "time":
        return np.array([_microseconds(value) for value in values], dtype="float64")
    if name == "integer":
        return np.array([float(int(value)) for value in values], dtype="float64")
    return np.array([float(value) for value in values], dtype="float64")


def _microseconds(clock: bytes) -> int:
    """Microseconds since midnight."""
    hours, minutes, seconds = clock.split(b":")
    whole, _, fraction = seconds.partition(b".")
    return ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 10**6 + int(fraction.ljust(6, b"0"))
