"""What a finished migration recorded in Redis, and whether none is under way."""

import contextlib
import json
import time

from helpers.errors import HelpersError
from helpers.target import resp
from helpers.target.checkpoint import BEFORE, FORMAT
from helpers.target.cluster_checkpoint import checkpoint_of
from helpers.target.lease import LEASE_MS, holder, still_runs
from helpers.text import show


def finished(connection: resp.Connection, prefix: str) -> dict[str, str]:
    """What the migration recorded, when it is finished and no other is under way.

    Waits for the lease of a process that has gone.

    Args:
        connection: the target of the migration.
        prefix: its prefix.

    Returns:
        The fields of the state.

    Raises:
        HelpersError: nothing was recorded, or by another version; or a migration is unfinished or under way.
    """
    where = f"redis at {connection.address}"
    checkpoint = checkpoint_of(connection, prefix)
    state = checkpoint.read()
    if not state:
        raise HelpersError(
            f"{where}: no migration was recorded there ({show(checkpoint.key)}); check the URL, its database "
            "number, and --prefix"
        )
    if state.get("format") == BEFORE:
        raise HelpersError(
            f"{where}: {show(checkpoint.key)} was written by the version before, which recorded neither "
            "model nor definitions of tables; run the same `migrate` command again, which compares all rows "
            "and records them"
        )
    if state.get("format") != FORMAT:
        raise HelpersError(
            f"{where}: {show(checkpoint.key)} is of format {state.get('format')!r}, not {FORMAT!r}; it was "
            "written by another version: use that one"
        )
    _wait_for_lease(connection, checkpoint.lease)
    state = checkpoint.read()
    if state.get("status") != "complete":
        raise HelpersError(
            f"{where}: the migration there is not finished (status {state.get('status')!r}); run `migrate` "
            "again, which goes on, then restore"
        )
    return state


def _wait_for_lease(connection: resp.Connection, lease: bytes) -> None:
    """Return when no migration holds the lease; that of a process that has gone runs out by itself."""
    before: int | None = None
    deadline = time.monotonic() + 1.5 * LEASE_MS / 1000
    while (left_ms := connection.call("PTTL", lease)) != -2:
        token = (connection.call("GET", lease) or b"").decode("utf-8", "replace")
        renewed = before is not None and left_ms > before
        if still_runs(token) or renewed or time.monotonic() > deadline:
            raise HelpersError(
                f"redis at {connection.address}: a migration is under way ({holder(token)}); wait until "
                "it ends"
            )
        before = left_ms
        time.sleep(0.2)


def recorded(state: dict[str, str], name: str) -> dict[str, int]:
    """Rows per table that the migration recorded when it ended; empty when it recorded none.

    Args:
        state: the fields of the state.
        name: ``rows_held`` or ``rows_rejected``.
    """
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return {table: int(number) for table, number in json.loads(state.get(name, "{}")).items()}
    return {}
