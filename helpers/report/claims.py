"""Sentences and tables on where, when and with what the results were measured."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from helpers.results import APART, LIBRARIES, Missing, Result, Results
from helpers.settings import LABELS, NAMES
from helpers.text import join, plural

TITLES: Mapping[str, str] = {
    "schema": "Relational schema",
    "population": "Population",
    "comparison": "Comparison of the stores",
    "scale": "Growing data",
    "nodes": "More than one node",
    "modeling": "Redis model",
    "migration": "Migration",
    "crashes": "Kill campaign",
    "ladder": "Ladder of loaders",
    "scaleout": "Processes and nodes",
    "pace": "Pace of following",
    "largest": "Largest migration",
}


ENDED: Mapping[str, Mapping[str, str]] = {"mongodb": {"5.0": "2024-10-31", "6.0": "2025-07-31"}}
"""The last day on which a series of a server was supported (https://www.mongodb.com/legal/support-policy)."""
DAY_MIN = 24 * 60
WORDS = {"True": "yes", "False": "no", "None": "not recorded"}


def machine(results: Results) -> str:
    """The machine or machines of the results."""
    if not results:
        return "The machine is not known: nothing was measured."
    machines = {_machine(record) for record in results.values()}
    if len(machines) == 1:
        return f"All of it was measured on one machine: {machines.pop()}. {_virtual(results)}"
    named = " ".join(f"One is {machine}." for machine in sorted(machines))
    return f"It was measured on {plural(len(machines), 'machine')}. {named}"


def versions(results: Results) -> str:
    """The servers' versions as the servers themselves gave them."""
    found = _server_versions(results)
    if not found:
        return "The versions of the servers are not known: nothing was measured on them."
    named = [f"{LABELS[name]} {' and '.join(numbers)}" for name, numbers in found.items()]
    return f"The servers were {join(named)}."


def when(results: Results) -> str:
    """The day or days of the measurements, and the profile of the run; what was measured apart from it."""
    run = [record for kind, record in results.items() if kind not in APART]
    if not run:
        return "Nothing was measured."
    days = sorted({record.created[:10] for record in run})
    span = f"on {_day(days[0])}" if len(days) == 1 else f"between {_day(days[0])} and {_day(days[-1])}"
    profiles = sorted({record.profile for record in run})
    how = f"{profiles[0]} profile" if len(profiles) == 1 else f"profiles {join(profiles)}"
    days_apart = {TITLES[kind].lower(): _day(results[kind].created[:10]) for kind in APART if kind in results}
    apart = "".join(f" The {one} was measured apart, on {day}." for one, day in days_apart.items())
    return f"The results were measured {span} with the {how}{_within(run)}.{apart}"


def _within(run: Sequence[Result]) -> str:
    """How long before the last result of a run the first was saved."""
    moments = [datetime.fromisoformat(record.created) for record in run]
    minutes = round((max(moments) - min(moments)).total_seconds() / 60)
    if not minutes or minutes > DAY_MIN:
        return ""
    return f"; from the first saved result to the last it took {plural(minutes, 'minute')}"


def outdated(results: Results) -> str:
    """Which servers were past the end of their support when they were measured."""
    found = _server_versions(results)
    if not found:
        return "Whether the servers are still supported is not known: nothing was measured on them."
    last = max(record.created for record in results.values())[:10]
    sentences = [
        f"{LABELS[name]} {series} has been past its end of life since {_day(day)}."
        for name, by_series in ENDED.items()
        for series, day in by_series.items()
        if day < last and any(version.startswith(f"{series}.") for version in found.get(name, ()))
    ]
    return " ".join(sentences) or "No server is known to have been past its end of life."


def _virtual(results: Results) -> str:
    """Whether the machine was a virtual one, as far as its kernel says it."""
    told = {record.environment.get("virtual") for record in results.values()}
    if told == {True}:
        return (
            "By its kernel it is a virtual machine: a flush to its disk is done when the host says so, and "
            "other guests may slow it down."
        )
    if told == {False}:
        return "Its kernel tells of no virtual machine."
    return "Whether it is a virtual machine was not recorded."


def caveat(results: Results) -> str:
    """What the numbers hold for: the machine or machines on which servers and clients ran together."""
    if not results:
        return "The main caveat is that nothing was measured."
    environments = [record.environment for record in results.values()]
    kind = "virtual machine" if any(env.get("virtual") for env in environments) else "machine"
    cores = " or ".join(sorted({plural(env["cores"], "core") for env in environments}))
    return (
        f"Servers and clients shared one {kind} with {cores} and no network between them, so the numbers "
        "compare the stores there, and do not tell how fast they are elsewhere."
    )


def coverage(results: Results) -> str:
    """Which parts of the report rest on results and which were not measured, of those that a run measures."""
    missing = [TITLES[kind].lower() for kind in TITLES if kind not in results and kind not in APART]
    if not missing:
        return "Every part of this report rests on saved results."
    return f"Not measured for this copy: {join(missing)}."


def records_table(results: Results) -> pd.DataFrame:
    """One row a kind of result: profile, time of measurement, number of cores.

    Raises:
        Missing: there are none.
    """
    if not results:
        raise Missing("results: not measured")
    rows = [
        (title, results[kind].profile, results[kind].created[:16].replace("T", " "))
        if kind in results
        else (title, "not measured", None)
        for kind, title in TITLES.items()
    ]
    return pd.DataFrame(rows, columns=["Result", "Profile", "Measured (UTC)"])


def versions_table(results: Results) -> pd.DataFrame:
    """Machine, servers and libraries of the results, a row for each.

    Raises:
        Missing: there are none.
    """
    if not results:
        raise Missing("environment: not measured")
    environments = [record.environment for record in results.values()]
    rows = [
        ("Processor", _all(environments, "processor")),
        ("Processor cores", _all(environments, "cores")),
        ("Memory", f"{max(env['memory_mb'] for env in environments) / 1e3:.0f} GB"),
        ("Virtual machine", _all(environments, "virtual")),
        ("Kernel", _all(environments, "kernel")),
        ("Python", _all(environments, "python")),
    ]
    rows += [(LABELS.get(name, name), " and ".join(v)) for name, v in _server_versions(results).items()]
    for library in LIBRARIES:
        found = sorted({env["libraries"][library] for env in environments if library in env["libraries"]})
        rows += [(f"`{library}`", " and ".join(found))] * bool(found)
    return pd.DataFrame(rows, columns=["Part", "Version or size"])


def _machine(record: Result) -> str:
    env = record.environment
    return (
        f"{env['processor']} with {plural(env['cores'], 'core')} and {env['memory_mb'] / 1e3:.0f} GB of "
        f"memory under {env.get('system', 'an unknown system')}"
    )


def _server_versions(results: Results) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for record in results.values():
        for name, version in record.environment["servers"].items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in NAMES if name in found}


def _all(environments: list[dict[str, Any]], key: str) -> str:
    return " and ".join(sorted({WORDS.get(str(found := env.get(key)), str(found)) for env in environments}))


def _day(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%d %B %Y}".lstrip("0")
