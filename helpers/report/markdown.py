"""An executed notebook 06 as Markdown for pandoc, with its drawings beside it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.errors import HelpersError

HIDDEN = {"remove-cell", "notebook-only"}
HIDDEN_INPUT = {"remove-input", "hide-input"}
HEADINGS = {"unnumbered", "appendix", "end"}
"""Tags of a cell that say how its first heading counts: not at all, by letters from there on, or as the end
of the main text.
"""
QUANTITY = re.compile(r"(?<=\d) (?=(?:[µm]?s|[kMG]?B|[KMG]iB|%|rows/s|rows|times)\b|%)")
"""The space between a number and its unit, where no line may end."""
REFERENCES = '#references(bibliography("references.bib", title: none, style: "ieee"))'
COLOUR_CODE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass
class Document:
    """What a notebook says: ``title`` page, ``abstract`` and ``body`` (Markdown), ``drawings`` (SVG by
    file name).
    """

    title: dict[str, Any] = field(default_factory=dict)
    abstract: str = ""
    body: str = ""
    drawings: dict[str, str] = field(default_factory=dict)

    def write_drawings(self, folder: Path) -> None:
        """Write the SVG files that the body refers to."""
        for name, text in self.drawings.items():
            (folder / name).write_text(text, encoding="utf-8")


def from_notebook(notebook: Mapping[str, Any]) -> Document:
    """The report that an executed notebook holds.

    Cells tagged ``remove-cell`` or ``notebook-only`` are left out, of those tagged ``remove-input`` the code;
    cells tagged ``abstract`` go to the title page; the heading of one tagged ``unnumbered`` has no number,
    that of one tagged ``appendix`` begins lettered ones.

    Args:
        notebook: as ``nbformat.read`` gives it.

    Raises:
        HelpersError: a cell ended with an error.
    """
    document = Document()
    abstract: list[str] = []
    body: list[str] = []
    for number, cell in enumerate(notebook["cells"], start=1):
        tags = set(cell["metadata"].get("tags", []))
        if tags & HIDDEN:
            continue
        blocks = abstract if "abstract" in tags else body
        if cell["cell_type"] == "markdown":
            blocks.append(_headed(cell["source"], sorted(tags & HEADINGS)))
        elif cell["cell_type"] == "code":
            if not tags & HIDDEN_INPUT and cell["source"].strip():
                blocks.append(_fence(cell["source"].strip("\n"), "python"))
            for output in cell["outputs"]:
                if output["output_type"] == "error":
                    raise HelpersError(f"notebook 06, cell {number}: {output['ename']}: {output['evalue']}")
                blocks.append(_output(output, document))
    document.abstract = "\n\n".join(filter(None, abstract))
    document.body = "\n\n".join(filter(None, body)) + "\n"
    return document


def _headed(text: str, classes: Sequence[str]) -> str:
    """The text with pandoc's classes at its first heading."""
    if not classes:
        return text
    marks = " ".join(f".{name}" for name in classes)
    return re.sub(r"^(#+ .*)$", rf"\1 {{{marks}}}", text, count=1, flags=re.M)


def _output(output: Mapping[str, Any], document: Document) -> str:
    if output["output_type"] == "stream":
        return (
            "" if output["name"] == "stderr" else _fence(COLOUR_CODE.sub("", output["text"]).rstrip(), "text")
        )
    data, about = output["data"], output["metadata"].get("report", {})
    part = about.get("part")
    if part == "screen":
        return ""
    if part == "references":
        return _fence(REFERENCES, "{=typst}")
    if part == "title":
        document.title = {key: value for key, value in about.items() if key != "part"}
        return ""
    if part == "box":
        return f"::: {{.box}}\n{_bound(data['text/markdown'])}\n:::"
    if part == "figure":
        name = f"{about['label']}.svg"
        document.drawings[name] = data["image/svg+xml"]
        code = f"report-image({_string(name)}, {about['width']}, alt: {_string(about['alt'])})"
        return _float(about, "image", code)
    if part == "table":
        return _float(about, "table", _table(about))
    if part == "listing":
        code = f"raw({_string(about['code'])}, lang: {_string(about['language'])}, block: true)"
        return _float(about, "raw", code)
    if part == "missing":
        return _float(about, "image" if about["what"] == "figure" else "table", "not-measured")
    if "text/markdown" in data:
        return _bound(data["text/markdown"])
    return _fence(COLOUR_CODE.sub("", data.get("text/plain", "")), "text")


def _bound(text: str) -> str:
    """The text with each number bound to its unit."""
    return QUANTITY.sub("\N{NO-BREAK SPACE}", text)


def _float(about: Mapping[str, Any], kind: str, code: str) -> str:
    """A Div that the Lua filter turns into a numbered, labelled Typst figure: caption first, then Typst
    code.
    """
    width, rows = about.get("width", "100%"), len(about.get("rows", ()))
    head = f'::::: {{.float #{about["label"]} kind="{kind}" width="{width}" rows="{rows}"}}'
    return f"{head}\n{about['caption']}\n\n{_fence(code, '{=typst}')}\n:::::"


def _table(about: Mapping[str, Any]) -> str:
    rows = ",\n".join(f"({', '.join(_string(cell) for cell in row)},)" for row in about["rows"])
    return (
        f"report-table(({', '.join(_string(name) for name in about['columns'])},), "
        f"({', '.join(about['align'])},), (\n{rows},\n))"
        if about["rows"]
        else "[no rows]"
    )


def _string(text: str) -> str:
    """A Typst string literal; its escapes are those of JSON but for ``\\u{...}``."""
    literal = json.dumps(text, ensure_ascii=False)
    return re.sub(r"\\u([0-9a-f]{4})", r"\\u{\1}", literal).replace("\\b", "").replace("\\f", "")


def _fence(text: str, language: str) -> str:
    longest = max((len(ticks) for ticks in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
