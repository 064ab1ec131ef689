"""The data set of the comparison: made in a PostgreSQL schema of its own, read from there into each store."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

from helpers.comparison.store import Store
from helpers.comparison.workload import Population
from helpers.errors import HelpersError
from helpers.relational import population
from helpers.servers import connections

PG_SCHEMA = "comparison"
LOCK = 20_260_301
"""Number of the advisory lock that keeps two comparisons on the same server apart."""
FETCH_ROWS = 5000
QUERIES = {
    "users": "SELECT user_id, username, email, created_at FROM users ORDER BY user_id",
    "products": "SELECT product_id, product_name, price FROM products ORDER BY product_id",
    "activities": "SELECT activity_id, user_id, activity_type, activity_date FROM activities "
    "ORDER BY user_id, activity_date, activity_id",
    "orders": "SELECT order_id, user_id, product_id, order_date, quantity FROM orders ORDER BY order_id",
}


@dataclass(frozen=True)
class Dataset:
    """Rows in PostgreSQL, and how many there are."""

    connection: Any
    population: Population

    def rows(self, table: str) -> Generator[Any]:
        """The rows of a table, streamed; activities sorted by user, date and id."""
        with self.connection, self.connection.cursor(name=f"comparison_{table}") as cursor:
            cursor.itersize = FETCH_ROWS
            cursor.execute(QUERIES[table])
            yield from cursor

    @contextmanager
    def tables(self) -> Iterator[Mapping[str, Iterator[Any]]]:
        """The rows of each table by its name; a stream that was not read to its end is closed."""
        streams = {table: self.rows(table) for table in QUERIES}
        try:
            yield streams
        finally:
            for stream in streams.values():
                _close(stream)

    def load_into(self, store: Store) -> None:
        """Load a store, made anew, with all rows."""
        store.create()
        with self.tables() as tables:
            store.load(**tables)


def _close(stream: Generator[Any]) -> None:
    closed = False
    while not closed:
        try:
            stream.close()
            closed = True
        except ValueError:  # a thread of a driver that failed takes a row just now
            time.sleep(0.01)


@contextmanager
def made(
    url: str | None = None, *, users: int, products: int, activities: int, orders: int, seed: int
) -> Iterator[Dataset]:
    """A data set as a context manager: populated on entering, its schema removed on leaving.

    Args:
        url: PostgreSQL; the resolved server when None.
        users, products, activities, orders: how many rows of each.
        seed: of the rows.

    Raises:
        HelpersError: PostgreSQL cannot be reached, or another comparison is under way there.
    """
    connection = connections.postgres(connections.with_schema(url, PG_SCHEMA))
    try:
        with connection, connection.cursor() as cursor:
            if not connections.held(connection, LOCK):
                raise HelpersError(
                    "postgres: another comparison is under way on this server; wait for it to end, then "
                    "try again"
                )
            _drop(cursor)
            cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(PG_SCHEMA)))
        counts: dict[str, Any] = {
            "users": users,
            "products": products,
            "activities": activities,
            "orders": orders,
        }
        population.populate(connections.with_schema(url, PG_SCHEMA), **counts, seed=seed, progress=False)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT greatest((SELECT max(created_at) FROM users), (SELECT max(activity_date) FROM "
                "activities), "
                "(SELECT max(order_date) FROM orders))"
            )
            [(latest,)] = cursor.fetchall()
        try:
            yield Dataset(connection, Population(**counts, latest=latest))
        finally:
            with suppress(psycopg2.Error):  # the server is gone; the next comparison on it drops the schema
                connection.rollback()
                with connection, connection.cursor() as cursor:
                    _drop(cursor)
    finally:
        connection.close()


def _drop(cursor: Any) -> None:
    cursor.execute("SET client_min_messages = warning")
    cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(PG_SCHEMA)))
