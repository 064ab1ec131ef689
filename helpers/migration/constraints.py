"""Keys, constraints and indexes: put on once the tables are filled; those that do not hold are named."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
from psycopg2 import errors

from helpers.errors import HelpersError, first_line
from helpers.migration.blueprint import Blueprint
from helpers.model import literal, quoted
from helpers.source import Constraint, Index

HELD = ("p", "u", "x", "c", "n")
"""Kinds of constraints that come before indexes and foreign keys: primary keys, then unique ones, ..."""
BROKEN = (errors.IntegrityError, errors.DataError, errors.ProgramLimitExceeded, errors.FeatureNotSupported)
"""What PostgreSQL says where rows do not fit."""


class Constraints:
    """What the tables are held to.

    Args:
        do: runs a statement, gives its rows.
        blueprint: of the tables.
        schema: the schema's name as an SQL identifier, for messages.
    """

    def __init__(self, do: Callable[..., list[tuple[Any, ...]]], blueprint: Blueprint, schema: str) -> None:
        self._do, self._blueprint, self._schema = do, blueprint, schema

    def put_on(self) -> list[str]:
        """Add all of them that hold.

        A foreign key or check that does not hold is added without a look at the rows that are there (NOT
        VALID), a unique key that does not hold is left off. Partitions get theirs before the table that they
        are of, which then takes them for its own, names and all.

        Returns:
            The constraints that do not hold, one line each.

        Raises:
            HelpersError: a primary key does not hold.
        """
        found = self._blueprint.definitions
        warnings: list[str] = []
        children_first = sorted(found.constraints, key=lambda one: -one.relation)
        for kind in HELD:
            for constraint in children_first:
                if constraint.kind == kind:
                    warnings += self._add(constraint)
        for index in sorted(found.indexes, key=lambda one: -one.relation):
            warnings += self._index(index)
        for constraint in found.constraints:
            if constraint.kind == "f":
                warnings += self._add(constraint)
        return warnings

    def _add(self, constraint: Constraint) -> Iterator[str]:
        place, kind = constraint.relation, constraint.kind
        relation = self._blueprint.definitions.relations[place]
        table = self._blueprint.sql(place)
        plain = self._blueprint.name(relation.schema, constraint.name) if kind in "pux" else constraint.name
        name, definition = quoted(plain), constraint.definition
        if constraint.refers is not None:
            definition += f" REFERENCES {self._blueprint.sql(constraint.refers)}{constraint.end}"
        add = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        error = self._try(add)
        if error is not None:
            reason = error.diag.message_detail or first_line(error)
            if kind == "p":
                raise HelpersError(
                    f"two rows of {relation.table or relation.name} have one key in Redis: {reason} Mend "
                    "that by hand, or by `migrate` from its source; nothing was written to postgres"
                ) from error
            if kind not in "fc" or self._try(f"{add} NOT VALID") is not None:
                yield (f"{plain} is left off, because it does not hold: {reason} Change the rows, then {add}")
                return
            why = "rows refer to none" if kind == "f" else "rows do not fit"
            yield (
                f"{plain} holds for new rows only (NOT VALID), because {why}: {reason} "
                f"{'Add what is missing' if kind == 'f' else 'Change the rows'}, then "
                f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"
            )
        if constraint.comment is not None:
            self._do(f"COMMENT ON CONSTRAINT {name} ON {table} IS {literal(constraint.comment)}")

    def _index(self, index: Index) -> Iterator[str]:
        relation = self._blueprint.definitions.relations[index.relation]
        name = self._blueprint.name(relation.schema, index.name)
        unique = "UNIQUE " if index.unique else ""
        make = (
            f"CREATE {unique}INDEX {quoted(name)} ON {self._blueprint.sql(index.relation)} {index.definition}"
        )
        error = self._try(make)
        if error is not None:
            reason = error.diag.message_detail or first_line(error)
            yield f"{name} is left off, because it does not hold: {reason} Change the rows, then {make}"
        elif index.comment is not None:
            self._do(f"COMMENT ON INDEX {self._schema}.{quoted(name)} IS {literal(index.comment)}")

    def _try(self, statement: str) -> psycopg2.Error | None:
        """Run a statement; what PostgreSQL says where rows do not fit, and then it was not run."""
        self._do("SAVEPOINT adding")
        try:
            self._do(statement)
        except BROKEN as error:
            self._do("ROLLBACK TO SAVEPOINT adding")
            return error
        self._do("RELEASE SAVEPOINT adding")
        return None
