"""What of the source is told to who follows: the publication of a plan's tables, and what they are like.

Of a partitioned table its leaves are told, each as a table of its own: so it is known what happens to a
single one. Rows that a leaf brings with it or takes away (ATTACH, DETACH) are told of by nobody; that it came
or went is seen in the catalogue.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import errors

from helpers import text
from helpers.errors import HelpersError, first_line
from helpers.model import Plan, Table, load, order_within
from helpers.source.tables import Ask
from helpers.source.upstream import Upstream

NAME_START = "helpers_follow_"
"""What the names of publications and slots begin with."""
GENERATED_SINCE = 18_00_00
"""The version of the server that can tell generated columns which it stores."""
AGAIN = "run `migrate --follow` again, which compares all rows"
_OIDS = "SELECT given, to_regclass(given)::oid::int8 FROM unnest(%s::text[]) given"
_TREE = """
WITH RECURSIVE tree AS (
  SELECT p.oid AS root, i.inhrelid AS oid, i.xmin::text AS made
  FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid WHERE p.oid = ANY(%s::oid[]) AND p.relkind = 'p'
  UNION ALL SELECT root, i.inhrelid, i.xmin::text FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
SELECT root::int8, tree.oid::int8, made, c.relkind::text, format('%%I.%%I', n.nspname, c.relname),
       c.relpersistence::text, c.relreplident::text
FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 2"""
_COLUMNS = """
SELECT attrelid::int8, attname::text, atttypid::int8, atttypmod, attgenerated::text FROM pg_attribute
WHERE attrelid = ANY(%s::oid[]) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"""
_KEYS = """
SELECT indrelid::int8, indimmediate,
       ARRAY(SELECT attname::text FROM unnest(indkey::int2[]) WITH ORDINALITY u (number, place)
             JOIN pg_attribute ON attrelid = indrelid AND attnum = number
             WHERE place <= indnkeyatts ORDER BY place)
FROM pg_index WHERE indrelid = ANY(%s::oid[]) AND indisunique AND indisvalid
  AND indpred IS NULL AND indexprs IS NULL
ORDER BY indrelid, indexrelid"""
_COLLATIONS = """
SELECT attname::text, format('%%I.%%I', nspname, collname) FROM pg_attribute
JOIN pg_collation l ON l.oid = attcollation JOIN pg_namespace n ON n.oid = collnamespace
WHERE attrelid = %s::oid AND attname = ANY(%s::text[])"""
_LABELS = """
WITH RECURSIVE used AS (
  SELECT attrelid AS root, atttypid AS type FROM pg_attribute
  WHERE attrelid = ANY(%s::oid[]) AND attnum > 0 AND NOT attisdropped
  UNION SELECT root, part FROM used JOIN pg_type t ON t.oid = type CROSS JOIN LATERAL (
    SELECT typelem UNION ALL SELECT typbasetype
    UNION ALL SELECT rngsubtype FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)
    UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0) parts (part)
  WHERE part <> 0)
SELECT root::int8, e.oid::int8, enumlabel::text FROM used JOIN pg_enum e ON enumtypid = type ORDER BY 1, 2"""
_LABELS_13 = _LABELS.replace("t.oid IN (rngtypid, rngmultitypid)", "t.oid = rngtypid")  # without multiranges


@dataclass(frozen=True)
class Leaf:
    """A partition of a table, or one of its partitions' partitions.

    Attributes:
        oid: its number in the catalogue.
        made: changes when it is attached anew.
        kind: as in ``pg_class.relkind``; one that is partitioned itself has no rows.
        name: as a statement names it.
        persistence: as in ``pg_class.relpersistence``.
        identity: as in ``pg_class.relreplident``.
    """

    oid: int
    made: str
    kind: str
    name: str
    persistence: str
    identity: str

    @property
    def holds(self) -> bool:
        """Whether rows are in it."""
        return self.kind != "p"


def name_of(plan: Plan) -> str:
    """The name of the publication of a plan's tables."""
    names = sorted((table.schema, table.relation) for table in plan.tables.values())
    schemas = sorted({schema for schema, _ in names})
    course = sorted({key.table for key in load().keys})
    # As the version before named it, so that a slot of it is found.
    said = schemas[0] if [(schemas[0], one) for one in course] == names else json.dumps(names)
    return NAME_START + hashlib.sha256(said.encode()).hexdigest()[:8]


