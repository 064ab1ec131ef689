"""The load: parts of the source become batches, each committed with its position."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from helpers import model
from helpers.transfer.batches import Batch, Encoder
from helpers.transfer.checkpoint import Checkpoint
from helpers.transfer.conveyor import Conveyor
from helpers.transfer.source import PARTS, Part, Source

BATCH_ROWS = 10_000
BATCH_BYTES = 4 << 20


class Progress:
    """How far a load is, as the checkpoint tells it: rows and rejects of each part, and what this run did."""

    def __init__(self, state: dict[str, str]) -> None:
        self.rows = {part.name: int(state.get(f"rows:{part.name}", 0)) for part in PARTS}
        self.reasons = {
            part.name: Counter(json.loads(state.get(f"rejected:{part.name}", "{}"))) for part in PARTS
        }
        self.position: dict[str, Any] = {
            part.name: json.loads(state.get(f"position:{part.name}", "null")) for part in PARTS
        }
        self.done = {part.name for part in PARTS if state.get(f"done:{part.name}") == "1"}
        self.rows_now = 0

    def table_rows(self) -> dict[str, int]:
        """Rows read of each table, over all runs of this load."""
        found: Counter[str] = Counter()
        for part in PARTS:
            found[part.table] += self.rows[part.name]
        return {table: found[table] for table in model.TABLES}

    def rejected(self) -> int:
        """Rows rejected so far."""
        return sum(sum(counts.values()) for counts in self.reasons.values())

    def told(self) -> str:
        """How far it is, for messages."""
        return f"{sum(self.rows.values()):,} rows are in the target"


def load(
    source: Source,
    checkpoint: Checkpoint,
    progress: Progress,
    *,
    prefix: str,
    batch_rows: int = BATCH_ROWS,
    advance: Callable[[int], object] = lambda rows: None,
) -> None:
    """Bring every part that is not done into the target, from behind its position on.

    Args:
        source: the snapshot.
        checkpoint: the state, whose lease is held.
        progress: how far it is; kept up to date.
        prefix: the prefix of the migration.
        batch_rows: most rows in a batch.
        advance: told how many rows were committed.
    """
    for part in PARTS:
        if part.name not in progress.done:
            _load_part(part, source, checkpoint, progress, prefix, batch_rows, advance)


def _load_part(
    part: Part,
    source: Source,
    checkpoint: Checkpoint,
    progress: Progress,
    prefix: str,
    batch_rows: int,
    advance: Callable[[int], object],
) -> None:
    position, score_order = progress.position[part.name] or (None, None)
    encoder = Encoder(part, prefix, score_order)

    def commit(batch: Batch) -> None:
        rows = progress.rows[part.name] + batch.rows
        reasons = progress.reasons[part.name] + batch.reasons
        where = [batch.position, batch.score_order]
        state = {f"position:{part.name}": json.dumps(where), f"rows:{part.name}": rows}
        if batch.reasons:
            state[f"rejected:{part.name}"] = json.dumps(reasons)
        checkpoint.commit(
            batch.commands, batch.command_count, state, f"{part.table} behind {', '.join(batch.position)}"
        )
        progress.rows[part.name], progress.reasons[part.name] = rows, reasons
        progress.position[part.name] = where
        progress.rows_now += batch.rows
        advance(batch.rows)

    lines: list[bytes] = []
    size = 0
    with Conveyor(commit, checkpoint.renew_when_due) as conveyor:

        def flush() -> None:
            nonlocal size
            if lines:
                conveyor.put(encoder.batch(lines))
            lines.clear()
            size = 0

        def write(line: bytes) -> None:
            nonlocal size
            lines.append(line)
            size += len(line)
            if len(lines) >= batch_rows or size > BATCH_BYTES:
                flush()

        source.read(part, position, write)
        flush()
    checkpoint.commit(state={f"done:{part.name}": "1"})
    progress.done.add(part.name)
