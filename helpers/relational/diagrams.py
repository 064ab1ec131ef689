"""An entity-relationship diagram in crow's foot notation, drawn from a catalogue; no server."""

import re
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from helpers.errors import HelpersError

SHORT_TYPES = {
    "character varying": "varchar",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "double precision": "float8",
}

PROGRAM = "graphviz-pure"
FONT = "DejaVu Sans"
SIZE, SMALL = 9, 7  # points
PADDING = 3  # points
HEAD = "#1F3A5F"
KEY_ROW = "#EEF2F8"
GREY = "#555555"
# Graphviz draws the first part of a shape nearest to the table: a bar then a circle reads "zero or one".
EXACTLY_ONE, ZERO_OR_ONE, ZERO_OR_MANY = "teetee", "teeodot", "crowodot"


def er_svg(catalogue: Mapping[str, Any]) -> str:
    """The diagram as SVG text, the same for the same catalogue; its text stays text (font DejaVu Sans).

    Args:
        catalogue: what ``helpers.source.catalogue.read`` gives. Views are left out.
    """
    return drawn(er_dot(catalogue), describe(catalogue))


def describe(catalogue: Mapping[str, Any]) -> str:
    """The diagram in words, for those who cannot see it: tables, and relationships with their cardinality."""
    tables = _tables(catalogue)
    names = ", ".join(table["name"] for table in tables)
    words = {EXACTLY_ONE: "exactly one", ZERO_OR_ONE: "zero or one", ZERO_OR_MANY: "zero or many"}
    relations = [
        f"{words[parent_end(table, key)]} {key['references']} to "
        f"{words[child_end(table, key)]} {table['name']}"
        for table in tables
        for key in table["foreign_keys"]
    ]
    text = f"Entity-relationship diagram of the tables {names}"
    return f"{text}: {'; '.join(relations)}." if relations else f"{text}, which do not refer to each other."


def er_dot(catalogue: Mapping[str, Any]) -> str:
    """The diagram in Graphviz's language: parents left, children right, edges from key to reference."""
    tables = _tables(catalogue)
    known = {table["name"] for table in tables}
    lines = [
        "digraph er {",
        'graph [rankdir=LR, nodesep=0.3, ranksep=1.1, bgcolor="white"];',
        f'node [shape=plain, fontname="{FONT}", fontsize={SIZE}];',
        f'edge [dir=both, color="{HEAD}", arrowsize=0.9];',
    ]
    outside = sorted({key["references"] for table in tables for key in table["foreign_keys"]} - known)
    lines += [f"{quoted(name)} [label=<{box(name, '')}>];" for name in outside]
    lines += [f"{quoted(table['name'])} [label=<{box(table['name'], _rows(table))}>];" for table in tables]
    for table in tables:
        for key in table["foreign_keys"]:
            ends = f"arrowtail={parent_end(table, key)}, arrowhead={child_end(table, key)}"
            tail, head = key["references"], table["name"]
            if tail not in known:
                lines.append(f"{quoted(tail)} -> {quoted(head)}:{_left(key['columns'][0])}:w [{ends}];")
                continue
            child = f"{_right(key['columns'][0])}:e" if tail == head else f"{_left(key['columns'][0])}:w"
            lines.append(
                f"{quoted(tail)}:{_right(key['referenced_columns'][0])}:e -> {quoted(head)}:{child} [{ends}];"
            )
    return "\n".join([*lines, "}"])


