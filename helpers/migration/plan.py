"""The plan: what a migration would do, and what it would need, without doing it."""

import contextlib
from typing import Any

from helpers.migration import estimation
from helpers.migration.attempt import crew_of
from helpers.migration.findings import Rejects
from helpers.migration.loading import Progress
from helpers.migration.refusals import refuse
from helpers.migration.run import Run
from helpers.servers import machine
from helpers.source import Source, followable, slot
from helpers.target import cluster, keyspace, rehearsal, resp, slotted


def plan(run: Run) -> dict[str, Any]:
    """Refuse what the migration would refuse; else say what it would do, remove and need.

    The sample behind the estimates is written and taken away in one transaction: nobody sees it.
    """
    with Source(run.source_url) as source, contextlib.closing(cluster.connect(run.target_url)) as connection:
        if run.follow:
            cluster.refuse(connection, "--follow")
        fitness = keyspace.inspect(connection, run.prefix)
        rehearsal.rehearse(connection, run.prefix, flushdb=run.flushdb, follow=run.follow)
        if run.follow:
            followable.refuse(source)
        checkpoint = slotted.checkpoint(connection, run.prefix)
        refuse(run, source, connection, checkpoint)
        state = checkpoint.read()
        loads = run.anew or state.get("status") != "complete"
        if run.scheduler and loads:  # processes of this machine need not be started to know that they can be
            with crew_of(run) as crew:
                assert crew is not None
                crew.start()
        done = Progress({} if run.anew else state).table_rows()
        rows, rejects = source.counts(), Rejects().collect(source)
        sample = estimation.sample(source, connection, run.prefix)
        memory = estimation.memory(sample.bytes_per_row, rows, done)
        warnings = fitness.warnings + slot.warnings(source.ask, state.get(slot.SLOT))
        if fitness.limit_bytes and not run.anew and loads and not estimation.fits(memory, fitness):
            warnings.append(estimation.too_much(memory, fitness))
        return {
            "status": "dry run",
            "would": "load" if run.anew or not state else "resume" if loads else "catch up",
            "would_remove": _removed(run, connection, bool(state)),
            "rows_read": rows,
            **rejects.summary(),
            "memory_bytes": memory if sample.bytes_per_row else None,
            "bytes_per_row": sample.bytes_per_row,
            "sample_rows": sample.rows,
            "load_seconds_estimated": sample.seconds_per_row * sum(max(rows[t] - done[t], 0) for t in rows),
            "snapshot": source.snapshot,
            "warnings": warnings,
            "resumed": False,
            "differences": None,
            "peak_rss_mb": machine.peak_rss_mb(),
        }


def _removed(run: Run, connection: resp.Connection, recorded: bool) -> int:
    """How many keys would be removed before the load."""
    if run.flushdb:
        return keyspace.size(connection)
    return keyspace.count(connection, run.prefix).total() if run.anew and recorded else 0
