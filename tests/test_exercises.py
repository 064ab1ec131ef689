"""The exercises at the end of notebooks 01 to 06: graded, solved in folded cells, and checked."""

import ast
import inspect
import re
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from twice import pairs, twice

from helpers import report
from helpers.relational import population
from helpers.report import notebooks, show

WITH = notebooks.NAMES[1:]
POINTS = {"Easy": (1, 1), "Harder": (2, 2), "Open": (1, 5)}
"""Of the check and of the reason, by grade."""
GRADES = tuple(POINTS)
STATEMENT = re.compile(r"### (\d)\. (.+)\n\n\*\*(\w+)\.\*\* \S")
SECTION_PARTS = ("In class", "What students get wrong", "Ask", "Judging")
ON_THEIR_OWN = {
    "03_comparison": ("found = results.load()", ""),
    "05_migration": (
        "",
        "remove_keys()\nrelational.schema.drop_schema(workbench, EXERCISE)\nworkbench.close()",
    ),
    "06_report": ("", ""),
}
"""Notebooks whose exercises need only what stands before the first section, and this before and behind."""

FEWER: dict[str, dict[str, Any]] = {
    "01_schema": {"activities": {"quick": 2_000}},
    "02_population": {"scale": {"quick": [500, 1_000]}},
}
"""Parameters of those whose exercises need what stands before them: the rows of experiments, of which no
exercise depends on the number.
"""

LOOK_AGAIN = """
changed = [
    name
    for was, now in zip(as_found, in_the_databases(), strict=True)
    for name in was.keys() | now.keys()
    if was.get(name) != now.get(name)
]
assert not changed, changed"""

HOSTILE = ("None", "5", "''", "[]", "lambda *_, **__: None")
"""Answers of another kind, or of nothing."""
NOT_YET = re.compile(r"Not yet: [^\n]+\n")

every_notebook = pytest.mark.parametrize("name", WITH)


@dataclass
class Exercise:
    """Its number, title and grade as its statement gives them, that cell, and the cells right behind it."""

    number: int
    title: str
    grade: str
    statement: Any
    behind: list[Any] = field(default_factory=list)

    @property
    def solution(self) -> list[Any]:
        """Cells of code that answer it; the first is the place for an answer."""
        return [cell for cell in self.behind if cell.cell_type == "code" and "solution" in tags(cell)]

    @property
    def check(self) -> Any:
        (found,) = (cell for cell in self.behind if "check" in tags(cell))
        return found

    @property
    def kinds(self) -> dict[str, str]:
        """What its check asks for: of which kind each name has to be."""
        (asked,) = re.findall(r"^with show\.check\((.*)\):$", self.check.source, flags=re.M)
        return dict(eval(f"dict({asked})"))

    @property
    def reason(self) -> Any:
        """The answer in words."""
        (found,) = (cell for cell in self.behind if cell.cell_type == "markdown")
        return found


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


@cache
def read(name: str) -> Any:
    return nbformat.read(notebooks.folder() / f"{name}.ipynb", as_version=4)


def section(cells: list[Any]) -> list[Any]:
    """The cells under the heading of the exercises, without it."""
    begin = next(i for i, cell in enumerate(cells) if cell.source.startswith("## Exercises"))
    ends = (i for i, cell in enumerate(cells) if i > begin and re.match(r"## |Next:", cell.source))
    return cells[begin + 1 : next(ends)]


def exercises(name: str) -> list[Exercise]:
    found: list[Exercise] = []
    for cell in section(read(name).cells):
        if cell.cell_type == "markdown" and "solution" not in tags(cell):
            stated = STATEMENT.match(cell.source)
            assert stated, f"no number, title and grade: {cell.source[:60]!r}"
            found.append(Exercise(int(stated[1]), stated[2], stated[3], cell))
        elif found:
            found[-1].behind.append(cell)
    return found


@every_notebook
def test_there_are_two_or_three_from_easy_to_open(name: str) -> None:
    found = exercises(name)
    assert 2 <= len(found) <= 3
    assert [exercise.number for exercise in found] == list(range(1, len(found) + 1))
    ranks = [GRADES.index(exercise.grade) for exercise in found]
    assert ranks == sorted(set(ranks)) and (ranks[0], ranks[-1]) == (0, len(GRADES) - 1)


@every_notebook
def test_each_is_followed_by_a_folded_solution_a_check_and_a_folded_reason(name: str) -> None:
    for exercise in exercises(name):
        assert exercise.solution and exercise.behind[0] == exercise.solution[0], exercise.title
        assert exercise.behind[-1] == exercise.reason, exercise.title
        for cell in exercise.solution:
            assert cell.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}, exercise.title
        assert "solution" in tags(exercise.reason) and exercise.reason.metadata["jupyter"]["source_hidden"]
        assert "jupyter" not in exercise.check.metadata and "solution" not in tags(exercise.check)
        code = ast.parse("\n".join(cell.source for cell in exercise.solution))
        kinds = {type(node) for node in ast.walk(code)}
        assert ast.Call in kinds and not kinds & {ast.Pass, ast.Try}, exercise.title


