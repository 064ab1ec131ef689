"""Keys, constraints and indexes: taken off before tables are filled, and put on again afterwards."""

from collections.abc import Callable
from typing import Any

from psycopg2 import errors

from helpers.errors import HelpersError, first_line

CONSTRAINTS = """
SELECT contype::text, conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND contype IN ('p', 'u', 'f') ORDER BY conrelid, conname
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON oid = indrelid
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid) ORDER BY 1
"""
ORDER = "puf"
"""Primary keys before unique and foreign ones."""


class Constraints:
    """What the tables of the current schema are held to.

    Args:
        do: runs a statement, gives its rows.
    """

    def __init__(self, do: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._do = do
        self._constraints = sorted(do(CONSTRAINTS), key=lambda found: ORDER.index(found[0]))
        self._indexes = do(INDEXES)

    def take_off(self) -> None:
        """Drop all of them."""
        for _, table, constraint, _ in reversed(self._constraints):
            self._do(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        for index, _ in self._indexes:
            self._do(f"DROP INDEX {index}")

    def put_on(self, schema: str) -> list[str]:
        """Add all of them that hold.

        A foreign key that does not hold is added without a look at the rows that are there (NOT VALID), a
        unique key that does not hold is left off.

        Args:
            schema: the schema's name as an SQL identifier, for messages.

        Returns:
            The constraints that do not hold, one line each.

        Raises:
            HelpersError: a primary key does not hold.
        """
        found = [self._add(schema, *constraint) for constraint in self._constraints]
        for _, definition in self._indexes:
            self._do(definition)
        return [warning for warning in found if warning]

    def _add(self, schema: str, kind: str, table: str, constraint: str, definition: str) -> str | None:
        add = f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}"
        self._do("SAVEPOINT adding")
        try:
            self._do(add)
        except (errors.IntegrityError, errors.ProgramLimitExceeded) as error:
            self._do("ROLLBACK TO SAVEPOINT adding")
            reason = error.diag.message_detail or first_line(error)
            if kind == "p":
                raise HelpersError(
                    f"two rows of {table} have one key in Redis: {reason} Mend that by hand, or by `migrate` "
                    "from its source; nothing was written to postgres"
                ) from error
            if kind == "u":
                return (
                    f"{constraint} is left off, because it does not hold: {reason} Change the rows, then "
                    f"ALTER TABLE {schema}.{table} ADD CONSTRAINT {constraint} {definition}"
                )
            self._do(f"{add} NOT VALID")
            return (
                f"{constraint} holds for new rows only (NOT VALID), because rows refer to none: {reason} Add "
                f"what is missing, then ALTER TABLE {schema}.{table} VALIDATE CONSTRAINT {constraint}"
            )
        self._do("RELEASE SAVEPOINT adding")
        return None
