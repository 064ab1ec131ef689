"""Fill the four tables: rows stream from their generator into PostgreSQL by COPY, in one transaction."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.progress import bar
from helpers.relational import schema
from helpers.relational.rows import REFERENCE, Rows
from helpers.servers import connections, machine
from helpers.source import catalogue

MARK = "rows made by helpers.population"
"""How the comment begins that ``populate`` leaves on each table: only such rows may be replaced."""

LOCK = 0x706F70756C617465  # "populate": one of its kind at a time in a database
LOCK_TIMEOUT_S = 10
CHUNK_ROWS = 500


def populate(
    source: str | None = None,
    *,
    users: int = 20,
    products: int = 15,
    activities: int = 20,
    orders: int = 20,
    seed: int = 42,
    replace: bool = False,
    progress: bool = True,
    reference: datetime = REFERENCE,
) -> dict[str, Any]:
    """Create what is missing of the tables and fill them; all of it or, whatever happens, nothing.

    Memory does not grow with the number of rows.

    Args:
        source: PostgreSQL URL, whose search path says in which schema; the resolved server when None.
        users, products, activities, orders: rows of each, at least 1.
        seed: the same seed and counts give the same rows.
        replace: remove rows that an earlier ``populate`` made, and whatever was added to those tables since.
        progress: show a progress bar on stderr.
        reference: the moment before which everything happens.

    Returns:
        ``rows`` (per table), ``seconds`` and ``table_seconds``, ``rows_per_second`` (of the whole),
        ``peak_rss_mb`` (of this process), ``seed``, ``reference`` (ISO 8601) and ``schema``.

    Raises:
        HelpersError: a count out of range; the server cannot be reached or refuses; a table exists with
            other columns; or a table holds rows, and ``replace`` is not given or they are not ours to remove.
    """
    rows = Rows(
        users=users, products=products, activities=activities, orders=orders, seed=seed, reference=reference
    )
    connection = connections.postgres(source)
    started = time.perf_counter()
    try:
        with connection:  # commits at its end, rolls back on any error
            table_seconds = _fill(connection, rows, replace, progress)
            schema_name = catalogue.current_schema(connection)
    except psycopg2.errors.LockNotAvailable as error:
        raise HelpersError(
            f"{settings.postgres_at(connection)}: the tables are in use by another session for more than "
            f"{LOCK_TIMEOUT_S} s; end its transaction and try again; nothing was written"
        ) from error
    except psycopg2.Error as error:
        reason = first_line(connections.first_cause(error))
        raise HelpersError(
            f"{settings.postgres_at(connection)}: populate stopped ({reason}); nothing was written; put that "
            "right (`python -m helpers up` starts a server that has ended), and the same command begins anew"
        ) from error
    finally:
        connection.close()
    seconds = time.perf_counter() - started
    return {
        "rows": dict(rows.counts),
        "seconds": seconds,
        "table_seconds": table_seconds,
        "rows_per_second": sum(rows.counts.values()) / seconds,
        "peak_rss_mb": machine.peak_rss_mb(),
        "seed": seed,
        "reference": reference.isoformat(),
        "schema": schema_name,
    }


def populate_apart(source: str | None = None, **options: Any) -> dict[str, Any]:
    """``populate`` in a fresh process, without a progress bar: ``peak_rss_mb`` is of this work alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(populate, source, **{**options, "progress": False}).result()


def require_rows(connection: Connection, **counts: int) -> None:
    """See that the course's tables hold what a notebook works on.

    Args:
        connection: whose search path says in which schema.
        counts: how many rows of a table are needed, those with the numbers from 1 on; at least one of each.

    Raises:
        HelpersError: a table is missing, or holds fewer of them; with the notebook that fills it.
    """
    with connection, connection.cursor() as cursor:
        for table, key in schema.KEYS.items():
            needed = counts.get(table, 1)
            cursor.execute("SELECT to_regclass(%s)", [table])
            held = 0
            if cursor.fetchone() != (None,):
                cursor.execute(f"SELECT count(*) FROM {table} WHERE {key} BETWEEN 1 AND %s", [needed])
                (held,) = cursor.fetchone() or (0,)
            if held < needed:
                raise HelpersError(
                    f"{settings.postgres_at(connection)}: {table} lacks rows that this notebook needs "
                    f"(number 1 to {needed}): run notebook 02, or `python -m helpers populate --replace`"
                )


