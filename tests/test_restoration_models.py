"""Any model's tables come back: of keys written by hand, of every type, and of hostile schemas as migrated."""
# ruff: noqa: E501  # lines of SQL

import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import hostile
import psycopg2
import pytest
import redis
from migrating import ask, run_sql

from helpers import migration
from helpers.errors import HelpersError
from helpers.migration import restoration, stored_rows
from helpers.migration.timelines import Timelines
from helpers.model import Model, Table, load, propose, quoted
from helpers.servers import connections
from helpers.source import LiveTables, Source, definitions
from helpers.target import FORMAT

EVERY = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok: fine');
CREATE TABLE "Every %" ("Id" bigint PRIMARY KEY, i2 int2, n numeric, n2 numeric(10,2), f4 real, f8 float8, b boolean, u uuid,
  ts timestamp, tz timestamptz, d date, t time, by bytea, tx text, m mood, arr int[], js json, iv interval, ch char(3),
  half bigint GENERATED ALWAYS AS ("Id" / 2) STORED);
INSERT INTO "Every %" VALUES
(1, -5, 1.50, 19.90, 0.1, 1e300, true, '11111111-2222-3333-4444-555555555555', '2026-11-22 10:00:00',
 '2026-11-22 04:29:45.5+00', '2026-11-22', '24:00', '\x00ff410a', E'a:b%{c}"\\\n\t\\N\r', 'ok: fine', '{1,NULL}', '{"a": 1}', '1 year 3.5 s', 'c'),
(9223372036854775807, 32767, 'NaN', -0.01, '-0', '-Infinity', false, NULL, 'infinity', '-infinity', 'infinity', '00:00:00.000001', '', '',
 'sad', '{}', NULL, '-1 mon', ''),
(-9223372036854775808, NULL, 1e40, NULL, 'NaN', 5e-324, NULL, NULL, '0044-03-15 10:00:00.25 BC', '0044-03-15 00:00:00+00 BC', '0044-03-15 BC', NULL,
 NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '12345-01-01', '12345-01-01 00:00:00.5+00', '12345-01-01', NULL, NULL, '\N', NULL, NULL, NULL, NULL, NULL),
