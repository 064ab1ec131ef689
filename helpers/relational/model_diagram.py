"""The models of three stores as diagrams in one style: keys of Redis, documents of MongoDB, tables of
Cassandra.

What is drawn comes from what owns it: keys and fields from the model as it is declared, documents, indexes
and tables from ``helpers.relational.layouts``.
"""

import re
from dataclasses import dataclass
from html import escape
from itertools import chain

from helpers import model
from helpers.relational import diagrams
from helpers.relational.layouts import DOCUMENTS, INDEXES, TABLES
from helpers.relational.redis_model import DATES
from helpers.text import join

TABLE = re.compile(
    r"CREATE TABLE (?P<name>\w+) \((?P<columns>.*?)(?:, PRIMARY KEY \((?P<key>[^)]*)\))?\)"
    r"(?: WITH CLUSTERING ORDER BY \((?P<order>[^)]*)\))?$"
)


SINGLE = ("hash", "string")
"""Types of keys that hold one row."""


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


def redis(declared: "model.Model | None" = None) -> Model:
    """The keys of a Redis model, with the type of each and what it holds.

    Args:
        declared: the model, as ``helpers.model.load`` gives it; the course's when None.
    """
    keys = shown(declared)
    named: dict[str, list[str]] = {}  # by column: the keys of one row that are named after it alone
    for key in keys:
        columns = model.Template.parse(key.name).columns
        if key.type in SINGLE and len(columns) == 1:
            named.setdefault(columns[0], []).append(key.name)
    boxes: list[Box] = []
    links: list[tuple[str, int, str]] = []
    from_rows: list[tuple[str, int, str]] = []
    for key in keys:
        held = _held(key)
        boxes.append(Box(key.name, type_words(key), tuple(("", name, kind) for name, kind, _ in held)))
        own = model.Template.parse(key.name).columns
        found = [
            (key.name, place, head)
            for place, (_, _, column) in enumerate(held)
            if column not in own
            for head in named.get(column, ())
        ]
        if key.type in SINGLE:
            from_rows += found
        else:
            links += found
    marks = "An arrow goes from a number to the key that is named after it."
    return Model("Redis", tuple(boxes), (*links, *from_rows), marks)


def shown(declared: "model.Model | None" = None) -> list["model.Key"]:
    """The keys of a model as they are shown: those of one row first.

    Args:
        declared: see ``redis``.
    """
    return sorted(model.load(declared).keys, key=lambda key: key.type not in SINGLE)


def type_words(key: "model.Key") -> str:
    """A key's type in words."""
    return key.type.replace("_", " ")


def _held(key: "model.Key") -> list[tuple[str, str, str]]:
    """(name, what it is, the column that it is) of each line of a key; no column where it is of several."""
    if key.value is None:
        fields = {"every column": ""} if key.fields is None else key.fields
        return [(name, "field", column) for name, column in fields.items()]
    template = model.Template.parse(key.value)
    alone = template.columns[0] if len(template.columns) == 1 and not any(template.literals) else ""
    word = {"list": "element", "string": "value"}.get(key.type, "member")
    lines = [(plain(key.value), f"{word}, {order_words(key)}" if key.type == "list" else word, alone)]
    if key.score is not None:
        lines.append((f"{key.score} in µs" if key.score in DATES else key.score, "score", ""))
    return lines


def order_words(key: "model.Key") -> str:
    """In which order the elements of a list stand."""
    return "oldest first" if key.order and key.order[0] in DATES else f"by {join(key.order) or 'its key'}"


def plain(template: str) -> str:
    """A template without the braces around its columns."""
    found = model.Template.parse(template)
    return "".join(chain.from_iterable(zip(found.literals, (*found.columns, ""), strict=True)))


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
