"""A cut-over without downtime: users write to PostgreSQL while their data moves, then read from Redis."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from helpers import migration, results
from helpers.migration import Lag, following, verification
from helpers.relational import redis_model
from helpers.servers import connections
from helpers.trials.traffic import Traffic, traffic

LAST = 20
_COUNT = {"type": "integer", "minimum": 0}
_READS = {
    "type": "object",
    "properties": {"asked": {"type": "integer", "minimum": 1}, "equal": _COUNT},
    "required": ["asked", "equal"],
}
_TABLES = {"type": "object", "additionalProperties": _COUNT, "required": list(redis_model.TABLES)}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rows": _TABLES,
        "writers": _COUNT,
        "committed_during_load": _COUNT,
        "committed": _COUNT,
        "transactions": _COUNT,
        "changes": _TABLES,
        "stopped_s": {"type": "number", "minimum": 0},
        "lag": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "at_s": {"type": "number"},
                    "bytes": _COUNT,
                    "seconds": {"type": "number", "minimum": 0},
                    "transactions": _COUNT,
                },
                "required": ["at_s", "bytes", "seconds", "transactions"],
            },
        },
        "reads_before": _READS,
        "reads_after": _READS,
        "differences": _COUNT,
    },
    "required": [
        "rows", "writers", "committed_during_load", "committed", "transactions", "changes", "stopped_s",
        "lag", "reads_before", "reads_after", "differences",
    ],
}  # fmt: skip
"""What ``run`` gives."""


def run(
    source: str,
    target: str,
    *,
    prefix: str = "",
    writing_s: float = 3.0,
    per_s: float = 150.0,
    seed: int = 42,
    progress: bool = True,
) -> dict[str, Any]:
    """Migrate and follow while users write, let them stop, apply the rest, and compare reads of both sides.

    Args:
        source: PostgreSQL URL; its tables have rows and ``REPLICA IDENTITY FULL``.
        target: Redis URL.
        prefix: stands before every key.
        writing_s: seconds for which users write on after following began.
        per_s: most transactions a second.
        seed: of what users do.
        progress: show progress on stderr.

    Returns:
        ``rows`` per table of the snapshot, ``writers``, ``committed_during_load`` and ``committed``
        (transactions of the users), ``transactions`` and ``changes`` per table that were applied, ``lag``
        (records of at_s, bytes, seconds, transactions, from the beginning of following on), ``stopped_s``
        (when the users stopped), ``reads_before`` and ``reads_after`` (``asked``, ``equal``; while users
        wrote, and when all was applied), ``differences`` that ``verify`` found.
    """
    lags: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    reader: list[threading.Thread] = []
    with ExitStack() as work:
        users: Traffic = work.enter_context(traffic(source, per_s=per_s, seed=seed))
        moved = migration.migrate(source, target, prefix=prefix, follow=True, progress=progress)
        found["committed_during_load"] = users.committed

        def read() -> None:
            found["reads_before"] = compare_reads(source, target, prefix=prefix)

        def report(lag: Lag) -> None:
            lags.append(
                {"at_s": lag.at_s, "bytes": lag.bytes, "seconds": lag.seconds}
                | {"transactions": lag.transactions}
            )
            if lag.at_s > writing_s and not reader:  # beside, so that following goes on
                reader.append(threading.Thread(target=read))
                reader[0].start()
            elif reader and "reads_before" in found and "stopped_s" not in found:
                work.close()  # the users stop here; what they wrote last is still on its way
                found["stopped_s"] = lag.at_s

        caught = following.follow(
            source, target, prefix=prefix, until_idle_s=writing_s / 5, report=report, shown=progress
        )
        if "stopped_s" not in found:  # a source so quiet that following ended first
            read()
            found["stopped_s"] = caught["seconds"]
    last = following.follow(source, target, prefix=prefix, until_idle_s=0, shown=progress)
    found |= {
        "rows": moved["rows_read"],
        "writers": len(users.writers),
        "committed": users.committed,
        "transactions": caught["transactions"] + last["transactions"],
        "changes": {table: caught["changes"][table] + last["changes"][table] for table in redis_model.TABLES},
        "lag": lags,
        "reads_after": compare_reads(source, target, prefix=prefix),
        "differences": verification.verify(source, target, prefix=prefix, progress=progress)["differences"],
    }
    results.jsonschema().validate(found, SCHEMA)
    return found


def compare_reads(source: str, target: str, *, prefix: str = "", users: int = 100) -> dict[str, int]:
    """How many of some reads get the same answer from both: profile, last activities, number of orders.

    Args:
        source: PostgreSQL URL.
        target: Redis URL.
        prefix: stands before every key.
        users: of how many users, with the lowest numbers.
    """
    connection, client = connections.postgres(source), connections.redis(target, decode_responses=True)
    asked = equal = 0
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT user_id FROM users ORDER BY user_id LIMIT %s", (users,))
        for (user,) in cursor.fetchall():
            for read_rows, read_keys in READS:
                asked += 1
                equal += read_rows(cursor, user) == read_keys(client, user, prefix)
    connection.close()
    client.close()
    return {"asked": asked, "equal": equal}


def _rows(sql: str) -> Callable[[Any, int], list[tuple[Any, ...]]]:
    def read(cursor: Any, user: int) -> list[tuple[Any, ...]]:
        cursor.execute(sql, (user,))
        return list(cursor.fetchall())

    return read


def _profile(client: Any, user: int, prefix: str) -> list[tuple[Any, ...]]:
    fields = client.hgetall(redis_model.user_key(user, prefix))
    return [redis_model.decode_row("users", user, fields)] if fields else []


def _activities(client: Any, user: int, prefix: str) -> list[tuple[Any, ...]]:
    elements = client.lrange(redis_model.activities_key(user, prefix), -LAST, -1)
    return [redis_model.decode_activity(element) for element in reversed(elements)]


def _orders(client: Any, user: int, prefix: str) -> list[tuple[Any, ...]]:
    return [(client.zcard(redis_model.user_orders_key(user, prefix)),)]


READS = (
    (_rows("SELECT user_id, username, email, created_at FROM users WHERE user_id = %s"), _profile),
    (
        _rows(
            "SELECT activity_type, activity_date FROM activities WHERE user_id = %s ORDER BY activity_date "
            f"DESC, activity_id DESC LIMIT {LAST}"
        ),
        _activities,
    ),
    (_rows("SELECT count(*) FROM orders WHERE user_id = %s"), _orders),
)
"""The same question to both, with answers that are equal when they say the same."""
