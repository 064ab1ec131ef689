"""What following asks of a source besides, found out before anything is made."""

from collections.abc import Iterator

from helpers import text
from helpers.errors import HelpersError
from helpers.model import (
    Guide,
    KeyKind,
    Plan,
    exact,
    far_sql,
    guides,
    inexact,
    order_within,
    too_long,
    unguided,
)
from helpers.source import copytext, publication, slot
from helpers.source.snapshot import Source
from helpers.source.tables import Ask

RELATIONS = """
SELECT c.oid::int8, relkind::text, relpersistence::text, relreplident::text
FROM pg_class c WHERE c.oid = ANY(%s::oid[])"""
GENERATED = """
SELECT attname::text, attgenerated::text FROM pg_attribute
WHERE attrelid = %s::oid AND attgenerated <> '' AND NOT attisdropped"""
STORED = "s"
NAMES = """
WITH RECURSIVE used AS (
  SELECT attname, attrelid, atttypid AS type FROM pg_attribute
  WHERE attrelid = %s::oid AND attname = ANY(%s::text[])
  UNION SELECT attname, used.attrelid, part FROM used JOIN pg_type t ON t.oid = type CROSS JOIN LATERAL (
    SELECT typelem UNION ALL SELECT typbasetype
    UNION ALL SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid
    UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0) parts (part)
  WHERE part <> 0)
SELECT attname::text, format_type(type, NULL) FROM used JOIN pg_type t ON t.oid = type
WHERE typnamespace = 'pg_catalog'::regnamespace AND typname LIKE 'reg%%' LIMIT 1"""
"""A column whose text is the name of something in the catalogue, and another one when that is renamed."""


TOTAL = """
SELECT EXISTS (
  SELECT FROM pg_index WHERE indrelid = %s::oid AND indisunique AND indisvalid AND indpred IS NULL
    AND indexprs IS NULL AND NOT EXISTS (
      SELECT FROM unnest(indkey::int2[], indcollation::oid[]) WITH ORDINALITY u (number, told, place)
      JOIN pg_attribute ON attrelid = indrelid AND attnum = number
      LEFT JOIN pg_collation c ON c.oid = attcollation
      WHERE place <= indnkeyatts AND (NOT attnotnull OR attname <> ALL(%s::text[]) OR (
        told <> attcollation AND NOT collisdeterministic AND attname <> ALL(%s::text[])))))"""
"""Whether some columns put any two rows in order: what an index tells apart may be equal to a column."""


def check(source: Source) -> tuple[str, ...]:
    """Stop when the source cannot be followed; nothing is made.

    Args:
        source: a snapshot of it.

    Returns:
        The names of the lists that need a register, as ``registers`` gives them.

    Raises:
        HelpersError: it says what is lacking, and how to give it.
    """
    where, ask = f"postgres at {source.address}", source.ask
    ((level, standby, user),) = ask(
        "SELECT current_setting('wal_level'), pg_is_in_recovery(), quote_ident(current_user)"
    )
    if standby:
        raise HelpersError(f"{where}: this is a standby, where nothing can be published; follow its primary")
    if level != "logical":
        raise HelpersError(
            f"{where}: wal_level is {level}, and changes can be followed from logical on; `ALTER SYSTEM SET "
            "wal_level = logical`, restart the server, then the same command (or migrate without --follow)"
        )
    _check_tables(ask, source.plan, where)
    _check_generated(ask, source.plan, where)
    _check_rights(source, where, user)
    return registers(source)


def registers(source: Source) -> tuple[str, ...]:
    """The names of the lists in which no sorted set tells the places of the rows that are there.

    Args:
        source: a snapshot.

    Raises:
        HelpersError: a list could not be followed with a register either; it says which and why.
    """
    plan, where = source.plan.registering(()), f"postgres at {source.address}"
    found = {kind.name for kind in unguided(plan)}
    for guide in guides(plan):
        row = _inexact(source, guide)
        if row is not None and guide.paired:
            raise HelpersError(f"{where}: {inexact(guide, row)}")
        found |= set() if row is None else {kind.name for kind in guide.lists}
    names = tuple(kind.name for kind in plan.kinds if kind.name in found)
    for kind in plan.registering(names).registers:
        _check_order(source, plan.registering(names), kind, where)
    return names


def _check_order(source: Source, plan: Plan, register: KeyKind, where: str) -> None:
    """Stop where the values that order a list could not be kept, or not be compared later."""
    table, order = register.table, list(order_within(register))
    key = f"{plan.model.where}: key {str((register.of or register).key.template)!r}"
    for column, type_ in source.ask(NAMES, (publication.oids(source.ask, plan)[table.name], order)):
        raise HelpersError(
            f"{key}: it is ordered by {column}, of type {type_}, whose text is another one when what it "
            "names is renamed; order it by other columns, or migrate without --follow"
        )
    columns, owner = [*order, *register.owner], list(register.owner)
    ((total,),) = source.ask(TOTAL, (publication.oids(source.ask, plan)[table.name], columns, owner))
    if not total:
        raise HelpersError(
            f"{key}: rows that {' and '.join(order)} tell apart are equal by the collations of these "
            "columns, so that their order is not told; let it be ordered by another unique key too"
        )
    fits = plan.register_limits[register.name].short_sql
    if fits != "true":
        names = ", ".join(f"{table.columns[table.places[name]].sql}::text" for name in table.key)
        held = plan.asks_sql(register)
        long = source.ask(f"SELECT {names} FROM {table.sql} WHERE {held} AND NOT ({fits}) LIMIT 1")
        if long:
            raise HelpersError(f"{where}: {too_long(register, ', '.join(long[0]))}")


