"""Which rows can be held, said twice: as SQL of all rows, and in Python of one."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from helpers.model.tables import Column, Table

if TYPE_CHECKING:
    from helpers.model.kinds import KeyKind

LONGEST_BYTES = 512 * 2**20 - 64
"""Bytes of the longest text that is held, alone or with a date or a number in an element."""
EXACT_SCORE = 2**53
"""Whole numbers up to this size are exact as a double: as microseconds, dates from 1684 to 2255."""
REASONS: Mapping[str, str] = {
    "null_...": "a key that holds the row needs this column",
    "infinite_date": "infinity and -infinity are no dates",
    "bc_date": "a date before the year 1 has no ISO 8601 form of fixed width",
    "year_over_9999": "a date after the year 9999 has no ISO 8601 form of fixed width",
    "no_score": "NaN, infinity, and numbers that no double is near to are no scores",
    "too_long": "Redis' strings end at 512 MB",
    "not_utf8": "text that is no UTF-8 (a database of the encoding SQL_ASCII holds any bytes)",
    "no_field": "every column but the key is NULL, and Redis holds no empty hash",
    "no_key": "no key of the model holds the row",
    "score_order": "its score equals that of a row with an earlier date and a higher number (beyond 2255), "
    "so that list and sorted set could not be put together again",
}
"""Why a row cannot be held, by reason name; ``null_`` is followed by the column."""
COMPRESSED_BYTES = 1 << 20
"""What takes less space than this in a table, compressed, is shorter than ``LONGEST_BYTES`` as it is."""
_UTF8 = (
    r"^(?:[\u0001-\u007F]|[\u00C2-\u00DF][\u0080-\u00BF]|\u00E0[\u00A0-\u00BF][\u0080-\u00BF]"
    r"|[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]{2}|\u00ED[\u0080-\u009F][\u0080-\u00BF]"
    r"|\u00F0[\u0090-\u00BF][\u0080-\u00BF]{2}|[\u00F1-\u00F3][\u0080-\u00BF]{3}"
    r"|\u00F4[\u0080-\u008F][\u0080-\u00BF]{2})*$"
)
"""Well-formed UTF-8 where a character is a byte (Unicode 16.0, table 3-7)."""
_YEARS: Mapping[str, tuple[str, str]] = {
    "moment": ("0001-01-01", "10000-01-01"),
    "zoned": ("0001-01-01 00:00:00+00", "10000-01-01 00:00:00+00"),
    "date": ("0001-01-01", "10000-01-01"),
}
_FAR: Mapping[str, tuple[str, str]] = {
    "moment": ("2255-06-05", "1684-07-29"),
    "zoned": ("2255-06-05 00:00:00+00", "1684-07-29 00:00:00+00"),
    "integer": (str(EXACT_SCORE), str(-EXACT_SCORE)),
}


def why(reason: str) -> str:
    """What is meant by the name of a reason.

    Args:
        reason: one of ``REASONS``, or ``null_`` and a column.
    """
    return REASONS["null_..." if reason.startswith("null_") else reason]


def literal(text: str) -> str:
    """A text as a literal of SQL, which takes the type of what it is compared with."""
    return "'" + text.replace("'", "''") + "'"


def grouping_sql(column: Column, table: str) -> str:
    """What puts rows together whose canonical text of a column is the same, as SQL to order by.

    Args:
        column: a column.
        table: the name by which it is a column's in the query.
    """
    name = f"{table}.{column.sql}"
    if column.format.name not in ("text", "numeric", "float"):
        return name
    if re.fullmatch(r"(?:text|character varying)(?:\(\d+\))?", column.type):
        return f'{name} COLLATE "C"'
    return f"format('%s', {name}) COLLATE \"C\""


def iso_sql(column: Column) -> str:
    """Values of a moment or date that have a form in ISO 8601, as SQL; of NULL it is NULL."""
    first, end = _YEARS[column.format.name]
    return f"isfinite({column.sql}) AND {column.sql} >= {literal(first)} AND {column.sql} < {literal(end)}"


def score_sql(column: Column) -> str:
    """Values that can be a score, as SQL; of NULL it is NULL."""
    if column.format.dated:
        return iso_sql(column)
    if column.format.name == "float":
        return f"({column.sql} <> 'NaN' AND abs({column.sql}) <> 'Infinity')"
    if column.format.name == "numeric":
        return f"({column.sql} <> 'NaN' AND ({column.sql} = 0 OR abs({column.sql}) BETWEEN 1e-300 AND 1e300))"
    return "true"


def far_sql(column: Column) -> str:
    """Values of a score's column near or beyond the limit where the score is no longer exact, as SQL."""
    if column.format.name not in _FAR:
        return "false"
    late, early = _FAR[column.format.name]
    # A literal takes the type of what it is compared with; of the whole numbers only int8 holds the limit.
    wide = f"{column.sql}::int8" if column.format.name == "integer" else column.sql
    return f"{wide} >= {literal(late)} OR {wide} < {literal(early)}"