@every_notebook
def test_its_statement_names_what_the_check_asks_for(name: str) -> None:
    for exercise in exercises(name):
        promised = exercise.statement.source.partition("**Answer:** ")[2]
        for one, kind in exercise.kinds.items():
            assert re.search(rf"`{one}[`(]", promised), f"{exercise.title}: {one}"
            assert kind.startswith(tuple(show.KINDS)), f"{exercise.title}: {kind}"
        tree = ast.parse(exercise.check.source)
        asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
        inside = next(node for node in tree.body if isinstance(node, ast.With))
        assert any(node in ast.walk(inside) for node in asserts), exercise.title
        assert all(node.msg for node in ast.walk(inside) if isinstance(node, ast.Assert)), exercise.title


@every_notebook
def test_the_marks_are_those_of_nbgrader(name: str) -> None:
    for exercise in exercises(name):
        answer, *more = exercise.solution
        assert not any("nbgrader" in cell.metadata for cell in more), exercise.title
        assert answer.source.count("### BEGIN SOLUTION\n") == answer.source.count("\n### END SOLUTION") == 1
        worth = {}
        for part, cell in (("answer", answer), ("check", exercise.check), ("reason", exercise.reason)):
            own = cell.metadata["nbgrader"]
            assert own["grade_id"] == f"exercise-{exercise.number}-{part}" and own["schema_version"] == 3
            assert (own["grade"], own["solution"]) == (part != "answer", part != "check"), exercise.title
            worth[part] = own.get("points")
        assert tuple(worth.values()) == (None, *POINTS[exercise.grade]), exercise.title


@every_notebook
def test_a_solution_stands_behind_its_statement_and_nowhere_else(name: str) -> None:
    solutions = [
        cell.id for exercise in exercises(name) for cell in exercise.behind if "check" not in tags(cell)
    ]
    assert solutions == [cell.id for cell in read(name).cells if "solution" in tags(cell)]


@every_notebook
def test_a_name_in_capitals_is_given_by_one_cell(name: str) -> None:
    """An exercise that gives it anew would break the cells before it when they are run again; what is removed
    in the end says so.
    """
    code = [ast.parse(cell.source) for cell in read(name).cells if cell.cell_type == "code"]
    given = Counter(
        node.id
        for tree in code
        for one in tree.body
        if "servers.removed(" not in ast.unparse(one)
        for node in ast.walk(one)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id.isupper()
    )
    assert not [one for one, times in given.items() if times > 1]


def test_the_report_leaves_them_out() -> None:
    cells = read("06_report").cells
    for cell in section(cells):
        assert "notebook-only" in tags(cell), cell.source[:60]
        assert cell.cell_type == "markdown" or notebooks.NOT_INLINE in tags(cell), cell.source[:60]


