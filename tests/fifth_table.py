"""A fifth table, `reviews`, beside the four: declared here alone, in a process of its own.

What stands above `round_trip` is what helpers/CONTRIBUTING.md names for a table that is migrated, verified
and restored. The URLs of the servers come on stdin.
"""

import json
import sys
from typing import Any

from helpers.model import keys as model, parts
from helpers.relational import schema
from helpers.servers import connections

COLUMNS = ("review_id", "user_id", "stars", "body", "written_at")

schema.TABLES += ("reviews",)
schema.KEYS["reviews"] = "review_id"
schema.DDL["reviews"] = """CREATE TABLE IF NOT EXISTS reviews (
    review_id SERIAL PRIMARY KEY, user_id INTEGER, stars INTEGER, body VARCHAR(200), written_at TIMESTAMP)"""
schema.COLUMNS["reviews"] = {
    "review_id": ("integer", False),
    **dict.fromkeys(("user_id", "stars"), ("integer", True)),
    "body": ("character varying(200)", True),
    "written_at": ("timestamp without time zone", True),
}

model.TABLES += ("reviews",)
model.COLUMNS["reviews"], model.FIELDS["reviews"] = COLUMNS, COLUMNS[1:]
model.DATES += ("written_at",)
model.KINDS += ("review",)
model.TYPES["review"], model._KINDS["review"] = "hash", rf"review:{model._ID}"

KEPT = (
    "(user_id IS NOT NULL OR stars IS NOT NULL OR body IS NOT NULL OR written_at IS NOT NULL) "
    f"AND (written_at IS NULL OR {parts.IN_RANGE.format('written_at')}) "
    f"AND (body IS NULL OR {parts.TEXT.format('body')})"
)
parts.KEPT["reviews"] = KEPT
parts.HASHED += ("reviews",)
parts.PARTS = (parts.Part("reviews", "reviews", COLUMNS, COLUMNS[:1], KEPT), *parts.PARTS)
from helpers.migration import expected_replies, verification  # noqa: E402
from helpers.source import table_checks  # noqa: E402
from helpers.target import rehearsal  # noqa: E402

expected_replies.HASH_QUERIES["reviews"] = (
    f"SELECT review_id::int8, user_id::int8, stars::int8, body, written_at FROM reviews WHERE {KEPT}"
)
expected_replies.NUMBERS += ("stars",)
table_checks.COLUMN_KINDS.update(body="text", written_at="timestamp")
verification.REQUIRED_BY["review"] = ("reviews", "review_id", "")
rehearsal.KEY_OF["review"] = lambda number, prefix: f"{prefix}review:{number}"

from migrating import ROWS, migrate, run_sql  # noqa: E402

from helpers.migration import restoration  # noqa: E402

REVIEWS = """
INSERT INTO reviews SELECT n, 1 + n % 4, n % 6, CASE n % 3 WHEN 0 THEN E'a\\tb:\u00e9' WHEN 1 THEN '' END,
  CASE WHEN n % 5 > 0 THEN timestamp '2026-04-01' + n * interval '1.000001 s' END
  FROM generate_series(1, 200) n;
INSERT INTO reviews VALUES (201, 1, 5, 'never', 'infinity'), (202, NULL, NULL, NULL, NULL)
"""


def rows(source: str) -> list[Any]:
    with connections.postgres(source) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT review_id, user_id, stars, body, written_at::text FROM reviews ORDER BY 1")
        return cursor.fetchall()


def round_trip(source: str, target: str, name: str) -> dict[str, Any]:
    """Migrate, verify, damage three keys, verify, mend, and restore into a schema of that name."""
    with connections.postgres(source) as connection:
        schema.create(connection)
        schema.create(connection)  # looks whether the tables that are there are those declared
    run_sql(source, ROWS, REVIEWS)
    found: dict[str, Any] = {"migrated": migrate(source, target)}
    client: Any = connections.redis(target, decode_responses=True)
    found["hash"] = client.hgetall("review:3")
    client.hset("review:3", "stars", 6)
    client.delete("review:4")
    client.hset("review:999", "stars", 1)
    found["damaged"] = verification.verify(source, target, progress=False)["by_problem"]
    found["caught_up"] = migrate(source, target)["caught_up"]
    found["restored"] = restoration.restore(target, source, schema=name, progress=False)
    found["rows"], found["again"] = rows(source), rows(connections.with_schema(source, name))
    with (
        connections.postgres(connections.with_schema(source, name)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("INSERT INTO reviews (stars) VALUES (1) RETURNING review_id")
        [(found["next"],)] = cursor.fetchall()
    return found


if __name__ == "__main__":
    source, target, name = json.load(sys.stdin)
    print(json.dumps(round_trip(source, target, name), default=str))
