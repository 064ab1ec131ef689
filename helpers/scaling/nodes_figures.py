"""Charts of several nodes, from saved results only."""

import string
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import NOT_MEASURED, Missing, Results
from helpers.scaling.nodes_shape import PARTS

FAINT = 0.02
"""A dot is a stroke of this share of its height; on a logarithmic axis that is a dot of one size."""
CLOSE = 0.012
"""Events nearer to each other than this share of the time share one line of letters."""
MARKED = 150
"""Most marks of one kind in a panel: they lie on each other long before."""
LINE = 100
"""Characters in a line below a panel."""


@rc_context(dict(style.RC))
def timelines(results: Results) -> Figure:
    """The writes of each part: when each was sent and how long it took, with failures, losses and events.

    Raises:
        Missing: no part was measured.
    """
    data = results.require("nodes")
    parts = {part: data[part] for part in PARTS if NOT_MEASURED not in data.get(part, {NOT_MEASURED: ""})}
    if not parts:
        raise Missing("nodes: no part was measured")
    figure, axes = style.new_figure(0.5 + 1.85 * len(parts), nrows=len(parts), squeeze=False)
    for axis, (part, found) in zip(axes[:, 0], parts.items(), strict=True):
        _panel(axis, part.split("_")[0], found)
        shown = found["settings"].get("shown")
        axis.set_title(f"{PARTS[part]}{f', {shown}' if shown else ''}", pad=11)
        axis.set_ylabel("write took (ms)")
    marks = [
        axes[0, 0].plot([], [], "o", color=style.COLOURS["muted"], markersize=2.5, label="acknowledged")[0],
        axes[0, 0].plot([], [], "x", color="black", markersize=4.5, label="failed")[0],
        axes[0, 0].plot([], [], **LOST, label="acknowledged, then lost")[0],
    ]
    figure.legend(handles=marks, loc="outside upper right", ncols=3, handletextpad=0.3, columnspacing=1.2)
    return figure


LOST: Mapping[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "color": style.COLOURS["accent"],
    "markeredgecolor": "black",
    "markeredgewidth": 0.4,
    "markersize": 4,
}


def _panel(axis: Any, store: str, found: Mapping[str, Any]) -> None:
    points, lost = found["timeline"], found["found"].get("lost_at", [])
    done = [point for point in points if point[2]]
    _dots(axis, done, style.COLOURS[store])
    for some, look in (
        (lost, LOST),
        (
            [point for point in points if not point[2]],
            {"marker": "x", "linestyle": "none", "color": "black", "markersize": 4.5},
        ),
    ):
        chosen = some[:: -(-len(some) // MARKED) or 1]
        axis.plot([point[0] for point in chosen], [point[1] for point in chosen], **look)
    last = max([point[0] for point in points] + [second for second, _ in found["events"]], default=1.0)
    axis.set_xlim(-0.01 * last, 1.01 * last)
    style.plain_log(axis, "y")
    _events(axis, found["events"], last)


def _dots(axis: Any, points: Sequence[Sequence[float]], colour: str) -> None:
    """A dot for each point, all of them one path: a marker each would make the file many times larger."""
    xs, ys = [], []
    for second, took, _ in points:
        xs += [second, second, float("nan")]
        ys += [took, took * (1 + FAINT), float("nan")]
    axis.plot(xs, ys, color=colour, linewidth=2.2, solid_capstyle="round", alpha=0.75)


def _events(axis: Any, events: Sequence[Sequence[Any]], last: float) -> None:
    """A line and a letter for each event, and below the panel what the letters mean."""
    letters = dict(zip(dict.fromkeys(what for _, what in events), string.ascii_lowercase, strict=False))
    groups: list[tuple[float, str]] = []
    for second, what in events:
        axis.axvline(second, color="#666666", linewidth=0.6, linestyle=":")
        letter = letters.get(what, "")
        if groups and second - groups[-1][0] < CLOSE * last:
            groups[-1] = (groups[-1][0], groups[-1][1] + letter)
        else:
            groups.append((second, letter))
    for second, text in groups:
        axis.annotate(
            text,
            (second, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    told = ", ".join(f"{letter} {what}" for what, letter in letters.items())
    axis.set_xlabel(fill(f"seconds; {told}" if told else "seconds", LINE), fontsize=7.5)
