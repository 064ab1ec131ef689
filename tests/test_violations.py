import psycopg2
import pytest

from helpers.errors import HelpersError
from helpers.relational.violations import Violations, refused
from helpers.servers import connections


@pytest.fixture
def cursor(postgres_url):
    connection = connections.postgres(postgres_url)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (id integer PRIMARY KEY, word varchar(3))")
    cursor.execute("INSERT INTO t VALUES (1, 'one')")
    yield cursor
    connection.close()


def rows(cursor):
    cursor.execute("SELECT * FROM t ORDER BY id")
    return cursor.fetchall()


def test_the_expected_error_is_shown_recorded_and_undone(cursor, capsys):
    shown = Violations(cursor)
    with shown.expect(psycopg2.errors.UniqueViolation, "no id twice"):
        cursor.execute("INSERT INTO t VALUES (2, 'two')")
        cursor.execute("INSERT INTO t\n    VALUES (%s, 'x')", [1])
    assert rows(cursor) == [(1, "one")]
    [record] = shown.records
    assert record == {
        "rule": "no id twice",
        "error": "UniqueViolation",
        "sqlstate": "23505",
        "constraint": "t_pkey",
        "message": 'duplicate key value violates unique constraint "t_pkey"',
        "statement": "INSERT INTO t VALUES (1, 'x')",
    }
    assert capsys.readouterr().out == f"UniqueViolation (23505): {record['message']}\n"


def test_a_statement_that_is_accepted_stops_the_notebook_and_is_undone(cursor):
    shown = Violations(cursor)
    with (
        pytest.raises(AssertionError, match="UniqueViolation was expected"),
        shown.expect(psycopg2.errors.UniqueViolation, "no id twice"),
    ):
        cursor.execute("INSERT INTO t VALUES (2, 'two')")
    assert rows(cursor) == [(1, "one")]
    assert shown.records == []


def test_another_error_stops_the_notebook(cursor):
    shown = Violations(cursor)
    with (
        pytest.raises(psycopg2.errors.StringDataRightTruncation),
        shown.expect(psycopg2.errors.UniqueViolation, "no id twice"),
    ):
        cursor.execute("INSERT INTO t VALUES (2, 'four letters')")
    assert shown.records == []


def test_a_kind_of_error_is_not_enough(cursor):
    shown = Violations(cursor)
    with pytest.raises(psycopg2.errors.UniqueViolation), shown.expect(psycopg2.IntegrityError, "no id twice"):
        cursor.execute("INSERT INTO t VALUES (1, 'x')")


def test_a_rule_broken_twice_is_one_record_and_none_is_added_once_they_were_read(cursor):
    shown = Violations(cursor)
    for word in ("x", "y", "z"):
        with shown.expect(psycopg2.errors.UniqueViolation, "no id twice"):
            cursor.execute("INSERT INTO t VALUES (1, %s)", [word])
    assert [record["statement"][-4:] for record in shown.records] == ["'z')"]
    with shown.expect(psycopg2.errors.StringDataRightTruncation, "a rule of one's own"):
        cursor.execute("INSERT INTO t VALUES (2, 'four letters')")
    assert [record["rule"] for record in shown.records] == ["no id twice"]


def test_what_failed_before_is_taken_back(cursor):
    cursor.connection.commit()
    with pytest.raises(psycopg2.errors.UniqueViolation):
        cursor.execute("INSERT INTO t VALUES (1, 'x')")
    with Violations(cursor).expect(psycopg2.errors.UniqueViolation, "no id twice"):
        cursor.execute("INSERT INTO t VALUES (1, 'x')")
    assert rows(cursor) == [(1, "one")]


def test_errors_that_are_no_database_errors_pass(cursor):
    with (
        pytest.raises(ZeroDivisionError),
        Violations(cursor).expect(psycopg2.errors.UniqueViolation, "no id twice"),
    ):
        _ = 1 / 0


def test_refused_shows_exactly_the_error_that_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    with refused(HelpersError):
        raise HelpersError("no such thing\nand more")
    assert capsys.readouterr().out == "HelpersError: no such thing\n"


def test_refused_lets_another_error_through_and_fails_without_one() -> None:
    with pytest.raises(KeyError), refused(LookupError):
        raise KeyError("a kind of LookupError, but not it")
    with pytest.raises(AssertionError, match="nothing was refused"), refused(HelpersError):
        pass
