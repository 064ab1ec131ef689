import pytest
from nodes_records import LEFT_OUT, NAMES, data, results

from helpers.report import style
from helpers.results import Missing
from helpers.scaling import figures
from helpers.scaling.nodes_schemas import PARTS


def test_the_timelines_are_drawn_the_same_for_the_same_results_or_are_missing():
    first, again = (style.svg(figures.timelines(results(data()))) for _ in range(2))
    assert first == again
    assert all(name in first for name in PARTS.values())
    with pytest.raises(Missing):
        figures.timelines(results(None))
    with pytest.raises(Missing, match="no part was measured"):
        figures.timelines(results(dict.fromkeys(NAMES, LEFT_OUT)))


def test_a_part_that_was_left_out_has_no_panel():
    found = data()
    found["mongodb_set"] = LEFT_OUT
    titles = [axis.get_title(loc="left") for axis in figures.timelines(results(found)).axes]
    assert titles == ["Redis, primary and replica, no WAIT", "Redis Cluster", "Cassandra, ring, QUORUM"]


def test_failed_and_lost_writes_are_marked_each_in_its_own_way():
    axis = figures.timelines(results(data())).axes[0]
    marks = {line.get_marker(): list(line.get_xdata()) for line in axis.lines if len(line.get_xdata())}
    assert marks["x"] == pytest.approx([1.0, 1.1])
    assert marks["o"] == [1.5, 1.6]


def test_times_without_an_acknowledgement_are_shaded_and_told():
    found = data()
    assert not figures.timelines(results(found)).axes[0].patches
    found["redis_replica"]["timeline"] = [[0.1 * i, 1.0, 0 if 5 <= i < 25 else 1] for i in range(30)]
    axis = figures.timelines(results(found)).axes[0]
    assert len(axis.patches) == 1
    assert "2.1 s" in [text.get_text() for text in axis.texts]  # from the last before it to the first after


def test_thousands_of_lost_writes_are_thinned_and_the_file_stays_small():
    found = data()
    found["redis_replica"]["found"]["lost_at"] = [[0.002 * i, 1.0, 1] for i in range(1500)]
    found["redis_replica"]["timeline"] = [[0.002 * i, 1.0 + i % 7, 1] for i in range(1500)]
    figure = figures.timelines(results(found))
    (lost,) = [line for line in figure.axes[0].lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert len(lost.get_xdata()) == figures.MARKED
    assert len(style.svg(figure)) < 200_000


def test_events_at_one_moment_share_a_line_of_letters_and_are_told_below():
    axis = figures.timelines(results(data())).axes[0]
    letters = [text.get_text() for text in axis.texts]
    assert letters == ["a b", "a"]
    assert axis.get_xlabel() == "seconds; a: killed; b: promoted"
