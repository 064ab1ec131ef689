"""Sentences and tables on where, when and with what the results were measured."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from helpers.results import LIBRARIES, Missing, Result, Results
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
}


def machine(results: Results) -> str:
    """The machine or machines of the results."""
    if not results:
        return "The machine is not known: nothing was measured."
    machines = {_machine(record) for record in results.values()}
    if len(machines) == 1:
        return f"All of it was measured on one machine: {machines.pop()}."
    return f"It was measured on {plural(len(machines), 'machine')}: {join(sorted(machines))}."


def versions(results: Results) -> str:
    """The servers' versions as the servers themselves gave them."""
    found = _server_versions(results)
    if not found:
        return "The versions of the servers are not known: nothing was measured on them."
    named = [f"{LABELS[name]} {' and '.join(numbers)}" for name, numbers in found.items()]
    return f"The servers were {join(named)}."


def when(results: Results) -> str:
    """The day or days of the measurements, and the profile of the run."""
    if not results:
        return "Nothing was measured."
    days = sorted({record.created[:10] for record in results.values()})
    span = f"on {_day(days[0])}" if len(days) == 1 else f"between {_day(days[0])} and {_day(days[-1])}"
    profiles = sorted({record.profile for record in results.values()})
    how = f"{profiles[0]} profile" if len(profiles) == 1 else f"profiles {join(profiles)}"
    return f"The results were measured {span} with the {how}."


def coverage(results: Results) -> str:
    """Which parts of the report rest on results and which were not measured."""
    missing = [TITLES[kind].lower() for kind in TITLES if kind not in results]
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
        ("Memory", f"{max(env['memory_mb'] for env in environments) / 1e3:.1f} GB"),
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
        f"{env['processor']} with {plural(env['cores'], 'core')}, {env['memory_mb'] / 1e3:.0f} GB of memory, "
        f"{env.get('system', 'kernel')} {env['kernel']}, Python {env['python']}"
    )


def _server_versions(results: Results) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for record in results.values():
        for name, version in record.environment["servers"].items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in NAMES if name in found}


def _all(environments: list[dict[str, Any]], key: str) -> str:
    return " and ".join(sorted({str(env[key]) for env in environments}))


def _day(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%d %B %Y}".lstrip("0")
