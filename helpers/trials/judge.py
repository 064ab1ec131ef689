"""A second judge beside ``verify``: row by row, plain and slow, sharing no code with the migration.

It reads the model's TOML by itself, rows by SELECT, values by one Redis command a key, and compares what each
key should hold with what it holds. For small data, dates that a score holds exactly, and a target in which
keys that are named as the model's are all the migration's.
"""

import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from psycopg2.extensions import new_type, register_type

from helpers.servers import connections

VERDICTS = ("lost", "doubled", "altered")
TYPES = {"hash": "hash", "string": "string", "list": "list", "set": "set", "sorted_set": "zset"}
"""What Redis calls the types of a model."""
SESSION = """
SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET lc_monetary = 'C'; SET search_path = pg_catalog
"""
TABLE = """
SELECT c.oid::int8, format('%%I.%%I', nspname, relname), relkind = 'r'
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s::regclass"""
COLUMNS = """
SELECT attname, CASE WHEN nspname = 'pg_catalog' THEN typname ELSE 'of the user' END, attgenerated <> ''
FROM pg_attribute JOIN pg_type t ON t.oid = atttypid JOIN pg_namespace n ON n.oid = typnamespace
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
KEYS = """
SELECT array_agg(attname::text ORDER BY place) FROM pg_index
CROSS JOIN unnest(indkey::int2[]) WITH ORDINALITY u (number, place)
JOIN pg_attribute ON attrelid = indrelid AND attnum = number
WHERE indrelid = %s AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
  AND place <= indnkeyatts
GROUP BY indexrelid, indisprimary, indnkeyatts HAVING bool_and(attnotnull)
ORDER BY NOT indisprimary, indnkeyatts, indexrelid"""
WHOLLY = ("hash", "string", "sorted_set", "set", "list")
"""Types of keys, that first of which one is asked to give a row back."""
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(?:\.(\d+))?(\+00)?)?")
WHOLE = ("int2", "int4", "int8", "oid")
DATED = ("date", "timestamp", "timestamptz")
FIXED = (*WHOLE, *DATED, "numeric", "float4", "float8", "bool", "uuid", "time", "bytea")
"""Types whose values are written with some letters only, so that they need no escapes."""
SHAPES = dict.fromkeys(WHOLE, "-?[0-9]+")
"""What stands for a column in the name of a key; for others of ``FIXED`` types any text, for the rest one
without ``:``, ``{`` and ``}``, which are escaped there."""

Row = Mapping[str, str | None]
"""Values by column, as PostgreSQL writes them."""


class NoPlace(Exception):
    """A value that can stand in no key or element, and be no score."""


def compare(
    source: str, target: str, *, prefix: str = "", model: "str | Path | None" = None
) -> dict[str, int]:
    """What is ``lost``, ``doubled`` and ``altered`` in Redis, against PostgreSQL as it is now.

    Counted are hashes, strings, list elements and members of sets and sorted sets. What should not be there
    counts as doubled; a value or an order of elements that is not the source's, and a key of a wrong type, as
    altered.

    Args:
        source: PostgreSQL URL.
        target: Redis URL.
        prefix: stands before every key.
        model: its TOML, or the path of the file; the course's when None.
    """
    client = connections.redis(target)
    connection = connections.postgres(source)
    try:
        kinds = read(connection, _toml(model))
        return _Judge(client, prefix.encode()).judge(kinds)
    finally:
        connection.close()
        client.close()


def sort(by_problem: Mapping[str, int]) -> dict[str, int]:
    """The verifier's problems as ``lost``, ``doubled`` (what should not be there) and ``altered``."""
    found = Counter(dict.fromkeys(VERDICTS, 0))
    for problem, number in by_problem.items():
        first = problem.split()[0]
        found["lost" if first == "missing" else "doubled" if first == "extra" else "altered"] += number
    return dict(found)


def _toml(model: "str | Path | None") -> dict[str, Any]:
    if model is None:
        return tomllib.loads(files("helpers").joinpath("model", "course.toml").read_text(encoding="utf-8"))
    if isinstance(model, str) and "\n" in model:
        return tomllib.loads(model)
    return tomllib.loads(Path(model).read_text(encoding="utf-8"))


# -- what should be there