def _check_tables(ask: Ask, plan: Plan, where: str) -> None:
    lacking: list[str] = []
    for name, kind, persistence, identity in _relations(ask, plan):
        if persistence != "p":
            raise HelpersError(
                f"{where}: {name} is unlogged, so that its changes cannot be followed; ALTER TABLE {name} "
                "SET LOGGED, or migrate without --follow"
            )
        if identity != "f" and kind != "p":
            lacking.append(name)
    if lacking:
        remedy = "; ".join(f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name in lacking)
        raise HelpersError(
            f"{where}: {text.join(lacking)} would not tell the old values of a changed row; `{remedy}`, then "
            "the same command (or migrate without --follow)"
        )


def _relations(ask: Ask, plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """(name, kind, persistence, identity) of each table and partition."""
    oids, below = publication.oids(ask, plan), publication.leaves(ask, plan)
    found = {oid: row for oid, *row in ask(RELATIONS, ([oid for oid in oids.values() if oid is not None],))}
    for name, oid in oids.items():
        kind, persistence, identity = found[oid]
        yield name, kind, persistence, identity
        for leaf in below.get(name, ()):
            yield leaf.name, leaf.kind, leaf.persistence, leaf.identity


def _check_generated(ask: Ask, plan: Plan, where: str) -> None:
    """Stop where a generated column must be told and cannot be."""
    version, oids = publication.version(ask), publication.oids(ask, plan)
    for name, table in plan.tables.items():
        computed = [column.name for column in table.columns if column.generated]
        used = publication.used(plan, table)
        for column, how in ask(GENERATED, (oids[name],)) if computed else ():
            if version >= publication.GENERATED_SINCE and how != STORED:
                raise HelpersError(
                    f"{where}: column {column} of {name} is generated and not stored, and PostgreSQL refuses "
                    "changes of a published table with such a column and REPLICA IDENTITY FULL; make it "
                    "STORED, or migrate without --follow"
                )
            if version < publication.GENERATED_SINCE and column in used:
                raise HelpersError(
                    f"{where}: column {column} of {name} is generated, which is not told before PostgreSQL "
                    "18; let the model have the columns that it is made of, or migrate without --follow"
                )


def _check_rights(source: Source, where: str, user: str) -> None:
    oids = publication.oids(source.ask, source.plan)
    ((replicates, creates, owns, database),) = source.ask(
        "SELECT rolsuper OR rolreplication, has_database_privilege(current_database(), 'CREATE'), "
        "(SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = ANY(%s::oid[])), "
        "quote_ident(current_database()) FROM pg_roles WHERE rolname = current_user",
        (list(oids.values()),),
    )
    found = publication.find(source.ask, source.plan)
    if found is None and not (creates and owns):
        raise HelpersError(
            f"{where}: user {user} may not publish the tables; let their owner, with CREATE on database "
            f"{database}, run `{publication.statement(source.ask, source.plan)}`, then the same command"
        )
    publication.require_complete(found, source.plan, where)
    try:
        slot.replication(source.url).close()
    except HelpersError as error:
        remedy = "" if replicates else f"; give this user the right: `ALTER ROLE {user} REPLICATION`"
        raise HelpersError(f"{str(error).rpartition(';')[0] if remedy else error}{remedy}") from error
    ((used, most),) = source.ask(
        "SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int"
    )
    if used >= most and not slot.left_behind(source.ask):
        raise HelpersError(
            f"{where}: all {most} replication slots are in use; drop one that nobody needs, or raise "
            "max_replication_slots and restart the server"
        )


def _inexact(source: Source, guide: Guide) -> str | None:
    """The key of a row whose score is not exact, so that others may share it; None where there is none."""
    far = far_sql(guide.score)
    if far == "false":
        return None
    table, inexact_rows = guide.scored.table, list[str]()
    keys = [table.columns[table.places[name]] for name in table.key]

    def look(line: bytes) -> None:
        if not inexact_rows:
            (number,) = copytext.numbers_of(copytext.columns(line, 1 + len(keys))[0], guide.score.format)
            if not exact(int(number)):
                inexact_rows.append(", ".join(str(one) for one in copytext.texts(line)[1:]))

    order = ", ".join(one.sql for one in keys)
    source.stream(
        f"SELECT {guide.score.sql}, {order} FROM {table.sql} "
        f"WHERE {source.plan.asks_sql(guide.scored)} AND ({far}) ORDER BY {order}",
        look,
    )
    return inexact_rows[0] if inexact_rows else None
