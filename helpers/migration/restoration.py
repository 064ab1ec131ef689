"""Rebuild a model's tables from Redis alone: the way back, and the proof that the model lost nothing."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import errors

from helpers import servers, settings, text
from helpers.errors import HelpersError, first_line
from helpers.migration.blueprint import NAME_BYTES
from helpers.migration.stored_rows import MEND, StoredRows, TableRows
from helpers.migration.tables import Tables, refused_value
from helpers.migration.timelines import Timelines
from helpers.model import Model, Plan, load
from helpers.progress import bar
from helpers.servers import machine
from helpers.source import Definitions, slot
from helpers.target import Watches, connect, keyspace, record

OWNERS_AT_ONCE = 1000
REFUSED = (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError, psycopg2.NotSupportedError)
"""What PostgreSQL says of a value that it does not take; a check of a domain is an integrity error."""


def restore(
    source: str | None = None,
    target: str | None = None,
    *,
    schema: str,
    model: Model | str | Path | None = None,
    prefix: str = "",
    progress: bool = True,
) -> dict[str, Any]:
    """Make the tables from what a finished migration left in Redis: all or, whatever happens, nothing.

    Redis is only read, and PostgreSQL's other schemas are not written to. Memory does not grow with the
    number of rows. The tables become what they were in the source as the migration ended, with keys,
    constraints, defaults, identities, sequences, computed columns, partitions, indexes and comments; types
    and functions of the user's own must be there. A constraint that does not hold (a row that refers to a
    rejected one) stops nothing: it is named. Of each table one kind of key is read, or a list and a sorted
    set that hold it together; ``verify`` compares the others. Tables of one name in two schemas become
    ``schema.table``. Triggers, rules, policies and rights are not made; the first three are named.

    Args:
        source: URL of Redis or of a node of a Redis Cluster; the resolved server when None.
        target: PostgreSQL URL; the resolved server when None.
        schema: schema to make; it must not exist, or be empty.
        model: the model that the migration must have been of, as ``model.load`` takes it; any when None.
        prefix: the prefix of the migration.
        progress: show progress bars.

    Returns:
        ``schema``, ``rows`` per table, ``renamed`` (what tables of one name in two schemas are called there),
        ``not_made`` (names of triggers, rules and policies that the source has besides),
        ``seconds``, ``rows_per_second``, ``peak_rss_mb``, ``migrated`` (when the migration that wrote them
        ended, or the last transaction that was followed, ISO 8601), and ``warnings``: what keeps the tables
        from being the source's with every row, one line each; empty when nothing does.

    Raises:
        HelpersError: a server cannot be reached or refuses; no finished migration is there, or one of another
            model; the model does not hold all columns; something wrote to Redis meanwhile; a key does not
            hold what the migration wrote; the schema holds something; or what the tables need is not there.
    """
    started = time.perf_counter()
    source, target = _urls(source, target)
    if not 0 < len(schema.encode("utf-8", "surrogateescape")) <= NAME_BYTES or not schema.isprintable():
        raise HelpersError(f"--schema {schema!r}: a name has 1 to {NAME_BYTES} bytes of printable UTF-8")
    with contextlib.closing(connect(source)) as connection:
        where = f"redis at {connection.address}"
        state = record.finished(connection, prefix)
        plan, definitions = _recorded(state, prefix, where)
        _refuse(plan, model, where)
        stored = StoredRows(connection, plan)
        with (
            contextlib.closing(Watches(connection, plan)) as watch,
            Tables(target, schema, definitions) as tables,
        ):
            try:
                tables.make()
                rows = _fill(tables, stored, watch, state, progress)
                if record.finished(connection, prefix) != state:
                    raise HelpersError(
                        f"{where}: a migration ran meanwhile; run the same command again; nothing was "
                        "written to postgres"
                    )
                tables.finish()
                tables.commit()
            except errors.InsufficientPrivilege as error:
                raise HelpersError(
                    f"{tables.where}: {first_line(error)}; nothing was written to it; grant this user CREATE "
                    "and TEMPORARY on the database, or make an empty schema that it owns"
                ) from error
            except psycopg2.Error as error:
                raise HelpersError(
                    f"{tables.where}: {first_line(error)}; nothing was written to it; the same command "
                    "begins anew"
                ) from error
    seconds = time.perf_counter() - started
    warnings = _left_behind(state, rows) + _left_out(stored) + tables.warnings
    return {
        "schema": schema,
        "rows": rows,
        "renamed": tables.renamed,
        "not_made": list(definitions.apart),
        "seconds": seconds,
        "rows_per_second": sum(rows.values()) / seconds,
        "peak_rss_mb": machine.peak_rss_mb(),
        "migrated": _until(state),
        "warnings": warnings + [watch.warning] * (watch.warning is not None),
    }


def _until(state: dict[str, str]) -> str | None:
    """Up to when Redis holds what the source had: the end of the migration, or what was followed last."""
    followed = state.get(slot.COMMITTED) if state.get(slot.SLOT) else None
    last = datetime.fromtimestamp(int(followed) / 1e6, UTC).isoformat(timespec="seconds") if followed else ""
    return max(state.get("finished") or "", last) or None


def describe(result: dict[str, Any]) -> list[str]:
    """What ``restore`` did, as lines for people."""
    rows = text.rows_of(result["rows"])
    return [
        *(f"warning: {warning}" for warning in result["warnings"]),
        *(f"{table} is called {name} there" for table, name in result["renamed"].items()),
        *([f"not made again: {text.join(result['not_made'])}"] if result["not_made"] else []),
        f"restored into schema {result['schema']}: {rows} in {text.duration_s(result['seconds'])} "
        f"({text.count(result['rows_per_second'])} rows/s), as migrated until {result['migrated']}",
    ]


def _urls(source: str | None, target: str | None) -> tuple[str, str]:
    """(Redis URL, PostgreSQL URL), each of its own kind."""
    for option, url, name, other in (
        ("--source", source, "redis", "postgres"),
        ("--target", target, "postgres", "redis"),
    ):
        if url is None or (name == "postgres" and "://" not in url):
            continue
        scheme = url.partition("://")[0]
        if scheme not in settings.SCHEMES[name]:
            swapped = scheme in settings.SCHEMES[other] or "=" in scheme
            raise HelpersError(
                f"{option}: restore goes from Redis (--source {settings.SCHEMES['redis'][0]}://...) to "
                f"PostgreSQL (--target {settings.SCHEMES['postgres'][0]}://...); "
                + ("source and target seem to be swapped" if swapped else "this is neither")
            )
    return source or servers.url("redis"), target or servers.url("postgres")


def _recorded(state: Mapping[str, str], prefix: str, where: str) -> tuple[Plan, Definitions]:
    """The plan and the definitions that a migration recorded."""
    plan = Plan.recorded(state, prefix)
    if plan is None or "definitions" not in state:
        raise HelpersError(
            f"{where}: the migration there did not record its model and the definitions of its tables, as "
            "the version before did not; run the same `migrate` command again, which compares all rows and "
            "records them, then restore; nothing was written to postgres"
        )
    return plan, Definitions.recorded(state["definitions"])


def _refuse(plan: Plan, model: Model | str | Path | None, where: str) -> None:
    """Stop when the migration is of another model than is meant, or of one that holds too little."""
    if model is not None and (meant := load(model)) != plan.model:
        raise HelpersError(
            f"{where}: holds a migration of another model than {meant.where}; leave --model out, which "
            "restores what was migrated; nothing was written to postgres"
        )
    found = []
    for table, holder in plan.holders.items():
        if not holder.restorable:
            lost = text.join(list(holder.lost))
            found.append(
                f"{table} ({lost} held nowhere)" if lost else f"{table} (no one key holds its rows whole)"
            )
    if found:
        raise HelpersError(
            f"{where}: the model holds less than the tables: {', '.join(found)}; hold these columns in a key "
            "that has the others, `migrate --replace`, then restore; nothing was written to postgres"
        )


def _fill(
    tables: Tables, stored: StoredRows, watch: Watches, state: dict[str, str], progress: bool
) -> dict[str, int]:
    """Bring every row over; how many there are of each table."""
    rows = dict.fromkeys(stored.plan.tables, 0)
    with bar(None, "find keys", unit="keys", enabled=progress) as shown:
        for found in keyspace.scan(stored.connection, stored.plan):
            tables.note(*stored.named(found))
            shown.update(len(found))
            watch.look()
    with bar(sum(record.recorded(state, "rows_held").values()) or None, "restore", enabled=progress) as shown:
        for some in _rows(tables, stored):
            watch.look()
            try:
                number = tables.copy(some)
            except errors.InsufficientPrivilege:
                raise
            except REFUSED as error:
                raise _refused(stored, some, error) from error
            rows[some.table.name] += number
            shown.update(number)
        watch.look()
    return rows | {table: tables.count(table) for table in tables.parts}


def _rows(tables: Tables, stored: StoredRows) -> Iterator[TableRows]:
    """All rows, a window at a time."""
    many: dict[int, Timelines] = {}
    for number, names in tables.names(lambda: stored.window.rows):
        holding = stored.kind(number)
        if holding.kind.table.name in tables.parts:
            continue
        if holding.kind.single:
            yield stored.rows_of(holding, names)
            continue
        if number not in many:
            many[number] = Timelines(stored, holding, tables)
        for start in range(0, len(names), OWNERS_AT_ONCE):
            yield from many[number].rows_of(names[start : start + OWNERS_AT_ONCE])


def _refused(stored: StoredRows, some: TableRows, error: psycopg2.Error) -> HelpersError:
    """The error for a value that PostgreSQL does not take."""
    row, place = refused_value(error, some)
    name = "" if place is None else some.columns[place].name
    return stored.damaged(
        some.keys[row],
        f"is refused by PostgreSQL ({first_line(error)})",
        None if place is None else some.values[place][row],
        some.fields.get(name, name),
        "use a database in UTF8" if isinstance(error, errors.UntranslatableCharacter) else MEND,
    )


def _left_behind(state: dict[str, str], rows: dict[str, int]) -> list[str]:
    """In what the rows differ from those that the migration read, as far as it recorded that."""
    found = []
    held, rejected = record.recorded(state, "rows_held"), record.recorded(state, "rows_rejected")
    if not held:
        found.append(
            "the migration did not record how many rows it left in Redis; only `verify` can tell whether "
            "any is lost"
        )
    for table, number in held.items():
        if rows.get(table) != number:
            found.append(
                f"{table}: {text.plural(rows.get(table, 0), 'row')} restored, the migration left {number:,} "
                "in Redis: keys were added or removed since"
            )
    if any(rejected.values()):
        listed = text.join([f"{number:,} of {table}" for table, number in rejected.items() if number])
        found.append(
            f"{text.plural(sum(rejected.values()), 'row')} ({listed}) the migration rejected, so that Redis "
            "never had them; they are in its reject file"
        )
    return found


def _left_out(stored: StoredRows) -> list[str]:
    """Hash fields that no column takes."""
    return [
        f"{table}: {text.plural(number, 'field')} left out that no column takes (such as "
        f"{stored.example[table]})"
        for table, number in stored.left_out.items()
    ]
