import json

import pytest

from helpers.relational import diagrams
from helpers.servers import connections
from helpers.source import catalogue

TABLES = """
CREATE TABLE parent (
    a integer, b text COLLATE "C" DEFAULT 'x', "Odd ""name" numeric(5,1) NOT NULL,
    PRIMARY KEY (b, a)
);
COMMENT ON TABLE parent IS 'what it is for';
CREATE TABLE child (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pa integer NOT NULL, pb text, boss integer UNIQUE REFERENCES child ON DELETE SET NULL, gone integer,
    FOREIGN KEY (pb, pa) REFERENCES parent ON DELETE CASCADE
);
ALTER TABLE child DROP COLUMN gone;
CREATE UNIQUE INDEX child_part ON child (pa) WHERE pb IS NULL;
CREATE UNIQUE INDEX child_whole ON child (pa, pb) INCLUDE (boss);
CREATE INDEX child_lower ON child (lower(pb), pa);
CREATE VIEW seen AS SELECT * FROM parent;
"""


@pytest.fixture
def read(postgres_url):
    connection = connections.postgres(postgres_url)
    connection.cursor().execute(TABLES)
    yield catalogue.read(connection)
    connection.close()


def table(read, name):
    return next(table for table in read["tables"] if table["name"] == name)


def test_columns_types_nullability_and_defaults(read):
    columns = [tuple(column.values()) for column in table(read, "parent")["columns"]]
    assert columns == [
        ("a", "integer", False, None),
        ("b", "text", False, "'x'::text"),
        ('Odd "name', "numeric(5,1)", False, None),
    ]
    assert [column["name"] for column in table(read, "child")["columns"]] == ["id", "pa", "pb", "boss"]
    assert table(read, "parent")["comment"] == "what it is for"


def test_keys_keep_the_order_of_their_columns(read):
    assert table(read, "parent")["primary_key"] == ["b", "a"]
    foreign = {tuple(key["columns"]): key for key in table(read, "child")["foreign_keys"]}
    assert foreign["pb", "pa"]["referenced_columns"] == ["b", "a"]
    assert foreign["pb", "pa"]["references"] == "parent"
    assert foreign["pb", "pa"]["on_delete"] == "CASCADE"
    assert foreign["boss",]["references"] == "child"
    assert foreign["boss",]["on_delete"] == "SET NULL"


def test_only_whole_unique_indexes_are_keys(read):
    assert table(read, "child")["unique"] == [["boss"], ["pa", "pb"]]
    indexes = {index["name"]: index["columns"] for index in table(read, "child")["indexes"]}
    assert indexes["child_whole"] == ["pa", "pb"]
    assert indexes["child_lower"] == ["lower(pb)", "pa"]
    assert indexes["child_part"] == ["pa"]


def test_views_are_named_as_views(read):
    assert table(read, "seen")["kind"] == "view"
    assert table(read, "parent")["kind"] == "table"


def test_it_is_plain_json(read):
    assert json.loads(json.dumps(read)) == read


def test_a_parent_in_another_schema_carries_its_name(postgres_url):
    connection = connections.postgres(postgres_url)
    name = catalogue.current_schema(connection)
    cursor = connection.cursor()
    cursor.execute(f'CREATE SCHEMA "{name}_b"')
    cursor.execute("CREATE TABLE parent (id integer PRIMARY KEY)")
    cursor.execute(f'CREATE TABLE "{name}_b".child (id integer REFERENCES parent)')
    found = catalogue.read(connection, f"{name}_b")
    assert found["tables"][0]["foreign_keys"][0]["references"] == f"{name}.parent"
    connection.rollback()
    connection.close()


def test_types_are_named_as_one_writes_them():
    assert diagrams.short_type("character varying(50)") == "varchar(50)"
    assert diagrams.short_type("timestamp without time zone") == "timestamp"
    assert diagrams.short_type("numeric(10,2)") == "numeric(10,2)"
