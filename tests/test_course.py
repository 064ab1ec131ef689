"""The whole course through papermill on real servers, quick profile, and what may go wrong on the way."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import readme
from pypdf import PdfReader
from twice import pairs, twice

from helpers import report, results, servers, settings
from helpers.comparison import crosscheck, decision
from helpers.errors import HelpersError
from helpers.report import course, markdown, notebooks, publication, style
from helpers.trials import rungs

STORES = ("redis", "mongodb", "cassandra")
LEFT_OUT = {"tbl-beyond"}
"""Parts of the report that the quick profile does not measure."""


@cache
def text_of(path: Path) -> str:
    pages = (page.extract_text() for page in PdfReader(path).pages)
    return re.sub(r"\s+", " ", " ".join(pages).replace("\u200b", ""))


def write_notebook(path: Path, *cells: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, cassandra_url: str) -> Path:
    """The folder of a quick run of everything, which finds Cassandra running and starts what does not;
    ``HELPERS_TEST_RUN`` names one that is there already.
    """
    kept = os.environ.get("HELPERS_TEST_RUN")
    if kept:
        return Path(kept)
    out = tmp_path_factory.mktemp("run")
    last = readme.line("helpers run").rpartition(" && ")[2]  # exactly what a newcomer is told
    done = readme.run(last, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'report.pdf'}\n"
    return out


def test_every_notebook_ran_without_an_error(whole_run: Path) -> None:
    for name in notebooks.NAMES:
        notebook = nbformat.read(whole_run / "notebooks" / f"{name}.ipynb", as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code and all(cell.execution_count for cell in code), name
        assert not any(output.output_type == "error" for cell in code for output in cell.outputs), name


def test_every_solution_of_an_exercise_was_executed_and_passes_its_check(whole_run: Path) -> None:
    for name in notebooks.NAMES[1:]:
        committed, executed = (
            [
                cell
                for cell in nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
                if cell.cell_type == "code" and {"solution", "check"} & set(cell.metadata.get("tags", []))
            ]
            for folder in (notebooks.folder(), whole_run / "notebooks")
        )
        assert [cell.source for cell in executed] == [cell.source for cell in committed] and executed, name
        for cell in executed:
            assert cell.execution_count and cell.metadata.papermill.status == "completed", cell.source[:60]
            if "check" in cell.metadata.tags:
                said = "".join(output.text for output in cell.outputs)
                assert said == "The answer holds.\n", cell.source[:60]


def test_every_kind_of_result_was_saved(whole_run: Path) -> None:
    found = results.load(whole_run / "results")
    assert set(found) == set(results.KINDS) - set(results.APART)
    assert found.profile == "quick"


def test_figures_are_saved(whole_run: Path) -> None:
    names = {path.name for path in (whole_run / "figures").iterdir()}
    assert "fig-er.svg" in names
    for name in ("02_population", "03_comparison", "05_migration"):
        assert any(figure.startswith(name) for figure in names), name


def test_the_report_is_complete_and_marked_quick(whole_run: Path) -> None:
    notebook = nbformat.read(whole_run / "notebooks" / "06_report.ipynb", as_version=4)
    shown = [o.get("metadata", {}).get("report", {}) for c in notebook.cells for o in c.get("outputs", [])]
    parts = [about.get("part") for about in shown]
    assert parts.count("figure") >= 10 and parts.count("table") >= 10
    missing = {about["label"] for about in shown if about.get("part") == "missing"}
    assert missing <= LEFT_OUT, "only what the quick profile leaves out may be missing"
    text = text_of(whole_run / "report.pdf")
    assert "Every part of this report rests on saved results." in text and "Quick profile" in text
    assert (whole_run / "report.pdf").stat().st_size < 2_000_000


def test_the_command_makes_the_same_report_from_the_saved_results(whole_run: Path, tmp_path: Path) -> None:
    again = report.build(results=whole_run / "results", out=tmp_path)
    assert again.read_bytes() == (whole_run / "report.pdf").read_bytes()


def test_no_output_holds_a_path_or_password(whole_run: Path) -> None:
    secrets = publication.secrets()
    assert any("password" in what for what in secrets)
    for path in [*(whole_run / "notebooks").iterdir(), *(whole_run / "results").glob("*.json")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            notebook = nbformat.reads(text, as_version=4)
            text = json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)
        publication.refuse(text, path.name, secrets)


def test_no_figure_sample_or_page_holds_a_password(whole_run: Path) -> None:
    patterns = [pattern for what, pattern in publication.secrets().items() if "password" in what]
    texts = {
        str(path): publication._text(path)
        for folder in ("notebooks", "results", "figures")
        for path in (whole_run / folder).rglob("*")
        if path.is_file()
    }
    texts["report.pdf"] = text_of(whole_run / "report.pdf").replace(" ", "")
    assert len(patterns) >= 4 and any(name.endswith(".gz") for name in texts)
    for name, text in texts.items():
        assert not any(pattern.search(text) for pattern in patterns), name


def test_swapped_results_turn_the_report(
    whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of Redis is said of Cassandra when their results change places; cells run twice."""
    swapped = tmp_path / "results"
    swapped.mkdir()
    for path in (whole_run / "results").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] == "comparison":
            record["data"] = _swap(record["data"])
        (swapped / path.name).write_text(json.dumps(record), encoding="utf-8")
    executed = nbformat.read(whole_run / "notebooks" / "06_report.ipynb", as_version=4)
    nothing = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    monkeypatch.setattr(style, "svg", lambda drawn: nothing)  # what is said is compared
    monkeypatch.setattr(decision, "DIVISION", _swap(decision.DIVISION))  # as what their makers state
    with notebooks.environment(HELPERS_RESULTS=str(swapped)):
        doubled = json.loads((notebooks.folder() / "06_report.ipynb").read_text(encoding="utf-8"))
        doubled["cells"] = twice(doubled["cells"])
        (tmp_path / "doubled.ipynb").write_text(json.dumps(doubled), encoding="utf-8")
        again = notebooks.run_here(tmp_path / "doubled.ipynb")
    for cell, copy in pairs(again["cells"]):
        assert copy["outputs"] == cell["outputs"], cell["source"]
        again["cells"].remove(copy)
    first, second = _decision(executed), _decision(again)
    assert first != second
    assert sorted(re.findall(r"\d[\d,.]*", first)) == sorted(re.findall(r"\d[\d,.]*", second))


