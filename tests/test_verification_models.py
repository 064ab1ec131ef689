"""The verifier on models of any shape: literals for each type, damage of every kind for each type of key."""
# ruff: noqa: E501  # tables of literals

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st
from migrating import run_sql, swap

from helpers import migration, model as models
from helpers.errors import HelpersError
from helpers.migration import comparing, verification
from helpers.migration.inspector import Inspector
from helpers.servers import connections
from helpers.servers.redis_cluster import Cluster
from helpers.source import Source, SourceLost
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
    return [json.loads(line) for line in Path(result["difference_file"]).read_text("utf-8").split("\n")[:-1]]


def free(type_: str) -> bool:
    """Whether any letter may stand in the text of a type, so that it has escapes in a name."""
    with_their_own = ("integer", "smallint", "bigint", "oid", "real", "double precision", "boolean", "uuid")
    return type_ not in (*with_their_own, "bytea", "date", "time") and not type_.startswith(
        ("numeric", "timestamp")
    )


def everywhere(columns: list[str]) -> models.Model:
    """A model in which each column stands in a hash, in JSON, alone, in a name and in a member."""
    keys = [models.Key("h:{id}", "hash", "t"), models.Key("j:{id}", "string", "t")]
    keys.append(models.Key("o:{id}", "string", "t", fields={'a "b"': "c0", "é": "c1"}))
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
    fields: dict[Any, Any] = {
        "id": b"1",
        **{c: text for c, (*_, text) in zip(columns, LITERALS, strict=True)},
    }
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
    client.set("o:1", '{"a \\"b\\"":"-7","é":"-32768"}')
    client.set("o:2", "{}")
    return postgres_url, redis_url, everywhere(columns), client


def test_literals_of_every_type(literals: tuple[str, str, models.Model, Redis]) -> None:
    source, target, model, _ = literals
    result = compared(source, target, model)
    assert found_in(result) == []
    assert result["rows_checked"] == {"t": 2}
    assert sum(result["keys_checked"].values()) == 6 + 2 * len(LITERALS)


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
    for key in others:
        client.set(key, "x")
    for odd in (b"n16:\xff", b"n16:\x00", "n16:ü".encode()):
        client.set(odd, "x")
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
    fields: dict[Any, Any] = {"id": "1", **{f"c{i}": text for i, (_, text) in enumerate(FAR)}}
    client.hset("h:1", mapping=fields)
    client.set("j:1", json.dumps(fields, separators=(",", ":")))
    model = models.Model([models.Key("h:{id}", "hash", "t"), models.Key("j:{id}", "string", "t")])
    assert found_in(compared(postgres_url, redis_url, model)) == []
    for name in fields.keys() - {"id"}:
        client.hset("h:1", name, "?")
    found = found_in(compared(postgres_url, redis_url, model))
    assert {one["field"]: one["expected"] for one in found} == {n: t for n, t in fields.items() if n != "id"}


