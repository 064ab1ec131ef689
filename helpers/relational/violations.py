"""Show that a rule holds: break it, and take exactly the error that must come."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INERROR, cursor as Cursor

from helpers.errors import first_line


@contextmanager
def refused(error_type: type[Exception]) -> Iterator[None]:
    """A block that must fail with exactly this error, whose first line is shown.

    Raises:
        AssertionError: the block did not fail.
        Exception: it failed with another error.
    """
    try:
        yield
    except error_type as error:
        if type(error) is not error_type:
            raise
        print(f"{error_type.__name__}: {first_line(error)}")
    else:
        raise AssertionError(f"{error_type.__name__} was expected, but nothing was refused")


class Violations:
    """Rules that are broken on purpose, and what PostgreSQL says.

    Args:
        cursor: a cursor whose connection is not in autocommit mode; what is done inside ``expect`` is undone.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._connection = cursor.connection
        self._records: dict[str, dict[str, Any]] = {}
        self._read = False

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was recorded, once for each rule. The first reading completes the list: ``expect`` shows what
        comes later, and records none of it.
        """
        self._read = True
        return list(self._records.values())

    @contextmanager
    def expect(self, error_type: type[psycopg2.Error], rule: str) -> Iterator[None]:
        """A block that must fail with exactly this error, which is shown and recorded; all it did is undone,
        and what had failed before it.

        A record has ``rule``, ``error`` (name of the type), ``sqlstate``, ``constraint`` (its name, or None),
        ``message`` and ``statement``.

        Raises:
            AssertionError: the block did not fail.
            psycopg2.Error: it failed with another error.
        """
        if self._connection.info.transaction_status == TRANSACTION_STATUS_INERROR:
            self._connection.rollback()
        self._cursor.execute("SAVEPOINT expected")
        try:
            yield
        except error_type as error:
            if type(error) is not error_type:
                raise
            statement = (self._cursor.query or b"").decode("utf-8")
            self._cursor.execute("ROLLBACK TO SAVEPOINT expected; RELEASE SAVEPOINT expected")
            message = error.diag.message_primary or first_line(error)
            record = {
                "rule": rule,
                "error": error_type.__name__,
                "sqlstate": error.pgcode,
                "constraint": error.diag.constraint_name,
                "message": message,
                "statement": " ".join(statement.split()),
            }
            if not self._read:
                self._records[rule] = record
            print(f"{error_type.__name__} ({error.pgcode}): {message}")
        else:
            self._cursor.execute("ROLLBACK TO SAVEPOINT expected; RELEASE SAVEPOINT expected")
            raise AssertionError(f"{rule}: {error_type.__name__} was expected, but nothing was refused")
