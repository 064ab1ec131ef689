"""Charts of the Redis model, from saved results only."""

from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import Results
from helpers.text import count


def memory(results: Results) -> Figure:
    """Bytes an activity as list and as sorted set, over the length of the history."""
    records = sorted(results.require("modeling")["memory"], key=lambda record: record["length"])
    figure, axes = style.new_figure(2.8)
    lengths = [record["length"] for record in records]
    for name, label, marker, line, colour in (
        ("list", "list", "o", "-", style.COLOURS["redis"]),
        ("set", "sorted set", "s", "--", style.COLOURS["postgres"]),
    ):
        each = [record[name]["bytes"] / record["length"] for record in records]
        axes.plot(lengths, each, marker=marker, linestyle=line, color=colour, label=label)
    style.plain_log(axes, "x", tick=count)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("activities of one user (logarithmic)")
    axes.set_ylabel("bytes an activity")
    axes.set_title("Memory of a user's activities")
    axes.legend()
    return figure
