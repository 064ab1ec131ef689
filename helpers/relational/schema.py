"""The four tables of the course in PostgreSQL, their indexes, and schemas of their own for experiments."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg2 import sql
from psycopg2.errors import LockNotAvailable
from psycopg2.extensions import connection as Connection

from helpers import settings
from helpers.errors import HelpersError
from helpers.relational import definitions, redis_model
from helpers.source import catalogue

TABLES = redis_model.TABLES
"""The tables, each after those that it refers to."""
KEYS, DDL, INDEXES = definitions.KEYS, definitions.DDL, definitions.INDEXES
COLUMNS, UNIQUE, REFERENCES = definitions.COLUMNS, definitions.UNIQUE, definitions.REFERENCES

User = tuple[int, str, str, datetime]
"""A row of ``users``: user_id, username, email, created_at."""
Product = tuple[int, str, Decimal]
"""A row of ``products``: product_id, product_name, price."""
Activity = tuple[int, int, str, datetime]
"""A row of ``activities``: activity_id, user_id, activity_type, activity_date."""
Order = tuple[int, int, int, datetime, int]
"""A row of ``orders``: order_id, user_id, product_id, order_date, quantity."""

LOCK_TIMEOUT_S = 10.0
_MARK = "made by helpers.schema"
_END_LEFT_OPEN = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = %(process)s AND state LIKE 'idle in transaction%%' AND pid IN (
    SELECT pg_locks.pid FROM pg_locks LEFT JOIN pg_class ON pg_class.oid = relation
    JOIN pg_namespace ON pg_namespace.oid IN (relnamespace, objid) WHERE nspname = %(schema)s)
"""


def create(connection: Connection) -> None:
    """Create the tables and indexes that are missing, in the connection's current schema.

    All or nothing; does not commit (a connection in autocommit mode has it committed at once).

    Raises:
        HelpersError: a table of that name exists with other columns or without one of the keys (it says
            which), or the search path names no existing schema. Nothing is changed then.
    """
    schema = catalogue.current_schema(connection)
    found = {table["name"]: table for table in catalogue.read(connection, schema)["tables"]}
    for name in TABLES:
        if name in found and (fault := difference(found[name])):
            raise HelpersError(
                f"{settings.postgres_at(connection)}: table {schema}.{name} exists and differs ({fault}); "
                "nothing was changed; rename or drop it, or use another database or schema"
            )
    with connection.cursor() as cursor:  # one call, so that it is one transaction in autocommit mode too
        cursor.execute(";\n".join([*DDL.values(), *INDEXES.values()]))


def drop(connection: Connection) -> None:
    """Drop the four tables with all their rows, or nothing when another table depends on them; no commit."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {', '.join(reversed(TABLES))}")


def difference(table: Mapping[str, Any]) -> str | None:
    """How a table of the catalogue differs from the one of that name here; None when it serves.

    Further unique keys, foreign keys and indexes are no difference.
    """
    name = str(table["name"])
    actual = {column["name"]: (column["type"], column["nullable"]) for column in table["columns"]}
    expected = COLUMNS[name]
    for column, (type_, nullable) in expected.items():
        if column not in actual:
            return f"column {column} is missing"
        if actual[column] != (type_, nullable):
            return f"column {column} is {_words(*actual[column])}, not {_words(type_, nullable)}"
    if further := [column for column in actual if column not in expected]:
        return f"further column {further[0]}"
    if table["primary_key"] != [KEYS[name]]:
        return f"{KEYS[name]} is not its primary key"
    for column in UNIQUE.get(name, ()):
        if [column] not in table["unique"]:
            return f"{column} is not unique"
    references = {(tuple(key["columns"]), key["references"]) for key in table["foreign_keys"]}
    for column, parent in REFERENCES.get(name, {}).items():
        if ((column,), parent) not in references:
            return f"{column} does not refer to {parent}"
    return None


def ensure_schema(connection: Connection, name: str) -> None:
    """Create a PostgreSQL schema for an experiment, marked as ours; commits.

    Raises:
        HelpersError: a schema of that name exists that was not made here.
    """
    with connection, connection.cursor() as cursor:
        if _marked(connection, name) is False:
            raise HelpersError(
                f"{settings.postgres_at(connection)}: schema {name} exists and was not made by this project; "
                "rename it, or use another database"
            )
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
        cursor.execute(sql.SQL("COMMENT ON SCHEMA {} IS %s").format(sql.Identifier(name)), [_MARK])


def drop_schema(connection: Connection, name: str) -> None:
    """Drop a schema that ``ensure_schema`` made, with all it holds; nothing when there is none; commits.

    A transaction that another connection of this process left open there, as an interrupted cell does, is
    ended.

    Raises:
        HelpersError: a schema of that name exists that was not made here, or is in use by another process.
    """
    from helpers.servers import connections  # the report reads definitions here, and needs no driver

    where = f"{settings.postgres_at(connection)}: schema {name}"
    try:
        with connection, connection.cursor() as cursor:
            if _marked(connection, name) is False:
                raise HelpersError(f"{where} is not of this project; drop it by hand")
            cursor.execute(_END_LEFT_OPEN, {"process": connections.PROCESS, "schema": name})
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_TIMEOUT_S}s"])
            cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
    except LockNotAvailable as error:
        raise HelpersError(
            f"{where} is in use by another session for more than {LOCK_TIMEOUT_S} s; end its transaction "
            "(restart the kernel of a notebook) and try again"
        ) from error


def _marked(connection: Connection, name: str) -> bool | None:
    """Whether a schema carries our mark; None when there is no such schema."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT obj_description(oid, 'pg_namespace') = %s IS TRUE FROM pg_namespace WHERE nspname = %s",
            [_MARK, name],
        )
        row = cursor.fetchone()
    return bool(row[0]) if row else None


def _words(type_: object, nullable: object) -> str:
    return f"{type_} {'NULL' if nullable else 'NOT NULL'}"
