"""Which rows can be held: SQL, of all rows, and Python, of one, say the same of every type."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from psycopg2.extensions import connection as Connection

from helpers.model import SETTINGS, Key, Model, Plan, rows
from helpers.servers import connections
from helpers.source import tables

TYPES = {
    "a": "integer", "b": "numeric", "c": "double precision", "d": "boolean", "e": "uuid", "f": "timestamp",
    "g": "timestamptz", "h": "date", "i": "time", "j": "bytea", "k": "text", "l": "varchar(9)", "m": "jsonb",
    "n": "integer[]", "o": "real", "p": "interval", "q": "char(4)",
}  # fmt: skip
"""The type of each column of the table, beside its key."""
MOMENTS = [
    *(
        "infinity",
        "-infinity",
        "4713-01-01 BC",
        "0044-03-15 BC",
        "0001-12-31 23:59:59.999999 BC",
        "0001-01-01",
    ),
    *("1900-01-01", "2026-01-01 10:00:00.5", "9999-12-31 23:59:59.999999", "10000-01-01", "294276-12-31"),
]
ZONES = ["10000-01-01 00:00:00+14", "0001-01-01 00:00:00+14", "9999-12-31 23:00:00-02"]
VALUES: dict[str, list[str]] = {
    "a": ["0", "-7", "2147483647"],
    "b": [
        *("0", "0.00", "NaN", "Infinity", "-Infinity", "19.90"),
        *("1e300", "1.1e300", "-1e301", "1e-300", "9e-301", "-1e-301"),
    ],
    "c": ["0", "-0", "NaN", "Infinity", "-Infinity", "1e308", "5e-324", "0.1"],
    "d": ["true", "false"],
    "e": ["00000000-0000-0000-0000-000000000001"],
    "f": MOMENTS,
    "g": [*MOMENTS, *ZONES],
    "h": ["infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "9999-12-31", "10000-01-01", "58748-12-31"],
    "i": ["00:00", "24:00", "10:00:00.5"],
    "j": ["", "\\x00", "\\x" + "ab" * 12],
    "k": ["", "x", "é" * 9, "%:{}" * 5, "🙂" * 7],
    "l": ["", "x" * 9],
    "m": ["{}", '"' + "y" * 20 + '"'],
    "n": ["{}", "{1,NULL}"],
    "o": ["NaN", "Infinity", "1.5"],
    "p": ["1 day", "0"],
    "q": ["", "ab"],
}  # fmt: skip
ROWS = st.fixed_dictionaries({name: st.none() | st.sampled_from(some) for name, some in VALUES.items()})
_every = list(TYPES)
_dated = ["f", "g", "h"]
MODELS: dict[str, list[Key]] = {
    "a hash": [Key("t:{id}", "hash", "t")],
    "a hash without its key": [Key("t:{id}", "hash", "t", {name: name for name in _every})],
    "a hash of two fields": [Key("t:{id}", "hash", "t", {"f": "f", "k": "k"})],
    "a JSON object": [Key("t:{id}", "string", "t", {"f": "f", "j": "j", "k": "k"})],
    "elements": [Key("t", "list", "t", value="{id}:" + ":".join(f"{{{name}}}" for name in _every))],
    "names": [Key(f"{name}:{{{name}}}", "set", "t", value="{id}") for name in _every],
    "strings": [Key(f"{name}:{{id}}", "string", "t", value=f"{{{name}}}") for name in _every],
    "scores": [Key(f"{name}", "sorted_set", "t", value="{id}", score=name) for name in "abcfghio"],
    "orders": [Key(f"{name}", "list", "t", value="{id}", order=(name,)) for name in _every if name != "m"],
    "a hash and references": [
        Key("t:{id}", "hash", "t"),
        *(Key(f"{name}:{{{name}}}", "sorted_set", "t", value="{id}", score="g") for name in "aek"),
    ],
    "a list and a sorted set": [
        Key("a:{a}", "list", "t", value="{g}:{k}", order=("g", "id")),
        Key("b:{a}", "sorted_set", "t", value="{id}:{k}", score="g"),
    ],
    "everything": [
        Key("t:{id}", "string", "t"),
        Key("s:{h}:{b}", "list", "t", value="{k}:{l}", order=("c", "f")),
        Key("u:{g}", "sorted_set", "t", value="{id}", score="b"),
    ],
}


@pytest.fixture(scope="module")
def connection(postgres_server: str) -> Iterator[Connection]:
    """With a table whose only row is another for each example."""
    made = connections.postgres(postgres_server)
    made.autocommit = True
    with made.cursor() as cursor:
        for name, value in SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES.items())
        cursor.execute(f"CREATE TEMP TABLE t (id int PRIMARY KEY, {columns}); SET search_path = pg_temp")
    yield made
    made.close()


def ask(connection: Connection, query: str, values: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def plans(connection: Connection, dates: str = "text") -> Iterator[tuple[str, Plan]]:
    for name, keys in MODELS.items():
        declared = Model(keys, dates)
        bound = tables.bind(lambda query, values: ask(connection, query, values), "here", declared)
        yield name, Plan(declared, bound)


@pytest.fixture(scope="module")
def every(connection: Connection) -> list[tuple[str, Plan]]:
    return [
        (f"{name}, {dates}", plan) for dates in ("text", "iso") for name, plan in plans(connection, dates)
    ]


def fill(connection: Connection, row: dict[str, str | None]) -> list[str | None]:
    """Make it the only row, and give it as PostgreSQL writes it."""
    with connection.cursor() as cursor:
        names = ", ".join(TYPES)
        cursor.execute("DELETE FROM t")
        cursor.execute(
            f"INSERT INTO t (id, {names}) VALUES (1{', %s' * len(TYPES)})", [row[name] for name in TYPES]
        )
        cursor.execute(f"SELECT id::text, {', '.join(f'{name}::text' for name in TYPES)} FROM t")
        return list(cursor.fetchall()[0])


def agree(connection: Connection, every: list[tuple[str, Plan]], text: list[str | None]) -> set[str]:
    """Look whether SQL and Python agree on the row, and give the reasons why it is rejected."""
    conditions = [(name, plan, plan.held_sql("t").replace("%", "%%")) for name, plan in every]
    (held,) = ask(
        connection, f"SELECT {', '.join(f'({sql}) IS TRUE' for _, _, sql in conditions)} FROM t", ()
    )
    reasons = set()
    for (name, plan, sql), there in zip(conditions, held, strict=True):
        reason = plan.reject_reason("t", text)
        assert (reason is None) == there, (name, reason, sql)
        if reason is not None:
            assert reason in rows.REASONS or reason.removeprefix("null_") in TYPES, reason
            reasons.add(reason)
        else:
            present = [plan.limits["t"].present(kind, text) for kind in plan.kinds]
            asked = ", ".join(f"({plan.asks_sql(kind).replace('%', '%%')}) IS TRUE" for kind in plan.kinds)
            assert list(ask(connection, f"SELECT {asked} FROM t", ())[0]) == present, (name, asked)
            assert any(present)
    return reasons


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
@example(dict.fromkeys(TYPES))
@example({**dict.fromkeys(TYPES), "k": "", "f": "infinity"})
def test_sql_and_python_agree(
    connection: Connection, every: list[tuple[str, Plan]], row: dict[str, str | None]
) -> None:
    agree(connection, every, fill(connection, row))


def test_each_value_alone(connection: Connection, every: list[tuple[str, Plan]]) -> None:
    """So that each is rejected for what it is."""
    found = {}
    good = {name: next(v for v in some if v not in ("NaN", "infinity", "0")) for name, some in VALUES.items()}
    good.update(f="2026-01-01", g="2026-01-01", h="2026-01-01", o="1.5")
    for name, some in VALUES.items():
        for value in some:
            both: list[dict[str, str | None]] = [
                {**dict.fromkeys(TYPES), name: value},
                {**good, name: value},
            ]
            for row in both:
                reasons = agree(connection, every, fill(connection, row))
                found[name, value] = reasons - {f"null_{other}" for other in TYPES} - {"no_field", "no_key"}
    for name in _dated:
        assert found[name, "infinity"] == found[name, "-infinity"] == {"infinite_date"}
        assert found[name, "0044-03-15 BC"] == {"bc_date"}
        assert found[name, "10000-01-01"] == {"year_over_9999"}
        assert found[name, "0001-01-01"] == set()
    assert found["g", "10000-01-01 00:00:00+14"] == set() and found["g", "0001-01-01 00:00:00+14"] == {
        "bc_date"
    }
    assert found["g", "9999-12-31 23:00:00-02"] == {"year_over_9999"}
    for name, value in (
        ("b", "NaN"),
        ("b", "1.1e300"),
        ("b", "-1e301"),
        ("b", "9e-301"),
        ("c", "NaN"),
        ("o", "Infinity"),
    ):
        assert found[name, value] == {"no_score"}, (name, value)
    for name, value in (
        ("b", "1e300"),
        ("b", "1e-300"),
        ("b", "0.00"),
        ("c", "1e308"),
        ("c", "5e-324"),
        ("k", ""),
        ("j", ""),
    ):
        assert found[name, value] == set(), (name, value)


def test_texts_at_the_limit_agree(
    connection: Connection, every: list[tuple[str, Plan]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few bytes for 512 MB: SQL and Python mean the same bytes, escapes and hex among them."""
    reasons = set()
    for limit in (1, 8, 20, 23, 24, 25, 26, 27, 28, 29, 30, 50, 51, 60):
        monkeypatch.setattr(rows, "LONGEST_BYTES", limit)
        monkeypatch.setattr(rows, "COMPRESSED_BYTES", 0)
        fresh = [(name, Plan(plan.model, plan.bound)) for name, plan in every]
        for name, value in (
            ("k", "é" * 9),
            ("k", "%:{}" * 5),
            ("j", "\\x" + "ab" * 12),
            ("m", '"' + "y" * 20 + '"'),
        ):
            for row in (
                {**dict.fromkeys(TYPES), name: value},
                {**dict.fromkeys(TYPES), "j": "\\xff", "k": "x", name: value},
            ):
                reasons |= agree(connection, fresh, fill(connection, row))
    assert "too_long" in reasons