@dataclass(frozen=True)
class Kind:
    """One key of the model with all that should be in Redis of it.

    Attributes:
        type: of its keys, as Redis calls it.
        shape: what the names of its keys look like, without the prefix.
        keys: by name, without the prefix: a dict of fields, a text, a list, a set, or a dict of scores.
    """

    type: str
    shape: "re.Pattern[bytes]"
    keys: Mapping[bytes, Any]


def read(connection: Any, model: Mapping[str, Any]) -> list[Kind]:
    """What a model makes of the rows that are there, in one snapshot.

    Args:
        connection: to PostgreSQL; its search path says where tables without a schema are.
        model: as ``tomllib`` gives it.
    """
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with connection.cursor() as cursor:
        tables = {said: _table(cursor, said) for said in {key["table"] for key in model["key"]}}
        cursor.execute("SELECT array_agg(oid::int8) FROM pg_type")
        [(oids,)] = cursor.fetchall()
        cursor.execute(SESSION)
    with connection.cursor() as cursor:
        register_type(new_type(tuple(oids), "AS_TEXT", lambda value, _: value), cursor)
        strict = model.get("dates") == "iso"
        for name, table in tables.items():
            keys = [key for key in model["key"] if key["table"] == name]
            table.leave_out(cursor, keys, strict)
        return [_kind(cursor, key, tables[key["table"]]) for key in model["key"]]


@dataclass
class _Table:
    """A table: what it is in a query, the type of each column, those that are computed, its unique keys."""

    sql: str
    types: Mapping[str, str]
    computed: "set[str]"
    keys: list[list[str]]
    left_out: "set[tuple[str | None, ...]]"

    def column(self, said: str) -> str:
        """The column that a model names, as it is or in quotes."""
        return said if said in self.types else said[1:-1].replace('""', '"')

    def leave_out(self, cursor: Any, keys: list[Any], strict: bool) -> None:
        """Note the keys of rows that have no place: a value of theirs has no form where it must stand."""
        placed, scores = set[str](), set[str]()
        for key in keys:
            placed |= {
                text for is_column, text in (*_template(key["name"], self), *_value(key, self)) if is_column
            }
            if strict:
                placed |= set(_fields(key, self).values())
            if "score" in key:
                scores.add(self.column(key["score"]))
        holders = self._holders(keys)
        for row in self.select(cursor, ()):
            try:
                for key in holders:
                    fields = _fields(key, self).values() if key["type"] == "hash" else ()
                    if any(row[one] is None for one in _needed(key, self)) or (
                        fields and all(row[one] is None for one in fields)
                    ):
                        raise NoPlace(key["name"])
                for name, value in row.items():
                    if value is not None and name in placed:
                        _placed(self.types[name], value)
                    if value is not None and name in scores:
                        _score(self.types[name], value)
            except NoPlace:
                self.left_out.add(self.key_of(row))

    def _holders(self, keys: list[Any]) -> list[Any]:
        """The keys, one or a list and a sorted set, that give rows back; none where no keys do."""
        wanted = self.types.keys() - self.computed
        for key in sorted(keys, key=lambda one: WHOLLY.index(one["type"])):
            held = _held(key, self)
            if wanted <= held and any(set(unique) <= held for unique in self.keys):
                return [key]
        for key in keys:
            for other in keys:
                if wanted <= _held(key, self) | _held(other, self) and self._pair(key, other):
                    return [key, other]
        return []

    def _pair(self, key: Any, other: Any) -> bool:
        """Whether a list and a sorted set have each row of an owner in the same place."""
        if (key["type"], other["type"]) != ("list", "sorted_set"):
            return False
        names = ([text for one, text in _template(k["name"], self) if one] for k in (key, other))
        order, score = _order(key, self), self.column(other["score"])
        return (
            next(names) == next(names)
            and order == (score, *self.keys[0])
            and len(order) == 2
            and self.types[score] in (*WHOLE, *DATED)
            and self.types[order[1]] in WHOLE
            and (True, score) in _value(key, self)
            and (True, order[1]) in _value(other, self)
        )

    def key_of(self, row: Row) -> "tuple[str | None, ...]":
        """What tells a row from others."""
        return tuple(row[name] for name in self.keys[0])

    def select(self, cursor: Any, order: tuple[str, ...]) -> Iterator[Row]:
        """Its rows, in the order of some columns."""
        columns = ", ".join(_quoted(name) for name in self.types)
        by = f" ORDER BY {', '.join(map(_quoted, order))}" if order else ""
        cursor.execute(f"SELECT {columns} FROM {self.sql}{by}")
        return (dict(zip(self.types, row, strict=True)) for row in cursor.fetchall())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(cursor: Any, said: str) -> _Table:
    cursor.execute(TABLE, (said,))
    [(oid, name, plain)] = cursor.fetchall()
    cursor.execute(COLUMNS, (oid,))
    columns = cursor.fetchall()
    types = {column: type_ for column, type_, _ in columns}
    computed = {column for column, _, generated in columns if generated}
    cursor.execute(KEYS, (oid,))
    keys = [key for (key,) in cursor.fetchall()]
    return _Table(f"ONLY {name}" if plain else name, types, computed, keys, set())


