"""Which keys, elements and members the snapshot requires, of some that are there.

Values of a key are compared as values of their type where an index can help and nothing can fail, and by
their canonical text where the type has several texts for values that are equal.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np

from helpers.migration.expected_replies import Collections
from helpers.model import Column, KeyKind, Plan, far_sql, literal
from helpers.source import Source, copybinary

INT8 = range(-(2**63), 2**63)
OID = range(2**32)
WHOLE_DIGITS, DIGITS_BEHIND = 131_072, 16_383
"""How many digits a ``numeric`` has at most before and behind the point."""
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{0,5}[1-9])?|24:00:00")
_NUMERIC = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?|NaN|-?Infinity")
OLDEST_INFINITY = 140_000
"""The version of PostgreSQL from which on a ``numeric`` may be infinite."""


@dataclass(frozen=True)
class _Comparison:
    """How values of a column are looked for.

    Attributes:
        type: what they are sent as.
        sent: the text that is sent of a canonical one; None where no value of the column has it.
        sql: that the column is equal to what was sent, with ``{column}`` and ``{value}`` for them.
    """

    type: str
    sent: Callable[[bytes], str | None]
    sql: str = "{column} = {value}"


def required(
    source: Source, kind: KeyKind, columns: Sequence[str], rows: Sequence[Sequence[bytes]]
) -> set[int]:
    """Those of some rows that the snapshot has, and that a kind of key holds.

    Args:
        source: the snapshot.
        kind: of the key.
        columns: what each row has values of; a column may come twice.
        rows: canonical texts of each, one for each column.

    Returns:
        Their places among ``rows``.
    """
    places = [columns.index(name) for name in columns]
    distinct = sorted(set(places))
    comparisons = [_comparison(source, _column(kind, columns[place])) for place in distinct]
    asked: list[tuple[int, list[str]]] = []
    for number, row in enumerate(rows):
        if all(row[place] == value for place, value in zip(places, row, strict=True)):
            sent = [one.sent(row[place]) for one, place in zip(comparisons, distinct, strict=True)]
            known = [one for one in sent if one is not None]
            if len(known) == len(sent):
                asked.append((number, known))
    if not asked:
        return set()
    conditions = [f"({source.plan.asks_sql(kind)})"]
    for number, (one, place) in enumerate(zip(comparisons, distinct, strict=True)):
        column = f"held.{_column(kind, columns[place]).sql}"
        conditions.append(one.sql.replace("{value}", f"asked.v{number}").replace("{column}", column))
    where = " AND ".join(conditions).replace("%", "%%")
    arrays = ", ".join(["%s::int8[]", *(f"%s::{one.type}[]" for one in comparisons)])
    names = ", ".join(["n", *(f"v{number}" for number in range(len(comparisons)))])
    found = source.ask(
        f"SELECT n FROM unnest({arrays}) asked ({names}) WHERE EXISTS "
        f"(SELECT FROM {kind.table.sql.replace('%', '%%')} AS held WHERE {where})",
        [
            [number for number, _ in asked],
            *([values[at] for _, values in asked] for at in range(len(comparisons))),
        ],
    )
    return {number for (number,) in found}


def required_keys(source: Source, plan: Plan, kind: KeyKind, keys: Sequence[bytes]) -> set[bytes]:
    """Those of some keys of a kind that the snapshot requires.

    Args:
        source: the snapshot.
        plan: of the migration.
        kind: of the keys.
        keys: with the prefix.
    """
    rows = [plan.split(kind, key) for key in keys]
    known = [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]
    found = required(source, kind, kind.key.columns, [row for _, row in known])
    return {known[place][0] for place in found}


def required_members(
    source: Source, plan: Plan, kind: KeyKind, key: bytes, members: Sequence[bytes]
) -> set[bytes]:
    """Those of some members of a set or sorted set that the snapshot requires.

    Args:
        source: the snapshot.
        plan: of the migration.
        kind: of the key.
        key: with the prefix.
        members: what it holds.
    """
    owner = plan.split(kind, key)
    assert kind.value is not None
    rows = [(member, kind.value.split(member)) for member in members]
    known = [(member, (*owner, *row)) for member, row in rows if owner is not None and row is not None]
    found = required(source, kind, (*kind.key.columns, *kind.value.columns), [row for _, row in known])
    right = {known[place][0] for place in found}
    return right - _left_out(source, plan, kind, owner) if right and owner is not None else right


def _left_out(source: Source, plan: Plan, kind: KeyKind, owner: Sequence[bytes]) -> set[bytes]:
    """Members of rows that are left out because list and sorted set could not give them back.

    Args:
        source: the snapshot.
        plan: of the migration.
        kind: of the sorted set.
        owner: what is in the name of the key.
    """
    streams = [one for one in plan.streams if one.pair and any(k.name == kind.name for k in one.kinds)]
    if not streams or not streams[0].pair or (far := far_sql(streams[0].pair.moment)) == "false":
        return set()
    conditions = [f"({streams[0].where})", f"({far})"]
    for name, text in zip(kind.key.columns, owner, strict=True):
        one, column = _comparison(source, _column(kind, name)), _column(kind, name)
        value = f"{literal(one.sent(text) or '')}::{one.type}"
        conditions.append(one.sql.replace("{value}", value).replace("{column}", column.sql))
    where = " AND ".join(conditions)
    question = Collections(replace(streams[0], where=where, kinds=(kind,)), plan.prefix.encode())
    reader, found = copybinary.Reader(question.width), set()

    def take(chunk: bytes) -> None:
        found.update(question.left_out(reader.columns(chunk)))

    source.chunks(question.query(), take, binary=True)
    return found


def _column(kind: KeyKind, name: str) -> Column:
    return kind.table.columns[kind.table.places[name]]


def _comparison(source: Source, column: Column) -> _Comparison:
    form = column.format.name
    if form in ("text", "numeric"):
        return _text_comparison(source, column) if form == "text" else _numeric_comparison(source)
    if form == "float":
        single = column.type == "real"
        type_ = "real" if single else "double precision"
        return _Comparison("text", lambda text: _float(text, single=single), _as_written(type_))
    whole = OID if column.type == "oid" else INT8
    known: Mapping[str, _Comparison] = {
        "integer": _Comparison(
            column.type if column.type == "oid" else "bigint",
            lambda text: text.decode() if int(text) in whole else None,
        ),
        "boolean": _Comparison("boolean", bytes.decode),
        "uuid": _Comparison("uuid", bytes.decode),
        "moment": _Comparison("timestamp", _moment),
        "zoned": _Comparison("timestamptz", _moment),
        "date": _Comparison("date", _date),
        "time": _Comparison("time", lambda text: text.decode() if _TIME.fullmatch(text.decode()) else None),
        "bytes": _Comparison("bytea", bytes.decode),
    }
    return known[form]


def _text_comparison(source: Source, column: Column) -> _Comparison:
    encoding = source.plan.encoding
    if encoding != "UTF8":  # it may have no place for a letter of the key
        own = "SQL_ASCII" if encoding == "SQL_ASCII" else "UTF8"
        text = f"convert_to(format('%s', {{column}}), '{own}') = {{value}}"
        return _Comparison("bytea", lambda text: f"\\x{text.hex()}", text)
    if re.fullmatch(r"text|character varying(\([0-9]+\))?", column.type):
        equal = '({column} = {value} AND {column} COLLATE "C" = {value} COLLATE "C")'
        return _Comparison("text", _utf8, equal)
    if re.fullmatch(r"character(\([0-9]+\))?", column.type):
        return _Comparison(
            "bpchar", _utf8, "({column} = {value} AND format('%s', {column}) = format('%s', {value}))"
        )
    return _Comparison("text", _utf8, 'format(\'%s\', {column}) COLLATE "C" = {value} COLLATE "C"')


def _numeric_comparison(source: Source) -> _Comparison:
    version = int(source.ask("SHOW server_version_num")[0][0])

    def sent(text: bytes) -> str | None:
        found = _NUMERIC.fullmatch(text.decode())
        if found is None or (text.endswith(b"Infinity") and version < OLDEST_INFINITY):
            return None
        fits = len(found[1] or "") <= WHOLE_DIGITS and len(found[2] or "") <= DIGITS_BEHIND
        return text.decode() if fits else None

    return _Comparison("text", sent, _as_written("numeric"))


def _as_written(type_: str) -> str:
    """A number that is written in that way, as several texts may say the same."""
    return f'({{column}} = {{value}}::{type_} AND {{column}}::text = {{value}} COLLATE "C")'


def _float(text: bytes, *, single: bool) -> str | None:
    """A number that does not go beyond the type."""
    number = float(text)
    with np.errstate(over="ignore", under="ignore"):
        held = float(np.float32(number)) if single else number
    if math.isinf(held) and not text.endswith(b"Infinity"):
        return None
    return None if held == 0 and re.search(rb"[1-9]", text.partition(b"e")[0]) else text.decode()


def _moment(text: bytes) -> str | None:
    try:
        return text.decode() if datetime.fromisoformat(text.decode()) else None
    except ValueError:  # the 30th of February
        return None


def _date(text: bytes) -> str | None:
    try:
        return text.decode() if date.fromisoformat(text.decode()) else None
    except ValueError:
        return None


def _utf8(text: bytes) -> str | None:
    if b"\0" in text:
        return None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None
