"""What the report says of the machine, the versions and the days of its results."""

from typing import Any

import pytest

from helpers.report import claims
from helpers.results import APART, KINDS, Missing, Result, Results


def record(
    kind: str, *, profile: str = "full", created: str = "2026-11-22T10:00:00+00:00", **more: Any
) -> Result:
    here: dict[str, Any] = {
        "processor": "Sample CPU",
        "cores": 2,
        "memory_mb": 8000,
        "system": "Linux",
        "kernel": "6.1",
        "machine": "x86_64",
        "python": "3.11.7",
        "libraries": {"redis": "8.1.0"},
        "servers": {"redis": "8.2.3"},
    }
    return Result(kind, profile, created, here | more, {})


def results(*records: Result) -> Results:
    return Results({r.kind: r for r in records})


def test_one_machine_is_described() -> None:
    text = claims.machine(results(record("schema"), record("ladder")))
    assert text == (
        "All of it was measured on one machine: Sample CPU with 2 cores and 8 GB of memory under Linux. "
        "Whether it is a virtual machine was not recorded."
    )


@pytest.mark.parametrize(
    ("told", "words"),
    [((True, True), "it is a virtual machine"), ((False, False), "tells of no virtual machine")],
)
def test_a_virtual_machine_is_one_if_the_kernel_says_so(told: tuple[bool, bool], words: str) -> None:
    first, second = (record(kind, virtual=of) for kind, of in zip(("schema", "ladder"), told, strict=True))
    assert words in claims.machine(results(first, second))
    assert ("virtual machine" in claims.caveat(results(first, second))) == told[0]
    rows = claims.versions_table(results(first)).set_index("Part")["Version or size"]
    assert rows["Virtual machine"] == ("yes" if told[0] else "no")


def test_a_server_past_its_end_of_life_is_named() -> None:
    old = results(record("schema", servers={"mongodb": "6.0.5", "redis": "8.2.3"}))
    assert claims.outdated(old) == "MongoDB 6.0 has been past its end of life since 31 July 2025."
    before = record("schema", servers={"mongodb": "6.0.5"}, created="2025-07-01T10:00:00+00:00")
    assert claims.outdated(results(before)).startswith("No server is known")
    assert claims.outdated(results(record("schema", servers={"mongodb": "8.0.1"}))).startswith("No server")


def test_two_machines_are_named_both() -> None:
    text = claims.machine(results(record("schema"), record("ladder", processor="Other CPU")))
    assert "on 2 machines" in text and "Sample CPU" in text and "Other CPU" in text


def test_versions_that_differ_are_named_both() -> None:
    found = results(record("schema"), record("ladder", servers={"redis": "7.0.0", "postgres": "18.6"}))
    assert claims.versions(found) == "The servers were PostgreSQL 18.6 and Redis 7.0.0 and 8.2.3."
    rows = claims.versions_table(found).set_index("Part")["Version or size"]
    assert rows["Redis"] == "7.0.0 and 8.2.3" and rows["`redis`"] == "8.1.0" and rows["Memory"] == "8 GB"


def test_one_day_or_the_span_and_the_profiles() -> None:
    assert claims.when(results(record("schema"))) == (
        "The results were measured on 22 November 2026 with the full profile."
    )
    soon = record("ladder", created="2026-11-22T10:32:00+00:00")
    assert claims.when(results(record("schema"), soon)).endswith(
        "with the full profile; from the first saved result to the last it took 32 minutes."
    )
    apart = record("largest", created="2026-11-23T10:00:00+00:00")
    assert claims.when(results(record("schema"), soon, apart)) == (
        f"{claims.when(results(record('schema'), soon))} "
        "The largest migration was measured apart, on 23 November 2026."
    )
    assert claims.when(results(apart)) == "Nothing was measured."
    later = record("ladder", profile="quick", created="2026-12-01T10:00:00+00:00")
    assert claims.when(results(record("schema"), later)) == (
        "The results were measured between 22 November 2026 and 1 December 2026 "
        "with the profiles full and quick."
    )


def test_what_is_missing_is_named() -> None:
    assert set(claims.TITLES) == set(KINDS)
    everything = results(*(record(kind) for kind in KINDS if kind not in APART))
    assert claims.coverage(everything) == "Every part of this report rests on saved results."
    text = claims.coverage(results(*(record(kind) for kind in KINDS if kind not in ("ladder", "migration"))))
    assert text == "Not measured for this copy: migration and ladder of loaders."
    rows = claims.records_table(results(record("schema"))).set_index("Result")["Profile"]
    assert rows["Relational schema"] == "full" and rows["Migration"] == "not measured"


def test_without_results_nothing_is_claimed() -> None:
    for claim in (claims.machine, claims.versions, claims.when, claims.outdated, claims.caveat):
        assert "othing was measured" in claim(results())
    for table in (claims.versions_table, claims.records_table):
        with pytest.raises(Missing):
            table(results())
