"""Sentences on the relational part: what the schema refuses, what an index does, what was populated."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from helpers.relational.tables import by_size, quartiles
from helpers.report import claim
from helpers.results import Results
from helpers.text import count, duration_s, duration_us, join, plural, size_bytes, three

FLAT_MB = 8
"""Peaks that differ by less are called flat: what an interpreter's memory varies by from run to run."""

_schema = claim.from_result("schema")
_population = claim.from_result("population")


@_schema("Whether the constraints hold was", "constraints")
def constraints(broken: Sequence[Mapping[str, Any]]) -> str:
    """How many rules were broken on purpose and what answered."""
    kinds = {one["error"] for one in broken}
    were, each = ("was", "It") if len(broken) == 1 else ("were", "Each")
    return (
        f"{plural(len(broken), 'rule')} of the schema {were} broken on purpose. {each} was refused, by "
        f"{plural(len(kinds), 'kind')} of error."
    )


@_schema("What the schema lets through was")
def accepted(data: Mapping[str, Any]) -> str:
    """How many senseless rows the schema lets through."""
    rows = data["accepted"]
    if not rows:
        return "None of the senseless rows that were tried was accepted."
    senses = join([row["what"] for row in rows])
    return f"The schema accepted {plural(len(rows), 'senseless row')}: {senses}."


@_schema("The effect of the index was", "index")
def index_effect(index: Mapping[str, Any]) -> str:
    """Whether the index changed the time, pages and cost of its query, and by how much."""
    without, with_ = index["without"], index["with"]
    where = f"of {plural(index['users'], 'user')} with {plural(index['rows'], 'activity', 'activities')}"
    if index["name"] not in with_["indexes"]:
        return (
            f"The planner did not use the index `{index['name']}` in the table {where}; no effect of it is "
            "shown."
        )
    before, after = quartiles(without["execution_ms"]), quartiles(with_["execution_ms"])
    times = f"{_ms(after[1])} with it and {_ms(before[1])} without"
    trials = f"medians of {plural(len(with_['execution_ms']), 'run')} each"
    if after[2] < before[0]:
        verdict = f"The index helps: the query took {times}"
    elif before[2] < after[0]:
        verdict = f"The index does not help: the query took {times}"
    else:
        verdict = f"No difference in time is shown: the query took {times}, and the middle halves overlap"
    pages = f"{plural(round(median(with_['pages'])), 'page')} instead of {count(median(without['pages']))}"
    return f"{verdict} ({trials}). It was asked {where}. With the index it touched {pages}."


@_schema("The price of the index was", "index")
def index_price(index: Mapping[str, Any]) -> str:
    """The room that the index takes beside its table."""
    share = three(100 * index["index_bytes"] / index["table_bytes"])
    own, table = size_bytes(index["index_bytes"]), size_bytes(index["table_bytes"])
    return (
        f"The index takes {own}, {share} % of the {table} of its table, and every insert has to maintain it."
    )


@_population("The population was")
def population_counts(data: Mapping[str, Any]) -> str:
    """How many rows the course's tables hold, of which seed and time."""
    rows = [plural(number, *_nouns(table)) for table, number in data["rows"].items()]
    reference = datetime.fromisoformat(data["reference"])
    return (
        f"The tables hold {join(rows[:2])}. Beside them are {join(rows[2:])}. They were made with seed "
        f"{data['seed']}, and all fall in the year before {reference.day} {reference:%B %Y}."
    )


@_population("Whether the rows make sense was")
def sense(data: Mapping[str, Any]) -> str:
    """Whether usernames and emails are unique and nothing happens before its user exists."""
    distinct, early = data["distinct"], sum(data["early"].values())
    unique = distinct["usernames"] == distinct["emails"] == distinct["users"]
    first = (
        f"All {count(distinct['users'])} usernames and email addresses are unique"
        if unique
        else f"Of {count(distinct['users'])} users, {count(distinct['usernames'])} usernames and "
        f"{count(distinct['emails'])} email addresses are distinct"
    )
    second = (
        "no activity and no order comes before its user was created"
        if early == 0
        else f"{plural(early, 'activity or order', 'activities and orders')} came before the user was created"
    )
    return f"{first}, {'and' if unique and early == 0 else 'but'} {second}."


@_population("Whether the same seed gives the same rows was", "checksums")
def same_seed(sums: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the same seed gave the same rows, and another seed others."""
    differing = [table for table in sums["first"] if sums["first"][table] != sums["again"][table]]
    if differing:
        return f"The same seed did not give the same rows: {join(differing)} differ."
    unmoved = [table for table in sums["first"] if sums["first"][table] == sums["other_seed"][table]]
    same = f"The same seed gave the same rows in all {plural(len(sums['first']), 'table')}"
    return (
        f"{same}, but another seed changed nothing in {join(unmoved)}."
        if unmoved
        else f"{same}, and another seed gave other rows."
    )


@_population("How activities spread over users was", "skew")
def skew(part: Mapping[str, Any]) -> str:
    """How unevenly activities fall on users."""
    share, busiest = three(100 * part["top_tenth"]), count(part["ranks"][0]["activities"])
    return (
        f"The most active tenth of {plural(part['users'], 'user')} has {share} % of the "
        f"{count(part['activities'])} activities; the busiest user has {busiest}."
    )


@_population("The speed of the population was", "scale")
def population_speed(loads: Sequence[Mapping[str, Any]]) -> str:
    """How fast rows were generated and loaded, at the largest size measured."""
    largest = by_size(loads)[-1]
    total = sum(largest["rows"].values())
    slowest = max(largest["table_seconds"], key=lambda table: largest["table_seconds"][table])
    time, speed = duration_s(largest["seconds"]), three(largest["rows_per_second"])
    return (
        f"The largest population, {plural(total, 'row')}, was generated, loaded, checked against every "
        f"constraint and indexed in {time}, or {speed} rows a second. Most of the time went into {slowest}."
    )


def memory_flat(results: Results) -> str:
    """Whether the peak memory of the loading process grew with the number of rows."""
    sizes = by_size(results.find("population", "scale") or [])
    if len(sizes) < 2:
        return "Whether memory stays flat was not measured at two sizes."
    first, last = sizes[0], sizes[-1]
    large = sum(last["rows"].values())
    peaks = [size["peak_rss_mb"] for size in sizes]
    change = 100 * (last["peak_rss_mb"] / first["peak_rss_mb"] - 1)
    measured = (
        f"the loading process peaked at {three(last['peak_rss_mb'])} MB, {abs(change):.0f} % "
        f"{'more' if change > 0 else 'less'} than with the fewest"
    )
    if max(peaks) - min(peaks) < FLAT_MB:
        return f"Memory hardly changed: with {count(large)} rows {measured}."
    if last["peak_rss_mb"] > first["peak_rss_mb"]:
        return f"Memory grew: with {count(large)} rows {measured}."
    return f"Memory did not grow with the rows, but varied: with {count(large)} {measured}."


def _ms(milliseconds: float) -> str:
    return duration_us(milliseconds * 1e3)


def _nouns(table: str) -> tuple[str, str]:
    return ({"activities": "activity"}.get(table, table.removesuffix("s")), table)