def _template(text: str, table: _Table) -> list[tuple[bool, str]]:
    """The pieces of a template: (whether it is a column, its name or the plain text)."""
    pieces = re.finditer(r'(\{\{|\}\})|\{("(?:[^"]|"")+"|[^{}]+)\}|([^{}]+)', text)
    return [
        (True, table.column(found[2])) if found[2] else (False, found[1][0] if found[1] else found[3])
        for found in pieces
    ]


def _value(key: Mapping[str, Any], table: _Table) -> list[tuple[bool, str]]:
    return _template(key["value"], table) if "value" in key else []


def _fields(key: Mapping[str, Any], table: _Table) -> dict[str, str]:
    """The column of each field of a key; none where it has no fields."""
    if "value" in key:
        return {}
    said = key.get("fields", list(table.types))
    pairs: dict[str, str] = {}
    for one in said if isinstance(said, list) else [said]:
        pairs |= one if isinstance(one, dict) else {one: one}
    return {field: table.column(column) if "fields" in key else column for field, column in pairs.items()}


def _order(key: Mapping[str, Any], table: _Table) -> tuple[str, ...]:
    """The columns by which a list stands."""
    order = tuple(table.column(one) for one in key.get("order", ()))
    if key["type"] == "list" and not any(set(one) <= set(order) for one in table.keys):
        order += tuple(one for one in table.keys[0] if one not in order)
    return order


def _needed(key: Mapping[str, Any], table: _Table) -> set[str]:
    """The columns without which a row has no such key or element."""
    templates = (*_template(key["name"], table), *_value(key, table))
    score = {table.column(key["score"])} if "score" in key else set()
    return {text for is_column, text in templates if is_column} | score | set(_order(key, table))


def _held(key: Mapping[str, Any], table: _Table) -> set[str]:
    """The columns whose values can be read from a key."""
    templates = (*_template(key["name"], table), *_value(key, table))
    return {text for is_column, text in templates if is_column} | set(_fields(key, table).values())


def _kind(cursor: Any, key: Mapping[str, Any], table: _Table) -> Kind:
    name, value, fields = _template(key["name"], table), _value(key, table), _fields(key, table)
    kind, order = key["type"], _order(key, table)
    score = table.column(key["score"]) if "score" in key else None
    needed = _needed(key, table)
    many: dict[bytes, Any] = defaultdict({"list": list, "set": set}.get(kind, dict))
    for row in table.select(cursor, order if kind == "list" else ()):
        if table.key_of(row) in table.left_out or any(row[column] is None for column in needed):
            continue
        called = _written(name, table, row, in_name=True)
        if kind == "hash":
            found = {
                f.encode(): _bytes(table.types[c], v) for f, c in fields.items() if (v := row[c]) is not None
            }
            if found:
                many[called] = found
        elif kind == "string":
            many[called] = _written(value, table, row) if "value" in key else _json(fields, table, row)
        elif kind == "list":
            many[called].append(_written(value, table, row))
        elif kind == "set":
            many[called].add(_written(value, table, row))
        else:
            assert score is not None
            many[called][_written(value, table, row)] = _score(table.types[score], row[score] or "")
    return Kind(TYPES[kind], _shape(name, table), many)


def _written(template: list[tuple[bool, str]], table: _Table, row: Row, *, in_name: bool = False) -> bytes:
    """The text that a template makes of a row."""
    if not in_name and len(template) == 1 and template[0][0]:
        column = template[0][1]
        return _bytes(table.types[column], row[column] or "")
    free = [text for is_column, text in template if is_column and table.types[text] not in FIXED]
    found = ""
    for is_column, text in template:
        written = _said(table.types[text], row[text] or "") if is_column else text
        if is_column and text in free and (in_name or len(free) > 1):
            written = "".join(f"%{ord(c):02X}" if c in "%:{}" else c for c in written)
        found += written
    return found.encode()