def teaching() -> dict[str, str]:
    """The teacher's page by notebook."""
    text = (notebooks.folder() / "TEACHING.md").read_text(encoding="utf-8")
    parts = re.split(r"^## \[\d\d [^\]]+\]\((\w+)\.ipynb\)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_teachers_page_has_a_section_for_each_notebook() -> None:
    assert tuple(teaching()) == notebooks.NAMES
    index = "\n".join(cell.source for cell in read("00_index").cells)
    assert "(TEACHING.md)" in index


@every_notebook
def test_the_teachers_page_tells_of_each_exercise(name: str) -> None:
    text = teaching()[name]
    for part in SECTION_PARTS:
        assert f"**{part}.**" in text, part
    judged = re.findall(r"^- \*(\d)\. (.+?)\* \((\w+), \d+ minutes\)", text, flags=re.M)
    assert judged == [(str(e.number), e.title, e.grade.lower()) for e in exercises(name)]


def test_the_teachers_page_says_what_each_grade_is_worth() -> None:
    text = (notebooks.folder() / "TEACHING.md").read_text(encoding="utf-8")
    words = ("", "one", "two", "three", "four", "five")
    told = (
        f"a point for the check, {words[POINTS['Easy'][1]]} for the reason",
        f"{words[POINTS['Harder'][0]]} points and {words[POINTS['Harder'][1]]}",
        f"a point for the check, .* and {words[POINTS['Open'][1]]} for what",
    )
    assert all(re.search(one, re.sub(r"\s+", " ", text)) for one in told)
    assert sum(map(sum, POINTS.values())) == 12 and "twelve points a\nnotebook" in text


def in_the_databases() -> tuple[dict[str, object], dict[object, object]]:
    """Rows, indexes and constraints of PostgreSQL by table, values of Redis by key; no bookkeeping."""
    from helpers.servers import connections

    postgres, redis = connections.postgres(), connections.redis(decode_responses=True)
    readers = {
        "hash": redis.hgetall,
        "string": redis.get,
        "list": lambda key: redis.lrange(key, 0, -1),
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    values: dict[object, object] = {
        key: readers[redis.type(key)](key) for key in redis.scan_iter() if "migration:" not in key
    }
    tables: dict[str, object] = {}
    with postgres, postgres.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")  # nothing may be left locked
        cursor.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relpersistence = 'p' "
            "AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(
                f"SELECT (SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {table} AS t), "
                f"(SELECT count(*) FROM pg_attribute WHERE attrelid = '{table}'::regclass), "
                f"(SELECT count(*) FROM pg_index WHERE indrelid = '{table}'::regclass), "
                f"(SELECT count(*) FROM pg_constraint WHERE conrelid = '{table}'::regclass)"
            )
            tables[table] = cursor.fetchone()
    postgres.close()
    return tables, values


def hostile(exercise: Exercise) -> list[Any]:
    """Cells that check answers of other kinds: all of them alike, then each alone beside right ones."""
    tries = [(tuple(exercise.kinds), answer) for answer in HOSTILE]
    if len(exercise.kinds) > 1:
        for name, kind in exercise.kinds.items():
            tries.append(((name,), HOSTILE[-1] if kind.startswith("a function") else HOSTILE[0]))
    right = f"right_answers = {{name: globals()[name] for name in {list(exercise.kinds)}}}"
    again = "globals().update(right_answers)\n"
    cells = [
        new_code_cell(
            f"{again}{' = '.join(names)} = {answer}\n{exercise.check.source}", metadata={"tags": ["hostile"]}
        )
        for names, answer in tries
    ]
    return [new_code_cell(right), *cells, new_code_cell(again)]


def tried_again(name: str) -> Any:
    """The notebook with each cell of a solution and its check twice, then all of it again, then checks of
    answers of other kinds, between two looks; its other cells twice too where it is the whole.
    """
    notebook = deepcopy(read(name))
    inside = section(notebook.cells)
    number = next(i for i, cell in enumerate(notebook.cells) if cell.id == inside[0].id)
    before, behind = notebook.cells[:number], notebook.cells[number + len(inside) :]
    if name in ON_THEIR_OWN:
        setup = takewhile(lambda cell: not cell.source.startswith("## "), before)
        first, last = ON_THEIR_OWN[name]
        before, behind = [*setup, new_code_cell(first)], [new_code_cell(last)]
    else:
        before, behind = twice(before), twice(behind)
    given = [cell for cell in inside if cell.cell_type == "code" and not tags(cell) & {"solution", "check"}]
    again = []
    for exercise in exercises(name):
        code = [cell for cell in exercise.behind if cell.cell_type == "code"]
        for cell in [*(one for part in code for one in (part, part)), *code]:
            again.append(new_code_cell(cell.source, metadata={"tags": list(tags(cell))}))
    wrong = [cell for exercise in exercises(name) for cell in hostile(exercise)]
    look = new_code_cell(f"{inspect.getsource(in_the_databases)}\nas_found = in_the_databases()")
    notebook.cells = [*before, *given, look, *again, *wrong, new_code_cell(LOOK_AGAIN), *behind]
    return notebook


@pytest.mark.usefixtures("postgres_server", "redis_server", "mongodb_url", "cassandra_url")
@every_notebook
def test_cells_run_again_and_solutions_leave_the_databases_as_they_were(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    population.populate(replace=True, progress=False)
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path / "results"))
    if name in ON_THEIR_OWN:
        monkeypatch.setenv("HELPERS_RESULTS", str(report.published_folder()))
    nbformat.write(tried_again(name), tmp_path / "again.ipynb")
    parameters: dict[str, Any] = {} if name == "06_report" else {"profile": "quick", **FEWER.get(name, {})}
    notebooks.run_kernel(
        tmp_path / "again.ipynb", tmp_path / "done.ipynb", parameters, title=name, progress=False
    )
    cells = nbformat.read(tmp_path / "done.ipynb", as_version=4).cells
    said = ["".join(output.text for output in cell.outputs) for cell in cells if "check" in tags(cell)]
    assert said == ["The answer holds.\n"] * 3 * len(exercises(name))
    for cell in cells:
        if "hostile" in tags(cell):
            told_once = "".join(output.text for output in cell.outputs)
            assert NOT_YET.fullmatch(told_once), f"{cell.source[:200]}: {told_once}"
    done = pairs(cells)
    assert bool(done) == (name not in ON_THEIR_OWN)
    if name == "04_modeling":
        for first, again in done:
            if "stamp" not in first["source"]:
                assert told(again) == told(first), first["source"]


def told(cell: Any) -> str:
    """What a cell said but for what is measured: numbers with decimals, the room that a skip list takes."""
    texts = [output.get("text") or output["data"]["text/plain"] for output in cell["outputs"]]
    return re.sub(r"\d+\.\d+", "#", "".join(texts))
