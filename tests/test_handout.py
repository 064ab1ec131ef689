"""The handout: nothing in it tells an answer, and each check says what is missing; test_browser.py goes
through it.
"""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import readme
from test_exercises import WITH, exercises, read, tags

from helpers import cli, settings
from helpers.errors import HelpersError
from helpers.report import handout, notebooks, show

ROOT = settings.project_root()
TELLING = 20
"""Characters from which a line of a solution is looked for; shorter ones stand elsewhere, too."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A handout by the README's command."""
    folder = tmp_path_factory.mktemp("handout")
    done = readme.run(readme.line("helpers handout"), cwd=folder, variables={"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout) == (0, f"{folder / 'handout'}\n"), done.stderr
    return folder / "handout"


def handed(made: Path, name: str) -> Any:
    return nbformat.read(made / "notebooks" / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


@pytest.mark.slow
@pytest.mark.parametrize("name", notebooks.NAMES)
def test_a_notebook_is_valid_and_holds_no_output(made: Path, name: str) -> None:
    notebook = handed(made, name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not tags(cell) & {"solution", "teaching"}
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


@pytest.mark.parametrize("name", WITH)
def test_no_line_of_an_answer_is_left(made: Path, name: str) -> None:
    left = {line.strip() for cell in handed(made, name).cells for line in cell.source.splitlines()}
    text = (made / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN TESTS)", text)
    given = {
        line.strip()
        for cell in read(name).cells
        if "solution" not in tags(cell) or "nbgrader" in cell.metadata
        for line in re.sub(r"### BEGIN.*?### END[^\n]*", "", cell.source, flags=re.S).splitlines()
        if "solution" not in tags(cell) or cell.cell_type == "code"
    }
    answers = [
        line.strip()
        for exercise in exercises(name)
        for cell in [*exercise.solution, exercise.reason]
        for line in cell.source.splitlines()
        if len(line.strip()) >= TELLING and line.strip() not in given
    ]
    assert len(answers) > 20 and not [line for line in answers if line in left]


@pytest.mark.parametrize("name", WITH)
def test_an_exercise_has_an_empty_place_a_check_and_a_place_for_reasons(made: Path, name: str) -> None:
    by_id = {cell.id: cell for cell in handed(made, name).cells}
    for exercise in exercises(name):
        answer, check, reason = (
            by_id[cell.id] for cell in (exercise.solution[0], exercise.check, exercise.reason)
        )
        assert answer.source.endswith(handout.ANSWER) and reason.source == handout.REASON
        assert "jupyter" not in answer.metadata and "jupyter" not in reason.metadata
        assert "show.check(" in check.source and check.metadata["editable"] is False
        assert not any(cell.id in by_id for cell in exercise.solution[1:])


def test_a_check_keeps_no_hidden_test(made: Path) -> None:
    hidden = [cell for name in WITH for cell in read(name).cells if "BEGIN HIDDEN TESTS" in cell.source]
    assert hidden and all("check" in tags(cell) for cell in hidden)


def test_what_is_for_teachers_or_was_measured_stays_behind(made: Path) -> None:
    names = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert {"README.md", "requirements.txt", "helpers/cli.py", "report/style.typ"} <= names
    unwanted = r"TEACHING|CONTRIBUTING|\.pdf$|\.svg$|results/|__pycache__|^tests/|^\.git/|nbgrader"
    assert not [name for name in names if re.search(unwanted, name)]
    for path in [*(made / "notebooks").iterdir(), made / "README.md"]:
        assert "TEACHING" not in path.read_text(encoding="utf-8")


def test_links_lead_somewhere(made: Path) -> None:
    for name in notebooks.NAMES:
        for cell in handed(made, name).cells:
            if cell.cell_type == "markdown":
                for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", cell.source):
                    assert (made / "notebooks" / target).exists(), (name, target)


def test_its_page_gives_commands_of_the_readme(made: Path) -> None:
    text = (made / "README.md").read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S) for line in block.splitlines()
    ]
    assert len(lines) == 4 and all(line in readme.TEXT for line in lines)
    head = read("00_index").cells[0].source
    assert text.splitlines()[0].removeprefix("# ") in head and text.splitlines()[2] in head


def test_its_page_tells_of_machines_servers_and_the_wait_as_the_readme_does(made: Path) -> None:
    text = (made / "README.md").read_text(encoding="utf-8")
    told = text.split("\n## What a machine needs\n", 1)[1]
    assert readme.section("What a machine needs").strip().startswith(told.split("\n## ")[0].strip())
    assert readme.section("Servers").strip().startswith(told.split("\n## Servers\n")[1].strip())
    urls = [f"`{name.upper()}_URL`" for name in settings.NAMES]
    assert all(word in told for word in ("memory", "disk", *urls))
    wait = "The installation is silent for a minute or so"
    assert wait in text and wait in readme.TEXT


@pytest.mark.parametrize("place", ["full", "helpers/new"])
def test_a_folder_that_is_not_free_is_refused(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ROOT / place if "/" in place else tmp_path
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert cli.main(["handout", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"helpers handout: {out} is ") and "choose another --out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"] and not (ROOT / "helpers/new").exists()


def told(asks: str, answer: Any, kind: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What a check of an answer says that asks this."""
    check = compile(f"with show.check(answer={kind!r}):\n    {asks}", "check", "exec")
    exec(check, {"show": show, "answer": answer})
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("asks", "answer", "kind", "line"),
    [
        ("assert answer != 5, 'it is five'", 5, "a number", "it is five."),
        ("assert answer != 5, 'is it five?'", 5, "a number", "is it five?"),
        ("assert answer[0] > 1, 'more'", 5, "a list of pages", "`answer` must be a list of pages, and is 5."),
        ("answer()", True, "a function", "`answer` must be a function, and is True."),
        ("assert answer > 1, 'more'", len, "a number", "`answer` must be a number, and is a function."),
        ("assert answer != ' ', 'some'", " ", "a text", "`answer` must be a text, and is ' '."),
        (
            "list(answer())",
            lambda: None,
            "a function",
            "the check stops at TypeError: 'NoneType' object is not iterable. "
            "It asks for `answer`, a function.",
        ),
        (
            "open(answer)",
            "nowhere/x",
            "a path",
            "the check stops at FileNotFoundError: [Errno 2] No such file or directory: 'nowhere/x'. "
            "It asks for `answer`, a path.",
        ),
    ],
)
def test_a_check_tells_in_one_line_what_an_answer_lacks(
    asks: str, answer: Any, kind: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(asks, answer, kind, capsys) == ("", f"Not yet: {line}\n")


def test_a_check_tells_that_an_answer_holds_is_missing_or_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told("assert answer == 5", 5, "a number", capsys) == ("The answer holds.\n", "")
    exec("with show.check(answer='a text'):\n    answer", {"show": show})
    missing = "`answer` is missing. Write it in the answer's cell, run that, then this one"
    assert capsys.readouterr() == ("", f"Not yet: {missing}.\n")

    def refuse() -> None:
        raise HelpersError("no such model; name another")

    assert told("answer()", refuse, "a function", capsys) == ("", "Not yet: no such model; name another.\n")


def test_an_error_of_the_answer_itself_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"show": show}
    exec(compile("def answer():\n    return 1 / 0", "the answer", "exec"), names)
    for asks, kind in (("answer()", ZeroDivisionError), ("other", NameError)):
        with pytest.raises(kind):
            exec(compile(f"with show.check(answer='a function'):\n    {asks}", "check", "exec"), names)
    assert capsys.readouterr() == ("", "")
