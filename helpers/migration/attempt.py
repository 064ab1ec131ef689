"""One attempt of a job, from the state in the target to the result."""

import contextlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from helpers import progress
from helpers.columns import column_of
from helpers.errors import HelpersError
from helpers.migration import dry_run, loading, parallel, verification, writing
from helpers.migration.findings import Rejects
from helpers.migration.job import Job, open_workers
from helpers.migration.limits import Limits
from helpers.migration.refusals import recorded_plan, refuse, refuse_state
from helpers.model import PARTITIONS, REGISTERED, registered
from helpers.servers import machine
from helpers.source import (
    Source,
    Upstream,
    definitions,
    follow_checks,
    partitions,
    pgoutput,
    publication,
    slot,
)
from helpers.target import (
    BEFORE,
    FORMAT,
    checkpoint_of,
    connect,
    keyspace,
    rehearsal,
    resp,
)

if TYPE_CHECKING:  # Dask takes memory and a moment
    from helpers.migration.workers import Workers


def attempt(job: Job) -> dict[str, Any]:
    """One attempt of ``migrate``; the job keeps what a further one needs.

    Returns:
        What ``migrate`` returns.

    Raises:
        resp.Lost, SourceLost, LeaseLost: a server or the lease is gone; another attempt may help.
        HelpersError: no other attempt would help.
    """
    with (
        Source(job.source_url, job.model, prefix=job.prefix) as source,
        contextlib.closing(connect(job.target_url)) as connection,
        open_workers(job.workers, job.scheduler) as workers,
    ):
        return Attempt(job, source, connection, workers).make()


