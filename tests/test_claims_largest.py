"""Claims on the largest migration say what was measured: whole, ended early, dearer, cheaper, missing."""

from typing import Any

import pytest

from helpers.results import Result, Results
from helpers.trials import ladder_claims, largest, largest_claims

SAID = [
    largest_claims.done,
    largest_claims.rates,
    largest_claims.memory,
    largest_claims.slope,
    largest_claims.rests,
    largest_claims.costs,
]
WHOLE = [largest_claims.rates, largest_claims.slope, largest_claims.rests]
ROWS = {"users": 2_000_000, "products": 200_000, "activities": 80_000_000, "orders": 17_800_000}
"""A hundred times the rows of the base."""


def having(
    *, load_s: float = 200.0, verify_s: float = 200.0, row_bytes: float = 100.0, **other: Any
) -> Results:
    """Results with a base of a million rows that took 2 s to load, 2 s to verify, and 100 bytes each."""
    data: dict[str, Any] = {
        "wanted": 10**8,
        "rows": ROWS,
        "base": {
            "rows": 10**6,
            "load_seconds": 2.0,
            "verify_seconds": 2.0,
            "bytes_per_row": 100.0,
            "disk_bytes_per_row": 150.0,
        },
        "filled": {"seconds": 60.0, "bytes": 150 * 10**8, "bytes_per_row": 150.0},
        "forecast": {"memory_bytes": 10**10, "load_seconds": 100.0, "seconds": 30.0, "peak_rss_mb": 58.0},
        "killed": {
            "rows": 4 * 10**7,
            "reads": 5 * 10**7,
            "seconds": load_s / 2,
            "first_s": 1.0,
            "loaded_s": None,
            "peak_rss_mb": 90.0,
        },
        "resumed": {
            "rows": 10**8,
            "reads": 10**8,
            "seconds": load_s,
            "first_s": 3.0,
            "loaded_s": load_s / 2,
            "peak_rss_mb": 91.0,
        },
        "verified": {
            "seconds": verify_s + 1,
            "verify_seconds": verify_s,
            "rows_checked": ROWS,
            "differences": 0,
            "peak_rss_mb": 80.0,
        },
        "redis": {
            "memory_bytes": round(row_bytes * 10**8),
            "rss_bytes": round(row_bytes * 10**8),
            "bytes_per_row": row_bytes,
        },
        "ended": None,
    }
    return Results({"largest": Result("largest", "full", "", {}, data | other)})


def short() -> Results:
    """It ended in the second load."""
    results = having(verified=None, ended="only 1.30 GiB of memory were available during the resumed load")
    results["largest"].data["resumed"] |= {"rows": 9 * 10**7, "loaded_s": None}
    return results


@pytest.mark.parametrize("claim", SAID)
def test_missing(claim: Any) -> None:
    assert "not measured" in claim(Results({}))


def test_what_was_done_is_told() -> None:
    text = largest_claims.done(having())
    assert "was made apart: 100,000,000 rows in 4 tables." in text
    assert "killed by SIGKILL after 100 s, with 40,000,000 of them committed" in text
    assert "written the others after 100 s, the first after 3.00 s" in text
    assert "compared every field in 200 s and found no difference." in text and "ended early" not in text


def test_differences_are_told() -> None:
    results = having()
    results["largest"].data["verified"]["differences"] = 1
    assert "found 1 difference." in largest_claims.done(results)
    results["largest"].data["verified"]["differences"] = 1000
    assert "found 1,000 differences." in largest_claims.done(results)


def test_one_that_ended_early_says_why_and_claims_no_more() -> None:
    text = largest_claims.done(short())
    assert "ended early with 90,000,000 rows committed: only 1.30 GiB of memory were available" in text
    assert "verify" not in text and "written the others" not in text
    for claim in WHOLE:
        assert "not measured: only 1.30 GiB of memory" in claim(short())
    assert "forecast" not in largest_claims.memory(short())
    assert largest_claims.growth_row(short()) == []


def test_one_that_ended_before_its_kill_was_not_killed() -> None:
    text = largest_claims.done(
        having(resumed=None, verified=None, ended="only 1 GiB was free during the load")
    )
    assert "SIGKILL" not in text and "ended early with 40,000,000 rows committed" in text
    nothing = having(
        forecast=None,
        killed=None,
        resumed=None,
        verified=None,
        redis={"memory_bytes": 0, "rss_bytes": 0, "bytes_per_row": None},
        ended="none was free",
    )
    assert "ended early with 0 rows committed" in largest_claims.done(nothing)
    assert largest_claims.memory(nothing) == "PostgreSQL's tables and indexes took 14.0 GiB."
    assert len(largest.describe(nothing["largest"].data)) == 2
    for claim in WHOLE:
        assert "not measured: none was free." in claim(nothing)


