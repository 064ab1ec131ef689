import os
import signal
import subprocess
import sys
import textwrap
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from hypothesis import given, strategies as st
from migrating import until

from helpers.errors import HelpersError
from helpers.relational import population, schema
from helpers.relational.rows import Rows
from helpers.servers import connections
from helpers.source import catalogue

SMALL: dict[str, Any] = {"users": 7, "products": 3, "activities": 40, "orders": 11, "progress": False}


@pytest.fixture
def ask(postgres_url):
    connection = connections.postgres(postgres_url)
    connection.autocommit = True
    cursor = connection.cursor()

    def ask(query, *values):
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else None

    yield ask
    connection.close()


def held(ask):
    return {table: ask(f"SELECT count(*) FROM {table}")[0][0] for table in schema.TABLES}


def test_the_tables_hold_exactly_the_rows_made(postgres_url, ask):
    result = population.populate(postgres_url, **SMALL, seed=5)
    made = Rows(users=7, products=3, activities=40, orders=11, seed=5)
    for table in schema.TABLES:
        assert ask(f"SELECT * FROM {table} ORDER BY 1") == list(made.table(table))
    assert result["rows"] == held(ask) == {"users": 7, "products": 3, "activities": 40, "orders": 11}
    assert result["seed"] == 5
    assert result["schema"] == ask("SELECT current_schema()")[0][0]
    assert result["rows_per_second"] == pytest.approx(61 / result["seconds"])
    assert result["peak_rss_mb"] > 10


def test_the_default_is_the_course_of_20_15_20_20(postgres_url, ask):
    population.populate(postgres_url, progress=False)
    assert held(ask) == {"users": 20, "products": 15, "activities": 20, "orders": 20}


def test_the_next_row_gets_the_next_key(postgres_url, ask):
    population.populate(postgres_url, **SMALL)
    assert ask("INSERT INTO users (username) VALUES ('new') RETURNING user_id") == [(8,)]
    assert ask("INSERT INTO orders (user_id) VALUES (1) RETURNING order_id") == [(12,)]


def test_the_planner_knows_the_rows(postgres_url, ask):
    population.populate(postgres_url, **SMALL)
    assert ask("SELECT reltuples FROM pg_class WHERE oid = 'activities'::regclass") == [(40,)]


def test_rows_that_are_there_are_kept_unless_replace(postgres_url, ask):
    population.populate(postgres_url, **SMALL, seed=1)
    before = ask("SELECT * FROM users")
    with pytest.raises(HelpersError, match=r"users 7, products 3, activities 40, orders 11.*--replace"):
        population.populate(postgres_url, **SMALL, seed=2)
    assert ask("SELECT * FROM users") == before
    population.populate(postgres_url, **SMALL, seed=2, replace=True)
    assert ask("SELECT * FROM users") != before
    population.populate(postgres_url, **SMALL, seed=1, replace=True)
    assert ask("SELECT * FROM users") == before


@pytest.mark.parametrize("table", schema.TABLES)
def test_rows_of_somebody_else_are_never_removed(postgres_url, ask, table):
    connection = connections.postgres(postgres_url)
    with connection:
        schema.create(connection)
    connection.close()
    ask(f"INSERT INTO {table} DEFAULT VALUES")
    with pytest.raises(HelpersError, match=f"{table} holds rows that populate did not make"):
        population.populate(postgres_url, **SMALL, replace=True)
    assert {name: number for name, number in held(ask).items() if number} == {table: 1}


def test_the_mark_of_an_older_version_is_known_again(postgres_url, ask):
    population.populate(postgres_url, **SMALL)
    found = ask("SELECT obj_description('users'::regclass, 'pg_class')")[0][0]
    assert found.startswith("rows made by helpers.population, seed ")


def test_another_comment_is_not_the_mark(postgres_url, ask):
    population.populate(postgres_url, **SMALL)
    ask("COMMENT ON TABLE orders IS 'our orders'")
    with pytest.raises(HelpersError, match="orders holds rows that populate did not make"):
        population.populate(postgres_url, **SMALL, replace=True)


def test_a_table_with_other_columns_stops_it(postgres_url, ask):
    ask("CREATE TABLE products (product_id integer)")
    with pytest.raises(HelpersError, match="products exists and differs"):
        population.populate(postgres_url, **SMALL)
    assert ask("SELECT to_regclass('users')") == [(None,)]


