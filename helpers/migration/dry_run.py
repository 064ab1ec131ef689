"""The dry run: what a migration would do, and the memory and time it would need, without doing it.

The estimates come from a sample that the target measures and nobody sees.
"""

import contextlib
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from helpers import text
from helpers.columns import Strings, joined
from helpers.migration.encoding import Encoder
from helpers.migration.findings import Rejects
from helpers.migration.job import Job, open_workers
from helpers.migration.loading import LoadProgress
from helpers.migration.refusals import recorded_plan, refuse
from helpers.model import Plan, Stream
from helpers.servers import machine
from helpers.source import Source, copytext, follow_checks, slot
from helpers.target import (
    checkpoint_of,
    connect,
    encode,
    keyspace,
    rehearsal,
    resp,
    routing,
)

SAMPLE_ROWS = 2000
SAMPLE_OWNERS = 100
OWNERS_AMONG = 200_000
"""Of a larger table about so many rows tell which owners there are."""
UNDER_WAY_BYTES = 8 << 20
"""What a batch that is being written takes for a moment, at most."""
ENTRY_BYTES = 16
"""What a key costs beyond MEMORY USAGE: its place in the database's table of keys, which is half empty."""


def dry_run(job: Job) -> dict[str, Any]:
    """Refuse what the migration would refuse; else say what it would do, remove and need.

    The sample behind the estimates is written and taken away in one transaction: nobody sees it.

    Returns:
        The result of a dry run, as ``migrate`` describes it.

    Raises:
        HelpersError: the migration would be refused.
    """
    with (
        Source(job.source_url, job.model, prefix=job.prefix) as source,
        contextlib.closing(connect(job.target_url)) as connection,
    ):
        fitness = keyspace.inspect(connection, job.prefix)
        if job.follow:
            source.plan = source.plan.registering(follow_checks.check(source))
        rehearsal.rehearse(connection, source.plan, flushdb=job.flushdb, follow=job.follow)
        checkpoint = checkpoint_of(connection, job.prefix)
        refuse(job, source, connection, checkpoint)
        state = checkpoint.read()
        loads = job.anew or state.get("status") != "complete"
        if job.scheduler and loads:  # processes of this machine need not be started to know that they can be
            with open_workers(job.workers, job.scheduler) as workers:
                assert workers is not None
                workers.start()
        done = LoadProgress(source.plan, {} if job.anew else state).table_rows()
        rows, rejects = source.counts(), Rejects(source.plan).collect(source)
        sample = take_sample(source, connection)
        needed = memory_bytes(sample.bytes_per_row, rows, done)
        warnings = fitness.warnings + source.plan.warnings + slot.warnings(source.ask, state.get(slot.SLOT))
        if fitness.limit_bytes and not job.anew and loads and not fits(needed, fitness):
            warnings.append(shortage(needed, fitness))
        return {
            "status": "dry run",
            "would": "load" if job.anew or not state else "resume" if loads else "catch up",
            "would_remove": _removed(job, connection, recorded_plan(job, source, state) if state else None),
            "rows_read": rows,
            **rejects.summary(),
            "memory_bytes": needed if sample.bytes_per_row else None,
            "bytes_per_row": sample.bytes_per_row,
            "sample_rows": sample.rows,
            "load_seconds_estimated": sample.seconds_per_row * sum(max(rows[t] - done[t], 0) for t in rows),
            "snapshot": source.snapshot,
            "warnings": warnings,
            "resumed": False,
            "differences": None,
            "peak_rss_mb": machine.peak_rss_mb(),
        }


def _removed(job: Job, connection: resp.Connection, recorded: Plan | None) -> int:
    """How many keys would be removed before the load."""
    if job.flushdb:
        return keyspace.size(connection)
    return keyspace.count(connection, recorded).total() if job.anew and recorded else 0


@dataclass(frozen=True)
class Sample:
    """What some rows need in the target.

    Attributes:
        rows: how many of each table it has.
        bytes_per_row: memory per row of each table, with its share of the keys of many rows; empty when the
            user may not ask for it.
        seconds_per_row: to read, encode and write a row.
    """

    rows: dict[str, int]
    bytes_per_row: dict[str, float]
    seconds_per_row: float


