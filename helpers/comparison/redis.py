"""Redis's idiom: one key a question, in the course's model of keys (``redis_model``) under a prefix."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from helpers.comparison.store import (
    BATCH_ROWS,
    CLIENTS,
    NAMESPACE,
    TIMEOUT_S,
    Idiom,
    Order,
    Profile,
    Seen,
    Size,
    Store,
    Traffic,
    batches,
)
from helpers.comparison.workload import TIERS
from helpers.errors import HelpersError, first_line
from helpers.relational import redis_model
from helpers.servers import connections

PREFIX = f"{NAMESPACE}:"
TIER_SETTINGS = {
    "relaxed": {"appendonly": "yes", "appendfsync": "everysec"},
    "strict": {"appendonly": "yes", "appendfsync": "always"},
}
SHOWN = ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "io-threads")


class RedisStore(Store):
    """Hashes, lists and sorted sets of the course's Redis model, all keys beginning with ``comparison:``."""

    name = "redis"
    NULL_OP = "PING"
    ERRORS = (redis_py.RedisError, OSError)
    IDIOMS: ClassVar = {
        "read_profile": Idiom("HGETALL user:ID", "one key", 0),
        "last_activities": Idiom("LRANGE user:ID:activities -20 -1", "one key", 0),
        "append_activity": Idiom(
            "MULTI; RPUSH user:ID:activities TYPE:DATE; ZADD user:ID:activities:by_time US ACTIVITY:TYPE; "
            "EXEC",
            "list and sorted set together",
            2,
        ),
        "place_order": Idiom(
            "MULTI; HSET order:ID ...; ZADD user:ID:orders US ORDER; ZADD product:ID:orders US ORDER; EXEC",
            "the order and both references back together",
            3,
        ),
    }

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url)
        self.client: Any = connections.redis(
            self.url,
            decode_responses=True,
            max_connections=CLIENTS + 4,
            socket_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._found: dict[str, str] = {}

    def create(self) -> None:
        """Nothing to define: only make room under the prefix."""
        self.drop()

    def load_rows(self, table: str, rows: Iterable[Any]) -> None:
        """Send the commands of the model in pipelines.

        Args:
            table, rows: as for every ``Store``.
        """
        for batch in batches(rows):
            self._send([command for row in batch for command in COMMANDS[table](*row)], transaction=False)

    def _send(self, commands: Iterable[tuple[Any, ...]], *, transaction: bool = True) -> None:
        with self.client.pipeline(transaction=transaction) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            pipe.execute()

    def read_profile(self, user_id: int) -> Profile | None:
        """Read one hash."""
        found = self.client.hgetall(redis_model.user_key(user_id, PREFIX))
        if not found:
            return None
        return Profile(found["username"], found["email"], redis_model.parse_timestamp(found["created_at"]))

    def last_activities(self, user_id: int, limit: int = 20) -> list[Seen]:
        """Read the end of the list, and turn it round.

        Args:
            user_id, limit: as for every ``Store``.
        """
        found = self.client.lrange(redis_model.activities_key(user_id, PREFIX), -limit, -1)
        return [Seen(*redis_model.decode_activity(element)) for element in reversed(found)]

    def append_activity(
        self, activity_id: int, user_id: int, activity_type: str, activity_date: datetime
    ) -> None:
        """Add to the list and to the sorted set in one transaction.

        Args:
            activity_id, user_id, activity_type, activity_date: as for every ``Store``.
        """
        self._send(_append(activity_id, user_id, activity_type, activity_date))

    def place_order(
        self, order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
    ) -> None:
        """Write the hash and both sorted sets in one transaction.

        Args:
            order_id, user_id, product_id, order_date, quantity: as for every ``Store``.
        """
        self._send(_order(order_id, user_id, product_id, order_date, quantity))

    def read_order(self, order_id: int) -> Order | None:
        """Read one hash."""
        found = self.client.hgetall(redis_model.order_key(order_id, PREFIX))
        return Order(*redis_model.decode_row("orders", order_id, found)) if found else None

    def orders_of_user(self, user_id: int) -> list[int]:
        """Read a sorted set from its end."""
        return self._newest_first(redis_model.user_orders_key(user_id, PREFIX))

    def orders_of_product(self, product_id: int) -> list[int]:
        """Read a sorted set from its end."""
        return self._newest_first(redis_model.product_orders_key(product_id, PREFIX))

    def _newest_first(self, key: str) -> list[int]:
        scored = ((score, int(member)) for member, score in self.client.zrange(key, 0, -1, withscores=True))
        return [
            order_id for _, order_id in sorted(scored, reverse=True)
        ]  # equal scores: by number, not by text

    def null_op(self) -> None:
        """Send PING."""
        self.client.ping()

    def tiers(self) -> tuple[str, ...]:
        """Both, unless the server forbids CONFIG."""
        try:
            self.client.config_get("appendonly")
        except redis_py.ResponseError:
            return ()
        return TIERS

    def set_durability(self, tier: str) -> None:
        """Set the append-only file by CONFIG SET; ``close`` puts back what was found."""
        if tier not in TIER_SETTINGS:
            raise HelpersError(f"redis: no durability tier {tier!r}; choose from {', '.join(TIERS)}")
        try:
            for setting, value in TIER_SETTINGS[tier].items():
                self._found.setdefault(setting, self.client.config_get(setting)[setting])
                self.client.config_set(setting, value)
        except redis_py.ResponseError as error:
            raise HelpersError(
                f"redis at {self.address}: CONFIG is refused ({first_line(error)}), so durability cannot "
                f"be set; "
                "use a server of your own: `python -m helpers up redis`"
            ) from error

    def settings(self) -> dict[str, str]:
        """Settings by CONFIG GET."""
        found = self.client.config_get(*SHOWN)
        return {"version": self.version()} | {
            **{name: found.get(name) or "(none)" for name in SHOWN},
            "retries": "off (driver)",
            "connections": f"at most {CLIENTS + 4} (driver)",
        }

    def version(self) -> str:
        """The version in INFO."""
        return str(self.client.info("server")["redis_version"])

    def traffic(self, operation: str, *arguments: object) -> Traffic:
        """Count reads from the socket and commands as the server counts them."""
        before = self.client.info("stats")
        getattr(self, operation)(*arguments)
        after = self.client.info("stats")
        # The second INFO is read and counted too, the commands only once they are done.
        return Traffic(
            after["total_reads_processed"] - before["total_reads_processed"] - 1,
            after["total_commands_processed"] - before["total_commands_processed"] - 1,
        )

    def _keys(self, of: str = "*") -> Iterator[list[str]]:
        return batches(self.client.scan_iter(match=f"{PREFIX}{of}", count=BATCH_ROWS))

    def size(self) -> Size:
        """Bytes of every key by MEMORY USAGE."""
        memory = 0
        for batch in self._keys():
            with self.client.pipeline(transaction=False) as pipe:
                for key in batch:
                    pipe.memory_usage(key, samples=0)
                memory += sum(value or 0 for value in pipe.execute())
        return Size(memory, None, "MEMORY USAGE of every key; the append-only file is of the whole server")

    def activity_size(self) -> Size:
        """Bytes of the lists and sorted sets of activities, by MEMORY USAGE and by the length of DUMP."""
        memory = disk = 0
        for batch in self._keys("user:*:activities*"):
            with self.client.pipeline(transaction=False) as pipe:
                for key in batch:
                    pipe.memory_usage(key, samples=0)
                    pipe.dump(key)
                found = pipe.execute()
            memory += sum(value or 0 for value in found[::2])
            # A dump ends with two bytes of version and eight of checksum; a file has the key and its length.
            disk += sum(len(value) - 10 + len(key) + 1 for key, value in zip(batch, found[1::2], strict=True))
        how = (
            "MEMORY USAGE of every list and sorted set of activities; on disk the length of DUMP and key, as "
            "in a snapshot or a log just rewritten"
        )
        return Size(memory, disk, how)

    def server_cpu_s(self) -> float | None:
        """From INFO."""
        used = self.client.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    def server_rss_mb(self) -> float | None:
        """From INFO."""
        return float(self.client.info("memory")["used_memory_rss"]) / 1e6

    def drop(self) -> None:
        """Unlink every key under the prefix."""
        for batch in self._keys():
            self.client.unlink(*batch)

    def close(self) -> None:
        """Put the append-only file's settings back, and disconnect."""
        with suppress(*self.ERRORS):
            for setting, value in self._found.items():
                self.client.config_set(setting, value)
        self.client.close()


def _pairs(fields: dict[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


def _user(*row: Any) -> list[tuple[Any, ...]]:
    return [("HSET", redis_model.user_key(row[0], PREFIX), *_pairs(redis_model.encode_row("users", row)))]


def _product(*row: Any) -> list[tuple[Any, ...]]:
    return [
        ("HSET", redis_model.product_key(row[0], PREFIX), *_pairs(redis_model.encode_row("products", row)))
    ]


def _append(
    activity_id: int, user_id: int, activity_type: str, activity_date: datetime
) -> list[tuple[Any, ...]]:
    return [
        (
            "RPUSH",
            redis_model.activities_key(user_id, PREFIX),
            redis_model.encode_activity(activity_type, activity_date),
        ),
        (
            "ZADD",
            redis_model.activities_by_time_key(user_id, PREFIX),
            redis_model.microseconds(activity_date),
            redis_model.encode_member(activity_id, activity_type),
        ),
    ]


def _order(
    order_id: int, user_id: int, product_id: int, order_date: datetime, quantity: int
) -> list[tuple[Any, ...]]:
    row = (order_id, user_id, product_id, order_date, quantity)
    moment = redis_model.microseconds(order_date)
    return [
        ("HSET", redis_model.order_key(order_id, PREFIX), *_pairs(redis_model.encode_row("orders", row))),
        ("ZADD", redis_model.user_orders_key(user_id, PREFIX), moment, order_id),
        ("ZADD", redis_model.product_orders_key(product_id, PREFIX), moment, order_id),
    ]


COMMANDS: dict[str, Callable[..., list[tuple[Any, ...]]]] = {
    "users": _user,
    "products": _product,
    "activities": _append,
    "orders": _order,
}
"""The commands that store a row of each table."""
