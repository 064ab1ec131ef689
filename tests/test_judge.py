"""The second judge finds what the verifier is tested with, and nothing where there is none; of any model."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest
from migrating import run_sql
from test_verification import DAMAGE

from helpers import migration
from helpers.servers import connections
from helpers.trials import general, judge

CLEAN = {"lost": 0, "doubled": 0, "altered": 0}


@pytest.fixture
def moved(source: str, redis_url: str) -> tuple[str, str]:
    """A source and its copy."""
    migration.migrate(source, redis_url, progress=False)
    return source, redis_url


def test_nothing_to_find(moved: tuple[str, str]) -> None:
    assert judge.compare(*moved) == CLEAN


@pytest.mark.parametrize("name", DAMAGE)
def test_every_damage_that_the_verifier_is_tested_with(moved: tuple[str, str], name: str) -> None:
    client = connections.redis(moved[1], decode_responses=True)
    DAMAGE[name][0](client)
    assert judge.compare(*moved) != CLEAN
    client.close()


@pytest.mark.parametrize(
    ("command", "verdict", "number"),
    [
        (("DEL", "order:3"), "lost", 1),
        (("HSET", "user:99", "username", "x"), "doubled", 1),
        (("HSET", "user:1", "username", "x"), "altered", 1),
        (("RPOP", "user:1:activities"), "lost", 1),
        (("RPUSH", "user:1:activities", "login:2026-02-01T00:00:00.000000"), "doubled", 1),
        (("LMOVE", "user:1:activities", "user:1:activities", "LEFT", "RIGHT"), "altered", 10),
        (("ZADD", "user:1:orders", 5, "77"), "doubled", 1),
        (("ZINCRBY", "user:2:orders", 1, "1"), "altered", 1),
        (("ZREM", "product:2:orders", "1"), "lost", 1),
    ],
)
def test_the_verdict_says_what_it_was(
    moved: tuple[str, str], command: tuple[Any, ...], verdict: str, number: int
) -> None:
    client = connections.redis(moved[1])
    client.execute_command(*command)
    client.close()
    assert judge.compare(*moved) == CLEAN | {verdict: number}


def test_keys_of_others_are_not_its_business(moved: tuple[str, str]) -> None:
    client = connections.redis(moved[1])
    client.set("session:1", "x")
    client.set("copy:user:1", "x")
    client.close()
    assert judge.compare(*moved) == CLEAN


def test_it_shares_no_code_with_what_it_judges() -> None:
    tree = ast.parse(Path(judge.__file__).read_text(encoding="utf-8"))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in found if (name or "").startswith("helpers")} == {"helpers.servers"}


TABLE = r"""
CREATE TYPE "Mood" AS ENUM ('a:b', '{c}');
CREATE TABLE "T} 1" (
    "A:b" text, n numeric, m "Mood", y boolean, b boolean, raw bytea, d date, t timestamp, z timestamptz,
    clock time, span interval, f float8, r real, list text[], i inet, c char(4), j json,
    "No" integer NOT NULL, PRIMARY KEY ("No", "A:b"));
DO $$ BEGIN  -- a type of one's own may be called as one of PostgreSQL's
    EXECUTE format('CREATE DOMAIN %I.bool AS boolean', current_schema());
    EXECUTE format('ALTER TABLE "T} 1" ALTER y TYPE %I.bool', current_schema());
END $$;
INSERT INTO "T} 1" VALUES
  (E'x:%{}\n', 1.50, 'a:b', 't', 't', '\x00ff', '2026-01-02', '2026-01-02 03:04:05.6',
   '2026-01-02 03:04:05.6+02', '10:00:00.25', '1 mon 2 days 00:00:03', 0.1, 1e20, ARRAY['a,b', NULL],
   '::1/64', 'x', '{"a":  1}', 7),
  ('', 'NaN', '{c}', 'f', 'f', '', '0044-03-15 BC', '12026-01-01', 'infinity', '24:00', '-1 day', '-0',
   'Infinity', '{}', '10.0.0.1', '', 'null', -7),
  ('tie', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0),
  ('only', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0)
