"""The replication slot of a migration that is followed: what it is, what the state says of it, its end.

``migrate --follow`` makes a slot and loads from the snapshot that comes with it; ``follow`` goes on from the
place in the log that belongs to that snapshot. Neither misses nor repeats anything. The snapshot ends with
the process that made it. So a load that goes on after an interruption drops its slot and makes another one:
what is loaded already is compared with the new snapshot and mended, as in any load that goes on, and
following begins at the new slot. Nothing has to be told apart afterwards.

A slot has a random name, which stands in the target's state before the slot is made: one that is left behind
can be found from both sides. All slots of the same tables share a publication, whose name their names begin
with.

Every table needs ``REPLICA IDENTITY FULL``: lists and sorted sets are changed by the values that a row had
before, and whether a row was there at all (or rejected) depends on all of them.
"""

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extras import LogicalReplicationConnection

from helpers import settings, text
from helpers.errors import HelpersError, first_line
from helpers.model import Model, Plan, load
from helpers.servers import connections
from helpers.source import publication, tables
from helpers.source.pgoutput import parse_lsn
from helpers.source.publication import NAME_START
from helpers.source.snapshot import Source, SourceLost
from helpers.source.tables import Ask
from helpers.source.upstream import Upstream

SLOT, PUBLICATION, POSITION, PART = "follow:slot", "follow:publication", "follow:position", "follow:part"
TABLES_SEEN, COMMITTED, FAULT = "follow:tables", "follow:committed", "follow:fault"
FIELDS = (SLOT, PUBLICATION, POSITION, PART, TABLES_SEEN, COMMITTED, FAULT)
"""Fields of the state that following adds: slot and publication; the place in the log up to which all is
applied, and of a transaction that is applied in parts its place and how many changes of it are; the tables'
columns when the slot was made; when the last transaction was committed (µs since 1970); what went wrong."""
RELEASE_S = 10.0
"""How long a server may take to let go of a slot whose reader has gone."""
OLDEST_WRITER = "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 1"
GONE = ("08", "57", "XX")
"""Classes of errors with which a server goes away."""
PATIENCE_SHARES = (0.04, 0.16, 0.8)
"""Shares of ``settings.SILENCE_S`` for which a slot may wait while the tables are locked."""


@dataclass(frozen=True)
class Slot:
    """A replication slot.

    Attributes:
        name: its name.
        active: somebody reads it.
        lost: the server has thrown away log that it needs.
        retained_bytes: how much log it keeps.
        confirmed: the place in the log up to which its reader has confirmed, as text; None before it did.
    """

    name: str
    active: bool
    lost: bool
    retained_bytes: int
    confirmed: str | None

    def summary(self) -> str:
        """Its name and what it keeps, for messages."""
        return f"{self.name}, which keeps {text.size_bytes(self.retained_bytes)} of WAL"


def find(ask: Ask, name: str | None = None) -> list[Slot]:
    """The slots of this database that following made, or the one of a name.

    Args:
        ask: runs a query.
        name: of a slot, whoever made it; all that following made when None.
    """
    rows = ask(
        "SELECT slot_name::text, active, coalesce(wal_status = 'lost', false), "
        "coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE "
        "pg_current_wal_lsn() END, restart_lsn), 0)::int8, confirmed_flush_lsn::text "
        "FROM pg_replication_slots WHERE database = current_database() AND (slot_name = %s OR (%s IS NULL "
        "AND starts_with(slot_name::text, %s))) ORDER BY 1",
        (name, name, NAME_START),
    )
    return [Slot(*row) for row in rows]


def left_behind(ask: Ask, but: str | None = None) -> list[Slot]:
    """Slots that following made and nobody reads.

    Args:
        ask: runs a query.
        but: the name of a slot that is not meant.
    """
    return [slot for slot in find(ask) if not slot.active and slot.name != but]


