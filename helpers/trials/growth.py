"""Growth: the same migration of more and more rows, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from helpers.errors import HelpersError
from helpers.relational import population
from helpers.servers import connections

SIZES = {"quick": {2_000: 1, 20_000: 1}, "full": {100_000: 5, 1_000_000: 5, 10_000_000: 1}}
"""Rows in all, and how often they are migrated."""


def tables(rows: int) -> dict[str, Any]:
    """Rows of each table, so that they are about so many in all."""
    users = max(rows // 50, 1)
    return {
        "users": users,
        "products": max(rows // 500, 1),
        "activities": rows * 4 // 5,
        "orders": rows - rows * 4 // 5 - users - max(rows // 500, 1),
    }


def measure(
    source: str, target: str, profile: str, advance: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Fill the source, migrate and verify it as ``python -m helpers migrate``, for each size.

    Args:
        source: PostgreSQL URL of a schema of its own; its tables are replaced.
        target: URL of a Redis of its own; it is emptied.
        profile: ``quick`` or ``full``.
        advance: called after each migration.

    Returns:
        One record a migration: ``rows`` (in all), ``round``, ``load_seconds``, ``verify_seconds``,
        ``peak_rss_mb``, ``differences``.
    """
    client, records = connections.redis(target), []
    for rows, rounds in SIZES[profile].items():
        population.populate(source, **tables(rows), replace=True, progress=False)
        for number in range(1, rounds + 1):
            client.flushall()
            result = _migrate(source, target)
            records.append(
                {"rows": sum(result["rows_read"].values()), "round": number}
                | {
                    key: result[key]
                    for key in ("load_seconds", "verify_seconds", "peak_rss_mb", "differences")
                }
            )
            advance()
    client.flushall()
    return records


def _migrate(source: str, target: str) -> dict[str, Any]:
    # By environment, because anybody on the machine may read a command line.
    environment = os.environ | {"POSTGRES_URL": source, "REDIS_URL": target}
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "migrate", "--json"],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise HelpersError(f"growth: the migration failed: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout))
