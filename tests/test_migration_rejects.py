"""Rows of every kind: held and given back exactly, or rejected by name."""

import json
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from migrating import dump, interrupted, migrate, run_sql

from helpers.migration import comparing, verification
from helpers.migration.findings import Rejects
from helpers.model import rows
from helpers.relational import redis_model, schema
from helpers.servers import connections
from helpers.source import copytext
from helpers.source.snapshot import Source

NASTY = st.sampled_from(
    [
        "",
        " ",
        "NULL",
        "\\N",
        "\\",
        "a:b:c",
        "\r\n",
        "\t",
        "\x01\x7f",
        "é" * 50,
        "🙂" * 50,
        "$5\r\nhello\r\n",
        "%b",
        "{x}",
    ]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)


DATES = st.sampled_from(
    [
        "infinity",
        "-infinity",
        "0044-03-15 00:00:00 BC",
        "10000-01-01",
        "294276-12-31 23:59:59.999999",
        "0001-01-01",
        "9999-12-31 23:59:59.999999",
        "1684-07-28",
        "2255-06-05 23:47:34.740993",
        "2026-01-01 00:00:00.1",
    ]
) | st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)).map(
    lambda d: d.isoformat(" ")
)


PRICES = st.sampled_from(["NaN", "0.00", "-0.01", "99999999.99", "-99999999.99", "19.9"])


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.none() | NASTY, st.none() | NASTY, st.none() | DATES, st.none() | PRICES),
        min_size=1,
        max_size=25,
    )
)
def test_hostile_values(postgres_url: str, redis_url: str, values: list[tuple[Any, ...]]) -> None:
    connection = connections.postgres(postgres_url)
    with connection, connection.cursor() as cursor:
        schema.drop(connection)
        schema.create(connection)
        cursor.execute(
            "ALTER TABLE users DROP CONSTRAINT users_username_key, DROP CONSTRAINT users_email_key"
        )
        for n, (a, b, date, price) in enumerate(values, 1):
            cursor.execute("INSERT INTO users VALUES (%s, %s, %s, %s)", (n, a, b, date))
            cursor.execute("INSERT INTO products VALUES (%s, %s, %s)", (n, b, price))
            cursor.execute(
                "INSERT INTO activities VALUES (%s, %s, %s, %s)",
                (n, None if price == "NaN" else 1 + n % 2, a, date),
            ) if n > 1 else None
            cursor.execute(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, %s)",
                (n, 1 if a else None, n if b else None, date, n),
            )
    connection.close()
    result = migrate(postgres_url, redis_url, flushdb=True, batch_rows=7)
    assert result["status"] == "verified"
    with Source(postgres_url) as opened:
        plan = opened.plan
    # An independent count: what the model calls unheld, from the rows as PostgreSQL writes them.
    connection = connections.postgres(postgres_url)
    client: Any = connections.redis(redis_url, decode_responses=True)
    for table in redis_model.TABLES:
        with connection.cursor() as cursor:
            columns = ", ".join(f"{name}::text" for name in redis_model.COLUMNS[table])
            cursor.execute(f"SELECT {columns} FROM {table}")
            rejected = [row for row in cursor.fetchall() if plan.reject_reason(table, row)]
            score_order = result["rejects_by_reason"].get("score_order", 0) if table == "activities" else 0
            assert result["rows_rejected"][table] == len(rejected) + score_order
            if table == "activities":
                continue
            ids = {int(row[0]) for row in rejected}
            key = redis_model.COLUMNS[table][0]
            cursor.execute(
                f"SELECT {', '.join(redis_model.COLUMNS[table])} FROM {table} WHERE NOT {key} = ANY(%s)",
                (list(ids),),
            )
            for row in cursor.fetchall():
                again = redis_model.decode_row(table, row[0], client.hgetall(f"{table[:-1]}:{row[0]}"))
                assert [str(value) for value in again] == [str(value) for value in row]
    connection.close()