(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""
ROWS: list[dict[str, Any]] = [
    {
        **{"Id": "1", "i2": "-5", "n": "1.50", "n2": "19.90", "f4": "0.1", "f8": "1e+300", "b": "true"},
        **{"u": "11111111-2222-3333-4444-555555555555", "ts": "2026-11-22T10:00:00.000000"},
        **{"tz": "2026-11-22T04:29:45.500000Z", "d": "2026-11-22", "t": "24:00:00", "by": b"\0\xffA\n"},
        **{
            "tx": 'a:b%{c}"\\\n\t\\N\r',
            "m": "ok: fine",
            "arr": "{1,NULL}",
            "js": '{"a": 1}',
            "iv": "P1YT3.5S",
        },
        **{"ch": "c  "},
    },
    {
        **{
            "Id": "9223372036854775807",
            "i2": "32767",
            "n": "NaN",
            "n2": "-0.01",
            "f4": "-0",
            "f8": "-Infinity",
        },
        **{
            "b": "false",
            "ts": "infinity",
            "tz": "-infinity",
            "d": "infinity",
            "t": "00:00:00.000001",
            "by": b"",
        },
        **{"tx": "", "m": "sad", "arr": "{}", "iv": "P-1M", "ch": "   "},
    },
    {
        **{"Id": "-9223372036854775808", "n": "1" + "0" * 40, "f4": "NaN", "f8": "5e-324"},
        **{"ts": "0044-03-15 10:00:00.25 BC", "tz": "0044-03-15 00:00:00+00 BC", "d": "0044-03-15 BC"},
    },
    {
        **{"Id": "0", "ts": "12345-01-01 00:00:00", "tz": "12345-01-01 00:00:00.5+00", "d": "12345-01-01"},
        "tx": r"\N",
    },
    {"Id": "3"},
]
for _row, _half in zip(ROWS, ("0", "4611686018427387903", "-4611686018427387904", "0", "1"), strict=True):
    _row["half"] = _half  # computed, and so left out
"""What Redis holds of these rows, in the order of the columns."""
FLAT = r"""
CREATE TABLE flat (who text, id bigint, day date, at timestamptz NOT NULL, clock time NOT NULL, amount numeric NOT NULL, size real NOT NULL,
  ok boolean NOT NULL, raw bytea NOT NULL, note text NOT NULL, PRIMARY KEY (who, id), UNIQUE (id));
INSERT INTO flat SELECT 'a:%{}' || n % 3, n, '2026-01-01'::date + n, '2026-01-01'::timestamptz + n * interval '1.000001 h', '10:00'::time + n * interval '1.5 s',
  n / 4.0, n / 8.0, n % 2 = 0, decode(lpad(to_hex(n % 20), 4, '0'), 'hex'), 'é:' || n || '%' FROM generate_series(1, 60) n;
UPDATE flat SET day = '1969-12-31' WHERE id < 5;
"""
VALUE = "{id}:{day}:{at}:{clock}:{amount}:{size}:{ok}:{raw}:{note}"


def model(type_: str, **options: str) -> str:
    """A model of ``flat``, a key of many rows for each ``who``."""
    lines = [
        f"{name} = {json.dumps(value)}" for name, value in {"type": type_, "table": "flat", **options}.items()
    ]
    return "\n".join(
        ["[[key]]", 'name = "flat:{who}:x"', *lines, *(["order = ['id']"] if type_ == "list" else []), ""]
    )


@pytest.fixture
def back(postgres_url: str) -> Iterator[str]:
    (schema,) = ask(postgres_url, "SELECT current_schema()")[0]
    yield f"{schema} back"
    run_sql(postgres_url, f'DROP SCHEMA IF EXISTS "{schema} back" CASCADE')


def record(source: str, target: str, model: str | Model) -> Any:
    """Record a migration of which no key was written yet; a client of redis-py for writing them."""
    client: Any = connections.redis(target)
    with Source(source, model) as snapshot:
        state = {"format": FORMAT, "status": "complete", "finished": "then", **snapshot.plan.record()}
        state["definitions"] = definitions.read(snapshot.ask, snapshot.plan.tables.values()).record()
        state["rows_held"] = json.dumps(snapshot.counts())
    client.hset("migration:state", mapping=state)
    return client


def restore(source: str, target: str, schema: str, **options: Any) -> dict[str, Any]:
    return restoration.restore(target, source, schema=schema, progress=False, **options)


def limit(patch: pytest.MonkeyPatch, rows: int) -> None:
    """Let no window hold more rows, from the first on."""
    patch.setattr(stored_rows, "MOST_ROWS", rows)
    patch.setattr(stored_rows.Window, "__init__", lambda self: setattr(self, "rows", min(rows, 500)))


def differences(url: str, tables: dict[str, Table], result: dict[str, Any]) -> list[Any]:
    """Rows that are in one of source and restored table only, all values as text."""
    found = []
    for name, table in tables.items():
        columns = ", ".join(f"{column.sql} IS NULL, format('%s', {column.sql})" for column in table.columns)
        only = "ONLY " if table.only else ""
        again = f"{quoted(result['schema'])}.{quoted(result['renamed'].get(name, table.relation))}"
        one, other = f"SELECT {columns} FROM {table.sql}", f"SELECT {columns} FROM {only}{again}"
        found += ask(url, f"({one} EXCEPT ALL {other})") + ask(url, f"({other} EXCEPT ALL {one})")
    return found


def bound(source: str, model: str | Model) -> dict[str, Table]:
    with Source(source, model) as snapshot:
        return dict(snapshot.plan.tables)


# -- keys written by hand


def json_text(row: dict[str, Any]) -> str:
    found = {name: "\\x" + value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("type_", ["hash", "string"])
def test_every_format_as_fields(postgres_url: str, redis_url: str, back: str, type_: str) -> None:
    run_sql(postgres_url, EVERY)
    declared = f"[[key]]\nname = 'every:{{Id}}'\ntype = '{type_}'\ntable = '\"Every %\"'\n"
    client = record(postgres_url, redis_url, declared)
    for row in ROWS:
        if type_ == "hash":
            client.hset(f"every:{row['Id']}", mapping=row)
        else:
            client.set(f"every:{row['Id']}", json_text(row))
    result = restore(postgres_url, redis_url, back)
    assert result["warnings"] == [] and result["rows"] == {'"Every %"': 5}
    assert differences(postgres_url, bound(postgres_url, declared), result) == []


def flat(url: str) -> list[dict[str, str]]:
    """The rows of ``flat`` as canonical texts, made in Python."""
    found = []
    for row in ask(
        url,
        "SELECT who, id, day::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
        "clock::text, amount::text, size::text, ok, encode(raw, 'hex'), note FROM flat ORDER BY id",
    ):
        who, id_, day, at, clock, amount, size, ok, raw, note = row
        found.append(
            {
                "who": who,
                "id": str(id_),
                "day": day,
                "at": at,
                "clock": clock,
                "amount": amount,
                "size": size,
                "ok": "true" if ok else "false",
                "raw": "\\x" + raw,
                "note": note,
            }
        )
    return found


def element(row: dict[str, str]) -> str:
    return ":".join(row[name] for name in ("id", "day", "at", "clock", "amount", "size", "ok", "raw", "note"))


def key(row: dict[str, str]) -> str:
    return {"a": "flat:a%3A%25%7B%7D{}:x"}[row["who"][0]].format(row["who"][-1])


SCORES: dict[str, Callable[[dict[str, str]], float]] = {
    "id": lambda row: int(row["id"]),
    "day": lambda row: (date.fromisoformat(row["day"]) - date(1970, 1, 1)).days,
    "at": lambda row: round(datetime.fromisoformat(row["at"]).timestamp() * 1e6),
    "clock": lambda row: sum(
        float(part) * by for part, by in zip(row["clock"].split(":"), (3.6e9, 6e7, 1e6), strict=True)
    ),
    "amount": lambda row: float(row["amount"]),
    "size": lambda row: float(row["size"]),
}


def put(client: redis.Redis, type_: str, row: dict[str, str], score: str = "id") -> None:
    if type_ == "list":
        client.rpush(key(row), element(row))
    elif type_ == "set":
        client.sadd(key(row), element(row))
    else:
        client.zadd(key(row), {element(row): SCORES[score](row)})


@pytest.mark.parametrize("window", [10_000, 7])
@pytest.mark.parametrize(
    ("type_", "options"), [("list", {}), ("set", {}), *(("sorted_set", {"score": name}) for name in SCORES)]
)
def test_elements_and_members(
    postgres_url: str,
    redis_url: str,
    back: str,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    options: dict[str, str],
    window: int,
) -> None:
    run_sql(postgres_url, FLAT)
    declared = model(type_, value=VALUE, **options)
    client = record(postgres_url, redis_url, declared)
    for row in flat(postgres_url):
        put(client, type_, row, options.get("score", ""))
    limit(monkeypatch, window)
    result = restore(postgres_url, redis_url, back)
    assert result["warnings"] == [] and result["rows"] == {"flat": 60}
    assert differences(postgres_url, bound(postgres_url, declared), result) == []


def test_a_large_set_of_which_sscan_gives_some_twice(
    postgres_url: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE tags (tag text PRIMARY KEY); INSERT INTO tags SELECT 'tag ' || n FROM generate_series(1, 3000) n",
    )
    declared = "[[key]]\nname = 'tags'\ntype = 'set'\ntable = 'tags'\nvalue = '{tag}'\n"
    client = record(postgres_url, redis_url, declared)
    client.sadd("tags", *(f"tag {n}" for n in range(1, 3001)))
    limit(monkeypatch, 100)
    scan = Timelines._scan
    monkeypatch.setattr(
        Timelines, "_scan", lambda *given: (found for found in scan(*given) for _ in range(2))
    )
    result = restore(postgres_url, redis_url, back)
    assert result["rows"] == {"tags": 3000} and result["warnings"] == []
    assert differences(postgres_url, bound(postgres_url, declared), result) == []


def test_one_value_alone_is_as_it_is(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(
        postgres_url,
        r"CREATE TABLE blobs (name text PRIMARY KEY, raw bytea NOT NULL); INSERT INTO blobs VALUES ('a:b', '\x00ff'), ('', '')",
    )
    declared = "[[key]]\nname = 'blob:{name}'\ntype = 'string'\ntable = 'blobs'\nvalue = '{raw}'\n"
    client = record(postgres_url, redis_url, declared)
    client.set("blob:a%3Ab", b"\0\xff")
    client.set("blob:", b"")
    result = restore(postgres_url, redis_url, back)
    assert result["rows"] == {"blobs": 2}
    assert differences(postgres_url, bound(postgres_url, declared), result) == []


PAIR = """
[[key]]
name  = "log:{who}"
type  = "list"
table = "log"
value = "{at}|{what}|{more}"
order = ["at", "id"]

[[key]]
name  = "by:{who}:at"
type  = "sorted_set"
table = "log"
value = "{what}|{id}"
score = "at"
"""


@pytest.mark.parametrize("window", [10_000, 5])
@pytest.mark.parametrize("owner", ["text", "int"])
def test_a_list_and_a_sorted_set_together(
    postgres_url: str, redis_url: str, back: str, monkeypatch: pytest.MonkeyPatch, window: int, owner: str
) -> None:
    run_sql(
        postgres_url,
        f"CREATE TABLE log (id int PRIMARY KEY, who {owner} NOT NULL, at date NOT NULL, what int NOT NULL, more text NOT NULL);"
        "INSERT INTO log SELECT n - 20, (n % 3)::text::"
        + owner
        + ", '2026-01-01'::date + n % 2, n % 5, 'm|' || n FROM generate_series(1, 60) n",
    )
    client = record(postgres_url, redis_url, PAIR)
    for id_, who, at, what, more in ask(
        postgres_url, "SELECT id, who::text, at, what, more FROM log ORDER BY at, id"
    ):
        client.rpush(f"log:{who}", f"{at}|{what}|{more}")
        client.zadd(f"by:{who}:at", {f"{what}|{id_}": (at - date(1970, 1, 1)).days})
    limit(monkeypatch, window)
    result = restore(postgres_url, redis_url, back)
    assert result["warnings"] == [] and result["rows"] == {"log": 60}
    assert differences(postgres_url, bound(postgres_url, PAIR), result) == []
    ask(postgres_url, "SELECT 1")
    client.lset("log:1", 2, "2026-01-01|9|m")
    run_sql(postgres_url, f"DROP SCHEMA {quoted(back)} CASCADE")
    with pytest.raises(HelpersError, match=r"log:1 element 2 '2026-01-01\|9\|m' does not fit '\d\|-?\d+'"):
        restore(postgres_url, redis_url, back)


def test_a_text_that_is_escaped_in_the_list_alone(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (id int PRIMARY KEY, who int NOT NULL, at date NOT NULL, what text NOT NULL, more text NOT NULL);"
        "INSERT INTO log VALUES (1, 1, '2026-01-01', 'a:b', 'c:%'), (2, 1, '2026-01-02', '', '')",
    )
    declared = PAIR.replace("|", ":")
    client = record(postgres_url, redis_url, declared)
    client.rpush("log:1", "2026-01-01:a%3Ab:c%3A%25", "2026-01-02::")
    client.zadd("by:1:at", {"a:b:1": 20454, ":2": 20455})
    result = restore(postgres_url, redis_url, back)
    assert result["warnings"] == [] and result["rows"] == {"log": 2}
    assert differences(postgres_url, bound(postgres_url, declared), result) == []


# -- what Redis holds is not what was written


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("b", "t", "true or false"),
        ("b", "TRUE", "true or false"),
        ("u", "11111111222233334444555555555555", "UUID"),
        ("u", "11111111-2222-3333-4444-55555555555A", "UUID"),
        ("f8", "1E300", "number"),
        ("f8", "0x10", "number"),
        ("f8", "inf", "number"),
        ("f4", " 1", "number"),
        ("tz", "2026-11-22T04:29:45.500000", "date"),
        ("tz", "2026-11-22T04:29:45.500000+00", "date"),
        ("tz", "2026-11-22 04:29:45.5+00", "date"),
        ("ts", "2026-11-22T10:00:00.000000Z", "date"),
        ("ts", "2026-11-22T10:00:00.0", "date"),
        ("ts", "now", "date"),
        ("d", "2026-1-1", "date"),
        ("d", "12026-13-01", "PostgreSQL"),
        ("d", "2026-02-30", "PostgreSQL"),
        ("d", "2026-11-22 BC x", "date"),
        ("t", "24:00:01", "time"),
        ("t", "10:00", "time"),
        ("t", "10:00:00.50", "time"),
        ("t", "10:00:60", "time"),
        ("i2", "32768", "PostgreSQL"),
        ("i2", "+1", "whole number"),
        ("n", "1.", "number"),
        ("n", "1_000", "number"),
        ("n2", "123456789.00", "PostgreSQL"),
        ("m", "glad", "PostgreSQL"),
        ("arr", "1,2", "PostgreSQL"),
        ("js", "{", "PostgreSQL"),
        ("iv", "soon", "PostgreSQL"),
        ("tx", b"\xff", "UTF8"),
        ("Id", "2", "is not the Id '1' that stands there too"),
    ],
)
def test_a_field_that_was_not_written_so_is_named(
    postgres_url: str, redis_url: str, back: str, field: str, value: Any, message: str
) -> None:
    run_sql(postgres_url, EVERY)
    client = record(
        postgres_url, redis_url, "[[key]]\nname = 'every:{Id}'\ntype = 'hash'\ntable = '\"Every %\"'\n"
    )
    client.hset("every:1", mapping=ROWS[0] | {field: value})
    with pytest.raises(HelpersError, match=rf"every:1 {field} .*{message}") as caught:
        restore(postgres_url, redis_url, back)
    assert len(str(caught.value).splitlines()) == 1 and "nothing was written" in str(caught.value)
    assert ask(postgres_url, "SELECT 1 FROM pg_namespace WHERE nspname = %s", [back]) == []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda text: text.replace(":", ": ", 1), "no JSON object"),
        (lambda text: "[]", "no JSON object"),
        (lambda text: "{", "no JSON object"),
        (lambda text: b"\xff", "no JSON object"),
        (lambda text: text.replace('"-5"', "-5"), "no JSON object"),
        (lambda text: text.replace('"-5"', "null"), "no JSON object"),
        (lambda text: text[:-1] + ',"Id":"1"}', "no JSON object"),
        (lambda text: text[:-1] + ',"new":"1"}', "other fields"),
        (lambda text: text.replace('"Id":"1",', "").replace("}", ',"Id":"1"}'), "JSON object|other fields"),
        (lambda text: text.replace("\\\\x00", "\\\\x0"), r"by .* is not \\x and hex"),
        (lambda text: text.replace("true", "t"), "b 't' is not true or false"),
        (lambda text: text.replace('"Id":"1"', '"Id":"2"'), "Id '2' is not the Id '1'"),
        (lambda text: text.replace('"-5"', '"-\\u0035"'), "no JSON object"),
        (
            lambda text: text.replace("sad", "\\ud800") if "sad" in text else text.replace("fine", "\\ud800"),
            "no JSON object",
        ),
    ],
)
def test_a_json_object_that_was_not_written_so_is_named(
    postgres_url: str, redis_url: str, back: str, made: Callable[[str], Any], message: str
) -> None:
    run_sql(postgres_url, EVERY)
    client = record(
        postgres_url, redis_url, "[[key]]\nname = 'every:{Id}'\ntype = 'string'\ntable = '\"Every %\"'\n"
    )
    client.set("every:1", made(json_text(ROWS[0])))
    with pytest.raises(HelpersError, match=f"every:1 .*{message}") as caught:
        restore(postgres_url, redis_url, back)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("window", [10_000, 5])
