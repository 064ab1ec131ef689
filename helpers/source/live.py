"""The tables of a source as they are now: what a model is proposed from, bound to, and checked against."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import psycopg2

from helpers import servers, settings
from helpers.errors import HelpersError, first_line
from helpers.model import ForeignKey, Model, Plan, Relation, Table, parse_name, quoted, write_name
from helpers.servers import connections
from helpers.source import tables as bound
from helpers.text import one_line

_RELATIONS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, pg_table_is_visible(c.oid),
       has_table_privilege(c.oid, 'SELECT'),
       ARRAY(SELECT relid::int8 FROM pg_partition_ancestors(c.oid) WHERE relid <> c.oid),
       (SELECT extname::text FROM pg_depend JOIN pg_extension e ON e.oid = refobjid
        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e' LIMIT 1),
       ARRAY(SELECT inhrelid::int8 FROM pg_inherits WHERE inhparent = c.oid AND c.relkind = 'r')
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND CASE WHEN %s::int8[] IS NULL THEN nspname = ANY(current_schemas(false)) ELSE c.oid = ANY(%s::int8[]) END
ORDER BY array_position(current_schemas(false), nspname), nspname, relname"""
_REFERENCES = """
SELECT conrelid::int8, confrelid::int8, n.nspname::text, r.relname::text,
       ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY u (number, place)
             JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place),
       ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY u (number, place)
             JOIN pg_attribute ON attrelid = confrelid AND attnum = number ORDER BY place)
FROM pg_constraint c JOIN pg_class r ON r.oid = confrelid JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE contype = 'f' AND conparentid = 0 AND conrelid = ANY(%s) ORDER BY conrelid, conkey, confrelid, c.oid"""
_NULLABLE = """
SELECT DISTINCT ON (indrelid) indrelid::int8,
       ARRAY(SELECT attname::text FROM unnest(indkey::int2[]) WITH ORDINALITY u (number, place)
             JOIN pg_attribute ON attrelid = indrelid AND attnum = number
             WHERE place <= indnkeyatts AND NOT attnotnull ORDER BY place)
FROM pg_index WHERE indrelid = ANY(%s) AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
ORDER BY indrelid, indnkeyatts, indexrelid"""
_HIDDEN = """
SELECT DISTINCT nspname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND nspname <> ALL(current_schemas(true)) AND nspname <> 'information_schema'
  AND nspname NOT LIKE 'pg\\_%%' AND has_schema_privilege(n.oid, 'USAGE')
  AND has_table_privilege(pg_class.oid, 'SELECT') ORDER BY 1"""


