"""The course's model bound to its tables, without a server."""

from helpers.model import Column, Plan, Table, format_of, load
from helpers.relational import definitions, redis_model

TYPNAMES = {"integer": "int4", "numeric(10,2)": "numeric", "timestamp without time zone": "timestamp"}


def course(prefix: str = "") -> Plan:
    """The course's plan."""
    return Plan(load(), {name: table(name) for name in redis_model.TABLES}, prefix)


def table(name: str) -> Table:
    """One of the course's tables."""
    columns = tuple(
        Column(column, type_, format_of(TYPNAMES.get(type_, "varchar"), builtin=True), nullable)
        for column, (type_, nullable) in definitions.COLUMNS[name].items()
    )
    return Table(name, "public", name, columns, ((definitions.KEYS[name],),))
