"""What PostgreSQL plans for a query, and what the plan cost when it ran."""

from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor


def explain(cursor: Cursor, query: str, values: Sequence[Any] = ()) -> dict[str, Any]:
    """What matters of a query's plan, from EXPLAIN (ANALYZE, BUFFERS), which runs it.

    Returns:
        ``cost`` (the planner's estimate, in its own unit), ``execution_ms``, ``pages`` (pages of 8 KiB
        of tables and indexes touched, in the cache or read), ``rows`` (given), ``nodes`` (kinds of plan
        nodes, from the top) and ``indexes`` (names of those used).
    """
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", values)
    [([document],)] = cursor.fetchall()
    nodes = list(_nodes(document["Plan"]))
    return {
        "cost": float(document["Plan"]["Total Cost"]),
        "execution_ms": float(document["Execution Time"]),
        "pages": document["Plan"]["Shared Hit Blocks"] + document["Plan"]["Shared Read Blocks"],
        "rows": int(document["Plan"]["Actual Rows"]),
        "nodes": [node["Node Type"] for node in nodes],
        "indexes": sorted({node["Index Name"] for node in nodes if "Index Name" in node}),
    }


def explain_text(cursor: Cursor, query: str, values: Sequence[Any] = ()) -> str:
    """The plan as psql shows it, from EXPLAIN (ANALYZE, BUFFERS)."""
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {query}", values)
    return "\n".join(row[0] for row in cursor.fetchall())


def summary(plans: Sequence[dict[str, Any]], text: str) -> dict[str, Any]:
    """Several runs of a query as one record, with the plan of one of them as text.

    Returns:
        ``execution_ms``, ``pages`` and ``cost`` (a list each, in the order of runs), ``nodes`` (of the last
        run), ``indexes`` (used by any run) and ``text``.
    """
    return {
        "execution_ms": [plan["execution_ms"] for plan in plans],
        "pages": [plan["pages"] for plan in plans],
        "cost": [plan["cost"] for plan in plans],
        "nodes": plans[-1]["nodes"],
        "indexes": sorted({name for plan in plans for name in plan["indexes"]}),
        "text": text,
    }


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan node and all below it, from the top."""
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]
