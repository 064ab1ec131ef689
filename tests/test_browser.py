"""The course as a student goes through it: the handout in JupyterLab, real servers, cells run again.

That each cell may be run twice in a row is seen here where a notebook's steps build on each other. The others
are run twice without a browser: cells of 01, 02, 04 and all solutions by test_exercises.py, those of the
report by test_course.py.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lab import Screen, chromium, lab, needs_chromium, prepare, variables

from helpers import servers, settings
from helpers.report import handout, notebooks
from helpers.report.notebooks import environment

pytestmark = needs_chromium
SMALLER = {
    "01_schema": 'activities["quick"] = 2_000',
    "02_population": 'scale["quick"] = [500, 1_000]',
    "03_comparison": "import smaller",
    "05_migration": 'import smaller\nbigger["quick"] = 3_000',
}
"""Lines for the end of the parameters."""
RESTARTED, INTERRUPTED, AFTER_DOWN = "02_population", "03_comparison", "04_modeling"
OWN = ("postgres", "redis", "mongodb")
"""Servers of the walk's own, which the notebooks start; Cassandra, which takes long, is the session's."""
TWICE = ("00_index", "03_comparison", "05_migration")
MEASURES = re.compile(
    r"^.* = (comparison(\.crosscheck)?|scaling\.(growth|nodes)|"
    r"trials\.(crashes|ladder|pace|scaleout))\.run\(",
    re.M,
)
"""A cell that measures for long and keeps nothing but its result; ``comparison.run`` is run again when it was
interrupted, and each is run again by the tests of what it calls.
"""
NOT_YET = re.compile(r"Not yet: `\w+` is missing\. [^\n]*\n")
"""What a check says before there is an answer."""
every_notebook = pytest.mark.parametrize("name", notebooks.NAMES)


@dataclass
class Seen:
    """What there was to see in a notebook after all cells had run; ``bars`` while they ran."""

    code: list[dict[str, Any]]
    bars: list[str]
    bars_left: list[str]
    drawings: list[bool]
    stopped: list[str] = field(default_factory=list)
    """The errors under the cells when it was interrupted."""

    def outputs(self, kind: str) -> list[dict[str, Any]]:
        """All outputs of a kind."""
        return [output for cell in self.code for output in cell["outputs"] if output["output_type"] == kind]

    def drawn(self) -> list[str]:
        """All drawings, as SVG."""
        shown = self.outputs("display_data") + self.outputs("execute_result")
        return [
            "".join(output["data"]["image/svg+xml"]) for output in shown if "image/svg+xml" in output["data"]
        ]


class Walk:
    """The notebooks in order, each gone through once however many tests ask."""

    def __init__(self, screen: Screen, own: dict[str, str]) -> None:
        self.screen = screen
        self.own = own
        self._seen: dict[str, Seen | AssertionError] = {}

    def to(self, name: str) -> Seen:
        """Go through the notebooks up to this one; what there was to see in it."""
        for before in notebooks.NAMES[: notebooks.NAMES.index(name) + 1]:
            if before not in self._seen:
                try:
                    self._seen[before] = self._through(before)
                except AssertionError as error:
                    self._seen[before] = error
            if isinstance(failed := self._seen[before], AssertionError):
                raise AssertionError(f"{before}: {failed}")
        seen = self._seen[name]
        assert not isinstance(seen, AssertionError)
        return seen

    def _through(self, name: str) -> Seen:
        if name == AFTER_DOWN:
            down(self.own)
        screen, stopped = self.screen, []
        screen.open(name)
        screen.run_all()
        if name == RESTARTED:
            screen.until(lambda: any(screen.counts()[6:]), "the first cells")
            screen.restart()
            screen.run_all()
        if name == INTERRUPTED:
            screen.until(lambda: any("comparison:" in bar for bar in screen.bars()), "the comparison")
            screen.interrupt()
            stopped = screen.errors()
            screen.run_all()
        bars = screen.finish()
        seen = Seen(screen.code(), bars, screen.bars(), [], stopped)
        seen.drawings = screen.drawings(len(seen.drawn()))
        return seen


def again(cell: Any) -> bool:
    return not MEASURES.search(cell.source)


def down(own: dict[str, str], *options: str) -> None:
    command = [sys.executable, "-m", "helpers", "down", *options]
    subprocess.run(command, env=os.environ | own, check=True, capture_output=True)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, cassandra_url: str) -> Iterator[Walk]:
    course, run = (tmp_path_factory.mktemp(name) for name in ("course", "run"))
    handout.write(course)
    home = Path(tempfile.mkdtemp(prefix="course-walk-"))  # PostgreSQL's own user has to get there
    state = Path(tempfile.mkdtemp(prefix="lab-"))  # short: sockets of kernels have paths of 107 bytes at most
    for name in notebooks.NAMES:
        prepare(
            course / "notebooks" / f"{name}.ipynb",
            parameters=SMALLER.get(name, ""),
            again=again if name in TWICE else lambda _: False,
        )
    own = variables(run / "results", home, course) | {"CASSANDRA_URL": cassandra_url}
    try:
        with lab(course / "notebooks", state, own) as running, chromium(running) as screen:
            yield Walk(screen, own)
    finally:
        down(own, "--delete")
        for folder in (home, state):
            shutil.rmtree(folder)


@every_notebook
def test_all_cells_run_without_an_error(walk: Walk, name: str) -> None:
    seen = walk.to(name)
    assert seen.outputs("error") == []
    assert all(cell["execution_count"] for cell in seen.code)
    said = ["".join(output["text"]) for output in seen.outputs("stream") if output["name"] == "stderr"]
    assert [text for text in said if not NOT_YET.fullmatch(text)] == []
    assert walk.screen.faults == []


@pytest.mark.parametrize("name", notebooks.NAMES[1:])
def test_each_check_says_that_an_answer_is_missing(walk: Walk, name: str) -> None:
    checks = [cell for cell in walk.to(name).code if "check" in cell["metadata"].get("tags", [])]
    said = ["".join(text for output in cell["outputs"] for text in output["text"]) for cell in checks]
    assert len(checks) >= 2 and all(map(NOT_YET.fullmatch, said)), said


@every_notebook
def test_every_drawing_is_on_the_screen_in_any_theme(walk: Walk, name: str) -> None:
    seen = walk.to(name)
    drawn = seen.drawn()
    assert drawn or name == "00_index"
    assert len(seen.drawings) == len(drawn)
    assert all(seen.drawings)
    for svg in drawn:  # dark lines on a ground of their own
        ground = re.search(r"<(?:path|polygon|rect)\b[^>]*>", svg)
        assert ground and re.search("white|#ffffff", ground[0]), svg[:1000]


@pytest.mark.parametrize("name", ["03_comparison", "05_migration"])
def test_progress_bars_move_and_are_gone_in_the_end(walk: Walk, name: str) -> None:
    seen = walk.to(name)
    assert len(set(seen.bars)) > 1, seen.bars
    odd = [bar for bar in seen.bars if not re.match(r"[\w, ]+:.* \S+/\S+ \[\d\d:\d\d<", bar)]
    assert not odd
    assert seen.bars_left == []


def test_a_cell_that_is_interrupted_says_so_and_all_run_again(walk: Walk) -> None:
    seen = walk.to(INTERRUPTED)
    assert [error.partition(":")[0] for error in seen.stopped] == ["KeyboardInterrupt"]
    assert seen.outputs("error") == []


def test_a_restart_in_the_middle_begins_the_count_anew(walk: Walk) -> None:
    seen = walk.to(RESTARTED)
    assert [cell["execution_count"] for cell in seen.code] == list(range(1, len(seen.code) + 1))


def test_notebooks_start_the_servers_that_do_not_run(walk: Walk) -> None:
    table = walk.to("00_index").outputs("execute_result")[-1]["data"]["text/plain"]
    assert "".join(table).count("not running") == len(OWN)
    walk.to(AFTER_DOWN)
    with environment(**walk.own):
        found = servers.status()
    assert all(found[name].running for name in settings.NAMES)


def test_the_last_notebook_makes_the_report_of_this_walk(walk: Walk) -> None:
    seen = walk.to("06_report")
    assert (Path(walk.own["HELPERS_RESULTS"]).parent / "report.pdf").stat().st_size > 100_000
    text = str(seen.code)
    assert "Quick profile" in text
