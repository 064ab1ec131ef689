"""Claims on the ladder say what the rounds say: win, tie, reverse, missing."""

from typing import Any

import numpy as np
import pytest

from helpers.results import Missing, Result, Results
from helpers.trials import figures, ladder_claims
from helpers.trials.ladder import against, summarise

SAID = [
    ladder_claims.reached,
    ladder_claims.limit,
    ladder_claims.absent,
    ladder_claims.memory,
    ladder_claims.verification,
]
DRAWN = [
    ladder_claims.table,
    ladder_claims.growth_table,
    figures.ladder_rates,
    figures.ladder_cpu,
    figures.ladder_growth,
]
SLOW, QUICK, MIXED = (90, 100, 110), (390, 400, 410), (80, 100, 120)


def having(busy: float = 0.5, growth: Any = None, **rates: tuple[float, ...]) -> Results:
    rounds = [
        {
            "rung": rung,
            "round": number,
            "rows": 100,
            "seconds": 100 / rate,
            "rows_per_second": rate,
            "redis_cpu_seconds": 100 / rate * busy,
            "client_cpu_seconds": 2e-4,
        }
        for rung, of_rung in ({"row": (10, 10, 10)} | rates).items()
        for number, rate in enumerate(of_rung)
    ]
    data = {
        "labels": {
            "row": "row by row",
            "pipeline": "pipelined",
            "redis_cli_file": "file",
            "streamed": "stream",
        },
        "rounds": rounds,
        "summary": summarise(rounds),
        "against": against(rounds),
        "absent": {"a tool": "not on PATH"},
        "growth": growth,
    }
    return Results({"ladder": Result("ladder", "quick", "", {}, data)})


def grown(verify: float, *peaks: float) -> list[dict[str, float]]:
    return [
        {"rows": 10**i, "round": 1, "load_seconds": 2.0, "verify_seconds": verify, "peak_rss_mb": peak}
        for i, peak in enumerate(peaks, start=3)
    ]


@pytest.mark.parametrize("claim", SAID)
def test_missing(claim: Any) -> None:
    assert "not measured" in claim(Results({}))


@pytest.mark.parametrize("function", DRAWN)
def test_tables_and_figures_without_results(function: Any) -> None:
    with pytest.raises(Missing):
        function(Results({}))


def test_win_tie_and_reverse() -> None:
    text = ladder_claims.reached(having(pipeline=SLOW, streamed=QUICK))
    assert "400 rows/s, 40.0 times the row-by-row loop in the same round (medians of rounds)" in text
    assert "the streamed load reached 4.00 times its rate, more in every round" in text
    assert "less in every round" in ladder_claims.reached(having(pipeline=QUICK, streamed=SLOW))
    assert "no difference is shown" in ladder_claims.reached(having(pipeline=(100, 100, 100), streamed=MIXED))


def test_ratios_are_those_of_rounds_and_not_of_medians() -> None:
    text = ladder_claims.reached(having(row=(10, 20, 10), pipeline=SLOW, streamed=(400, 400, 100)))
    assert "400 rows/s, 20.0 times the row-by-row loop" in text  # 40, 20 and 10; of medians it were 40


def test_the_way_from_a_file_is_a_ceiling_and_no_rival() -> None:
    results = having(0.95, pipeline=SLOW, redis_cli_file=(800, 800, 800), streamed=QUICK)
    assert "quickest was pipelined" in ladder_claims.reached(results)
    text = ladder_claims.limit(results)
    assert "800 rows/s" in text and "95.0 % of a core then: that is its limit" in text
    assert "reached 50.0 % of that rate" in text
    assert "not yet its limit" in ladder_claims.limit(having(0.5, redis_cli_file=QUICK, streamed=SLOW))


def test_memory_hardly_growing_growing_and_falling() -> None:
    text = ladder_claims.memory(having(pipeline=SLOW, streamed=QUICK, growth=grown(1, 100, 110, 120)))
    assert text == (
        "While rows grew a hundredfold, load and verification together needed 20 % more memory: "
        "120 MB at most with 100,000 rows."
    )
    text = ladder_claims.memory(having(streamed=QUICK, growth=grown(1, 100, 200)))
    assert "to 10.0 times as many" in text and text.endswith("Memory grows with the rows.")
    assert "needed as much memory" in ladder_claims.memory(having(streamed=QUICK, growth=grown(1, 100, 100)))
    assert "10 % less memory" in ladder_claims.memory(having(streamed=QUICK, growth=grown(1, 100, 90)))
    assert "not measured" in ladder_claims.memory(having(streamed=QUICK, growth=grown(1, 100)))


def test_verification_shorter_longer_and_both() -> None:
    assert "never longer" in ladder_claims.verification(having(streamed=QUICK, growth=grown(1, 1, 1)))
    assert "always longer" in ladder_claims.verification(having(streamed=QUICK, growth=grown(3, 1, 1)))
    both = grown(1, 1) + grown(3, 1)
    text = ladder_claims.verification(having(streamed=QUICK, growth=both))
    assert "0.500 to 1.50 times as long as loading, over 2 migrations: sometimes longer" in text
    assert "once" not in text
    assert "measured once" in ladder_claims.verification(having(streamed=QUICK, growth=grown(1, 1, 1)))


def test_two_hyphens_stay_two_hyphens() -> None:
    results = having(pipeline=SLOW, streamed=QUICK)
    results["ladder"].data["labels"]["pipeline"] = "redis-cli --pipe"
    assert r"redis-cli \-\-pipe; the" in ladder_claims.reached(results)


def test_absent() -> None:
    assert ladder_claims.absent(having(streamed=QUICK)) == "a tool was not measured: not on PATH."


def test_tables_and_drawings_hold_every_rung_and_size() -> None:
    results = having(pipeline=SLOW, redis_cli_file=QUICK, streamed=QUICK, growth=grown(1, 100, 101))
    assert list(ladder_claims.table(results)["Way"]) == ["row by row", "pipelined", "file", "stream"]
    assert list(ladder_claims.growth_table(results)["Rows"]) == ["1,000", "10,000"]
    labels = [text.get_text() for text in figures.ladder_rates(results).axes[0].get_yticklabels()]
    assert labels == ["row by row", "pipelined", "file", "stream"]
    dots = figures.ladder_cpu(results).axes[0].lines
    assert [np.asarray(line.get_xdata()).size for line in dots] == [4, 4]
    assert len(figures.ladder_growth(results).axes[0].lines) == 2
