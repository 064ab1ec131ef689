"""The diagrams say what the servers hold: keys, fields, indexes and tables are asked of them."""

import xml.etree.ElementTree as ElementTree
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from helpers import model
from helpers.comparison import stores
from helpers.comparison.cassandra import KEYSPACE
from helpers.comparison.mongodb import MongoStore
from helpers.relational import model_diagram

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6)
ROWS: dict[str, Any] = {
    "users": [(1, "u", "u@example.com", MOMENT)],
    "products": [(1, "p", Decimal("1.50"))],
    "activities": [(1, 1, "login", MOMENT)],
    "orders": [(1, 1, 1, MOMENT, 2)],
}


def texts(svg):
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return {"".join(text.itertext()) for text in found}


@pytest.mark.parametrize("draw", [model_diagram.redis, model_diagram.mongodb, model_diagram.cassandra])
def test_each_model_is_drawn_with_all_its_lines_and_is_told_in_words(draw):
    drawn = draw()
    svg = model_diagram.svg(drawn)
    assert svg == model_diagram.svg(draw())
    assert 'font-family="DejaVu Sans,Verdana,sans-serif"' in svg
    words = model_diagram.describe(drawn)
    for box in drawn.boxes:
        assert {box.name, *(name for _, name, _ in box.lines)} <= texts(svg)
        assert f"{box.kind} {box.name} with " in words
    assert svg.count("<path") >= len(drawn.links)
    assert words.count(" leads to ") == len(drawn.links)


def test_redis_has_a_box_for_each_kind_of_key_and_they_match_the_models_pattern():
    drawn = model_diagram.redis()
    pattern = model.key_pattern()
    kinds = [
        pattern.fullmatch(
            box.name.replace("{user_id}", "7")
            .replace("{product_id}", "7")
            .replace("{order_id}", "7")
            .encode()
        ).lastgroup
        for box in drawn.boxes
    ]
    assert kinds == list(model.KINDS)
    assert [box.kind.replace("sorted set", "zset") for box in drawn.boxes] == list(model.TYPES.values())


def test_mongodb_is_drawn_as_the_server_holds_it(mongodb_url):
    drawn = {box.name: box for box in model_diagram.mongodb().boxes}
    store = MongoStore(mongodb_url)
    try:
        store.create()
        store.load(**ROWS)
        for name, box in drawn.items():
            fields = [field for mark, field, _ in box.lines if mark != "IX"]
            assert fields == list(store.database[name].find_one() or {})
            indexes = [line for mark, line, _ in box.lines if mark == "IX"]
            held = [index["key"] for index in store.database[name].index_information().values()]
            assert indexes == [
                ", ".join(f"{field} ↓" for field, way in key if way == -1)
                for key in held
                if key != [("_id", 1)]
            ]
    finally:
        store.drop()
        store.close()


def test_cassandra_is_drawn_as_the_server_holds_it(cassandra_url):
    drawn = {box.name: box for box in model_diagram.cassandra().boxes}
    store = stores.connect("cassandra")
    try:
        store.create()
        held = store.session.execute(
            "SELECT table_name, column_name, kind, clustering_order, position, type "
            "FROM system_schema.columns WHERE keyspace_name = %s",
            (KEYSPACE,),
        ).all()
        assert {row[0] for row in held} == set(drawn)
        for name, box in drawn.items():
            marks = {
                column: {"partition_key": "K", "clustering": "C↓" if order == "desc" else "C↑"}.get(kind, "")
                for table, column, kind, order, _, _ in held
                if table == name
            }
            assert {column: mark for mark, column, _ in box.lines} == marks
            kinds = {column: kind for table, column, _, _, _, kind in held if table == name}
            assert {column: kind for _, column, kind in box.lines} == kinds
    finally:
        store.drop()
        store.close()
