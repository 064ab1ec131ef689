"""The kill campaign: its short form in full, what it does when something is wrong, and that nothing stays."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from leftovers import has_child, leftovers
from migrating import until

from helpers import cli, results, settings
from helpers.errors import HelpersError
from helpers.relational import population
from helpers.servers import connections, scratch
from helpers.trials import campaign as trials_of, crashes, general, judge, mover
from helpers.trials.campaign import Campaign
from helpers.trials.crashes import SCHEMA
from helpers.trials.mover import Standing

CLEAN = {"lost": 0, "doubled": 0, "altered": 0}
NOTHING = Standing({}, None)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The short form on both models, with fewer kills: the course's run has them all."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        for name, of in crashes.DESIGNS.items():
            fewer = replace(of["quick"], kills={"mover": 2, "redis": 1, "postgres": 1})
            patch.setitem(crashes.DESIGNS, name, of | {"quick": fewer})
        data = crashes.run(profile="quick", folder=folder, model="both", progress=False)
    assert results.load(folder).require("crashes") == data
    assert set(results.load(folder)["crashes"].environment["servers"]) == {"postgres", "redis"}
    return data


def test_nothing_is_lost_doubled_or_altered(campaign: dict[str, Any]) -> None:
    assert crashes.clean(campaign), crashes.describe(campaign)
    for data in crashes.parts(campaign):
        for part in data["summary"].values():
            assert part["verify"] == part["judge"] == CLEAN
            assert part["faults"] == 0


def test_every_wanted_kill_struck(campaign: dict[str, Any]) -> None:
    assert [data["model"] for data in crashes.parts(campaign)] == ["course", "general"]
    for data in crashes.parts(campaign):
        kills = {victim: part["kills"] for victim, part in data["summary"].items()}
        assert kills == data["wanted"] == {"mover": 2, "redis": 1, "postgres": 1}
        for trial in data["trials"]:
            assert trial["exits"][-1] == 0
            if trial["victim"] == "mover":
                assert trial["exits"].count(-9) == len(trial["kills"])
        assert data["appendfsync"] == "always"
    assert campaign["rows"].keys() == {"users", "products", "activities", "orders"}
    assert campaign["general"]["rows"].keys() == set(general.TABLES)


def test_the_full_form_kills_as_often_as_it_is_meant_to() -> None:
    wanted = {name: of["full"].kills["mover"] for name, of in crashes.DESIGNS.items()}
    assert wanted == {"course": 200, "general": 100}


def test_nothing_is_left_behind(campaign: dict[str, Any]) -> None:
    assert leftovers(settings.home()) == []


def test_the_record_is_checked(campaign: dict[str, Any]) -> None:
    jsonschema.validate(campaign, SCHEMA)
    damages: tuple[dict[str, Any], ...] = (
        *(
            {"seed": "x"},
            {"appendfsync": "everysec"},
            {"trials": [{}]},
            {"model": "another"},
            {"general": {}},
        ),
        {"general": {**campaign["general"], "summary": {}}},
    )
    for damage in damages:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**campaign, **damage}, SCHEMA)
    with pytest.raises(ValueError, match="data without seed"):
        results.save("crashes", {"trials": []}, profile="quick", folder=settings.home() / "never")


def test_a_published_record_is_one_still() -> None:
    """Those from before there was a choice of models say nothing of one."""
    published = json.loads((settings.project_root() / "report/results/crashes.json").read_text())["data"]
    jsonschema.validate(published, SCHEMA)
    assert crashes.clean(published) and crashes.describe(published)


def test_an_unknown_profile_or_model_is_named() -> None:
    with pytest.raises(HelpersError, match="'slow' is not one of quick, full"):
        crashes.run(profile="slow")
    with pytest.raises(HelpersError, match="'mine' is not one of course, general, both"):
        crashes.run(model="mine")


@pytest.fixture(scope="module")
def trials() -> Iterator[Campaign]:
    """A campaign on throw-away servers with few rows, ready for trials."""
    with scratch.postgres() as source, scratch.redis("appendfsync always") as target:
        population.populate(source.url, users=20, products=5, activities=300, orders=60, progress=False)
        ready = Campaign(source, target, rows=385, seed=3)
        ready.learn(1)
        yield ready


def test_an_undisturbed_run_has_its_phases_in_order(trials: Campaign) -> None:
    times = [trials.times[name] for name in ("begun_s", "loaded_s", "verified_s", "ended_s")]
    assert times == sorted(times) and times[0] > 0


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        (("RPUSH", "user:1:activities", "login:2026-02-01T00:00:00.000000"), "doubled"),
        (("DEL", "order:30"), "lost"),
        (("HSET", "user:3", "username", "another"), "altered"),
    ],
)
def test_a_migration_that_is_not_exactly_once_is_found(
    trials: Campaign, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], verdict: str
) -> None:
    """After the last run something is done that a bad migration would do: both judges must say so."""
    let_through = Campaign._let_through

    def badly(self: Campaign, trial: dict[str, Any]) -> None:
        let_through(self, trial)
        self.client.execute_command(*command)

    monkeypatch.setattr(Campaign, "_let_through", badly)
    *_, trial = trials.trials("mover", 1)  # those before it came too late
    assert trial["verify"] == trial["judge"] == CLEAN | {verdict: 1}
    assert trial["examples"][0]["key"] == command[1]
    assert not crashes.clean({"summary": {"mover": crashes.summarise([trial])}})


@pytest.fixture(scope="module")
def others() -> Iterator[Campaign]:
    """The same with general tables."""
    with scratch.postgres() as source, scratch.redis("appendfsync always") as target:
        rows = general.populate(source.url, seed=3, people=15, readings=60, tags=40, steps=80, words=40)
        ready = Campaign(source, target, rows=sum(rows.values()), seed=3, case=trials_of.GENERAL)
        ready.learn(1)
        yield ready


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        (("SADD", "tags:p0", "another:99"), "doubled"),
        (("RPUSH", "words:2026-01-02", "another"), "doubled"),
        (("SET", "note:00000000-0000-0000-0000-000000000000:2026-01-01T00:00:00.000000Z", "x"), "doubled"),
        (("DEL", "person:p1"), "lost"),
        (("DEL", "card:p1"), "lost"),
        (("HSET", "person:p2", "handle", "p3"), "altered"),
        (("SET", "card:p2", '{"name":"another"}'), "altered"),
    ],
)
def test_both_judges_see_it_in_general_tables_too(
    others: Campaign, command: tuple[str, ...], verdict: str
) -> None:
    trial: dict[str, Any] = {"older_load": True, "kills": [], "faults": [], "exits": [], "said": []}
    others._let_through(trial)
    others._judge(trial)
    assert trial["verify"] == trial["judge"] == CLEAN and not trial["faults"]
    others.client.execute_command(*command)
    others._judge(trial)
    assert trial["verify"] == trial["judge"] == CLEAN | {verdict: 1}
    assert {example["key"] for example in trial["examples"]} == {command[1]}


def test_changes_of_general_tables_keep_about_as_many_rows(others: Campaign) -> None:
    def counts() -> dict[str, int]:
        with connections.postgres(others.source) as source, source.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(f"SELECT '{t}', count(*) FROM {t}" for t in general.TABLES))
            return dict(cursor.fetchall())

    before, found = counts(), set()
    others._let_through({"exits": [], "said": [], "faults": []})
    for number in range(30):
        found.add(others._change(random.Random(number)))
    after = counts()
    assert found == {"behind", "ahead"}, "a reading that was made by a change is not in the target"
    assert {t: n for t, n in after.items() if t != "tags"} == {t: n for t, n in before.items() if t != "tags"}
    assert abs(after["tags"] - before["tags"]) < before["tags"]
    assert judge.compare(others.source, others.target, model=general.MODEL) != CLEAN


def test_a_position_that_goes_back_is_a_fault(trials: Campaign) -> None:
    """Redis forgets what it acknowledged: that must not pass, even if the same command repairs it."""
    trials.client.flushall()
    trial: dict[str, Any] = {"faults": []}
    trials._compare_rows(trial, Standing({"status": "loading", "rows:users": "7"}, None))
    assert trial["faults"] == ["7 rows were committed before a kill, 0 after it"]
    assert not crashes.clean({"summary": {"redis": {"faults": 1, "verify": CLEAN, "judge": CLEAN}}})


@pytest.mark.parametrize(("changed", "faults"), [(None, 1), ("behind", 0)])
def test_what_had_to_be_put_right_is_a_fault_unless_the_source_changed(
    trials: Campaign, changed: str | None, faults: int
) -> None:
    trial: dict[str, Any] = {"older_load": False, "kills": [{"changed": changed}], "faults": []}
    trials._judge(trial | {"caught_up": {"missing key": 1}})
    assert len(trial["faults"]) == faults


def test_a_migration_that_cannot_come_to_its_end_is_a_fault(trials: Campaign) -> None:
    trials.client.flushall()
    trials.client.set("user:1", "somebody else's")
    trial: dict[str, Any] = {"exits": [], "said": [], "faults": []}
    trials._let_through(trial)
    assert trial["exits"] == [2, 2, 2] and "no migration wrote" in trial["faults"][0]
    trials.client.flushall()


@pytest.mark.parametrize(("rows", "faults"), [(1, 1), (0, 0)])
def test_giving_up_on_a_server_that_is_back_is_a_fault(
    trials: Campaign, monkeypatch: pytest.MonkeyPatch, rows: int, faults: int
) -> None:
    """A migration under way has to wait; one that has committed nothing may say so and end with 2."""

    def until_there_are_rows(running: mover.Mover, *moment: Any) -> None:
        until(lambda: not running.running or mover.look(trials.client).rows >= rows)

    wait, gave_up = mover.Mover.wait, [mover.Ended(2, None, "gave up")]
    monkeypatch.setattr(trials_of, "wait_for_moment", until_there_are_rows)
    monkeypatch.setattr(mover.Mover, "wait", lambda self: gave_up.pop() if gave_up else wait(self))
    (trial,) = trials.trials("redis", 1)
    assert trial["said"] == ["gave up"] and trial["exits"] == [2, 0]
    assert len(trial["faults"]) == faults and trial["after"] in ("resumed", "anew")
    assert trial["verify"] == trial["judge"] == CLEAN


def test_a_change_of_the_source_keeps_the_number_of_orders(trials: Campaign) -> None:
    source = connections.postgres(trials.source)
    with source, source.cursor() as cursor:
        cursor.execute("SELECT count(*), min(order_id) FROM orders")
        [(number, lowest)] = cursor.fetchall()
    trials.client.flushall()
    assert trials._change(random.Random(1)) == "ahead"
    with source, source.cursor() as cursor:
        cursor.execute("SELECT count(*), min(order_id) FROM orders")
        assert cursor.fetchone() == (number, lowest - 1)
    source.close()


def test_a_migration_is_killed_at_so_many_rows(trials: Campaign) -> None:
    trials.client.flushall()
    rows = mover.kill_at(trials.source, trials.target, rows=100, batch_rows=5)
    assert 100 <= rows < trials.rows
    with pytest.raises(HelpersError, match="ended before it was killed"):
        mover.kill_at(trials.source, trials.target, rows=10**6)


LOADING = {"status": "loading", "rows:users": "5"}
"""Of 20 rows."""


@pytest.mark.parametrize(
    ("before", "state", "lease", "phase"),
    [
        (NOTHING, {}, None, mover.START),
        (NOTHING, {"status": "loading"}, "a", mover.START),
        (NOTHING, LOADING, "a", mover.THIRDS[0]),
        (NOTHING, LOADING | {"rows:activities": "5"}, "a", mover.THIRDS[1]),
        (NOTHING, LOADING | {"rows:activities": "12"}, "a", mover.THIRDS[2]),
        (NOTHING, LOADING | {"rows:activities": "15"}, "a", mover.THIRDS[2]),
        (NOTHING, LOADING | {"status": "reconciling"}, "a", mover.CATCHING_UP),
        (NOTHING, LOADING | {"status": "complete"}, "a", mover.VERIFYING),
        (NOTHING, LOADING | {"status": "complete"}, None, mover.OVER),
        (Standing(LOADING, "a"), LOADING, "b", mover.START),
        (Standing({"status": "reconciling"}, "a"), {"status": "reconciling"}, "b", mover.CATCHING_UP),
        (Standing({"status": "reconciling"}, "a"), {"status": "reconciling"}, "a", mover.START),
    ],
)
def test_phases(before: Standing, state: dict[str, str], lease: str | None, phase: str) -> None:
    assert Standing(state, lease).phase(before, 20) == phase


def test_rows_are_those_of_the_tables_of_the_model() -> None:
    tables = json.dumps({"a": {"name": "a"}, '"B".c': {"name": '"B".c'}})
    rows = {"rows:a": "1", "rows:a.0": "2", 'rows:"B".c.11': "4", "rows:a_names": "8", "rows:users": "16"}
    assert Standing({"tables": tables, **rows}, None).rows == 1 + 2 + 4
    assert Standing(rows, None).rows == 16, "the course's, where the state names none"


def test_moments_are_spread_over_the_time_in_which_a_run_works() -> None:
    times = {"begun_s": 1.0, "loaded_s": 3.0, "verified_s": 4.0}
    chance = random.Random(0)

    def drawn(before: Standing, late: bool = False) -> tuple[float, float]:
        found = [mover.draw_moment(chance, times, 100, before, late=late) for _ in range(2000)]
        assert {moment.after for moment in found} == {"load" if late else "lease"}
        return min(moment.seconds for moment in found), max(moment.seconds for moment in found)

    half, whole = {"status": "loading", "rows:users": "50"}, {"status": "complete", "rows:users": "100"}
    assert drawn(NOTHING) == pytest.approx((-1 / 3, 3.0), abs=0.02)
    assert drawn(Standing(half, None)) == pytest.approx((-1 / 3, 3.0), abs=0.02)
    assert drawn(Standing(whole, None)) == pytest.approx((-2 / 9, 2.0), abs=0.02)
    assert drawn(NOTHING, late=True) == pytest.approx((0.0, 1.0), abs=0.02)


@pytest.mark.parametrize(("number", "phases"), [(0, mover.PHASES), (9, (mover.VERIFYING, mover.OVER))])
def test_every_tenth_moment_is_meant_for_the_verification(
    trials: Campaign, number: int, phases: tuple[str, ...]
) -> None:
    trials.client.flushall()
    with trials._mover() as running:
        trials._wait(running, random.Random(2), NOTHING, number)
        running.kill()
    assert mover.look(trials.client).phase(NOTHING, trials.rows) in phases


def test_problems_of_the_verifier_are_sorted() -> None:
    problems = {"missing key": 1, "missing member": 2, "extra key": 3, "extra elements beyond those named": 1}
    problems |= {"altered field": 5, "wrong score": 1, "wrong type": 1}
    assert judge.sort(problems) == {"lost": 3, "doubled": 4, "altered": 7}


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_the_command_says_by_its_exit_code_whether_it_was_clean(
    campaign: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: bool,
    code: int,
) -> None:
    data = copy.deepcopy(campaign)
    data["summary"]["redis"]["judge"]["lost"] += broken
    monkeypatch.setattr(crashes, "run", lambda **options: data)
    assert cli.main(["crashes", "--seed", "7"]) == code
    said = capsys.readouterr().out
    assert ("NOT CLEAN" in said) is broken and "1 kill" in said
    assert cli.main(["crashes", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == data


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", "crashes", "--profile", "full"],
        env={**os.environ, "HELPERS_HOME": str(home), "HELPERS_RESULTS": str(tmp_path / "results")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not has_child(psutil.Process(process.pid), "migrate"):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        assert len(leftovers(home)) >= 4
    finally:
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == cli.INTERRUPTED and "interrupted" in err and "Traceback" not in err
    assert not out and leftovers(home) == []
    assert not (tmp_path / "results").exists(), "nothing is saved"