class Limits:
    """Which rows of a table can be held.

    Args:
        table: the table.
        kinds: the kinds of keys that hold rows of it.
        holders: those of them that hold a row so that it can be given back; none where no kinds do.
        strict: a moment or date without a form in ISO 8601 cannot stand in a field.
        any_bytes: the database holds texts that are no UTF-8.
    """

    def __init__(
        self,
        table: Table,
        kinds: Sequence["KeyKind"],
        holders: Sequence["KeyKind"],
        *,
        strict: bool = False,
        any_bytes: bool = False,
    ) -> None:
        self._table, self._kinds, self._holders, self._any_bytes = table, kinds, holders, any_bytes
        iso: set[str] = set()
        for kind in kinds:
            templates = [*kind.key.columns, *(kind.value.columns if kind.value else ())]
            fields = [column.name for _, column in kind.fields]
            iso |= {*templates, *(fields if strict else ())}
        self._iso = [c for c in table.columns if c.name in iso and c.format.dated]
        scores = {kind.score.name for kind in kinds if kind.score}
        self._scores = [c for c in table.columns if c.name in scores and c not in self._iso]
        self._used = {name for kind in kinds for name in (*kind.holds, *kind.needs)}

    @cached_property
    def _weights(self) -> list[dict[str, int]]:
        """Of each text that is made of unbounded columns: how many bytes a byte of each becomes at most."""
        found = []
        for kind in self._kinds:
            as_json = kind.type == "string" and bool(kind.fields)
            for pattern in (kind.key, kind.value):
                if pattern is not None:
                    weights = dict.fromkeys(pattern.columns, 0)
                    for name, one, escaped in zip(
                        pattern.columns, pattern.formats, pattern.escaped, strict=True
                    ):
                        times = 3 if escaped else 2 if one.name == "bytes" and not pattern.raw else 1
                        weights[name] += times
                    found.append(weights)
            if as_json:
                found.append({column.name: 6 for _, column in kind.fields})
            else:
                found += [{column.name: 1} for _, column in kind.fields]
        bounded = {column.name for column in self._table.columns if column.bounded}
        unbounded = [{n: w for n, w in one.items() if n not in bounded} for one in found]
        distinct: list[dict[str, int]] = []
        for weights in unbounded:
            if weights and weights not in distinct:
                distinct.append(weights)
        return distinct

    # -- as SQL

    @cached_property
    def sql(self) -> str:
        """The rows that can be held."""
        return self._sql(self._holders)

    def asks_sql(self, kind: "KeyKind") -> str:
        """The rows that a kind of key holds."""
        return self._sql([*self._holders, kind])

    def _sql(self, present: Sequence["KeyKind"]) -> str:
        """The rows that can be held and have a key or element of each of some kinds."""
        needed = {name for kind in present for name in kind.needs}
        known = {c.name for c in self._table.columns if not c.nullable or c.name in needed}

        def unless_null(column: Column, condition: str) -> str:
            return condition if column.name in known else f"({_null_sql(column)} OR {condition})"

        found = [unless_null(c, iso_sql(c)) for c in self._iso]
        found += [unless_null(c, score_sql(c)) for c in self._scores if score_sql(c) != "true"]
        found += [] if self.short_sql == "true" else [self.short_sql]
        if self._any_bytes:
            found += [
                unless_null(c, f"{c.sql}::text ~ '{_UTF8}'")
                for c in self._table.columns
                if c.name in self._used and c.format.letters is None
            ]
        iso = {c.name for c in self._iso}  # of NULL these conditions are no more true than IS NOT NULL
        found += [
            _known_sql(c)
            for c in self._table.columns
            if c.nullable and c.name in needed and c.name not in iso
        ]
        found += [one for kind in present if (one := self._any_field_sql(kind, known)) is not None]
        if not present:
            some = [self._present_sql(kind, known) for kind in self._kinds]
            if "true" not in some:
                found.append(f"({' OR '.join(f'({one})' for one in dict.fromkeys(some))})")
        return " AND ".join(dict.fromkeys(found)) or "true"

    @cached_property
    def short_sql(self) -> str:
        """The rows none of whose texts is longer than what Redis holds."""
        return " AND ".join(self._short_sql(one) for one in self._weights) or "true"

    def _any_field_sql(self, kind: "KeyKind", known: set[str]) -> str | None:
        """That a hash is not empty; None where it cannot be."""
        names = dict.fromkeys(column.name for _, column in kind.fields)
        if kind.type != "hash" or known & names.keys():
            return None
        columns = [self._table.columns[self._table.places[name]] for name in names]
        return f"({' OR '.join(map(_known_sql, columns))})"

    def _present_sql(self, kind: "KeyKind", known: set[str]) -> str:
        columns = [self._table.columns[self._table.places[name]] for name in kind.needs]
        found = [_known_sql(c) for c in columns if c.name not in known]
        any_field = self._any_field_sql(kind, known | set(kind.needs))
        return " AND ".join([*found, *([any_field] if any_field else [])]) or "true"

    def _short_sql(self, weights: Mapping[str, int]) -> str:
        columns = [self._table.columns[self._table.places[name]] for name in weights]
        sizes = " + ".join(
            f"{weights[c.name]} * coalesce(octet_length({_text(c)}), 0)::int8" for c in columns
        )
        limit = COMPRESSED_BYTES // sum(weights.values())
        small = " AND ".join(f"coalesce(pg_column_size({c.sql}), 0) < {limit}" for c in columns)
        return f"(({small}) OR {sizes} <= {LONGEST_BYTES})"

    # -- of one row

    @cached_property
    def _free(self) -> list[int]:
        """Where columns that are used stand whose text may have any letters."""
        columns = self._table.columns
        return [i for i, c in enumerate(columns) if c.name in self._used and c.format.letters is None]

    def reason(self, row: Sequence[str | None]) -> str | None:
        """Why a row cannot be held; None when it can.

        Args:
            row: see ``Plan.reject_reason``.
        """
        at = self._table.places
        for kind in self._holders:
            for name in kind.needs:
                if row[at[name]] is None:
                    return f"null_{name}"
        present = [self.present(kind, row) for kind in self._holders or self._kinds]
        if self._holders and not all(present):
            return "no_field"
        if not any(present):
            return "no_key"
        for column in self._iso:
            value = row[at[column.name]]
            if value is not None and (reason := date_reason(value)):
                return reason
        for column in self._scores:
            value = row[at[column.name]]
            if value is not None and (reason := _score_reason(column, value)):
                return reason
        for place in self._free:
            value = row[place]
            if value is not None and not _is_utf8(value):
                return "not_utf8"
        return None if self.short(row) else "too_long"

    def short(self, row: Sequence[str | None]) -> bool:
        """Whether none of a row's texts is longer than what Redis holds."""
        at, columns = self._table.places, self._table.columns
        return all(
            sum(w * _size(columns[at[n]], row[at[n]]) for n, w in weights.items()) <= LONGEST_BYTES
            for weights in self._weights
        )

    def present(self, kind: "KeyKind", row: Sequence[str | None]) -> bool:
        """Whether a row that can be held has a key or element of a kind."""
        at = self._table.places
        if any(row[at[name]] is None for name in kind.needs):
            return False
        return kind.type != "hash" or any(row[at[column.name]] is not None for _, column in kind.fields)


