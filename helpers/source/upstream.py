"""A plain connection to the source, for what does not happen in a snapshot: slots, publications, the log."""

from collections.abc import Collection
from typing import Any

import psycopg2

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.model import SETTINGS, Table
from helpers.servers import connections
from helpers.source.snapshot import SourceLost, identity


class Upstream:
    """A connection on which every statement is a transaction of its own; a context manager.

    Args:
        url: of the server.

    Attributes:
        where: the server, for messages.

    Raises:
        SourceLost: it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url, self.address = url, settings.address(url)
        self.where = f"postgres at {self.address}"
        try:
            self._connection = connections.postgres(url, application_name="helpers follow")
        except HelpersError as error:
            raise SourceLost(str(error)) from error
        self._connection.autocommit = True
        for setting, fixed in SETTINGS.items():  # values are compared by the text that COPY gave of them
            self.ask("SELECT set_config(%s, %s, false)", (setting, fixed))

    def __enter__(self) -> "Upstream":
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def ask(self, sql: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a query, none for a statement that gives no rows.

        Args:
            sql: the query, with ``%s`` where a value stands.
            values: these, as psycopg2 takes them.

        Raises:
            SourceLost: the connection broke.
            psycopg2.Error: the server refuses it.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if error.pgcode and not self._connection.closed:  # it answered: it is there
                raise
            raise SourceLost(f"{self.where}: {first_line(error)}; {connections.REMEDY}") from error

    def identity(self, tables: Collection[Table]) -> str:
        """Which tables these are, without address, user or password.

        Args:
            tables: as they are bound here.
        """
        return identity(self.ask, tables)
