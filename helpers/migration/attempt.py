"""One attempt of a run, from the state in the target to the result."""

import contextlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from helpers import model, progress
from helpers.columns import column_of
from helpers.errors import HelpersError
from helpers.migration import estimation, loading, verification
from helpers.migration.findings import Rejects
from helpers.migration.refusals import refuse, refuse_state
from helpers.migration.run import Run
from helpers.model import streams
from helpers.servers import machine
from helpers.source import Source, Upstream, followable, partitions, pgoutput, publication, slot
from helpers.target import FORMAT, cluster, keyspace, rehearsal, resp, slotted

if TYPE_CHECKING:  # Dask takes memory and a moment
    from helpers.migration.crew import Crew


def attempt(run: Run) -> dict[str, Any]:
    """One attempt; the run keeps what a further one needs.

    Raises:
        resp.Lost, SourceLost, LeaseLost: a server or the lease is gone; another attempt may help.
        HelpersError: no other attempt would help.
    """
    with (
        Source(run.source_url) as source,
        contextlib.closing(cluster.connect(run.target_url)) as connection,
        crew_of(run) as crew,
    ):
        return Attempt(run, source, connection, crew).make()


def crew_of(run: Run) -> contextlib.AbstractContextManager["Crew | None"]:
    """Those who load, unless it is this process alone, which needs no Dask."""
    if run.workers == 1 and run.scheduler is None:
        return contextlib.nullcontext()
    from helpers.migration.crew import Crew

    return Crew(run.workers, run.scheduler)