SHOP = """
CREATE TABLE customer (code text PRIMARY KEY, city text, vip boolean NOT NULL, born date);
CREATE TABLE item (
  customer text NOT NULL, number integer NOT NULL, ref uuid NOT NULL UNIQUE, price numeric(8,2) NOT NULL,
  weight double precision NOT NULL, at timestamptz NOT NULL, note text, PRIMARY KEY (customer, number)
);
INSERT INTO customer SELECT 'c:' || n, CASE WHEN n % 3 = 0 THEN NULL WHEN n = 4 THEN repeat('long ', 30)
  ELSE 'city ' || n END, n % 2 = 0, date '1990-01-01' + n FROM generate_series(1, 6) n;
INSERT INTO item SELECT 'c:' || 1 + n % 4, n, md5(n::text)::uuid, n % 5 + 0.5, n / 7.0,
  timestamptz '2026-05-01 00:00+00' + n * interval '1 min', CASE WHEN n % 10 = 0 THEN NULL ELSE 'n:' || n % 3 END
  FROM generate_series(1, 40) n
"""
SHOP_MODEL = """
[[key]]
name = "customer:{code}"
type = "hash"
table = "customer"

[[key]]
name = "json:{code}"
type = "string"
table = "customer"
fields = { name = "code", city = "city" }

[[key]]
name = "line:{code}"
type = "string"
table = "customer"
value = "{code} {vip}"

[[key]]
name = "vips:{vip}"
type = "set"
table = "customer"
value = "{code}"

[[key]]
name = "everyone"
type = "set"
table = "customer"
value = "{code}"

[[key]]
name = "born"
type = "list"
table = "customer"
value = "{born}"
order = ["born"]

[[key]]
name = "items:{customer}"
type = "list"
table = "item"
value = "{ref}:{at}"
order = ["at"]

[[key]]
name = "price:{customer}"
type = "sorted_set"
table = "item"
value = "{number}:{note}"
score = "price"

[[key]]
name = "weight:{customer}"
type = "sorted_set"
table = "item"
value = "{number}"
score = "weight"
"""
ONE, TWO = "c%3A1", "c%3A2"
"""Customers, as they stand in names."""
DAMAGE: dict[str, tuple[Callable[[Any], Any], str, str | None, str]] = {
    "hash missing": (lambda r: r.delete(f"customer:{ONE}"), f"customer:{ONE}", None, "missing key"),
    "field altered": (
        lambda r: r.hset(f"customer:{ONE}", "vip", "true"), f"customer:{ONE}", "vip", "altered field"
    ),
    "field missing": (lambda r: r.hdel(f"customer:{ONE}", "city"), f"customer:{ONE}", "city", "missing field"),
    "field too many": (lambda r: r.hset("customer:c%3A3", "city", ""), "customer:c%3A3", "city", "extra field"),
    "long hash missing": (lambda r: r.delete("customer:c%3A4"), "customer:c%3A4", None, "missing key"),
    "field altered beside a long one": (
        lambda r: r.hset("customer:c%3A4", "vip", "t"), "customer:c%3A4", "vip", "altered field"
    ),
    "field missing beside a long one": (
        lambda r: r.hdel("customer:c%3A4", "born"), "customer:c%3A4", "born", "missing field"
    ),
    "field too many beside a long one": (
        lambda r: r.hset("customer:c%3A4", "x", ""), "customer:c%3A4", "x", "extra field"
    ),
    "long hash of another type": (lambda r: r.set("customer:c%3A4", "x"), "customer:c%3A4", None, "wrong type"),
    "JSON missing": (lambda r: r.delete(f"json:{ONE}"), f"json:{ONE}", None, "missing key"),
    "JSON with a space": (
        lambda r: r.set(f"json:{ONE}", '{"name": "c:1","city":"city 1"}'), f"json:{ONE}", None, "altered value"
    ),
    "JSON with null": (
        lambda r: r.set("json:c%3A3", '{"name":"c:3","city":null}'), "json:c%3A3", None, "altered value"
    ),
    "JSON of another type": (
        lambda r: (r.delete(f"json:{ONE}"), r.rpush(f"json:{ONE}", "x")), f"json:{ONE}", None, "wrong type"
    ),
    "string missing": (lambda r: r.delete(f"line:{TWO}"), f"line:{TWO}", None, "missing key"),
    "string altered": (lambda r: r.append(f"line:{TWO}", " "), f"line:{TWO}", None, "altered value"),
    "set missing": (lambda r: r.delete("vips:true"), "vips:true", None, "missing key"),
    "set of another type": (lambda r: r.set("vips:true", "x"), "vips:true", None, "wrong type"),
    "member missing": (lambda r: r.srem("vips:true", "c:2"), "vips:true", "c:2", "missing member"),
    "member too many": (lambda r: r.sadd("vips:true", "c:1"), "vips:true", "c:1", "extra member"),
    "member renamed": (
        lambda r: (r.srem("vips:true", "c:2"), r.sadd("vips:true", "c%3A2")), "vips:true", "c%3A2", "extra member"
    ),
    "all members others": (
        lambda r: (r.delete("vips:true"), r.sadd("vips:true", "x")), "vips:true", "c:2", "missing member"
    ),
    "all scored members others": (
        lambda r: (r.delete(f"price:{TWO}"), r.zadd(f"price:{TWO}", {"x": 1})), f"price:{TWO}", "1:n:1", "missing member"
    ),
    "member of the one set": (lambda r: r.sadd("everyone", b"\xff"), "everyone", "\\xff", "extra member"),
    "the one set missing": (lambda r: r.delete("everyone"), "everyone", None, "missing key"),
    "the one list cut": (lambda r: r.rpop("born"), "born", "5", "missing element"),
    "list missing": (lambda r: r.delete(f"items:{ONE}"), f"items:{ONE}", None, "missing key"),
    "element altered": (lambda r: r.lset(f"items:{ONE}", 3, "x"), f"items:{ONE}", "3", "wrong element"),
    "elements swapped": (lambda r: swap(r, f"items:{ONE}"), f"items:{ONE}", "0", "wrong element"),
    "element too many": (lambda r: r.rpush(f"items:{ONE}", "x"), f"items:{ONE}", "10", "extra element"),
    "element too many in the last list but one": (
        lambda r: r.rpush("items:c%3A3", "x"), "items:c%3A3", "10", "extra element"
    ),
    "element too many in the last list": (
        lambda r: r.rpush("items:c%3A4", "x"), "items:c%3A4", "10", "extra element"
    ),
    "element missing": (
        lambda r: r.lrem(f"items:{ONE}", 1, r.lindex(f"items:{ONE}", 4)), f"items:{ONE}", "4", "missing element"
    ),
    "sorted set missing": (lambda r: r.delete(f"price:{ONE}"), f"price:{ONE}", None, "missing key"),
    "sorted set of another type": (lambda r: r.set(f"price:{ONE}", "x"), f"price:{ONE}", None, "wrong type"),
    "score wrong among equal ones": (
        lambda r: r.zincrby(f"price:{TWO}", 0.25, "1:n:1"), f"price:{TWO}", "1:n:1", "wrong score"
    ),
    "scored member missing": (lambda r: r.zrem(f"price:{TWO}", "1:n:1"), f"price:{TWO}", "1:n:1", "missing member"),
    "scored member too many": (
        lambda r: r.zadd(f"price:{TWO}", {"1:n:2": 1}), f"price:{TWO}", "1:n:2", "extra member"
    ),
    "weight off by one bit": (
        lambda r: r.zadd(f"weight:{TWO}", {"1": 1 / 7 + 2**-55}), f"weight:{TWO}", "1", "wrong score"
    ),
    "weighed member renamed": (
        lambda r: (r.zrem(f"weight:{TWO}", "1"), r.zadd(f"weight:{TWO}", {"01": 1 / 7})),
        f"weight:{TWO}", "01", "extra member",
    ),
    "hash too many": (lambda r: r.hset("customer:c%3A9", "x", "y"), "customer:c%3A9", None, "extra key"),
    "sorted set too many": (lambda r: r.sadd("price:c%3A6", "x"), "price:c%3A6", None, "extra key"),
    "what is of no key beside one too many": (
        lambda r: (r.set("customer:c:9", "x"), r.set("vips:maybe", "x"), r.set("vips:false2", "x"),
                   r.set("line:", "x")),
        "line:", None, "extra key",
    ),
}  # fmt: skip