@contextmanager
def throw_away(name: str, **counts: Any) -> Iterator[str]:
    """The URL of a filled schema of its own on the resolved server; removed on leaving.

    Args:
        name: of the schema, which is made when missing.
        counts: how many rows of each table, as ``populate`` takes them.

    Raises:
        HelpersError: as ``populate``, or the schema is not ours.
    """
    admin = connections.postgres()
    try:
        schema.ensure_schema(admin, name)
        source = connections.with_schema(None, name)
        populate(source, **counts, replace=True, progress=False)
        yield source
    finally:
        schema.drop_schema(admin, name)
        admin.close()


def _fill(connection: Connection, rows: Rows, replace: bool, progress: bool) -> dict[str, float]:
    seconds = {}
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        schema.create(connection)
        _make_room(connection, replace)
        for table in schema.TABLES:
            started = time.perf_counter()
            with bar(rows.counts[table], table, enabled=progress) as shown:
                stream = RowStream(rows.table(table), shown.update)
                connections.copy_in(cursor, f"COPY {table} FROM STDIN", stream)
            _set_sequence(connection, table)
            comment = f"{MARK}, seed {rows.seed}, rows {rows.counts[table]}"
            cursor.execute(sql.SQL("COMMENT ON TABLE {} IS %s").format(sql.Identifier(table)), [comment])
            seconds[table] = time.perf_counter() - started
        cursor.execute(f"ANALYZE {', '.join(schema.TABLES)}")
    return seconds


def _make_room(connection: Connection, replace: bool) -> None:
    """Leave the four tables empty, or refuse; a table without rows needs no room."""
    where = f"{settings.postgres_at(connection)}, schema {catalogue.current_schema(connection)}"
    held: dict[str, int] = {}
    foreign = []
    with connection.cursor() as cursor:
        # Taken before looking, so that no row comes between the look and the truncation.
        cursor.execute(f"LOCK TABLE {', '.join(schema.TABLES)} IN ACCESS EXCLUSIVE MODE")
        for table in schema.TABLES:
            cursor.execute(
                f"SELECT count(*), obj_description(to_regclass(%s), 'pg_class') FROM {table}", [table]
            )
            number, comment = cursor.fetchone() or (0, None)
            if number:
                held[table] = number
                if not (comment or "").startswith(MARK):
                    foreign.append(table)
        if not held:
            return
        listed = ", ".join(f"{table} {number:,}" for table, number in held.items())
        if foreign:
            raise HelpersError(
                f"{where}: {foreign[0]} holds rows that populate did not make ({listed} rows); nothing was "
                "changed; use another database or schema, or empty the tables by hand"
            )
        if not replace:
            raise HelpersError(
                f"{where}: the tables already hold rows ({listed}); nothing was changed; "
                "--replace (replace=True) makes them anew"
            )
        cursor.execute(f"TRUNCATE {', '.join(schema.TABLES)}")


def _set_sequence(connection: Connection, table: str) -> None:
    """Let the next generated key follow the largest one loaded."""
    key = schema.KEYS[table]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT setval(pg_get_serial_sequence(%s, %s), max({key})) FROM {table}", [table, key]
        )


class RowStream:
    """A file that COPY can read: encodes rows when asked for more, and holds no more than a chunk of them.

    Args:
        rows: an iterator of tuples of int, str, Decimal, datetime or None.
        advance: called with the number of rows after each chunk.
    """

    def __init__(self, rows: Iterator[tuple[Any, ...]], advance: Callable[[int], object]) -> None:
        self._rows = rows
        self._advance = advance
        self._text = b""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes of COPY's text format; empty at the end."""
        while len(self._text) < size:
            lines = [_line(row) for row in islice(self._rows, CHUNK_ROWS)]
            if not lines:
                break
            self._advance(len(lines))
            self._text += "".join(lines).encode("utf-8")
        part, self._text = self._text[:size], self._text[size:]
        return part


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _line(row: tuple[Any, ...]) -> str:
    values = [r"\N" if v is None else v.translate(_ESCAPES) if type(v) is str else str(v) for v in row]
    return "\t".join(values) + "\n"
