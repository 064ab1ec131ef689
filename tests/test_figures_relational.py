import copy
from typing import Any

import pytest
from test_claims_relational import POPULATION, SCHEMA, found

from helpers.relational import figures
from helpers.report import style
from helpers.results import Missing

MOMENT = "2025-03-04T05:06:07"
DRAWN = {
    **POPULATION,
    "timeline": {
        "users": [
            {"user_id": n, "username": str(n), "created_at": "2025-02-01T00:00:00"} for n in range(1, 26)
        ],
        "activities": [{"user_id": n, "activity_type": "login", "at": MOMENT} for n in (1, 2, 25)],
        "orders": [{"user_id": 1, "product_id": 1, "at": MOMENT, "quantity": 2}],
    },
    "activity_types": {"login": 12_345, "logout": 3},
    "products": [{"name": "Mug", "price": 12.5, "orders": 2, "units": 5}],
    "skew": {
        **POPULATION["skew"],
        "ranks": [{"rank": 1, "activities": 90}, {"rank": 100, "activities": 1}],
    },
}
CATALOGUE = copy.deepcopy(SCHEMA)
for table in CATALOGUE["catalogue"]["tables"]:
    table["kind"] = "table"


def drawn(figure):
    return style.svg(figure(found(schema=CATALOGUE, population=DRAWN)))


CHARTS = [figures.index_times, figures.timeline, figures.rows_made, figures.activity_ranks, figures.scale]


@pytest.mark.parametrize("figure", CHARTS)
def test_a_chart_is_the_same_for_the_same_results_and_as_wide_as_the_report(figure):
    assert drawn(figure) == drawn(figure)
    assert figure(found(schema=CATALOGUE, population=DRAWN)).get_figwidth() == style.WIDTH_IN


@pytest.mark.parametrize("figure", [*CHARTS, figures.er])
def test_a_figure_without_its_results_is_missing(figure):
    nothing: tuple[dict[str, Any] | None, ...] = (None, {})
    for empty in nothing:
        with pytest.raises(Missing):
            figure(found(schema=empty, population=empty))


def test_every_run_of_the_query_is_a_mark():
    axes = figures.index_times(found()).axes[0]
    assert [len(line.get_xdata()) for line in axes.lines] == [3, 2, 3, 2]
    assert list(axes.lines[1].get_xdata()) == [11.0, 11.0]


def test_the_timeline_keeps_to_the_first_users():
    axes = figures.timeline(found(population=DRAWN)).axes[0]
    assert len(axes.get_yticks()) == figures.MOST_USERS
    logins = next(line for line in axes.lines if line.get_label() == "login")
    assert list(logins.get_ydata()) == [0, 1]


def test_bars_and_points_are_the_rows():
    left, right = figures.rows_made(found(population=DRAWN)).axes
    assert [bar.get_width() for bar in left.patches] == [12_345, 3, 0, 0]
    assert right.lines[0].get_xydata().tolist() == [[12.5, 5.0]]
    assert "12,345" in drawn(figures.rows_made)


def test_scale_is_drawn_from_the_smallest_on():
    speed, memory = figures.scale(found()).axes
    assert list(speed.lines[0].get_xdata()) == [1_310, 130_010, 1_300_010]
    assert list(memory.lines[0].get_ydata()) == [75.0, 75.2, 76.0]
    assert memory.get_ylim()[0] == 0


def test_the_diagram_is_drawn_from_saved_results():
    assert ">email<" in figures.er(found(schema=CATALOGUE))
