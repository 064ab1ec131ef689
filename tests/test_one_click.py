"""The files for Codespaces, Binder and GitHub's runners: valid, and in agreement with the README.

None of them can be started here.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import readme
import yaml
from packaging.specifiers import SpecifierSet

from helpers import settings

ROOT = settings.project_root()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTAINER: dict[str, Any] = json.loads(
    (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
)
WITH_WHEELS = SpecifierSet(">=3.11,<3.14")
"""Of Python, for which each server has a wheel."""


@pytest.mark.slow
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_valid_by_the_published_schema(path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        str(path),
    ]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def steps(name: str) -> list[dict[str, Any]]:
    """The steps of the one job of a workflow."""
    (path,) = (path for path in WORKFLOWS if path.stem == name)
    (job,) = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    assert job["timeout-minutes"] and job["runs-on"].startswith("ubuntu-")
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_workflows_run_what_is_run_here_and_may_only_read() -> None:
    assert [path.stem for path in WORKFLOWS] == ["course", "tests"]
    assert steps("tests")[-1] == {"run": ".ci/run"}
    *_, run, keep = steps("course")
    assert run["run"] == f'{readme.line("helpers run")} --profile "$PROFILE"'
    assert keep["with"]["path"] == "report/build/report.pdf"
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
        assert "${{" not in "".join(re.findall(r"run: (.*)", text)), "text from outside in a command"


def test_each_takes_a_python_that_all_servers_have_wheels_for() -> None:
    matrix = yaml.safe_load(next(p for p in WORKFLOWS if p.stem == "tests").read_text(encoding="utf-8"))
    versions = list(matrix["jobs"]["tests"]["strategy"]["matrix"]["python"])
    (pinned,) = {
        re.fullmatch(r"python-(3\.\d+)\n", (ROOT / "runtime.txt").read_text(encoding="utf-8"))[1],
        re.search(r"python:(3\.\d+)-", CONTAINER["image"])[1],
        next(
            step["with"]["python-version"]
            for step in steps("course")
            if "python-version" in step.get("with", {})
        ),
    }
    assert pinned in versions and all(version in WITH_WHEELS for version in versions)


def test_the_container_is_what_its_reference_allows() -> None:
    known = {"name", "image", "hostRequirements", "postCreateCommand", "postStartCommand", "customizations"}
    assert CONTAINER.keys() == known
    assert all(isinstance(CONTAINER[name], str) for name in known - {"hostRequirements", "customizations"})
    needs = CONTAINER["hostRequirements"]
    assert needs.keys() == {"cpus", "memory", "storage"} and needs["cpus"] == 2
    assert all(re.fullmatch(r"\d+([tgmk]b)?", needs[name]) for name in ("memory", "storage"))
    venv, install, _ = readme.line("helpers run").split(" && ")
    assert CONTAINER["postCreateCommand"] == f"{venv} && {install}"
    assert CONTAINER["postStartCommand"] == readme.line("helpers up")


def test_the_readme_says_that_they_were_not_started() -> None:
    told = re.sub(r"\s+", " ", readme.section("Limitations"))
    assert "Codespaces, Binder and GitHub's runners could not be started here" in told