def take_sample(source: Source, connection: resp.Connection) -> Sample:
    """Write a sample, ask how large it is, and take it away: in one transaction for each stream of the load.

    Args:
        source: the snapshot.
        connection: the target.

    Raises:
        resp.Refused: the target has no room for the sample, for example.
    """
    name, prefix = secrets.token_hex(6), source.plan.prefix
    # In a cluster the braces bring all of it to one node, or a transaction could not hold it.
    under = f"{prefix}migration:sample:{f'{{{name}}}' if connection.clustered else name}:"
    rows: Counter[str] = Counter()
    per_row: defaultdict[str, float] = defaultdict(float)
    seconds, known = 0.0, True
    for stream in source.plan.streams:
        lines: list[bytes] = []
        source.stream(_query(stream, source.counts()[stream.table.name]), lines.append)
        if not lines:
            continue
        started = time.perf_counter()
        batch = Encoder(stream, under).batch(copytext.columns(b"".join(lines), len(stream.columns)))
        size = _measure(connection, batch.commands, len(under) - len(prefix))
        seconds += time.perf_counter() - started
        if stream.counts:
            rows[stream.table.name] = len(lines)
        per_row[stream.table.name] += (size or 0) / len(lines)
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
        raise connection.error_of(error, "sample")
    sizes: list[int] = replies[-1][len(commands) : len(commands) + len(keys)]
    return sum(sizes) + len(keys) * (ENTRY_BYTES - more)


def _query(stream: Stream, rows: int) -> str:
    """Some rows of a stream; of collections all rows of some owners, as elements share what their key needs.

    Args:
        stream: the stream.
        rows: how many rows its table has.
    """
    table, where, order = stream.table, stream.where, ", ".join(stream.order_sql)
    if stream.owner:
        owner = ", ".join(stream.order_sql[: stream.owner])
        sample = (
            f" TABLESAMPLE SYSTEM ({100 * OWNERS_AMONG / rows}) REPEATABLE (0)" if rows > OWNERS_AMONG else ""
        )
        where += (
            f" AND ({owner}) IN (SELECT {owner} FROM {table.sql}{sample} WHERE {stream.where} "
            f"GROUP BY {owner} "
            f"ORDER BY md5(ROW({owner})::text) LIMIT {SAMPLE_OWNERS})"
        )
    return f"SELECT {stream.columns_sql} FROM {table.sql} WHERE {where} ORDER BY {order} LIMIT {SAMPLE_ROWS}"


def memory_bytes(bytes_per_row: Mapping[str, float], rows: Mapping[str, int], done: Mapping[str, int]) -> int:
    """Bytes that the rows which are not in the target yet would need there.

    Args:
        bytes_per_row: memory per row of each table, as ``Sample`` has it; empty where it is not known.
        rows: how many rows of each table there are.
        done: how many of them are in the target.
    """
    return round(sum(size * max(rows[table] - done[table], 0) for table, size in bytes_per_row.items()))


def fits(needed: int, fitness: keyspace.Fitness) -> bool:
    """Whether there is room for so many bytes more, and for the batches on their way.

    Args:
        needed: bytes, over all nodes of a cluster.
        fitness: of the target, or of the node of it with the least room.
    """
    return not fitness.limit_bytes or _with_margin(round(needed * fitness.share)) <= fitness.free_bytes


def shortage(needed: int, fitness: keyspace.Fitness) -> str:
    """What to say when that is more than there is.

    Args:
        needed: bytes, over all nodes of a cluster.
        fitness: of the target, or of the node of it with the least room.
    """
    needed = round(needed * fitness.share)
    enough = fitness.used_bytes + _with_margin(needed)
    where = f" of redis at {fitness.where}" if fitness.where else ""
    return (
        f"about {text.size_bytes(needed)} are needed and {text.size_bytes(fitness.free_bytes)} are left "
        f"below maxmemory{where}; set it to {enough} or more"
    )


def _with_margin(needed: int) -> int:
    """With a tenth more, and room for the batch that is being written."""
    return needed + needed // 10 + min(needed, UNDER_WAY_BYTES)
