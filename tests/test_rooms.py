"""The house: ten rooms with a face each, imports that point one way, nothing loaded before it is needed."""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from helpers import settings

ROOT = settings.project_root()
HELPERS = ROOT / "helpers"
MODULES = sorted(path for path in HELPERS.rglob("*.py") if path.name != "__init__.py")
GROUND = {"__init__", "__main__", "cli", "settings", "errors", "text", "progress", "results", "columns"}
ENGINE, COURSE = (
    {"model", "source", "target", "migration"},
    {"relational", "comparison", "scaling", "trials"},
)
STANDS_ON: Mapping[str, set[str]] = {
    "servers": set(),
    "report": {"servers"},
    "model": set(),
    "source": {"model", "servers"},
    "target": {"model", "servers"},
    "migration": {"model", "source", "target", "servers"},
    "relational": {"model", "source", "servers", "report"},
    "comparison": {"relational", "servers", "report"},
    "scaling": {"relational", "comparison", "servers", "report"},
    "trials": {"model", "source", "target", "migration", "relational", "servers", "report"},
}
"""Which rooms each room may use."""
MOST_NAMES = 8
DRIVERS = ("psycopg2", "redis", "pymongo", "cassandra")


def room(path: Path) -> str | None:
    """The room that a module stands in; None for the ground."""
    parts = path.relative_to(HELPERS).parts
    return parts[0] if len(parts) > 1 else None


def face(name: str) -> dict[str, Path]:
    """The names that a room shows, and the module that each comes from."""
    found = {}
    for node in ast.parse((HELPERS / name / "__init__.pyi").read_text(encoding="utf-8")).body:
        assert isinstance(node, ast.ImportFrom) and node.level == 1, ast.unparse(node)
        for alias in node.names:
            found[alias.name] = HELPERS / name / f"{node.module or alias.name}.py"
    return found


FACES = {name: face(name) for name in STANDS_ON}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of each import from this package, but for those that types alone need."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.split(".")[0] == "helpers"]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            yield from ((node.module or "", alias.name) for alias in node.names)


def imported(path: Path) -> Iterator[Path]:
    """The modules that a module imports: through a face, of its own room, or of the ground."""
    for module, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = module.split(".")[1:]
        if parts and parts[0] in FACES and len(parts) == 1 and name in FACES[parts[0]]:
            yield FACES[parts[0]][name]
        elif not parts and name in FACES:
            yield from FACES[name].values()  # the face itself: whatever it shows
        else:
            beside = HELPERS.joinpath(*parts, f"{name}.py")
            yield beside if beside.exists() else HELPERS.joinpath(*parts).with_suffix(".py")


def test_ten_rooms_and_nine_files() -> None:
    found = {path for path in HELPERS.iterdir() if path.name != "__pycache__"}
    assert {path.name for path in found if path.is_dir()} == STANDS_ON.keys()
    assert {path.stem for path in found if path.suffix == ".py"} == GROUND


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_another_room_is_entered_by_its_face(path: Path) -> None:
    for module, name in imports(ast.parse(path.read_text(encoding="utf-8"))):
        other, *inside = module.split(".")[1:] or [name if name in FACES else ""]
        if other in FACES and other != room(path):
            assert not inside, f"{module} is inside of another room"
            assert module == "helpers" or name in FACES[other], f"{other} shows no {name}"


def test_rooms_use_each_other_one_way() -> None:
    arrows = {
        (path.relative_to(HELPERS).as_posix(), room(one))
        for path in MODULES
        for one in imported(path)
        if room(path) is not None and room(one) not in (None, room(path))
    }
    wrong = {(path, other) for path, other in arrows if other not in STANDS_ON[path.split("/")[0]]}
    assert not wrong
    assert not {(path, other) for path, other in arrows if path.split("/")[0] in ENGINE and other in COURSE}
    list(TopologicalSorter(STANDS_ON).static_order())


def test_no_module_imports_itself_by_way_of_others() -> None:
    list(TopologicalSorter({path: set(imported(path)) for path in MODULES}).static_order())


def test_the_ground_knows_no_room() -> None:
    ground = [path for path in MODULES if room(path) is None and path.stem not in ("cli", "__main__")]
    assert len(ground) > 5
    assert not [(path.name, room(one)) for path in ground for one in imported(path) if room(one)]


def test_the_page_for_newcomers_draws_the_rooms_as_they_are() -> None:
    (drawn,) = re.findall(
        r"^```text\n(.*?)^```$", (HELPERS / "CONTRIBUTING.md").read_text(), flags=re.M | re.S
    )
    rooms = [word for line in drawn.splitlines() for word in line.split()[:2] if word in STANDS_ON]
    assert sorted(rooms) == sorted(STANDS_ON)
    below = {name: set(rooms[number + 1 :]) for number, name in enumerate(rooms)}
    for name, others in STANDS_ON.items():
        assert others <= below[name], name
    assert drawn.split("ground", 1)[1].split() == [
        "settings",
        "errors",
        "text",
        "progress",
        "results",
        "columns",
    ]


@pytest.mark.parametrize("name", STANDS_ON)
def test_a_face_shows_what_it_says(name: str) -> None:
    shown = importlib.import_module(f"helpers.{name}")
    assert shown.__doc__ and sorted(shown.__all__) == sorted(FACES[name])
    for one, path in FACES[name].items():
        found = getattr(shown, one)
        if one == path.stem:
            assert found.__name__ == f"helpers.{name}.{one}", "a module, not what it hides"
        else:
            assert not (HELPERS / name / f"{one}.py").exists(), f"{one} would be hidden by a module"


def test_claims_and_figures_reach_no_server() -> None:
    drawing = [
        path
        for path in MODULES
        if path.stem.endswith(("claims", "figures", "tables")) and room(path) != "migration"
    ]
    waiting, reached = list(drawing), set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += imported(path)
    assert len(drawing) > 15 and HELPERS / "results.py" in reached
    assert not [path.name for path in reached if room(path) == "servers"]


CHAPTERS = """
from helpers import comparison, relational, scaling, trials
from helpers.report import claim, show, style
comparison.claims, comparison.tables, comparison.figures, comparison.decision_figures
comparison.published_claims, comparison.crosscheck_claims
scaling.claims, scaling.tables, scaling.figures, scaling.nodes_claims
relational.claims, relational.tables, relational.figures, relational.modeling_claims
trials.crashes_claims, trials.migration_claims, trials.ladder_claims, trials.scaleout_claims, trials.figures
trials.pace_claims
"""


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (
            "from helpers.migration import migrate, verify, follow, restore",
            ("pandas", "matplotlib", *DRIVERS[2:]),
        ),
        ("from helpers import cli; cli.build_parser()", ("pandas", "matplotlib", "numpy", *DRIVERS)),
        (CHAPTERS, DRIVERS),
    ],
    ids=["the engine", "the command line", "claims and figures"],
)
def test_nothing_is_loaded_before_it_is_needed(code: str, unwanted: tuple[str, ...]) -> None:
    code += f"\nimport sys; print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_enters_by_faces_and_takes_few_names(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found = set(imports(ast.parse(code)))
    assert 0 < len({name for _, name in found}) <= MOST_NAMES
    for module, name in found:
        other, *inside = module.split(".")[1:] or [""]
        assert not inside and (other not in FACES or name in FACES[other]), f"from {module} import {name}"
    for name in {name for module, name in found if module == "helpers" and name in FACES}:
        unknown = {one for one in re.findall(rf"(?<![\w.\"'/]){name}\.(\w+)", code) if one not in FACES[name]}
        assert not unknown, f"{name} shows no {unknown}"
