"""Charts of the relational part: the diagram, the index at work, the rows made, and how loading scales."""

from datetime import datetime

import numpy as np
from matplotlib.dates import DateFormatter, MonthLocator
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.relational import diagrams
from helpers.relational.tables import by_size
from helpers.report import style
from helpers.results import Results
from helpers.settings import ACTIVITY_TYPES
from helpers.text import count

MARKERS = dict(zip(ACTIVITY_TYPES, ("o", "x", "^", "s"), strict=True))
# Not the colours of the stores: sessions in grey, shopping in the accent.
TYPE_COLOURS = dict(
    zip(
        ACTIVITY_TYPES,
        (style.COLOURS["postgres"], style.COLOURS["muted"], *[style.COLOURS["accent"]] * 2),
        strict=True,
    )
)
MOST_USERS = 20


def er(results: Results) -> str:
    """The entity-relationship diagram of the catalogue, as SVG."""
    return diagrams.er_svg(results.part("schema", "catalogue"))


@style.shared
def index_times(results: Results) -> Figure:
    """Each run of the query without and with the index: time on a logarithmic axis, the median as a bar."""
    index = results.part("schema", "index")
    figure, axes = style.new_figure(1.9)
    for place, (name, colour, marker) in enumerate((("without", "muted", "o"), ("with", "postgres", "D"))):
        times = index[name]["execution_ms"]
        spread = np.linspace(-0.25, 0.25, len(times))
        axes.plot(times, place + spread, marker, color=style.COLOURS[colour], alpha=0.7, markeredgewidth=0)
        axes.plot([np.median(times)] * 2, [place - 0.36, place + 0.36], color="black")
    axes.set_yticks([0, 1], ["without\nindex", "with\nindex"])
    axes.set_ylim(1.6, -0.6)
    style.plain_log(axes, "x")
    axes.set_xlabel("execution time (ms, logarithmic); one mark a run, the bar is the median")
    axes.set_title(f"Last 20 activities of a user, in {count(index['rows'])} activities")
    return figure


@style.shared
def timeline(results: Results) -> Figure:
    """Each user's life from registration on, with activities and orders on it; at most the first 20 users."""
    data = results.part("population", "timeline")
    users = data["users"][:MOST_USERS]
    end = datetime.fromisoformat(results.require("population")["reference"])
    figure, axes = style.new_figure(4.1)
    places = {user["user_id"]: place for place, user in enumerate(users)}
    for user in users:
        place = places[user["user_id"]]
        start = datetime.fromisoformat(user["created_at"])
        axes.plot([start, end], [place, place], color="#BBBBBB", linewidth=1, zorder=1)
        axes.plot([start], [place], "|", color="black", markersize=9, zorder=2)
    axes.plot([], [], "|", color="black", markersize=9, label="created")
    for name in ACTIVITY_TYPES:
        events = [e for e in data["activities"] if e["activity_type"] == name and e["user_id"] in places]
        moments = [datetime.fromisoformat(event["at"]) for event in events]
        rows = [places[event["user_id"]] for event in events]
        axes.plot(moments, rows, MARKERS[name], color=TYPE_COLOURS[name], label=name, zorder=3)
    orders = [event for event in data["orders"] if event["user_id"] in places]
    moments = [datetime.fromisoformat(event["at"]) for event in orders]
    rows = [places[event["user_id"]] for event in orders]
    axes.plot(moments, rows, "*", color="black", markersize=7, label="order", zorder=3)
    axes.set_yticks(range(len(users)), [str(user["user_id"]) for user in users])
    axes.set_ylim(len(users) - 0.4, -0.6)
    axes.set_ylabel("user_id")
    axes.xaxis.set_major_locator(MonthLocator())
    axes.xaxis.set_major_formatter(DateFormatter("%b"))
    axes.set_xlabel(f"the year before {end.day} {end:%B %Y}")
    axes.set_title("What each user did, and when")
    figure.legend(loc="outside lower center", ncols=6, handletextpad=0.3, columnspacing=1.2)
    return figure


@style.shared
def rows_made(results: Results) -> Figure:
    """Activities by type, and the products' prices with the units ordered of each."""
    data = results.require("population")
    types, products = (
        results.part("population", "activity_types"),
        results.part("population", "products"),
    )
    figure, (left, right) = style.new_figure(2.6, ncols=2)
    values = [types.get(name, 0) for name in ACTIVITY_TYPES]
    bars = left.barh(ACTIVITY_TYPES, values, color=style.COLOURS["postgres"], height=0.6)
    left.bar_label(bars, [count(value) for value in values], padding=3, fontsize=8)
    left.invert_yaxis()
    left.margins(x=0.15)
    left.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    left.grid(axis="y", visible=False)
    left.set_xlabel("activities")
    left.set_title(f"Types of {count(data['rows']['activities'])} activities")
    prices, units = [p["price"] for p in products], [p["units"] for p in products]
    right.plot(prices, units, "o", color=style.COLOURS["postgres"], alpha=0.8, markeredgewidth=0)
    right.set_xlim(0, 105)
    right.set_ylim(bottom=-0.5)
    right.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    right.set_xlabel("price ($)")
    right.set_ylabel("units ordered")
    right.set_title(f"Price and sales of {count(len(products))} products")
    return figure


@style.shared
def activity_ranks(results: Results) -> Figure:
    """Activities of each user, from the most active to the least, on logarithmic axes."""
    skew = results.part("population", "skew")
    figure, axes = style.new_figure(2.6)
    ranks, numbers = [r["rank"] for r in skew["ranks"]], [r["activities"] for r in skew["ranks"]]
    axes.plot(ranks, numbers, color=style.COLOURS["postgres"], marker="D", markersize=3)
    for which in ("x", "y"):
        style.plain_log(axes, which, tick=count)
    axes.set_xlabel("user, by rank (logarithmic)")
    axes.set_ylabel("activities (logarithmic)")
    axes.set_title(f"Activities of each of {count(skew['users'])} users")
    return figure


@style.shared
def scale(results: Results) -> Figure:
    """Rows a second and peak memory of the loading process, against the number of rows."""
    sizes = by_size(results.part("population", "scale"))
    rows = [sum(size["rows"].values()) for size in sizes]
    figure, (left, right) = style.new_figure(2.6, ncols=2)
    left.plot(
        rows, [size["rows_per_second"] / 1e3 for size in sizes], color=style.COLOURS["postgres"], marker="D"
    )
    left.set_ylabel("thousand rows a second")
    left.set_title("Speed")
    right.plot(rows, [size["peak_rss_mb"] for size in sizes], color=style.COLOURS["postgres"], marker="D")
    right.set_ylabel("peak RSS (MB)")
    right.set_title("Memory of the loading process")
    for axes in (left, right):
        axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
        style.log_at(axes, "x", {number: count(number) for number in rows})
        axes.set_xlabel("rows (logarithmic)")
    return figure


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
