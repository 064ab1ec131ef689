"""Charts of the migration's speed, from saved results only."""

from matplotlib.figure import Figure

from helpers.report import style
from helpers.results import Results
from helpers.text import count


def rates(results: Results) -> Figure:
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
    style.plain_log(axes, "x", tick=count)
    axes.set_yticks(range(len(names)), [data["labels"][name] for name in names])
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows per second (logarithmic), each round a point")
    axes.set_title(f"Load into Redis, {len(names)} ways")
    return figure


def cpu(results: Results) -> Figure:
    """CPU that a row costs the client and Redis, for each rung."""
    data = results.require("ladder")
    names = sorted(data["summary"], key=lambda name: data["summary"][name]["median"])
    figure, axes = style.new_figure(0.75 + 0.42 * len(names))
    sides = (
        ("client_cpu_us", "client", "postgres", 0.19, None),
        ("redis_cpu_us", "Redis", "redis", -0.19, "//"),
    )
    for key, label, colour, shift, hatch in sides:
        axes.barh(
            [at + shift for at in range(len(names))],
            [data["summary"][name][key] for name in names],
            height=0.36,
            color=style.COLOURS[colour],
            hatch=hatch,
            label=label,
        )
    style.plain_log(axes, "x")
    axes.set_yticks(range(len(names)), [data["labels"][name] for name in names])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("CPU time a row (µs, logarithmic)")
    axes.set_title("What a row costs on either side")
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def growth(results: Results) -> Figure:
    """Time and memory of a migration against its rows, a mark each migration."""
    records = results.require("ladder")["growth"]
    rows = [record["rows"] for record in records]
    figure, (left, right) = style.new_figure(2.6, ncols=2)
    for key, label, colour, marker in (
        ("load_seconds", "load", "redis", "o"),
        ("verify_seconds", "verify", "postgres", "s"),
    ):
        left.plot(
            rows, [r[key] for r in records], marker, color=style.COLOURS[colour], label=label, markersize=5
        )
    style.plain_log(left, "y")
    left.set_ylabel("seconds (logarithmic)")
    left.set_title("Time")
    left.legend()
    right.plot(rows, [r["peak_rss_mb"] for r in records], "D", color=style.COLOURS["muted"], markersize=5)
    right.set_ylim(0, max(r["peak_rss_mb"] for r in records) * 1.3)
    right.set_ylabel("peak resident memory (MB)")
    right.set_title("Memory of the mover")
    for axes in (left, right):
        style.log_at(axes, "x", {number: count(number) for number in sorted(set(rows))})
        axes.set_xlabel("rows in all (logarithmic)")
    return figure
