"""The largest migration, as small as it can be: killed, gone on with, verified, guarded, published."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from leftovers import has_child, leftovers
from migrating import ask

from helpers import cli, report, results, settings
from helpers.errors import HelpersError
from helpers.relational import population, schema
from helpers.report import publication
from helpers.servers import connections
from helpers.source import catalogue
from helpers.trials import largest, largest_claims

ROWS = 20_000
BASE = {"rows": 1000, "bytes_per_row": 100.0, "disk_bytes_per_row": 200.0}


@pytest.fixture(autouse=True)
def small_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "BASE_ROWS", ROWS // 4)
    monkeypatch.setattr(largest, "ROUNDS", 1)


def test_it_is_killed_gone_on_with_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path))
    assert cli.main(["ladder", "--rows", str(ROWS), "--json"]) == cli.DONE
    saved = results.load()
    data = saved.require("largest")
    assert json.loads(capsys.readouterr().out) == data and saved["largest"].profile == "quick"
    assert sum(data["rows"].values()) == ROWS and data["base"]["rows"] == ROWS // 4
    killed, resumed, verified = data["killed"], data["resumed"], data["verified"]
    assert largest.KILLED_AT * ROWS <= killed["rows"] < ROWS == resumed["rows"]
    assert killed["reads"] < resumed["reads"] == ROWS + 2 * data["rows"]["orders"]
    assert verified["rows_checked"] == data["rows"] and verified["differences"] == 0
    assert 0 < resumed["first_s"] <= resumed["loaded_s"] <= resumed["seconds"] and killed["loaded_s"] is None
    assert all(30 < data[name]["peak_rss_mb"] < 200 for name in ("forecast", "killed", "resumed", "verified"))
    assert 0.75 < data["forecast"]["memory_bytes"] / data["redis"]["memory_bytes"] < 1.33
    assert 50 < data["redis"]["bytes_per_row"] < 500 and data["ended"] is None
    timeline = data["timeline"]
    assert {len(column) for column in timeline.values()} == {len(timeline["doing"])}
    assert list(dict.fromkeys(timeline["doing"])) == ["dry run", "load", "resumed load", "verify"]
    assert timeline["seconds"] == sorted(timeline["seconds"]) and timeline["rows"][-1] == ROWS
    assert "found no difference" in largest_claims.done(saved)
    assert leftovers(settings.home()) == []


def test_the_copies_of_the_base_are_rows_of_their_own(postgres_url: str) -> None:
    population.populate(postgres_url, users=30, products=10, activities=400, orders=60, progress=False)
    connection = connections.postgres(postgres_url)
    try:
        with connection:
            before = catalogue.read(connection, catalogue.current_schema(connection))["tables"]
        filled = largest.fill(postgres_url, 3, progress=False)
        with connection:
            after = catalogue.read(connection, catalogue.current_schema(connection))["tables"]
    finally:
        connection.close()
    assert [(t["name"], t["primary_key"], t["unique"], t["foreign_keys"]) for t in after] == [
        (t["name"], t["primary_key"], t["unique"], t["foreign_keys"]) for t in before
    ]
    for table in schema.TABLES:
        key = schema.KEYS[table]
        ((held, low, high),) = ask(postgres_url, f"SELECT count(*), min({key}), max({key}) FROM {table}")
        assert (held, low, high) == (3 * (held // 3), 1, held)
    ((users, names),) = ask(
        postgres_url,
        "SELECT count(*), count(DISTINCT username) FROM users WHERE username ~ ('[a-z]' || user_id || '$') "
        "AND email LIKE username || '@%'",
    )
    assert users == names == 90
    held = ask(postgres_url, "SELECT (user_id - 1) / 30, count(*) FROM activities GROUP BY 1 ORDER BY 1")
    assert held == [(0, 400), (1, 400), (2, 400)]
    indexes = ask(postgres_url, "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")
    assert set(schema.INDEXES) <= {name for (name,) in indexes}
    assert filled["bytes_per_row"] > 50


def test_a_machine_without_room_ends_it_and_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on = largest.Trial._go_on

    def scarce(trial: Any) -> Any:
        monkeypatch.setattr(largest, "available_bytes", lambda: 10**9)
        return go_on(trial)

    monkeypatch.setattr(largest.Trial, "_go_on", scarce)
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path))
    assert cli.main(["ladder", "--rows", str(ROWS)]) == cli.DIFFERENT
    data = results.load().require("largest")
    assert data["ended"] == "only 954 MiB of memory were available during the resumed load"
    assert data["killed"] and data["resumed"]["loaded_s"] is None and data["verified"] is None
    assert data["redis"]["bytes_per_row"] > 50 and data["least_available_bytes"] == 10**9
    assert f"ended early: {data['ended']}" in capsys.readouterr().out
    assert data["ended"] in largest_claims.done(results.load())
    assert leftovers(settings.home()) == []


def test_what_there_is_no_room_for_is_refused_with_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    free = largest.LEFT_BYTES + largest.PROCESSES_BYTES + 11_000_050
    monkeypatch.setattr(largest, "available_bytes", lambda: free)
    monkeypatch.setattr(largest, "free_disk_bytes", lambda: 10**12)
    largest.see_room(100_000, BASE)
    with pytest.raises(HelpersError, match=r"^100,001 rows need .* not enough memory; give --rows 100000 or"):
        largest.see_room(100_001, BASE)
    monkeypatch.setattr(largest, "free_disk_bytes", lambda: largest.LEFT_BYTES + 6_000_000)
    with pytest.raises(HelpersError, match=r"not enough room in .*; give --rows 20000 or fewer"):
        largest.see_room(100_000, BASE)
    monkeypatch.setattr(largest, "free_disk_bytes", lambda: 0)
    with pytest.raises(HelpersError, match=r"not enough room in .*; make room"):
        largest.see_room(100_000, BASE)


def test_far_too_many_are_refused_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path))
    assert cli.main(["ladder", "--rows", str(largest.MOST_ROWS)]) == cli.FAILED
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("helpers ladder: 2,000,") and "; give --rows " in said
    assert not list(tmp_path.iterdir()) and leftovers(settings.home()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rows", "0"], "--rows 0: give a whole number from 10,000 to 2,000,000,000"),
        (["--rows", "-5"], "--rows -5: give"),
        (["--rows", "2000000001"], "--rows 2000000001: give"),
        (["--publish"], "--publish is for the result of --rows N"),
        (["--rows", "20000", "--publish"], "20,000 rows are not published"),
    ],
)
def test_bad_input_is_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert cli.main(["ladder", *words]) == cli.FAILED
    out, err = capsys.readouterr()
    assert told in err and err.count("\n") == 1 and not out
    assert time.monotonic() - began < 3


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", "ladder", "--rows", "30000"],
        env={**os.environ, "HELPERS_HOME": str(home), "HELPERS_RESULTS": str(tmp_path / "results")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not has_child(psutil.Process(process.pid), "--batch-rows"):  # the one that is to be killed
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == cli.INTERRUPTED and "interrupted" in err and "Traceback" not in err
    assert leftovers(home) == [] and not (tmp_path / "results").exists()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with published results of one kind, and one result of its own."""
    for folder in ("notebooks", "report/results", "run/results"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(settings, "project_root", lambda: tmp_path)
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path / "mine"))
    return tmp_path


def saved(**data: Any) -> bytes:
    """A result in the folder of the current run; its bytes."""
    whole = dict.fromkeys(results.REQUIRED["largest"]) | data
    return results.save("largest", whole, profile="full").read_bytes()


def test_its_result_is_added_to_what_is_published_and_stays_there(project: Path) -> None:
    content = saved(ended=None)
    publication.add("largest")
    assert (report.published_folder() / "largest.json").read_bytes() == content
    publication.carry(project / "run")
    assert (project / "run" / "results" / "largest.json").read_bytes() == content
    newer = saved(ended="later")
    publication.add("largest")
    publication.carry(project / "run")
    assert (report.published_folder() / "largest.json").read_bytes() == newer
    assert (project / "run" / "results" / "largest.json").read_bytes() == content, "what a run has stays"


def test_what_must_not_be_published_is_refused(project: Path) -> None:
    saved(ended=f"{Path.home()}/somewhere")
    with pytest.raises(HelpersError, match=r"largest.json holds the home folder's path"):
        publication.add("largest")
    assert not list(report.published_folder().iterdir())
