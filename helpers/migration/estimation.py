"""What a migration would need: memory and time, from a sample that the target measures and nobody sees."""

import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from helpers import text
from helpers.columns import Strings, joined
from helpers.migration.encoding import Encoder
from helpers.model import PARTS, Part
from helpers.source import Source, copytext
from helpers.target import encode, keyspace, resp, routing

SAMPLE_ROWS = 2000
SAMPLE_OWNERS = 100
UNDER_WAY_BYTES = 8 << 20
"""What a batch that is being written takes for a moment, at most."""
ENTRY_BYTES = 16
"""What a key costs beyond MEMORY USAGE: its place in the database's table of keys, which is half empty."""


@dataclass(frozen=True)
class Sample:
    """What some rows need in the target.

    Attributes:
        rows: how many of each table it has.
        bytes_per_row: memory per row of each table, with its share of the references back; empty when the
            user may not ask for it.
        seconds_per_row: to read, encode and write a row.
    """

    rows: dict[str, int]
    bytes_per_row: dict[str, float]
    seconds_per_row: float


def sample(source: Source, connection: resp.Connection, prefix: str) -> Sample:
    """Write a sample, ask how large it is, and take it away: in one transaction for each part of the load.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration; the sample's keys lie below it.

    Raises:
        resp.Refused: the target has no room for the sample, for example.
    """
    name = secrets.token_hex(6)
    # In a cluster the braces bring all of it to one node, or a transaction could not hold it.
    under = f"{prefix}migration:sample:{f'{{{name}}}' if connection.clustered else name}:"
    rows: Counter[str] = Counter()
    per_row: defaultdict[str, float] = defaultdict(float)
    seconds, known = 0.0, True
    for part in PARTS:
        lines: list[bytes] = []
        source.stream(_query(part), lines.append)
        if not lines:
            continue
        started = time.perf_counter()
        batch = Encoder(part, under).batch(copytext.columns(b"".join(lines), len(part.columns)))
        size = _measure(connection, batch.commands, len(under) - len(prefix))
        seconds += time.perf_counter() - started
        if part.name == part.table:
            rows[part.table] = len(lines)
        per_row[part.table] += (size or 0) / len(lines)
        known = known and size is not None
    return Sample(dict(rows), dict(per_row) if known else {}, seconds / max(rows.total(), 1))


def _measure(connection: resp.Connection, commands: Strings, more: int) -> int | None:
    """Bytes that some commands make the target need; None when the user may not ask.

    Args:
        connection: the target, in which nobody sees what they write.
        commands: which write only below the sample's prefix.
        more: how much longer that makes each key.
    """
    keys = routing.keys(commands)
    asked = b"".join(encode("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys)
    away = encode("UNLINK", *keys)
    raw = connection.exchange(encode("MULTI") + joined(commands) + asked + away + encode("EXEC"))
    replies = resp.parse(raw)
    for error in resp.errors(replies):
        if str(error).startswith("NOPERM"):
            return None
        raise connection.refused(error, "sample")
    sizes: list[int] = replies[-1][len(commands) : len(commands) + len(keys)]
    return sum(sizes) + len(keys) * (ENTRY_BYTES - more)


def _query(part: Part) -> str:
    """Some rows of a part; of collections all rows of some owners, as elements share what their key needs."""
    where = part.where
    if part.owner:
        key, table = f"{part.owner}_id", f"{part.owner}s"
        where += f" AND {key} IN (SELECT {key} FROM {table} ORDER BY md5({key}::text) LIMIT {SAMPLE_OWNERS})"
    return (
        f"SELECT {', '.join(part.columns)} FROM {part.table} WHERE {where} ORDER BY {', '.join(part.key)} "
        f"LIMIT {SAMPLE_ROWS}"
    )


def memory(bytes_per_row: Mapping[str, float], rows: Mapping[str, int], done: Mapping[str, int]) -> int:
    """Bytes that the rows which are not done yet would need."""
    return round(sum(size * max(rows[table] - done[table], 0) for table, size in bytes_per_row.items()))


def fits(needed: int, fitness: keyspace.Fitness) -> bool:
    """Whether there is room for so many bytes more, and for the batches on their way."""
    return not fitness.limit_bytes or _with_margin(round(needed * fitness.share)) <= fitness.free_bytes


def too_much(needed: int, fitness: keyspace.Fitness) -> str:
    """What to say when that is more than there is."""
    needed = round(needed * fitness.share)
    enough = fitness.used_bytes + _with_margin(needed)
    of = f" of redis at {fitness.where}" if fitness.where else ""
    return (
        f"about {text.size_bytes(needed)} are needed and {text.size_bytes(fitness.free_bytes)} are left "
        f"below maxmemory{of}; set it to {enough} or more"
    )


def _with_margin(needed: int) -> int:
    """With a tenth more, and room for the batch that is being written."""
    return needed + needed // 10 + min(needed, UNDER_WAY_BYTES)