def warnings(ask: Ask, but: str | None = None) -> list[str]:
    """A line for each slot that seems to be left behind.

    Args:
        ask: runs a query.
        but: the name of a slot that is left out; None for none.
    """
    return [
        f"nobody follows from slot {slot.summary()}; go on with `follow` on its target, or drop it: "
        f"`follow --drop-slot {slot.name}`"
        for slot in left_behind(ask, but)
    ]


def release(upstream: Upstream, name: str) -> None:
    """End whoever reads a slot: its lease is ours, so that is a process that has gone.

    Args:
        upstream: the source.
        name: of the slot.

    Raises:
        HelpersError: the server does not let go of it.
    """
    deadline = time.monotonic() + RELEASE_S
    while any(slot.active for slot in find(upstream.ask, name)):
        if time.monotonic() > deadline:
            raise HelpersError(f"{upstream.where}: slot {name} is in use by another program; end that first")
        try:
            upstream.ask(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND "
                "active",
                (name,),
            )
        except psycopg2.Error as error:
            raise HelpersError(f"{upstream.where}: slot {name} is in use: {first_line(error)}") from error
        time.sleep(0.05)


def drop(upstream: Upstream, name: str) -> Slot | None:
    """Drop a slot, and its publication when no other slot needs it; what it was, None when there was none.

    The publication stays where this user does not own it.

    Args:
        upstream: the source.
        name: of the slot.

    Raises:
        HelpersError: it is not one that following made, or is in use.
    """
    if not re.fullmatch(rf"{NAME_START}[a-z0-9_]+", name):  # it becomes a part of a statement below
        raise HelpersError(f"{upstream.where}: slot {name} was not made by `migrate --follow`; left alone")
    found = find(upstream.ask, name)
    try:
        if found:
            release(upstream, name)
            upstream.ask("SELECT pg_drop_replication_slot(%s)", (name,))
        published = name.rpartition("_")[0]
        if not any(slot.name.startswith(f"{published}_") for slot in find(upstream.ask)):
            with contextlib.suppress(errors.InsufficientPrivilege):
                upstream.ask(f"DROP PUBLICATION IF EXISTS {published}")
    except psycopg2.Error as error:
        raise HelpersError(f"{upstream.where}: slot {name}: {first_line(error)}") from error
    return found[0] if found else None


def check(upstream: Upstream, plan: Plan, state: Mapping[str, str]) -> None:
    """Stop when following cannot go on from where the state says.

    Args:
        upstream: the source.
        plan: of the migration.
        state: fields of the migration's state.

    Raises:
        HelpersError: the slot is gone or ahead, or the tables are not those of then.
    """
    name, where, remedy = state[SLOT], upstream.where, "run `migrate --follow` again, which compares all rows"
    found = find(upstream.ask, name)
    if not found:
        raise HelpersError(f"{where}: slot {name} is gone, and with it what changed since; {remedy}")
    if found[0].lost:
        raise HelpersError(
            f"{where}: slot {name} is lost: the server kept no more WAL (max_slot_wal_keep_size); {remedy}"
        )
    if found[0].confirmed and parse_lsn(found[0].confirmed) > parse_lsn(state[POSITION]):
        raise HelpersError(
            f"{where}: slot {name} goes on at {found[0].confirmed}, and the target is only at "
            f"{state[POSITION]}: it forgot what it had, or another program read the slot; {remedy}"
        )
    check_tables(upstream, plan, state)


def check_tables(upstream: Upstream, plan: Plan, state: Mapping[str, str]) -> None:
    """Stop when a table, or what is published of it, is not what it was when the slot was made.

    Args:
        upstream: the source.
        plan: of the migration.
        state: fields of the migration's state.

    Raises:
        HelpersError: it is not; the message says what to do.
    """
    publication.check(upstream, plan, json.loads(state[TABLES_SEEN]))


def new_name(published: str) -> str:
    """A name for a slot that no other has, which begins with the name of its publication."""
    return f"{published}_{secrets.token_hex(4)}"