def test_rejected_rows_are_named_once(source: str, redis_url: str) -> None:
    run_sql(
        source,
        "INSERT INTO activities VALUES (101, NULL, 'login', '2026-01-01'), (102, 1, NULL, '2026-01-01'), "
        "(103, 1, 'x', NULL), "
        "(104, 1, 'x', 'infinity'), (105, 2, 'x', '0044-03-15 BC'), (106, 2, 'x', '20000-01-01')",
        "INSERT INTO users VALUES (50, NULL, NULL, NULL)",
        "INSERT INTO orders VALUES (60, NULL, NULL, NULL, NULL), (61, NULL, 1, NULL, 2)",
        # one microsecond apart in a year whose scores are 32 apart, ids the other way round
        "INSERT INTO activities VALUES (202, 5, 'x', '9998-01-01 00:00:00.000001'), (201, 5, 'x', "
        "'9998-01-01 00:00:00.000002')",
    )
    with pytest.raises(SystemExit) as stopped:
        from helpers import cli

        sys.exit(
            cli.main(["migrate", "--source", source, "--target", redis_url, "--batch-rows", "3", "--json"])
        )
    assert stopped.value.code == 1
    result = migrate(source, redis_url)
    assert result["status"] == "verified"
    rows = [json.loads(line) for line in Path(result["reject_file"]).read_text().splitlines()]
    assert {(r["table"], r["key"], r["reason"]) for r in rows} == {
        ("activities", "101", "null_user_id"),
        ("activities", "102", "null_activity_type"),
        ("activities", "103", "null_activity_date"),
        ("activities", "104", "infinite_date"),
        ("activities", "105", "bc_date"),
        ("activities", "106", "year_over_9999"),
        ("activities", "201", "score_order"),
        ("users", "50", "no_field"),
        ("orders", "60", "no_field"),
    }
    assert (
        len(rows) == 9 == sum(result["rows_rejected"].values()) == sum(result["rejects_by_reason"].values())
    )
    assert rows[0]["row"].keys() == set(redis_model.COLUMNS[rows[0]["table"]])
    assert Path(result["reject_file"]).stat().st_mode & 0o777 == 0o600
    held = dump(redis_url)
    assert held[b"order:61"] == {b"product_id": b"1", b"quantity": b"2"}
    assert b"user:50" not in held


PAIRS = {
    "in the year 9998": ("9998-01-01 00:00:00.000001", "9998-01-01 00:00:00.000002"),
    "at the end of 2255": ("2255-12-31 23:59:59.999996", "2255-12-31 23:59:59.999997"),
    "where scores stop being exact": ("2255-06-05 23:47:34.740992", "2255-06-05 23:47:34.740993"),
    "where scores begin to be exact": ("1684-07-28 00:12:25.259007", "1684-07-28 00:12:25.259008"),
    "in the year 1": ("0001-01-01 00:00:00.000000", "0001-01-01 00:00:00.000001"),
}
"""Dates a microsecond apart that have the same score."""


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, source: str) -> str:
    """A source in which only two activities are not in order; what the list holds of them."""
    earlier, later = PAIRS[request.param]
    run_sql(
        source,
        f"INSERT INTO activities VALUES (202, 5, 'x', '{earlier}'), (201, 5, 'x', '{later}'), "
        "(203, 6, 'behind', '2026-01-01')",
    )
    return f"x:{earlier.replace(' ', 'T')}"


def one_is_left_out(source: str, redis_url: str, pair: str, result: dict[str, Any]) -> None:
    assert (result["status"], result["caught_up"]) == ("verified", {})
    assert result["rejects_by_reason"] == {"score_order": 1} and result["rows_read"]["activities"] == 33
    assert result["rows_rejected"] == {"users": 0, "products": 0, "activities": 1, "orders": 0}
    (line,) = Path(result["reject_file"]).read_text().splitlines()
    assert json.loads(line)["key"] == "201"
    client: Any = connections.redis(redis_url, decode_responses=True)
    assert client.lrange("user:5:activities", 0, -1) == [pair]
    assert json.loads(client.hget("migration:state", "rows_held"))["activities"] == 32
    assert verification.verify(source, redis_url, progress=False)["differences"] == 0


