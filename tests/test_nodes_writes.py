"""What came of writes is counted, and no outage is thinned away."""

from helpers.scaling.writes import Failed, case, counts, stretch, thinned, timeline
from helpers.servers.writer import Write

WRITES = [
    Write(0, 0, 0.5),
    Write(1, 1, 1.5),
    Write(2, 2, 5, "Gone: away"),
    Write(3, 5, 6),
    Write(4, 6, 6.5, "Gone: still"),
    Write(5, 7, 7.5, "Late: no"),
]


def test_counts() -> None:
    assert counts(WRITES, {0, 3, 4}) == {
        "writes": 6,
        "acknowledged": 3,
        "lost": 1,
        "unasked": 1,
        "outage_s": 4.5,
        "errors": {"Gone": 2, "Late": 1},
    }


def test_a_case_counts_the_time_at_its_ends_and_one_without_acknowledgement_is_all_outage() -> None:
    assert case(WRITES, [(1, 9)], {0, 1, 3})["outage_s"] == 4.5
    assert case(WRITES, [(5, 10)], set()) == {
        "writes": 3,
        "acknowledged": 1,
        "lost": 1,
        "unasked": 0,
        "outage_s": 4,
        "errors": {"Gone": 1, "Late": 1},
    }
    assert case(WRITES, [(6.2, 9)], set())["outage_s"] == 9 - 6.2


def test_a_failure_is_one_line_with_its_kind() -> None:
    assert str(Failed(OSError("gone\nand more"))) == "OSError: gone"
    long = OSError("no host (configured timeouts: a: 1), Timeout: 1s, Topology: <...>")
    assert str(Failed(long, "Kind")) == "Kind: no host"


def test_a_short_timeline_holds_every_write() -> None:
    assert timeline(WRITES)[2] == [2, 3000, 0]
    assert len(timeline(WRITES)) == 6 and thinned(WRITES) == "every write"


def test_a_long_timeline_keeps_the_slowest_and_every_stretch_with_a_failure() -> None:
    many = [Write(n, n, n + 0.1, "Gone" if n in (7, 5000) else "") for n in range(10_000)]
    many[6001] = Write(6001, 6001, 6003)
    shown = timeline(many, 1000)
    assert len(shown) <= 1000
    assert [point[0] for point in shown] == sorted(point[0] for point in shown)
    assert [point[0] for point in shown if not point[2]] == [7, 5000]
    assert [6001, 2000, 1] in shown
    assert stretch(10_000, 1000) == 20 and "14 writes" in thinned(many)