class Attempt:
    """Brings the target to hold what the snapshot holds.

    Args:
        run: what was asked for.
        source: the snapshot.
        connection: the target.
        crew: who loads; this process when None.

    Attributes:
        earlier: an earlier attempt of the run held the lease.
    """

    earlier = False

    def __init__(
        self, run: Run, source: Source, connection: resp.Connection, crew: "Crew | None" = None
    ) -> None:
        self.run, self.source, self.connection, self.crew = run, source, connection, crew
        self.checkpoint = slotted.checkpoint(connection, run.prefix)

    def make(self) -> dict[str, Any]:
        """Look, refuse, warn; then take the lease, do the work, and give the lease back."""
        run = self.run
        if not run.begun:
            self._prepare()
        if self.crew and (run.anew or self.checkpoint.read().get("status") != "complete"):
            self.crew.start()  # before the lease is taken, as that needs renewal
        self.earlier = run.begun
        self.checkpoint.acquire(run.name)
        run.begun = True
        try:
            with contextlib.ExitStack() as open_until_the_end:
                result = self._bring(open_until_the_end)
        except BaseException as error:
            if isinstance(error, resp.Refused) and error.code == "OOM":
                run.told += self._needed()
            self.connection.close()  # whatever is under way on it is not waited for
            if not isinstance(error, resp.Lost):
                self.checkpoint.release(run.target_url)
            raise
        self.checkpoint.release()
        return result

    def _prepare(self) -> None:
        """All that can be found out before the first write."""
        run = self.run
        if run.follow:
            cluster.refuse(self.connection, "--follow")
        fitness = keyspace.inspect(self.connection, run.prefix)
        rehearsal.rehearse(self.connection, run.prefix, flushdb=run.flushdb, follow=run.follow)
        if run.follow:
            followable.refuse(self.source)
        refuse(run, self.source, self.connection, self.checkpoint)
        run.warnings += fitness.warnings
        state = self.checkpoint.read()
        run.warnings += slot.warnings(self.source.ask, state.get(slot.SLOT))
        if state.get(slot.SLOT) and (run.flushdb or state.get("source") != self.source.identity):
            run.warnings.append(
                f"what is removed was followed from slot {state[slot.SLOT]}, which stays in its source and "
                f"keeps WAL there; drop it: `follow --drop-slot {state[slot.SLOT]} --source URL`"
            )
        if fitness.limit_bytes and (run.anew or state.get("status") != "complete"):
            rows = self.source.counts()
            known = {} if run.anew else json.loads(state.get("bytes_per_row", "{}"))
            run.bytes_per_row = (
                known or estimation.sample(self.source, self.connection, run.prefix).bytes_per_row
            )
            needed = estimation.memory(run.bytes_per_row, rows, loading.Progress(state).table_rows())
            if not run.anew and not estimation.fits(needed, fitness):
                run.warnings.append(estimation.too_much(needed, fitness))
        for warning in run.warnings if run.progress else ():
            progress.say(f"warning: {warning}")

    def _bring(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        """With the lease held: begin or go on, load, catch up, verify."""
        run, checkpoint = self.run, self.checkpoint
        state = checkpoint.read()
        refuse_state(run, self.source, self.connection, state)
        if run.follow:
            self._drop_slot(state)
        if run.anew or state.get("status") == "removing":
            state = self._remove(state)
        fresh = not state
        # A cluster that lost the state may hold what this run wrote before: its nodes fail singly.
        again = not fresh or (self.earlier and self.connection.clustered)
        if fresh:
            checkpoint.commit(state=self._first_state())
            checkpoint.settle()
            state = checkpoint.read()
        followed = self._follow(stack) if run.follow else {}
        source = self.source
        if run.resumed is None:
            run.resumed = not fresh and state["status"] != "complete"
        loaded = loading.Progress(state)
        checked: dict[str, Any] | None = None
        with run.loading():
            if state["status"] == "loading":
                self._load(loaded)
            if again:
                # The source may have changed, and the reply to the last batch may never have been read.
                checkpoint.commit(state={"status": "reconciling"})
                checked = self._compare(mend=True)
            rows, rejects = source.counts(), Rejects()
            if again or rows != loaded.table_rows():
                rejects.collect(source, checkpoint.renew_when_due)
            self.connection.check()
            checkpoint.commit(
                state={
                    "status": "complete",
                    "snapshot": source.snapshot,
                    "finished": _now(),
                    **_counts(rows, rejects),
                    **followed,
                },
            )
        caught_up = checked["by_problem"] if checked else {}
        mended = checked["difference_file"] if checked else None
        if checked and not caught_up:  # that was a verification
            run.load_seconds -= checked["verify_seconds"]
        elif run.verify:
            checked = self._compare(mend=False)
        result = {
            "status": "loaded, not verified",
            "rows_read": rows,
            **rejects.summary(),
            "resumed": run.resumed,
            "rows_loaded_now": run.rows_now,
            "load_seconds": run.load_seconds,
            "mover_cpu_seconds": run.cpu_seconds,
            "workers": self.crew.size if self.crew else 1,
            "rows_per_second": run.rows_now / run.load_seconds if run.rows_now else 0.0,
            "caught_up": caught_up,
            "caught_up_file": mended,
            "snapshot": source.snapshot,
            "checkpoint": checkpoint.key.decode(),
            "warnings": run.warnings,
            "slot": followed.get(slot.SLOT),
            "verify_seconds": None,
            "differences": None,
        }
        if run.verify and checked:
            result |= checked | {"status": "different" if checked["differences"] else "verified"}
        return result | {"peak_rss_mb": max(machine.peak_rss_mb(), run.peak_rss_mb)}

    def _drop_slot(self, state: Mapping[str, str]) -> None:
        """Drop the slot of an earlier migration of this source: this one makes its own."""
        if state.get(slot.SLOT) and state.get("source") == self.source.identity:
            with Upstream(self.source.url) as upstream:
                slot.drop(upstream, state[slot.SLOT])

    def _follow(self, stack: contextlib.ExitStack) -> dict[str, str]:
        """From here on the snapshot is that of a new slot; what the state says of it in the end."""
        told = publication.name_of(self.source.identity)
        name = slot.new_name(told)
        self.checkpoint.commit(state={slot.SLOT: name, slot.PUBLICATION: told})
        self.run.slot = name
        self.source.close()  # it locks the tables, which who waits for them must not wait for twice
        self.source, position, tables = stack.enter_context(
            slot.snapshot(self.source.url, name, self.checkpoint.renew_when_due)
        )
        ((moment,),) = self.source.ask("SELECT (extract(epoch FROM now()) * 1000000)::int8")
        return {
            slot.SLOT: name,
            slot.PUBLICATION: told,
            slot.POSITION: pgoutput.lsn_text(position),
            slot.PART: "",
            slot.TABLES_SEEN: json.dumps(tables),
            slot.COMMITTED: str(moment),
            slot.FAULT: "",
        }

    def _first_state(self) -> dict[str, str]:
        return {
            "format": FORMAT,
            "source": self.source.identity,
            "snapshot": self.source.snapshot,
            "status": "loading",
            "started": _now(),
            streams.PARTITIONS: json.dumps(
                partitions.cut(self.source, self.crew.size if self.crew else 1, self.run.batch_rows)
            ),
        } | ({"bytes_per_row": json.dumps(self.run.bytes_per_row)} if self.run.bytes_per_row else {})

    def _remove(self, state: Mapping[str, str]) -> dict[str, str]:
        """Take away what an earlier migration wrote here; the state says so until it is done."""
        checkpoint = self.checkpoint
        if self.run.flushdb and self.run.anew:
            checkpoint.empty()
        elif state:
            checkpoint.commit(state={"status": "removing"})
            keyspace.remove(self.connection, self.run.prefix, checkpoint.commit)
            checkpoint.commit(column_of(resp.encode("DEL", checkpoint.key)))
        self.run.cleared = True
        return {}

    def _load(self, loaded: loading.Progress) -> None:
        run, total = self.run, sum(self.source.counts().values())
        with progress.bar(total, "migrate", enabled=run.progress) as shown:

            def advance(rows: int) -> None:
                shown.update(rows)
                run.rows_now += rows
                run.told = f"{sum(loaded.table_rows().values()):,} of {total:,} rows are in the target"

            shown.update(sum(loaded.table_rows().values()))
            advance(0)
            began = time.process_time()
            load = self._share if self.crew else loading.load
            try:
                load(
                    self.source,
                    self.checkpoint,
                    loaded,
                    prefix=run.prefix,
                    batch_rows=run.batch_rows,
                    advance=advance,
                )
            finally:
                run.cpu_seconds += time.process_time() - began

    def _share(self, *arguments: Any, **options: Any) -> None:
        """``loading.load`` by the crew; what its processes used is added to the run."""
        from helpers.migration import crew

        run = self.run
        assert self.crew is not None
        self.crew.start()
        used: dict[str, tuple[float, float]] = {}
        for one in crew.load(self.crew, *arguments, target_url=run.target_url, **options):
            began, ended = used.get(one.process, (one.cpu_from, one.cpu_to))
            used[one.process] = min(began, one.cpu_from), max(ended, one.cpu_to)
            run.peak_rss_mb = max(run.peak_rss_mb, one.peak_rss_mb)
        self.crew.end()
        run.cpu_seconds += sum(ended - began for began, ended in used.values())

    def _compare(self, *, mend: bool) -> dict[str, Any]:
        """What differs between target and snapshot; with ``mend`` it is put right."""
        checkpoint = self.checkpoint

        def mender(commands: list[bytes]) -> None:
            checkpoint.commit(column_of(*commands), doing="catch up")

        return verification.compare(
            self.source,
            self.connection,
            prefix=self.run.prefix,
            progress=self.run.progress,
            idle=checkpoint.renew_when_due,
            mender=mender if mend else None,
        )

    def _needed(self) -> str:
        """How much memory the rest would need, where that was estimated."""
        run = self.run
        if not run.bytes_per_row:
            return ""
        with contextlib.suppress(HelpersError):  # what stopped the load matters more
            loaded = loading.Progress(self.checkpoint.read())
            needed = estimation.memory(run.bytes_per_row, self.source.counts(), loaded.table_rows())
            return f", {estimation.too_much(needed, keyspace.inspect(self.connection, run.prefix))}"
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _counts(rows: Mapping[str, int], rejects: Rejects) -> dict[str, str]:
    """What a migration adds to its state as it ends: rows of each table that it left in Redis, and rejected.

    Args:
        rows: rows of each table that it read.
        rejects: those that the model cannot hold.
    """
    rejected = {table: rejects.counts[table].total() for table in model.TABLES}
    held = {table: rows[table] - rejected[table] for table in model.TABLES}
    return {"rows_held": json.dumps(held), "rows_rejected": json.dumps(rejected)}
