"""The course as students get it: what is marked as an answer is taken out, what is for teachers left behind.

The marks are those of nbgrader, so that it can grade what comes back: cells with its metadata, and in them
lines that begin and end a solution or hidden tests. ``nbgrader_config.py`` lets it leave out the same cells.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers.errors import HelpersError, usable, writing
from helpers.report import notebooks
from helpers.settings import checkout

ANSWER = "# Your answer"
"""Stands where code of a solution stood."""
REASON = "*Your reasons, in words.*"
"""Stands where prose of a solution stood."""
SOLUTION, TEACHING = "solution", "teaching"
"""Tags of cells that are folded because they answer an exercise, and of those for teachers."""
MARKS = {"SOLUTION": ANSWER, "HIDDEN TESTS": ""}
"""What is marked by lines with BEGIN and END, and what is put in its place."""
FILES = (
    ".devcontainer",
    ".env.example",
    ".gitignore",
    "docker-compose.yml",
    "helpers",
    "pyproject.toml",
    "report",
    "requirements.txt",
    "runtime.txt",
)
"""What goes along with the notebooks: nothing of it depends on what was measured."""
LEFT_OUT = ("__pycache__", "CONTRIBUTING.md", "build", "results", "report.pdf", "*.svg")
README = """# {title}

{question}

You need Linux x86-64 and Python 3.11 to 3.13 with `venv`. On other machines start the servers that have no
wheel by `docker compose` (see `.env.example`), or say by URLs where they are.

```sh
python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt
.venv/bin/python -m helpers up
.venv/bin/jupyter lab notebooks/00_index.ipynb
```

The installation is silent for a minute or so.

Take the notebooks in order. Each but the first ends with exercises. An exercise has a cell for your answer,
a cell that checks it, and a cell for your reasons. Run the check as often as you like: it says in one line
what is missing. Do not change the checks. Hand in the notebooks with your answers. To stop the servers:

```sh
.venv/bin/python -m helpers down
```

## What a machine needs

{machine}

## Servers

{servers}
"""
ELSEWHERE = "choose another --out"


def write(out: Path | str) -> Path:
    """The course without solutions, outputs and what is for teachers, ready to install and run.

    Args:
        out: folder that does not exist yet, or is empty.

    Returns:
        Its path.

    Raises:
        HelpersError: it holds something or cannot be written, or the project is not whole.
    """
    target, root = Path(out).absolute(), checkout()
    if target.is_relative_to(root / "helpers") or target.is_relative_to(root / "report"):
        raise HelpersError(f"{target} is a part of the project, which goes into the handout; {ELSEWHERE}")
    usable(target, ELSEWHERE)
    if any(target.iterdir()):
        raise HelpersError(f"{target} is not empty; {ELSEWHERE}, or empty it")
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    with writing(target, ELSEWHERE):
        for name in FILES:
            if (root / name).is_dir():
                shutil.copytree(root / name, target / name, ignore=ignore)
            else:
                shutil.copy(root / name, target / name)
        (target / "notebooks").mkdir()
        for name in notebooks.NAMES:
            notebook = released(notebooks.read(notebooks.folder() / f"{name}.ipynb"))
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            (target / "notebooks" / f"{name}.ipynb").write_text(text, encoding="utf-8")
        (target / "README.md").write_text(_readme(), encoding="utf-8")
    return target


def _readme() -> str:
    """The page that a student reads first: title and question of the index, and what the project's own page
    says of machines and servers.
    """
    head = notebooks.read(notebooks.folder() / "00_index.ipynb")["cells"][0]["source"]
    question = re.search(r"\*\*Question\.\*\* (.*)", head)
    title = head.splitlines()[0].lstrip("# 0123456789")
    machine, servers = _told("What a machine needs", blocks=1), _told("Servers", blocks=2)
    return README.format(
        title=title, question=question[1] if question else "", machine=machine, servers=servers
    )


def _told(heading: str, *, blocks: int) -> str:
    """The first blocks below a heading of the project's page."""
    text = (checkout() / "README.md").read_text(encoding="utf-8")
    return "\n\n".join(text.split(f"\n## {heading}\n\n", 1)[1].split("\n\n")[:blocks]).rstrip()


def released(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """A notebook as students get it: the cells of ``shown`` without solutions, hidden tests and outputs.

    Args:
        notebook: as ``nbformat`` reads it; it stays as it is.
    """
    cells = []
    for cell in json.loads(json.dumps(shown(notebook["cells"]))):
        own = cell["metadata"].get("nbgrader", {})
        code, answer = cell["cell_type"] == "code", own.get("solution", False)
        if own:
            cell["source"] = _cleared(cell["source"], whole=answer, code=code)
            cell["metadata"]["deletable"] = False
            if not answer:
                cell["metadata"]["editable"] = False
        if code:
            cell |= {"execution_count": None, "outputs": []}
        cell["source"] = cell["source"].splitlines(keepends=True)
        cells.append(cell)
    return {**notebook, "cells": cells}


def shown(cells: list[Any]) -> list[Any]:
    """The cells that students get, unfolded: all but those for teachers, and those of a solution that are no
    place for an answer. What is changed is a copy.
    """
    kept = []
    for cell in cells:
        tags = set(cell["metadata"].get("tags", ()))
        if TEACHING in tags or (SOLUTION in tags and "nbgrader" not in cell["metadata"]):
            continue
        if SOLUTION in tags:
            metadata = {key: value for key, value in cell["metadata"].items() if key != "jupyter"}
            metadata["tags"] = [tag for tag in metadata["tags"] if tag != SOLUTION]
            cell = type(cell)(cell | {"metadata": type(cell["metadata"])(metadata)})
        kept.append(cell)
    return kept


def _cleared(source: str, *, whole: bool, code: bool) -> str:
    """A cell's text with what is marked taken out; all of it, when it is an answer without marks."""
    text = source
    for what, instead in MARKS.items():
        stub = rf"\1{instead}\n" if instead else ""
        text = re.sub(
            rf"^([ \t]*)[^\n]*BEGIN {what}.*?END {what}[^\n]*(?:\n|\Z)", stub, text, flags=re.M | re.S
        )
    if whole and text == source:
        return ANSWER if code else REASON
    return text.rstrip("\n")
