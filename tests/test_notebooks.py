"""Every committed notebook, read without running it."""

import ast
import json
import re
from typing import Any

import nbformat
import pytest

from helpers.report import notebooks, publication

LONGEST_CELL = 25
MEASURED = re.compile(
    r"(?<![\w.$])\d[\d,.]*\s?(?:ns|µs|us|ms|s|sec|seconds?|minutes?|min|kB|KB|MB|GB|KiB|MiB|GiB|bytes|%|percent"
    r"|times|x|×|rows/s|ops/s|rows per second|operations per second)(?![\w/])"
)
VERDICTS = re.compile(
    r"\b(faster|fastest|slower|slowest|winner|wins|outperforms?|sub-millisecond|best)\b", re.I
)
ABSOLUTE = re.compile(r"(?<![\w.:/])/(?:root|home|Users|tmp|work|usr|var|opt)/\w")
PASSWORD = re.compile(r"\b\w+://[^\s:@/]*:(?!\*\*\*)[^\s:@/]+@")

every_notebook = pytest.mark.parametrize("name", notebooks.NAMES)


def read(name: str) -> Any:
    return nbformat.read(notebooks.folder() / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def cells(name: str, kind: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == kind]


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def test_no_other_notebooks() -> None:
    assert {path.stem for path in notebooks.folder().glob("*.ipynb")} == set(notebooks.NAMES)


@every_notebook
def test_is_valid(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata


@every_notebook
def test_header_asks_needs_writes_and_leads_on(name: str) -> None:
    header = cells(name, "markdown")[0].source
    number = notebooks.NAMES.index(name)
    assert header.startswith("# ") and "question" in header.lower()
    for word in ("needs", "writes"):
        assert word in header.lower(), word
    if number > 0:
        assert f"({notebooks.NAMES[number - 1]}.ipynb)" in header
    if number < len(notebooks.NAMES) - 1:
        assert f"({notebooks.NAMES[number + 1]}.ipynb)" in header


@every_notebook
def test_links_lead_somewhere(name: str) -> None:
    for cell in cells(name, "markdown"):
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", cell.source):
            assert (notebooks.folder() / target).exists(), target


@every_notebook
def test_parameters_are_plain_literals(name: str) -> None:
    tagged = [cell for cell in cells(name, "code") if "parameters" in tags(cell)]
    assert len(tagged) == (0 if name == "00_index" else 1)
    for cell in tagged:
        names = set()
        for statement in ast.parse(cell.source).body:
            assert isinstance(statement, ast.Assign)
            ast.literal_eval(statement.value)
            names |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        assert "profile" in names or name == "06_report"


@every_notebook
def test_cells_are_short_and_catch_nothing_broad(name: str) -> None:
    for number, cell in enumerate(cells(name, "code"), start=1):
        lines = cell.source.splitlines()
        assert len(lines) <= LONGEST_CELL, f"code cell {number} has {len(lines)} lines"
        if lines and lines[0].startswith("%%"):
            continue
        for node in ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.M))):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                assert not re.search(r"\b(everything|Exception|BaseException)\b", caught), (
                    f"code cell {number}"
                )


@every_notebook
def test_prose_types_no_measurement(name: str) -> None:
    for cell in cells(name, "markdown"):
        prose = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.S)
        found = MEASURED.search(prose)
        assert not found, f"{found.group()!r} in: {cell.source[:80]}"


def test_the_report_types_no_verdict() -> None:
    for cell in cells("06_report", "markdown"):
        found = VERDICTS.search(cell.source)
        assert not found, f"{found.group()!r} in: {cell.source[:80]}"


def test_the_report_shows_no_code() -> None:
    for cell in cells("06_report", "code"):
        assert tags(cell) & {"remove-input", "notebook-only"}, cell.source[:80]


@every_notebook
def test_outputs_hold_no_path_host_or_password(name: str) -> None:
    text = json.dumps([cell.outputs for cell in cells(name, "code")], ensure_ascii=False)
    for pattern in (ABSOLUTE, PASSWORD):
        found = pattern.search(text)
        assert not found, text[max(0, found.start() - 60) : found.end() + 20]
    publication.refuse(text, name, publication.secrets())


@every_notebook
def test_outputs_are_of_one_run_from_top_to_bottom(name: str) -> None:
    code = cells(name, "code")
    counts = [cell.execution_count for cell in code]
    assert counts in ([None] * len(code), list(range(1, len(code) + 1)))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert not any("injected-parameters" in tags(cell) for cell in code)


@every_notebook
def test_figures_are_shown_so_that_they_are_seen_untrusted_too(name: str) -> None:
    for cell in cells(name, "code"):
        assert not re.search(r"\bSVG\(|style\.svg|pyplot|%matplotlib", cell.source), cell.source[:80]


@every_notebook
def test_solutions_are_folded(name: str) -> None:
    for cell in cells(name, "code"):
        if "solution" in tags(cell):
            assert cell.metadata.get("jupyter", {}).get("source_hidden") is True


def test_the_patterns_find_what_they_are_for() -> None:
    for text in ("takes 3 ms", "2.15x", "about 50 %", "12,000 rows/s", "1.2 s"):
        assert MEASURED.search(text), text
    for text in ("$10-$100", "20 users", "section 3", "p99.9", "VARCHAR(50)"):
        assert not MEASURED.search(text), text
    assert ABSOLUTE.search('"/home/x/y"') and not ABSOLUTE.search("https://x.org/home/x")
    assert PASSWORD.search("redis://:abc@127.0.0.1") and not PASSWORD.search("redis://:***@127.0.0.1")