@pytest.mark.parametrize("option", ["users", "products", "activities", "orders"])
@pytest.mark.parametrize("number", [0, -5])
def test_a_count_below_one_is_refused_before_anything_happens(postgres_url, ask, option, number):
    with pytest.raises(HelpersError, match=f"--{option} {number}"):
        population.populate(postgres_url, **{**SMALL, option: number})
    assert ask("SELECT to_regclass('users')") == [(None,)]


def test_a_table_that_refers_to_ours_is_not_emptied(postgres_url, ask):
    population.populate(postgres_url, **SMALL)
    ask("CREATE TABLE notes (user_id integer REFERENCES users)")
    ask("INSERT INTO notes VALUES (1)")
    with pytest.raises(HelpersError, match="nothing was written"):
        population.populate(postgres_url, **SMALL, replace=True)
    assert ask("SELECT count(*) FROM notes") == [(1,)]
    assert held(ask)["users"] == 7


def test_tables_in_use_are_waited_for_and_then_named(postgres_url, ask, monkeypatch):
    population.populate(postgres_url, **SMALL)
    monkeypatch.setattr(population, "LOCK_TIMEOUT_S", 0.2)
    other = connections.postgres(postgres_url)
    other.cursor().execute("SELECT * FROM users")  # an open transaction, as a notebook leaves it
    with pytest.raises(HelpersError, match="in use by another session"):
        population.populate(postgres_url, **SMALL, replace=True)
    other.close()


def test_an_unreachable_server_is_named():
    with pytest.raises(HelpersError, match=r"127\.0\.0\.1:1"):
        population.populate("postgresql://nobody@127.0.0.1:1/none", **SMALL)


def test_a_killed_load_leaves_nothing(postgres_url, ask):
    code = textwrap.dedent(
        """
        import os
        from helpers import relational
        relational.populate(os.environ["SOURCE"], activities=3_000_000, progress=False)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "SOURCE": postgres_url})
    name = ask("SELECT current_schema()")[0][0]
    copying = "SELECT 1 FROM pg_stat_progress_copy WHERE tuples_processed > 1000"
    until(lambda: ask(copying) or child.poll() is not None)
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    # The server notices the closed connection and rolls back.
    until(lambda: not ask("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"))
    connection = connections.postgres(postgres_url)
    assert catalogue.read(connection, name)["tables"] == []
    connection.close()
    population.populate(postgres_url, **SMALL)
    assert held(ask)["activities"] == 40


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(postgres_url):
    peaks = []
    for number in (10_000, 300_000):
        result = population.populate_apart(
            postgres_url, users=number // 10, products=10, activities=number, orders=10, replace=True
        )
        assert result["rows"]["activities"] == number
        peaks.append(result["peak_rss_mb"])
    # 290,000 rows kept as tuples would take more than 80 MB
    assert peaks[1] - peaks[0] < 8


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**62), 2**62),
    st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    st.datetimes(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9).map(
        Decimal
    ),
)


@given(rows=st.lists(st.tuples(VALUES, VALUES), max_size=30), size=st.integers(1, 50))
def test_a_stream_gives_every_row_in_pieces_no_longer_than_asked(rows, size):
    seen: list[int] = []
    stream = population.RowStream(iter(rows), seen.append)
    pieces = list(iter(lambda: stream.read(size), b""))
    assert all(len(piece) <= size for piece in pieces)
    lines = b"".join(pieces).decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(rows) == sum(seen)
    assert all(line.count("\t") == 1 and "\r" not in line for line in lines)


def test_odd_text_arrives_as_it_was(postgres_url, ask):
    odd = [(1, 'a\tb\nc\rd\\e\\N"\u20ac', None), (2, "", "\\N")]
    ask("CREATE TABLE odd (id integer, a text, b text)")
    connection = psycopg2.connect(postgres_url)
    with connection, connection.cursor() as cursor:
        stream: Any = population.RowStream(iter(odd), lambda number: None)
        cursor.copy_expert("COPY odd FROM STDIN", stream)
    connection.close()
    assert ask("SELECT * FROM odd ORDER BY id") == odd


def test_rows_that_a_notebook_needs_are_asked_for_with_the_remedy(postgres_url):
    connection = connections.postgres(postgres_url)
    for autocommit in (False, True):
        connection.autocommit = autocommit
        with pytest.raises(HelpersError, match=r"users lacks rows .*\(number 1 to 3\): run notebook 02, or "):
            population.require_rows(connection, users=3)
    population.populate(postgres_url, users=3, products=1, activities=1, orders=1, progress=False)
    population.require_rows(connection, users=3)
    with pytest.raises(HelpersError, match=r"orders lacks rows .* \(number 1 to 2\)"):
        population.require_rows(connection, users=3, orders=2)
    connection.close()