@pytest.fixture
def shop(postgres_url: str, redis_url: str) -> tuple[str, str, Redis]:
    run_sql(postgres_url, SHOP)
    result = migration.migrate(postgres_url, redis_url, model=SHOP_MODEL, progress=False)
    assert result["status"] == "verified", result["by_problem"]
    return postgres_url, redis_url, connections.redis(redis_url)


@pytest.mark.parametrize("window_rows", [3, comparing.WINDOW_ROWS])
def test_damage_of_every_kind_is_named_and_mended(
    shop: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch, window_rows: int
) -> None:
    monkeypatch.setattr(comparing, "WINDOW_ROWS", window_rows)
    source, target, client = shop
    for name, (damage, key, field, problem) in DAMAGE.items():
        damage(client)
        result = verification.verify(source, target, progress=False)
        found = found_in(result)
        named = {(d["key"], d["field"], d["problem"]) for d in found}
        assert (key, field, problem) in named, name
        assert len(named) == len(found), name
        assert {one["key"] for one in found} == {key}, name
        again = migration.migrate(source, target, model=SHOP_MODEL, progress=False)
        assert again["status"] == "verified", name
        assert again["caught_up"] == result["by_problem"], name
        client.delete("customer:c:9", "vips:maybe", "vips:false2")


