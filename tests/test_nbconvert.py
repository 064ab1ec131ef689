"""The published report by ``jupyter nbconvert``: code hidden by tag, figures and tables there."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import playwright
import pytest
import readme
from lab import CHROMIUM, needs_chromium
from pypdf import PdfReader

from helpers.errors import HelpersError
from helpers.report import notebooks, pdf

NAME = "06_report"
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><text x="2" y="20">seen</text></svg>'
)
CLICK = """<script>addEventListener("load", () => {
  const shown = () => [...document.querySelectorAll(".celltag_solution")].map(cell => cell.offsetHeight > 0);
  const first = shown();
  document.querySelectorAll("details.folded summary")[1].click();
  document.title = JSON.stringify({first, then: shown()});
});</script>"""
"""Tells in the page's title which solutions can be seen, before and after a click on the second line."""


def converted(form: str, folder: Path, *options: str, name: str = NAME) -> Path:
    shutil.copy(notebooks.folder() / f"{name}.ipynb", folder)
    command = [sys.executable, "-m", "nbconvert", "--to", form, *options, f"{name}.ipynb"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / f"{name}.{form.removeprefix('web')}"


def check(text: str) -> None:
    assert "Relational database design" in text
    assert "Rules that were broken on purpose" in text
    for code in ("show.claim(", "show.figure(", "import "):
        assert code not in text, code
    assert "Change the parameters, run all cells" not in text, "the cell for the notebook alone is there"


def test_html_by_the_readmes_line_has_figures_and_tables_and_no_code(tmp_path: Path) -> None:
    made = readme.run(readme.line("nbconvert"), "--output-dir", str(tmp_path))
    assert made.returncode == 0, made.stderr
    html = (tmp_path / f"{NAME}.html").read_text(encoding="utf-8")
    body = html[html.index("<body") :]
    text = re.sub(r"<[^>]+>", "", re.sub(r"<style.*?</style>|<script.*?</script>", "", body, flags=re.S))
    check(text)
    assert "In&nbsp;[" not in body and "{.unnumbered" not in text
    drawings = re.findall(r"<img[^>]*data:image/svg[^>]*>", body)
    assert len(drawings) >= 12
    notebook = json.loads((notebooks.folder() / f"{NAME}.ipynb").read_text(encoding="utf-8"))
    displays = [one for cell in notebook["cells"] for one in cell.get("outputs", ())]
    words = [one["metadata"]["report"]["alt"] for one in displays if "image/svg+xml" in one.get("data", ())]
    assert [unescape(re.search(r'alt="([^"]*)"', drawing)[1]) for drawing in drawings] == words
    assert "<style>.jp-RenderedMarkdown .highlight pre { font-family: monospace }</style>" in body
    assert body.count("<table") >= 15
    anchors = set(re.findall(r"id=[\"']([^\"']+)", body))
    links = set(re.findall(r'href="#([^"]+)"', body))
    assert len(links) > 20 and links <= anchors, links - anchors


@pytest.fixture(scope="module")
def schema_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Notebook 01 as HTML."""
    return converted("html", tmp_path_factory.mktemp("html"), name="01_schema").read_text(encoding="utf-8")


def test_html_folds_each_solution_behind_a_line(schema_page: str) -> None:
    notebook = json.loads((notebooks.folder() / "01_schema.ipynb").read_text(encoding="utf-8"))
    number = sum("solution" in cell["metadata"].get("tags", []) for cell in notebook["cells"])
    begin = r'<details class="folded">.*?</details>[\s</div>]*<div [^>]*class="([^"]*)"'
    folded = re.findall(rf"{begin}(.*?)(?=<details|$)", schema_page, flags=re.S)
    assert len(folded) == number > 0
    for classes, inside in folded:  # code says it of itself, prose of what is in it
        assert "celltag_solution" in classes + inside.partition('class="jp-Cell ')[0]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_click_unfolds_one_solution_in_a_browser(schema_page: str, tmp_path: Path) -> None:
    page = tmp_path / "01_schema.html"
    page.write_text(schema_page.replace("</body>", f"{CLICK}</body>"), encoding="utf-8")
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/browser",
    ]
    done = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()], capture_output=True, text=True
    )
    seen = json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1])
    assert seen["first"] and not any(seen["first"])
    assert seen["then"] == [number == 1 for number in range(len(seen["first"]))]


@pytest.mark.skipif(shutil.which("xelatex") is None, reason="xelatex is not on PATH")
def test_latex_makes_a_pdf_without_inkscape(tmp_path: Path) -> None:
    # Twice reads what it wrote itself; a third time, as nbconvert does by itself, does the same again.
    pages = PdfReader(converted("pdf", tmp_path, "--PDFExporter.latex_count=2")).pages
    text = re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages))
    check(text)
    assert "<td" not in text


@needs_chromium
def test_a_browser_makes_a_pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(browsers(tmp_path / "browsers")))
    pages = PdfReader(converted("webpdf", tmp_path, "--disable-chromium-sandbox")).pages
    check(re.sub(r"\s+", " ", " ".join(page.extract_text() for page in pages)))


def browsers(folder: Path) -> Path:
    """A folder in which Playwright finds the system's Chromium."""
    listed = Path(playwright.__file__).parent / "driver" / "package" / "browsers.json"
    known = {one["name"]: one["revision"] for one in json.loads(listed.read_text())["browsers"]}
    number = known["chromium"]
    for inside in (
        f"chromium-{number}/chrome-linux/chrome",
        f"chromium-{number}/chrome-linux64/chrome",
        f"chromium_headless_shell-{number}/chrome-linux/headless_shell",
        f"chromium_headless_shell-{number}/chrome-headless-shell-linux64/chrome-headless-shell",
    ):
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        (folder / inside).symlink_to(CHROMIUM or "")
    return folder


def test_a_drawing_becomes_a_page_of_its_size_with_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf.to_pdf(DRAWING.encode()))
    (page,) = PdfReader(tmp_path / "a.pdf").pages
    assert "seen" in page.extract_text()
    assert 20 <= float(page.mediabox.width) <= 45


def test_what_is_no_drawing_is_refused_in_one_line() -> None:
    with pytest.raises(HelpersError, match="Typst refuses drawing") as caught:
        pdf.to_pdf(b"not svg")
    assert "\n" not in str(caught.value)
