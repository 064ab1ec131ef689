import pytest
from scale_records import LEVEL, data, results

from helpers.report import style
from helpers.results import Missing
from helpers.scaling import figures

FIGURES = (figures.evictions, figures.latency, figures.reads, figures.space)


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_each_figure_is_drawn_the_same_for_the_same_results_or_is_missing(draw):
    first, again = (style.svg(draw(results(data()))) for _ in range(2))
    assert first == again
    assert len(first) < 120_000
    with pytest.raises(Missing):
        draw(results(None))


def test_latency_has_a_thick_median_and_a_thin_tail_for_each_store():
    axes = figures.latency(results(data(LEVEL | {"postgres": (100.0, 200.0)}))).axes
    assert len(axes) == 4
    for axis in axes:
        lines = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() != "None"]
        assert [line.get_linewidth() for line in lines] == [1.8, 0.7] * 4
        first = lines[0].get_ydata()
        assert first[1] / first[0] == pytest.approx(2, rel=0.01)
        assert axis.get_xscale() == axis.get_yscale() == "log"


def test_tails_without_samples_are_not_in_the_legend():
    names = [
        [text.get_text() for text in figures.latency(results(found)).legends[0].get_texts()]
        for found in (data(), data(count=20))
    ]
    assert names[0][-1] == "p99"
    assert names[1][-1] == "p50"


def test_a_store_that_does_not_say_its_memory_is_named():
    memory, disk = figures.space(results(data())).axes
    assert [text.get_text() for text in memory.texts] == ["Cassandra: not known"]
    assert not disk.texts


def test_bars_are_the_shares_that_are_gone():
    axis = figures.evictions(results(data())).axes[0]
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == pytest.approx([100.0, *[20.0] * 8, 0.0])  # none of the policy that loses nothing


def test_reads_are_drawn_for_the_stores_that_were_measured():
    found = data()
    assert len(figures.reads(results(found)).axes) == 3
    found["outgrown"]["cassandra"] = {"not measured": "no disk"}
    found["outgrown"]["postgres"] = {"not measured": "no disk"}
    (axis,) = figures.reads(results(found)).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == [
        "in the cache",
        "outside",
        "outside,\nfiles\ndropped",
    ]
    found["outgrown"]["mongodb"] = found["outgrown"]["redis"] = {"not measured": "no disk"}
    for draw in (figures.reads, figures.evictions):
        with pytest.raises(Missing):
            draw(results(found))
