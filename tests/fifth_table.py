"""A fifth table, `reviews`, beside the four: six lines of a model, and no Python."""

from typing import Any

from migrating import ROWS, migrate, run_sql

from helpers import model
from helpers.migration import restoration, verification
from helpers.relational import schema
from helpers.servers import connections

REVIEWS = """
[[key]]
name = "review:{review_id}"
type = "hash"
table = "reviews"
fields = ["user_id", "stars", "body", "written_at"]
"""
"""What is declared."""
MODEL = model.course() + REVIEWS
TABLE = """
CREATE TABLE reviews (
    review_id SERIAL PRIMARY KEY, user_id INTEGER, stars INTEGER, body VARCHAR(200), written_at TIMESTAMP);
INSERT INTO reviews SELECT n, 1 + n % 4, n % 6, CASE n % 3 WHEN 0 THEN E'a\\tb:\u00e9' WHEN 1 THEN '' END,
  CASE WHEN n % 5 > 0 THEN timestamp '2026-04-01' + n * interval '1.000001 s' END
  FROM generate_series(1, 200) n;
INSERT INTO reviews VALUES (201, 1, 5, 'never', 'infinity'), (202, NULL, NULL, NULL, NULL);
"""


def rows(source: str) -> list[Any]:
    with connections.postgres(source) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT review_id, user_id, stars, body, written_at::text FROM reviews ORDER BY 1")
        return cursor.fetchall()


def round_trip(source: str, target: str, name: str) -> dict[str, Any]:
    """Migrate, verify, damage three keys, verify, mend, and restore into a schema of that name."""
    with connections.postgres(source) as connection:
        schema.create(connection)
    run_sql(source, ROWS, TABLE)
    found: dict[str, Any] = {"migrated": migrate(source, target, model=MODEL)}
    client: Any = connections.redis(target, decode_responses=True)
    found["hash"] = client.hgetall("review:3")
    client.hset("review:3", "stars", 6)
    client.delete("review:4")
    client.hset("review:999", "stars", 1)
    found["damaged"] = verification.verify(source, target, progress=False)["by_problem"]
    found["caught_up"] = migrate(source, target, model=MODEL)["caught_up"]
    found["restored"] = restoration.restore(target, source, schema=name, progress=False)
    found["rows"], found["again"] = rows(source), rows(connections.with_schema(source, name))
    with (
        connections.postgres(connections.with_schema(source, name)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("INSERT INTO reviews (stars) VALUES (1) RETURNING review_id")
        [(found["next"],)] = cursor.fetchall()
    return found
