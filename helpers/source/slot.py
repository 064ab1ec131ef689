"""The replication slot of a migration that is followed: what it is, what the state says of it, its end.

``migrate --follow`` makes a slot and loads from the snapshot that comes with it; ``follow`` goes on from the
place in the log that belongs to that snapshot. Neither misses nor repeats anything. The snapshot ends with
the process that made it. So a load that goes on after an interruption drops its slot and makes another one:
what is loaded already is compared with the new snapshot and mended, as in any load that goes on, and
following begins at the new slot. Nothing has to be told apart afterwards.

A slot has a random name, which stands in the target's state before the slot is made: one that is left behind
can be found from both sides. All slots of one schema share a publication, whose name their names begin with.

Every table needs ``REPLICA IDENTITY FULL``: lists and sorted sets are changed by the values that a row had
before, and whether a row was there at all (or rejected) depends on all of them.
"""

import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg2
from psycopg2 import errors

from helpers import text
from helpers.errors import HelpersError, first_line
from helpers.source import publication
from helpers.source.pgoutput import parse_lsn
from helpers.source.publication import NAMED
from helpers.source.shape import Ask
from helpers.source.upstream import Upstream

SLOT, PUBLICATION, POSITION, PART = "follow:slot", "follow:publication", "follow:position", "follow:part"
TABLES_SEEN, COMMITTED, FAULT = "follow:tables", "follow:committed", "follow:fault"
FIELDS = (SLOT, PUBLICATION, POSITION, PART, TABLES_SEEN, COMMITTED, FAULT)
"""Fields of the state that following adds: slot and publication; the place in the log up to which all is
applied, and of a transaction that is applied in parts its place and how many changes of it are; the tables'
columns when the slot was made; when the last transaction was committed (µs since 1970); what went wrong."""
RELEASE_S = 10.0
"""How long a server may take to let go of a slot whose reader has gone."""


@dataclass(frozen=True)
class Slot:
    """A replication slot: its name, whether somebody reads it, how much log it keeps, and up to where its
    reader has confirmed; ``lost`` when the server has thrown away log that it needs.
    """

    name: str
    active: bool
    lost: bool
    retained_bytes: int
    confirmed: str | None

    def told(self) -> str:
        """Its name and what it keeps, for messages."""
        return f"{self.name}, which keeps {text.size_bytes(self.retained_bytes)} of WAL"


def look(ask: Ask, name: str | None = None) -> list[Slot]:
    """The slots of this database that following made, or the one of a name."""
    rows = ask(
        "SELECT slot_name::text, active, coalesce(wal_status = 'lost', false), "
        "coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE "
        "pg_current_wal_lsn() END, restart_lsn), 0)::int8, confirmed_flush_lsn::text "
        "FROM pg_replication_slots WHERE database = current_database() AND (slot_name = %s OR (%s IS NULL "
        "AND starts_with(slot_name::text, %s))) ORDER BY 1",
        (name, name, NAMED),
    )
    return [Slot(*row) for row in rows]


def left_behind(ask: Ask, but: str | None = None) -> list[Slot]:
    """Slots that following made and nobody reads, besides one."""
    return [slot for slot in look(ask) if not slot.active and slot.name != but]


def warnings(ask: Ask, but: str | None = None) -> list[str]:
    """A line for each slot that seems to be left behind."""
    return [
        f"nobody follows from slot {slot.told()}; go on with `follow` on its target, or drop it: "
        f"`follow --drop-slot {slot.name}`"
        for slot in left_behind(ask, but)
    ]


def release(upstream: Upstream, name: str) -> None:
    """End whoever reads a slot: its lease is ours, so that is a process that has gone.

    Raises:
        HelpersError: the server does not let go of it.
    """
    deadline = time.monotonic() + RELEASE_S
    while any(slot.active for slot in look(upstream.ask, name)):
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

    Raises:
        HelpersError: it is not one that following made, or is in use.
    """
    if not re.fullmatch(rf"{NAMED}[a-z0-9_]+", name):  # it becomes a part of a statement below
        raise HelpersError(f"{upstream.where}: slot {name} was not made by `migrate --follow`; left alone")
    found = look(upstream.ask, name)
    try:
        if found:
            release(upstream, name)
            upstream.ask("SELECT pg_drop_replication_slot(%s)", (name,))
        of = name.rpartition("_")[0]
        if not any(slot.name.startswith(f"{of}_") for slot in look(upstream.ask)):
            with contextlib.suppress(errors.InsufficientPrivilege):
                upstream.ask(f"DROP PUBLICATION IF EXISTS {of}")
    except psycopg2.Error as error:
        raise HelpersError(f"{upstream.where}: slot {name}: {first_line(error)}") from error
    return found[0] if found else None


def check(upstream: Upstream, state: Mapping[str, str]) -> None:
    """Stop when following cannot go on from where the state says.

    Raises:
        HelpersError: the slot is gone or ahead, or the tables are not those of then.
    """
    name, where, again = state[SLOT], upstream.where, "run `migrate --follow` again, which compares all rows"
    found = look(upstream.ask, name)
    if not found:
        raise HelpersError(f"{where}: slot {name} is gone, and with it what changed since; {again}")
    if found[0].lost:
        raise HelpersError(
            f"{where}: slot {name} is lost: the server kept no more WAL (max_slot_wal_keep_size); {again}"
        )
    if found[0].confirmed and parse_lsn(found[0].confirmed) > parse_lsn(state[POSITION]):
        raise HelpersError(
            f"{where}: slot {name} goes on at {found[0].confirmed}, and the target is only at "
            f"{state[POSITION]}: it forgot what it had, or another program read the slot; {again}"
        )
    check_tables(upstream, state)


def check_tables(upstream: Upstream, state: Mapping[str, str]) -> None:
    """Stop when a table, or what is published of it, is not what it was when the slot was made."""
    publication.check(upstream, state[PUBLICATION], json.loads(state[TABLES_SEEN]))
