"""The chart of a cut-over, from saved results only."""

from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import Results


def lag(results: Results) -> Figure:
    """How far Redis was behind while it followed: bytes of the log above, seconds below, against time."""
    part = results.part("migration", "follow")
    samples = part["lag"]
    at_s = [sample["at_s"] for sample in samples]
    figure, (above, below) = style.new_figure(3.2, nrows=2, sharex=True)
    for axes, name, unit in ((above, "bytes", "KiB of WAL"), (below, "seconds", "seconds")):
        values = [sample[name] / (1024 if name == "bytes" else 1) for sample in samples]
        axes.plot(at_s, values, "o-", color=style.COLOURS["redis"], markersize=3)
        axes.axvline(part["stopped_s"], color=style.COLOURS["muted"], linestyle="--", linewidth=1)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
    above.set_title("Lag behind PostgreSQL while following")
    place = part["stopped_s"], above.get_ylim()[1]
    above.annotate("users stop", place, (4, -10), textcoords="offset points", fontsize=7.5)
    below.set_xlabel("seconds after following began")
    return figure