@contextlib.contextmanager
def snapshot(
    url: str,
    name: str,
    model: "Model | str | Path | None" = None,
    *,
    prefix: str = "",
    idle: Callable[[], object] = lambda: None,
) -> Iterator[tuple[Source, int, dict[str, dict[str, Any]]]]:
    """A new slot's snapshot, the place in the log where it was taken, and what the tables are like in it.

    The tables are locked before the slot is made, so that none is emptied between its snapshot and the first
    look into it. A slot waits for the transactions that are under way, and one of these may wait for a table
    that is locked: so the locks are given up soon, and it is tried again with more patience.

    Args:
        url: of the server.
        name: of the slot; its publication is made when it is missing.
        model: as ``Source`` takes it.
        prefix: stands before every key of the plan.
        idle: called about once a second while the slot waits.

    Raises:
        SourceLost: the server went away.
        HelpersError: it refuses, or transactions that are under way did not end in time.
    """
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(Upstream(url))
        where = upstream.where
        plan = Plan(load(model), tables.bind(upstream.ask, where, load(model)), prefix)
        publication.publish(upstream, plan)
        for share in PATIENCE_SHARES:
            patience_s = share * settings.SILENCE_S
            connection = stack.enter_context(contextlib.closing(replication(url)))
            place: list[int] = []

            def create(connection: Any = connection, patience_s: float = patience_s) -> str:
                position, exported = create_slot(connection, upstream, name, patience_s, idle)
                place.append(position)  # noqa: B023
                return exported

            try:
                taken = stack.enter_context(Source(url, model, prefix=prefix, snapshot=create))
            except _Waits as error:
                waits: HelpersError = error
                continue
            connection.close()
            yield taken, place[0], publication.seen(taken.ask, taken.plan)
            return
        raise waits


class _Waits(HelpersError):
    """A slot still waits for transactions that are under way."""


def replication(url: str) -> Any:
    """A connection that takes commands of replication."""
    return connections.postgres(
        url, connection_factory=LogicalReplicationConnection, application_name="helpers follow"
    )


def create_slot(
    connection: Any, upstream: Upstream, name: str, patience_s: float, idle: Callable[[], object]
) -> tuple[int, str]:
    """Make a slot; waits for transactions that are under way.

    Args:
        connection: that ``replication`` opened; the snapshot lasts until its next command or its end.
        upstream: the source, asked who is waited for.
        name: of the slot.
        patience_s: how long to wait.
        idle: called about once a second while it waits.

    Returns:
        The place in the log from which the slot tells, and the name of the snapshot as of that place.

    Raises:
        _Waits: it was waited for too long; the slot is not made.
        SourceLost: the connection broke.
        HelpersError: the server refuses.
    """
    found: list[tuple[Any, ...]] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:  # libpq waits in C, where Python sees no Ctrl-C
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput EXPORT_SNAPSHOT")
                found.append(cursor.fetchone())
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    deadline = time.monotonic() + patience_s
    try:  # an interrupt may come while the thread is started
        threading.Thread(target=run, daemon=True).start()
        while not ended.wait(min(patience_s, 1.0)) and time.monotonic() < deadline:
            idle()
        in_time = ended.is_set()
        other = [] if in_time else upstream.ask(OLDEST_WRITER)
    finally:
        if not ended.is_set():
            connection.cancel()
            ended.wait()
    if found:
        return parse_lsn(found[0][1]), str(found[0][2])
    if not in_time:
        who = f" (process {other[0][0]} has the oldest)" if other else ""
        raise _Waits(
            f"{upstream.where}: a slot waits for the transactions that are under way, and some did not end "
            f"within {settings.SILENCE_S} s{who}; end them, then the same command"
        )
    error = failed[0]
    if isinstance(error, psycopg2.Error):
        text = f"{upstream.where}: slot {name}: {first_line(error)}"
        if error.pgcode is None or error.pgcode.startswith(GONE):
            raise SourceLost(f"{text}; {connections.REMEDY}") from error
        raise HelpersError(text) from error
    raise error
