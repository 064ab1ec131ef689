"""Formats: the canonical text in which the values of a PostgreSQL type stand in Redis.

======== ===================================== ==================================================
format   types                                 canonical text
======== ===================================== ==================================================
integer  int2, int4, int8, oid                 ``-7``
numeric  numeric                               with its scale: ``19.90``, ``NaN``, ``-Infinity``
float    real, double precision                the shortest that gives the same number: ``0.1``, ``-0``
boolean  boolean                               ``true``, ``false``
uuid     uuid                                  36 characters
moment   timestamp                             ``2026-11-22T10:00:00.000000``
zoned    timestamptz                           ``2026-11-22T10:00:00.000000Z``
date     date                                  ``2026-11-22``
time     time                                  ``10:00:00.5``
bytes    bytea                                 the bytes; in a template or in JSON ``\\x`` and hex
text     everything else                       PostgreSQL's own, as COPY writes it under ``SETTINGS``
======== ===================================== ==================================================

A moment or date that has no ISO 8601 form of four-digit years (infinity, years before 1 and after 9999) keeps
PostgreSQL's own text in a field; in a template or as a score it cannot stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DIGITS = "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SETTINGS: Mapping[str, str] = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
}
"""Settings of a session whose text of values is the same whatever the server, role or database is set to."""
_DAY = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_MOMENT = rf"{_DAY}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{{6}}"


@dataclass(frozen=True)
class Format:
    """How values of some types are written.

    Attributes:
        name: see above.
        regex: what their text in a template looks like.
        letters: the characters that it may have; None for any.
        width: how many it has; None where that differs.
        scored: whether a score can be made of them.
        example: of such a text, for messages.
    """

    name: str
    regex: str
    letters: str | None
    width: int | None = None
    scored: bool = False
    example: str = ""

    @property
    def dated(self) -> bool:
        """Whether some values of the types have no ISO 8601 form."""
        return self.name in ("moment", "zoned", "date")


FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format(
            "integer",
            r"(?:0|-?[1-9][0-9]{0,18})",
            "-" + DIGITS,
            scored=True,
            example="a whole number of 64 bits",
        ),
        Format(
            "numeric",
            r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|NaN|-?Infinity)",
            "-." + DIGITS + LETTERS,
            scored=True,
            example="a number such as 19.90",
        ),
        Format(
            "float",
            r"(?:-?(?:[0-9]+(?:\.[0-9]+)?(?:e[-+][0-9]+)?|Infinity)|NaN)",
            "-+." + DIGITS + LETTERS,
            scored=True,
            example="a number such as 0.1",
        ),
        Format("boolean", "(?:true|false)", "truefals", example="true or false"),
        Format(
            "uuid",
            r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            "-" + DIGITS + "abcdef",
            36,
            example="a UUID",
        ),
        Format("moment", _MOMENT, "-:T." + DIGITS, 26, True, "a date such as 2026-11-22T10:00:00.000000"),
        Format(
            "zoned", _MOMENT + "Z", "-:TZ." + DIGITS, 27, True, "a date such as 2026-11-22T10:00:00.000000Z"
        ),
        Format("date", _DAY, "-" + DIGITS, 10, True, "a date such as 2026-11-22"),
        Format(
            "time",
            r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?",
            ":." + DIGITS,
            None,
            True,
            "a time such as 10:00:00",
        ),
        Format("bytes", r"\\x(?:[0-9a-f]{2})*", "\\x" + DIGITS + "abcdef", example="bytes such as \\x00ff"),
        Format("text", r"[\s\S]*", None, example="text"),
    )
}
OF_TYPE: Mapping[str, str] = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "oid": "integer",
    "numeric": "numeric",
    "float4": "float",
    "float8": "float",
    "bool": "boolean",
    "uuid": "uuid",
    "timestamp": "moment",
    "timestamptz": "zoned",
    "date": "date",
    "time": "time",
    "bytea": "bytes",
}
"""The format of each type of ``pg_catalog`` that has one of its own, by its ``pg_type.typname``."""


def format_of(typname: str, *, builtin: bool) -> Format:
    """The format of a type's values.

    Args:
        typname: as in ``pg_type``.
        builtin: whether it is of the schema ``pg_catalog``; types of the user's own are ``text``.
    """
    return FORMATS[OF_TYPE.get(typname, "text") if builtin else "text"]
