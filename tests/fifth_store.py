"""A further store of the comparison: PostgreSQL, which answers the same operations from its tables."""

from collections.abc import Iterable
from typing import Any

import psycopg2

from helpers.comparison.store import TIERS, Idiom, Order, Profile, Seen, Size, Store, Traffic
from helpers.relational import redis_model, schema
from helpers.relational.population import RowStream
from helpers.servers import connections

NEWEST = "ORDER BY {0} DESC, {1} DESC"
STATEMENTS = {
    "read_profile": "SELECT username, email, created_at FROM users WHERE user_id = %s",
    "last_activities": "SELECT activity_type, activity_date FROM activities WHERE user_id = %s "
    f"{NEWEST.format('activity_date', 'activity_id')} LIMIT %s",
    "append_activity": "INSERT INTO activities VALUES (%s, %s, %s, %s)",
    "place_order": "INSERT INTO orders VALUES (%s, %s, %s, %s, %s)",
}


class PostgresStore(Store):
    """The four tables in the first schema of the URL's search path."""

    name = "postgres"
    ERRORS = (psycopg2.Error,)
    IDIOMS = {operation: Idiom(sql, "one row", int("INSERT" in sql)) for operation, sql in STATEMENTS.items()}  # noqa: RUF012
    DEFINITIONS = tuple(schema.DDL.values())

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url)
        self._connection = connections.postgres(self.url)
        self._connection.autocommit = True

    def _do(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def create(self) -> None:
        schema.drop(self._connection)
        schema.create(self._connection)

    def load_rows(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        stream: Any = RowStream(iter(rows), lambda rows: None)
        with self._connection.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} ({', '.join(redis_model.COLUMNS[table])}) FROM STDIN", stream)

    def read_profile(self, user_id: int) -> Profile | None:
        found = self._do(STATEMENTS["read_profile"], user_id)
        return Profile(*found[0]) if found else None

    def last_activities(self, user_id: int, limit: int = 20) -> list[Seen]:
        return [Seen(*row) for row in self._do(STATEMENTS["last_activities"], user_id, limit)]

    def append_activity(self, *row: Any) -> None:
        self._do(STATEMENTS["append_activity"], *row)

    def place_order(self, *row: Any) -> None:
        self._do(STATEMENTS["place_order"], *row)

    def read_order(self, order_id: int) -> Order | None:
        return next(
            (Order(*row) for row in self._do("SELECT * FROM orders WHERE order_id = %s", order_id)), None
        )

    def orders_of_user(self, user_id: int) -> list[int]:
        return self._orders_of("user_id", user_id)

    def orders_of_product(self, product_id: int) -> list[int]:
        return self._orders_of("product_id", product_id)

    def _orders_of(self, owner: str, number: int) -> list[int]:
        newest = NEWEST.format("order_date", "order_id")
        return [
            order for (order,) in self._do(f"SELECT order_id FROM orders WHERE {owner} = %s {newest}", number)
        ]

    def null_op(self) -> None:
        self._do("SELECT 1")

    def tiers(self) -> tuple[str, ...]:
        return TIERS

    def set_durability(self, tier: str) -> None:
        self._do(f"SET synchronous_commit = {'on' if tier == 'strict' else 'off'}")

    def settings(self) -> dict[str, str]:
        return {"synchronous_commit": self._do("SHOW synchronous_commit")[0][0], "version": self.version()}

    def version(self) -> str:
        return str(self._do("SHOW server_version")[0][0]).split()[0]

    def traffic(self, operation: str, *arguments: object) -> Traffic:
        getattr(self, operation)(*arguments)
        return Traffic(1, 1)

    def size(self) -> Size:
        return self._size(schema.TABLES)

    def activity_size(self) -> Size:
        return self._size(("activities",))

    def _size(self, tables: Iterable[str]) -> Size:
        sizes = (self._do("SELECT pg_total_relation_size(%s)", table)[0][0] for table in tables)
        return Size(None, sum(sizes), "pg_total_relation_size; what of it is in memory is not told")

    def server_cpu_s(self) -> float | None:
        return None

    def server_rss_mb(self) -> float | None:
        return None

    def drop(self) -> None:
        schema.drop(self._connection)

    def close(self) -> None:
        self._connection.close()