def _swap(value: Any) -> Any:
    """The value with the names redis and cassandra changing places, in keys and texts."""
    names = {"redis": "cassandra", "cassandra": "redis"}
    if isinstance(value, dict):
        new = {names.get(key, key): _swap(item) for key, item in value.items()}
        return (
            {key: new[key] for key in sorted(new, key=list(value).index)} if set(new) == set(value) else new
        )
    if isinstance(value, list):
        return [_swap(item) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def _decision(executed: Mapping[str, Any]) -> str:
    """The report's section on the decision, with its tables, before it is laid out on pages."""
    document = markdown.from_notebook(executed)
    return document.body.split("### Decision", 1)[1].split("## NoSQL data modelling", 1)[0]


def test_what_a_publication_would_lack_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("psql", "redis-cli", "cc", "redis-benchmark", "go-ycsb", "pgbench"):
        (tmp_path / tool).touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert publication.lacking(crosscheck.NEEDED | rungs.PROGRAMS) == []
    (tmp_path / "psql").unlink()
    (line,) = publication.lacking(rungs.PROGRAMS)
    assert "psql is not on PATH" in line and "postgresql-client" in line


def test_a_quick_run_is_not_published() -> None:
    committed = {path: path.read_bytes() for path in notebooks.folder().glob("*.ipynb")}
    with pytest.raises(HelpersError, match="only a full run is published"):
        course.run(profile="quick", publish=True)
    assert committed == {path: path.read_bytes() for path in notebooks.folder().glob("*.ipynb")}


def test_a_quick_folder_is_not_published(whole_run: Path) -> None:
    with pytest.raises(HelpersError, match="not of a full run"):
        publication.publish(whole_run)


@pytest.fixture
def full_run(whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run whose results say that they are of a full one, and a project to publish it in."""
    run, project = tmp_path / "run", tmp_path / "project"
    shutil.copytree(whole_run, run)
    for path in (run / "results").glob("*.json"):
        path.write_text(
            path.read_text(encoding="utf-8").replace('"profile": "quick"', '"profile": "full"', 1)
        )
    (project / "notebooks").mkdir(parents=True)
    for path in (run / "notebooks").iterdir():  # as they were when the run began
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [c for c in notebook.cells if not notebooks.ADDED & set(c.metadata.get("tags", []))]
        nbformat.write(notebook, project / "notebooks" / path.name)
    (project / "report" / "results").mkdir(parents=True)
    (project / "report" / "results" / "old.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(notebooks, "folder", lambda: project / "notebooks")
    monkeypatch.setattr(settings, "project_root", lambda: project)
    return run


def test_publishing_replaces_outputs_results_and_report(full_run: Path) -> None:
    whole = dict.fromkeys(results.REQUIRED["largest"])
    apart = results.save("largest", whole, profile="full", folder=report.published_folder()).read_bytes()
    publication.publish(full_run)
    project = settings.project_root()
    for name in notebooks.NAMES:
        text = (project / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert '"papermill"' not in text and "injected-parameters" not in text
    assert set(results.load(report.published_folder())) == set(results.KINDS)
    assert (report.published_folder() / "largest.json").read_bytes() == apart, "no run measures it"
    assert not (report.published_folder() / "old.json").exists()
    assert (project / "report" / "report.pdf").read_bytes() == (full_run / "report.pdf").read_bytes()
    assert publication.picture().parent == project / "report"
    assert publication.picture().read_text(encoding="utf-8") == (
        full_run / "figures" / publication.PICTURE
    ).read_text(encoding="utf-8")
    assert not [path for path in project.rglob(".*") if path.is_file()]


def test_nothing_is_published_when_a_result_holds_a_path(full_run: Path) -> None:
    path = full_run / "results" / "ladder.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["data"]["note"] = f"{Path.home()}/somewhere"
    path.write_text(json.dumps(record), encoding="utf-8")
    before = {p: p.read_bytes() for p in settings.project_root().rglob("*") if p.is_file()}
    with pytest.raises(HelpersError, match=r"ladder.json holds the home folder's path"):
        publication.publish(full_run)
    assert before == {p: p.read_bytes() for p in settings.project_root().rglob("*") if p.is_file()}


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(HelpersError, match="no profile 'slow'; choose quick or full"):
        course.run(profile="slow")


def test_a_failing_cell_is_named_with_the_executed_notebook(tmp_path: Path) -> None:
    write_notebook(tmp_path / "bad.ipynb", "x = 1", "x / 0", "print('never')")
    target = tmp_path / "out.ipynb"
    with pytest.raises(HelpersError) as caught:
        notebooks.run_kernel(tmp_path / "bad.ipynb", target, {"y": 2}, title="bad", progress=False)
    assert "bad.ipynb, cell 2: ZeroDivisionError: division by zero" in str(caught.value)
    assert str(target) in str(caught.value) and "\n" not in str(caught.value)
    assert target.exists()


def test_the_kernel_is_this_interpreter_with_this_package(tmp_path: Path) -> None:
    write_notebook(
        tmp_path / "who.ipynb", "import sys, helpers\nprint(sys.executable)\nprint(helpers.__file__)"
    )
    notebooks.run_kernel(tmp_path / "who.ipynb", tmp_path / "out.ipynb", {}, title="who", progress=False)
    printed = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].outputs[0].text
    assert printed.split() == [sys.executable, str(settings.project_root() / "helpers" / "__init__.py")]


def test_an_executed_notebook_is_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.ipynb"
    look = f"import json\nprint(json.load(open({str(target)!r}))['cells'][0]['execution_count'])"
    write_notebook(tmp_path / "in.ipynb", "1", look)
    for seconds, seen in ((0, "1\n"), (3600, "None\n")):
        monkeypatch.setattr(notebooks, "SAVED_S", seconds)
        notebooks.run_kernel(tmp_path / "in.ipynb", target, {}, title="in", progress=False)
        assert nbformat.read(target, as_version=4).cells[1].outputs[0].text == seen


@pytest.fixture
def small_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notebooks in place of the course's, one of one cell; the report's is the real one, whose exercises
    want results of the course.
    """
    folder = tmp_path / "notebooks of the project"
    folder.mkdir()
    monkeypatch.setattr(notebooks, "NAMES", ("00_index", "06_report"))
    for name in notebooks.NAMES:
        write_notebook(folder / f"{name}.ipynb", "from helpers import results\nresults.current_folder().name")
    report_ = json.loads((notebooks.folder() / "06_report.ipynb").read_text(encoding="utf-8"))
    kept = [cell for cell in report_["cells"] if "solution" not in cell["metadata"].get("tags", ())]
    (folder / "06_report.ipynb").write_text(json.dumps(report_ | {"cells": kept}), encoding="utf-8")
    monkeypatch.setattr(notebooks, "folder", lambda: folder)
    return folder


def test_an_old_runs_results_do_not_mix_in(small_course: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = os.environ["HELPERS_RESULTS"]
    results.save("ladder", {}, profile="full", folder=out / "results")
    (out / "notebooks").mkdir()
    (out / course.LOCK).touch()
    (out / "notebooks" / "half.ipynb").write_text("a killed run's", encoding="utf-8")
    assert course.run(out=out, progress=False) == out / "report.pdf"
    assert os.environ["HELPERS_RESULTS"] == before
    assert not list((out / "results").iterdir()) and not (out / "notebooks" / "half.ipynb").exists()


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    holder = (
        "import sys, fcntl; handle = open(sys.argv[1], 'a'); fcntl.flock(handle, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path / course.LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        with pytest.raises(HelpersError, match="another run works in"):
            course.run(out=tmp_path, progress=False)
        process.kill()  # and a killed run holds nothing
    with course.alone(tmp_path, ours=False):
        pass


def test_a_folder_that_no_run_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "mine.ipynb").write_text("mine", encoding="utf-8")
    with pytest.raises(HelpersError, match="that no run made"):
        course.run(out=tmp_path, progress=False)
    assert (tmp_path / "notebooks" / "mine.ipynb").read_text(encoding="utf-8") == "mine"
    with pytest.raises(HelpersError, match="that no run made"):
        course.run(out=settings.project_root(), progress=False)


def test_cleaned_notebooks_hold_nothing_of_papermill(tmp_path: Path) -> None:
    write_notebook(tmp_path / "a.ipynb", 'profile = "quick"', "print(profile)", "1 + 1")
    source = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    source.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(source, tmp_path / "a.ipynb")
    notebooks.run_kernel(
        tmp_path / "a.ipynb", tmp_path / "b.ipynb", {"profile": "full"}, title="a", progress=False
    )
    executed = nbformat.read(tmp_path / "b.ipynb", as_version=4)
    cleaned = publication.clean(executed, source, "a.ipynb")
    text = json.dumps(cleaned)
    assert "papermill" not in text and "injected" not in text and str(tmp_path) not in text
    assert [cell["execution_count"] for cell in cleaned["cells"]] == [1, 2, 3]
    assert cleaned["cells"][1]["outputs"][0]["text"] == ["full\n"]
    assert cleaned["cells"][2]["outputs"][0]["execution_count"] == 3
    nbformat.validate(nbformat.from_dict(nbformat.reads(text, as_version=4)))
    source.cells[1].source = "print('changed')"
    with pytest.raises(HelpersError, match=r"a\.ipynb has changed"):
        publication.clean(executed, source, "a.ipynb")


def test_a_secret_in_an_output_is_refused(redis_server: str) -> None:
    password = redis_server.split(":")[2].partition("@")[0]
    assert servers.status()["redis"].running and len(password) > 8
    secrets = publication.secrets()
    for text, what in ((f"redis://:{password}@x", "password of redis"), (f"{Path.home()}/x", "home folder")):
        with pytest.raises(HelpersError, match=f"03 holds the {what}"):
            publication.refuse(text, "03", secrets)
    publication.refuse("redis://:***@127.0.0.1", "03", secrets)


def test_the_name_of_a_host_is_looked_for_in_words_and_not_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "vm")
    secrets, pixels = publication.secrets(), "iVBORw0KGgo/" * 40 + "+/vm/+" + "AAAA" * 100 + "=="
    publication.refuse(json.dumps({"image/png": pixels}), "03", secrets)
    for told in (f"{pixels} at vm", "redis://vm:6379", "/vm/", f"vm {pixels}"):
        with pytest.raises(HelpersError, match="03 holds the host name"):
            publication.refuse(told, "03", secrets)
