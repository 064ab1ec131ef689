"""What the writer makes of rows: every format and every type of key, as literals."""

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from migrating import dump, run_sql

from helpers.columns import joined
from helpers.migration.encoding import Encoder
from helpers.source import Source, copytext
from helpers.target import connect, resp

SCHEMA = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok: fine');
CREATE TABLE "All" (
    id bigint PRIMARY KEY, b boolean, i2 int2, n numeric, n2 numeric(10,2), f4 real, f8 float8, u uuid,
    ts timestamp, tz timestamptz, d date, t time, ttz timetz, iv interval, by bytea, tx text, vc varchar(10),
    ch char(3), m mood, j json, jb jsonb, arr int[], rng int4range, ip inet, bit bit(3));
INSERT INTO "All" VALUES
(1, true, -5, 1.50, 19.90, 0.1, 1e300, '11111111-2222-3333-4444-555555555555', '2026-11-22 10:00:00',
 '2026-11-22 10:00:00+05:30:15', '2026-11-22', '24:00', '10:00:00+02:30:15', '1 year 2 days 3.5 s',
 '\x00ff41', E'a:b%{c}"\\\n\tx', 'v', 'c', 'ok: fine', '{"a": 1}', '{"b":[1,2]}', '{1,NULL,3}',
 '[1,5)', '::1/64', '101'),
(2, false, NULL, 'NaN', 'NaN', '-0', '-Infinity', NULL, 'infinity', '-infinity', 'infinity',
 '00:00:00.000001', '00:00+00', '-1 mon', '', '', NULL, '', 'sad', NULL, NULL, '{}', 'empty', '10.0.0.1',
 '000');
INSERT INTO "All" (id, b, i2, n, n2, f4, f8, u, ts, tz, d) VALUES
(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '0044-03-15 BC', '0044-03-15 00:00:00.5+00 BC',
 '0044-03-15 BC'),
(4, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, '12345-01-01', '2026-01-01 00:00:00.25+00', '12345-01-01');
CREATE TABLE "Odd: %" ("Key {x}" text, k2 date, v float8, "order" text, PRIMARY KEY ("Key {x}", k2));
INSERT INTO "Odd: %" VALUES ('', '2026-01-01', 0.1, 'z'), ('a:b', '2026-01-02', 2, '{y}'),
 ('a:b', '2026-01-03', -0.5, NULL), ('é%{}', '2026-01-01', 1e-7, 'q'), ('a:b', '2026-01-04', 1, 'first');
