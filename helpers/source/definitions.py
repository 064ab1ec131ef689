"""Definitions of tables: all that PostgreSQL needs to be told to make them again, and no row of theirs.

They are read from the catalogue with few questions, whatever the number of tables, and JSON can hold them.
Expressions stand in them as PostgreSQL writes them under a search path of ``pg_catalog`` alone: every name of
the user's own has its schema. So nothing in them can mean another object than it did, and where a table, an
index or a sequence is spoken of, its name can be put in another schema's.

Triggers, rules and policies are not among them, but named; nor are rights, owners and tablespaces.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from helpers.model import Table

Ask = Callable[[str, Any], list[tuple[Any, ...]]]
"""Runs a query with values, gives its rows."""

_RELATIONS = """
WITH RECURSIVE tree (oid, said) AS (
    SELECT c.oid, given.said FROM unnest(%s::text[], %s::text[], %s::text[]) given (schema, relation, said)
    JOIN pg_namespace n ON nspname = schema JOIN pg_class c ON relnamespace = n.oid AND relname = relation
    UNION ALL
    SELECT inhrelid, NULL FROM tree JOIN pg_class p USING (oid) JOIN pg_inherits ON inhparent = oid
    WHERE p.relkind = 'p')
SELECT c.oid::int8, nspname::text, relname::text, relkind::text, relpersistence = 'u',
       coalesce(reloptions, '{}'), pg_get_partkeydef(c.oid), pg_get_expr(relpartbound, c.oid),
       obj_description(c.oid, 'pg_class'), max(said),
       ARRAY(SELECT inhparent::int8 FROM pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno),
       ARRAY(SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno)
FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = relnamespace
GROUP BY c.oid, nspname ORDER BY c.oid"""
_COLUMNS = """
SELECT attrelid::int8, attname::text, format_type(atttypid, atttypmod),
       (SELECT format('%%I.%%I', nspname, collname) FROM pg_collation l
        JOIN pg_namespace n ON n.oid = collnamespace
        WHERE l.oid = attcollation AND attcollation <> typcollation),
       attnotnull, CASE WHEN attgenerated = '' THEN pg_get_expr(adbin, adrelid) END,
       CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END,
       attgenerated = 's', attidentity::text, attislocal, col_description(attrelid, attnum)
