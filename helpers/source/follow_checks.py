"""What following asks of a source besides, found out before anything is made."""

from helpers import model, text
from helpers.errors import HelpersError
from helpers.model import FAR_DATES, KEPT, TABLES
from helpers.source import copytext, publication, slot
from helpers.source.snapshot import Source
from helpers.source.tables import Ask


def check(source: Source) -> None:
    """Stop when the source cannot be followed; nothing is made.

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
    _check_tables(ask, where)
    _check_rights(source, where, user)
    _check_scores(source, where)


def _check_tables(ask: Ask, where: str) -> None:
    kinds = {
        table: ask(
            "SELECT relkind, relreplident, relpersistence, EXISTS (SELECT FROM pg_attribute WHERE attrelid = "
            "c.oid AND attgenerated <> '' AND NOT attisdropped) FROM pg_class c WHERE oid = to_regclass(%s)",
            (table,),
        )[0]
        for table in TABLES
    }
    for table, (kind, _, persistence, generated) in kinds.items():
        if kind != "r":
            raise HelpersError(
                f"{where}: {table} is partitioned, and what happens to a single partition (TRUNCATE, DETACH) "
                "is not told; migrate without --follow"
            )
        if persistence != "p":
            raise HelpersError(
                f"{where}: {table} is unlogged, so that its changes cannot be followed; ALTER TABLE {table} "
                "SET LOGGED, or migrate without --follow"
            )
        if generated:
            raise HelpersError(
                f"{where}: {table} has a generated column, which is not told; migrate without --follow"
            )
    lacking = [table for table, (_, identity, *_) in kinds.items() if identity != "f"]
    if lacking:
        remedy = "; ".join(f"ALTER TABLE {table} REPLICA IDENTITY FULL" for table in lacking)
        raise HelpersError(
            f"{where}: {text.join(lacking)} would not tell the old values of a changed row; `{remedy}`, then "
            "the same command (or migrate without --follow)"
        )


def _check_rights(source: Source, where: str, user: str) -> None:
    name = publication.name_of(source.identity)
    ((replicates, creates, owns, database),) = source.ask(
        "SELECT rolsuper OR rolreplication, has_database_privilege(current_database(), 'CREATE'), "
        "(SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = ANY "
        "(SELECT to_regclass(t) FROM unnest(%s) t)), quote_ident(current_database()) "
        "FROM pg_roles WHERE rolname = current_user",
        (list(TABLES),),
    )
    found = publication.find(source.ask, name)
    if found is None and not (creates and owns):
        raise HelpersError(
            f"{where}: user {user} may not publish the tables; let their owner, with CREATE on database "
            f"{database}, run `CREATE PUBLICATION {name} FOR TABLE {', '.join(TABLES)}`, then the same "
            "command"
        )
    if found is not None:
        publication.require_complete(found, name, where)
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


def _check_scores(source: Source, where: str) -> None:
    """Beyond 2255 two dates may share a score; whether a row is held then depends on its neighbours."""
    inexact: list[str] = []

    def look(line: bytes) -> None:
        _, (moment,) = copytext.dates(copytext.columns(line, 2)[1])
        if int(float(moment)) != int(moment):
            inexact.append(line.split(b"\t")[0].decode())

    source.stream(
        f"SELECT activity_id, activity_date FROM activities WHERE {KEPT['activities']} AND "
        f"({FAR_DATES}) AND date_trunc('second', activity_date) <> "
        "activity_date ORDER BY activity_id",
        look,
    )
    if inexact:
        raise HelpersError(f"{where}: {model.inexact_date(inexact[0])}")