DAMAGES = st.sampled_from(
    [
        lambda r, key, other, n: r.delete(key),
        lambda r, key, other, n: r.rename(key, other),
        lambda r, key, other, n: r.copy(key, other, replace=True),
        lambda r, key, other, n: r.set(key, "x"),
        lambda r, key, other, n: r.append(key, "" if n % 2 else "x"),
        lambda r, key, other, n: r.setrange(key, 0, "{"),
        lambda r, key, other, n: r.sadd(key, f"c:{n % 9}"),
        lambda r, key, other, n: r.srem(key, f"c:{n % 9}"),
        lambda r, key, other, n: (r.srem(key, "c:1"), r.sadd(key, f"c:{n}")),
        lambda r, key, other, n: r.hset(key, "city", f"city {n % 9}"),
        lambda r, key, other, n: r.hdel(key, *r.hkeys(key)[:1]),
        lambda r, key, other, n: r.hset(key, f"{n}", ""),
        lambda r, key, other, n: r.lset(key, n % r.llen(key), r.lindex(key, 0)),
        lambda r, key, other, n: r.lmove(key, key, "LEFT", "RIGHT"),
        lambda r, key, other, n: r.lrem(key, 1, r.lindex(key, n % r.llen(key))),
        lambda r, key, other, n: r.rpush(key, r.lindex(key, 0)),
        lambda r, key, other, n: r.zincrby(key, n % 2, r.zrange(key, n % 3, n % 3)[0]),
        lambda r, key, other, n: (r.zpopmax(key), r.zadd(key, {f"{n}": n % 5})),
        lambda r, key, other, n: r.zadd(
            key, {r.zrange(key, 0, 0)[0]: r.zscore(key, r.zrange(key, -1, -1)[0])}
        ),
        lambda r, key, other, n: r.zadd(key, {b"\xff": 1}),
    ]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(DAMAGES, st.integers(0, 99), st.integers(0, 99), st.integers(0, 30)), min_size=1, max_size=4
    ),
    st.sampled_from([1, 3, 20_000]),
)
def test_any_damage_is_found_and_none_is_imagined(
    shop: tuple[str, str, Redis], damages: list[tuple[Callable[..., Any], int, int, int]], window_rows: int
) -> None:
    source, target, client = shop
    before = held(client)
    strays = [
        "customer:c%3A9",
        "json:x",
        "line:",
        "vips:true",
        "everyone",
        "born",
        "items:c%3A6",
        "price:c%3A5",
    ]
    for damage, which, where, number in damages:
        keys = sorted(before)
        with contextlib.suppress(redis.RedisError, ZeroDivisionError, IndexError, TypeError):
            damage(
                client, keys[which % len(keys)], [*strays, *keys][where % (len(keys) + len(strays))], number
            )
    after = held(client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "WINDOW_ROWS", window_rows)
        assert (verification.verify(source, target, progress=False)["differences"] == 0) == (before == after)
        again = migration.migrate(source, target, model=SHOP_MODEL, progress=False)
    assert again["status"] == "verified"
    assert held(client) == before


def held(client: Any) -> dict[bytes, Any]:
    """What every key of the model holds."""
    reads: dict[bytes, Callable[[bytes], Any]] = {
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"string": client.get,
    }
    return {
        key: reads[client.type(key)](key) for key in client.scan_iter() if not key.startswith(b"migration:")
    }


def test_damage_in_a_cluster(postgres_url: str, nodes: Cluster) -> None:
    run_sql(postgres_url, SHOP)
    target = nodes.urls[0]
    loaded = migration.migrate(postgres_url, target, model=SHOP_MODEL, progress=False)
    assert (loaded["status"], loaded["differences"]) == ("verified", 0)
    client = nodes.client()
    wanted: dict[tuple[str, str | None, str], int] = {}
    for name in ("field altered beside a long one", "JSON missing", "member renamed", "the one list cut",
                 "elements swapped", "scored member missing", "weight off by one bit", "sorted set too many"):  # fmt: skip
        damage, key, field, problem = DAMAGE[name]
        damage(client)
        wanted[key, field, problem] = 1
    found = found_in(verification.verify(postgres_url, target, progress=False))
    assert wanted.keys() <= {(d["key"], d["field"], d["problem"]) for d in found}
    assert {d["key"] for d in found} == {key for key, *_ in wanted}
    assert migration.migrate(postgres_url, target, model=SHOP_MODEL, progress=False)["status"] == "verified"


