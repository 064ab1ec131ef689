"""nbgrader on the notebooks as they stand: it makes what the handout holds, and finds the points."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from test_exercises import FEWER, POINTS, exercises

from helpers import settings
from helpers.report import handout, notebooks

ROOT = settings.project_root()
TRIED = "01_schema"
"""The notebook that is handed in and graded: it needs PostgreSQL alone."""
WRONG = {
    1: 'rule = "ALTER TABLE orders ADD CONSTRAINT sensible CHECK (quantity BETWEEN 0 AND 5)"',
    2: "pages_before = pages_after = [5, 9, 9, 9]",
    3: 'design = "SELECT 1"\n'
    'worth = "SELECT sum(quantity * price) FROM orders JOIN products USING (product_id)"',
}
"""Answers that do not hold, by exercise."""
GRADES = """
import json, sys
from nbgrader.api import Gradebook

with Gradebook("sqlite:///" + sys.argv[1]) as book:
    found = {}
    for submission in book.assignment_submissions("notebooks"):
        (one,) = (part for part in submission.notebooks if part.name == sys.argv[2])
        found[submission.student.id] = {
            grade.name: (grade.auto_score, grade.needs_manual_grade) for grade in one.grades
        }
    print(json.dumps({"submissions": found, "most": book.find_assignment("notebooks").max_score}))
"""


def nbgrader(course: Path, *words: str) -> str:
    """Run a command of nbgrader in a folder; what it said."""
    own = {
        **{
            name: str(course / name.lower())
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
        },
        "HELPERS_RESULTS": str(course / "results"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "nbgrader", *words]
    done = subprocess.run(command, cwd=course, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the notebooks, as they are but for the size of an experiment, and their release."""
    folder = tmp_path_factory.mktemp("nbgrader")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    shutil.copytree(notebooks.folder(), folder / "notebooks")
    path = folder / "notebooks" / f"{TRIED}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (cell,) = (one for one in notebook["cells"] if "parameters" in one["metadata"].get("tags", ()))
    cell["source"] += [f"\n{name} = {value!r}" for name, value in FEWER[TRIED].items()]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    nbgrader(folder, "generate_assignment", "notebooks")
    return folder


def released(course: Path, name: str) -> Any:
    return nbformat.read(course / "release" / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_its_release_is_the_handout(course: Path, name: str) -> None:
    path = course / "notebooks" / f"{name}.ipynb"
    ours = nbformat.from_dict(handout.released(nbformat.read(path, as_version=4)))
    theirs = released(course, name)
    assert len(ours.cells) == len(theirs.cells)
    for mine, its in zip(ours.cells, theirs.cells, strict=True):
        own, added = dict(mine.metadata), dict(its.metadata)
        for marks in (own, added):
            marks["nbgrader"] = {
                key: value
                for key, value in marks.get("nbgrader", {}).items()
                if key not in ("checksum", "cell_type")
            }
        assert (own, mine.cell_type, "".join(mine.source)) == (added, its.cell_type, its.source)


def test_its_release_has_no_page_for_teachers(course: Path) -> None:
    found = {path.name for path in (course / "release" / "notebooks").iterdir()}
    assert found == {f"{name}.ipynb" for name in notebooks.NAMES}


def hand_in(course: Path, student: str, answers: Mapping[int, str], reason: str | None) -> None:
    """A handout's notebook with these answers by exercise, and a reason in words for each."""
    notebook = handout.released(nbformat.read(course / "notebooks" / f"{TRIED}.ipynb", as_version=4))
    for cell in notebook["cells"]:
        number, _, part = (
            cell["metadata"].get("nbgrader", {}).get("grade_id", "").partition("-")[2].partition("-")
        )
        if part == "answer" and answers:
            cell["source"] = answers[int(number)]
        if part == "reason" and reason:
            cell["source"] = reason
    folder = course / "submitted" / student / "notebooks"
    folder.mkdir(parents=True)
    (folder / f"{TRIED}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


@pytest.mark.usefixtures("postgres_server")
def test_right_wrong_and_missing_answers_get_their_points(course: Path) -> None:
    right = {
        exercise.number: re.sub(
            r"^### (BEGIN|END) SOLUTION\n?",
            "",
            "\n".join(cell.source for cell in exercise.solution),
            flags=re.M,
        )
        for exercise in exercises(TRIED)
    }
    hand_in(course, "right", right, "Because.")
    hand_in(course, "wrong", WRONG, "Because.")
    hand_in(course, "nothing", {}, None)
    nbgrader(course, "autograde", "notebooks", "--notebook", TRIED)
    script = [sys.executable, "-c", GRADES, str(course / "gradebook.db"), TRIED]
    found = json.loads(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    graded = {
        student: {
            part: [of[f"exercise-{exercise.number}-{part}"] for exercise in exercises(TRIED)]
            for part in ("check", "reason")
        }
        for student, of in found["submissions"].items()
    }
    points = [POINTS[exercise.grade][0] for exercise in exercises(TRIED)]
    assert graded["right"]["check"] == [[point, False] for point in points]
    assert graded["wrong"]["check"] == graded["nothing"]["check"] == [[0, False]] * 3
    assert graded["right"]["reason"] == graded["wrong"]["reason"] == [[None, True]] * 3
    assert graded["nothing"]["reason"] == [[0, False]] * 3
    assert found["most"] == 12 * (len(notebooks.NAMES) - 1)
