"""A migration in a test: few rows, a call, and what it leaves."""

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from helpers import migration
from helpers.columns import NOTHING, Strings
from helpers.relational import schema
from helpers.servers import connections
from helpers.target import Checkpoint

ROWS = """
INSERT INTO users SELECT n, 'user ' || n, 'u' || n || '@example.org',
  timestamp '2026-01-01' + n * interval '1 day'
  FROM generate_series(1, 6) n;
INSERT INTO products SELECT n, 'product ' || n, n + 0.9 FROM generate_series(1, 3) n;
INSERT INTO activities SELECT n, 1 + n % 3, CASE n % 2 WHEN 0 THEN 'login' ELSE 'a:b' END,
  timestamp '2026-02-01' + n * interval '1.000001 s' FROM generate_series(1, 30) n;
INSERT INTO orders SELECT n, 1 + n % 4, 1 + n % 3, timestamp '2026-03-01' + n * interval '1 min', n
  FROM generate_series(1, 12) n;
"""


def run_sql(url: str, *statements: str) -> None:
    connection = connections.postgres(url)
    with connection:
        for statement in statements:
            connection.cursor().execute(statement)
    connection.close()


def ask(url: str, query: str, values: Any = None) -> list[tuple[Any, ...]]:
    """What a query answers, nothing where it gives no rows; what it did is committed."""
    connection = connections.postgres(url)
    with contextlib.closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def make_course(url: str) -> str:
    """The URL itself, behind which the four tables are made, with a few rows."""
    connection = connections.postgres(url)
    with contextlib.closing(connection), connection, connection.cursor() as cursor:
        schema.create(connection)
        cursor.execute(ROWS)
    return url


def until(come: Callable[[], Any], patience_s: float = 300) -> Any:
    """Wait until something is so, but not for ever; what came."""
    deadline = time.monotonic() + patience_s
    while not (found := come()):
        assert time.monotonic() < deadline, f"waited for {patience_s} s"
        time.sleep(0.002)
    return found


def without_bars(errors: str) -> str:
    """What a command said on stderr, without the progress bars of one that took more than a few seconds."""
    lines = [line for line in re.split(r"[\r\n]+", errors) if line.strip()]
    return "".join(f"{line}\n" for line in lines if not re.search(r"\d+%\||\d+/\d+ \[", line))


def migrate(source: str, target: str, **options: Any) -> dict[str, Any]:
    return migration.migrate(source, target, progress=False, **options)


def interrupted(source: str, target: str, when: Callable[[Mapping[str, Any]], bool], **options: Any) -> None:
    """A migration that is interrupted behind the first batch whose fields of the state are such."""
    send, left = Checkpoint.send, [True]

    def stop(
        self: Checkpoint,
        commands: Strings = NOTHING,
        state: Mapping[str, Any] | None = None,
        *arguments: Any,
        **more: Any,
    ) -> None:
        send(self, commands, state, *arguments, **more)
        if left and when(state or {}):
            left.clear()
            self.settle()
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "send", stop)
        with pytest.raises(KeyboardInterrupt):
            migrate(source, target, **options)


def swap(client: Any, key: str) -> None:
    """Let the first two elements of a list change places."""
    first, second = client.lrange(key, 0, 1)
    client.lset(key, 0, second)
    client.lset(key, 1, first)


def dump(url: str, but: bytes = b"migration:") -> dict[bytes, Any]:
    """Everything in the database but the bookkeeping."""
    client = connections.redis(url)
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"hash": client.hgetall,
        b"list": lambda k: client.lrange(k, 0, -1),
        b"zset": lambda k: client.zrange(k, 0, -1, withscores=True),
        b"string": client.get,
        b"set": client.smembers,
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter(count=1000) if but not in key}