class LiveTables:
    """The tables of a PostgreSQL, looked at when asked for.

    Args:
        url: of PostgreSQL; the resolved server when None.

    Raises:
        HelpersError: it cannot be reached.
    """

    def __init__(self, url: str | None = None) -> None:
        url = servers.url("postgres") if url is None else url
        self.where = f"postgres at {settings.address(url)}"
        self._connection = connections.postgres(url)
        self._connection.set_session(readonly=True, autocommit=True)

    def __enter__(self) -> "LiveTables":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the server."""
        self._connection.close()

    def ask(self, query: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    @property
    def encoding(self) -> str:
        """Of the database, as PostgreSQL names it."""
        return str(self.ask("SHOW server_encoding")[0][0])

    @property
    def schemas(self) -> list[str]:
        """Where this user looks for tables."""
        return list(self.ask("SELECT current_schemas(false)")[0][0])

    def hidden(self) -> list[str]:
        """Schemas with tables that could be read, where this user does not look."""
        return [name for (name,) in self.ask(_HIDDEN)]

    def bind(self, model: Model) -> dict[str, Table]:
        """The tables of a model, by what it says of them; see ``helpers.source.tables.bind``."""
        return bound.bind(self.ask, self.where, model)

    def try_streams(self, plan: Plan) -> None:
        """Let the server plan what a load would read.

        Raises:
            HelpersError: it would refuse to, for example to sort a column.
        """
        for stream in plan.streams:
            query = f"SELECT {stream.columns_sql} FROM {stream.table.sql} WHERE {stream.where} AND false"
            try:
                self.ask(f"{query} ORDER BY {', '.join(stream.order_sql)}")
            except psycopg2.Error as error:
                culprit = next((c for c in stream.order if not self._sorts(stream.table, c)), None)
                what = f"column {culprit} cannot be sorted" if culprit else "the server refuses"
                key = one_line(f"{plan.model.where}: key {str(stream.kinds[0].key.template)!r}: {what}")
                raise HelpersError(f"{key}: {first_line(error)}; order it by other columns") from error

    def _sorts(self, table: Table, column: str) -> bool:
        name = table.columns[table.places[column]].sql
        try:
            self.ask(f"SELECT {name} FROM {table.sql} WHERE false ORDER BY {name}")
        except psycopg2.Error:
            return False
        return True

    def relations(self, names: Sequence[str] | None = None) -> list[Relation]:
        """What there is, or what of it is named, in the order of schemas and names.

        Args:
            names: as PostgreSQL quotes them; None for all where this user looks.

        Raises:
            HelpersError: one that is named is not there.
        """
        wanted = None if names is None else self._oids(names)
        found = self.ask(_RELATIONS, (wanted, wanted))
        oids = [row[0] for row in found]
        called = {oid: write_name(None if seen else schema, name) for oid, schema, name, _, seen, *_ in found}
        described = bound.describe(self.ask, oids)
        nullable = {oid: columns for oid, columns in self.ask(_NULLABLE, (oids,)) if columns}
        foreign: dict[int, list[ForeignKey]] = defaultdict(list)
        for oid, other, schema, name, columns, of in self.ask(_REFERENCES, (oids,)):
            to = called.get(other) or write_name(schema, name)
            foreign[oid].append(ForeignKey(tuple(columns), to, name, tuple(of)))
        made, held = dict[int, Relation](), set[int]()
        for oid, schema, name, kind, _, readable, above, extension, children in sorted(found, key=_depth):
            columns, keys = described[oid]
            table = Table(called[oid], schema, name, columns, keys, only=bool(children))
            reason = None
            if kind in bound.RELKINDS:
                what = bound.RELKINDS[kind]
                reason = f"{what}, which promises no unique key; copy it into a table with a primary key"
            elif extension is not None:
                reason = f"belongs to the extension {extension}, which makes it"
            elif whole := [one for one in above if one in held]:
                reason = f"a partition of {called[whole[0]]}, which has its rows"
            elif not readable:
                reason = f"this user may not read it; GRANT SELECT ON {called[oid]} TO the user"
            elif not keys and oid in nullable:
                alters = ", ".join(f"ALTER {quoted(one)} SET NOT NULL" for one in nullable[oid])
                reason = f"columns of its unique key may be NULL; ALTER TABLE {called[oid]} {alters}"
            elif not keys:
                reason = f"no unique key; ALTER TABLE {called[oid]} ADD PRIMARY KEY (...)"
            heirs = tuple(called.get(child) or self._name(child) for child in children)
            made[oid] = Relation(table, tuple(foreign[oid]), heirs, reason)
            held |= {oid} if reason is None else set()
        return [made[row[0]] for row in found]

    def _oids(self, names: Sequence[str]) -> list[int]:
        try:
            parsed = [parse_name(name) for name in names]
        except ValueError as error:
            raise HelpersError(f"table {error}") from error
        oids = [row[0] for row in bound.look(self.ask, parsed)]
        missing = [name for name, oid in zip(names, oids, strict=True) if oid is None]
        if missing:
            raise HelpersError(
                f"{self.where}: no table {one_line(', '.join(missing))} where this user looks "
                f"({', '.join(self.schemas) or 'no schema'}); check search_path, or write schema.table"
            )
        return oids

    def _name(self, oid: int) -> str:
        return str(self.ask("SELECT %s::int8::oid::regclass::text", (oid,))[0][0])


def _depth(row: Sequence[Any]) -> int:
    """How many tables a relation is a partition of."""
    return len(row[6])
