"""What a live PostgreSQL schema holds, read from pg_catalog."""

from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import connection as Connection, cursor as Cursor

from helpers import settings
from helpers.errors import HelpersError

TABLES = """
SELECT c.oid, c.relname, obj_description(c.oid, 'pg_class'), c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
ORDER BY c.relname"""

COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""

# A unique index without a condition or an expression makes its columns a key, with or without a constraint.
INDEXES = """
SELECT i.relname, x.indisprimary,
       x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL AND x.indisvalid,
       pg_get_indexdef(x.indexrelid),
       ARRAY(SELECT coalesce(a.attname, pg_get_indexdef(x.indexrelid, u.place::int, true))
             FROM unnest(x.indkey::int2[]) WITH ORDINALITY u(number, place)
             LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.number AND u.number > 0
             WHERE u.place <= x.indnkeyatts ORDER BY u.place)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = %s ORDER BY i.relname"""

FOREIGN_KEYS = """
SELECT k.conname, n.nspname, f.relname, k.confdeltype,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace n ON n.oid = f.relnamespace
WHERE k.conrelid = %s AND k.contype = 'f' ORDER BY k.conname"""

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
ON_DELETE = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def read(connection: Connection, schema: str | None = None) -> dict[str, Any]:
    """The tables of a schema, as plain values that JSON can hold.

    Args:
        connection: an open connection; it is only read from.
        schema: the schema's name; the connection's current schema when None.

    Returns:
        ``{"schema": name, "tables": [...]}``, tables by name. A table has ``name``, ``kind`` (table, view,
        ...), ``comment``, ``columns`` (in their order: ``name type nullable default``), ``primary_key``
        (columns or None), ``unique`` (lists of columns, the primary key left out), ``foreign_keys`` (``name
        columns references referenced_columns on_delete``; a parent in another schema is named
        ``schema.table``) and ``indexes`` (``name columns unique primary definition``).

    Raises:
        HelpersError: the search path names no existing schema.
    """
    schema = schema or current_schema(connection)
    with connection.cursor() as cursor:
        cursor.execute(TABLES, [schema])
        tables = [_table(cursor, schema, *row) for row in cursor.fetchall()]
    return {"schema": schema, "tables": tables}


def current_schema(connection: Connection) -> str:
    """The schema in which an unqualified table is created.

    Raises:
        HelpersError: the search path names no existing schema.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_setting('search_path')")
        name, path = cursor.fetchone() or (None, "")
    if name is None:
        raise HelpersError(
            f"{settings.postgres_at(connection)}: the search path ({path}) names no existing schema; "
            "create it first"
        )
    return str(name)


def _table(cursor: Any, schema: str, oid: int, name: str, comment: str | None, kind: str) -> dict[str, Any]:
    cursor.execute(COLUMNS, [oid])
    columns = [
        dict(zip(("name", "type", "nullable", "default"), row, strict=True)) for row in cursor.fetchall()
    ]
    cursor.execute(INDEXES, [oid])
    indexes = cursor.fetchall()
    cursor.execute(FOREIGN_KEYS, [oid])
    return {
        "name": name,
        "kind": KINDS[kind],
        "comment": comment,
        "columns": columns,
        "primary_key": next((keys for _, primary, _, _, keys in indexes if primary), None),
        "unique": [keys for _, primary, key, _, keys in indexes if key and not primary],
        "foreign_keys": [
            {
                "name": constraint,
                "columns": own,
                "references": parent if namespace == schema else f"{namespace}.{parent}",
                "referenced_columns": theirs,
                "on_delete": ON_DELETE[action],
            }
            for constraint, namespace, parent, action, own, theirs in cursor.fetchall()
        ],
        "indexes": [
            {"name": index, "columns": keys, "unique": key, "primary": primary, "definition": definition}
            for index, primary, key, definition, keys in indexes
        ],
    }


def explain(cursor: Cursor, query: str, values: Sequence[Any] = ()) -> dict[str, Any]:
    """What matters of a query's plan, from EXPLAIN (ANALYZE, BUFFERS), which runs it.

    Args:
        cursor: of an open connection.
        query: with ``%s`` where a value stands.
        values: these, as psycopg2 takes them.

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
    """The plan as psql shows it, from EXPLAIN (ANALYZE, BUFFERS), which runs the query.

    Args:
        cursor: of an open connection.
        query: with ``%s`` where a value stands.
        values: these, as psycopg2 takes them.
    """
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {query}", values)
    return "\n".join(row[0] for row in cursor.fetchall())


def summary(plans: Sequence[dict[str, Any]], text: str) -> dict[str, Any]:
    """Several runs of a query as one record, with the plan of one of them as text.

    Args:
        plans: what ``explain`` gave, at least once.
        text: what ``explain_text`` gave.

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
