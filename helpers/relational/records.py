"""What notebooks 01 and 02 keep for the report beside what they show, made of answers of PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from helpers.errors import HelpersError
from helpers.relational import definitions
from helpers.source import catalogue

SHOWN_USERS, SHOWN_ROWS = 20, 500
"""Most users of a timeline, and most rows of each table in a record."""
SEVENTH = 7
"""The user whose plan is kept as text."""


def index_effect(
    cursor: Cursor,
    name: str,
    query: str,
    plans: Mapping[str, Sequence[dict[str, Any]]],
    *,
    rows: Mapping[str, int],
) -> dict[str, Any]:
    """A query of ``activities`` with and without an index, as the claims on it read it.

    Args:
        cursor: on the tables that were asked; not in autocommit mode. The transaction is rolled back.
        name: of the index.
        query: with a user's number as its parameter.
        plans: ``with`` and ``without``: what ``catalogue.explain`` gave, in the order of runs.
        rows: how many each table was filled with.

    Raises:
        HelpersError: the tables hold other rows by now, so that the plans are not those of one experiment.
    """
    connection = cursor.connection
    connection.rollback()
    cursor.execute("SELECT count(*) FROM activities")
    (held,) = cursor.fetchone() or (0,)
    if held != rows["activities"]:
        raise HelpersError(
            f"the sandbox holds {held:,} activities, not the {rows['activities']:,} of this experiment; "
            "run the cell that fills it again, and those after it"
        )
    cursor.execute("SELECT pg_relation_size(%s::regclass), pg_table_size('activities')", [name])
    index_bytes, table_bytes = cursor.fetchone() or (0, 0)
    text = {"with": catalogue.explain_text(cursor, query, [SEVENTH])}
    cursor.execute(f"DROP INDEX {name}")
    text["without"] = catalogue.explain_text(cursor, query, [SEVENTH])
    connection.rollback()
    return {
        "name": name,
        "definition": definitions.INDEXES[name],
        "query": query.strip(),
        "rows": rows["activities"],
        "users": rows["users"],
        "index_bytes": index_bytes,
        "table_bytes": table_bytes,
        **{which: catalogue.summary(plans[which], text[which]) for which in ("with", "without")},
    }


def room(cursor: Cursor) -> dict[str, int]:
    """The bytes that each of the course's tables takes, its indexes included."""
    tables = list(definitions.KEYS)
    cursor.execute(
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE oid = ANY (%s::regclass[])", [tables]
    )
    return dict(cursor.fetchall())


def timeline(cursor: Cursor) -> dict[str, list[dict[str, Any]]]:
    """The first users with their first activities and orders, as ``figures.timeline`` draws them."""
    queries = {
        "users": "SELECT user_id, username, created_at::text FROM users WHERE {some} ORDER BY user_id",
        "activities": "SELECT user_id, activity_type, activity_date::text AS at FROM activities WHERE {some} "
        "ORDER BY activity_id LIMIT {rows}",
        "orders": "SELECT user_id, product_id, quantity, order_date::text AS at FROM orders WHERE {some} "
        "ORDER BY order_id LIMIT {rows}",
    }
    limits = {"some": f"user_id <= {SHOWN_USERS}", "rows": SHOWN_ROWS}
    return {table: _asked(cursor, query.format(**limits)) for table, query in queries.items()}


def products(cursor: Cursor) -> list[dict[str, Any]]:
    """The first products with ``name``, ``price``, how many ``orders`` name them, and how many ``units``."""
    return _asked(
        cursor,
        f"""
        SELECT product_name AS name, price::float, count(order_id) AS orders,
               coalesce(sum(quantity), 0)::int AS units
        FROM products LEFT JOIN orders USING (product_id)
        GROUP BY product_id ORDER BY product_id LIMIT {SHOWN_ROWS}""",
    )


def skew(per_user: Sequence[int]) -> dict[str, Any]:
    """How unevenly activities fall on users.

    Args:
        per_user: activities of each user, the most first.

    Returns:
        ``users``, ``activities``, ``top_tenth`` (the share of activities that the busiest tenth of users has)
        and ``ranks``: some ranks with their ``activities``, closer together at the top.
    """
    users = len(per_user)
    shown = sorted({round(1.3**n) for n in range(60) if 1.3**n <= users} | {users})
    return {
        "users": users,
        "activities": sum(per_user),
        "top_tenth": sum(per_user[: users // 10]) / sum(per_user),
        "ranks": [{"rank": rank, "activities": per_user[rank - 1]} for rank in shown],
    }


def _asked(cursor: Cursor, query: str) -> list[dict[str, Any]]:
    """The rows of a query, each by the names of its columns."""
    cursor.execute(query)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
