"""The load and the comparison by several processes: each partition is a task.

This process keeps lease and snapshot meanwhile.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from helpers import settings
from helpers.errors import HelpersError
from helpers.migration.comparing import WINDOW_ROWS, Compared, Comparison
from helpers.migration.findings import DIFFERENCES
from helpers.migration.loading import LoadProgress
from helpers.migration.task import CompareTask, LoadTask, Outcome, WorkersLost
from helpers.model import PARTITIONS
from helpers.source import Source, partitions
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
                LoadTask(
                    **_known(workers, source, target_url),
                    partition=name,
                    batch_rows=batch_rows,
                    lease=checkpoint.token,
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


def _known(workers: "Workers", source: Source, target_url: str) -> dict[str, Any]:
    """What each task is told."""
    return {
        "source_url": source.url,
        "target_url": target_url,
        "prefix": source.plan.prefix,
        "model": source.plan.model.toml(),
        "snapshot": source.exported,
        "registered": source.plan.registered,
        "keep": workers.scheduler is None,
    }


def compare(
    workers: "Workers", source: Source, target_url: str, comparison: Comparison, idle: Callable[[], object]
) -> float:
    """``Comparison.look`` at all rows by workers of this machine.

    Args:
        workers: started where they have not started yet.
        source: the snapshot, which is exported to the workers.
        target_url: where the workers find the target.
        comparison: takes over what they find, in the order of the streams.
        idle: called now and then.

    Returns:
        The most memory that one of them held, in MB.

    Raises:
        resp.Lost, SourceLost, WorkersLost: something is gone; another attempt may help.
        HelpersError: no other attempt would help.
    """
    workers.start()
    cuts = partitions.cut(source, workers.size, WINDOW_ROWS)
    names = [one.name for one in source.plan.partitions({PARTITIONS: json.dumps(cuts)})]
    found: dict[str, Compared] = {}

    def ended(task: CompareTask, outcome: Outcome) -> None:
        found[task.partition] = outcome.found
        comparison.advance(sum(outcome.found.rows.values()))

    # What a worker that dies had noted goes with the folder; if this process dies, with the other files.
    place = settings.home() / DIFFERENCES
    place.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        tasks = [
            CompareTask(
                **_known(workers, source, target_url), partition=name, cuts=json.dumps(cuts), folder=folder
            )
            for name in reversed(names)  # the last takes longest, so it goes first
        ]
        outcomes = workers.work(tasks, idle, ended)
        for name in names:
            comparison.add(found[name])
    with contextlib.suppress(OSError):
        place.rmdir()  # nothing differs
    return max(outcome.peak_rss_mb for outcome in outcomes)
