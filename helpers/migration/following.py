"""Follow the source: apply to Redis what was committed since the migration's snapshot, and go on."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import progress, servers, text
from helpers.columns import column_of
from helpers.errors import HelpersError
from helpers.migration import writing
from helpers.migration.findings import Rejects
from helpers.migration.follower import Follower, Lag, Tally
from helpers.migration.job import RESUMES, Job, wait_to_retry
from helpers.model import Model, Plan, load
from helpers.servers import machine
from helpers.source import SourceLost, Stream, Upstream, pgoutput, slot, tables
from helpers.target import (
    BEFORE,
    FORMAT,
    Checkpoint,
    LeaseLost,
    checkpoint_of,
    connect,
    keyspace,
    record,
    redo,
    rehearsal,
    resp,
)


def follow(
    source: str | None = None,
    target: str | None = None,
    *,
    prefix: str = "",
    model: "Model | str | Path | None" = None,
    until_idle_s: float | None = None,
    report: Callable[[Lag], object] | None = None,
    shown: bool = True,
) -> dict[str, Any]:
    """Apply inserts, updates and deletes of a model's tables to the target of ``migrate --follow``.

    In the order of their commits, each transaction exactly once: its effects and its place in the source's
    log are written in one ``EXEC``, in a cluster by a redo log (``target.redo``). It may be stopped at any
    moment, and goes on from there when it is called again. A transaction of more than
    ``follower.MOST_CHANGES`` changes is seen by readers part by part, and one in a cluster slot by slot.
    Lines of the reject file are written before their rows are counted: after a kill some may come twice.

    Args:
        source: PostgreSQL URL; the resolved server when None.
        target: URL of Redis or of a node of a Redis Cluster; the resolved server when None.
        prefix: the prefix of the migration.
        model: the model of the migration, as ``model.load`` takes it; that which was recorded when None.
        until_idle_s: end when everything is applied and nothing came for so many seconds; never when None.
        report: given the lag about twice a second.
        shown: show progress and warnings on stderr.

    Returns:
        ``transactions`` and ``changes`` (per table) that this call applied, ``parts`` of large transactions,
        ``truncated`` (tables emptied), ``position`` in the source's log, ``lag_bytes``, ``lag_seconds``,
        ``slot``, ``retained_bytes`` (of the log, kept by the slot), ``rows_held`` and ``rows_rejected`` per
        table as they are now, ``rejects_by_reason`` and ``reject_file`` of this call, ``seconds``,
        ``warnings``, ``peak_rss_mb``.

    Raises:
        HelpersError: a server cannot be reached, there is nothing to follow, or it cannot go on; the message
            says how far it is.
    """
    if until_idle_s is not None and not 0 <= until_idle_s < float("inf"):
        raise HelpersError(f"--until-idle {until_idle_s}: give a number of seconds from 0 on")
    job = Job(source or servers.url("postgres"), target or servers.url("redis"), prefix, model)
    tally, found, failures = Tally(), list[Rejects](), 0
    with progress.bar(None, "follow", unit="changes", enabled=shown) as bar:

        def show(lag: Lag) -> None:
            how_far = f"{lag.transactions:,} transactions, lag {text.size_bytes(lag.bytes)}"
            bar.set_postfix_str(f"{how_far}, {lag.seconds:.1f} s", refresh=False)
            bar.update(tally.changes.total() - bar.n)
            if report is not None:
                report(lag)

        try:
            while True:
                before = tally.changes.total() + tally.truncated
                try:
                    return _attempt(job, tally, found, until_idle_s, show, shown)
                except (resp.Lost, SourceLost, LeaseLost) as error:
                    failures = 1 if tally.changes.total() + tally.truncated > before else failures + 1
                    if not job.begun:
                        raise
                    if not wait_to_retry(failures):
                        raise HelpersError(f"{error}; {_far(tally)}, {RESUMES}") from error
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"{_far(tally)}, {RESUMES}") from error
        finally:
            for rejects in found:
                rejects.close()


def _far(tally: Tally) -> str:
    lag = "" if tally.lag is None else f", {text.size_bytes(tally.lag.bytes)} of WAL were left"
    return f"{text.plural(tally.transactions, 'transaction')} applied by this run{lag}"


def _attempt(
    job: Job,
    tally: Tally,
    found: list[Rejects],
    until_idle_s: float | None,
    report: Callable[[Lag], object],
    shown: bool,
) -> dict[str, Any]:
    """One attempt, from the state in the target on."""
    with (
        Upstream(job.source_url) as upstream,
        contextlib.closing(connect(job.target_url)) as connection,
    ):
        checkpoint = checkpoint_of(connection, job.prefix)
        if not job.begun:
            job.warnings += keyspace.inspect(connection, job.prefix).warnings
            state, plan = _followed(upstream, connection, checkpoint, job)
            rehearsal.rehearse(connection, plan, follow=True)
            slot.check(upstream, plan, state)
            job.warnings += slot.warnings(upstream.ask, state[slot.SLOT])
            for warning in job.warnings if shown else ():
                progress.say(f"warning: {warning}")
        checkpoint.acquire(job.name)
        job.begun = True
        try:
            writer = writing.writer(checkpoint)
            state, plan = _followed(upstream, connection, checkpoint, job)
            writer.recover(state)
            state = checkpoint.read()
            found += [] if found else [Rejects(plan)]
            slot.release(upstream, state[slot.SLOT])
            slot.check(upstream, plan, state)
            position = pgoutput.parse_lsn(state[slot.POSITION])
            with Stream(job.source_url, state[slot.SLOT], state[slot.PUBLICATION], position) as stream:
                Follower(
                    stream,
                    upstream,
                    connection,
                    checkpoint,
                    writer,
                    state,
                    plan=plan,
                    tally=tally,
                    rejects=found[0],
                    report=report,
                ).run(until_idle_s)
            slot.check_tables(upstream, plan, state)
            result = _result(job, tally, found[0], checkpoint.read(), upstream)
        except BaseException as error:
            checkpoint.give_up(job.target_url, error)
            raise
        checkpoint.release()
        return result


def _followed(
    upstream: Upstream, connection: resp.Connection, checkpoint: Checkpoint, job: Job
) -> tuple[dict[str, str], Plan]:
    """The state of a migration that can be followed, and its plan; refuses any other."""
    state, where, prefix = checkpoint.read(), f"redis at {connection.address}", job.prefix
    key = checkpoint.key.decode()
    if not state:
        raise HelpersError(
            f"{where}: no migration was recorded there ({key}); begin with `migrate "
            "--follow`, or check the URL, its database number, and --prefix"
        )
    if state.get("format") not in (FORMAT, BEFORE):
        raise HelpersError(
            f"{where}: {key} is of format {state.get('format')!r}, not {FORMAT!r}; it "
            "was written by another version: use that one"
        )
    if not state.get(slot.SLOT):
        raise HelpersError(
            f"{where}: the migration there made no replication slot, so that what changed since is not "
            "known; run `migrate --follow`, which compares all rows and makes one"
        )
    if state.get("status") != "complete":
        raise HelpersError(
            f"{where}: the migration there is not finished (status {state.get('status')!r}); run `migrate "
            "--follow` again, which goes on"
        )
    recorded = Plan.recorded(state, prefix)
    declared = recorded.model if recorded else load()
    if job.model is not None and (given := load(job.model)) != declared:
        raise HelpersError(
            f"{where}: holds a migration of another model than {given.where}; leave --model out to follow "
            "with that which is recorded there"
        )
    bound = tables.bind(upstream.ask, upstream.where, declared)
    identity = upstream.identity(bound.values())
    if state.get("source") != identity:
        raise HelpersError(
            f"{where}: holds a migration of another source ({state.get('source')}, not {identity}); "
            "check --source"
        )
    if state.get(slot.FAULT):
        raise HelpersError(
            f"{where}: following met what it had not written ({state[slot.FAULT]}) and stopped in the middle "
            "of a transaction; run `migrate --follow` again, which compares all rows and puts them right"
        )
    return state, recorded or Plan(declared, bound, prefix)


def _result(
    job: Job, tally: Tally, rejects: Rejects, state: dict[str, str], upstream: Upstream
) -> dict[str, Any]:
    found = slot.find(upstream.ask, state[slot.SLOT])
    by_reason = rejects.summary()
    return {
        "transactions": tally.transactions,
        "parts": tally.parts,
        "changes": {table: tally.changes[table] for table in rejects.counts},
        "truncated": tally.truncated,
        "position": state[slot.POSITION],
        "lag_bytes": tally.lag.bytes if tally.lag else None,
        "lag_seconds": tally.lag.seconds if tally.lag else None,
        "slot": state[slot.SLOT],
        "retained_bytes": found[0].retained_bytes if found else None,
        "rows_held": record.recorded(state, "rows_held"),
        "rows_rejected": record.recorded(state, "rows_rejected"),
        "rejects_by_reason": by_reason["rejects_by_reason"],
        "reject_file": by_reason["reject_file"],
        "seconds": time.monotonic() - tally.began,
        "warnings": job.warnings,
        "peak_rss_mb": machine.peak_rss_mb(),
    }


def describe(result: dict[str, Any]) -> list[str]:
    """What ``follow`` did, as lines for people."""
    changes = text.join([f"{text.count(n)} of {table}" for table, n in result["changes"].items() if n])
    lines = [
        f"applied: {text.plural(result['transactions'], 'transaction')}"
        f"{f' with changes: {changes}' if changes else ''}; at {result['position']}, lag "
        f"{text.size_bytes(result['lag_bytes'])}, {result['lag_seconds']:.1f} s"
    ]
    rejected = sum(result["rows_rejected"].values())
    if rejected:
        where = f"; those of this run are in {result['reject_file']}" if result["reject_file"] else ""
        lines.append(f"rejected: {text.plural(rejected, 'row')} of the source are not in Redis{where}")
    lines.append(
        f"slot {result['slot']} keeps {text.size_bytes(result['retained_bytes'])} of WAL: `follow` goes on, "
        "`follow --drop-slot` ends it"
    )
    return lines


def drop_slot(
    source: str | None = None, target: str | None = None, *, prefix: str = "", name: str | None = None
) -> dict[str, Any]:
    """End the following of a target: drop its slot, its registers, and the publication when no slot needs it.

    Args:
        source: PostgreSQL URL; the resolved server when None.
        target: URL of Redis or of a node of a Redis Cluster; the resolved server when None. Not asked when a
            name is given.
        prefix: the prefix of the migration.
        name: a slot that was left behind, whose target does not know it any more.

    Returns:
        ``slot``, ``dropped`` (whether there was one), ``retained_bytes`` that it kept.

    Raises:
        HelpersError: the target is not followed, or is being followed now; or the slot is none of ours.
    """
    with Upstream(source or servers.url("postgres")) as upstream:
        if name:
            if any(found.active for found in slot.find(upstream.ask, name)):
                raise HelpersError(f"{upstream.where}: slot {name} is in use: somebody follows from it")
            return _dropped(name, slot.drop(upstream, name))
        with contextlib.closing(connect(target or servers.url("redis"))) as connection:
            checkpoint = checkpoint_of(connection, prefix)
            if not checkpoint.read().get(slot.SLOT):
                raise HelpersError(
                    f"redis at {connection.address}: no migration there is followed; "
                    + (" ".join(slot.warnings(upstream.ask)) or "there is no slot to drop")
                )
            checkpoint.acquire()
            try:
                state = checkpoint.read()
                same, identity = _same_source(upstream, state, prefix)
                if not same:
                    raise HelpersError(
                        f"redis at {connection.address}: follows another source ({state.get('source')}, not "
                        f"{identity}); check --source"
                    )
                found = slot.drop(upstream, state[slot.SLOT])
                recorded = Plan.recorded(state, prefix)
                if recorded is not None:
                    keyspace.keep_registers(connection, recorded, checkpoint, ())
                writing.end(checkpoint, state)
                fields = (*slot.FIELDS, *redo.FIELDS)
                checkpoint.commit(column_of(resp.encode("HDEL", checkpoint.key, *fields)))
            finally:
                checkpoint.release()
        return _dropped(state[slot.SLOT], found)


def _same_source(upstream: Upstream, state: dict[str, str], prefix: str) -> tuple[bool, str]:
    """(whether a state is of a source, the identity of that); where its tables are gone, of its database."""
    recorded, before = Plan.recorded(state, prefix), state.get("source", "{}")
    try:
        bound = tables.bind(upstream.ask, upstream.where, recorded.model if recorded else load())
    except HelpersError:
        identity = upstream.identity(())
        first, second = json.loads(before), json.loads(identity)
        return all(first.get(part) == second[part] for part in ("system", "database")), identity
    identity = upstream.identity(bound.values())
    return before == identity, identity


def _dropped(name: str, found: slot.Slot | None) -> dict[str, Any]:
    return {
        "slot": name,
        "dropped": found is not None,
        "retained_bytes": found.retained_bytes if found else None,
    }


def describe_dropped(result: dict[str, Any]) -> list[str]:
    """What ``drop_slot`` did, as lines for people."""
    if not result["dropped"]:
        return [f"slot {result['slot']} was gone already"]
    return [f"dropped: slot {result['slot']}, which kept {text.size_bytes(result['retained_bytes'])} of WAL"]
