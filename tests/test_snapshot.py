"""One snapshot of the source: what is read of it stays the same, over whichever connection."""

import psycopg2
import pytest
from migrating import run_sql

from helpers.servers import connections
from helpers.source import Source, SourceLost

MODEL = '[[key]]\nname = "t:{id}"\ntype = "hash"\ntable = "t"\n'
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'helpers migrate' "
    "AND query LIKE 'COPY%' AND state = 'active'"
)
KILL_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'helpers migrate'"


@pytest.fixture
def rows(postgres_url: str) -> str:
    run_sql(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, filler text)")
    run_sql(postgres_url, "INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, 60000) n")
    return postgres_url


def read(source: Source, url: str, *, kills: int, query: str = KILL) -> list[int]:
    """The numbers of all rows that come, while the connection is cut so many times."""
    found: list[int] = []
    with connections.postgres(url) as connection:
        connection.autocommit = True

        def take(text: bytes) -> tuple[str, ...]:
            nonlocal kills
            lines = text.splitlines()
            found.extend(int(line.split(b"\t")[0]) for line in lines)
            if kills:
                kills -= 1
                connection.cursor().execute(query)
            return (str(found[-1]),)

        source.read(source.plan.partitions({})[0], None, take)
    return found


def test_a_lost_reading_connection_takes_the_snapshot_up_again(
    rows: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with Source(rows, MODEL) as source:
        run_sql(rows, "UPDATE t SET filler = 'new'", "INSERT INTO t VALUES (0, 'late'), (60001, 'late')")
        assert read(source, rows, kills=5) == list(range(1, 60001))
    assert capfd.readouterr().err == "", "psycopg2 prints what a server says last"


def test_without_the_session_that_keeps_it_the_snapshot_is_lost(rows: str) -> None:
    with Source(rows, MODEL) as source, pytest.raises(SourceLost):
        read(source, rows, kills=1, query=KILL_ALL)


def test_what_the_role_is_set_to_changes_no_text(rows: str) -> None:
    ((user,),) = ask(rows, "SELECT quote_ident(current_user)")
    odd = {
        "DateStyle": "'German, DMY'",
        "IntervalStyle": "'sql_standard'",
        "TimeZone": "'Asia/Kolkata'",
        "bytea_output": "'escape'",
        "extra_float_digits": "-15",
        "quote_all_identifiers": "on",
    }
    run_sql(
        rows,
        "CREATE TABLE odd (id int PRIMARY KEY, a timestamptz, b interval, c bytea, d float8, e date, "
        "f regclass)",
        r"INSERT INTO odd VALUES (1, '2026-01-02 03:04:05+00', '1 day', '\x00', 0.1, '2026-01-02', 't')",
    )
    model = '[[key]]\nname = "odd:{id}"\ntype = "hash"\ntable = "odd"\n'
    try:
        for name, value in odd.items():
            run_sql(rows, f"ALTER ROLE {user} SET {name} = {value}")
        texts: list[bytes] = []
        with Source(rows, model) as source:

            def take(text: bytes) -> tuple[str, ...]:
                texts.append(text)
                return ("1",)

            source.read(source.plan.partitions({})[0], None, take)
            schema = source.plan.tables["odd"].schema
    finally:
        for name in odd:
            run_sql(rows, f"ALTER ROLE {user} RESET {name}")
    day = "1\t2026-01-02 03:04:05+00\tP1D\t00\t0.1\t2026-01-02\t"
    assert b"".join(texts).decode() == f"{day}{schema}.t\n"


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()
