"""The load: parts of the source become batches, each committed with its position."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from helpers.migration.encoding import NOBODY, Batch, Encoder
from helpers.migration.threads import Conveyor, side_by_side
from helpers.model import Partition, Plan
from helpers.source import Source, copytext
from helpers.target import Checkpoint

BATCH_ROWS = 20_000


class LoadProgress:
    """How far a load is, as the checkpoint tells it.

    Args:
        plan: of the migration.
        state: fields of its state.

    Attributes:
        partitions: what is loaded.
        rows: rows read of each partition, since this load began, by its name.
        rejected: rows left out for their score, of each.
        position: of each, the key of the last row and what its encoder goes on from.
        done: names of those that are complete.
    """

    def __init__(self, plan: Plan, state: Mapping[str, str]) -> None:
        self._plan = plan
        self.update(state)

    def update(self, state: Mapping[str, str]) -> None:
        """Take over how far a newer state is."""
        self.partitions = self._plan.partitions(state)
        names = [partition.name for partition in self.partitions]
        self.rows = {name: int(state.get(f"rows:{name}", 0)) for name in names}
        self.rejected = {name: int(state.get(f"rejected:{name}", 0)) for name in names}
        self.position: dict[str, Any] = {
            name: json.loads(state.get(f"position:{name}", "null")) for name in names
        }
        self.done = {name for name in names if state.get(f"done:{name}") == "1"}

    def table_rows(self) -> dict[str, int]:
        """Rows of each table that are in the target."""
        rows = self.read_rows()
        for one in self.partitions:
            rows[one.stream.table.name] -= self.rejected[one.name]
        return rows

    def read_rows(self) -> dict[str, int]:
        """Rows of each table that were read, with those left out."""
        rows = dict.fromkeys(self._plan.tables, 0)
        for one in self.partitions:
            if one.stream.counts:
                rows[one.stream.table.name] += self.rows[one.name]
        return rows


def load(
    source: Source,
    checkpoint: Checkpoint,
    loaded: LoadProgress,
    *,
    batch_rows: int = BATCH_ROWS,
    advance: Callable[[int], object] = lambda rows: None,
    only: str | None = None,
) -> None:
    """Bring every partition that is not done into the target, from behind its position on.

    Two threads read and encode, a third one commits.

    Args:
        source: the snapshot.
        checkpoint: the state, whose lease, or that of the partition, is held.
        loaded: how far it is; kept up to date, where rows and positions may be one batch ahead of what is
            known to be written.
        batch_rows: most rows in a batch.
        advance: told how many rows of a table were committed.
        only: the name of one partition; all of them when None.

    Raises:
        resp.Lost, SourceLost, LeaseLost: something is gone; what was committed stays, another load goes on.
        HelpersError: a server refuses.
    """
    push_script = checkpoint.push_script()

    def commit(item: tuple[Partition, Batch | None]) -> None:
        (partition, batch), name = item, item[0].name
        if batch is None:
            checkpoint.send(state={f"done:{name}": "1"}, written=partial(loaded.done.add, name))
            return
        rows, where = loaded.rows[name] + batch.rows, [batch.position, batch.score_order, batch.pushed]
        where = where if batch.pushed else where[:2]
        rejected, stream = loaded.rejected[name] + batch.rejected, partition.stream
        state: dict[str, Any] = {f"position:{name}": json.dumps(where), f"rows:{name}": rows}
        state |= {f"rejected:{name}": rejected} if rejected else {}
        doing = f"{stream.table.name} up to {', '.join(batch.position)}"
        told = partial(advance, batch.rows if stream.counts else 0)
        checkpoint.send(batch.commands, state, doing, written=told)
        loaded.rows[name], loaded.position[name], loaded.rejected[name] = rows, where, rejected

    def read(partition: Partition) -> None:
        position, score_order, *pushed = loaded.position[partition.name] or (None, None)
        stream = partition.stream
        encoder = Encoder(
            stream,
            source.plan.prefix,
            score_order,
            push_script=push_script,
            pushed=pushed[0] if pushed else NOBODY,
        )

        def take(rows: bytes) -> tuple[str, ...]:
            batch = None
            columns = copytext.columns(rows, len(stream.columns))
            number = len(columns[0])
            batches = -(-number // batch_rows)
            for i in range(batches):
                some = slice(number * i // batches, number * (i + 1) // batches)
                batch = encoder.batch([column[some] for column in columns])
                conveyor.put((partition, batch))
            assert batch is not None
            return batch.position

        source.read(partition, position, take)
        conveyor.put((partition, None))

    def read_all(some: Sequence[Partition]) -> None:
        for partition in some:
            if partition.name not in loaded.done:
                read(partition)

    def rest() -> None:
        checkpoint.settle()
        checkpoint.renew_when_due()

    with Conveyor(commit, rest) as conveyor:
        # While PostgreSQL puts the rows of the last stream in order, the others go.
        wanted = [one for one in loaded.partitions if only in (None, one.name)]
        lanes = [
            [one for one in wanted if one.stream is not source.plan.streams[-1]],
            [one for one in wanted if one.stream is source.plan.streams[-1]],
        ]
        side_by_side([partial(read_all, lane) for lane in lanes if lane], conveyor.abandon, source.cancel)
    checkpoint.settle()
