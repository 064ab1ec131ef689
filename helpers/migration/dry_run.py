"""The dry run: what a migration would do, and the memory and time it would need, without doing it.

The estimates come from a sample that the target measures and nobody sees.
"""

import contextlib
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
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
SAMPLE_ELEMENTS = 5000
"""Of collections, how many rows make up the sample at most."""
LARGE = 1024
"""Of a collection of more rows a half, a quarter, ... is taken, until no more than so many are left. Redis
packs none of these, and its table of members, whose size is a power of two, is as full as that of all."""
MORE = 1.3
"""So many times the rows that are kept of a large collection are drawn: chance may draw fewer than meant."""
AMONG = 50_000
"""Of a larger table, about so many rows are those that a sample is taken from."""
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
            "load_seconds_estimated": sum(
                seconds * max(rows[t] - done[t], 0) for t, seconds in sample.seconds_per_row.items()
            ),
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
        seconds_per_row: of each table, to encode and write a row for all keys that it is needed for.
    """

    rows: dict[str, int]
    bytes_per_row: dict[str, float]
    seconds_per_row: dict[str, float]


def take_sample(source: Source, connection: resp.Connection) -> Sample:
    """Write a sample, ask how large it is, and take it away: in one transaction for each stream of the load.

    Args:
        source: the snapshot.
        connection: the target.

    Raises:
        resp.Refused: the target has no room for the sample, for example.
    """
    prefix = source.plan.prefix
    # In a cluster the braces bring all of it to one node, or a transaction could not hold it. Keys become
    # longer by 32 bytes, a multiple of the steps in which memory is given: so each needs 32 bytes more.
    name = f"{{{secrets.token_hex(6)}}}" if connection.clustered else secrets.token_hex(7)
    under = f"{prefix}migration:sample:{name}:"
    rows: Counter[str] = Counter()
    per_row: defaultdict[str, float] = defaultdict(float)
    seconds: defaultdict[str, float] = defaultdict(float)
    known = True
    for stream in source.plan.streams:
        taken: list[bytes] = []
        source.stream(_query(stream, source.counts()[stream.table.name]), taken.append)
        if not taken:
            continue
        weights, lines = _kept(taken, stream.owner)
        started = time.perf_counter()
        sizes = _measure(connection, _commands(stream, under, lines), len(under) - len(prefix))
        seconds[stream.table.name] += (time.perf_counter() - started) / len(lines)
        if stream.counts:
            rows[stream.table.name] = len(lines)
        if sizes is None:
            known = False
        else:
            per_row[stream.table.name] += _per_row(stream, under, weights, lines, sizes)
    return Sample(dict(rows), dict(per_row) if known else {}, dict(seconds))


def _kept(taken: Sequence[bytes], owner: int) -> tuple[list[int], list[bytes]]:
    """Of what ``_query`` gives, the weights and the lines: of an owner no more than are to be kept.

    Args:
        taken: the lines, with a weight and how many to keep before each.
        owner: how many of the columns are the owner's; 0 where each row is a key of its own.
    """
    split = [line.split(b"\t", 2) for line in taken]
    if owner:
        same = groupby(split, key=lambda one: one[2].split(b"\t", owner)[:owner])
        split = [one for _, of in same for number, one in enumerate(of) if number < int(one[1])]
    return [int(weight) for weight, _, _ in split], [line for _, _, line in split]


def _commands(stream: Stream, under: str, lines: Sequence[bytes]) -> Strings:
    return Encoder(stream, under).batch(copytext.columns(b"".join(lines), len(stream.columns))).commands


def _per_row(
    stream: Stream, under: str, weights: Sequence[int], lines: Sequence[bytes], sizes: Mapping[bytes, int]
) -> float:
    """Bytes that a row of a stream needs, from those of the sample's keys.

    An owner was taken as often as one of the rows that told the owners was theirs. So it is a row's own mean:
    what an owner's rows need counts as often.

    Args:
        stream: the stream.
        under: stands before the sample's keys.
        weights: of each line, how often its owner was taken.
        lines: the sample, as COPY wrote it; those of an owner follow each other.
        sizes: bytes by key.
    """
    if not stream.owner:
        return sum(sizes.values()) / len(lines)
    total = found = 0.0
    pairs = zip(weights, lines, strict=True)
    for _, same in groupby(pairs, key=lambda pair: pair[1].split(b"\t", stream.owner)[: stream.owner]):
        of_owner = list(same)
        weight, theirs = of_owner[0][0], [line for _, line in of_owner]
        keys = routing.keys(_commands(stream, under, theirs))
        found += weight * sum(sizes[key] for key in keys) / len(theirs)
        total += weight
    return found / total


def _measure(connection: resp.Connection, commands: Strings, more: int) -> dict[bytes, int] | None:
    """Bytes that each key of some commands makes the target need; None when the user may not ask.

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
    return {key: size + ENTRY_BYTES - more for key, size in zip(keys, sizes, strict=True)}


def _query(stream: Stream, rows: int) -> str:
    """Some rows of a stream, with a weight before each; of collections, rows of some owners.

    A large table is sampled by its blocks first. Of a small one, and of these blocks, rows are taken by a
    hash of them: the first ones would have the shortest ids.

    Args:
        stream: the stream.
        rows: how many rows its table has.
    """
    table, where = stream.table.sql, stream.where
    among = f" TABLESAMPLE SYSTEM ({100 * AMONG / rows}) REPEATABLE (0)" if rows > AMONG else ""
    some = f"FROM {table}{among} WHERE {where} ORDER BY md5(ROW({', '.join(stream.order_sql)})::text) LIMIT"
    if not stream.owner:
        return f"SELECT 1, 1, {stream.columns_sql} {some} {SAMPLE_ROWS}"
    owner, names = stream.order_sql[: stream.owner], [f'"sample {place}"' for place in range(stream.owner)]
    theirs, listed = ", ".join(owner), ", ".join(names)  # names that no column of a table has
    chance = f"hashtext(ROW({', '.join(stream.order_sql)})::text)"
    called = ", ".join(f"{column} AS {name}" for column, name in zip(owner, names, strict=True))
    halved = f'ceil("sample held" / 2 ^ greatest(ceil(log(2, "sample held" / {LARGE}.0)), 0))'
    return f"""
        WITH picked AS MATERIALIZED (
            SELECT {listed}, count(*) AS "sample weight"
            FROM (SELECT {called} {some} {SAMPLE_OWNERS}) AS few GROUP BY {listed}
        ), counted AS MATERIALIZED (
            SELECT {called}, count(*) AS "sample held" FROM {table}
            WHERE {where} AND ({theirs}) IN (SELECT {listed} FROM picked) GROUP BY {theirs}
        ), chosen AS MATERIALIZED (
            SELECT *, {halved} AS "sample kept",
                sum({halved}) OVER (ORDER BY md5(ROW({listed})::text)) AS "sample until"
            FROM counted JOIN picked USING ({listed})
        )
        SELECT "sample weight", "sample kept", {stream.columns_sql}
        FROM {table} JOIN chosen ON ({theirs}) = ({listed})
        WHERE {where} AND "sample until" <= {SAMPLE_ELEMENTS}
            AND ({chance} & {2**30 - 1}) / {2**30}.0 < {MORE} * "sample kept" / "sample held"
        ORDER BY {listed}, {chance}"""


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