FROM pg_attribute JOIN pg_type t ON t.oid = atttypid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"""
_CONSTRAINTS = """
SELECT conrelid::int8, contype::text, conname::text, pg_get_constraintdef(k.oid), convalidated,
       CASE WHEN confrelid <> 0 THEN confrelid::int8 END,
       (SELECT format('%%I.%%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE c.oid = confrelid),
       CASE WHEN contype = 'n' THEN (SELECT attname::text FROM pg_attribute
                                     WHERE attrelid = conrelid AND attnum = conkey[1]) END,
       obj_description(k.oid, 'pg_constraint')
FROM pg_constraint k WHERE conrelid = ANY(%s)
  AND (contype IN ('p', 'u', 'x', 'n') OR contype = 'c' AND conislocal OR contype = 'f' AND conparentid = 0)
ORDER BY conrelid, conname"""
_INDEXES = """
SELECT indrelid::int8, i.relname::text, indisunique, pg_get_indexdef(indexrelid),
       format('CREATE %%sINDEX %%I ON %%s%%I.%%I ', CASE WHEN indisunique THEN 'UNIQUE ' ELSE '' END,
              i.relname, CASE WHEN c.relkind = 'p' THEN 'ONLY ' ELSE '' END, nspname, c.relname),
       obj_description(indexrelid, 'pg_class'), indisvalid
FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class c ON c.oid = indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE indrelid = ANY(%s)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
ORDER BY indrelid, i.relname"""
_SEQUENCES = """
WITH used (oid, relation, attnum, kind) AS (
    SELECT objid, refobjid, refobjsubid, deptype FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND refobjid = ANY(%(oids)s)
      AND refobjsubid > 0 AND deptype IN ('a', 'i')
    UNION ALL
    SELECT refobjid, NULL, NULL, NULL FROM pg_attrdef a
    JOIN pg_depend ON classid = 'pg_attrdef'::regclass AND objid = a.oid AND refclassid = 'pg_class'::regclass
    WHERE adrelid = ANY(%(oids)s))
SELECT DISTINCT ON (c.oid) nspname::text, relname::text, format('%%I.%%I', nspname, relname),
       quote_literal(format('%%I.%%I', nspname, relname)) || '::regclass', seqtypid::regtype::text, seqstart,
       seqincrement, seqmin, seqmax, seqcache, seqcycle,
       has_sequence_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
       relation::int8, (SELECT attname::text FROM pg_attribute a
                        WHERE attrelid = relation AND a.attnum = used.attnum), kind::text
FROM used JOIN pg_class c ON c.oid = used.oid AND relkind = 'S' JOIN pg_namespace n ON n.oid = relnamespace
JOIN pg_sequence ON seqrelid = c.oid ORDER BY c.oid, relation"""
_TERMS = ("type", "start", "increment", "least", "most", "cache", "cycle")
"""Attributes of a sequence's definition, as the fifth to eleventh column above gives them."""
_NEEDS = """
WITH parts (classid, objid, relation) AS (
    SELECT 'pg_class'::regclass, oid, oid FROM pg_class WHERE oid = ANY(%(oids)s)
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef WHERE adrelid = ANY(%(oids)s)
    UNION ALL
    SELECT 'pg_constraint'::regclass, oid, conrelid FROM pg_constraint WHERE conrelid = ANY(%(oids)s)
    UNION ALL
    SELECT 'pg_class'::regclass, indexrelid, indrelid FROM pg_index WHERE indrelid = ANY(%(oids)s))
SELECT DISTINCT ON (type, object_names, object_args) type, object_names, object_args,
       (pg_identify_object(refclassid, refobjid, 0)).identity, relation::int8
FROM parts JOIN pg_depend USING (classid, objid)
CROSS JOIN LATERAL pg_identify_object_as_address(refclassid, refobjid, 0) address
WHERE refclassid IN ('pg_type'::regclass, 'pg_proc'::regclass, 'pg_operator'::regclass,
                     'pg_collation'::regclass, 'pg_opclass'::regclass)
ORDER BY type, object_names, object_args, relation"""

_APART = """
SELECT tgrelid::int8, 'trigger', tgname::text FROM pg_trigger
WHERE tgrelid = ANY(%(oids)s) AND NOT tgisinternal AND tgparentid = 0
UNION ALL SELECT ev_class::int8, 'rule', rulename::text FROM pg_rewrite WHERE ev_class = ANY(%(oids)s)
UNION ALL SELECT polrelid::int8, 'policy', polname::text FROM pg_policy WHERE polrelid = ANY(%(oids)s)
ORDER BY 1, 2, 3"""


@dataclass(frozen=True)
class ColumnDefinition:
    """A column.

    Attributes:
        name: without quotes.
        type: as ``format_type`` gives it, with its schema unless that is ``pg_catalog``.
        collation: where it is not the type's own, as SQL; else None.
        not_null: the name of that constraint; empty where it has none, None where it may be NULL.
        no_inherit: that constraint is not for the tables that inherit.
        default: as SQL; None without one.
        generated: how PostgreSQL computes it, as SQL; None where it does not.
        stored: whether what it computes is kept.
        identity: ``a`` always, ``d`` by default, empty where it is none.
        local: it is this table's own, not only inherited.
        comment: None without one.
    """

    name: str
    type: str
    collation: str | None = None
    not_null: str | None = None
    no_inherit: bool = False
    default: str | None = None
    generated: str | None = None
    stored: bool = False
    identity: str = ""
    local: bool = True
    comment: str | None = None


@dataclass(frozen=True)
class Relation:
    """A table, a partitioned one, or a partition.

    Attributes:
        schema: its schema, without quotes.
        name: its name there, without quotes.
        table: what the model calls it; None where it is but a partition of such a one.
        columns: in their order.
        unlogged: whether it is.
        options: as in ``WITH (...)``: ``fillfactor=70``.
        parents: places of those that it is a partition of or inherits from.
        key: by which it is partitioned, as in ``PARTITION BY``; None where it is not.
        bound: of a partition: ``FOR VALUES ...`` or ``DEFAULT``; else None.
        comment: None without one.
    """

    schema: str
    name: str
    table: str | None
    columns: tuple[ColumnDefinition, ...]
    unlogged: bool = False
    options: tuple[str, ...] = ()
    parents: tuple[int, ...] = ()
    key: str | None = None
    bound: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class SequenceDefinition:
    """A sequence that a column owns or takes its default from.

    Attributes:
        schema: its schema, without quotes.
        name: its name there, without quotes.
        said: how a default speaks of it: ``'app.t_id_seq'::regclass``.
        type: ``integer``, ``bigint`` or ``smallint``.
        start: its first value; ``increment``, ``least``, ``most``, ``cache`` and ``cycle`` are as CREATE
            SEQUENCE takes them.
        last: its last value; None where this user may not read it.
        called: whether that value was given out.
        relation: place of the table whose column owns it; None where none does.
        column: that column.
        identity: it is an identity's.
    """

    schema: str
    name: str
    said: str
    type: str
    start: int
    increment: int
    least: int
    most: int
    cache: int
    cycle: bool
    last: int | None = None
    called: bool = False
    relation: int | None = None
    column: str | None = None
    identity: bool = False


@dataclass(frozen=True)
class Constraint:
    """A constraint that is added to a table.

    Attributes:
        relation: the table's place.
        name: without quotes.
        kind: as ``pg_constraint.contype``: p, u, x, c, f, or n for a NOT NULL that old rows need not hold.
        definition: as SQL; of a foreign key what stands before ``REFERENCES``.
        refers: of a foreign key, the place of the table that it refers to.
        end: of a foreign key what stands behind that table's name.
        comment: None without one.
    """

    relation: int
    name: str
    kind: str
    definition: str
    refers: int | None = None
    end: str = ""
    comment: str | None = None


@dataclass(frozen=True)
class Index:
    """An index that is no constraint's.

    Attributes:
        relation: the table's place.
        name: without quotes.
        unique: whether it is.
        definition: what stands behind the table's name: ``USING btree (a) WHERE b``.
        comment: None without one.
    """

    relation: int
    name: str
    unique: bool
    definition: str
    comment: str | None = None


@dataclass(frozen=True)
class Need:
    """Something of the user's own, or of an extension, that a definition speaks of.

    Attributes:
        kind: as ``pg_identify_object`` names it: ``type``, ``function``, ``operator``, ...
        names: where it is, as ``pg_get_object_address`` takes it.
        arguments: of a function or operator.
        said: what it is, as SQL.
        table: one that needs it, for messages.
    """

    kind: str
    names: tuple[str, ...]
    arguments: tuple[str, ...]
    said: str
    table: str


@dataclass(frozen=True)
class Definitions:
    """How some tables are made.

    Attributes:
        relations: parents before what inherits from them, or is a partition of them.
        sequences: theirs.
        constraints: beside NOT NULL, which is the columns'.
        indexes: without those of constraints.
        needs: what must be there before.
        left_out: what cannot be made again, one line each.
        apart: triggers, rules and policies, which are not made again, by name.
    """

    relations: tuple[Relation, ...]
    sequences: tuple[SequenceDefinition, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[Index, ...] = ()
    needs: tuple[Need, ...] = ()
    left_out: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    def record(self) -> str:
        """The same as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def recorded(cls, text: str) -> "Definitions":
        """The definitions that ``record`` gave."""
        found = json.loads(text)
        return cls(
            tuple(
                Relation(**{**_tuples(one), "columns": tuple(ColumnDefinition(**c) for c in one["columns"])})
                for one in found["relations"]
            ),
            tuple(SequenceDefinition(**one) for one in found["sequences"]),
            tuple(Constraint(**one) for one in found["constraints"]),
            tuple(Index(**one) for one in found["indexes"]),
            tuple(Need(**_tuples(one)) for one in found["needs"]),
            tuple(found["left_out"]),
            tuple(found["apart"]),
        )


def read(ask: Ask, tables: Iterable[Table]) -> Definitions:
    """The definitions of some tables, with their partitions and sequences.

    Args:
        ask: runs a query; its session's search path becomes ``pg_catalog``.
        tables: these; of one that is there twice, the first.
    """
    ask("SELECT set_config('search_path', 'pg_catalog', false)", None)
    given = {(one.schema, one.relation): one.name for one in reversed(list(tables))}
    schemas, names = [schema for schema, _ in given], [name for _, name in given]
    found = _parents_first(ask(_RELATIONS, (schemas, names, list(given.values()))))
    places = {row[0]: place for place, row in enumerate(found)}
    oids = list(places)
    left_out: list[str] = []
    constraints = ask(_CONSTRAINTS, (oids,))
    columns = _columns(ask(_COLUMNS, (oids,)), constraints)
    relations = []
    for oid, schema, name, kind, unlogged, options, key, bound, comment, table, parents, said in found:
        here = f"{schema}.{name}" if table is None else table
        for parent, parents_name in zip(parents, said, strict=True):
            if parent not in places:
                what = "is a partition of" if bound else "inherits from"
                left_out.append(
                    f"{here} {what} {parents_name}, which the model has not: it is a table of its own"
                )
        if kind == "f":
            left_out.append(f"{here} is a foreign table: it is a table of its own")
        relations.append(
            Relation(
                schema,
                name,
                table,
                tuple(columns[oid]),
                unlogged,
                tuple(options) if kind == "r" else (),
                tuple(places[parent] for parent in parents if parent in places),
                key,
                bound if parents and parents[0] in places else None,
                comment,
            )
        )
    return Definitions(
        tuple(relations),
        tuple(_sequences(ask, oids, places)),
        tuple(_constraints(constraints, places, relations, left_out)),
        tuple(_indexes(ask(_INDEXES, (oids,)), places, relations, left_out)),
        tuple(
            Need(kind, tuple(names), tuple(arguments), said, _called(relations[places[relation]]))
            for kind, names, arguments, said, relation in ask(_NEEDS, {"oids": oids})
        ),
        tuple(left_out),
        tuple(
            f"{what} {name} of {_called(relations[places[oid]])}"
            for oid, what, name in ask(_APART, {"oids": oids})
        ),
    )


def _parents_first(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Relations in an order in which none stands before what it inherits from."""
    waiting = {row[0]: row for row in found}
    ordered: list[tuple[Any, ...]] = []
    while waiting:
        ready = [row for row in waiting.values() if not any(parent in waiting for parent in row[10])]
        ordered += ready
        for row in ready:
            del waiting[row[0]]
    return ordered


def _columns(
    found: list[tuple[Any, ...]], constraints: list[tuple[Any, ...]]
) -> dict[int, list[ColumnDefinition]]:
    """The columns of each relation, by its number in the catalogue."""
    not_null = {
        (relation, column): (name, definition.endswith(" NO INHERIT") and validated, validated)
        for relation, kind, name, definition, validated, _, _, column, _ in constraints
        if kind == "n"
    }
    columns: dict[int, list[ColumnDefinition]] = defaultdict(list)
    for oid, name, type_, collation, needed, default, generated, stored, identity, local, comment in found:
        constraint, no_inherit, validated = not_null.get((oid, name), ("", False, True))
        columns[oid].append(
            ColumnDefinition(
                name,
                type_,
                collation,
                constraint if needed and validated else None,
                no_inherit,
                default,
                generated,
                stored,
                identity,
                local,
                comment,
            )
        )
    return columns


def _constraints(
    found: list[tuple[Any, ...]], places: dict[int, int], relations: Sequence[Relation], left_out: list[str]
) -> Iterable[Constraint]:
    for oid, kind, name, definition, validated, refers, said, _, comment in found:
        if kind == "n" and validated:
            continue
        begin, end = definition, ""
        if kind == "f":
            begin, there, end = definition.partition(f" REFERENCES {said}(")
            if refers not in places or not there:
                left_out.append(
                    f"foreign key {name} of {_called(relations[places[oid]])} refers to {said}, which the "
                    "model has not: it is left off"
                )
                continue
            end = "(" + end
        yield Constraint(places[oid], name, kind, begin, places.get(refers), end, comment)


def _indexes(
    found: list[tuple[Any, ...]], places: dict[int, int], relations: Sequence[Relation], left_out: list[str]
) -> Iterable[Index]:
    for oid, name, unique, definition, begin, comment, valid in found:
        if valid and (definition or "").startswith(begin):
            yield Index(places[oid], name, unique, definition[len(begin) :], comment)
        else:
            left_out.append(f"index {name} of {_called(relations[places[oid]])} is not valid: it is left off")


def _sequences(ask: Ask, oids: list[int], places: dict[int, int]) -> Iterable[SequenceDefinition]:
    found = ask(_SEQUENCES, {"oids": oids})
    readable = [(place, row[2]) for place, row in enumerate(found) if row[11]]
    values: dict[int, tuple[int, bool]] = {}
    if readable:
        query = " UNION ALL ".join(
            f"SELECT {place}, last_value, is_called FROM {name}" for place, name in readable
        )
        values = {place: (last, called) for place, last, called in ask(query, None)}
    for place, row in enumerate(found):
        schema, name, _, said, *terms, _, relation, column, kind = row
        last, called = values.get(place, (None, False))
        yield SequenceDefinition(
            schema,
            name,
            said,
            **dict(zip(_TERMS, terms, strict=True)),
            last=last,
            called=called,
            relation=places.get(relation),
            column=column,
            identity=kind == "i",
        )


def _called(relation: Relation) -> str:
    """What a relation is called in messages."""
    return relation.table or f"{relation.schema}.{relation.name}"


def _tuples(found: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