@pytest.mark.parametrize("type_", ["list", "set", "sorted_set"])
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda text: "x", "is no {id}:{day}"),
        (lambda text: text.replace("\\x", ""), "is no {id}:{day}"),
        (lambda text: text.replace("true", "t"), "is no {id}:{day}"),
        (lambda text: "0" + text, "is no {id}:{day}"),
        (lambda text: re.sub("^[0-9]+", "9223372036854775808", text), "whole number of 64 bits|does not fit"),
        (lambda text: text.encode()[:-1] + b"\xff", "UTF8"),
    ],
)
def test_an_element_that_was_not_written_so_is_named(
    postgres_url: str,
    redis_url: str,
    back: str,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    window: int,
    made: Callable[[str], Any],
    message: str,
) -> None:
    run_sql(postgres_url, FLAT)
    client = record(
        postgres_url,
        redis_url,
        model(type_, value=VALUE, **({"score": "id"} if type_ == "sorted_set" else {})),
    )
    rows = flat(postgres_url)
    for row in rows:
        if row["id"] != "6":
            put(client, type_, row)
    row, damaged = rows[5], made(element(rows[5]))
    if type_ == "list":
        client.rpush(key(row), damaged)
    elif type_ == "set":
        client.sadd(key(row), damaged)
    else:
        client.zadd(key(row), {damaged: 6})
    limit(monkeypatch, window)
    where = {"list": r"element 19|note", "set": "member|note", "sorted_set": "member|note"}[type_]
    where = f"(?:{where}|id)"
    with pytest.raises(
        HelpersError,
        match=re.escape(key(row)) + rf" {where} .*(?:{re.escape(message) if '{' in message else message})",
    ) as caught:
        restore(postgres_url, redis_url, back)
    assert len(str(caught.value).splitlines()) == 1


