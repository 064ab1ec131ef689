"""A replica set of real servers: members come back, acknowledged writes stay where a majority has them."""

from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest

from helpers import settings
from helpers.errors import HelpersError
from helpers.scaling import mongodb_set
from helpers.scaling.writes import DETECTION_S
from helpers.servers import mongodb as server, process
from helpers.servers.mongodb_nodes import Member, ReplicaSet, lags_ms, replica_set

pytestmark = pytest.mark.skipif(server.missing() is not None, reason=str(server.missing()))


def running_under(folder: Path) -> list[str]:
    found = psutil.process_iter(["name", "cwd"])
    return [p.info["name"] for p in found if (p.info["cwd"] or "").startswith(str(folder))]


@pytest.fixture(scope="module")
def steps() -> list[str]:
    return []


@pytest.fixture(scope="module")
def measured(steps: list[str]) -> dict[str, object]:
    return mongodb_set.measure("small", steps.append)


def test_the_common_fields_agree_with_each_other(measured, steps) -> None:
    assert measured["nodes"] == 3 and measured["version"][0].isdigit()
    shown = measured["tiers"][measured["settings"]["shown"]]
    for name in ("writes", "acknowledged", "lost", "unasked", "outage_s"):
        assert measured[name] == shown[name]
    assert len(measured["timeline"]) == min(measured["writes"], 1500)
    assert measured["writes"] - measured["acknowledged"] == sum(shown["errors"].values())
    assert [second for second, _ in measured["events"]] == sorted(second for second, _ in measured["events"])
    assert len(steps) == mongodb_set.STEPS["small"]
    second = measured["second_node"]
    assert 0 < second["low"] <= second["value"] <= second["high"]


def test_what_only_the_primary_had_is_lost_and_what_a_majority_had_is_not(measured) -> None:
    assert measured["tiers"]["w:majority"]["lost"] == 0
    behind = measured["found"]["cases"]["behind"]
    assert behind["w:1"]["lost"] > 0
    assert behind["w:majority"]["acknowledged"] > 0
    assert measured["found"]["rolled_back"] > 0


def test_a_killed_primary_costs_an_election_timeout_and_a_stepdown_does_not(measured) -> None:
    cases = measured["found"]["cases"]
    assert measured["settings"]["electionTimeoutMillis"] == "2000 ms as set"  # read back
    timeout_s = DETECTION_S
    assert cases["behind"]["w:1"]["outage_s"] > timeout_s / 2
    assert cases["behind"]["w:1"]["outage_s"] > cases["stepdown"]["w:1"]["outage_s"]
    assert cases["stepdown"]["w:1"]["lost"] == 0
    assert measured["found"]["election_reason"]["behind"] == "electionTimeout"
    assert measured["found"]["election_reason"]["stepdown"].startswith("stepUp")


class Restless(ReplicaSet):
    """A set whose first primary is killed, once it was found, and comes back when another is elected."""

    lost = False

    def configuration(self) -> dict[str, Any]:
        return {
            **super().configuration(),
            "settings": {"electionTimeoutMillis": 3000, "heartbeatIntervalMillis": 500},
        }

    def primary(self, *, timeout_s: float = 60) -> Member:
        found = super().primary(timeout_s=timeout_s)
        if not self.lost:
            self.lost = True
            found.kill()
            assert super().primary(timeout_s=timeout_s) is not found
            found.start()
        return found


def test_another_primary_before_there_is_a_user_is_no_end(tmp_path: Path) -> None:
    made = Restless(tmp_path, 3)
    try:
        made.initiate()
        states = sorted(member["stateStr"] for member in made.status()["members"])
        assert made.lost and states == ["PRIMARY", "SECONDARY", "SECONDARY"]
    finally:
        made.stop()


def test_nothing_of_it_stays(measured) -> None:
    assert not list(settings.home().glob("scratch-mongodb-set-*"))
    assert not running_under(settings.home() / "scratch-mongodb-set")


def test_a_set_of_one_is_private_and_asks_for_its_password_and_goes_when_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), replica_set(1) as one:
        member = one.members[0]
        folder = one.folder
        assert (member.folder / "key").stat().st_mode & 0o777 == 0o600
        command = psutil.Process(process.read_started(member.folder).pid).cmdline()
        assert one._password not in " ".join(command)
        stranger: pymongo.MongoClient[Any] = pymongo.MongoClient(
            process.HOST, member.port, directConnection=True
        )
        with pytest.raises(pymongo.errors.OperationFailure, match="requires authentication"):
            stranger.admin.command("replSetGetStatus")
        stranger.close()
        assert one.status()["myState"] == 1
        assert running_under(folder)
        raise KeyboardInterrupt
    assert not running_under(folder) and not folder.exists()


def test_a_member_that_cannot_start_says_so_in_one_line_and_none_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = Member.start

    def breaks(member: Member) -> None:
        if member.folder.name == "2":
            (member.folder / "key").chmod(0o644)
        start(member)

    monkeypatch.setattr(Member, "start", breaks)
    with pytest.raises(HelpersError, match=r"mongodb 127\.0\.0\.1:\d+: the server ended") as caught:
        mongodb_set.measure("small", lambda what: None)
    assert "\n" not in str(caught.value)
    assert not list(settings.home().glob("scratch-mongodb-set-*"))
    assert not running_under(settings.home() / "scratch-mongodb-set")


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(HelpersError, match="small, full"):
        mongodb_set.measure("quick", lambda what: None)


def test_where_mongodb_cannot_run_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "missing", lambda: "no AVX")
    assert mongodb_set.measure("full", lambda what: None) == {"not measured": "no AVX"}


def test_lag_of_a_secondary_that_applied_nothing_is_no_number() -> None:
    from datetime import datetime, timedelta

    now = datetime(2026, 3, 1)
    members: list[dict[str, Any]] = [
        {"stateStr": "SECONDARY", "lastAppliedWallTime": now - timedelta(milliseconds=30)},
        {"stateStr": "PRIMARY", "lastAppliedWallTime": now},
        {"stateStr": "SECONDARY", "lastAppliedWallTime": now + timedelta(milliseconds=1)},
        {"stateStr": "STARTUP2"},
    ]
    assert lags_ms(members) == [30, 0, float("inf")]