@pytest.mark.parametrize("rows", [1, comparing.WINDOW_ROWS])
def test_a_pair_out_of_order_is_the_only_reject(
    source: str, redis_url: str, pair: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "WINDOW_ROWS", rows)
    one_is_left_out(source, redis_url, pair, migrate(source, redis_url, batch_rows=rows))


def test_a_load_that_was_stopped_within_a_pair_out_of_order_goes_on(
    source: str, redis_url: str, pair: str
) -> None:
    interrupted(source, redis_url, lambda state: state.get("rows:activities") == 31, batch_rows=1)
    result = migrate(source, redis_url, batch_rows=1)
    assert result["resumed"]
    one_is_left_out(source, redis_url, pair, result)


def test_the_model_and_the_question_agree_on_rejects(source: str) -> None:
    """The load takes the rows that SQL says the model holds; of each row the model must say the same."""
    run_sql(
        source,
        "INSERT INTO activities VALUES (101, NULL, 'a', '2026-01-01'), (102, 1, NULL, 'infinity'), (103, "
        "1, 'x', '-infinity'), (104, 1, 'x', NULL), (105, 1, 'x', '0001-01-01 BC')",
        "INSERT INTO products VALUES (9, NULL, NULL)",
        "INSERT INTO users VALUES (70, 'u', NULL, '10000-01-01')",
        "INSERT INTO users VALUES (71, 'v', NULL, '9999-12-31 23:59:59.999999')",
        "INSERT INTO orders VALUES (71, NULL, NULL, 'infinity', NULL), (72, NULL, NULL, NULL, NULL)",
    )
    with Source(source) as snapshot:
        asked = Rejects(snapshot.plan).collect(snapshot).counts
        for table in redis_model.TABLES:
            lines: list[bytes] = []
            of = snapshot.plan.tables[table]
            snapshot.stream(f"SELECT {', '.join(redis_model.COLUMNS[table])} FROM {of.sql}", lines.append)
            reasons = (snapshot.plan.reject_reason(table, copytext.texts(line)) for line in lines)
            assert asked[table] == Counter(filter(None, reasons))


def test_texts_that_redis_cannot_hold_are_rejected(source: str, redis_url: str, monkeypatch: Any) -> None:
    """With a limit of few bytes for 512 MB: SQL and the model must mean the same bytes."""
    monkeypatch.setattr(rows, "LONGEST_BYTES", 30)
    monkeypatch.setattr(rows, "COMPRESSED_BYTES", 1)
    for column in ("users.username", "users.email", "products.product_name", "activities.activity_type"):
        table, name = column.split(".")
        run_sql(source, f"ALTER TABLE {table} ALTER {name} TYPE text")
    run_sql(
        source,
        "INSERT INTO users VALUES (90, repeat('é', 15), ''), (91, repeat('é', 16), NULL), "
        "(92, 'x', repeat('y', 31))",
        "INSERT INTO products VALUES (90, repeat('z', 30)), (91, repeat('z', 31))",
        "INSERT INTO activities VALUES (90, 1, repeat('🙂', 7), now()), (91, 1, repeat('🙂', 8), now())",
    )
    with Source(source) as snapshot:
        for table in ("users", "products", "activities"):
            columns = ", ".join(f"{name}::text" for name in redis_model.COLUMNS[table])
            for held, *row in snapshot.ask(
                f"SELECT {snapshot.plan.held_sql(table)}, {columns} FROM {snapshot.plan.tables[table].sql}"
            ):
                assert (snapshot.plan.reject_reason(table, row) is None) == held
                assert held or snapshot.plan.reject_reason(table, row) == "too_long"
                assert held == (row[0] not in ("91", "92"))


