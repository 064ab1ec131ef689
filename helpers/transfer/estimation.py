"""What a migration would need: memory from a sample that is measured in the target and taken away again."""

import secrets
import time
from collections import Counter
from typing import Any

from helpers import model, resp
from helpers.resp import encode
from helpers.transfer import copytext, target
from helpers.transfer.batches import Encoder
from helpers.transfer.source import PARTS, Part, Source

SAMPLE_ROWS = 2000
SAMPLE_USERS = 100
EXPIRE_MS = 60_000
PART_OF_KIND = {
    "user": "users",
    "product": "products",
    "order": "orders",
    "user_orders": "user_orders",
    "product_orders": "product_orders",
    "user_activities": "activities",
    "user_activities_by_time": "activities",
}


def estimate(
    source: Source, connection: resp.Connection, prefix: str, rows: dict[str, int]
) -> dict[str, Any]:
    """Memory and time that a load would take, from a sample of whole users and of the first rows.

    The sample's keys lie under a prefix of their own, expire within a minute, and are removed at once.

    Args:
        source: the snapshot.
        connection: the target; written to for a moment.
        prefix: the prefix of the migration.
        rows: rows of each table.

    Returns:
        ``memory_bytes`` (None when nothing could be sampled), ``bytes_per_row`` per table, ``sample_rows``
        per table, ``load_seconds_estimated``.
    """
    under = f"{prefix}migration:sample:{secrets.token_hex(6)}:"
    sampled: Counter[str] = Counter()
    size: Counter[str] = Counter()
    started = time.perf_counter()
    try:
        for part in PARTS:
            lines: list[bytes] = []
            source.stream(_sample(part), lines.append)
            if lines:
                batch = Encoder(part, under).batch(copytext.columns(b"".join(lines), len(part.columns)))
                sampled[part.name] = len(lines)
                for error in resp.errors(resp.parse(connection.exchange(batch.commands))):
                    raise connection.refused(error, "sample")
        seconds = time.perf_counter() - started
        for found in target.scan(connection, under):
            expire = b"".join(encode("PEXPIRE", key, EXPIRE_MS) for _, key in found)
            connection.exchange(expire)
            asked = b"".join(encode("MEMORY", "USAGE", key, "SAMPLES", 0) for _, key in found)
            replies = resp.parse(connection.exchange(asked))
            for error in resp.errors(replies):
                raise connection.refused(error, "sample")
            for (kind, _), used in zip(found, replies, strict=True):
                size[PART_OF_KIND[kind]] += used or 0
    finally:
        for found in target.scan(connection, under):
            connection.exchange(encode("UNLINK", *(key for _, key in found)))
    per_row = dict.fromkeys((table for table in model.TABLES if sampled[table]), 0.0)
    for part in PARTS:
        if sampled[part.name]:
            per_row[part.table] += size[part.name] / sampled[part.name]
    return {
        "memory_bytes": round(sum(per_row.get(table, 0) * rows[table] for table in model.TABLES)) or None,
        "bytes_per_row": per_row,
        "sample_rows": {table: sampled[table] for table in per_row},
        "load_seconds_estimated": seconds * sum(rows.values()) / max(sum(sampled.values()), 1),
    }


def _sample(part: Part) -> str:
    columns, key = ", ".join(part.columns), ", ".join(part.key)
    where = part.where
    if part.name == "activities":  # whole users, because a key's own size is shared by its elements
        where += (
            f" AND user_id IN (SELECT user_id FROM users ORDER BY user_id % 97, user_id LIMIT {SAMPLE_USERS})"
        )
    return f"SELECT {columns} FROM {part.table} WHERE {where} ORDER BY {key} LIMIT {SAMPLE_ROWS}"
