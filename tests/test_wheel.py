"""The package alone, as a wheel brings it: the engine works, and what needs more says so in one line."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from migrating import dump
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import settings

ROOT = settings.project_root()
MODULES = {
    "cassandra-driver": "cassandra",
    "faker": "faker",
    "jsonschema": "jsonschema",
    "matplotlib": "matplotlib",
    "nbformat": "nbformat",
    "pandas": "pandas",
    "papermill": "papermill",
    "pymongo": "pymongo",
    "pypandoc-binary": "pypandoc",
    "scipy": "scipy",
    "typst": "typst",
}
"""What is imported of the course's packages, by their names."""
ABSENT = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)\n"


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder with the package and nothing else of the project, where packages of the course are lacking."""
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for name in MODULES.values():
        (tmp_path / f"{name}.py").write_text(ABSENT, encoding="utf-8")
    return tmp_path


def call(alone: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    without = {name: value for name, value in os.environ.items() if name != "HELPERS_RESULTS"}
    return subprocess.run(
        [sys.executable, "-m", "helpers", *words],
        cwd=alone,
        env={**without, "PYTHONPATH": str(alone), **variables},
        capture_output=True,
        text=True,
    )


def test_the_course_needs_what_is_taken_away_here() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {canonicalize_name(Requirement(one).name) for one in project["optional-dependencies"]["course"]}
    assert MODULES.keys() <= extra


def test_the_engine_moves_verifies_and_restores(
    alone: Path, source: str, redis_url: str, postgres_url: str
) -> None:
    urls = {"POSTGRES_URL": source, "REDIS_URL": redis_url}
    for words in (("migrate",), ("verify",), ("migrate", "--dry-run")):
        done = call(alone, *words, **urls)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert dump(redis_url)
    done = call(alone, "restore", "--source", redis_url, "--target", postgres_url, "--schema", "alone_again")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("run",), ("report",), ("bench",), ("ladder",), ("crashes",)])
def test_what_needs_the_notebooks_says_so_before_servers_start(alone: Path, words: tuple[str, ...]) -> None:
    done = call(alone, *words, HELPERS_HOME=str(alone / "home"))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"helpers {words[0]}: notebooks and report are not in .*\n", done.stderr), (
        done.stderr
    )
    assert ("HELPERS_RESULTS" in done.stderr) == (words[0] not in ("run", "report"))
    assert not (alone / "home").exists() or not list((alone / "home").rglob("server.json"))


def test_a_package_of_the_course_that_is_lacking_is_one_line(alone: Path) -> None:
    done = call(alone, "populate", "--source", "postgresql://nobody@127.0.0.1:1/none")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"helpers populate: the Python package faker is not installed, .*\n", done.stderr)
