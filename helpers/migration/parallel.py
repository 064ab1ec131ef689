"""The load by several processes: each partition is a task, and this process keeps the lease meanwhile."""

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from helpers.errors import HelpersError
from helpers.migration.loading import LoadProgress
from helpers.migration.task import Outcome, Task, WorkersLost
from helpers.source import Source
from helpers.target import PARTITIONS_LEASED, Checkpoint, checkpoint_of, connect, resp

if TYPE_CHECKING:  # Dask takes memory and a moment
    from helpers.migration.workers import Workers

SHOW_S = 0.5
"""How often it looks how far the load is."""


def load(
    workers: "Workers",
    source: Source,
    checkpoint: Checkpoint,
    loaded: LoadProgress,
    *,
    target_url: str,
    batch_rows: int,
    advance: Callable[[int], object],
) -> list[Outcome]:
    """``loading.load`` by workers.

    Args:
        workers: which have started.
        source: the snapshot, which is exported to the workers.
        checkpoint: the state, whose lease is held, and renewed meanwhile.
        loaded: how far it is; kept up to date.
        target_url: where the workers find the target.
        batch_rows: most rows in a batch.
        advance: told how many rows of a table were committed.

    Returns:
        How each task ended.

    Raises:
        resp.Lost, SourceLost, LeaseLost, WorkersLost: something is gone; another attempt may help.
        HelpersError: no other attempt would help.
    """
    looked = 0.0

    def look(at: Checkpoint) -> None:
        nonlocal looked
        before = sum(loaded.read_rows().values())
        loaded.update(at.read())
        advance(sum(loaded.read_rows().values()) - before)
        looked = time.monotonic()

    def idle() -> None:
        checkpoint.renew_when_due()
        if time.monotonic() - looked > SHOW_S:
            look(checkpoint)

    # The last part takes longest, so it goes first.
    wanted = [one.name for one in reversed(loaded.partitions) if one.name not in loaded.done]
    checkpoint.commit(state={PARTITIONS_LEASED: "1"})
    try:
        outcomes = workers.work(
            [
                Task(
                    source.url,
                    target_url,
                    source.plan.prefix,
                    source.plan.model.toml(),
                    batch_rows,
                    name,
                    source.exported,
                    checkpoint.token,
                    source.plan.registered,
                    keep=workers.scheduler is None,
                )
                for name in wanted
            ],
            idle,
        )
    except resp.Lost:
        raise
    except BaseException:
        # Tell how far it is; the connection may be in the middle of something.
        with contextlib.suppress(HelpersError), contextlib.closing(connect(target_url)) as another:
            look(checkpoint_of(another, source.plan.prefix))
        raise
    checkpoint.end_partition_leases()
    look(checkpoint)
    if missing := {one.name for one in loaded.partitions} - loaded.done:
        raise WorkersLost(f"redis at {checkpoint.connection.address}: {min(missing)} is not there as a whole")
    return outcomes
