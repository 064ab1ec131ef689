"""The verifier on models of any shape: literals for each type, damage of every kind for each type of key."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
import redis
from migrating import run_sql

from helpers import migration, model as models
from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.servers import connections
from helpers.source import Source
from helpers.target import connect

Redis = redis.Redis

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'so:so', '50%');
CREATE TYPE spot AS (x int, label text);
CREATE DOMAIN code AS text CHECK (value <> '')
"""
LITERALS: list[tuple[str, str, bytes]] = [
    ("integer", "-7", b"-7"),
    ("smallint", "-32768", b"-32768"),
    ("bigint", "-9223372036854775808", b"-9223372036854775808"),
    ("oid", "4294967295", b"4294967295"),
    ("numeric", "19.90", b"19.90"),
    ("numeric(10,2)", "5", b"5.00"),
    ("numeric", "'-Infinity'", b"-Infinity"),
    ("numeric", "1e30", b"1000000000000000000000000000000"),
    ("real", "0.1", b"0.1"),
    ("double precision", "0.1", b"0.1"),
    ("double precision", "1e300", b"1e+300"),
    ("double precision", "'-0'", b"-0"),
    ("double precision", "'NaN'", b"NaN"),
    ("boolean", "true", b"true"),
    ("boolean", "false", b"false"),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("text", "E'a:b%{c}\\n\"\\\\ é\u2028'", 'a:b%{c}\n"\\ é\u2028'.encode()),
    ("text", "''", b""),
    ("text", "chr(1) || chr(127)", b"\x01\x7f"),
    ("varchar(9)", "'%25'", b"%25"),
    ("char(5)", "'ab'", b"ab   "),
    ("name", "'n'", b"n"),
    ("timestamp", "'2026-11-22 10:00'", b"2026-11-22T10:00:00.000000"),
    ("timestamp", "'0001-01-01'", b"0001-01-01T00:00:00.000000"),
    ("timestamp(0)", "'9999-12-31 23:59:59'", b"9999-12-31T23:59:59.000000"),
    ("timestamptz", "'2026-11-22 10:00:00.5+05:30'", b"2026-11-22T04:30:00.500000Z"),
    ("date", "'1969-12-31'", b"1969-12-31"),
    ("time", "'10:00'", b"10:00:00"),
    ("time", "'23:59:59.120300'", b"23:59:59.1203"),
    ("time", "'24:00'", b"24:00:00"),
    ("timetz", "'10:00:00+05:30:15'", b"10:00:00+05:30:15"),
    ("interval", "'1 day -2 hours'", b"P1DT-2H"),
    ("bytea", "'\\x00ff25'", b"\x00\xff%"),
    ("json", "'{\"a\" : 1}'", b'{"a" : 1}'),
    ("jsonb", "'{\"a\":1}'", b'{"a": 1}'),
    ("inet", "'10.0.0.1/8'", b"10.0.0.1/8"),
    ("inet", "'10.0.0.1'", b"10.0.0.1"),
    ("cidr", "'10.0.0.0/8'", b"10.0.0.0/8"),
    ("integer[]", "'{1,NULL,3}'", b"{1,NULL,3}"),
    ("text[]", "ARRAY['a','{\"']", b'{a,"{\\""}'),
    ("int4range", "'[1,4]'", b"[1,5)"),
    ("int4multirange", "'{[1,4]}'", b"{[1,5)}"),
    ("point", "'(1,2.5)'", b"(1,2.5)"),
    ("bit(3)", "B'101'", b"101"),
    ("money", "1234.5", b"$1,234.50"),
    ("tsvector", "'b a'", b"'a' 'b'"),
    ("mood", "'so:so'", b"so:so"),
    ("mood[]", "ARRAY['sad', '50%']::mood[]", b"{sad,50%}"),
    ("spot", "ROW(1, 'x,y')", b'(1,"x,y")'),
    ("spot", "ROW(NULL, NULL)", b"(,)"),
    ("code", "'c'", b"c"),
    ('"char"', "'x'", b"x"),
]
"""Type, a value in SQL, and its canonical text."""
FAR: list[tuple[str, str]] = [
    ("timestamp", "infinity"),
    ("timestamp", "-infinity"),
    ("timestamp", "0044-03-15 01:02:03.5 BC"),
    ("timestamp", "0001-12-31 00:00:00 BC"),
    ("timestamp", "10000-01-01 00:00:00"),
    ("timestamp", "294276-12-31 23:59:59.999999"),
    ("timestamp", "4713-01-01 00:00:00 BC"),
    ("timestamptz", "infinity"),
    ("timestamptz", "0044-03-15 00:00:00.000001+00 BC"),
    ("timestamptz", "294276-12-31 23:59:59+00"),
    ("date", "infinity"),
    ("date", "-infinity"),
    ("date", "4713-01-01 BC"),
    ("date", "0001-01-01 BC"),
    ("date", "5874897-12-31"),
]
"""Type, and a value in PostgreSQL's own text, which is the canonical one."""


