import copy
from itertools import combinations

import pytest
from comparison_records import data, results

from helpers.comparison import decision_figures, figures
from helpers.report import style
from helpers.results import Missing

US = {"postgres": 200.0, "redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
FIGURES = (
    figures.core_rates, figures.cost_stack,
    figures.ecdf, figures.open_loop, figures.percentile_curve, figures.percentiles,
    figures.ratios, figures.throughput, figures.warm_up, decision_figures.decision,
    decision_figures.sensitivity,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_each_figure_is_drawn_the_same_for_the_same_results_or_is_missing(draw):
    first, again = (style.svg(draw(results(data(US)))) for _ in range(2))
    assert first == again
    assert all(store in first for store in ("Redis", "MongoDB", "Cassandra"))
    assert ("PostgreSQL" in first) == (draw is not decision_figures.sensitivity)  # which ranks candidates
    assert len(first) < 120_000
    with pytest.raises(Missing):
        draw(results(None))


@pytest.mark.parametrize("limit", ["client", "machine", "waiting"])
def test_a_point_is_open_where_the_server_was_not_the_limit(limit):
    found = data(US)
    for row in found["throughput"]:
        row["limit"] = "server"
    closed = figures.throughput(results(copy.deepcopy(found)))
    found["throughput"][0]["limit"] = limit
    opened = figures.throughput(results(found))
    faces = [
        sum(line.get_markerfacecolor() == "white" for line in figure.axes[0].lines)
        for figure in (closed, opened)
    ]
    assert faces == [0, 1]


def test_a_difference_not_shown_is_open():
    found = data(US)
    found["ratios"][-1]["shown"] = False
    axes = figures.ratios(results(found)).axes
    points = [line for axis in axes for line in axis.lines if line.get_marker() == "o"]
    assert len(points) == 4 * len(list(combinations(US, 2)))
    assert sum(line.get_markerfacecolor() == "white" for line in points) == 1


def test_the_stack_adds_up_to_what_elapsed_and_the_server_begins_where_the_waiting_does():
    found = data(US)
    axis = figures.cost_stack(results(found)).axes[0]
    boxes = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axis.patches]
    for store in US:
        cost = found["cost"][store]["50/50"]
        (waiting,) = [box for box in boxes if box[1] == pytest.approx(cost["elapsed_us"] / 1000, abs=1e-4)]
        assert waiting[0] == pytest.approx(cost["asking_us"] / 1000)
        assert any(
            low == waiting[0] and high - low == pytest.approx(cost["server_cpu_us"] / 1000)
            for low, high in boxes
        )


def test_a_rate_is_filled_only_where_the_server_was_the_limit():
    found = data(US)
    for row in found["throughput"]:
        row["limit"] = "server" if row["store"] == "redis" and row["clients"] == 16 else "machine"
    points = [
        line
        for axis in figures.core_rates(results(found)).axes
        for line in axis.lines
        if len(line.get_xdata()) == 1
    ]
    assert len(points) == 3 * len(US)
    assert sum(line.get_markerfacecolor() != "white" for line in points) == 1


def test_a_tier_that_was_not_measured_is_missing():
    with pytest.raises(Missing, match="strict"):
        figures.ecdf(results(data(US)), tier="strict")


def test_the_percentile_curve_reaches_the_slowest_operation():
    found = data(US)
    figure = figures.percentile_curve(results(found))
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "PostgreSQL",
        "Redis",
        "MongoDB",
        "Cassandra",
    ]
    for axis, us in zip(figure.axes, US.values(), strict=True):
        due, corrected, sent = (line for line in axis.lines if len(line.get_xdata()) > 1)
        assert [max(line.get_xdata()) for line in (due, sent)] == [400, 400]
        assert max(due.get_ydata()) == pytest.approx(2 * us * 1.0923 / 1000, rel=0.01)
        assert max(sent.get_ydata()) == pytest.approx(2 * us * 0.9 / 1000, rel=0.01)
        assert max(corrected.get_ydata()) == max(sent.get_ydata())


def test_results_without_histograms_have_no_percentile_curve():
    found = data(US)
    for damage in (lambda row: row.pop("latency_hdr"), lambda row: row.update(latency_hdr=None)):
        for row in found["open_loop"]:
            damage(row)
        with pytest.raises(Missing, match="histogram"):
            figures.percentile_curve(results(found))
        found = data(US)
