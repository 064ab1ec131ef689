"""Names of tables as PostgreSQL quotes them, and the tables that a model is bound to."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st
from psycopg2.extensions import connection as Connection

from helpers import model
from helpers.errors import HelpersError
from helpers.model import Key, Model, parse_name, write_name
from helpers.servers import connections
from helpers.source import tables

NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
PLAIN = st.from_regex(r"\A[a-z_][a-z0-9_$]{0,6}\Z")
SCHEMA = r"""
CREATE SCHEMA {other}; CREATE SCHEMA closed; CREATE TABLE closed.t (id int PRIMARY KEY);
CREATE TABLE "Users" ("Id" int PRIMARY KEY, "select" text); CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE {other}.users (uid int PRIMARY KEY); CREATE TABLE {other}.hidden (hid int PRIMARY KEY);
CREATE TABLE "a.b" (id int PRIMARY KEY); CREATE TABLE "sp ""q"" ace" (id int PRIMARY KEY);
CREATE TABLE keyed (a int, b int NOT NULL, c text NOT NULL, d int, e int,
  UNIQUE (d), UNIQUE (b, c) DEFERRABLE INITIALLY DEFERRED, UNIQUE (c), PRIMARY KEY (e, a));
CREATE UNIQUE INDEX ON keyed (b) INCLUDE (c); CREATE UNIQUE INDEX ON keyed (a) WHERE b > 0;
CREATE UNIQUE INDEX ON keyed (lower(c)); CREATE UNIQUE INDEX ON keyed (d, e) NULLS NOT DISTINCT;
CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TYPE text_like AS ENUM ('a', 'b'); CREATE DOMAIN whole AS int;
CREATE DOMAIN timestamp_like AS timestamp;
CREATE TABLE typed (id oid PRIMARY KEY, a smallint NOT NULL, b bigint, c numeric(9,2), d real, e float8,
  f boolean, g uuid, h timestamp(3), i timestamptz, j date, k time, l bytea, m text, n varchar(9), o char(3),
  p mood, q whole, r int[], s jsonb, t inet, u timestamp_like, v text_like, w timetz, x interval,
  y varchar(4000), z varchar, aa int GENERATED ALWAYS AS (a + 1) STORED, bb text COLLATE "C");
