"""Claims on the pace of following say what the rounds say: win, tie, reverse, missing."""

from typing import Any

import pytest

from helpers.results import Missing, Result, Results
from helpers.trials import pace_claims

SAID = [pace_claims.rates, pace_claims.delays, pace_claims.terms]
SAME = (100.0, 100.0, 100.0)
WAITING = [float(ms) for ms in range(1, 101)]


def having(
    rates: dict[tuple[str, str], tuple[float, ...]] | None = None,
    *,
    delays: list[float] = WAITING,
    redis: str = "everysec",
    postgres: str = "off",
) -> Results:
    every = {(of, arm): SAME for of in ("single", "large") for arm in ("one", "cluster", "postgres")}
    rounds = [
        {"backlog": of, "arm": arm, "round": number, "changes": 5_000 if of == "single" else 90_000}
        | {"seconds": 1.0, "per_second": rate}
        for (of, arm), of_arm in (every | (rates or {})).items()
        for number, rate in enumerate(of_arm, start=1)
    ]
    steady = [
        {"arm": arm, "wanted_per_s": 1000, "committed_per_s": 980.0 - number, "delays_ms": delays}
        for number, arm in enumerate(("one", "cluster", "postgres"))
    ]
    data = {
        "rows": {}, "cores": 2, "nodes": 3, "durability": {"redis": redis, "postgres": postgres},
        "rounds": rounds, "steady": steady, "differences": {},
    }  # fmt: skip
    return Results({"pace": Result("pace", "quick", "", {}, data)})


@pytest.mark.parametrize("claim", SAID)
def test_missing(claim: Any) -> None:
    assert claim(Results({})).endswith("was not measured.")


def test_a_table_without_results() -> None:
    with pytest.raises(Missing):
        pace_claims.table(Results({}))


@pytest.mark.parametrize(
    ("mine", "verdict"),
    [
        ((180.0, 200.0, 190.0), "190 {}/s, 1.90 times the rate of PostgreSQL's own, more in every round."),
        ((50.0, 60.0, 55.0), "55 {}/s, 0.550 times the rate of PostgreSQL's own, less in every round."),
        ((90.0, 100.0, 120.0), "100 {}/s, 1.00 times the rate of PostgreSQL's own, no difference shown."),
    ],
)
@pytest.mark.parametrize(("arm", "place"), [("one", "one Redis"), ("cluster", "a cluster of 3 nodes")])
@pytest.mark.parametrize(("backlog", "unit"), [("single", "transactions"), ("large", "rows")])
def test_win_reverse_and_tie(
    mine: tuple[float, ...], verdict: str, arm: str, place: str, backlog: str, unit: str
) -> None:
    text = pace_claims.rates(having({(backlog, arm): mine}))
    assert f"Onto {place} it reached {verdict.format(unit)}" in text
    assert text.count("no difference shown") == (4 if "no difference" in verdict else 3)
    assert "(medians of 3 rounds). First there were 5,000 transactions of one row." in text
    assert "Then there was one transaction of 90,000 rows." in text


def test_ratios_are_those_of_rounds_and_not_of_medians() -> None:
    text = pace_claims.rates(having({("single", "one"): (20, 20, 90), ("single", "postgres"): (10, 40, 90)}))
    assert "Onto one Redis it reached 20 transactions/s, 1.00 times" in text  # 2, 0.5 and 1; of medians 0.5


def test_delays_are_told_by_three_numbers_of_each_arm_and_with_the_rate_that_was_reached() -> None:
    text = pace_claims.delays(having())
    assert text.startswith("Writers tried 1,000 transactions a second and committed 978 to 980, while")
    told = "half of the rows could be read within 50.5 ms of their commit, 95 % within 95.0 ms, and the last"
    for place in ("one Redis", "a cluster of 3 nodes", "a second PostgreSQL"):
        assert f"In {place} {told} after 100 ms." in text
    assert "within 2.00 s of their commit" in pace_claims.delays(having(delays=[2000.0]))


def test_no_row_that_was_seen_is_not_measured() -> None:
    results = having(delays=[])
    assert pace_claims.delays(results).endswith("was not measured.")
    with pytest.raises(Missing):
        pace_claims.table(results)


@pytest.mark.parametrize(
    ("redis", "postgres", "verdict"),
    [
        ("everysec", "off", "Neither side waited"),
        ("always", "on", "Both sides waited"),
        ("always", "off", "Only Redis waited"),
        ("no", "on", "Only PostgreSQL waited"),
    ],
)
def test_who_waited_for_the_disk(redis: str, postgres: str, verdict: str) -> None:
    text = pace_claims.terms(having(redis=redis, postgres=postgres))
    told = f"(`appendfsync {redis}`, `synchronous_commit = {postgres}`)"
    assert text.startswith(f"{verdict} for the disk {told}.")


def test_the_table_shows_every_arm() -> None:
    table = pace_claims.table(having({("large", "cluster"): (50.0, 60.0, 55.0)}))
    assert list(table["Onto"]) == ["one Redis", "a cluster of 3 nodes", "a second PostgreSQL"]
    assert list(table["rows/s of a large one"]) == ["100 (100)", "55 (50 to 60)", "100 (100)"]
    assert set(table["delay, median"]) == {"50.5 ms"} and set(table["longest"]) == {"100 ms"}