"""
MODEL = """
[[key]]
name  = 'h:{No}:{"A:b"}'
type  = "hash"
table = '"T} 1"'
[[key]]
name   = "some:{No}:{A:b}"
type   = "hash"
table  = '"T} 1"'
fields = ["b", "m"]
[[key]]
name   = "j:{{{No}}}:{A:b}"
type   = "string"
table  = '"T} 1"'
fields = [{ who = "A:b" }, "raw", "b", { what = "m" }]
[[key]]
name  = "raw:{No}:{A:b}"
type  = "string"
table = '"T} 1"'
value = "{raw}"
[[key]]
name  = "l"
type  = "list"
table = '"T} 1"'
value = "{b}:{A:b}:{m}"
order = ["No"]
[[key]]
name  = "names"
type  = "list"
table = '"T} 1"'
value = "{A:b}"
order = ["No"]
[[key]]
name  = "s:{y}"
type  = "set"
table = '"T} 1"'
value = "{No}:{A:b}"
[[key]]
name  = "z:{clock}"
type  = "sorted_set"
table = '"T} 1"'
value = "{No}:{raw}:{A:b}"
score = "clock"
[[key]]
name  = "days"
type  = "sorted_set"
table = "days"
value = "{d}"
score = "d"
[[key]]
name  = "moments"
type  = "sorted_set"
table = "days"
value = "{d}"
score = "z"
[[key]]
name  = "more"
type  = "set"
table = "more_days"
value = "{d}"
[[key]]
name  = "scores"
type  = "sorted_set"
table = "scores"
value = "{id}"
score = "f"
"""
FIRST = {
    b"A:b": b"x:%{}\n", b"n": b"1.50", b"m": b"a:b", b"y": b"t", b"b": b"true", b"raw": b"\x00\xff",
    b"d": b"2026-01-02", b"t": b"2026-01-02T03:04:05.600000", b"z": b"2026-01-02T01:04:05.600000Z",
    b"clock": b"10:00:00.25", b"span": b"P1M2DT3S", b"f": b"0.1", b"r": b"1e+20", b"list": b'{"a,b",NULL}',
    b"i": b"::1/64", b"c": b"x   ", b"j": b'{"a":  1}', b"No": b"7",
}  # fmt: skip
SECOND = {
    b"A:b": b"", b"n": b"NaN", b"m": b"{c}", b"y": b"f", b"b": b"false", b"raw": b"", b"d": b"0044-03-15 BC",
    b"t": b"12026-01-01 00:00:00", b"z": b"infinity", b"clock": b"24:00:00", b"span": b"P-1D", b"f": b"-0",
    b"r": b"Infinity", b"list": b"{}", b"i": b"10.0.0.1", b"c": b"    ", b"j": b"null", b"No": b"-7",
}  # fmt: skip
EXPECTED: list[tuple[str, dict[bytes, Any]]] = [
    (
        "hash",
        {
            b"h:7:x%3A%25%7B%7D\n": FIRST,
            b"h:-7:": SECOND,
            b"h:0:only": {b"A:b": b"only", b"No": b"0"},
            b"h:0:tie": {b"A:b": b"tie", b"No": b"0"},
        },
    ),
    (
        "hash",
        {
            b"some:7:x%3A%25%7B%7D\n": {b"b": b"true", b"m": b"a:b"},
            b"some:-7:": {b"b": b"false", b"m": b"{c}"},
        },
    ),
    (
        "string",
        {
            b"j:{7}:x%3A%25%7B%7D\n": rb'{"who":"x:%{}\n","raw":"\\x00ff","b":"true","what":"a:b"}',
            b"j:{-7}:": rb'{"who":"","raw":"\\x","b":"false","what":"{c}"}',
            b"j:{0}:only": b'{"who":"only"}',
            b"j:{0}:tie": b'{"who":"tie"}',
        },
    ),
    ("string", {b"raw:7:x%3A%25%7B%7D\n": b"\x00\xff", b"raw:-7:": b""}),
    ("list", {b"l": [b"false::%7Bc%7D", b"true:x%3A%25%7B%7D\n:a%3Ab"]}),
    ("list", {b"names": [b"", b"only", b"tie", b"x:%{}\n"]}),
    ("set", {b"s:t": {b"7:x:%{}\n"}, b"s:f": {b"-7:"}}),
    ("zset", {b"z:10:00:00.25": {b"7:\\x00ff:x:%{}\n": 36e9 + 25e4}, b"z:24:00:00": {b"-7:\\x:": 864e8}}),
    ("zset", {b"days": {b"1970-01-02": 1.0, b"0001-01-01": -719162.0}}),
    ("zset", {b"moments": {b"1970-01-02": 86_400_000_001.0, b"0001-01-01": -62_135_596_800e6}}),
    ("set", {b"more": {b"1970-01-03"}}),
    ("zset", {b"scores": {b"1": 0.1}}),
]


@pytest.fixture
def odd(postgres_url: str) -> str:
    """A source with a table of many types."""
    days = """
        CREATE TABLE days (d date PRIMARY KEY, z timestamptz);
        INSERT INTO days VALUES ('1970-01-02', '1970-01-02 02:00:00.000001+02'),
            ('0001-01-01', '0001-01-01Z'), ('infinity', '2026-01-01'),
            ('2026-01-01', '-infinity'), ('0001-01-01 BC', '2026-01-01');
        CREATE TABLE more_days (PRIMARY KEY (d)) INHERITS (days);
        INSERT INTO more_days VALUES ('1970-01-03', '1970-01-03Z');
        CREATE TABLE scores (id int PRIMARY KEY, f float8);
        INSERT INTO scores VALUES (1, 0.1), (2, 'NaN'), (3, '-Infinity'), (4, NULL)
    """
    run_sql(postgres_url, TABLE, days)
    return postgres_url


def test_what_should_be_there_is_literally_this(odd: str) -> None:
    connection = connections.postgres(odd)
    with connection, connection.cursor() as cursor:  # what a session is set to is of no account
        cursor.execute(
            "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET bytea_output = 'escape'"
        )
        cursor.execute("SET intervalstyle = 'postgres'; SET extra_float_digits = -3")
    found = [(kind.type, dict(kind.keys)) for kind in judge.read(connection, tomllib.loads(MODEL))]
    connection.close()
    for one, expected in zip(found, EXPECTED, strict=True):
        assert one == expected


def put(client: Any, prefix: bytes = b"") -> None:
    """Write what should be there."""
    for type_, keys in EXPECTED:
        for name, value in keys.items():
            key = prefix + name
            if type_ == "hash":
                client.hset(key, mapping=value)
            elif type_ == "string":
                client.set(key, value)
            elif type_ == "list":
                client.rpush(key, *value)
            elif type_ == "set":
                client.sadd(key, *value)
            else:
                client.zadd(key, value)


@pytest.mark.parametrize(
    ("command", "verdict", "number"),
    [
        (("HDEL", "h:0:only", "No"), "altered", 1),
        (("HSET", "h:0:only", "n", ""), "altered", 1),
        (("HSET", "h:1:", "No", "1"), "doubled", 1),
        (("HSET", "h:x:", "No", "1"), None, 0),
        (("DEL", "j:{0}:only"), "lost", 1),
        (("SET", "j:{0}:only", '{"who": "only"}'), "altered", 1),
        (("SET", "raw:0:only", ""), "doubled", 1),
        (("APPEND", "raw:-7:", "x"), "altered", 1),
        (("RPUSH", "l", "x"), "doubled", 1),
        (("LMOVE", "l", "l", "LEFT", "RIGHT"), "altered", 2),
        (("LPOP", "l"), "lost", 1),
        (("SADD", "s:f", "7:x:%{}\n"), "doubled", 1),
        (("SADD", "s:", "x"), "doubled", 1),
        (("SREM", "s:t", "7:x:%{}\n"), "lost", 1),
        (("SET", "s:t", "x"), "altered", 1),
        (("ZINCRBY", "days", "1", "1970-01-02"), "altered", 1),
        (("ZADD", "moments", "1", "2026-01-01"), "doubled", 1),
        (("SET", "migration:h:1:", "x"), None, 0),
        (("SET", "session:1", "x"), None, 0),
    ],
)
def test_damage_of_every_type_of_key(
    odd: str, redis_url: str, command: tuple[Any, ...], verdict: str | None, number: int
) -> None:
    client = connections.redis(redis_url)
    put(client)
    assert judge.compare(odd, redis_url, model=MODEL) == CLEAN
    client.execute_command(*command)
    client.close()
    assert judge.compare(odd, redis_url, model=MODEL) == CLEAN | ({verdict: number} if verdict else {})


def test_keys_without_the_prefix_are_not_its_business(odd: str, redis_url: str) -> None:
    client = connections.redis(redis_url)
    put(client, b"p:")
    for key in ("q:h:1:", "h:1:", "q:l", "l"):
        client.set(key, "x")
    assert judge.compare(odd, redis_url, prefix="p:", model=MODEL) == CLEAN
    client.set("p:h:1:", "x")
    client.close()
    assert judge.compare(odd, redis_url, prefix="p:", model=MODEL) == CLEAN | {"doubled": 1}


def test_the_mover_and_the_second_judge_read_a_model_alike(odd: str, redis_url: str) -> None:
    result = migration.migrate(odd, redis_url, model=MODEL, progress=False)
    assert result["status"] == "verified"
    assert result["rejects_by_reason"] == {"infinite_date": 2, "bc_date": 1, "no_score": 2, "no_key": 1}
    assert judge.compare(odd, redis_url, model=MODEL) == CLEAN


@pytest.mark.slow
def test_what_was_moved_by_the_general_model(postgres_url: str, redis_url: str) -> None:
    general.populate(postgres_url, seed=8, people=30, readings=80, tags=60, steps=120, words=60)
    result = migration.migrate(postgres_url, redis_url, model=general.MODEL, progress=False)
    assert result["status"] == "verified" and not result["rejects_by_reason"]
    assert judge.compare(postgres_url, redis_url, model=general.MODEL) == CLEAN
    told = general.MODEL.read_text(encoding="utf-8")
    for said, instead in OTHERWISE.items():
        assert told.count(said) == 1, said
        told_otherwise = told.replace(said, instead)
        assert judge.compare(postgres_url, redis_url, model=told_otherwise) != CLEAN, said


OTHERWISE = {
    '"person:{handle}"\ntype   = "hash"': '"persons:{handle}"\ntype   = "hash"',
    '"card:{handle}"\ntype   = "string"': '"card:{handle}"\ntype   = "hash"',
    '{ name = "full_name", born': '{ named = "full_name", born',
    'born = "born", seen = "seen"': 'seen = "seen", born = "born"',
    'face = "face" }': 'face = "feels" }',
    '["sensor", "taken", "value", "exact", "note"]': '["sensor", "taken", "value", "exact"]',
    '"{note}"': '"{exact}"',
    'score  = "value"': 'score  = "taken"',
    '"{tag}:{weight}"': '"{weight}:{tag}"',
    '"{kind}:{at}"': '"{kind}-{at}"',
    'order  = ["at", "step_id"]': 'order  = ["step_id"]',
    'score  = "at"': 'score  = "step_id"',
    '"words:{day}"\ntype   = "list"': '"words:{day}"\ntype   = "set"',
    'order  = ["place"]': 'order  = ["word"]',
    "# Tables that": 'dates = "iso"\n# Tables that',
}
"""What the general model says, and what it might have said: each is looked at."""


def test_rows_that_their_keys_could_not_give_back_have_no_place(postgres_url: str, redis_url: str) -> None:
    """A string has the rows whole, but for those without a text; what the migration keeps is not judged."""
    model = """
[[key]]
name = "{day}:x"
type = "string"
table = "t"
value = ""

[[key]]
name = "whole:{id}"
type = "string"
table = "t"
value = "{day} {a}"

[[key]]
name = "list"
type = "list"
table = "t"
value = "{id}"
order = ["day"]
"""
    run_sql(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, day date NOT NULL UNIQUE, a text, "
        "b int GENERATED ALWAYS AS (1) STORED)",
        "INSERT INTO t VALUES (1, '2026-01-01', 'a'), (2, '2026-01-02', NULL), (3, '2026-01-03', 'b')",
    )
    moved = migration.migrate(postgres_url, redis_url, model=model, progress=False)
    assert moved["rows_rejected"] == {"t": 1}
    client = connections.redis(redis_url)
    client.set("migration:register:2026-01-01:x", "")
    assert judge.compare(postgres_url, redis_url, model=model) == CLEAN
    client.set("2026-01-02:x", "")
    assert judge.compare(postgres_url, redis_url, model=model) == {**CLEAN, "doubled": 1}
    client.close()
