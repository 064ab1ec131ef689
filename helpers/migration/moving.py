"""Move a model's tables from PostgreSQL to Redis: exactly once, resumable, and verified field by field."""

import re
from pathlib import Path
from typing import Any

from helpers import servers, text
from helpers.errors import HelpersError
from helpers.migration import limits, loading, verification
from helpers.migration.attempt import attempt
from helpers.migration.dry_run import dry_run as do_dry_run
from helpers.migration.job import RESUMES, Job, check_workers, wait_to_retry
from helpers.migration.task import WorkersLost
from helpers.model import Model, load as load_model
from helpers.source import SourceLost
from helpers.target import LeaseLost, resp

MOST_BATCH_ROWS = 100_000


def migrate(
    source: str | None = None,
    target: str | None = None,
    *,
    model: "Model | str | Path | None" = None,
    batch_rows: int | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    dry_run: bool = False,
    restart: bool = False,
    replace: bool = False,
    flushdb: bool = False,
    verify: bool = True,
    prefix: str = "",
    follow: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Bring Redis to hold what one snapshot of PostgreSQL holds, then verify it.

    Where the URL of the target leads to a node of a Redis Cluster, the target is the cluster (see
    ``helpers.target.cluster_checkpoint`` for what holds there).

    The first call loads. Called again after an interruption it goes on from the last committed batch;
    called again on a target it has filled, or when the source changed in between, it brings the target up
    to date. A load that goes on is compared as a whole, so it does not matter how the last one ended.

    It begins only where no key of the model's form is under the prefix. From then on all such keys are its
    own: nothing in a key tells who wrote it. What another program adds among them later is an extra key to
    ``verify``, which names it, and is removed when the migration is run again, with ``replace`` or without.

    Args:
        source: PostgreSQL URL; the resolved server when None. It is only read.
        target: URL of Redis or of a node of a Redis Cluster; the resolved server when None.
        model: a ``Model``, the path of one in TOML, or its text; the course's when None.
        batch_rows: most rows in a batch, 1 to 100,000.
        workers: processes of this machine that load and verify, 1 to 64; more than one are started by Dask
            and end with this. A script that asks for them does so under ``if __name__ == "__main__":``, as
            each imports it.
        scheduler: address of a Dask scheduler (``tcp://`` or ``tls://``) whose workers load instead; they
            must have this version of the package, and reach both servers by the same URLs.
        dry_run: say what would be done, removed and needed; nothing is written that anybody could see.
        restart: drop an unfinished load and begin anew.
        replace: remove what an earlier migration wrote, also one of another source, then load anew.
        flushdb: empty the whole Redis database first, keys of others too.
        verify: compare every field afterwards.
        prefix: stands before every key.
        follow: make a replication slot and load from its snapshot, so that ``following.follow`` can go on
            from there; needs ``wal_level=logical`` and rights to publish and replicate. Lists in which no
            sorted set tells the places get registers beside them (``model.guiding``).
        progress: show progress bars, and each warning at once, on stderr.

    Returns:
        ``status`` (``verified``, ``different``, ``loaded, not verified``, or ``dry run``), ``rows_read`` and
        ``rows_rejected`` per table, ``rejects_by_reason``, ``reject_file`` (JSON lines, or None),
        ``resumed``, ``rows_loaded_now``, ``load_seconds``, ``rows_per_second`` (of this call's load),
        ``workers``, ``mover_cpu_seconds`` (user and system, of all processes that loaded, while they did),
        ``redis_busy`` and ``cores_busy`` (as ``limits.Limits`` gives them),
        ``caught_up`` (corrections by problem), ``caught_up_file`` (all of them as JSON lines, or None),
        ``snapshot``, ``checkpoint``, ``slot`` (of a migration to follow, else None), ``warnings``,
        ``peak_rss_mb`` (of the largest process), and those of ``verification.verify``
        (``verify_seconds`` and ``differences`` are None when it was left out). Where catching up found
        nothing to correct, that was the verification.

        A dry run tells of what it did not do: ``would`` (``load``, ``resume``, ``catch up``),
        ``would_remove`` (keys), ``memory_bytes`` and ``load_seconds_estimated`` of what is still to be
        loaded, ``bytes_per_row``, ``sample_rows``.

    Raises:
        HelpersError: a bad option, an unreachable server, or a refusal; the message says how far it is.
    """
    if batch_rows is not None and not 1 <= batch_rows <= MOST_BATCH_ROWS:
        raise HelpersError(f"batch_rows is {batch_rows}; it must be from 1 to {MOST_BATCH_ROWS:,}")
    check_workers(workers)
    if scheduler is not None and workers != 1:
        raise HelpersError(
            f"workers is {workers} and a scheduler is given, whose workers are taken; leave one of them out"
        )
    if scheduler is not None and not re.fullmatch(r"(tcp|tls)://.+:\d+", scheduler):
        raise HelpersError(
            f"scheduler is {scheduler!r}; it must be tcp://HOST:PORT or tls://HOST:PORT, as `dask scheduler` "
            "prints it"
        )
    job = Job(
        source_url=source or servers.url("postgres"),
        target_url=target or servers.url("redis"),
        prefix=prefix,
        model=load_model(model),
        batch_rows=batch_rows or loading.BATCH_ROWS,
        restart=restart,
        replace=replace,
        flushdb=flushdb,
        verify=verify,
        progress=progress,
        follow=follow,
        workers=workers,
        scheduler=scheduler,
    )
    if dry_run:
        return do_dry_run(job)
    failures = 0
    while True:
        before = job.rows_now
        try:
            return attempt(job)
        except (resp.Lost, SourceLost, LeaseLost, WorkersLost) as error:
            failures = 1 if job.rows_now > before else failures + 1
            if not job.begun:
                raise
            if not wait_to_retry(failures):
                raise HelpersError(f"{error}; {job.how_far}, {RESUMES}{_kept(job)}") from error
        except resp.Refused as error:
            raise HelpersError(f"{error}; {job.how_far}{_kept(job)}") from error
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"{job.how_far}, {RESUMES}{_kept(job)}") from error


def _kept(job: Job) -> str:
    """What stays in the source of a migration to follow that did not come to its end."""
    return f"; slot {job.slot} keeps WAL until then, or until `follow --drop-slot`" if job.slot else ""


def describe(result: dict[str, Any]) -> list[str]:
    """What ``migrate`` did, as lines for people."""
    rows = text.rows_of(result["rows_read"])
    lines = []
    if result["status"] == "dry run":
        memory, seconds = result["memory_bytes"], result["load_seconds_estimated"]
        lines += [f"warning: {warning}" for warning in result["warnings"]]
        if result["would_remove"]:
            lines.append(f"would remove {text.plural(result['would_remove'], 'key')}")
        lines.append(f"would {result['would']}: {rows}")
        if result["would"] != "catch up":
            size = "unknown" if memory is None else text.size_bytes(memory)
            lines.append(f"estimated: {size} in Redis, {text.duration_us(seconds * 1e6)}")
    elif result["rows_loaded_now"]:
        lines.append(
            f"{'resumed, ' if result['resumed'] else ''}read: {rows}; "
            f"{text.count(result['rows_loaded_now'])} rows loaded now in "
            f"{text.duration_us(result['load_seconds'] * 1e6)} ({text.count(result['rows_per_second'])} "
            "rows/s)"
        )
        if result["workers"] > 1 and (limit := limits.describe(result)):
            lines.append(limit)
    else:
        lines.append(f"read: {rows}; an earlier load was compared with them")
    if result.get("caught_up"):
        found = text.join([f"{text.count(n)} × {problem}" for problem, n in result["caught_up"].items()])
        lines.append(f"caught up: {found}, all in {result['caught_up_file']}")
    rejected = sum(result["rows_rejected"].values())
    if rejected:
        reasons = text.join([f"{text.count(n)} × {name}" for name, n in result["rejects_by_reason"].items()])
        lines.append(f"rejected: {text.plural(rejected, 'row')} ({reasons}), all in {result['reject_file']}")
    if result["status"] == "loaded, not verified":
        lines.append("loaded, not verified")
    elif result["status"] != "dry run":
        lines += verification.describe(result)
    if result.get("slot"):
        lines.append(
            f"slot {result['slot']} keeps what is committed from now on: `follow` applies it, `follow "
            "--drop-slot` ends it"
        )
    return lines