CREATE TABLE dropped (id int PRIMARY KEY, gone int, v text); ALTER TABLE dropped DROP gone;
CREATE TABLE p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE p_1 PARTITION OF p DEFAULT;
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE grandchild (PRIMARY KEY (id)) INHERITS (child); CREATE TABLE no_key (id int);
CREATE VIEW v AS SELECT * FROM users; CREATE MATERIALIZED VIEW mv AS SELECT * FROM users; CREATE SEQUENCE sq;
CREATE INDEX ix ON users (id); CREATE TYPE composite AS (a int); CREATE TEMP TABLE own (id int PRIMARY KEY);
CREATE TEMP TABLE shadowed (mine int PRIMARY KEY); CREATE TABLE shadowed (id int PRIMARY KEY);
"""


@pytest.fixture
def connection(postgres_url: str) -> Iterator[Connection]:
    made = connections.postgres(postgres_url)
    with made.cursor() as cursor:  # in a transaction that is never committed
        cursor.execute("SELECT current_schema() || '_other'")
        ((other,),) = cursor.fetchall()
        cursor.execute(SCHEMA.format(other=other))
        cursor.execute(f"SELECT set_config('search_path', current_schema() || ', {other}', true)")
    yield made
    made.close()


def bind(connection: Connection, *names: str) -> dict[str, model.Table]:
    def ask(query: str, values: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    return tables.bind(
        ask, "here", Model([Key("k", "set", name, value="x") for name in names], where="m.toml")
    )


@pytest.mark.slow
@given(st.none() | NAME | PLAIN, NAME | PLAIN)
def test_a_name_is_written_as_it_is_read(schema: str | None, relation: str) -> None:
    assert parse_name(write_name(schema, relation)) == (schema, relation)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("users", (None, "users")),
        ("Users", (None, "users")),
        ('"Users"', (None, "Users")),
        ("sales.Orders", ("sales", "orders")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ("größe", (None, "größe")),
        ("ÄB", (None, "Äb")),
        ("a$1", (None, "a$1")),
    ],
)
def test_a_name_is_read_as_postgresql_reads_it(text: str, parts: tuple[str | None, str]) -> None:
    assert parse_name(text) == parts


@pytest.mark.parametrize(
    "text",
    ["", "a b", "1a", "a.b.c", "a.", ".a", '"a', 'a"', '""', "a-b", "a;b", '"a"b', "$a", "a.*", '"a\0"'],
)
def test_what_is_no_name_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no name of a table; write table, schema\.table, or in quotes"):
        parse_name(text)


def test_tables_are_found_as_postgresql_finds_them(connection: Connection) -> None:
    found = bind(
        connection, "users", "USERS", '"users"', '"Users"', "hidden", '"a.b"', '"sp ""q"" ace"', "own"
    )
    assert found["users"] is found["USERS"] is found['"users"'] is not found['"Users"']
    assert [column.name for column in found['"Users"'].columns] == ["Id", "select"]
    assert (found["users"].name, found['"Users"'].name, found["own"].name) == ("users", '"Users"', "own")
    assert found["users"].schema + "_other" == found["hidden"].schema
    other = found["hidden"].schema
    also = bind(connection, "users", f"{other}.users")
    assert [table.key for table in also.values()] == [("id",), ("uid",)]
    assert (
        also[f"{other}.users"].sql == f'"{other}"."users"' and also[f"{other}.users"].name == f"{other}.users"
    )
    assert bind(connection, "shadowed")["shadowed"].key == ("mine",), "a temporary table comes first"


def test_unique_keys_are_those_that_are_never_null(connection: Connection) -> None:
    assert bind(connection, "keyed")["keyed"].keys == (("e", "a"), ("c",), ("b",), ("b", "c"))


def test_columns_have_formats(connection: Connection) -> None:
    one = bind(connection, "typed")["typed"]
    assert {column.name: column.format.name for column in one.columns} == {
        **dict.fromkeys(("id", "a", "b"), "integer"), "c": "numeric", "d": "float", "e": "float",
        "f": "boolean", "g": "uuid", "h": "moment", "i": "zoned", "j": "date", "k": "time", "l": "bytes",
        **dict.fromkeys("mnopqrstuvwxyz", "text"), "aa": "integer", "bb": "text",
    }  # fmt: skip
    assert [c.name for c in one.columns if not c.nullable] == ["id", "a"]
    assert [c.name for c in one.columns if c.generated] == ["aa"]
    assert [c.name for c in one.columns if not c.bounded] == ["l", "m", "r", "s", "y", "z", "bb"]
    assert one.column("c").type == "numeric(9,2)"
    assert one.column("p").type.endswith(".mood") and one.column("p").cast == f"::{one.column('p').type}"
    assert one.column("m").type == "text" and one.column("m").cast == ""
    assert [c.name for c in bind(connection, "dropped")["dropped"].columns] == ["id", "v"]


def test_partitioned_tables_are_whole_and_parents_alone(connection: Connection) -> None:
    found = bind(connection, "p", "parent", "child", "grandchild")
    assert [(name, one.only) for name, one in found.items()] == [
        ("p", False), ("parent", True), ("child", True), ("grandchild", False)
    ]  # fmt: skip
    assert found["parent"].sql.startswith("ONLY ") and not found["parent"].sql_name.startswith("ONLY ")
    for names, child in (
        (("parent",), "child"),
        (("parent", "child"), "grandchild"),
        (("parent", "p"), "child"),
    ):
        with pytest.raises(HelpersError) as caught:
            bind(connection, *names)
        assert (
            f"other tables inherit from {'child' if child == 'grandchild' else 'parent'}, so a key may come "
            in (str(caught.value))
        )
        assert f"({child} is not in it)" in str(caught.value)
    assert [one.only for one in bind(connection, "p_1", "child", "grandchild").values()] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("v", "v is a view, which promises no unique key; copy it into a table with a primary key"),
        ("mv", "mv is a materialized view, which promises no unique key; copy it"),
        ("sq", "sq is a sequence, which promises no unique key; "),
        ("ix", "ix is an index, which promises no unique key; "),
        ("composite", "composite is a composite type, which promises no unique key; "),
        ("nothing", "no table nothing where this user looks ("),
        ("nowhere.t", "no table nowhere.t where this user looks ("),
        ("a b", "key 'k': table 'a b' is no name of a table; write table, schema.table, or in quotes"),
        ("'; DROP TABLE users; --", "is no name of a table"),
        ("no_key", None),
        ("closed.t", None),
    ],
)
def test_what_is_no_table_is_refused_by_name(connection: Connection, name: str, why: str | None) -> None:
    if why is None:
        bind(connection, name)
        return
    with pytest.raises(HelpersError) as caught:
        bind(connection, name)
    assert why in str(caught.value) and str(caught.value).isprintable()


def test_a_schema_that_may_not_be_used_is_named(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE poor_one; SET ROLE poor_one")
    with pytest.raises(
        HelpersError, match=r"no table closed\.t where this user looks .* USAGE on the schema"
    ):
        bind(connection, "closed.t")
    connection.rollback()
