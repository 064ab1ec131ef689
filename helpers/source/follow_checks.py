"""What following asks of a source besides, found out before anything is made."""

from collections.abc import Iterator

from helpers import text
from helpers.errors import HelpersError
from helpers.model import Guide, Plan, exact, far_sql, guides, inexact
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


def check(source: Source) -> None:
    """Stop when the source cannot be followed; nothing is made.

    Args:
        source: a snapshot of it.

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
    of_lists = guides(source.plan)
    _check_tables(ask, source.plan, where)
    _check_generated(ask, source.plan, where)
    _check_rights(source, where, user)
    for guide in of_lists:
        _check_scores(source, guide, where)


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


def _check_scores(source: Source, guide: Guide, where: str) -> None:
    """Where two rows may share a score, whether one is held, and where, depends on its neighbours."""
    far = far_sql(guide.score)
    if far == "false":
        return
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
    if inexact_rows:
        raise HelpersError(f"{where}: {inexact(table.name, inexact_rows[0])}")