def test_numbers_at_their_edges(source: str, redis_url: str) -> None:
    low, high = -(2**63), 2**63 - 1
    widen = {"users": ["user_id"], "products": ["product_id"], "activities": ["activity_id", "user_id"]}
    widen["orders"] = ["order_id", "user_id", "product_id", "quantity"]
    run_sql(
        source,
        *(
            f"ALTER TABLE {table} ALTER {name} TYPE bigint"
            for table, names in widen.items()
            for name in names
        ),
        "ALTER TABLE products ALTER price TYPE numeric",
        "INSERT INTO products VALUES (100, 'a', 'Infinity'), (101, 'b', '-Infinity'), (102, 'c', 'NaN'), "
        "(103, 'd', 1e-20), (104, 'e', 1e30), (105, 'f', -0.0), (106, 'g', 1.10), (107, 'h', 0.00)",
        *(
            statement.format(n)
            for n in (low, -1, 0, high)
            for statement in (
                "INSERT INTO users VALUES ({0}, '{0}')",
                "INSERT INTO products VALUES ({0}, '{0}')",
                "INSERT INTO activities VALUES ({0}, {0}, 'x', '2026-01-01')",
                "INSERT INTO orders VALUES ({0}, {0}, {0}, '2026-01-01', {0})",
            )
        ),
    )
    for options in ({}, {"replace": True, "batch_rows": 1}):
        result = migrate(source, redis_url, **options)
        assert (result["status"], result["rejects_by_reason"]) == ("verified", {})
    client: Any = connections.redis(redis_url, decode_responses=True)
    prices = [client.hget(f"product:{number}", "price") for number in range(100, 108)]
    assert prices == [
        *("Infinity", "-Infinity", "NaN", "0.00000000000000000001", "1" + 30 * "0", "0.0", "1.10", "0.00")
    ]
    connection = connections.postgres(source)
    with connection.cursor() as cursor:
        for number in (low, -1, 0, high):
            assert client.zrange(f"user:{number}:orders", 0, -1) == [str(number)]
            assert client.zrange(f"user:{number}:activities:by_time", 0, -1) == [f"{number}:x"]
            held = redis_model.decode_row("orders", number, client.hgetall(f"order:{number}"))
            cursor.execute("SELECT * FROM orders WHERE order_id = %s", (number,))
            assert cursor.fetchall() == [held]
        for number in range(100, 108):
            cursor.execute("SELECT * FROM products WHERE product_id = %s", (number,))
            (row,) = cursor.fetchall()
            held = redis_model.decode_row("products", number, client.hgetall(f"product:{number}"))
            assert list(map(str, held)) == list(map(str, row))
            assert redis_model.encode_row("products", row) == client.hgetall(f"product:{number}")
    connection.close()


def test_padding_and_emptiness_are_kept(source: str, redis_url: str) -> None:
    run_sql(
        source,
        "ALTER TABLE users ALTER username TYPE char(12)",
        "ALTER TABLE activities ALTER activity_type TYPE char(8)",
        "INSERT INTO users VALUES (90, '', ''), (91, ' a ', ' '), (92, NULL, '  ')",
        "INSERT INTO activities VALUES (90, 6, '', '2026-01-01'), (91, 6, ' a', '2026-01-02')",
    )
    assert migrate(source, redis_url)["status"] == "verified"
    client: Any = connections.redis(redis_url, decode_responses=True)
    assert client.hgetall("user:90") == {"username": 12 * " ", "email": ""}
    assert client.hgetall("user:91") == {"username": " a ".ljust(12), "email": " "}
    assert client.hgetall("user:92") == {"email": "  "}
    elements = [
        redis_model.decode_activity(element)[0] for element in client.lrange("user:6:activities", 0, -1)
    ]
    assert elements == [8 * " ", " a".ljust(8)]
