"""The stream of changes from a replication slot, and what is confirmed to it.

psycopg2 confirms by itself what a keepalive says, once everything before it was confirmed. That would run
ahead of what the target has written down. So the last message is never confirmed before another one came,
and a *beat*, a transaction that holds nothing but a message, comes when there is none for long: it also lets
the server throw away the log of other tables.
"""

import contextlib
import select
from collections.abc import Iterator
from typing import Any, cast

import psycopg2
from psycopg2 import errors
from psycopg2.extras import LogicalReplicationConnection

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.model import SETTINGS
from helpers.servers import connections
from helpers.source.snapshot import SourceLost

BEAT = "SELECT pg_logical_emit_message(true, 'helpers_follow', '')"
"""Writes a beat to the log; any user may."""
MESSAGES_SINCE = 14_00_00
"""The version of the server from which transactions that only hold a message are told if asked for."""


class Stream:
    """The changes behind a place in the log; a context manager.

    Args:
        url: of the server.
        slot: name of the replication slot.
        publication: name of what is published of the database.
        position: the place in the log before whose commits nothing comes.

    Attributes:
        acknowledged: up to where psycopg2 may confirm by itself; nothing of ours is before it that was not
            read, and it must be written down before anything is confirmed.

    Raises:
        SourceLost: it cannot be opened now.
        HelpersError: it cannot be opened at all.
    """

    def __init__(self, url: str, slot: str, publication: str, position: int) -> None:
        self._where = f"postgres at {settings.address(url)}"
        try:
            self._connection = connections.postgres(
                url, connection_factory=LogicalReplicationConnection, application_name="helpers follow"
            )
        except HelpersError as error:
            raise SourceLost(str(error)) from error
        self._cursor = cast(Any, self._connection.cursor())  # a cursor of replication, by its factory
        self._flushed = self._data_start = 0
        self.acknowledged = 0
        with self._as_ours(slot):
            # The text of values depends on these, as it does for `COPY`.
            for setting, fixed in {**SETTINGS, "search_path": "pg_catalog"}.items():
                self._cursor.execute(f"SET {setting} = '{fixed}'")
            encoding = self._connection.info.parameter_status("server_encoding")
            encoding = encoding if encoding == "SQL_ASCII" else "UTF8"
            self._cursor.execute(f"SET client_encoding = '{encoding}'")
            self._cursor.start_replication(
                slot_name=slot,
                decode=False,
                start_lsn=position,
                options={
                    "proto_version": "1",
                    "publication_names": f'"{publication}"',
                    **({"messages": "true"} if self._connection.server_version >= MESSAGES_SINCE else {}),
                },
            )
        self._slot = slot

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    @property
    def sent_lsn(self) -> int:
        """Up to where the server has sent all there is, as its last message said."""
        return int(self._cursor.wal_end)

    def read(self) -> bytes | None:
        """The next message, or None when there is none yet."""
        confirmed = self._flushed >= self._data_start
        with self._as_ours(self._slot):
            message = self._cursor.read_message()
        if confirmed:
            self.acknowledged = max(self.acknowledged, self.sent_lsn)
        if message is None:
            return None
        self._data_start = message.data_start
        return bytes(message.payload)

    def wait(self, seconds: float) -> bool:
        """Wait until something may have come, or the time is over; whether something may have."""
        return bool(select.select([self._cursor], [], [], seconds)[0])

    def confirm(self, lsn: int | None = None) -> None:
        """Tell the server that what was committed before a place will not be asked for again; it answers
        up to where it has sent.

        Args:
            lsn: the place; only to ask for that answer when None.
        """
        self._flushed = max(self._flushed, min(lsn or 0, self._data_start - 1))
        with self._as_ours(self._slot):
            self._cursor.send_feedback(
                write_lsn=self._flushed, flush_lsn=self._flushed, apply_lsn=self._flushed, reply=True
            )

    @contextlib.contextmanager
    def _as_ours(self, slot: str) -> Iterator[None]:
        """Inside, errors of the server are raised as errors of this package."""
        try:
            yield
        except psycopg2.Error as error:
            self._connection.close()
            text = f"{self._where}: slot {slot}: {first_line(error)}"
            if isinstance(error, (errors.UndefinedObject, errors.InsufficientPrivilege)):
                raise HelpersError(
                    f"{text}; run `migrate --follow` again, which compares all rows"
                ) from error
            raise SourceLost(f"{text}; {connections.REMEDY}") from error
