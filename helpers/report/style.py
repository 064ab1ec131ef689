"""One look for every chart: colours that survive colour blindness and grey print."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.typing import LineStyleType, RcKeyType

from helpers.settings import LABELS

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), ordered so that the lightness differs too.
COLOURS: Mapping[str, str] = {
    "redis": "#D55E00",
    "mongodb": "#009E73",
    "cassandra": "#0072B2",
    "postgres": "#444444",
    "accent": "#CC79A7",
    "muted": "#999999",
}
MARKERS: Mapping[str, str] = {"redis": "o", "mongodb": "s", "cassandra": "^", "postgres": "D"}
LINES: Mapping[str, LineStyleType] = {"redis": "-", "mongodb": "--", "cassandra": "-.", "postgres": ":"}
FONT, FALLBACK = "DejaVu Sans", "Verdana, sans-serif"
"""A reader of the SVG may have neither the font nor a way to load it."""
WIDTH_IN = 6.3
SPARSE_OVER = 120
"""Largest over smallest value of a logarithmic axis beyond which powers of ten are enough."""

RC: Mapping[RcKeyType, Any] = {
    "font.family": FONT,
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "svg.fonttype": "none",
    "svg.hashsalt": "user-activity",
}

shared = rc_context(dict(RC))
"""Decorates a function that draws: matplotlib reads the style again for each title and legend."""


def look(store: str, **changed: Any) -> dict[str, Any]:
    """Name, colour, line and marker of a store, as ``plot`` takes them; ``changed`` come first."""
    own = {
        "label": LABELS[store],
        "color": COLOURS[store],
        "linestyle": LINES[store],
        "marker": MARKERS[store],
    }
    return own | changed


def error_bars_ms(intervals: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """How far intervals reach below and above their values, as matplotlib's ``errorbar`` takes it.

    Args:
        intervals: ``value``, ``low`` and ``high`` in microseconds.

    Returns:
        Two rows, below and above, in milliseconds.
    """
    below = [max(one["value"] - one["low"], 0) / 1000 for one in intervals]
    return [below, [max(one["high"] - one["value"], 0) / 1000 for one in intervals]]


@shared
def new_figure(height_in: float = 3.0, **subplots: Any) -> tuple[Figure, Any]:
    """A figure of the report's width in the shared style, with its axes.

    Args:
        height_in: height in inches.
        subplots: passed to ``Figure.subplots`` (nrows, ncols, sharey, ...).

    Returns:
        (figure, axes), made without pyplot so that nothing is kept open.
    """
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots(**subplots)


def plain_log(axis: Any, which: str, *, tick: Callable[[float], str] = "{:g}".format) -> None:
    """A logarithmic axis whose ticks are plain numbers: at 1, 2 and 5, or powers of ten alone where that
    would be too many.

    Args:
        axis: of matplotlib, with its data drawn.
        which: ``x`` or ``y``.
        tick: writes a number.
    """
    scale = _log(axis, which)
    low, high = scale.get_view_interval()
    scale.set_major_locator(LogLocator(subs=(1,) if high / low > SPARSE_OVER else (1, 2, 5)))
    scale.set_major_formatter(lambda value, _: tick(value))


def log_at(axis: Any, which: str, ticks: Mapping[float, str]) -> None:
    """A logarithmic axis with ticks at some values only.

    Args:
        axis: of matplotlib.
        which: ``x`` or ``y``.
        ticks: the name of each value.
    """
    _log(axis, which).set_ticks(list(ticks), list(ticks.values()))


def whole_numbers(axis: Any, which: str) -> None:
    """Ticks with thousands separators.

    Args:
        axis: of matplotlib.
        which: ``x`` or ``y``.
    """
    scale = axis.xaxis if which == "x" else axis.yaxis
    scale.set_major_formatter(lambda value, _: f"{value:,.0f}")


def legend_below(figure: Figure, axis: Any) -> None:
    """A legend in one line below the whole figure.

    Args:
        figure: laid out as ``new_figure`` does it.
        axis: one of the figure's; what has a label in it is shown.
    """
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _log(axis: Any, which: str) -> Any:
    """The scale of an axis, logarithmic; ticks between the named ones would take a third of the drawing."""
    getattr(axis, f"set_{which}scale")("log")
    scale = axis.xaxis if which == "x" else axis.yaxis
    scale.set_minor_locator(NullLocator())
    return scale


@shared
def svg(figure: Figure) -> str:
    """The figure as SVG text, the same bytes for the same data: text stays text, no date inside."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    canvas = FigureCanvasSVG(figure)
    engine = figure.get_layout_engine()
    if engine is not None:  # laid out here, once: savefig would draw the whole figure for it first
        figure.dpi = 72  # that of SVG
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas.print_svg(out, metadata={"Date": None, "Creator": None})
    text = re.sub(r"<!--.*?-->\s*", "", out.getvalue(), flags=re.S)
    return text.replace(f"'{FONT}'", f"'{FONT}', {FALLBACK}")
