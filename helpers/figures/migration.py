"""Charts of the migration, from saved results only."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from helpers.figures import style
from helpers.results import Results
from helpers.text import count


def ladder(results: Results) -> Figure:
    """Rows per second of each rung: every round a point, the median a bar, on a logarithmic axis."""
    data = results.require("ladder")
    names = sorted(data["summary"], key=lambda name: data["summary"][name]["median"])
    figure, axes = style.new_figure(0.55 + 0.42 * len(names))
    for at, name in enumerate(names):
        colour = style.COLOURS["redis"] if name == "streamed" else style.COLOURS["muted"]
        middle = data["summary"][name]["median"]
        axes.barh(
            at, middle, height=0.55, color=colour, alpha=0.75, hatch=None if name == "streamed" else "//"
        )
        speeds = [r["rows_per_second"] for r in data["rounds"] if r["rung"] == name]
        axes.plot(speeds, [at] * len(speeds), "o", color="black", markersize=3)
        axes.annotate(
            count(middle),
            (max(speeds), at),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), [data["labels"][name] for name in names])
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2.5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows per second (logarithmic), each round a point")
    axes.set_title("Load into Redis, five ways" if len(names) == 5 else f"Load into Redis, {len(names)} ways")
    return figure


def ladder_cpu(results: Results) -> Figure:
    """CPU that a row costs the client and Redis, for each rung."""
    data = results.require("ladder")
    names = sorted(data["summary"], key=lambda name: data["summary"][name]["median"])
    figure, axes = style.new_figure(0.75 + 0.42 * len(names))
    for at, name in enumerate(names):
        mine, theirs = data["summary"][name]["client_cpu_us"], data["summary"][name]["redis_cpu_us"]
        axes.barh(
            at + 0.19, mine, height=0.36, color=style.COLOURS["postgres"], label="client" if at == 0 else None
        )
        axes.barh(
            at - 0.19,
            theirs,
            height=0.36,
            color=style.COLOURS["redis"],
            hatch="//",
            label="Redis" if at == 0 else None,
        )
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), [data["labels"][name] for name in names])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("CPU time a row (µs, logarithmic)")
    axes.set_title("What a row costs on either side")
    figure.legend(loc="outside upper right", ncols=2)
    return figure