"""
FIRST: dict[str, str | bytes] = {
    **{"id": "1", "b": "true", "i2": "-5", "n": "1.50", "n2": "19.90", "f4": "0.1", "f8": "1e+300"},
    **{"u": "11111111-2222-3333-4444-555555555555", "ts": "2026-11-22T10:00:00.000000"},
    **{"tz": "2026-11-22T04:29:45.000000Z", "d": "2026-11-22", "t": "24:00:00", "ttz": "10:00:00+02:30:15"},
    **{
        "iv": "P1Y2DT3.5S",
        "by": b"\0\xffA",
        "tx": 'a:b%{c}"\\\n\tx',
        "vc": "v",
        "ch": "c  ",
        "m": "ok: fine",
    },
    **{
        "j": '{"a": 1}',
        "jb": '{"b": [1, 2]}',
        "arr": "{1,NULL,3}",
        "rng": "[1,5)",
        "ip": "::1/64",
        "bit": "101",
    },
}
SECOND: dict[str, str | bytes] = {
    **{"id": "2", "b": "false", "n": "NaN", "n2": "NaN", "f4": "-0", "f8": "-Infinity", "ts": "infinity"},
    **{
        "tz": "-infinity",
        "d": "infinity",
        "t": "00:00:00.000001",
        "ttz": "00:00:00+00",
        "iv": "P-1M",
        "by": "",
    },
    **{"tx": "", "ch": "   ", "m": "sad", "arr": "{}", "rng": "empty", "ip": "10.0.0.1", "bit": "000"},
}
THIRD: dict[str, str | bytes] = {
    "id": "3",
    "ts": "0044-03-15 00:00:00 BC",
    "tz": "0044-03-15 00:00:00.5+00 BC",
    "d": "0044-03-15 BC",
}
FOURTH: dict[str, str | bytes] = {
    "id": "4",
    "f4": "NaN",
    "ts": "12345-01-01 00:00:00",
    "tz": "2026-01-01T00:00:00.250000Z",
    "d": "12345-01-01",
}
ALL = "table = '\"All\"'"
ODD = "table = '\"Odd: %\"'"


def written(source: str, target: str, model: str, *, rows: int = 1000, push: bool = False) -> dict[str, Any]:
    """What Redis holds once the writer has gone through all streams in batches of so many rows."""
    connection = connect(target)
    with Source(source, model, prefix="p:") as opened:
        for partition in opened.plan.partitions({}):
            encoder = Encoder(partition.stream, "p:")

            def take(text: bytes, encoder: Encoder = encoder) -> tuple[str, ...]:
                columns = copytext.columns(text, len(encoder.stream.columns))
                for start in range(0, len(columns[0]), rows):
                    batch = encoder.batch([column[start : start + rows] for column in columns])
                    replies = resp.parse(connection.exchange(joined(batch.commands)))
                    assert len(replies) == len(batch.commands) and not list(resp.errors(replies))
                return batch.position

            opened.read(partition, None, take)
    connection.close()
    return {key.decode().removeprefix("p:"): value for key, value in dump(target).items()}


def raw(fields: Mapping[str, str | bytes]) -> dict[bytes, bytes]:
    return {k.encode(): v if isinstance(v, bytes) else v.encode() for k, v in fields.items()}


@pytest.fixture
def rows(postgres_url: str) -> str:
    run_sql(postgres_url, SCHEMA)
    return postgres_url


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_a_hash_of_every_format(rows: str, redis_url: str, batch: int) -> None:
    held = written(rows, redis_url, f'[[key]]\nname = "all:{{id}}"\ntype = "hash"\n{ALL}\n', rows=batch)
    wanted = {"all:1": FIRST, "all:2": SECOND, "all:3": THIRD, "all:4": FOURTH}
    assert held == {key: raw(fields) for key, fields in wanted.items()}


def test_a_hash_of_some_columns_under_other_names(rows: str, redis_url: str) -> None:
    fields = 'fields = ["tx", { "né\\"w" = "b" }]'
    held = written(rows, redis_url, f'[[key]]\nname = "all:{{id}}"\ntype = "hash"\n{ALL}\n{fields}\n')
    assert held["all:1"] == raw({"tx": str(FIRST["tx"]), 'né"w': "true"})
    assert held.keys() == {"all:1", "all:2"}  # Redis holds no empty hash


def test_json_is_that_of_a_hash(rows: str, redis_url: str) -> None:
    held = written(rows, redis_url, f'[[key]]\nname = "j:{{id}}"\ntype = "string"\n{ALL}\n')
    for number, fields in enumerate((FIRST, SECOND, THIRD, FOURTH), 1):
        texts = {
            name: "\\x" + value.hex() if isinstance(value, bytes) else value for name, value in fields.items()
        }
        texts |= {"by": "\\x"} if number == 2 else {}
        assert held[f"j:{number}"] == json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()


def test_json_of_odd_texts(postgres_url: str, redis_url: str) -> None:
    run_sql(
        postgres_url,
        'CREATE TABLE t (id int PRIMARY KEY, "a""b" text, c text)',
        "INSERT INTO t SELECT n, CASE WHEN n % 2 = 0 THEN chr(n) || 'é🙂' || chr(n) END, "
        "CASE WHEN n % 3 = 0 THEN '\"\\' END FROM generate_series(1, 140) n",
    )
    held = written(postgres_url, redis_url, '[[key]]\nname = "{id}"\ntype = "string"\ntable = "t"\n')
    for n in range(1, 141):
        wanted = {"id": str(n)} | ({'a"b': chr(n) + "é🙂" + chr(n)} if n % 2 == 0 else {})
        wanted |= {"c": '"\\'} if n % 3 == 0 else {}
        assert held[str(n)] == json.dumps(wanted, ensure_ascii=False, separators=(",", ":")).encode()


def test_strings_of_templates(rows: str, redis_url: str) -> None:
    model = (
        f'[[key]]\nname = "s:{{id}}"\ntype = "string"\n{ALL}\nvalue = "{{tx}}-{{by}}-{{b}}"\n'
        f'[[key]]\nname = "raw:{{id}}"\ntype = "string"\n{ALL}\nvalue = "{{by}}"\n'
        f'[[key]]\nname = "two:{{id}}"\ntype = "string"\n{ALL}\nvalue = "{{tx}}:{{m}}"\n'
    )
    assert written(rows, redis_url, model) == {
        "s:1": b'a:b%{c}"\\\n\tx-\\x00ff41-true',
        "s:2": b"-\\x-false",
        "raw:1": b"\0\xffA",
        "raw:2": b"",
        "two:1": b'a%3Ab%25%7Bc%7D"\\\n\tx:ok%3A fine',
        "two:2": b":sad",
    }


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_collections_of_text_owners(rows: str, redis_url: str, batch: int) -> None:
    model = (
        f'[[key]]\nname = \'z:{{"Key {{x}}"}}\'\ntype = "sorted_set"\n{ODD}\nvalue = "{{k2}}"\nscore = "v"\n'
        f'[[key]]\nname = \'l:{{"Key {{x}}"}}\'\ntype = "list"\n{ODD}\nvalue = "{{order}}"\norder = ["v"]\n'
        f'[[key]]\nname = \'h:{{"Key {{x}}"}}:{{k2}}\'\ntype = "set"\n{ODD}\nvalue = "{{v}}"\n'
    )
    held = written(rows, redis_url, model, rows=batch)
    assert {key: value for key, value in held.items() if key[0] == "z"} == {
        "z:": [(b"2026-01-01", 0.1)],
        "z:a%3Ab": [(b"2026-01-03", -0.5), (b"2026-01-04", 1.0), (b"2026-01-02", 2.0)],
        "z:é%25%7B%7D": [(b"2026-01-01", 1e-7)],
    }
    lists = {"l:": [b"z"], "l:a%3Ab": [b"first", b"{y}"], "l:é%25%7B%7D": [b"q"]}
    assert {key: value for key, value in held.items() if key[0] == "l"} == lists
    assert {key: value for key, value in held.items() if key[0] == "h"} == {
        "h::2026-01-01": {b"0.1"},
        "h:a%3Ab:2026-01-02": {b"2"},
        "h:a%3Ab:2026-01-03": {b"-0.5"},
        "h:a%3Ab:2026-01-04": {b"1"},
        "h:é%25%7B%7D:2026-01-01": {b"1e-07"},
    }


def test_one_key_for_a_whole_table(rows: str, redis_url: str) -> None:
    model = (
        f'[[key]]\nname = "times"\ntype = "sorted_set"\n{ALL}\nvalue = "{{id}}:{{b}}"\nscore = "t"\n'
        f'[[key]]\nname = "days"\ntype = "list"\n{ALL}\nvalue = "{{id}}"\norder = ["i2"]\n'
    )
    held = written(rows, redis_url, model, rows=1)
    assert held == {"times": [(b"2:false", 1.0), (b"1:true", 86400e6)], "days": [b"1"]}


@pytest.mark.parametrize(
    ("type_", "values", "scores"),
    [
        ("int8", ["-9223372036854775808", "7"], [-9223372036854775808.0, 7.0]),
        ("numeric", ["-1.50", "0.1", "1e300"], [-1.5, 0.1, 1e300]),
        ("real", ["0.1"], [0.1]),
        ("timestamp", ["0001-01-01", "1969-12-31 23:59:59.999999"], [-62135596800000000.0, -1.0]),
        ("timestamptz", ["2026-01-01 01:00:00.5+01"], [1767225600500000.0]),
        ("date", ["1969-12-31", "2026-01-01"], [-1.0, 20454.0]),
        ("time", ["00:00:00.1", "23:59:59.999999"], [100000.0, 86399999999.0]),
    ],
)
def test_scores(
    postgres_url: str, redis_url: str, type_: str, values: list[str], scores: list[float]
) -> None:
    rows = ", ".join(f"({number}, '{value}')" for number, value in enumerate(values))
    run_sql(
        postgres_url,
        f"CREATE TABLE t (id int PRIMARY KEY, s {type_}); INSERT INTO t VALUES {rows}, (99, NULL)",
    )
    model = '[[key]]\nname = "z"\ntype = "sorted_set"\ntable = "t"\nvalue = "{id}"\nscore = "s"\n'
    held = written(postgres_url, redis_url, model)
    assert held == {"z": [(str(n).encode(), score) for n, score in enumerate(scores)]}


def test_what_is_no_score_is_left_out(postgres_url: str, redis_url: str) -> None:
    values = itertools.count()
    rows = ", ".join(
        f"({next(values)}, '{value}')" for value in ("NaN", "Infinity", "1e301", "1e-301", "0.00", "5")
    )
    run_sql(postgres_url, f"CREATE TABLE t (id int PRIMARY KEY, s numeric); INSERT INTO t VALUES {rows}")
    model = '[[key]]\nname = "z"\ntype = "sorted_set"\ntable = "t"\nvalue = "{id}"\nscore = "s"\n'
    assert written(postgres_url, redis_url, model) == {"z": [(b"4", 0.0), (b"5", 5.0)]}
