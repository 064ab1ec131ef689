"""Claims on scaling out say what the rounds say, and the outlook multiplies them right."""

from typing import Any

import pytest

from helpers.results import Missing, Result, Results
from helpers.trials import figures, outlook, scaleout_claims
from helpers.trials.outlook import Costs

SAID = [
    scaleout_claims.speed,
    scaleout_claims.why,
    scaleout_claims.costs,
    scaleout_claims.needs,
    scaleout_claims.verified,
]
DRAWN = [scaleout_claims.table, scaleout_claims.outlook_table, figures.scaleout_rates]
ROWS = {"users": 100, "products": 100, "activities": 600, "orders": 200}
SAME = (100.0, 100.0, 100.0)


def having(
    rates: dict[tuple[int, int], tuple[float, ...]] | None = None, *, busy: float = 0.5, mover_s: float = 1e-6
) -> Results:
    rates = {(1, 1): SAME, (1, 2): SAME, (3, 1): SAME, (3, 2): SAME} | (rates or {})
    rounds = [
        {
            "nodes": nodes,
            "workers": workers,
            "round": number,
            "rows": 1000,
            "seconds": 1000 / rate,
            "load_seconds": 1000 / rate,
            "rows_per_second": rate,
            "mover_cpu_seconds": 1000 * mover_s,
            "redis_cpu_seconds": [1000 * 2e-6 / nodes] * nodes,
            "redis_bytes": 1000 * 200,
            "memory_bytes": 1000 * 96,
            "busy": busy,
        }
        for (nodes, workers), of_arm in rates.items()
        for number, rate in enumerate(of_arm, start=1)
    ]
    reading = [{"seconds": 1000 * 0.5e-6, "bytes": 1000 * 50}] * 3
    data = {"rows": ROWS, "cores": 2, "rounds": rounds, "reading": reading, "differences": {}}
    ladder = {"growth": [{"rows": 10**6, "round": 1, "load_seconds": 5.0, "verify_seconds": 10.0}]}
    return Results(
        {
            "scaleout": Result("scaleout", "quick", "", {}, data),
            "ladder": Result("ladder", "quick", "", {}, ladder),
        }
    )


@pytest.mark.parametrize("claim", SAID)
def test_missing(claim: Any) -> None:
    assert "not measured" in claim(Results({}))


@pytest.mark.parametrize("function", DRAWN)
def test_tables_and_figures_without_results(function: Any) -> None:
    with pytest.raises(Missing):
        function(Results({}))


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ((180.0, 200.0, 190.0), "1.90 times the rate of one{}, more in every round."),
        ((50.0, 60.0, 55.0), "0.550 times the rate of one{}, less in every round."),
        ((90.0, 100.0, 120.0), "1.00 times the rate of one{}, no difference shown."),
    ],
)
def test_win_reverse_and_tie(second: tuple[float, ...], verdict: str) -> None:
    text = scaleout_claims.speed(having({(1, 2): second}))
    assert f"With 1 Redis node 2 processes loaded at {verdict.format('')}" in text
    text = scaleout_claims.speed(having({(3, 1): second}))
    assert f"1 process loaded into 3 nodes at {verdict.format(' node')}" in text


def test_a_machine_that_is_busy_is_called_the_limit_and_another_is_not() -> None:
    assert "of which 95 % were busy" in scaleout_claims.why(having(busy=0.95))
    assert "hardly anything was left" in scaleout_claims.why(having(busy=0.95))
    assert "not the limit alone" in scaleout_claims.why(having(busy=0.6))


def test_one_arm_that_is_busy_does_not_make_the_machine_the_limit() -> None:
    results = having(busy=0.95)
    for one in results["scaleout"].data["rounds"]:
        one["busy"] = 0.7 if (one["nodes"], one["workers"]) == (3, 2) else 0.95
    assert "not the limit alone" in scaleout_claims.why(results)


def test_costs_are_those_of_a_row_with_the_most_nodes() -> None:
    one = Costs.from_result(having()["scaleout"].data)
    assert (one.mover_s, one.redis_s, one.read_s) == pytest.approx((1e-6, 2e-6, 0.5e-6))
    assert (one.source_bytes, one.redis_bytes, one.memory_bytes) == pytest.approx((50, 200, 96))


def test_what_a_thousand_million_rows_need_is_the_cost_of_a_row_times_them() -> None:
    one = Costs.from_result(having()["scaleout"].data)
    assert one.nodes(10**9) == 3  # 96 GB in nodes of 64 GB, filled to 60 %
    alone, many = one.seconds(10**9, 1), one.seconds(10**9, 64)
    assert (alone["movers"], many["movers"]) == pytest.approx((1000, 1000 / 64))
    assert alone["Redis"] == many["Redis"] == pytest.approx(2000 / 3)
    assert alone["reading"] == pytest.approx(500)
    assert alone["network"] == pytest.approx(200e9 / outlook.LINK_BYTES_S)
    assert many["network"] == pytest.approx(alone["network"] / 8)  # 64 cores are 8 machines


def test_the_side_that_limits_turns_with_the_costs() -> None:
    assert "limited by Redis' cores." in scaleout_claims.needs(having())
    text = scaleout_claims.needs(having(mover_s=1e-3))
    assert "limited by the cores that load." in text
    assert "1,000,000,000 rows would need 96 GB of memory in 3 Redis nodes" in text
    assert "11.6 days with 1 core and" in text and "None of this was measured" in text


def test_verifying_takes_as_long_as_one_process_needs() -> None:
    assert (
        "2.78 hours for 1,000,000,000 rows and 27.8 hours for 10,000,000,000 rows"
        in scaleout_claims.verified(having())
    )


def test_tables_and_figure_show_every_arm() -> None:
    results = having({(3, 2): (50.0, 60.0, 55.0)})
    table = scaleout_claims.table(results)
    assert list(table["rows/s"]) == ["100", "100", "100", "55"]
    assert len(scaleout_claims.outlook_table(results)) == len(outlook.ROWS) * len(outlook.MOVERS)
    left = figures.scaleout_rates(results).axes[0]
    assert [bar.get_width() for bar in left.patches] == pytest.approx([0.1, 0.1, 0.1, 0.055])
