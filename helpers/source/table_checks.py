"""What the four tables must be: their kind, columns, types and keys; what differs is named."""

from collections.abc import Callable
from typing import Any

from helpers.errors import HelpersError
from helpers.model import COLUMNS, TABLES

Ask = Callable[[str, Any], list[tuple[Any, ...]]]
"""Runs a query with values, gives its rows."""

ACCEPTED = {
    "int": {"int2", "int4", "int8"},
    "text": {"varchar", "text", "bpchar", "name"},
    "timestamp": {"timestamp"},
    "numeric": {"numeric"},
}
COLUMN_KINDS = {
    "created_at": "timestamp",
    "activity_date": "timestamp",
    "order_date": "timestamp",
    "price": "numeric",
} | dict.fromkeys(("username", "email", "product_name", "activity_type"), "text")
"""The kind of values that a column must hold; all others are ``int``."""
RELKINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}


def check_kinds(ask: Ask, where: str) -> None:
    """Refuse tables that are missing, or whose kind cannot promise that no key comes twice.

    Args:
        ask: runs a query.
        where: the server, for messages.

    Raises:
        HelpersError: there is one.
    """
    kinds = {
        table: ask(
            "SELECT relkind, relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) "
            "FROM pg_class c WHERE oid = to_regclass(%s)",
            (table,),
        )
        for table in TABLES
    }
    missing = [table for table, found in kinds.items() if not found]
    if missing:
        schemas = ", ".join(ask("SELECT current_schemas(false)", None)[0][0]) or "no schema"
        raise HelpersError(
            f"{where}: no table {', '.join(missing)} where this user looks ({schemas}); check search_path "
            "and USAGE on the schema, or make the course's tables with `python -m helpers populate`"
        )
    for table, ((kind, inherited),) in kinds.items():
        if RELKINDS.get(kind) not in ("table", "partitioned table"):
            raise HelpersError(
                f"{where}: {table} is a {RELKINDS.get(kind, kind)}, which promises no unique key; copy it "
                "into a table with a primary key"
            )
        if inherited:
            raise HelpersError(
                f"{where}: other tables inherit from {table}, so a key may come twice; copy the rows into "
                "one table"
            )


def check_columns(ask: Ask, where: str) -> None:
    """Refuse tables whose columns the model does not hold, or that have no unique key of one column.

    Args:
        ask: runs a query.
        where: the server, for messages.

    Raises:
        HelpersError: there is one.
    """
    for table in TABLES:
        types: dict[str, str] = dict(
            ask(
                "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid "
                "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                (table,),
            )
        )
        for column in COLUMNS[table]:
            expected = COLUMN_KINDS.get(column, "int")
            if types.get(column) not in ACCEPTED[expected]:
                found = types.get(column, "missing")
                raise HelpersError(
                    f"{where}: {table}.{column} is {found}, not {expected}; the model cannot hold it"
                )
        more = sorted(set(types) - set(COLUMNS[table]))
        if more:
            raise HelpersError(
                f"{where}: {table} has columns that the model does not hold: {', '.join(more)}; "
                "migrate a copy without them"
            )
        unique = ask(
            "SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute a ON attrelid = indrelid AND "
            "attnum = indkey[0] "
            "WHERE indrelid = to_regclass(%s) AND indisunique AND indisvalid AND indnkeyatts = 1 "
            "AND indpred IS NULL AND indexprs IS NULL AND attnotnull AND attname = %s)",
            (table, COLUMNS[table][0]),
        )[0][0]
        if not unique:
            raise HelpersError(
                f"{where}: {table}.{COLUMNS[table][0]} is no primary key; rows could not be told apart"
            )
