"""Schemas, rows and models made at random: names of any letters, keys of any type, values at their edges."""

import random
from collections.abc import Iterator
from typing import Any

from helpers.errors import HelpersError
from helpers.model import Key, Model, Plan, Table, quoted, write_name
from helpers.model.templates import hole
from helpers.servers import connections

LETTERS = "aAzZ_0 :%{}\"'*?[]\\-.é🙂\n"
"""Of which names and texts are made."""
TYPES: dict[str, list[str]] = {
    "smallint": ["0", "-7", "32767"],
    "integer": ["0", "-1", "2147483647", "12", "-2147483648"],
    "bigint": [
        "0",
        "9223372036854775807",
        "-9223372036854775808",
        "9007199254740993",
        "9007199254740992",
        "5",
    ],
    "numeric": ["0", "0.00", "19.90", "1e40", "-1e-30", "NaN", "Infinity", "-Infinity", "1.0", "1.00"],
    "numeric(9,2)": ["0", "-12.345", "9999999.99", "NaN"],
    "real": ["0", "-0", "0.1", "1e30", "-1e-30", "NaN", "Infinity", "16777216"],
    "double precision": ["0", "-0", "0.1", "1e300", "5e-324", "NaN", "-Infinity", "1e15", "1e-5"],
    "boolean": ["true", "false"],
    "text": [],
    "varchar(30)": [],
    "char(5)": ["", "a", "ab c", "é"],
    "bytea": ["", "\\x00", "\\x3a25ff", "\\x7b7d", "\\xe9"],
    "timestamp": [
        *("2026-01-01", "2026-01-01 10:00:00.5", "1969-12-31 23:59:59.999999", "infinity", "-infinity"),
        *(
            "0044-03-15 BC",
            "0001-01-01",
            "9999-12-31 23:59:59.999999",
            "10000-01-01",
            "2255-06-05 23:47:34.740993",
        ),
        *("2300-01-01 00:00:00.000001", "2300-01-01 00:00:00.000002", "1500-01-01 00:00:00.000001"),
    ],
    "timestamp(0)": ["2026-01-01 00:00:00", "2026-01-01 00:00:01"],
    "timestamptz": [
        *("2026-01-01 00:00+00", "2026-07-01 10:00:00.123456+05:30", "infinity", "0001-01-01 00:00:00+14"),
        *("9999-12-31 23:59:59+00", "1800-01-01 00:00:00-07:52:58", "2400-01-01 00:00:00.000001+00"),
    ],
    "date": [
        "2026-01-01",
        "1970-01-01",
        "0001-01-01 BC",
        "9999-12-31",
        "infinity",
        "1582-10-10",
        "20000-01-01",
    ],
    "time": ["00:00", "24:00", "10:00:00.5", "23:59:59.999999"],
    "timetz": ["00:00+00", "24:00-01", "10:00:00.5+05:30:15"],
    "interval": ["0", "1 mon", "30 days", "-1 year 2 days 03:04:05.6", "24:00:00", "1 day"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "jsonb": ["{}", '{"a": [1.0, null]}', '"x"', "1.00", "null", "[]"],
    "json": ["{}", '{"a" : 1}', " 1", "null"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1"],
    "cidr": ["10.0.0.0/8", "::/0"],
    "macaddr": ["08:00:2b:01:02:03"],
    "integer[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}"],
    "text[]": ["{}", '{"a,b",NULL,"","NULL","\\"q\\""}', "{a}"],
    "int4range": ["empty", "[1,5)", "(,)", "[7,)"],
    "tsrange": ["empty", '["2026-01-01 10:00","2026-01-02")', "(,)"],
    "int8multirange": ["{}", "{[1,2),[5,9)}"],
    "bit(3)": ["101", "000"],
    "varbit": ["", "1", "0101"],
    "tsvector": ["a b", "'it''s':1A"],
    "point": ["(1,2)", "(0.1,-0)"],
    "box": ["((1,2),(0,0))"],
    "money": ["1.50", "-1234.5"],
    "oid": ["0", "4294967295"],
    '"char"': ["a", "\u00e9"],
    "name": ["n", "N m"],
    "random_mood": ["sad", "so:so", "{happy}", ""],
    "random_label": ["x", "a:b", ""],
    "random_pair": ["(1,a)", "(,)", '(2,"a,""b""")'],
    "random_mood[]": ["{sad,so:so}", "{}"],
    "random_whole": ["1", "-5"],
}
"""Texts of values of each type, beside which NULL and texts at random come."""
UNSORTED = {"json", "point", "box"}
MADE = """
CREATE TYPE random_mood AS ENUM ('so:so', 'sad', '{happy}', ''); CREATE DOMAIN random_label AS text;
CREATE TYPE random_pair AS (a int, b text); CREATE DOMAIN random_whole AS bigint CHECK (VALUE < 100);
"""


class Schema:
    """A few tables with rows, in the schema where a URL leads, and a model of them.

    Args:
        url: of PostgreSQL, with a schema to itself.
        seed: the same one makes the same.
    """

    def __init__(self, url: str, seed: int) -> None:
        self._chance = random.Random(seed)
        self.tables: dict[str, dict[str, str]] = {}
        with connections.postgres(url) as connection, connection.cursor() as cursor:
            cursor.execute(MADE)
            for number in range(4):
                self._make(cursor, number)
        connection.close()

    def _text(self, longest: int = 9) -> str:
        return "".join(self._chance.choices(LETTERS, k=self._chance.randrange(longest)))

    def _value(self, type_: str) -> str:
        if type_ in ("text", "varchar(30)"):
            return self._text()
        if type_ in ("integer", "bigint", "smallint") and self._chance.random() < 0.7:
            return str(self._chance.randrange(-50, 50))
        if type_ in ("timestamp", "timestamptz", "date") and self._chance.random() < 0.6:
            day = f"20{self._chance.randrange(10, 60)}-{self._chance.randrange(1, 13):02}-10"
            second = f"{self._chance.randrange(10)}.{self._chance.randrange(3)}"
            return day if type_ == "date" else f"{day} 10:00:0{second}"
        if type_ == "uuid" and self._chance.random() < 0.8:
            return f"{self._chance.randrange(2**128):032x}"
        return self._chance.choice(TYPES[type_])

    def _make(self, cursor: Any, number: int) -> None:
        chance = self._chance
        name = f"{self._text(5)}t{number}{self._text(5)}"
        many = chance.randrange(1, 8)
        columns = {f"{self._text(4)}c{n}{self._text(4)}": chance.choice(list(TYPES)) for n in range(many)}
        key = [one for one, type_ in columns.items() if type_ not in UNSORTED and chance.random() < 0.4][:3]
        if not key:
            columns = {"id": chance.choice(["integer", "bigint", "uuid", "text"]), **columns}
            key = ["id"]
        needed = {one for one in columns if one in key or chance.random() < 0.3}
        parts = [
            f"{quoted(one)} {type_}{' NOT NULL' if one in needed else ''}" for one, type_ in columns.items()
        ]
        unique = chance.choice(["PRIMARY KEY", "UNIQUE"])
        constraint = f"{unique} ({', '.join(map(quoted, key))})"
        cursor.execute(f"CREATE TABLE {quoted(name)} ({', '.join(parts)}, {constraint})")
        for _ in range(chance.randrange(60)):
            row = [
                None if one not in needed and chance.random() < 0.2 else self._value(type_)
                for one, type_ in columns.items()
            ]
            values = ", ".join(f"%s::text::{type_}" for type_ in columns.values())
            into = quoted(name).replace("%", "%%")
            cursor.execute(f"INSERT INTO {into} VALUES ({values}) ON CONFLICT DO NOTHING", row)
        self.tables[name] = columns

    def model(self, bound: dict[str, Table]) -> Model | None:
        """Keys of any type of these tables, as many as fit; None where none does.

        Args:
            bound: the tables by their names.
        """
        keys: list[Key] = []
        for table in bound.values():
            if self._chance.random() < 0.7:
                type_ = "hash" if self._chance.random() < 0.6 else "string"
                keys.append(Key(self._name(table, table.key), type_, table.name))
            keys += self._some_keys(table)
        fit: list[Key] = []
        for key in keys:
            fit += [key] if self._fits([*fit, key], bound) else []
        keys = fit
        return Model(keys, self._chance.choice(["text", "text", "iso"])) if keys else None

    def _fits(self, keys: list[Key], bound: dict[str, Table]) -> bool:
        try:
            Plan(Model(keys), {key.table: bound[key.table] for key in keys})
        except HelpersError:
            return False
        return True

    def _name(self, table: Table, columns: Any) -> str:
        word = self._chance.choice("klmnopqrstuvwxyz") + str(self._chance.randrange(1000))
        return f"{word}:" + self._template(columns)

    def _template(self, columns: Any) -> str:
        return ":".join(f"{{{hole(name)}}}" for name in columns)

    def _some_keys(self, table: Table) -> Iterator[Key]:
        chance, names = self._chance, [column.name for column in table.columns]
        for _ in range(4):
            some = chance.sample(names, chance.randrange(len(names) + 1))
            rest = [name for name in names if name not in some]
            value = list(dict.fromkeys([*chance.sample(names, chance.randrange(len(names) + 1)), *rest]))
            type_ = chance.choice(["set", "list", "sorted_set", "hash", "string"])
            name = self._name(table, some if type_ not in ("hash", "string") else table.key) or "x"
            if type_ == "hash":
                fields = chance.sample(names, chance.randrange(1, len(names) + 1))
                yield Key(
                    name, type_, table.name, {f"{self._text()}{n}": one for n, one in enumerate(fields)}
                )
            elif type_ in ("string", "set"):
                yield Key(name, type_, table.name, value=self._template(value))
            elif type_ == "sorted_set":
                yield Key(name, type_, table.name, value=self._template(value), score=chance.choice(names))
            else:
                order = tuple(chance.sample(names, chance.randrange(min(3, len(names)) + 1)))
                order = tuple(one for one in order if self.tables[table.relation][one] not in UNSORTED)
                yield Key(name, type_, table.name, value=self._template(value[:3]), order=order)


def names_of(schema: Schema) -> list[str]:
    """As a model says them."""
    return [write_name(None, name) for name in schema.tables]