def statement(ask: Ask, plan: Plan) -> str:
    """What makes the publication.

    Where generated columns can be told they are: a table that tells its old rows as a whole must tell them
    too, or could not be changed any more.

    Args:
        ask: runs a query.
        plan: of the tables.
    """
    tables = ", ".join(f"ONLY {table.sql_name}" for table in plan.tables.values())
    more = " WITH (publish_generated_columns = stored)" if version(ask) >= GENERATED_SINCE else ""
    return f"CREATE PUBLICATION {name_of(plan)} FOR TABLE {tables}{more}"


def version(ask: Ask) -> int:
    """The version of the server, such as 180006."""
    return int(ask("SELECT current_setting('server_version_num')::int", None)[0][0])


def used(plan: Plan, table: Table) -> list[str]:
    """The columns of a table that following has to know: of its keys in Redis, and its unique key."""
    kinds = plan.kinds_of(table.name)
    found = {*table.key, *(name for kind in kinds for name in (*kind.holds, *kind.needs))}
    return [column.name for column in table.columns if column.name in found]


def oids(ask: Ask, plan: Plan) -> dict[str, int | None]:
    """The number in the catalogue of each of a plan's tables; None of one that is gone."""
    names = [table.sql_name for table in plan.tables.values()]
    found: dict[str, int | None] = {name: oid for name, oid in ask(_OIDS, (names,))}  # noqa: C416
    return {name: found[table.sql_name] for name, table in plan.tables.items()}


def leaves(ask: Ask, plan: Plan) -> dict[str, list[Leaf]]:
    """The partitions, on all levels, of each of a plan's tables that is partitioned.

    Args:
        ask: runs a query.
        plan: of the tables.
    """
    of = {oid: name for name, oid in oids(ask, plan).items() if oid is not None}
    partitioned = ask(
        "SELECT oid::int8 FROM pg_class WHERE oid = ANY(%s::oid[]) AND relkind = 'p'", (list(of),)
    )
    found: dict[str, list[Leaf]] = {of[oid]: [] for (oid,) in partitioned}
    for root, *leaf in ask(_TREE, (list(of),)) if partitioned else ():
        found[of[root]].append(Leaf(*leaf))
    return found