def test_a_score_of_another_value_is_named(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(postgres_url, FLAT)
    client = record(postgres_url, redis_url, model("sorted_set", value=VALUE, score="at"))
    rows = flat(postgres_url)
    for row in rows:
        put(client, "sorted_set", row, "at")
    client.zincrby(key(rows[5]), 1, element(rows[5]))
    with pytest.raises(
        HelpersError, match=f"{re.escape(key(rows[5]))} member '6:.* does not fit its score 17672"
    ):
        restore(postgres_url, redis_url, back)


def test_a_key_of_another_type_is_named(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(postgres_url, FLAT)
    for type_, words in (("list", "list"), ("set", "set"), ("sorted_set", "sorted set")):
        client = record(
            postgres_url,
            redis_url,
            model(type_, value=VALUE, **({"score": "id"} if type_ == "sorted_set" else {})),
        )
        client.set("flat:a:x", "x")
        with pytest.raises(HelpersError, match=f"flat:a:x is a string, not a {words}"):
            restore(postgres_url, redis_url, back)


def test_a_column_that_is_not_null_is_missed(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL, w text)")
    client = record(postgres_url, redis_url, "[[key]]\nname = 't:{id}'\ntype = 'hash'\ntable = 't'\n")
    client.hset("t:1", mapping={"id": "1", "w": "x"})
    with pytest.raises(HelpersError, match="t:1 v is not there, though the column is NOT NULL"):
        restore(postgres_url, redis_url, back)


# -- refused before anything is written


def test_what_is_held_nowhere_is_named(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text, x text); CREATE TABLE u (id int PRIMARY KEY)",
    )
    record(
        postgres_url,
        redis_url,
        "[[key]]\nname = 't:{id}'\ntype = 'hash'\ntable = 't'\nfields = ['v']\n"
        "[[key]]\nname = 'u:{id}'\ntype = 'hash'\ntable = 'u'\n",
    )
    with pytest.raises(HelpersError, match=r"t \(w and x held nowhere\).*nothing was written") as caught:
        restore(postgres_url, redis_url, back)
    assert "u (" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_state_without_a_model_is_refused_with_the_remedy(
    postgres_url: str, redis_url: str, back: str
) -> None:
    run_sql(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)")
    declared = "[[key]]\nname = 't:{id}'\ntype = 'hash'\ntable = 't'\n"
    client = record(postgres_url, redis_url, declared)
    with pytest.raises(HelpersError, match="another model than"):
        restore(postgres_url, redis_url, back, model=load())
    assert restore(postgres_url, redis_url, back, model=declared)["rows"] == {"t": 0}
    client.hdel("migration:state", "definitions")
    with pytest.raises(HelpersError, match=r"run the same `migrate` command again"):
        restore(postgres_url, redis_url, back)
    client.hset("migration:state", "format", "3")
    with pytest.raises(HelpersError, match=r"version before.*run the same `migrate` command again"):
        restore(postgres_url, redis_url, back)


def test_a_partition_that_the_model_names_beside_its_table_comes_once(
    postgres_url: str, redis_url: str, back: str
) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE leaf PARTITION OF p DEFAULT; INSERT INTO p VALUES (1), (2)",
    )
    declared = "".join(
        f"[[key]]\nname = '{name}:{{id}}'\ntype = 'hash'\ntable = '{name}'\n" for name in ("p", "leaf")
    )
    client = record(postgres_url, redis_url, declared)
    for n in (1, 2):
        client.hset(f"p:{n}", "id", n)
        client.hset(f"leaf:{n}", "id", n)
    result = restore(postgres_url, redis_url, back)
    assert result["rows"] == {"p": 2, "leaf": 2} and result["warnings"] == []


