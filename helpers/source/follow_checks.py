"""What following asks of a source besides, found out before anything is made."""

from collections.abc import Iterator

from helpers import text
from helpers.errors import HelpersError
from helpers.model import Guide, Pair, Plan, exact, far_sql, guides, inexact
from helpers.source import copytext, publication, slot
from helpers.source.snapshot import Source
from helpers.source.tables import Ask

RELATIONS = """
SELECT c.oid::int8, relkind::text, format('%%I.%%I', nspname, relname), relpersistence::text, relreplident::text
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = ANY(%s::oid[])"""
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
        if kind == "f":
            raise HelpersError(
                f"{where}: {name} is a foreign table, whose changes are not in this server's log; migrate without "
                "--follow"
            )
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
        kind, _, persistence, identity = found[oid]
        yield name, kind, persistence, identity
        for leaf in below.get(name, ()):
            yield leaf.name, leaf.kind, leaf.persistence, leaf.identity


def _check_generated(ask: Ask, plan: Plan, where: str) -> None:
    ((version,),) = ask("SELECT current_setting('server_version_num')::int", None)
    oids = publication.oids(ask, plan)
    for name, table in plan.tables.items():
        used = [one for one in publication.used(plan, table) if publication.generated((table, one))]
        how = {one: stored for one, stored in ask(GENERATED, (oids[name],))} if used else {}  # noqa: C416
        for column in used:
            if version >= publication.GENERATED_SINCE and how[column] == STORED:
                continue
            why = (
                "is not told before PostgreSQL 18"
                if how[column] == STORED
                else "is not stored, and so not told"
            )
            raise HelpersError(
                f"{where}: column {column} of {name} is generated, and {why}; let the model have the columns that it "
                "is made of, or migrate without --follow"
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
            f"{database}, run `{publication.statement(source.plan)}`, then the same command"
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
    far = far_sql(Pair(guide.lists[0], guide.scored, guide.score)) if guide.whole else "false"
    if far == "false":
        return
    table, inexact_rows = guide.scored.table, list[str]()
    keys = [table.columns[table.places[name]] for name in table.key]

    def look(line: bytes) -> None:
        if not inexact_rows:
            (number,) = copytext.numbers_of(copytext.columns(line, 1 + len(keys))[0], guide.score.format)
            if not exact(int(number)):
                inexact_rows.append(", ".join(str(one) for one in copytext.texts(line)[1:]))

    source.stream(
        f"SELECT {', '.join(one.sql for one in (guide.score, *keys))} FROM {table.sql} "
        f"WHERE {source.plan.asks_sql(guide.scored)} AND ({far}) ORDER BY {', '.join(one.sql for one in keys)}",
        look,
    )
    if inexact_rows:
        raise HelpersError(f"{where}: {inexact(table.name, inexact_rows[0])}")
