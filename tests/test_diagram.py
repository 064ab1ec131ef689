import re
import xml.etree.ElementTree as ElementTree

import pytest

from helpers.errors import HelpersError
from helpers.relational import diagrams, schema
from helpers.servers import connections
from helpers.source import catalogue


def column(name, type_="integer", nullable=True):
    return {"name": name, "type": type_, "nullable": nullable, "default": None}


def table(name, columns, primary_key=None, unique=(), foreign_keys=(), kind="table"):
    keys = [
        {
            "name": "k",
            "columns": own,
            "references": parent,
            "referenced_columns": theirs,
            "on_delete": "NO ACTION",
        }
        for own, parent, theirs in foreign_keys
    ]
    return {
        "name": name,
        "kind": kind,
        "comment": None,
        "columns": columns,
        "primary_key": primary_key,
        "unique": list(unique),
        "foreign_keys": keys,
        "indexes": [],
    }


PARENT = table("parent", [column("id", nullable=False)], ["id"])


def drawing(*tables):
    return {"schema": "public", "tables": list(tables)}


def ends(dot):
    return re.findall(r"arrowtail=(\w+), arrowhead=(\w+)", dot)


@pytest.mark.parametrize(
    ("nullable", "unique", "expected"),
    [
        (True, [], ("teeodot", "crowodot")),  # zero or one parent, zero or many children
        (False, [], ("teetee", "crowodot")),  # exactly one parent
        (True, [["parent_id"]], ("teeodot", "teeodot")),  # zero or one child
        (False, [["parent_id"]], ("teetee", "teeodot")),
        (False, [["parent_id", "id"]], ("teetee", "crowodot")),  # a wider key says nothing of one column
    ],
)
def test_cardinality_follows_nullability_and_uniqueness(nullable, unique, expected):
    columns = [column("id", nullable=False), column("parent_id", nullable=nullable)]
    child = table("child", columns, ["id"], unique, [(["parent_id"], "parent", ["id"])])
    assert ends(diagrams.er_dot(drawing(PARENT, child))) == [expected]


def test_a_primary_key_that_refers_is_one_to_one():
    child = table("child", [column("id", nullable=False)], ["id"], [], [(["id"], "parent", ["id"])])
    assert ends(diagrams.er_dot(drawing(PARENT, child))) == [("teetee", "teeodot")]


def test_the_course_tables_draw_from_the_live_catalogue(postgres_url):
    connection = connections.postgres(postgres_url)
    schema.create(connection)
    found = catalogue.read(connection)
    connection.close()
    svg = diagrams.er_svg(found)
    texts = {
        "".join(text.itertext())
        for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    }
    assert set(schema.TABLES) <= texts
    assert {"varchar(50)", "numeric(10,2)", "timestamp", "PK", "UK", "FK", "NULL", "NOT NULL"} <= texts
    for columns in schema.COLUMNS.values():
        assert set(columns) <= texts
    assert ends(diagrams.er_dot(found)) == [("teeodot", "crowodot")] * 3
    assert 'font-family="DejaVu Sans,Verdana,sans-serif"' in svg
    assert diagrams.er_svg(found) == svg


def test_one_more_table_draws_right_too(postgres_url):
    connection = connections.postgres(postgres_url)
    schema.create(connection)
    connection.cursor().execute(
        "CREATE TABLE profiles (user_id integer PRIMARY KEY REFERENCES users, bio text, "
        "mentor_id integer REFERENCES users)"
    )
    found = catalogue.read(connection)
    connection.rollback()
    connection.close()
    words = diagrams.describe(found)
    assert "exactly one users to zero or one profiles" in words
    assert "zero or one users to zero or many profiles" in words
    svg = diagrams.er_svg(found)
    assert ">profiles<" in svg
    assert ">mentor_id<" in svg
    assert svg.count('class="edge"') == 5


@pytest.mark.parametrize(("letter", "units"), [("m", 1995), ("a", 1255), ("0", 1303)])
def test_boxes_are_as_wide_as_the_font_needs(letter, units):
    """Units of 2048 that DejaVu Sans advances for a letter; Graphviz rounds each to pixels of 0.75 pt."""
    few, many = (diagrams.er_svg(drawing(table("t", [column(letter * n)]))) for n in (20, 70))
    widths = [float(re.search(r'svg width="([\d.]+)pt"', svg)[1]) for svg in (few, many)]
    assert widths[1] - widths[0] == pytest.approx(50 * 9 * units / 2048, abs=50 * 0.375 + 1)


def test_odd_names_self_references_and_other_schemas():
    odd = 'a<b>"&:\\'
    tree = table(odd, [column(odd, nullable=False), column("up")], [odd], [], [(["up"], odd, [odd])])
    far = table("far", [column("x")], None, [], [(["x"], "other.place", ["id"])])
    svg = diagrams.er_svg(drawing(tree, far, table("seen", [column("v")], kind="view")))
    texts = [
        "".join(text.itertext())
        for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert texts.count(odd) == 2
    assert "other.place" in texts
    assert "seen" not in texts
    assert svg.count('class="edge"') == 2


def test_a_graph_that_cannot_be_drawn_says_so():
    with pytest.raises(HelpersError, match="Graphviz"):
        diagrams.render("digraph {", "svg")
