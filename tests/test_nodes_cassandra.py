"""A ring of two real nodes: it refuses what it cannot keep, and what a node missed comes to it."""

import contextlib
import socket
from pathlib import Path

import psutil
import pytest

from helpers import settings
from helpers.errors import HelpersError
from helpers.scaling import cassandra_ring
from helpers.servers import cassandra as server, cassandra_nodes as servers
from helpers.servers.cassandra_nodes import Node, ownership

needs_ring = pytest.mark.skipif(servers.missing(2) is not None, reason=str(servers.missing(2)))


def running_under(folder: Path) -> list[str]:
    found = psutil.process_iter(["name", "cwd"])
    return [p.info["name"] for p in found if (p.info["cwd"] or "").startswith(str(folder))]


@pytest.fixture(scope="module")
def steps() -> list[str]:
    return []


@pytest.fixture(scope="module")
def measured(steps: list[str]) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cassandra_ring, "POLL_S", 2)  # each look opens a session, which the nodes pay for
        return cassandra_ring.measure("small", steps.append)


@needs_ring
def test_the_common_fields_agree_with_each_other(measured, steps) -> None:
    assert measured["nodes"] == 2 and measured["version"][0].isdigit()
    shown = measured["tiers"][measured["settings"]["shown"]]
    for name in ("writes", "acknowledged", "lost", "unasked", "outage_s"):
        assert measured[name] == shown[name]
    assert 0 < len(measured["timeline"]) <= 1500
    assert measured["writes"] - measured["acknowledged"] == sum(shown["errors"].values())
    assert [second for second, _ in measured["events"]] == sorted(second for second, _ in measured["events"])
    assert len(steps) == cassandra_ring.STEPS["small"]


@needs_ring
def test_quorum_is_refused_while_one_goes_on_and_nothing_acknowledged_is_lost(measured) -> None:
    one, quorum = measured["tiers"]["ONE"], measured["tiers"]["QUORUM"]
    assert quorum["errors"]["Unavailable"] > 0 and "Unavailable" not in one["errors"]
    assert measured["found"]["refused_after_s"] > 0
    assert quorum["outage_s"] > one["outage_s"]
    assert one["lost"] == quorum["lost"] == 0
    alone = next(case for case in measured["found"]["cases"] if case["from"] == "node 2 killed")
    # a write or two may still be acknowledged between the note and the death
    assert alone["ONE"]["acknowledged"] > 20 > 5 > alone["QUORUM"]["acknowledged"]


@needs_ring
def test_what_the_node_missed_was_handed_over_or_repaired(measured) -> None:
    (returned,) = measured["found"]["returned"]
    assert returned["node"] == 2 and returned["away_s"] > 0
    # under a second of writes may have been in the hands of the node that was killed
    assert returned["acknowledged_while_away"] > 100 > returned["still_missed"]
    assert returned["missed"] >= returned["still_missed"]
    # others may take it for dead a moment longer than it is
    lacking = measured["found"]["lacking"]["before_reading_at_all"][1]
    assert returned["still_missed"] + returned["missed_later"] == lacking
    assert returned["missed_later"] < returned["acknowledged_while_away"]
    assert measured["found"]["lacking"]["after_reading_at_all"] == [0, 0]


@needs_ring
def test_shares_of_the_ring(measured) -> None:
    alone, both = measured["found"]["ownership"]
    assert alone == {"127.0.0.1": 1}
    assert set(both) == {"127.0.0.1", "127.0.0.2"} and sum(both.values()) == pytest.approx(1)
    assert min(both.values()) > 0


@needs_ring
def test_nothing_of_it_stays(measured) -> None:
    assert not list(settings.home().glob("scratch-cassandra-ring-*"))
    assert not running_under(settings.home() / "scratch-cassandra-ring")


@needs_ring
def test_a_node_that_cannot_start_says_so_in_one_line_and_none_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Node.start

    def breaks(node: Node) -> str:
        (node.folder / "conf" / "cassandra.yaml").write_text("no_such_setting: 1\n", encoding="utf-8")
        return start(node)

    monkeypatch.setattr(Node, "start", breaks)
    with pytest.raises(HelpersError, match=r"cassandra 127\.0\.0\.1:\d+: the server ended") as caught:
        cassandra_ring.measure("small", lambda what: None)
    assert "\n" not in str(caught.value)
    assert not list(settings.home().glob("scratch-cassandra-ring-*"))
    assert not running_under(settings.home() / "scratch-cassandra-ring")


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(HelpersError, match="small, full"):
        cassandra_ring.measure("quick", lambda what: None)


def test_without_java_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "missing", lambda: "no Java")
    assert cassandra_ring.measure("full", lambda what: None) == {"not measured": "no Java"}


def test_without_memory_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "NEEDED_MB", 10**9)
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.2", 0))
        except OSError:
            pytest.skip("127.0.0.2 is no address of this machine")
    assert "3 nodes need 3000000000 MB" in cassandra_ring.measure("full", lambda what: None)["not measured"]


def test_without_further_loopback_addresses_it_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "ADDRESS", "203.0.113.{}")  # kept for documentation: no machine has it
    assert "203.0.113.2 is no address" in cassandra_ring.measure("full", lambda what: None)["not measured"]


def test_ownership_by_hand() -> None:
    quarter = 2**62
    tokens = {"a": [-2 * quarter, 0], "b": [quarter]}
    # b owns what lies between 0 and 1, a what lies around the end of the range and between -2 and 0
    assert ownership(tokens) == {"a": 0.75, "b": 0.25}
    assert ownership({"a": [5]}) == {"a": 1}
