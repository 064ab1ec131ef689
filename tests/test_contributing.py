"""What helpers/CONTRIBUTING.md promises: a fifth table, a fifth store, imports that point one way, paths."""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fifth_store import PostgresStore

from helpers import settings
from helpers.comparison import answers, loops, stores
from helpers.comparison.workload import OPERATIONS, Population, Workload
from helpers.relational import schema
from helpers.relational.rows import Rows
from helpers.servers import connections

TESTS = Path(__file__).parent
ROOT = settings.project_root()
PAGE = (ROOT / "helpers" / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = sorted((ROOT / "helpers").rglob("*.py"))


def test_a_fifth_table_is_migrated_verified_and_restored(postgres_url: str, redis_url: str) -> None:
    back = "fifth_again"
    done = subprocess.run(
        [sys.executable, TESTS / "fifth_table.py"],
        input=json.dumps([postgres_url, redis_url, back]),
        capture_output=True,
        text=True,
    )
    with connections.postgres(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {back} CASCADE")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["migrated"]["status"] == "verified"
    assert found["migrated"]["rows_read"] == {
        "users": 6, "products": 3, "activities": 30, "orders": 12, "reviews": 202
    }  # fmt: skip
    assert found["migrated"]["rows_rejected"]["reviews"] == 2
    assert found["migrated"]["rejects_by_reason"] == {"infinite_date": 1, "no_field": 1}
    assert found["hash"] == {
        "user_id": "4", "stars": "3", "body": "a\tb:\u00e9", "written_at": "2026-04-01T00:00:03.000003"
    }  # fmt: skip
    assert found["damaged"] == {"altered field": 1, "missing key": 1, "extra key": 1} == found["caught_up"]
    assert found["restored"]["rows"]["reviews"] == 200
    assert found["again"] == found["rows"][:200]
    assert found["next"] == 201
    assert "reviews" not in schema.TABLES


def test_a_further_store_answers_as_the_others_do(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores.STORES, "postgres", PostgresStore)
    made = Rows(users=30, products=7, activities=400, orders=60, seed=3)
    tables: dict[str, Any] = {table: list(made.table(table)) for table in schema.TABLES}
    tables["activities"].sort(key=lambda row: (row[1], row[3], row[0]))
    latest = max(row[3] for table in ("activities", "orders") for row in tables[table])
    population = Population(**made.counts, latest=latest)
    stream = Workload(population, seed=3).stream(300, "50/50")
    with stores.connect("redis", redis_url) as redis, stores.connect("postgres", postgres_url) as store:
        for one in (redis, store):
            one.create()
            one.load(**tables)
        assert answers.compare([redis, store], population, users=30, orders=60)["misses"] > 0
        runs = {one.name: loops.closed(one, [stream]) for one in (redis, store)}
        assert [run.errors for run in runs.values()] == [0, 0]
        assert answers.compare_runs(runs) > 0
        assert answers.compare([redis, store], population, users=30, orders=60)["last_activities"] > 30
        assert set(store.IDIOMS) == set(OPERATIONS)
        store.append_activity(10**6, 1, "only here", latest)
        with pytest.raises(
            answers.Different, match=r"^last_activities\(1, 20\): redis answers .* and postgres"
        ):
            answers.compare([redis, store], population, users=30, orders=60)
        for one in (redis, store):
            one.drop()


def rows() -> dict[str, list[str]]:
    """The paths in each row of the page's first table, by the row's noun."""
    cells = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
    return {noun.strip(): re.findall(r"`(.+?)`", paths) for noun, paths in cells}


def place(path: Path) -> list[int]:
    """The numbers of the rows that a module stands in."""
    name = path.relative_to(ROOT).as_posix()
    return [
        number
        for number, paths in enumerate(rows().values())
        if any(name == one or (one.endswith("/") and name.startswith(one)) for one in paths)
    ]


def imported(path: Path) -> Iterator[Path]:
    """The modules of the package that a module imports, anywhere but for its types alone."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            folder = ROOT.joinpath(*(node.module or "").split("."))
            for name in node.names:
                found = (
                    folder / f"{name.name}.py",
                    folder / name.name / "__init__.py",
                    folder / "__init__.py",
                )
                yield next((one for one in found if one.exists()), folder.with_suffix(".py"))


def test_each_module_has_one_place_and_imports_none_of_a_later_row() -> None:
    places = {
        path: place(path) for path in MODULES if path.parent != ROOT / "helpers" or path.stem != "__init__"
    }
    assert not [path.name for path, found in places.items() if len(found) != 1]
    wrong = [(path.name, one.name) for path in places for one in imported(path) if places[one] > places[path]]
    assert not wrong


def test_claims_and_figures_reach_no_server() -> None:
    waiting = [path for path in MODULES if path.parent.name in ("claims", "figures")]
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += imported(path)
    names = {path.relative_to(ROOT / "helpers").as_posix() for path in reached}
    assert "claims/scale_tables.py" in names and "results.py" in names
    assert not [name for name in names if name.startswith(("servers/", "stores/", "connections"))]


def test_every_path_and_name_on_the_page_exists() -> None:
    paths = {one for one in re.findall(r"`([\w./]+)`", PAGE) if "/" in one}
    assert len(paths) > 70
    assert not [one for one in paths if not (ROOT / one).exists()]
    named = re.findall(r"`helpers/([\w/]+)\.py`: ((?:`\w+`,? ?)+)", PAGE)
    assert len(named) > 15
    for module, names in named:
        loaded = importlib.import_module(f"helpers.{module.removesuffix('/__init__').replace('/', '.')}")
        assert not [name for name in re.findall(r"\w+", names) if not hasattr(loaded, name)]