class Attempt:
    """Brings the target to hold what the snapshot holds.

    Args:
        job: what was asked for, and how far it is.
        source: the snapshot.
        connection: the target.
        workers: who loads; this process when None.

    Attributes:
        earlier: an earlier attempt of the job held the lease.
    """

    earlier = False

    def __init__(
        self, job: Job, source: Source, connection: resp.Connection, workers: "Workers | None" = None
    ) -> None:
        self.job, self.source, self.connection, self.workers = job, source, connection, workers
        self.checkpoint = checkpoint_of(connection, job.prefix)

    def make(self) -> dict[str, Any]:
        """Look, refuse, warn; then take the lease, do the work, and give the lease back."""
        job = self.job
        if not job.begun:
            self._prepare()
        if self.workers and (job.anew or self.checkpoint.read().get("status") != "complete"):
            self.workers.start()  # before the lease is taken, as that needs renewal
        self.earlier = job.begun
        self.checkpoint.acquire(job.name)
        job.begun = True
        try:
            with contextlib.ExitStack() as open_until_the_end:
                result = self._bring(open_until_the_end)
        except BaseException as error:
            if isinstance(error, resp.Refused) and error.code == "OOM":
                job.how_far += self._needed()
            self.checkpoint.give_up(job.target_url, error)
            raise
        self.checkpoint.release()
        return result

    def _prepare(self) -> None:
        """All that can be found out before the first write."""
        job = self.job
        fitness = keyspace.inspect(self.connection, job.prefix)
        if job.follow:
            self._register(follow_checks.check(self.source))
        rehearsal.rehearse(self.connection, self.source.plan, flushdb=job.flushdb, follow=job.follow)
        refuse(job, self.source, self.connection, self.checkpoint)
        job.warnings += fitness.warnings + self.source.plan.warnings
        state = self.checkpoint.read()
        job.warnings += slot.warnings(self.source.ask, state.get(slot.SLOT))
        if state.get(slot.SLOT) and (job.flushdb or state.get("source") != self.source.identity):
            job.warnings.append(
                f"what is removed was followed from slot {state[slot.SLOT]}, which stays in its source and "
                f"keeps WAL there; drop it: `follow --drop-slot {state[slot.SLOT]} --source URL`"
            )
        if fitness.limit_bytes and (job.anew or state.get("status") != "complete"):
            rows = self.source.counts()
            known = {} if job.anew else json.loads(state.get("bytes_per_row", "{}"))
            job.bytes_per_row = known or dry_run.take_sample(self.source, self.connection).bytes_per_row
            done = loading.LoadProgress(self.source.plan, state).table_rows()
            needed = dry_run.memory_bytes(job.bytes_per_row, rows, done)
            if not job.anew and not dry_run.fits(needed, fitness):
                job.warnings.append(dry_run.shortage(needed, fitness))
        for warning in job.warnings if job.progress else ():
            progress.say(f"warning: {warning}")

    def _bring(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        """With the lease held: begin or go on, load, catch up, verify."""
        job, checkpoint = self.job, self.checkpoint
        state = checkpoint.read()
        refuse_state(job, self.source, self.connection, state)
        if job.follow:
            self._drop_slot(state)
        if job.anew or state.get("status") == "removing":
            state = self._remove(state)
        fresh = not state
        # A cluster that lost the state may hold what this run wrote before: its nodes fail singly.
        again = not fresh or (self.earlier and self.connection.clustered)
        if fresh:
            checkpoint.commit(state=self._first_state())
            checkpoint.replicate()
            state = checkpoint.read()
        if state.get("format") == BEFORE:
            checkpoint.commit(state={"format": FORMAT, **self.source.plan.record()})
        followed = self._follow(stack) if job.follow else {}
        made = self._keep_registers(registered(state))
        source = self.source
        if job.resumed is None:
            job.resumed = not fresh and state["status"] != "complete"
        loaded = loading.LoadProgress(source.plan, state)
        checked: dict[str, Any] | None = None
        with job.loading():
            if state["status"] == "loading":
                self._load(loaded)
            if again:
                # The source may have changed, and the reply to the last batch may never have been read.
                checkpoint.commit(state={"status": "reconciling"})
                checked = self._compare(mend=True, made=made)
            rows, rejects = source.counts(), Rejects(source.plan)
            if again or rows != loaded.table_rows():
                rejects.collect(source, checkpoint.renew_when_due)
            ready = writing.begin(checkpoint) if job.follow else {}
            self.connection.check()
            checkpoint.commit(
                state={
                    "status": "complete",
                    "format": FORMAT,
                    "snapshot": source.snapshot,
                    "finished": _now(),
                    **source.plan.record(),
                    "definitions": definitions.read(source.ask, source.plan.tables.values()).record(),
                    **_counts(rows, rejects),
                    **followed,
                    **ready,
                },
            )
        caught_up = checked["by_problem"] if checked else {}
        mended = checked["difference_file"] if checked else None
        if checked and not caught_up and not made:  # that was a verification
            job.load_seconds -= checked["verify_seconds"]
        elif job.verify:
            checked = self._compare(mend=False)
        result = {
            "status": "loaded, not verified",
            "rows_read": rows,
            **rejects.summary(),
            "resumed": job.resumed,
            "rows_loaded_now": job.rows_now,
            "load_seconds": job.load_seconds,
            "mover_cpu_seconds": job.cpu_seconds,
            **job.busy,
            "workers": self.workers.size if self.workers else 1,
            "rows_per_second": job.rows_now / job.load_seconds if job.rows_now else 0.0,
            "caught_up": caught_up,
            "caught_up_file": mended,
            "snapshot": source.snapshot,
            "checkpoint": checkpoint.key.decode(),
            "warnings": job.warnings,
            "slot": followed.get(slot.SLOT),
            "verify_seconds": None,
            "differences": None,
        }
        if job.verify and checked:
            result |= checked | {"status": "different" if checked["differences"] else "verified"}
        return result | {"peak_rss_mb": max(machine.peak_rss_mb(), job.peak_rss_mb)}

    def _drop_slot(self, state: Mapping[str, str]) -> None:
        """Drop the slot of an earlier migration of this source: this one makes its own."""
        if state.get(slot.SLOT) and state.get("source") == self.source.identity:
            with Upstream(self.source.url) as upstream:
                slot.drop(upstream, state[slot.SLOT])

    def _follow(self, stack: contextlib.ExitStack) -> dict[str, str]:
        """From here on the snapshot is that of a new slot; what the state says of it in the end."""
        published = publication.name_of(self.source.plan)
        name = slot.new_name(published)
        self.checkpoint.commit(state={slot.SLOT: name, slot.PUBLICATION: published})
        self.job.slot = name
        self.source.close()  # it locks the tables, which who waits for them must not wait for twice
        self.source, position, tables = stack.enter_context(
            slot.snapshot(
                self.source.url,
                name,
                self.job.model,
                prefix=self.job.prefix,
                idle=self.checkpoint.renew_when_due,
            )
        )
        self._register(follow_checks.registers(self.source))
        ((moment,),) = self.source.ask("SELECT (extract(epoch FROM now()) * 1000000)::int8")
        return {
            slot.SLOT: name,
            slot.PUBLICATION: published,
            slot.POSITION: pgoutput.lsn_text(position),
            slot.PART: "",
            slot.TABLES_SEEN: json.dumps(tables),
            slot.COMMITTED: str(moment),
            slot.FAULT: "",
        }

    def _register(self, names: Sequence[str]) -> None:
        """Let lists have registers, and no others."""
        self.source.plan = self.source.plan.registering(names)

    def _keep_registers(self, before: Sequence[str]) -> list[str]:
        """Remove the registers that nobody needs any more; the names of those that are to be made.

        Args:
            before: the lists that have one, by the state.
        """
        checkpoint, plan = self.checkpoint, self.source.plan
        new = [one for one in plan.registered if one not in before]
        if new:  # what is written from now on can be found again
            checkpoint.commit(state={REGISTERED: json.dumps([*before, *new])})
        keyspace.keep_registers(
            self.connection, plan.registering([*before, *new]), checkpoint, plan.registered
        )
        return [one.name for one in plan.registers if one.of and one.of.name in new]

    def _first_state(self) -> dict[str, str]:
        return {
            "format": FORMAT,
            "source": self.source.identity,
            "snapshot": self.source.snapshot,
            "status": "loading",
            "started": _now(),
            **self.source.plan.record(),
            PARTITIONS: json.dumps(
                partitions.cut(self.source, self.workers.size if self.workers else 1, self.job.batch_rows)
            ),
        } | ({"bytes_per_row": json.dumps(self.job.bytes_per_row)} if self.job.bytes_per_row else {})

    def _remove(self, state: Mapping[str, str]) -> dict[str, str]:
        """Take away what an earlier migration wrote here; the state says so until it is done."""
        checkpoint = self.checkpoint
        if self.job.flushdb and self.job.anew:
            checkpoint.empty()
        elif state:
            plan = recorded_plan(self.job, self.source, state)
            checkpoint.commit(state={"status": "removing"})
            keyspace.remove(self.connection, plan, checkpoint.commit)
            writing.end(checkpoint, state)
            checkpoint.commit(column_of(resp.encode("DEL", checkpoint.key)))
        self.job.cleared = True
        return {}

    def _load(self, loaded: loading.LoadProgress) -> None:
        job, total = self.job, sum(self.source.counts().values())
        with progress.bar(total, "migrate", enabled=job.progress) as shown:

            def advance(rows: int) -> None:
                shown.update(rows)
                job.rows_now += rows
                job.how_far = f"{sum(loaded.table_rows().values()):,} of {total:,} rows are in the target"

            shown.update(sum(loaded.table_rows().values()))
            advance(0)
            if self.workers:
                self.workers.start()
            began, limits = time.process_time(), Limits(self.connection)
            load = self._load_by_workers if self.workers else loading.load
            try:
                load(
                    self.source,
                    self.checkpoint,
                    loaded,
                    batch_rows=job.batch_rows,
                    advance=advance,
                )
            finally:
                job.cpu_seconds += time.process_time() - began
            job.busy = limits.read() | ({"cores_busy": None} if job.scheduler else {})  # those are elsewhere

    def _load_by_workers(self, *arguments: Any, **options: Any) -> None:
        """``loading.load`` by the workers; what their processes used is added to the job."""
        job = self.job
        assert self.workers is not None
        used: dict[str, tuple[float, float]] = {}
        for one in parallel.load(self.workers, *arguments, target_url=job.target_url, **options):
            began, ended = used.get(one.process, (one.cpu_from, one.cpu_to))
            used[one.process] = min(began, one.cpu_from), max(ended, one.cpu_to)
            job.peak_rss_mb = max(job.peak_rss_mb, one.peak_rss_mb)
        if job.scheduler or not job.verify:
            self.workers.end()
        job.cpu_seconds += sum(ended - began for began, ended in used.values())

    def _compare(self, *, mend: bool, made: Collection[str] = ()) -> dict[str, Any]:
        """What differs between target and snapshot; with ``mend`` it is put right, and registers are made."""
        checkpoint = self.checkpoint

        def mender(commands: list[bytes]) -> None:
            checkpoint.commit(column_of(*commands), doing="catch up")

        return verification.compare(
            self.source,
            self.connection,
            progress=self.job.progress,
            idle=checkpoint.renew_when_due,
            mender=mender if mend else None,
            made=made,
            # Those elsewhere could not leave their differences in a file here.
            workers=None if mend or self.job.scheduler else self.workers,
        )

    def _needed(self) -> str:
        """How much memory the rest would need, where that was estimated."""
        job = self.job
        if not job.bytes_per_row:
            return ""
        with contextlib.suppress(HelpersError):  # what stopped the load matters more
            loaded = loading.LoadProgress(self.source.plan, self.checkpoint.read())
            needed = dry_run.memory_bytes(job.bytes_per_row, self.source.counts(), loaded.table_rows())
            return f", {dry_run.shortage(needed, keyspace.inspect(self.connection, job.prefix))}"
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _counts(rows: Mapping[str, int], rejects: Rejects) -> dict[str, str]:
    """What a migration adds to its state as it ends: rows of each table that it left in Redis, and rejected.

    Args:
        rows: rows of each table that it read.
        rejects: those that the model cannot hold.
    """
    rejected = {table: counts.total() for table, counts in rejects.counts.items()}
    held = {table: number - rejected[table] for table, number in rows.items()}
    return {"rows_held": json.dumps(held), "rows_rejected": json.dumps(rejected)}
