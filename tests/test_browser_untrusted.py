"""Outputs of a notebook that JupyterLab does not trust: what is to be seen of them."""

import shutil
import tempfile
from pathlib import Path

import nbformat
import pytest
from lab import chromium, lab, needs_chromium, variables
from nbformat.v4 import new_code_cell, new_notebook

from helpers.report import notebooks

pytestmark = [needs_chromium, pytest.mark.slow]


def test_a_notebook_that_is_not_trusted_shows_figures_and_tables(tmp_path: Path) -> None:
    """Somebody else's outputs, or one's own after save and reopen: JupyterLab shows no SVG of these."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30"/></svg>'
    )
    code = (
        "import pandas as pd\nfrom helpers.report import show\nfrom helpers.results import Results\n"
        f"show.drawing({svg!r})\n"
        "show.table(Results({}), lambda _: pd.DataFrame({'a': [1]}), label='tbl-a', caption='b')"
    )
    work, state = tmp_path / "work", Path(tempfile.mkdtemp(prefix="lab-"))
    work.mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata=kernel), tmp_path / "theirs.ipynb")
    notebooks.run_kernel(tmp_path / "theirs.ipynb", work / "theirs.ipynb", {}, title="", progress=False)
    own = variables(tmp_path / "results", tmp_path / "home")
    try:
        with lab(work, state, own) as running, chromium(running) as screen:
            screen.open("theirs")
            pictures = screen.notebook.locator(".jp-OutputArea-output img[src^='data:image/png']")
            screen.until(pictures.count, "the picture")
            assert pictures.evaluate("one => one.getBoundingClientRect().width") >= 40
            assert screen.notebook.locator(".jp-OutputArea-output table td").count() == 1
            assert screen.notebook.locator(".jp-RenderedSVG").count() == 0
            screen.run_all()
            screen.finish()
            assert screen.drawings(1)
            assert pictures.count() == 0
    finally:
        shutil.rmtree(state)
