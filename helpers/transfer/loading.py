"""The load: parts of the source become batches, each committed with its position."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from helpers import model
from helpers.transfer import copytext
from helpers.transfer.batches import Batch, Encoder
from helpers.transfer.checkpoint import Checkpoint
from helpers.transfer.conveyor import Conveyor
from helpers.transfer.lanes import side_by_side
from helpers.transfer.parts import PARTS, Part
from helpers.transfer.source import Source

BATCH_ROWS = 20_000


class Progress:
    """How far a load is, as the checkpoint tells it.

    Attributes:
        rows: rows read of each part, over all runs of this load.
        rejected: activities left out for their score.
        position: of each part, the key of the last row and what its encoder goes on from.
        done: names of the parts that are complete.
    """

    def __init__(self, state: dict[str, str]) -> None:
        self.rows = {part.name: int(state.get(f"rows:{part.name}", 0)) for part in PARTS}
        self.rejected = int(state.get("rejected", 0))
        self.position: dict[str, Any] = {
            part.name: json.loads(state.get(f"position:{part.name}", "null")) for part in PARTS
        }
        self.done = {part.name for part in PARTS if state.get(f"done:{part.name}") == "1"}

    def table_rows(self) -> dict[str, int]:
        """Rows of each table that are in the target."""
        rows = {table: self.rows[table] for table in model.TABLES}
        rows["activities"] -= self.rejected
        return rows

    def told(self) -> str:
        """How far it is, for messages."""
        return f"{sum(self.table_rows().values()):,} rows are in the target"


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
        advance: told how many rows of a table were committed.
    """

    def commit(item: tuple[Part, Batch | None]) -> None:
        part, batch = item
        if batch is None:
            checkpoint.commit(state={f"done:{part.name}": "1"})
            progress.done.add(part.name)
            return
        rows, where = progress.rows[part.name] + batch.rows, [batch.position, batch.score_order]
        rejected = progress.rejected + batch.rejected
        state = {f"position:{part.name}": json.dumps(where), f"rows:{part.name}": rows, "rejected": rejected}
        doing = f"{part.table} up to {', '.join(batch.position)}"
        checkpoint.commit(batch.commands, batch.command_count, state, doing)
        progress.rows[part.name], progress.position[part.name], progress.rejected = rows, where, rejected
        advance(batch.rows if part.name == part.table else 0)

    def read(part: Part) -> None:
        position, score_order = progress.position[part.name] or (None, None)
        encoder = Encoder(part, prefix, score_order)

        def take(rows: bytes) -> None:
            columns = copytext.columns(rows, len(part.columns))
            number = len(columns[0])
            batches = -(-number // batch_rows)
            for i in range(batches):
                some = slice(number * i // batches, number * (i + 1) // batches)
                conveyor.put((part, encoder.batch([column[some] for column in columns])))

        source.read(part, position, take)
        conveyor.put((part, None))

    def read_all(parts: Sequence[Part]) -> None:
        for part in parts:
            if part.name not in progress.done:
                read(part)

    with Conveyor(commit, checkpoint.renew_when_due) as conveyor:
        # While PostgreSQL puts the activities in order, the other parts go.
        lanes = [partial(read_all, parts) for parts in (PARTS[:-1], PARTS[-1:])]
        side_by_side(lanes, conveyor.abandon, source.cancel)