def find(ask: Ask, plan: Plan) -> bool | None:
    """Whether the publication tells every change of a plan's tables; None where there is none of its name.

    Args:
        ask: runs a query.
        plan: of the tables.
    """
    found = ask(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT EXISTS (SELECT FROM "
        "pg_publication_rel r WHERE prpubid = p.oid AND (to_jsonb(r)->>'prqual' IS NOT NULL OR "
        "to_jsonb(r)->>'prattrs' IS NOT NULL)), to_jsonb(p)->>'pubgencols' = 's', "
        "ARRAY(SELECT relid::oid::int8 FROM pg_get_publication_tables(p.pubname)) "
        "FROM pg_publication p WHERE pubname = %s",
        (name_of(plan),),
    )
    if not found:
        return None
    ((whole, tells_generated, told),) = found
    below = leaves(ask, plan)
    wanted = {oid for name, oid in oids(ask, plan).items() if name not in below}
    wanted |= {leaf.oid for some in below.values() for leaf in some if leaf.holds}
    computed = any(column.generated for table in plan.tables.values() for column in table.columns)
    lacks = computed and version(ask) >= GENERATED_SINCE and not tells_generated
    return bool(whole) and not lacks and wanted <= set(told)


def require_complete(found: bool | None, plan: Plan, where: str) -> None:
    """Stop when a publication is there and leaves out a change or a table.

    Args:
        found: as ``find`` gives it.
        plan: of the tables.
        where: the server, for messages.

    Raises:
        HelpersError: it does.
    """
    if found is False:
        name = name_of(plan)
        raise HelpersError(
            f"{where}: publication {name} does not tell every change of {text.join(list(plan.tables))}; "
            f"`DROP PUBLICATION {name}`, then `migrate --follow`"
        )


def publish(upstream: Upstream, plan: Plan) -> None:
    """Make the publication when it is missing; a slot tells only what was published before it was made.

    Args:
        upstream: the source.
        plan: of the tables.

    Raises:
        HelpersError: it cannot be made, or is there and leaves something out.
    """
    try:
        found = find(upstream.ask, plan)
        if found is None:
            with contextlib.suppress(errors.DuplicateObject):
                upstream.ask(statement(upstream.ask, plan))
        else:
            require_complete(found, plan, upstream.where)
    except psycopg2.Error as error:
        raise HelpersError(f"{upstream.where}: publication {name_of(plan)}: {first_line(error)}") from error


def seen(ask: Ask, plan: Plan) -> dict[str, dict[str, Any]]:
    """A plan's tables as they are, as JSON can hold them.

    Args:
        ask: runs a query.
        plan: of the tables.

    Returns:
        Of each table ``oid``; ``columns`` as lists of name, number of the type, its modifier; ``generated``,
        the same of columns that are computed; ``keys``, unique indexes as lists of columns, with whether each
        holds at every moment; ``labels``, what values of enums are called, by their number; ``collations`` of
        the texts that order lists, by column, where there are any; ``leaves`` where
        it is partitioned, of each ``oid``, ``name``, ``made``, ``holds``, ``columns`` and ``generated``.
    """
    below, of = leaves(ask, plan), oids(ask, plan)
    roots = [oid for oid in of.values() if oid is not None]
    all_ = [*roots, *(leaf.oid for some in below.values() for leaf in some)]
    columns: dict[int, dict[str, Any]] = {oid: {"columns": [], "generated": []} for oid in all_}
    for oid, name, type_, modifier, how in ask(_COLUMNS, (all_,)):
        columns[oid]["generated" if how else "columns"].append([name, type_, modifier])
    keys: dict[int, list[list[Any]]] = {oid: [] for oid in roots}
    for oid, immediate, key in ask(_KEYS, (roots,)):
        keys[oid].append([key, immediate])
    labels: dict[int, dict[str, str]] = {oid: {} for oid in roots}
    for oid, number, label in ask(_LABELS if version(ask) >= 14_00_00 else _LABELS_13, (roots,)):
        labels[oid][str(number)] = label
    found: dict[str, dict[str, Any]] = {}
    for name, oid in of.items():
        if oid is None:
            continue
        found[name] = {"oid": oid, **columns[oid], "keys": keys[oid], "labels": labels[oid]}
        if ordered := _collations(ask, plan, name, oid):
            found[name]["collations"] = ordered
        if name in below:
            found[name]["leaves"] = [
                {
                    "oid": leaf.oid,
                    "name": leaf.name,
                    "made": leaf.made,
                    "holds": leaf.holds,
                    **columns[leaf.oid],
                }
                for leaf in below[name]
            ]
    return found


def _collations(ask: Ask, plan: Plan, table: str, oid: int) -> dict[str, str]:
    """The collations of the columns of a table that order lists, as SQL; of those that have one.

    Args:
        ask: runs a query.
        plan: of the tables.
        table: its name.
        oid: its number in the catalogue.
    """
    names = {name for kind in plan.kinds_of(table) if kind.type == "list" for name in order_within(kind)}
    return dict(ask(_COLLATIONS, (oid, sorted(names)))) if names else {}


def check(upstream: Upstream, plan: Plan, before: Mapping[str, Any]) -> None:
    """Stop when a table, or what is published of it, is not what it was when the slot was made.

    Args:
        upstream: the source.
        plan: of the tables.
        before: what ``seen`` gave then; the version before gave less.

    Raises:
        HelpersError: it is not; the message says what to do.
    """
    where, now = upstream.where, seen(upstream.ask, plan)
    remedy = "`follow --drop-slot`, then `migrate --follow`"
    for name in plan.tables:
        if name not in now:
            raise HelpersError(f"{where}: table {name} is gone; {remedy}")
        check_leaves(name, before[name].get("leaves"), now[name].get("leaves"), where)
    found = find(upstream.ask, plan)
    if found is None:
        raise HelpersError(f"{where}: publication {name_of(plan)} is gone; {remedy}")
    require_complete(found, plan, where)
    for name, table in plan.tables.items():
        then = before[name]
        same = ("oid", "columns", *(("generated",) if "generated" in then else ()))
        if any(then[what] != now[name][what] for what in same):
            raise HelpersError(f"{where}: {alteration(table, then, now[name])}")
        for number, label in then.get("labels", {}).items():
            if now[name]["labels"].get(number) != label:
                raise HelpersError(
                    f"{where}: value {label!r} of an enum in {name} was renamed since the migration, and "
                    f"rows that have it are not told; {AGAIN}"
                )
        for column, collation in then.get("collations", {}).items():
            if now[name].get("collations", {}).get(column) != collation:
                raise HelpersError(
                    f"{where}: column {column} of {name} had the collation {collation} since the migration, "
                    f"and another order puts lists otherwise; {AGAIN}"
                )
        lost = [key for key, _ in then.get("keys", ()) if key not in [one for one, _ in now[name]["keys"]]]
        if lost and not all(_unique(kind, now[name]["keys"]) for kind in plan.kinds_of(name)):
            raise HelpersError(
                f"{where}: {name} has no unique key ({', '.join(lost[0])}) any more, so that its rows may "
                f"fall together; make it anew, then {AGAIN}"
            )


def _unique(kind: Any, keys: list[Any], *, always: bool = False) -> bool:
    """Whether the rows of a kind are told apart by one of some keys, at every moment or at each commit."""
    value = kind.value.columns if kind.value and not kind.single else ()
    told = {*kind.owner, *value, *(kind.order if kind.type == "list" else ())}
    return any(set(key) <= told and (immediate or not always) for key, immediate in keys)


def deferrable(plan: Plan, before: Mapping[str, Any]) -> set[str]:
    """The tables of which two rows may share a key of Redis within a transaction.

    Args:
        plan: of the tables.
        before: what ``seen`` gave of them.
    """
    return {
        name
        for name in plan.tables
        if "keys" in before[name]
        and not all(_unique(kind, before[name]["keys"], always=True) for kind in plan.kinds_of(name))
    }


def check_leaves(table: str, before: Any, now: Any, where: str) -> None:
    """Stop when a table has other partitions than it had.

    Args:
        table: its name.
        before: its ``leaves`` then; None where it was not partitioned.
        now: its ``leaves`` now.
        where: the server, for messages.

    Raises:
        HelpersError: it has; it names them.
    """
    then, since = (
        {(leaf["oid"], leaf["made"]): leaf["name"] for leaf in some or ()} for some in (before, now)
    )
    if then.keys() == since.keys():
        return
    came = [name for key, name in since.items() if key not in then]
    went = [name for key, name in then.items() if key not in since]
    what = [f"{text.join(came)} came to {table}"] if came else []
    what += [f"{text.join(went)} went from {table}"] if went else []
    raise HelpersError(
        f"{where}: {text.join(what)} as a partition since the migration, and which rows it had with it is "
        f"not told; {AGAIN}"
    )


def alteration(table: Table, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What to say of a table that is not what it was.

    Args:
        table: the table.
        then: what ``seen`` gave of it when the slot was made.
        now: the same now; ``columns`` at least.
    """
    before, after = (
        {c[0]: list(c) for c in (*some["columns"], *some.get("generated", ()))} for some in (then, now)
    )
    differ = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    more = sorted(set(after) - set(table.places))
    name = table.name
    what = f"{name} was altered ({', '.join(differ)})" if differ else f"{name} was made anew or reordered"
    undo = f"drop {', '.join(more)} or rename it back unless it may be there, and " if more else ""
    return f"{what} since the migration; nothing was applied from there on; {undo}{AGAIN}"
