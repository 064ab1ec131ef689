"""Rows of every kind: held and given back exactly, or rejected by name."""

import json
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from migrating import dump, migrate, run_sql

from helpers import connections, model, schema
from helpers.transfer import copytext
from helpers.transfer.rejects import Rejects
from helpers.transfer.source import Source

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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    # An independent count: what the model calls unheld, from the rows as PostgreSQL writes them.
    connection = connections.postgres(postgres_url)
    client = connections.redis(redis_url, decode_responses=True)
    for table in model.TABLES:
        with connection.cursor() as cursor:
            columns = ", ".join(f"{name}::text" for name in model.COLUMNS[table])
            cursor.execute(f"SELECT {columns} FROM {table}")
            rejected = [row for row in cursor.fetchall() if model.reject_reason(table, row)]
            score_order = result["rejects_by_reason"].get("score_order", 0) if table == "activities" else 0
            assert result["rows_rejected"][table] == len(rejected) + score_order
            if table == "activities":
                continue
            ids = {int(row[0]) for row in rejected}
            key = model.COLUMNS[table][0]
            cursor.execute(
                f"SELECT {', '.join(model.COLUMNS[table])} FROM {table} WHERE NOT {key} = ANY(%s)",
                (list(ids),),
            )
            for row in cursor.fetchall():
                again = model.decode_row(table, row[0], client.hgetall(f"{table[:-1]}:{row[0]}"))
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
    assert rows[0]["row"].keys() == set(model.COLUMNS[rows[0]["table"]])
    assert Path(result["reject_file"]).stat().st_mode & 0o777 == 0o600
    held = dump(redis_url)
    assert held[b"order:61"] == {b"product_id": b"1", b"quantity": b"2"}
    assert b"user:50" not in held


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
        asked = Rejects().collect(snapshot).counts
        for table in model.TABLES:
            lines: list[bytes] = []
            snapshot.stream(f"SELECT {', '.join(model.COLUMNS[table])} FROM {table}", lines.append)
            reasons = (model.reject_reason(table, copytext.texts(line)) for line in lines)
            assert asked[table] == Counter(filter(None, reasons))
