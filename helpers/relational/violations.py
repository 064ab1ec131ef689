"""Show that a rule holds: break it, and take exactly the error that must come."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

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
    """The rules that were broken on purpose, in ``records``, and what PostgreSQL said.

    Args:
        cursor: a cursor whose connection is not in autocommit mode; what is done inside ``expect`` is undone.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.records: list[dict[str, Any]] = []

    @contextmanager
    def expect(self, error_type: type[psycopg2.Error], rule: str) -> Iterator[None]:
        """A block that must fail with exactly this error, which is shown and recorded; all it did is undone.

        A record has ``rule``, ``error`` (name of the type), ``sqlstate``, ``constraint`` (its name, or None),
        ``message`` and ``statement``.

        Raises:
            AssertionError: the block did not fail.
            psycopg2.Error: it failed with another error.
        """
        self._cursor.execute("SAVEPOINT expected")
        try:
            yield
        except error_type as error:
            if type(error) is not error_type:
                raise
            statement = (self._cursor.query or b"").decode("utf-8")
            self._cursor.execute("ROLLBACK TO SAVEPOINT expected; RELEASE SAVEPOINT expected")
            self.records.append(
                {
                    "rule": rule,
                    "error": error_type.__name__,
                    "sqlstate": error.pgcode,
                    "constraint": error.diag.constraint_name,
                    "message": error.diag.message_primary or first_line(error),
                    "statement": " ".join(statement.split()),
                }
            )
            print(f"{error_type.__name__} ({error.pgcode}): {self.records[-1]['message']}")
        else:
            self._cursor.execute("ROLLBACK TO SAVEPOINT expected; RELEASE SAVEPOINT expected")
            raise AssertionError(f"{rule}: {error_type.__name__} was expected, but nothing was refused")
