"""The tables of a model as they are in the source; those that it cannot be of are refused by name."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from helpers.errors import HelpersError
from helpers.model import Column, Model, Table, format_of, parse_name, quoted, write_name
from helpers.text import one_line

Ask = Callable[[str, Any], list[tuple[Any, ...]]]
"""Runs a query with values, gives its rows."""

RELKINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a composite type",
    "t": "a TOAST table",
}
SHORT = 10_000
"""A column whose values cannot take more bytes than this is bounded."""
_RELATIONS = """
SELECT place, c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
       ARRAY(SELECT inhrelid::int8 FROM pg_inherits WHERE inhparent = c.oid AND c.relkind = 'r')
FROM unnest(%s::int4[], %s::text[], %s::text[]) given (place, schema, name)
LEFT JOIN pg_class c ON c.oid = CASE WHEN schema IS NULL OR EXISTS (
  SELECT FROM pg_namespace s WHERE nspname = schema AND has_schema_privilege(s.oid, 'USAGE')
) THEN to_regclass(name) END
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY place"""
_COLUMNS = """
SELECT attrelid::int8, attname::text, format_type(atttypid, atttypmod), typname::text,
       t.typnamespace = 'pg_catalog'::regnamespace, NOT attnotnull, attgenerated <> '',
       CASE WHEN typlen > 0 OR typtype = 'e' OR typname IN ('numeric', 'inet', 'cidr') THEN 0
            WHEN typname IN ('bpchar', 'varchar') AND atttypmod > 4 THEN 4 * (atttypmod - 4) END
FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"""
_KEYS = """
SELECT indrelid::int8,
       ARRAY(SELECT attname::text FROM unnest(indkey::int2[]) WITH ORDINALITY u (number, place)
             JOIN pg_attribute ON attrelid = indrelid AND attnum = number
             WHERE place <= indnkeyatts ORDER BY place)
FROM pg_index x WHERE indrelid = ANY(%s) AND indisunique AND indisvalid
  AND indpred IS NULL AND indexprs IS NULL
  AND NOT EXISTS (SELECT FROM unnest(indkey::int2[]) WITH ORDINALITY u (number, place)
                  JOIN pg_attribute ON attrelid = indrelid AND attnum = number
                  WHERE place <= indnkeyatts AND NOT attnotnull)
ORDER BY indrelid, NOT indisprimary, indnkeyatts, indexrelid"""


def bind(ask: Ask, where: str, model: Model) -> dict[str, Table]:
    """The tables of a model, by what the model says of them.

    Args:
        ask: runs a query.
        where: the server, for messages.
        model: the model.

    Raises:
        HelpersError: a table is not there, or is none that promises that no key comes twice.
    """
    said = list(dict.fromkeys(key.table for key in model.keys))
    names: dict[str, tuple[str | None, str]] = {}
    for one in said:
        try:
            names[one] = parse_name(one)
        except ValueError as error:
            raise HelpersError(f"{model.where}: {_key_of(model, one)}: table {error}") from error
    found = dict(zip(said, look(ask, [names[one] for one in said]), strict=True))
    missing = [one for one in said if found[one][0] is None]
    if missing:
        schemas = ", ".join(ask("SELECT current_schemas(false)", None)[0][0]) or "no schema"
        course = (
            ""
            if model.where != "the course's model"
            else (", or make the course's tables with `python -m helpers populate`")
        )
        raise HelpersError(
            f"{where}: no table {one_line(', '.join(missing))} where this user looks ({schemas}); check "
            f"search_path and USAGE on the schema{course or f', or the names in {model.where}'}"
        )
    inherited = {oid: children for oid, _, _, _, children in found.values() if children}
    for one, (oid, _, _, kind, _) in found.items():
        if kind not in ("r", "p"):
            raise HelpersError(
                f"{where}: {one_line(one)} is {RELKINDS.get(kind, kind)}, which promises no unique key; "
                "copy it into a table with a primary key"
            )
        left = set(inherited.get(oid, ())) - {other for other, *_ in found.values()}
        if left:
            ((child,),) = ask("SELECT %s::int8::oid::regclass::text", (min(left),))
            raise HelpersError(
                f"{where}: other tables inherit from {one_line(one)}, so a key may come twice; let the model "
                f"have them too ({one_line(child)} is not in it), or copy the rows into one table"
            )
    described = describe(ask, [oid for oid, *_ in found.values()])
    tables: dict[str, Table] = {}
    by_oid: dict[int, Table] = {}
    for one, (oid, schema, relation, _, _) in found.items():
        if oid not in by_oid:
            columns, keys = described[oid]
            name = write_name(*names[one])
            by_oid[oid] = Table(name, schema, relation, columns, keys, only=oid in inherited)
        tables[one] = by_oid[oid]
    return tables


def look(ask: Ask, names: Sequence[tuple[str | None, str]]) -> list[tuple[Any, ...]]:
    """(number in the catalogue, schema, name, kind, numbers of its heirs) of each relation, None for none.

    Args:
        ask: runs a query.
        names: schema, if one is said, and name of each.
    """
    whole = [".".join(quoted(part) for part in name if part is not None) for name in names]
    places = list(range(len(names)))
    return [row[1:] for row in ask(_RELATIONS, (places, [schema for schema, _ in names], whole))]


def describe(
    ask: Ask, oids: Collection[int]
) -> Mapping[int, tuple[tuple[Column, ...], tuple[tuple[str, ...], ...]]]:
    """(columns, unique keys over NOT NULL columns) of some tables, by their number in the catalogue.

    Args:
        ask: runs a query.
        oids: of the tables.
    """
    ((looks,),) = ask("SELECT current_setting('search_path')", None)
    ask("SELECT set_config('search_path', 'pg_catalog', false)", None)  # so that types have their schema
    columns: dict[int, list[Column]] = defaultdict(list)
    for oid, name, type_, typname, builtin, nullable, generated, size in ask(_COLUMNS, (list(oids),)):
        bounded = size is not None and size <= SHORT
        columns[oid].append(
            Column(name, type_, format_of(typname, builtin=builtin), nullable, generated, bounded)
        )
    ask("SELECT set_config('search_path', %s, false)", (looks,))
    keys: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for oid, key in ask(_KEYS, (list(oids),)):
        if tuple(key) not in keys[oid]:
            keys[oid].append(tuple(key))
    return {oid: (tuple(columns[oid]), tuple(keys[oid])) for oid in oids}


def _key_of(model: Model, table: str) -> str:
    """The first key that names a table, for messages."""
    return next(f"key {key.name!r}" for key in model.keys if key.table == table)
