"""The diagrams say what the servers hold: keys, fields, indexes and tables are asked of them."""

import re
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from bound import course

from helpers import model
from helpers.comparison import stores
from helpers.comparison.cassandra import KEYSPACE
from helpers.comparison.mongodb import MongoStore
from helpers.relational import model_diagram, tables
from helpers.trials import general

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


def test_redis_has_a_box_for_each_kind_of_key():
    drawn, plan = model_diagram.redis(), course()
    kinds = [plan.kind_of(re.sub(r"\{\w+\}", "7", box.name).encode()) for box in drawn.boxes]
    assert sorted(kinds, key=plan.kinds.index) == list(plan.kinds)
    assert [box.kind.replace("sorted set", "zset") for box in drawn.boxes] == [kind.type for kind in kinds]


def test_redis_is_drawn_and_told_as_before_it_was_data():
    drawn = model_diagram.redis()
    assert [(box.name, box.kind, box.lines) for box in drawn.boxes] == [
        (
            "user:{user_id}",
            "hash",
            (("", "username", "field"), ("", "email", "field"), ("", "created_at", "field")),
        ),
        ("product:{product_id}", "hash", (("", "name", "field"), ("", "price", "field"))),
        (
            "order:{order_id}",
            "hash",
            tuple(("", name, "field") for name in ("user_id", "product_id", "order_date", "quantity")),
        ),
        (
            "user:{user_id}:activities",
            "list",
            (("", "activity_type:activity_date", "element, oldest first"),),
        ),
        (
            "user:{user_id}:activities:by_time",
            "sorted set",
            (("", "activity_id:activity_type", "member"), ("", "activity_date in µs", "score")),
        ),
        *((f"{owner}:{{{owner}_id}}:orders", "sorted set", SCORED) for owner in ("user", "product")),
    ]
    assert drawn.links == (
        ("user:{user_id}:orders", 0, "order:{order_id}"),
        ("product:{product_id}:orders", 0, "order:{order_id}"),
        ("order:{order_id}", 0, "user:{user_id}"),
        ("order:{order_id}", 1, "product:{product_id}"),
    )


SCORED = (("", "order_id", "member"), ("", "order_date in µs", "score"))


def test_another_model_is_drawn_too():
    drawn = model_diagram.redis(model.load(general.MODEL))
    boxes = {box.name: box for box in drawn.boxes}
    assert boxes["person:{handle}"].lines == (("", "every column", "field"),)
    assert boxes["tags:{handle}"].kind == "set" and boxes["tags:{handle}"].lines[0][2] == "member"
    assert boxes["note:{sensor}:{taken}"].lines == (("", "note", "value"),)
    assert boxes["words:{day}"].lines == (("", "word", "element, by place"),)
    assert ("tagged:{tag}", 0, "person:{handle}") in drawn.links
    assert model_diagram.svg(drawn)


def test_the_table_of_keys_says_what_each_holds():
    table = tables.keys_table()
    assert list(table["key"]) == [f"`{box.name}`" for box in model_diagram.redis().boxes]
    assert list(table["type"]) == [box.kind for box in model_diagram.redis().boxes]
    assert list(table["holds"][1:5]) == [
        "name, price",
        "user_id, product_id, order_date, quantity",
        "`activity_type:activity_date`, oldest first",
        "`activity_id:activity_type`, by activity_date",
    ]


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