def test_what_is_checked_is_counted(shop: tuple[str, str, Redis]) -> None:
    source, target, _ = shop
    result = verification.verify(source, target, progress=False)
    assert result["rows_checked"] == {"customer": 6, "item": 40}
    assert result["keys_checked"] == {
        "customer": 6, "json": 6, "line": 6, "vips": 2, "everyone": 1, "born": 1,
        "items": 4, "price": 4, "weight": 4,
    }  # fmt: skip


def test_the_model_is_the_recorded_one_and_another_is_refused(shop: tuple[str, str, Redis]) -> None:
    source, target, _ = shop
    same = verification.verify(source, target, model=SHOP_MODEL, progress=False)
    assert same["differences"] == 0
    with pytest.raises(HelpersError, match="another model"):
        verification.verify(source, target, model=SHOP_MODEL.replace("born", "birth", 1), progress=False)
    with pytest.raises(HelpersError, match="another model"):
        other = models.Model([models.Key("customer:{code}", "hash", "customer")])
        verification.verify(source, target, model=other, progress=False)
    found = verification.verify(source, target, model=other, prefix="else:", progress=False)
    assert found["by_problem"] == {"missing key": 6}


def test_equal_scores_over_many_windows(
    shop: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL puts them in the order of the key, Redis in that of their bytes."""
    source, target, client = shop
    monkeypatch.setattr(comparing, "WINDOW_ROWS", 50)
    run_sql(
        source,
        "INSERT INTO item SELECT 'c:1', n, md5(n::text)::uuid, n % 2, (n % 3)::float8 / 3, "
        "'2027-01-01+00', 'x' FROM generate_series(95, 1105) n",
    )
    assert migration.migrate(source, target, model=SHOP_MODEL, progress=False)["status"] == "verified"
    client.zadd(f"weight:{ONE}", {"1000": 0.5})
    client.zrem(f"price:{ONE}", "1001:x")
    found = found_in(verification.verify(source, target, progress=False))
    assert {(d["key"], d["field"], d["problem"]) for d in found} == {
        (f"weight:{ONE}", "1000", "wrong score"),
        (f"price:{ONE}", "1001:x", "missing member"),
    }


SCORES = (
    "1e-7",
    "1e-5",
    "0.0001",
    "123456789.125",
    "1e15",
    "1e20",
    "1e22",
    "5e-324",
    "1.7976931348623157e308",
    "-0",
)


def test_scores_that_redis_writes_in_another_way(postgres_url: str, redis_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t (id integer PRIMARY KEY, f double precision, r real, b bigint, n numeric)",
        *(
            f"INSERT INTO t VALUES ({i}, '{text}', 0.1, {2**62 + i}, 1e30 + {i})"
            for i, text in enumerate(SCORES)
        ),
    )
    model = models.Model(
        [models.Key(f"{c}s", "sorted_set", "t", value="{id}", score=c) for c in ("f", "r", "b", "n")]
    )
    client = connections.redis(redis_url)
    for i, text in enumerate(SCORES):
        for kind, score in (("fs", text), ("rs", "0.1"), ("bs", str(2**62 + i)), ("ns", f"{10**30 + i}")):
            client.execute_command("ZADD", kind, score, str(i))
    assert found_in(compared(postgres_url, redis_url, model)) == []
    client.zadd("rs", {"3": 0.10000000149011612})
    client.zadd("bs", {"4": 2**62 + 2**10})
    client.zadd("fs", {"5": 1e20 + 2**15})
    found = found_in(compared(postgres_url, redis_url, model))
    assert {(one["key"], one["field"], one["problem"]) for one in found} == {
        (key, field, "wrong score") for key, field in (("rs", "3"), ("bs", "4"), ("fs", "5"))
    }


def test_what_is_as_it_should_be_is_not_looked_at_twice(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values too long for Redis to keep fields in order, scores beyond 2 to the 53rd, and many equal ones."""
    run_sql(
        postgres_url,
        "CREATE TABLE t (id bigint PRIMARY KEY, name text, at timestamptz NOT NULL, more text)",
        "INSERT INTO t SELECT (1::int8 << 60) + n * 1000, CASE WHEN n % 3 > 0 THEN repeat('x', n) END, "
        "'9000-01-01+00'::timestamptz + n / 3 * interval '1 us', repeat('y', n) FROM generate_series(1, 200) n",
    )
    model = models.Model(
        [
            models.Key("t:{id}", "hash", "t"),
            models.Key("j:{id}", "string", "t"),
            models.Key("ids", "sorted_set", "t", value="{id}", score="id"),
            models.Key("times", "sorted_set", "t", value="{id}", score="at"),
        ]
    )
    migration.migrate(postgres_url, redis_url, model=model, verify=False, progress=False)
    monkeypatch.setattr(Inspector, "inspect", lambda *_: pytest.fail("replies differ"))
    assert compared(postgres_url, redis_url, model)["rows_checked"] == {"t": 200}


def test_lists_are_in_the_order_of_values_not_of_their_texts(postgres_url: str, redis_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t (id integer PRIMARY KEY, n numeric, f double precision, v0 text, i interval)",
        "INSERT INTO t VALUES (1, 9, 9, 'b', '2 days'), (2, 10, 10, 'c', '10 days'), (3, -1, -1, 'a', '1 hour'), "
        "(4, 9, 9, 'b', '2 days')",
    )
    model = models.Model(
        [
            models.Key(f"by_{c}", "list", "t", value=f"{{{c}}}|{{id}}", order=[c])
            for c in ("n", "f", "v0", "i")
        ]
    )
    client = connections.redis(redis_url)
    client.rpush("by_n", "-1|3", "9|1", "9|4", "10|2")
    client.rpush("by_f", "-1|3", "9|1", "9|4", "10|2")
    client.rpush("by_v0", "a|3", "b|1", "b|4", "c|2")
    client.rpush("by_i", "PT1H|3", "P2D|1", "P2D|4", "P10D|2")
    assert found_in(compared(postgres_url, redis_url, model)) == []


def test_a_member_of_a_row_that_is_left_out_is_too_many(source: str, redis_url: str) -> None:
    """Beyond 2255 two moments may have one score; then the row with the lower number, and the later one, goes."""
    run_sql(
        source,
        "INSERT INTO activities VALUES (202, 5, 'x', '9998-01-01 00:00:00.000001'), "
        "(201, 5, 'x', '9998-01-01 00:00:00.000002')",
    )
    result = migration.migrate(source, redis_url, progress=False)
    assert (result["status"], result["rejects_by_reason"]) == ("verified", {"score_order": 1})
    client = connections.redis(redis_url)
    key = "user:5:activities:by_time"
    client.zadd(key, {"201:x": client.zscore(key, "202:x") or 0})
    (found,) = found_in(verification.verify(source, redis_url, progress=False))
    assert (found["key"], found["field"], found["problem"]) == (key, "201:x", "extra member")
    assert migration.migrate(source, redis_url, progress=False)["status"] == "verified"
    assert client.zrange(key, 0, -1) == [b"202:x"]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_databases_of_other_encodings(postgres_server: str, redis_url: str, encoding: str) -> None:
    name = f"test_{encoding.lower()}"
    admin = connections.postgres(postgres_server)
    admin.autocommit = True
    cursor = admin.cursor()
    cursor.execute(f"DROP DATABASE IF EXISTS {name}")
    cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    parts = urlsplit(postgres_server)
    url = parts._replace(path=f"/{name}").geturl()
    letter = {"LATIN1": "é", "SQL_ASCII": "€", "EUC_JP": "日"}[encoding]
    try:
        connection = connections.postgres(url)
        with connection, connection.cursor() as rows:
            connection.set_client_encoding("SQL_ASCII" if encoding == "SQL_ASCII" else "UTF8")
            rows.execute("CREATE TABLE t (name text PRIMARY KEY, tags text[])")
            rows.execute(f"INSERT INTO t VALUES ('{letter}', ARRAY['{letter}', 'x']), ('b:', NULL)".encode())
        connection.close()
        client = connections.redis(redis_url)
        client.hset(f"h:{letter}", mapping={"name": letter, "tags": f"{{{letter},x}}"})
        client.hset("h:b%3A", "name", "b:")
        client.set(f"j:{letter}", f'{{"name":"{letter}","tags":"{{{letter},x}}"}}')
        client.set("j:b%3A", '{"name":"b:"}')
        client.sadd("all", letter, "b:")
        model = models.Model(
            [
                models.Key("h:{name}", "hash", "t"),
                models.Key("j:{name}", "string", "t"),
                models.Key("all", "set", "t", value="{name}"),
            ]
        )
        assert found_in(compared(url, redis_url, model)) == []
        client.sadd("all", "中", b"\xff")
        client.delete("h:b%3A")
        client.set("h:中", "x")
        found = {
            (one["key"], one["field"], one["problem"]) for one in found_in(compared(url, redis_url, model))
        }
        assert found == {
            ("all", "中", "extra member"),
            ("all", "\\xff", "extra member"),
            ("h:b%3A", None, "missing key"),
            ("h:中", None, "extra key"),
        }
    finally:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.close()


@pytest.mark.parametrize("key", ["PRIMARY KEY (id)", "PRIMARY KEY (name, id)", "PRIMARY KEY (at, id)"])
def test_a_lost_reader_goes_on_where_it_was(postgres_url: str, redis_url: str, key: str) -> None:
    """Sessions that read are ended again and again; the one that keeps the snapshot is not.

    Rows are many times what buffers between PostgreSQL and the reader hold: a read is under way at nearly
    every window.
    """
    run_sql(
        postgres_url,
        f"CREATE TABLE t (id bigint, name text, at timestamptz, more text, {key})",
        "INSERT INTO t SELECT n, E'n\\\\''' || n % 1000, '2026-01-01+00'::timestamptz + n * interval '1 s', "
        "repeat('x', 600) FROM generate_series(1, 30000) n",
    )
    model = models.Model(
        [
            models.Key("t:{id}:{name}:{at}", "hash", "t"),
            models.Key("by:{name}", "list", "t", value="{id}:{more}", order=("at",)),
        ]
    )
    loaded = migration.migrate(postgres_url, redis_url, model=model, verify=False, progress=False)
    assert loaded["rows_read"] == {"t": 30_000}
    asked, ended = 0, 0
    schema = psycopg2.extensions.parse_dsn(postgres_url)["options"].partition("=")[2]
    admin = psycopg2.connect(postgres_url)
    admin.autocommit = True

    def end_readers() -> None:
        """Called with every window."""
        nonlocal asked, ended
        asked += 1
        if asked % 4 == 0 and ended < 4:
            with admin.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' "
                    f"AND query LIKE 'COPY%' AND query LIKE '%{schema}%'"
                )
                ended += cursor.rowcount

    with opened(postgres_url, redis_url, model) as (snapshot, connection):
        result = verification.compare(snapshot, connection, progress=False, idle=end_readers)
    admin.close()
    assert found_in(result) == []
    assert result["rows_checked"] == {"t": 30_000}
    assert result["keys_checked"] == {"t": 30_000, "by": 1000}
    assert ended > 1


def test_where_the_keeper_is_lost_it_begins_anew(shop: tuple[str, str, Redis]) -> None:
    source, target, _ = shop
    with opened(source, target, SHOP_MODEL) as (snapshot, connection):
        admin = connections.postgres(source)
        pid = snapshot.ask("SELECT pg_backend_pid()")[0][0]
        with admin, admin.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
        admin.close()
        with pytest.raises(SourceLost):
            verification.compare(snapshot, connection, progress=False)


def test_a_column_in_a_name_and_in_a_member(postgres_url: str, redis_url: str) -> None:
    """A member that another key must have is too many here."""
    run_sql(postgres_url, "CREATE TABLE t (name text PRIMARY KEY)", "INSERT INTO t VALUES ('a'), ('b')")
    model = models.Model([models.Key("s:{name}", "set", "t", value="{name}")])
    client = connections.redis(redis_url)
    client.sadd("s:a", "a", "b")
    client.sadd("s:b", "b")
    (found,) = found_in(compared(postgres_url, redis_url, model))
    assert (found["key"], found["field"], found["problem"]) == ("s:a", "b", "extra member")
