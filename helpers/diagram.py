"""An entity-relationship diagram in crow's foot notation, drawn from a catalogue; no server."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import matplotlib

from helpers.errors import HelpersError

FONT = "DejaVu Sans"
HEAD = "#1F3A5F"
KEY_ROW = "#EEF2F8"
GREY = "#555555"
SHORT = {
    "character varying": "varchar",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "double precision": "float8",
}
_DRAW = """\
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot"))
"""
# Graphviz draws the first part of a shape nearest to the table: a bar then a circle reads "zero or one".
EXACTLY_ONE, ZERO_OR_ONE, ZERO_OR_MANY = "teetee", "teeodot", "crowodot"


def er_svg(catalogue: Mapping[str, Any]) -> str:
    """The diagram as SVG text, the same for the same catalogue; its text stays text (font DejaVu Sans).

    Args:
        catalogue: what ``helpers.catalogue.read`` gives. Views are left out.
    """
    svg: str = render(er_dot(catalogue), "svg").decode("utf-8")
    # No comments or doctype (some viewers refuse it), and a name for those who cannot see it.
    svg = re.sub(r"<!DOCTYPE.*?>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    return svg.replace("<title>er</title>", f"<title>{escape(describe(catalogue))}</title>", 1)


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
        'graph [rankdir=LR, nodesep=0.3, ranksep=1.1, bgcolor="transparent"];',
        f'node [shape=plain, fontname="{FONT}", fontsize=9];',
        f'edge [dir=both, color="{HEAD}", arrowsize=0.9];',
    ]
    outside = sorted({key["references"] for table in tables for key in table["foreign_keys"]} - known)
    lines += [f"{_quoted(name)} [label=<{_box(name, '')}>];" for name in outside]
    lines += [f"{_quoted(table['name'])} [label=<{_box(table['name'], _rows(table))}>];" for table in tables]
    for table in tables:
        for key in table["foreign_keys"]:
            ends = f"arrowtail={parent_end(table, key)}, arrowhead={child_end(table, key)}"
            tail, head = key["references"], table["name"]
            if tail not in known:
                lines.append(f"{_quoted(tail)} -> {_quoted(head)}:{_left(key['columns'][0])}:w [{ends}];")
                continue
            child = f"{_right(key['columns'][0])}:e" if tail == head else f"{_left(key['columns'][0])}:w"
            lines.append(
                f"{_quoted(tail)}:{_right(key['referenced_columns'][0])}:e -> "
                f"{_quoted(head)}:{child} [{ends}];"
            )
    return "\n".join([*lines, "}"])


def parent_end(table: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """How many parents a child has: exactly one, or zero or one when a referring column may be NULL."""
    nullable = {column["name"] for column in table["columns"] if column["nullable"]}
    return ZERO_OR_ONE if nullable & set(key["columns"]) else EXACTLY_ONE


def child_end(table: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """How many children a parent has: zero or many, or zero or one when the referring columns hold a key."""
    keys = [*table["unique"], *([table["primary_key"]] if table["primary_key"] else [])]
    return ZERO_OR_ONE if any(set(unique) <= set(key["columns"]) for unique in keys) else ZERO_OR_MANY


def render(dot: str, format_: str) -> bytes:
    """A drawing of a graph by Graphviz's ``dot``: ``svg`` or ``png``.

    Text is measured with the DejaVu fonts that come with matplotlib, whatever the machine has. It is drawn
    in a process of its own, because the library behind it takes its fonts from the environment, once, and
    writes to stderr.

    Raises:
        HelpersError: Graphviz refuses the graph.
    """
    with tempfile.TemporaryDirectory(prefix="er-fonts-") as folder:
        conf = Path(folder) / "fonts.conf"
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        conf.write_text(
            '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
            f"<dir>{escape(str(fonts))}</dir><cachedir>{escape(folder)}</cachedir></fontconfig>",
            encoding="utf-8",
        )
        drawn = subprocess.run(
            [sys.executable, "-c", _DRAW, format_],
            input=dot.encode("utf-8"),
            capture_output=True,
            env={**os.environ, "FONTCONFIG_FILE": str(conf)},
        )
    if drawn.returncode != 0 or not drawn.stdout:
        reason = drawn.stderr.decode("utf-8", "replace").strip().splitlines()
        raise HelpersError(
            f"diagram: Graphviz could not draw it ({reason[-1] if reason else drawn.returncode})"
        )
    return drawn.stdout


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
        cells = (
            f'<b><font color="{HEAD}" point-size="7">{",".join(marks) or " "}</font></b>',
            f"<u>{escape(name)}</u>" if name in primary else escape(name),
            f'<font color="{GREY}">{escape(_short(column["type"]))}</font>',
            f'<font color="{GREY}" point-size="7">{"NULL" if column["nullable"] else "NOT NULL"}</font>',
        )
        ports = (f" port={_left(name)}", "", "", f" port={_right(name)}")
        rows.append(
            "<tr>"
            + "".join(
                f'<td align="left"{port}{shade}>{cell}</td>' for cell, port in zip(cells, ports, strict=True)
            )
            + "</tr>"
        )
    return "".join(rows)


def _box(name: str, rows: str) -> str:
    title = f'<tr><td colspan="4" bgcolor="{HEAD}"><font color="white"><b>{escape(name)}</b></font></td></tr>'
    return (
        f'<table border="1" color="{HEAD}" cellborder="0" cellspacing="0" cellpadding="3" bgcolor="white">'
        f"{title}{rows}</table>"
    )


def _short(type_: str) -> str:
    for long, short in SHORT.items():
        type_ = type_.replace(long, short)
    return type_


def _left(column: str) -> str:
    """The port at the left of a column's row, named in hexadecimal: a column's name may hold anything."""
    return f'"l{column.encode().hex()}"'


def _right(column: str) -> str:
    """The name of the port at the right of a column's row."""
    return f'"r{column.encode().hex()}"'


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
