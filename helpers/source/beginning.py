"""The beginning of following: a new replication slot, and the snapshot of the place where it begins."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
from psycopg2.extras import LogicalReplicationConnection

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.servers import connections
from helpers.source import publication
from helpers.source.pgoutput import parse_lsn
from helpers.source.snapshot import Source, SourceLost
from helpers.source.upstream import Upstream

OLDEST_WRITER = "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 1"
GONE = ("08", "57", "XX")
"""Classes of errors with which a server goes away."""
PATIENCE = (0.04, 0.16, 0.8)
"""Shares of ``settings.SILENCE_S`` for which a slot may wait while the tables are locked."""


def new_name(of: str) -> str:
    """A name for a slot that no other has."""
    return f"{of}_{secrets.token_hex(4)}"


@contextlib.contextmanager
def snapshot(
    url: str, name: str, idle: Callable[[], object] = lambda: None
) -> Iterator[tuple[Source, int, dict[str, dict[str, Any]]]]:
    """A new slot's snapshot, the place in the log where it was taken, and the tables' columns in it.

    The tables are locked before the slot is made, so that none is emptied between its snapshot and the first
    look into it. A slot waits for the transactions that are under way, and one of these may wait for a table
    that is locked: so the locks are given up soon, and it is tried again with more patience.

    Args:
        url: of the server.
        name: of the slot; its publication is made when it is missing.
        idle: called now and then while the slot waits.
    """
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(Upstream(url))
        publication.publish(upstream)
        for share in PATIENCE:
            patience_s = share * settings.SILENCE_S
            connection = stack.enter_context(contextlib.closing(replication(url)))
            place: list[int] = []

            def create(connection: Any = connection, patience_s: float = patience_s) -> str:
                position, exported = create_slot(connection, upstream, name, patience_s, idle)
                place.append(position)  # noqa: B023
                return exported

            try:
                taken = stack.enter_context(Source(url, create))
            except _Waits as error:
                waits: HelpersError = error
                continue
            connection.close()
            yield taken, place[0], publication.columns(taken.ask)
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
    """(place in the log, exported snapshot) of a new slot; waits for transactions that are under way."""
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

    threading.Thread(target=run, daemon=True).start()
    deadline = time.monotonic() + patience_s
    try:
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