def test_what_restore_does_not_make_is_named(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON t;"
        "CREATE RULE nothing AS ON DELETE TO t DO INSTEAD NOTHING;"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    )
    record(postgres_url, redis_url, "[[key]]\nname = 't:{id}'\ntype = 'hash'\ntable = 't'\n")
    result = restore(postgres_url, redis_url, back)
    assert result["not_made"] == ["policy mine of t", "rule nothing of t", "trigger tell of t"]
    assert result["warnings"] == []
    assert "not made again: policy mine of t, rule" in "\n".join(
        restoration.describe({**result, "seconds": 1.0})
    )


def test_what_does_not_hold_is_named_with_its_remedy(postgres_url: str, redis_url: str, back: str) -> None:
    run_sql(
        postgres_url,
        'CREATE TABLE "T" (id int PRIMARY KEY, v int CONSTRAINT "Positive" CHECK (v > 0), w text, up int REFERENCES "T");'
        'CREATE UNIQUE INDEX "Low" ON "T" (lower(w));'
        'ALTER TABLE "T" ADD CONSTRAINT apart EXCLUDE USING btree (v WITH =)',
    )
    client = record(postgres_url, redis_url, "[[key]]\nname = 't:{id}'\ntype = 'hash'\ntable = '\"T\"'\n")
    for n in (1, 2):
        client.hset(f"t:{n}", mapping={"id": n, "v": -1, "w": "Aa"[n - 1], "up": 9})
    named = restore(postgres_url, redis_url, back)["warnings"]
    named = [one for one in named if "the migration left" not in one]
    assert len(named) == 4 and all(len(one.splitlines()) == 1 for one in named)
    later = [one for one in named if "NOT VALID" in one]
    assert [one.split()[0] for one in later] == ["Positive", "T_up_fkey"]
    assert sorted(one.split()[0] for one in named if "left off" in one) == ["Low", "apart"]
    new = f'INSERT INTO {quoted(back)}."T" (id, v) VALUES (3, -1)'
    with pytest.raises(psycopg2.errors.CheckViolation):  # new rows are looked at
        run_sql(postgres_url, new)
    run_sql(postgres_url, f'UPDATE {quoted(back)}."T" SET v = id, w = id, up = 1')
    for one in named:
        run_sql(postgres_url, one.partition(" then ")[2])


