"""What a migration refuses to touch, found out before anything is written."""

from collections.abc import Mapping

from helpers import model, settings, text
from helpers.errors import HelpersError
from helpers.migration.job import Job
from helpers.model import Plan
from helpers.source import Source, slot
from helpers.target import BEFORE, FORMAT, PARTITIONS_LEASED, Checkpoint, keyspace, resp, state_key
from helpers.text import show


def refuse(job: Job, source: Source, connection: resp.Connection, checkpoint: Checkpoint) -> None:
    """Stop when the source is empty or something in the target is not ours to change.

    Args:
        job: what was asked for.
        source: the snapshot.
        connection: the target.
        checkpoint: of the migration in it.

    Raises:
        HelpersError: it is so; nothing was written.
    """
    if not any(source.counts().values()):
        raise HelpersError(
            f"postgres at {source.address}: {_all(source.plan)} empty; check the URL, or fill "
            "them" + (" with `python -m helpers populate`" if is_course(source.plan) else "")
        )
    state = checkpoint.read()
    refuse_state(job, source, connection, state)
    if state or job.flushdb:
        return
    for found in keyspace.scan(connection, source.plan):
        if checkpoint.read():  # another migration has begun meanwhile; its lease will say so
            return
        names = text.join([show(key) for _, key in found[:3]])
        raise HelpersError(
            f"redis at {connection.address}: holds keys of the model that no migration wrote (such as "
            f"{names}); use another --prefix or database, or remove them"
            + ("; --replace removes only what a migration recorded here" if job.replace else "")
        )


def refuse_state(job: Job, source: Source, connection: resp.Connection, state: Mapping[str, str]) -> None:
    """Stop when the migration that is recorded in the target is not one to go on with.

    Args:
        job: what was asked for.
        source: the snapshot.
        connection: the target.
        state: fields of the state that is recorded there; empty where none is.

    Raises:
        HelpersError: it is of another format or of another source.
    """
    if not state or job.flushdb:
        return
    where = f"redis at {connection.address}"
    if state.get("format") not in (FORMAT, BEFORE):
        key = state_key(job.prefix, clustered=connection.clustered)
        raise HelpersError(
            f"{where}: {key} is of format {state.get('format')!r}, not {FORMAT!r}; "
            "it was written by another version: use that one, or another --prefix"
        )
    if state.get("format") == BEFORE and state.get(PARTITIONS_LEASED) and state.get("status") == "loading":
        raise HelpersError(
            f"{where}: a load by several processes was begun there by the version before; finish it with "
            "that one, or use another --prefix"
        )
    if job.anew:
        recorded_plan(job, source, state)  # what is removed must be known
    else:
        refuse_model(source.plan, state, where)
    if state.get(slot.SLOT) and not job.follow and state.get("source") == source.identity:
        raise HelpersError(
            f"{where}: is followed from slot {state[slot.SLOT]}, and a newer snapshot would be ahead of it; "
            "`migrate --follow` brings all up to date and goes on from there, `follow --drop-slot` ends that"
        )
    if state.get("source") != source.identity and not (job.replace and job.anew):
        raise HelpersError(
            f"{where}: holds a migration of another source ({state.get('source')}, not {source.identity}); "
            "use another --prefix, or --replace to remove it"
        )


def refuse_model(plan: Plan, state: Mapping[str, str], where: str) -> None:
    """Stop when a migration was of another model.

    Args:
        plan: of the model that is meant.
        state: what was recorded.
        where: the target, for messages.

    Raises:
        HelpersError: it was.
    """
    recorded = model.parse(state["model"], "the recorded model") if "model" in state else model.load()
    if recorded != plan.model:
        raise HelpersError(
            f"{where}: holds a migration of another model than {plan.model.where}; use that one, another "
            "--prefix, or --replace to remove it and load anew"
        )


def is_course(plan: Plan) -> bool:
    """Whether a plan is of the course's model."""
    return plan.model == model.load()


def recorded_plan(job: Job, source: Source, state: Mapping[str, str]) -> Plan:
    """The plan of the migration that is recorded in the target.

    Args:
        job: what was asked for.
        source: the snapshot, whose plan it is where the version before recorded none.
        state: what was recorded.

    Raises:
        HelpersError: the version before recorded none, and another model is meant now.
    """
    plan = Plan.recorded(state, job.prefix)
    if plan is None and not is_course(source.plan):
        raise HelpersError(
            f"redis at {settings.address(job.target_url)}: the migration there was made by the version "
            "before, of the course's model; remove it first by `migrate --replace` without --model, or use "
            "another --prefix"
        )
    return plan or source.plan


def _all(plan: Plan) -> str:
    tables = list(plan.tables)
    return f"table {tables[0]} is" if len(tables) == 1 else f"all {len(tables)} tables are"
