"""The plan: what a migration would do, and what it would need, without doing it."""

import contextlib
from collections import Counter
from typing import Any

from helpers import model, resp, text
from helpers.rss import peak_rss_mb
from helpers.transfer import estimation, target
from helpers.transfer.checkpoint import Checkpoint
from helpers.transfer.refusals import refuse
from helpers.transfer.rejects import Rejects
from helpers.transfer.run import Run
from helpers.transfer.source import Source


def plan(run: Run) -> dict[str, Any]:
    """What a migration would do, without doing it."""
    with Source(run.source_url) as source, contextlib.closing(resp.Connection(run.target_url)) as connection:
        fitness = target.inspect(connection)
        checkpoint = Checkpoint(connection, run.prefix)
        refuse(run, source, connection, checkpoint)
        state = checkpoint.read()
        rejects = Rejects().collect(source)
        rows = source.counts()
        estimate = estimation.estimate(source, connection, run.prefix, rows)
        warnings = list(fitness.warnings)
        free = fitness.limit_bytes - fitness.used_bytes
        if fitness.limit_bytes and estimate["memory_bytes"] and estimate["memory_bytes"] > free:
            warnings.append(
                f"about {text.size_bytes(estimate['memory_bytes'])} are needed and "
                f"{text.size_bytes(max(free, 0))} "
                "are left below maxmemory"
            )
        return {
            "status": "dry run",
            "would": "catch up" if state.get("status") == "complete" else "resume" if state else "load",
            "rows_read": rows,
            "rows_rejected": {table: sum(rejects.counts[table].values()) for table in model.TABLES},
            "rejects_by_reason": dict(sum(rejects.counts.values(), Counter())),
            "reject_file": rejects.path,
            **estimate,
            "snapshot": source.snapshot,
            "warnings": warnings,
            "resumed": False,
            "differences": None,
            "peak_rss_mb": peak_rss_mb(),
        }