def test_its_costs_are_told_together() -> None:
    found = having()
    assert largest_claims.costs(found) == " ".join(claim(found) for claim in SAID[1:-1])
    assert largest_claims.costs(Results({})) == "What the largest migration cost was not measured."


def test_rates_before_and_after_the_kill() -> None:
    assert "from the next start on as many (500,000)" in largest_claims.rates(having())
    results = having()
    results["largest"].data["resumed"]["loaded_s"] = 200.0
    assert (
        "500,000 rows were read and written in a second, from the next start on 0.500 times as many (250,000)"
        in (largest_claims.rates(results))
    )
    results["largest"].data["resumed"]["loaded_s"] = 50.0
    assert "start on 2.00 times as many (1,000,000)" in largest_claims.rates(results)


@pytest.mark.parametrize(
    ("row_bytes", "told"),
    [(100.0, "That is as forecast"), (110.0, "10 % more than forecast"), (90.0, "10 % less than forecast")],
)
def test_memory_is_told_beside_its_forecast(row_bytes: float, told: str) -> None:
    text = largest_claims.memory(having(row_bytes=row_bytes))
    assert told in text and "2.00 times the seconds" in text and "more than 91.0 MB" in text


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        ({}, "one costs about as much (within 10 %) to load, in memory and to verify."),
        ({"load_s": 300.0}, "one costs about as much (within 10 %) in memory and to verify, more to load."),
        (
            {"row_bytes": 120.0, "load_s": 100.0},
            "one costs about as much (within 10 %) to verify, more in memory, less to load.",
        ),
        (
            {"row_bytes": 120.0, "load_s": 400.0, "verify_s": 400.0},
            "one costs more to load, in memory and to verify.",
        ),
        ({"load_s": 100.0}, "one costs about as much (within 10 %) in memory and to verify, less to load."),
    ],
)
def test_slope(measured: dict[str, float], verdict: str) -> None:
    assert verdict in largest_claims.slope(having(**measured))


def test_slope_is_of_a_row() -> None:
    text = largest_claims.slope(having(load_s=400.0, verify_s=100.0, row_bytes=110.0))
    assert (
        "2.00 times the seconds to load (4.00 µs), 0.500 times to verify (1.00 µs) and 1.10 times the bytes"
        in (text)
    )


def test_the_outlook_goes_on_by_the_slope() -> None:
    # A hundredfold made a row cost twice as much: ten times as many rows are half of that on a log scale.
    data = having(load_s=400.0)["largest"].data
    assert largest_claims.longer(data, 10**10)["load"] == pytest.approx(10**10 * 4e-6 * 2)
    assert largest_claims.longer(data, 10**9)["load"] == pytest.approx(10**9 * 4e-6 * 2**0.5)
    assert largest_claims.longer(data, 10**9)["bytes"] == pytest.approx(10**11)
    text = largest_claims.rests(having())
    assert "from 1,000,000 to 100,000,000 rows was measured" in text and "This was not measured" in text
    assert "1,000,000,000 rows would take 33.3 minutes to load and 33.3 minutes to verify, and 100 GB" in text


def test_one_size_alone_tells_no_slope() -> None:
    results = having(rows={"users": 10**6})
    for claim in (largest_claims.slope, largest_claims.rests):
        assert "not measured" in claim(results)


def test_it_is_a_row_of_the_table_of_sizes() -> None:
    ladder = {"growth": [{"rows": 10**6, "load_seconds": 2.0, "verify_seconds": 1.0, "peak_rss_mb": 90.0}]}
    both = Results({**having(), "ladder": Result("ladder", "full", "", {}, ladder)})
    table = ladder_claims.growth_table(both)
    assert list(table["Rows"]) == ["1,000,000", "100,000,000"]
    assert table.iloc[1].to_dict() == {
        "Rows": "100,000,000",
        "migrations": "1, killed once",
        "load, rows/s": "500,000",
        "verify, rows/s": "500,000",
        "verify / load": "1.00",
        "memory, at most": "91.0 MB",
    }
    assert list(ladder_claims.growth_table(Results({"ladder": both["ladder"]}))["Rows"]) == ["1,000,000"]
