"""The models of the three stores as diagrams in one style: keys of Redis, documents of MongoDB, tables of
Cassandra.

What is drawn comes from the modules that own it: keys and fields from ``helpers.model``, documents, indexes
and tables from ``helpers.relational.layouts``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from helpers import model
from helpers.relational import diagrams
from helpers.relational.layouts import DOCUMENTS, INDEXES, TABLES
from helpers.text import join

TABLE = re.compile(
    r"CREATE TABLE (?P<name>\w+) \((?P<columns>.*?)(?:, PRIMARY KEY \((?P<key>[^)]*)\))?\)"
    r"(?: WITH CLUSTERING ORDER BY \((?P<order>[^)]*)\))?$"
)


@dataclass(frozen=True)
class Box:
    """A kind of key, a collection or a table: ``name``, ``kind``, and ``lines`` of (mark, name, type)."""

    name: str
    kind: str
    lines: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Model:
    """Boxes, and links from a line of one (box, place) to another; ``marks`` says what the marks mean."""

    store: str
    boxes: tuple[Box, ...]
    links: tuple[tuple[str, int, str], ...]
    marks: str
    columns: tuple[tuple[str, ...], ...] = ()
    """Boxes that stand one below the other, where no links say where they go."""


def redis() -> Model:
    """The keys of the Redis model, with the type of each and what it holds."""
    names = {
        "user": _key(model.user_key, "user_id"),
        "product": _key(model.product_key, "product_id"),
        "order": _key(model.order_key, "order_id"),
        "user_activities": _key(model.activities_key, "user_id"),
        "user_activities_by_time": _key(model.activities_by_time_key, "user_id"),
        "user_orders": _key(model.user_orders_key, "user_id"),
        "product_orders": _key(model.product_orders_key, "product_id"),
    }
    fields = {kind: model.FIELDS[f"{kind}s"] for kind in ("user", "product", "order")}
    lines = {kind: tuple(("", field, "field") for field in of) for kind, of in fields.items()}
    lines["user_activities"] = (("", "activity_type:activity_date", "element, oldest first"),)
    scored = {
        "user_activities_by_time": ("activity_id:activity_type", "activity_date"),
        "user_orders": ("order_id", "order_date"),
        "product_orders": ("order_id", "order_date"),
    }
    lines |= {
        kind: (("", member, "member"), ("", f"{date} in µs", "score"))
        for kind, (member, date) in scored.items()
    }
    words = {"zset": "sorted set"}
    boxes = tuple(
        Box(names[kind], words.get(model.TYPES[kind], model.TYPES[kind]), lines[kind]) for kind in model.KINDS
    )
    held = [name for _, name, _ in lines["order"]]
    links = (
        (names["user_orders"], 0, names["order"]),
        (names["product_orders"], 0, names["order"]),
        (names["order"], held.index("user_id"), names["user"]),
        (names["order"], held.index("product_id"), names["product"]),
    )
    return Model("Redis", boxes, links, "An arrow goes from a number to the key that is named after it.")


def _key(make: Callable[[int], str], column: str) -> str:
    """A key with a column's name where its number will be."""
    return make(0).replace("0", f"{{{column}}}")


def mongodb() -> Model:
    """The collections of MongoDB, with the fields of their documents and their indexes."""
    boxes = []
    for name, fields in DOCUMENTS.items():
        lines = [("PK" if field == "_id" else "", field, kind) for field, kind in fields]
        lines += [("IX", ", ".join(f"{field} ↓" for field in index), "") for index in INDEXES.get(name, ())]
        boxes.append(Box(name, "collection", tuple(lines)))
    links = tuple(
        (name, place, parent)
        for name, fields in DOCUMENTS.items()
        for place, (field, _) in enumerate(fields)
        for parent in ("users", "products")
        if field == f"{parent[:-1]}_id"
    )
    marks = "PK primary key, IX index (↓ descending). An arrow goes from a number to the document it names."
    return Model("MongoDB", tuple(boxes), links, marks)


def cassandra() -> Model:
    """The tables of Cassandra, with partition key and clustering order."""
    boxes = tuple(_table(found) for found in map(TABLE.match, TABLES) if found)
    marks = "K partition key, C clustering column (↓ newest first)."
    names = [box.name for box in boxes]
    wide = [name for name in names if "_by_" in name]
    rest = [name for name in names if name not in wide]
    return Model("Cassandra", boxes, (), marks, tuple(zip(rest, wide, strict=True)))


def _table(found: re.Match[str]) -> Box:
    columns = [column.split(" ", 2) for column in found["columns"].split(", ")]
    key = (found["key"] or "").split(", ")
    down = [part.split(" ")[0] for part in (found["order"] or "").split(", ") if part.endswith(" DESC")]
    lines = []
    for name, kind, *primary in columns:
        partition = name == key[0] or bool(primary)
        clustering = f"C{'↓' if name in down else '↑'}" if name in key[1:] else ""
        lines.append(("K" if partition else clustering, name, kind))
    return Box(found["name"], "table", tuple(lines))


def svg(drawn: Model) -> str:
    """The diagram as SVG text, the same for the same model; its text stays text (font DejaVu Sans)."""
    lines = [
        "digraph model {",
        'graph [rankdir=LR, nodesep=0.2, ranksep=0.6, bgcolor="white"];',
        f'node [shape=plain, fontname="{diagrams.FONT}", fontsize={diagrams.SIZE}];',
        f'edge [style=dashed, color="{diagrams.HEAD}", arrowsize=0.7];',
        *(f"{diagrams.quoted(box.name)} [label=<{_label(box)}>];" for box in drawn.boxes),
    ]
    for tail, place, head in drawn.links:
        lines.append(f'{diagrams.quoted(tail)}:"r{place}":e -> {diagrams.quoted(head)} [headport=w];')
    for above, below in zip(drawn.columns, drawn.columns[1:], strict=False):
        lines += [
            f"{diagrams.quoted(left)} -> {diagrams.quoted(right)} [style=invis];"
            for left, right in zip(above, below, strict=True)
        ]
    return diagrams.drawn("\n".join([*lines, "}"]), describe(drawn))


def describe(drawn: Model) -> str:
    """The diagram in words, for those who cannot see it."""
    boxes = []
    for box in drawn.boxes:
        said = [" ".join(filter(None, (mark, name))) for mark, name, _ in box.lines]
        boxes.append(f"{box.kind} {box.name} with {join(said)}")
    lines = {box.name: box.lines for box in drawn.boxes}
    links = [f"{tail} ({lines[tail][place][1]}) leads to {head}" for tail, place, head in drawn.links]
    return f"Model in {drawn.store}: {'; '.join(boxes + links)}."


def _label(box: Box) -> str:
    rows = []
    for place, (mark, name, kind) in enumerate(box.lines):
        shade = f' bgcolor="{diagrams.KEY_ROW}"' if mark and mark != "IX" else ""
        cells = (
            diagrams.mark_cell(mark),
            (diagrams.width(name), escape(name)),
            (diagrams.width(kind), f'<font color="{diagrams.GREY}">{escape(kind) or " "}</font>'),
            (1, " "),
        )
        rows.append(diagrams.row(cells, ("", "", "", f'"r{place}"'), shade))
    return diagrams.box(box.name, "".join(rows), kind=box.kind)
