"""Statements that make tables of their definitions, all in one schema: what is made before their rows."""

from collections import defaultdict
from collections.abc import Iterator

from helpers.model import literal, quoted
from helpers.source import ColumnDefinition, Definitions, Relation, SequenceDefinition

NAME_BYTES = 63
"""The longest name."""
_INTEGERS = ("smallint", "integer", "bigint")


class Blueprint:
    """Definitions, and what all is called in the new schema: as it was.

    Where two schemas of the source have something of the same name, both are called ``schema.name`` there.

    Args:
        definitions: of the tables.
        schema: the new schema.
    """

    def __init__(self, definitions: Definitions, schema: str) -> None:
        self.definitions = definitions
        self._schema = quoted(schema)
        relations = definitions.relations
        named = [(one.schema, one.name) for one in relations]
        named += [(one.schema, one.name) for one in definitions.sequences]
        named += [(relations[one.relation].schema, one.name) for one in definitions.indexes]
        named += [
            (relations[one.relation].schema, one.name) for one in definitions.constraints if one.kind in "pux"
        ]
        schemas: dict[str, set[str]] = defaultdict(set)
        for of, name in named:
            schemas[name].add(of)
        self._names: dict[tuple[str, str], str] = {}
        taken = {name for name, found in schemas.items() if len(found) == 1}
        for of, name in dict.fromkeys(named):
            new = name
            if len(schemas[name]) > 1:
                new = next(n for n in _cut(f"{of}.{name}") if n not in taken)
                taken.add(new)
            self._names[of, name] = new

    @property
    def renamed(self) -> dict[str, str]:
        """What tables are called whose name is another than in the source, by what the model calls them."""
        found = ((one.table, one.name, self.name(one.schema, one.name)) for one in self.definitions.relations)
        return {table: new for table, name, new in found if table is not None and new != name}

    def name(self, schema: str, name: str) -> str:
        """What a relation, sequence, index, or constraint with an index is called.

        Args:
            schema: the source's, of the table that it belongs to.
            name: there.
        """
        return self._names.get((schema, name), name)

    def sql(self, relation: int) -> str:
        """A relation's name in a statement, by its place."""
        return self._of(self.definitions.relations[relation])

    def sequence_sql(self, sequence: SequenceDefinition) -> str:
        """A sequence's name in a statement."""
        return self._of(sequence)

    def _of(self, one: Relation | SequenceDefinition) -> str:
        return f"{self._schema}.{quoted(self.name(one.schema, one.name))}"

    def statements(self) -> Iterator[str]:
        """What makes sequences and tables, without keys, constraints and indexes."""
        relations, sequences = self.definitions.relations, self.definitions.sequences
        for one in sequences:
            if not one.identity:
                yield f"CREATE SEQUENCE {self.sequence_sql(one)} AS {one.type} {_options(one)}"
        for place, relation in enumerate(relations):
            yield from self._table(place, relation)
        for one in sequences:
            if one.relation is not None and one.column is not None and not one.identity:
                owner = f"{self.sql(one.relation)}.{quoted(one.column)}"
                yield f"ALTER SEQUENCE {self.sequence_sql(one)} OWNED BY {owner}"

    def _table(self, place: int, relation: Relation) -> Iterator[str]:
        name = self.sql(place)
        inherits = bool(relation.parents) and relation.bound is None
        merged = self._merges(relation) if inherits else None
        own = [one for one in relation.columns if merged is None or one.local]
        columns = ", ".join(self._column(place, one) for one in own)
        make = f"CREATE {'UNLOGGED ' if relation.unlogged else ''}TABLE {name} ({columns})"
        if merged is not None:
            make += f" INHERITS ({', '.join(map(self.sql, relation.parents))})"
        if relation.key is not None:
            make += f" PARTITION BY {relation.key}"
        if relation.options:
            pairs = (one.partition("=") for one in relation.options)
            make += f" WITH ({', '.join(f'{option}={literal(value)}' for option, _, value in pairs)})"
        yield make
        if relation.bound is not None:
            yield f"ALTER TABLE {self.sql(relation.parents[0])} ATTACH PARTITION {name} {relation.bound}"
        elif inherits and merged is None:
            yield from (f"ALTER TABLE {name} INHERIT {self.sql(parent)}" for parent in relation.parents)
        for column in relation.columns:
            if merged is not None and not column.local:
                alter = f"ALTER TABLE ONLY {name} ALTER COLUMN {quoted(column.name)}"
                parent = merged[column.name]
                if column.default != parent.default:
                    yield f"{alter} " + (
                        f"SET DEFAULT {self._default(column)}" if column.default else "DROP DEFAULT"
                    )
                if column.not_null is not None and (parent.not_null is None or parent.no_inherit):
                    yield f"{alter} SET NOT NULL"
            if column.comment is not None:
                yield f"COMMENT ON COLUMN {name}.{quoted(column.name)} IS {literal(column.comment)}"
        if relation.comment is not None:
            yield f"COMMENT ON TABLE {name} IS {literal(relation.comment)}"

    def _merges(self, relation: Relation) -> dict[str, ColumnDefinition] | None:
        """The inherited columns, if INHERITS gives them the order and the form that they have."""
        parents: dict[str, ColumnDefinition] = {}
        for parent in relation.parents:
            for column in self.definitions.relations[parent].columns:
                parents.setdefault(column.name, column)
        order = list(dict.fromkeys([*parents, *(one.name for one in relation.columns if one.local)]))
        same = all(
            one.local or (one.name in parents and parents[one.name].generated == one.generated)
            for one in relation.columns
        )
        return parents if same and order == [one.name for one in relation.columns] else None

    def _column(self, place: int, column: ColumnDefinition) -> str:
        found = [quoted(column.name), column.type]
        if column.collation is not None:
            found.append(f"COLLATE {column.collation}")
        if column.not_null is not None:
            named = f"CONSTRAINT {quoted(column.not_null)} " if column.not_null else ""
            found.append(f"{named}NOT NULL{' NO INHERIT' if column.no_inherit else ''}")
        if column.generated is not None:
            found.append(
                f"GENERATED ALWAYS AS ({column.generated}) {'STORED' if column.stored else 'VIRTUAL'}"
            )
        elif column.identity and self.definitions.relations[place].bound is None:
            always = "ALWAYS" if column.identity == "a" else "BY DEFAULT"
            of = [
                s
                for s in self.definitions.sequences
                if s.identity and (s.relation, s.column) == (place, column.name)
            ]
            options = f" (SEQUENCE NAME {self.sequence_sql(of[0])} {_options(of[0])})" if of else ""
            found.append(f"GENERATED {always} AS IDENTITY{options}")
        elif column.default is not None:
            found.append(f"DEFAULT {self._default(column)}")
        return " ".join(found)

    def _default(self, column: ColumnDefinition) -> str:
        default = column.default or ""
        for one in self.definitions.sequences:
            if one.said in default:
                default = default.replace(one.said, f"{literal(self.sequence_sql(one))}::regclass")
        return default

    def takers(self, sequence: SequenceDefinition) -> list[tuple[str, str]]:
        """(table, column), as SQL, of the columns of whole numbers whose values come from a sequence."""
        found = []
        for place, relation in enumerate(self.definitions.relations):
            for column in relation.columns:
                owns = (sequence.relation, sequence.column) == (place, column.name)
                if column.type in _INTEGERS and (owns or sequence.said in (column.default or "")):
                    found.append((self.sql(place), quoted(column.name)))
        return found


def _options(one: SequenceDefinition) -> str:
    return (
        f"INCREMENT BY {one.increment} MINVALUE {one.least} MAXVALUE {one.most} START WITH {one.start} "
        f"CACHE {one.cache} {'' if one.cycle else 'NO '}CYCLE"
    )


def _cut(name: str) -> Iterator[str]:
    """Names that PostgreSQL takes, as near to one as can be."""
    for number in range(1, 1_000_000):
        end = "" if number == 1 else f"_{number}"
        yield name.encode()[: NAME_BYTES - len(end)].decode("utf-8", "ignore") + end