def parent_end(table: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """How many parents a child has: exactly one, or zero or one when a referring column may be NULL.

    Args:
        table: of the child, as a catalogue has it.
        key: one of its ``foreign_keys``.

    Returns:
        The arrow of that end, in Graphviz's language.
    """
    nullable = {column["name"] for column in table["columns"] if column["nullable"]}
    return ZERO_OR_ONE if nullable & set(key["columns"]) else EXACTLY_ONE


def child_end(table: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """How many children a parent has: zero or many, or zero or one when the referring columns hold a key."""
    keys = [*table["unique"], *([table["primary_key"]] if table["primary_key"] else [])]
    return ZERO_OR_ONE if any(set(unique) <= set(key["columns"]) for unique in keys) else ZERO_OR_MANY


def drawn(dot: str, title: str) -> str:
    """A graph as SVG text, with a title for those who cannot see it."""
    svg: str = render(dot, "svg").decode("utf-8")
    svg = re.sub(r"<!DOCTYPE.*?>\s*|<!--.*?-->\s*", "", svg, flags=re.S)  # some viewers refuse a doctype
    svg = svg.replace(f'"{FONT}"', f'"{FONT},Verdana,sans-serif"')  # who looks may not have the font
    return re.sub(r"<title>\w+</title>", lambda _: f"<title>{escape(title)}</title>", svg, count=1)


def render(dot: str, format_: str) -> bytes:
    """A drawing of a graph by Graphviz's ``dot``: ``svg`` or ``png``.

    Raises:
        HelpersError: Graphviz refuses the graph.
    """
    program = Path(sysconfig.get_path("scripts")) / PROGRAM
    try:
        done = subprocess.run([program, f"-T{format_}"], input=dot.encode("utf-8"), capture_output=True)
    except OSError as error:
        raise HelpersError(
            f"diagram: {PROGRAM} cannot be run ({error.strerror}); `pip install -r requirements.txt` has it"
        ) from error
    if done.returncode != 0 or not done.stdout:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise HelpersError(
            f"diagram: Graphviz could not draw it ({reason[-1] if reason else done.returncode})"
        )
    return done.stdout


def _tables(catalogue: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Its tables, most referred to first, so that ``dot`` puts parents above."""
    tables = [table for table in catalogue["tables"] if table["kind"] not in ("view", "materialized view")]
    parents = [key["references"] for table in tables for key in table["foreign_keys"]]
    return sorted(tables, key=lambda table: (-parents.count(table["name"]), table["name"]))


def _rows(table: Mapping[str, Any]) -> str:
    primary = set(table["primary_key"] or ())
    foreign = {column for key in table["foreign_keys"] for column in key["columns"]}
    unique = {column for columns in table["unique"] for column in columns}
    rows = []
    for column in table["columns"]:
        name = column["name"]
        marks = [
            mark for mark, members in (("PK", primary), ("FK", foreign), ("UK", unique)) if name in members
        ]
        shade = f' bgcolor="{KEY_ROW}"' if name in primary else ""
        kind, null = short_type(column["type"]), "NULL" if column["nullable"] else "NOT NULL"
        cells = (
            mark_cell(",".join(marks)),
            (width(name), f"<u>{escape(name)}</u>" if name in primary else escape(name)),
            (width(kind), f'<font color="{GREY}">{escape(kind)}</font>'),
            (width(null, SMALL), f'<font color="{GREY}" point-size="{SMALL}">{null}</font>'),
        )
        rows.append(row(cells, (_left(name), "", "", _right(name)), shade))
    return "".join(rows)


def mark_cell(mark: str) -> tuple[int, str]:
    """The first cell of a row: its width and content."""
    mark = mark or " "
    return width(mark, SMALL, bold=True), f'<b><font color="{HEAD}" point-size="{SMALL}">{mark}</font></b>'


def row(cells: Sequence[tuple[int, str]], ports: Sequence[str], shade: str = "") -> str:
    """A row of a box, in Graphviz's HTML.

    Args:
        cells: points of width and content of each.
        ports: of each cell, the quoted name that an edge can end at; empty for none.
        shade: attributes of each cell.
    """
    made = (
        f'<td align="left" width="{points}"{f" port={port}" if port else ""}{shade}>{cell}</td>'
        for (points, cell), port in zip(cells, ports, strict=True)
    )
    return f"<tr>{''.join(made)}</tr>"


def width(text: str, size: float = SIZE, *, bold: bool = False) -> int:
    """Points that a cell needs for a text in the font that will show it, which Graphviz does not have.

    Args:
        text: one line.
        size: of the font, in points.
        bold: in bold letters.
    """
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    return ceil(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) + 2 * PADDING


def box(name: str, rows: str, *, kind: str = "") -> str:
    """A box with a name, what kind of thing it is, and rows of four cells, in Graphviz's HTML."""
    said = f'  <font color="white" point-size="{SMALL}">{escape(kind)}</font>' if kind else ""
    points = width(name, bold=True) + (width(f"  {kind}", SMALL) if kind else 0)
    title = (
        f'<tr><td colspan="4" align="left" width="{points}" bgcolor="{HEAD}">'
        f'<font color="white"><b>{escape(name)}</b></font>{said}</td></tr>'
    )
    return (
        f'<table border="1" color="{HEAD}" cellborder="0" cellspacing="0" cellpadding="{PADDING}" '
        f'bgcolor="white">'
        f"{title}{rows}</table>"
    )


def _left(column: str) -> str:
    """The port at the left of a column's row, named in hexadecimal: a column's name may hold anything."""
    return f'"l{column.encode().hex()}"'


def _right(column: str) -> str:
    """The name of the port at the right of a column's row."""
    return f'"r{column.encode().hex()}"'


def quoted(name: str) -> str:
    """A name as a string of Graphviz's language."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def short_type(type_: str) -> str:
    """A column's type in the words that one writes: ``varchar(50)`` for ``character varying(50)``."""
    for long, short in SHORT_TYPES.items():
        type_ = type_.replace(long, short)
    return type_