def _json(fields: Mapping[str, str], table: _Table, row: Row) -> bytes:
    said = {f: _said(table.types[c], v) for f, c in fields.items() if (v := row[c]) is not None}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _shape(name: list[tuple[bool, str]], table: _Table) -> "re.Pattern[bytes]":
    parts = (
        SHAPES.get(table.types[text], ".*" if table.types[text] in FIXED else "[^:{}]*")
        if is_column
        else re.escape(text)
        for is_column, text in name
    )
    return re.compile("".join(parts).encode(), re.S)


def _bytes(type_: str, value: str) -> bytes:
    """A value where it stands alone."""
    return bytes.fromhex(value[2:]) if type_ == "bytea" else _said(type_, value).encode()


def _said(type_: str, value: str) -> str:
    """A value as text."""
    if type_ == "bool":
        return "true" if value == "t" else "false"
    if type_ in DATED and (found := MOMENT.fullmatch(value)):
        day, clock, fraction, zone = found.groups()
        moment = f"T{clock}.{(fraction or '').ljust(6, '0')}" if clock else ""
        return f"{day}{moment}{'Z' if zone else ''}"
    return value


def _placed(type_: str, value: str) -> str:
    """A value that has to stand in a name or an element.

    Raises:
        NoPlace: it is a date without a form of fixed width.
    """
    if type_ in DATED and not MOMENT.fullmatch(value):
        raise NoPlace(value)
    return _said(type_, value)


def _score(type_: str, value: str) -> float:
    """A value as a score: the number, microseconds since 1970 or since midnight, days for a date.

    Raises:
        NoPlace: it is none.
    """
    if type_ in WHOLE:
        return float(int(value))
    if type_ == "time":
        clock, _, fraction = value.partition(".")
        hours, minutes, seconds = map(int, clock.split(":"))
        return float((hours * 3600 + minutes * 60 + seconds) * 10**6 + int(fraction.ljust(6, "0")))
    if type_ in DATED:
        since = datetime.fromisoformat(_placed(type_, value).removesuffix("Z")) - datetime(1970, 1, 1)
        micros = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
        return float(since.days if type_ == "date" else micros)
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        raise NoPlace(value)
    if type_ == "numeric" and number != 0 and not 1e-300 <= abs(number) <= 1e300:
        raise NoPlace(value)
    return number


# -- what is there


class _Judge:
    def __init__(self, client: Any, prefix: bytes) -> None:
        self.client, self.prefix = client, prefix
        self.found: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))

    def judge(self, kinds: list[Kind]) -> dict[str, int]:
        for kind in kinds:
            for name, value in kind.keys.items():
                self._key(kind.type, self.prefix + name, value)
        expected = {name for kind in kinds for name in kind.keys}
        for key in set(self.client.scan_iter(count=1000)):
            name = key[len(self.prefix) :]
            if key.startswith(self.prefix + b"migration:"):  # the bookkeeping
                continue
            if key.startswith(self.prefix) and name not in expected:
                self.found["doubled"] += any(kind.shape.fullmatch(name) for kind in kinds)
        return dict(self.found)

    def _key(self, type_: str, key: bytes, value: Any) -> None:
        actual = self.client.type(key).decode()
        if actual != type_:
            self.found["lost" if actual == "none" else "altered"] += 1
        elif type_ == "hash":
            self.found["altered"] += self.client.hgetall(key) != value
        elif type_ == "string":
            self.found["altered"] += self.client.get(key) != value
        elif type_ == "list":
            self._sequence(value, self.client.lrange(key, 0, -1))
        elif type_ == "set":
            self._members(value, set(self.client.smembers(key)))
        else:
            scores = dict(self.client.zrange(key, 0, -1, withscores=True))
            self._members(value.keys(), scores.keys())
            self.found["altered"] += sum(scores[m] != value[m] for m in value.keys() & scores.keys())

    def _sequence(self, expected: list[bytes], actual: list[bytes]) -> None:
        wanted, held = Counter(expected), Counter(actual)
        self.found["lost"] += (wanted - held).total()
        self.found["doubled"] += (held - wanted).total()
        if wanted == held:
            self.found["altered"] += sum(a != b for a, b in zip(expected, actual, strict=True))

    def _members(self, expected: Any, actual: Any) -> None:
        self.found["lost"] += len(expected - actual)
        self.found["doubled"] += len(actual - expected)