# -- as migrated


@pytest.mark.parametrize("workers", [1, 2])
def test_hostile_schemas_come_back(postgres_server: str, redis_url: str, workers: int) -> None:
    with hostile.schemas(postgres_server, f"hr{workers}") as source:
        name = f"hr{workers} back"
        try:
            declared = propose(LiveTables(source))
            moved = migration.migrate(source, redis_url, model=declared, workers=workers, progress=False)
            assert (moved["differences"], moved["rows_rejected"]) == (0, dict.fromkeys(moved["rows_read"], 0))
            result = restore(postgres_server, redis_url, name)
            assert result["warnings"] == []
            assert result["rows"] == moved["rows_read"]
            assert len(result["renamed"]) == 2
            assert differences(source, bound(source, declared), result) == []
        finally:
            run_sql(postgres_server, f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")


@pytest.mark.parametrize("kept_in", ["hash", "string"])
def test_hostile_schemas_come_back_from_a_cluster(postgres_server: str, nodes: Any, kept_in: str) -> None:
    with hostile.schemas(postgres_server, f"hc {kept_in}") as source:
        name = f"hc {kept_in} back"
        try:
            declared = propose(LiveTables(source)).replace('type = "hash"', f'type = "{kept_in}"')
            moved = migration.migrate(source, nodes.urls[0], model=declared, progress=False)
            assert moved["differences"] == 0
            result = restore(postgres_server, nodes.urls[0], name)
            assert result["warnings"] == [] and result["rows"] == moved["rows_read"]
            assert differences(source, bound(source, declared), result) == []
        finally:
            run_sql(postgres_server, f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")
