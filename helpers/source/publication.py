"""What of the source is told to who follows: the publication of the four tables, and their columns."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2 import errors

from helpers.errors import HelpersError, first_line
from helpers.model import COLUMNS, TABLES
from helpers.source.tables import Ask
from helpers.source.upstream import Upstream

NAME_START = "helpers_follow_"
"""What the names of publications and slots begin with."""


def name_of(identity: str) -> str:
    """The name of the publication of a schema's tables."""
    schema = json.loads(identity)["schema"]
    return NAME_START + hashlib.sha256(str(schema).encode()).hexdigest()[:8]


def find(ask: Ask, name: str) -> tuple[bool, set[str]] | None:
    """What a publication tells.

    Args:
        ask: runs a query.
        name: of the publication.

    Returns:
        Whether it tells all kinds of changes of whole rows, and which of the four tables; None where there
        is none of that name.
    """
    found = ask(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT EXISTS (SELECT FROM "
        "pg_publication_rel r WHERE prpubid = p.oid AND (to_jsonb(r)->>'prqual' IS NOT NULL OR "
        "to_jsonb(r)->>'prattrs' IS NOT NULL)), ARRAY(SELECT t FROM unnest(%s) t WHERE to_regclass(t) IN "
        "(SELECT relid FROM pg_get_publication_tables(p.pubname))) "
        "FROM pg_publication p WHERE pubname = %s",
        (list(TABLES), name),
    )
    return (bool(found[0][0]), set(found[0][1])) if found else None


def require_complete(found: tuple[bool, set[str]], name: str, where: str) -> None:
    """Stop when a publication leaves out a change or a table.

    Args:
        found: what it tells, as ``find`` gives it.
        name: of the publication.
        where: the server, for messages.

    Raises:
        HelpersError: it does.
    """
    if found != (True, set(TABLES)):
        raise HelpersError(
            f"{where}: publication {name} does not tell every change of all four tables; `DROP PUBLICATION "
            f"{name}`, then `migrate --follow`"
        )


def publish(upstream: Upstream) -> None:
    """Make the publication when it is missing; a slot tells only what was published before it was made.

    Raises:
        HelpersError: it cannot be made, or is there and leaves something out.
    """
    name = name_of(upstream.identity)
    try:
        found = find(upstream.ask, name)
        if found is None:
            with contextlib.suppress(errors.DuplicateObject):
                upstream.ask(f"CREATE PUBLICATION {name} FOR TABLE {', '.join(TABLES)}")
        else:
            require_complete(found, name, upstream.where)
    except psycopg2.Error as error:
        raise HelpersError(f"{upstream.where}: publication {name}: {first_line(error)}") from error


def columns(ask: Ask) -> dict[str, dict[str, Any]]:
    """The four tables as JSON can hold them.

    Args:
        ask: runs a query.

    Returns:
        Of each table ``oid``, and ``columns`` as lists of name, number of the type, its modifier.
    """
    return {
        table: {
            "oid": oid,
            "columns": [
                list(column)
                for column in ask(
                    "SELECT attname::text, atttypid::int8, atttypmod FROM pg_attribute WHERE attrelid = %s "
                    "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                    (oid,),
                )
            ],
        }
        for table in TABLES
        for ((oid,),) in [ask("SELECT to_regclass(%s)::oid::int8", (table,))]
    }


def check(upstream: Upstream, name: str, seen: Mapping[str, Any]) -> None:
    """Stop when a table, or what is published of it, is not what it was when the slot was made.

    Args:
        upstream: the source.
        name: of the publication.
        seen: what ``columns`` gave then.

    Raises:
        HelpersError: it is not; the message says what to do.
    """
    found = find(upstream.ask, name)
    if found is None:
        raise HelpersError(
            f"{upstream.where}: publication {name} is gone; `follow --drop-slot`, then `migrate --follow`"
        )
    require_complete(found, name, upstream.where)
    now = columns(upstream.ask)
    for table in TABLES:
        if seen[table] != now[table]:
            raise HelpersError(f"{upstream.where}: {alteration(table, seen[table], now[table]['columns'])}")


def alteration(table: str, seen: Mapping[str, Any], now: Any) -> str:
    """What to say of a table that is not what it was.

    Args:
        table: its name.
        seen: what ``columns`` gave of it when the slot was made.
        now: its columns now, as (name, number of the type, its modifier).
    """
    before, after = {c[0]: list(c) for c in seen["columns"]}, {c[0]: list(c) for c in now}
    differ = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    more = sorted(set(after) - set(COLUMNS[table]))
    what = f"{table} was altered ({', '.join(differ)})" if differ else f"{table} was made anew or reordered"
    undo = f"drop {', '.join(more)} or rename it back, and " if more else ""
    return (
        f"{what} since the migration; nothing was applied from there on; {undo}run `migrate --follow` again, "
        "which compares all rows"
    )