def escaped(text: bytes) -> bytes:
    """A text as it stands in a name."""
    return b"".join(b"%%%02X" % byte if byte in b"%:{}" else bytes((byte,)) for byte in text)


def in_template(type_: str, text: bytes) -> bytes:
    """A canonical text as it stands in a template that is not that column alone."""
    return b"\\x" + text.hex().encode() if type_ == "bytea" else text


@contextlib.contextmanager
def opened(source: str, target: str, model: Any) -> Iterator[tuple[Source, Any]]:
    with Source(source, model) as snapshot:
        connection = connect(target)
        try:
            yield snapshot, connection
        finally:
            connection.close()


def compared(source: str, target: str, model: Any) -> dict[str, Any]:
    with opened(source, target, model) as (snapshot, connection):
        return verification.compare(snapshot, connection, progress=False)


def found_in(result: dict[str, Any]) -> list[dict[str, Any]]:
    """All differences, as they stand in the file."""
    if result["difference_file"] is None:
        return []
    with open(result["difference_file"], encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def free(type_: str) -> bool:
    """Whether any letter may stand in the text of a type, so that it has escapes in a name."""
    with_their_own = ("integer", "smallint", "bigint", "oid", "real", "double precision", "boolean", "uuid")
    return type_ not in (*with_their_own, "bytea", "date", "time") and not type_.startswith(
        ("numeric", "timestamp")
    )


def everywhere(columns: list[str]) -> models.Model:
    """A model in which each column stands in a hash, in JSON, alone, in a name and in a member."""
    keys = [models.Key("h:{id}", "hash", "t"), models.Key("j:{id}", "string", "t")]
    for i, column in enumerate(columns):
        keys.append(models.Key(f"v{i}:{{id}}", "string", "t", value=f"{{{column}}}"))
        keys.append(models.Key(f"n{i}:{{{column}}}", "set", "t", value=f"{{id}}|{{{column}}}"))
    return models.Model(keys)


@pytest.fixture
def literals(postgres_url: str, redis_url: str) -> tuple[str, str, models.Model, Redis]:
    """A row with a value of each type, and by hand what Redis must hold of it; a row of NULLs beside it."""
    columns = [f"c{i}" for i in range(len(LITERALS))]
    defined = ", ".join(f"{c} {type_}" for c, (type_, *_) in zip(columns, LITERALS, strict=True))
    values = ", ".join(value for _, value, _ in LITERALS)
    run_sql(
        postgres_url,
        TYPES,
        f"CREATE TABLE t (id integer PRIMARY KEY, {defined})",
        f"INSERT INTO t VALUES (1, {values})",
        "INSERT INTO t (id) VALUES (2)",
    )
    client = connections.redis(redis_url)
    fields = {"id": b"1", **{c: text for c, (*_, text) in zip(columns, LITERALS, strict=True)}}
    client.hset("h:1", mapping=fields)
    client.hset("h:2", "id", "2")
    plain = {"id": "1"}
    for i, (column, (type_, _, text)) in enumerate(zip(columns, LITERALS, strict=True)):
        plain[column] = in_template(type_, text).decode()
        client.set(f"v{i}:1", text)
        inside = in_template(type_, text)
        client.sadd(b"n%d:%b" % (i, escaped(inside) if free(type_) else inside), b"1|" + inside)
    client.set("j:1", json.dumps(plain, ensure_ascii=False, separators=(",", ":")))
    client.set("j:2", '{"id":"2"}')
    return postgres_url, redis_url, everywhere(columns), client


def test_literals_of_every_type(literals: tuple[str, str, models.Model, Redis]) -> None:
    source, target, model, _ = literals
    result = compared(source, target, model)
    assert found_in(result) == []
    assert result["rows_checked"] == {"t": 2}
    assert sum(result["keys_checked"].values()) == 4 + 2 * len(LITERALS)


def test_every_type_is_looked_at(literals: tuple[str, str, models.Model, Redis]) -> None:
    source, target, model, client = literals
    for i in range(len(LITERALS)):
        client.hset("h:1", f"c{i}", "?")
        client.append(f"v{i}:1", " ")
    found = found_in(compared(source, target, model))
    altered = {one["field"]: one["expected"] for one in found if one["problem"] == "altered field"}
    shown = {f"c{i}": text.decode(errors="backslashreplace") for i, (*_, text) in enumerate(LITERALS)}
    assert altered == shown
    values = {one["key"]: one["expected"] for one in found if one["problem"] == "altered value"}
    assert values == {f"v{i}:1": text for i, text in enumerate(shown.values())}
    assert len(found) == 2 * len(LITERALS)


def test_keys_of_every_type_are_known_to_be_right_or_too_many(
    literals: tuple[str, str, models.Model, Redis],
) -> None:
    """Where a key is missing, all are scanned and the snapshot is asked for each."""
    source, target, model, client = literals
    client.delete("h:2")
    others = {
        "n0:-8", "n1:99999", "n2:9223372036854775808", "n3:4294967296", "n3:-1", "n4:19.9", "n5:5.0",
        "n6:NaN", f"n7:{10**200}", "n7:0." + "0" * 17_000 + "1", "n8:0.10000000149011612", "n8:1e+300",
        "n9:1e+999", "n10:1e-999", "n11:0", "n12:0", "n13:false", "n14:true",
        "n15:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", "n16:a", "n17:x", "n19:%", "n19:%25", "n20:ab", "n20:ab    ",
        "n22:2026-11-22T10:00:00.000001", "n22:2026-02-30T10:00:00.000000", "n22:0000-01-01T00:00:00.000000",
        "n25:2026-11-22T10:00:00.500000Z", "n26:1969-02-30", "n26:1969-12-30", "n27:10:00:00.0", "n27:99:00:00",
        "n28:23:59:59.12030", "n32:\\x00ff", "n35:10.0.0.1", "n35:no address", "n46:so%3Aso ", "n46:so%3ano",
        "n48:(1,\"x,y\",)",
    }  # fmt: skip
    odd = [b"n16:\xff", b"n16:\x00", "n16:ü".encode()]
    for key in [*others, *odd]:
        client.set(key, "x")
    found = found_in(compared(source, target, model))
    extra = {one["key"] for one in found if one["problem"] == "extra key"}
    assert extra == others - {"n19:%", "n46:so%3ano"} | {"n16:\\xff", "n16:\x00", "n16:ü"}
    assert [one["key"] for one in found if one["problem"] != "extra key"] == ["h:2"]


def test_dates_without_a_form_in_iso_8601(postgres_url: str, redis_url: str) -> None:
    defined = ", ".join(f"c{i} {type_}" for i, (type_, _) in enumerate(FAR))
    run_sql(
        postgres_url,
        f"CREATE TABLE t (id integer PRIMARY KEY, {defined})",
        "INSERT INTO t VALUES (1, " + ", ".join(f"'{text}'" for _, text in FAR) + ")",
    )
    client = connections.redis(redis_url)
    fields = {"id": "1", **{f"c{i}": text for i, (_, text) in enumerate(FAR)}}
    client.hset("h:1", mapping=fields)
    client.set("j:1", json.dumps(fields, separators=(",", ":")))
    model = models.Model([models.Key("h:{id}", "hash", "t"), models.Key("j:{id}", "string", "t")])
    assert found_in(compared(postgres_url, redis_url, model)) == []
    for name in fields.keys() - {"id"}:
        client.hset("h:1", name, "?")
    found = found_in(compared(postgres_url, redis_url, model))
    assert {one["field"]: one["expected"] for one in found} == {n: t for n, t in fields.items() if n != "id"}
