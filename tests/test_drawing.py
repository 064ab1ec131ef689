"""Two processes draw a report's figures: the same ones as one alone, whatever becomes of the second."""

import json
import os
import re
from pathlib import Path

import psutil
import pytest

from helpers import report
from helpers.errors import HelpersError
from helpers.report import drawing, notebooks

FIGURES = 6


def notebook(folder: Path, cell: str) -> Path:
    """A notebook whose cells each draw one figure, which says which process drew it."""
    source = f"""
import os, psutil
from helpers.report import drawing
from IPython.display import display_markdown
place = {{}}
def draw():
    {cell}
    return f"<svg>{{number}} {{os.getpid()}}</svg>"
"""
    show = "number = {0}\ndisplay_markdown(drawing.svg(draw), raw=True)"
    cells = [source, *(show.format(i) for i in range(FIGURES))]
    path = folder / "drawn.ipynb"
    code = [{"cell_type": "code", "metadata": {}, "source": [text]} for text in cells]
    path.write_text(json.dumps({"cells": code}), encoding="utf-8")
    return path


def drawn(path: Path) -> list[int]:
    """Which process drew each figure."""
    before = set(psutil.Process().children())
    with drawing.shared(path, {}):
        executed = notebooks.run_here(path)
    assert set(psutil.Process().children()) <= before, "the second process is left"
    text = json.dumps(executed["cells"])
    found = re.findall(r"<svg>(\d) (\d+)</svg>", text)
    assert [int(number) for number, _ in found] == list(range(FIGURES))
    return [int(process) for _, process in found]


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core: one process draws all")
def test_every_second_figure_is_drawn_by_another_process(tmp_path: Path) -> None:
    by = drawn(notebook(tmp_path, "pass"))
    assert set(by[::2]) == {os.getpid()}
    assert len(set(by[1::2])) == 1 and os.getpid() not in by[1::2]


def test_one_core_draws_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert set(drawn(notebook(tmp_path, "pass"))) == {os.getpid()}


def test_what_a_killed_process_would_have_drawn_is_drawn_here(tmp_path: Path) -> None:
    dies = f"if os.getpid() != {os.getpid()} and number == 3: os.kill(os.getpid(), 9)"
    by = drawn(notebook(tmp_path, dies))
    assert by[3] == by[5] == os.getpid() != by[1]


def test_what_fails_there_is_told_from_here(tmp_path: Path) -> None:
    path = notebook(tmp_path, "assert number != 3, 'three is too many'")
    with drawing.shared(path, {}), pytest.raises(HelpersError, match=r"cell 5: .*three is too many"):
        notebooks.run_here(path)


def test_the_report_is_the_same_to_the_byte_from_one_process_and_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = report.published_folder()
    both = report.build(results=results, out=tmp_path / "both").read_bytes()
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert report.build(results=results, out=tmp_path / "one").read_bytes() == both
