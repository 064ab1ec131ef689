import pytest

from helpers.servers import connections
from helpers.source import catalogue


@pytest.fixture
def cursor(postgres_url):
    connection = connections.postgres(postgres_url)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t AS SELECT n AS id, n % 7 AS rest FROM generate_series(1, 20000) n")
    yield cursor
    connection.close()


QUERY = "SELECT * FROM t WHERE id = %s"


def test_an_index_shows_in_the_plan_and_in_the_pages(cursor):
    before = catalogue.explain(cursor, QUERY, [77])
    cursor.execute("CREATE INDEX t_id ON t (id); ANALYZE t")
    after = catalogue.explain(cursor, QUERY, [77])
    assert before["rows"] == after["rows"] == 1
    assert "Seq Scan" in before["nodes"]
    assert before["indexes"] == []
    assert after["indexes"] == ["t_id"]
    assert before["pages"] > 50 > after["pages"] > 0
    assert before["cost"] > after["cost"] > 0
    assert before["execution_ms"] > 0


def test_nodes_are_given_from_the_top(cursor):
    plan = catalogue.explain(cursor, "SELECT rest, count(*) FROM t GROUP BY rest ORDER BY count(*) LIMIT 2")
    assert plan["nodes"][0] == "Limit"
    assert plan["nodes"][-1] == "Seq Scan"
    assert plan["rows"] == 2


def test_the_text_is_what_psql_shows(cursor):
    text = catalogue.explain_text(cursor, QUERY, [77])
    assert text.splitlines()[0].startswith("Seq Scan on t ")
    assert "Execution Time" in text
