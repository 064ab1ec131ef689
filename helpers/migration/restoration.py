"""Rebuild the four tables from Redis alone: the way back, and the proof that the model lost nothing."""

import contextlib
import time
from typing import Any

import psycopg2
from psycopg2 import errors

from helpers import model, servers, settings, text
from helpers.errors import HelpersError, first_line
from helpers.migration.stored_rows import MEND, StoredRows, TableRows
from helpers.migration.tables import Tables, refused_value
from helpers.migration.timelines import Timelines
from helpers.model import HASHED
from helpers.progress import bar
from helpers.servers import machine
from helpers.target import Watches, connect, keyspace, record

USERS_AT_ONCE = 1000
NAME_BYTES = 63
TIMELINES = ("user_activities", "user_activities_by_time")
"""The kinds of keys that hold activities; references back hold nothing that hashes do not."""


def restore(
    source: str | None = None,
    target: str | None = None,
    *,
    schema: str,
    prefix: str = "",
    progress: bool = True,
) -> dict[str, Any]:
    """Make the four tables from what a finished migration left in Redis: all or, whatever happens, nothing.

    Redis is only read, and PostgreSQL's other schemas are not looked at. Memory does not grow with the
    number of rows. Types are the course's, wider where values ask for it. A constraint that does not hold
    (an order whose user was rejected) stops nothing: it is named. References back (``user:{id}:orders``,
    ``product:{id}:orders``) hold nothing that hashes do not; they are not read, ``verify`` compares them.

    Args:
        source: URL of Redis or of a node of a Redis Cluster; the resolved server when None.
        target: PostgreSQL URL; the resolved server when None.
        schema: schema to make; it must not exist, or be empty.
        prefix: the prefix of the migration.
        progress: show progress bars.

    Returns:
        ``schema``, ``rows`` per table, ``seconds``, ``rows_per_second``, ``peak_rss_mb``, ``migrated`` (when
        the migration that wrote them ended, ISO 8601), and ``warnings``: what keeps the tables from being
        the course's with every row of the source, one line each; empty when nothing does.

    Raises:
        HelpersError: a server cannot be reached or refuses; no finished migration is there; something wrote
            to Redis meanwhile; a key does not hold what the migration wrote; or the schema holds something.
    """
    started = time.perf_counter()
    source, target = _urls(source, target)
    if not 0 < len(schema.encode("utf-8", "surrogateescape")) <= NAME_BYTES or not schema.isprintable():
        raise HelpersError(f"--schema {schema!r}: a name has 1 to {NAME_BYTES} bytes of printable UTF-8")
    with contextlib.closing(connect(source)) as connection:
        state = record.finished(connection, prefix)
        stored = StoredRows(connection, prefix)
        with contextlib.closing(Watches(connection, prefix)) as watch, Tables(target, schema) as tables:
            try:
                tables.make()
                rows = _fill(tables, stored, watch, state, progress)
                if record.finished(connection, prefix) != state:
                    raise HelpersError(
                        f"redis at {connection.address}: a migration ran meanwhile; run the same command "
                        "again; nothing was written to postgres"
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
        "seconds": seconds,
        "rows_per_second": sum(rows.values()) / seconds,
        "peak_rss_mb": machine.peak_rss_mb(),
        "migrated": state.get("finished"),
        "warnings": warnings + [watch.warning] * (watch.warning is not None),
    }


def describe(result: dict[str, Any]) -> list[str]:
    """What ``restore`` did, as lines for people."""
    rows = text.rows_of(result["rows"])
    return [
        *(f"warning: {warning}" for warning in result["warnings"]),
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


def _fill(
    tables: Tables, stored: StoredRows, watch: Watches, state: dict[str, str], progress: bool
) -> dict[str, int]:
    """Bring every row over; how many there are of each table."""
    rows = dict.fromkeys(model.TABLES, 0)
    with bar(None, "find keys", unit="keys", enabled=progress) as shown:
        for found in keyspace.scan(stored.connection, stored.prefix.decode()):
            tables.note(stored.numbered(found))
            shown.update(len(found))
            watch.look()
    with bar(sum(record.recorded(state, "rows_held").values()) or None, "restore", enabled=progress) as shown:

        def bring(some: TableRows) -> None:
            watch.look()
            try:
                number = tables.copy(some)
            except psycopg2.DataError as error:
                raise _refused(stored, some, error) from error
            rows[some.table] += number
            shown.update(number)

        timelines = Timelines(stored, tables.sort)
        for table in HASHED:
            for numbers in tables.numbers([table[:-1]], lambda: stored.window.rows):
                bring(stored.hashes(table, numbers))
        for numbers in tables.numbers(TIMELINES, lambda: USERS_AT_ONCE):
            for some in timelines.rows_of(numbers):
                bring(some)
        watch.look()
    return rows


def _refused(stored: StoredRows, some: TableRows, error: psycopg2.DataError) -> HelpersError:
    """The error for a value that PostgreSQL does not take."""
    row, column = refused_value(error, some)
    columns = dict(zip(model.COLUMNS[some.table], some.columns, strict=True))
    fields = dict(zip(model.COLUMNS[some.table][1:], model.FIELDS.get(some.table, ()), strict=False))
    return stored.damaged(
        some.keys[row],
        f"is refused by PostgreSQL ({first_line(error)})",
        columns[column][row] if column else None,
        fields.get(column, column) if column else "",
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