def _known_sql(column: Column) -> str:
    """That a column is not NULL; IS NOT NULL would ask the same of each field of a composite value."""
    return f"{column.sql} IS {'DISTINCT FROM' if column.format.letters is None else 'NOT'} NULL"


def _null_sql(column: Column) -> str:
    return f"{column.sql} IS {'NOT DISTINCT FROM ' if column.format.letters is None else ''}NULL"


def _text(column: Column) -> str:
    """What has the length of a column's text, as SQL."""
    return column.sql if column.format.name == "bytes" else f"{column.sql}::text"


def _size(column: Column, value: str | None) -> int:
    if value is None:
        return 0
    if column.format.name == "bytes":
        return int(value[:-6]) if value.endswith(" bytes") else len(value) // 2 - 1
    return len(value.encode("utf-8", "surrogateescape"))


def _is_utf8(value: str) -> bool:
    try:
        return value.encode() is not None
    except UnicodeEncodeError:  # bytes that could not be decoded stand there as surrogates
        return False


def date_reason(text: str) -> str | None:
    """Why a moment or date as PostgreSQL writes it (DateStyle ISO) has no form in ISO 8601, or None.

    Args:
        text: for example ``2026-11-22 10:00:00.5``, ``infinity``, ``0044-03-15 00:00:00 BC``.
    """
    if text in ("infinity", "-infinity"):
        return "infinite_date"
    if text.endswith("BC"):
        return "bc_date"
    return "year_over_9999" if text.index("-") > 4 else None


def _score_reason(column: Column, text: str) -> str | None:
    if column.format.dated:
        return date_reason(text)
    if column.format.name in ("numeric", "float"):
        if text in ("NaN", "Infinity", "-Infinity"):
            return "no_score"
        if column.format.name == "numeric" and re.search("[1-9]", text):
            from decimal import Decimal

            return None if Decimal("1e-300") <= abs(Decimal(text)) <= Decimal("1e300") else "no_score"
    return None
