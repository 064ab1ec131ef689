"""Sentences and tables on the kill campaign, computed from the result ``crashes``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Results
from helpers.text import count, join, plural, three

NAMES = {"mover": "the migration", "redis": "Redis", "postgres": "PostgreSQL"}
VERDICTS = ("lost", "doubled", "altered")

_claim = claim.from_result("crashes")


@_claim("Kills at random moments were")
def kills(data: Mapping[str, Any]) -> str:
    """What was killed how often, and what the two judges found afterwards."""
    tables = ", on general tables," if data.get("model") == "general" else ""
    return f"At random moments{tables} SIGKILL struck {_struck(data)}; {_verdict(data['summary'])}."


@_claim("Kills on other tables than the course's were", "general")
def general(data: Mapping[str, Any]) -> str:
    """What was killed how often on the general model, and what the two judges found afterwards."""
    return (
        f"The same on {plural(len(data['rows']), 'other table')}, with text and composite keys and "
        f"every type of key in Redis: SIGKILL struck {_struck(data)}; {_verdict(data['summary'])}."
    )


def _struck(data: Mapping[str, Any]) -> str:
    return join([f"{NAMES[name]} {_times(part['kills'])}" for name, part in data["summary"].items()])


def _verdict(summary: Mapping[str, Any]) -> str:
    """What the two judges found after all kills, as a part of a sentence."""
    found = {
        who: {v: sum(part[who][v] for part in summary.values()) for v in VERDICTS}
        for who in ("verify", "judge")
    }
    faults = sum(part["faults"] for part in summary.values())
    if not faults and not any(any(counts.values()) for counts in found.values()):
        return (
            "once the same command had come to its end, `verify` and a second, plain comparison of every row "
            "both found 0 lost, 0 doubled and 0 altered"
        )
    first, second = (join([f"{count(n)} {v}" for v, n in counts.items()]) for counts in found.values())
    return (
        f"afterwards `verify` found {first}, a second, plain comparison {second}, and "
        f"{plural(faults, 'run')} did not do what it should: that is a fault"
    )


@_claim("How a migration goes on after a kill was")
def went_on(data: Mapping[str, Any]) -> str:
    """What the next undisturbed run did, and whether the migration itself waited for a killed server."""
    summary = data["summary"]
    after = {
        way: sum(part["after"].get(way, 0) for part in summary.values())
        for way in ("resumed", "anew", "caught up")
    }
    said = {
        "resumed": "went on from the last committed batch",
        "anew": "found nothing committed and began anew",
        "caught up": "found the load complete and compared it again",
    }
    ways = join([f"{count(after[way])} {said[way]}" for way in said if after[way]]) or "none was needed"
    servers = (summary["redis"], summary["postgres"])
    waited = sum(part["after"].get("waited", 0) for part in servers)
    others = sum(part["kills"] for part in servers) - waited
    stopped = (
        f"; {_times(others)} it ended with exit code 2 and said why, and the same command did the rest"
        if others
        else ""
    )
    return (
        f"Of {plural(sum(after.values()), 'run')} that followed a kill undisturbed, {ways}. When a server "
        f"was killed under it, the migration waited and went on by itself {_times(waited)}{stopped}. "
        f"{_put_right(data)}"
    )


@_claim("Whether loads that went on had to be corrected was")
def corrected(data: Mapping[str, Any]) -> str:
    """Whether runs that went on had anything to put right where the source had not changed."""
    return _put_right(data)


def _put_right(data: Mapping[str, Any]) -> str:
    same = [
        trial
        for trial in data["trials"]
        if trial["kills"] and not trial["older_load"] and not any(k["changed"] for k in trial["kills"])
    ]
    wrong = sum(bool(trial["caught_up"]) for trial in same)
    found = (
        "there was nothing to put right, so it is the checkpoint that makes it exactly once"
        if not wrong
        else f"there was something to put right {_times(wrong)}: that is a fault"
    )
    return (
        "A migration that goes on compares the whole load at its end and puts right what differs. In the "
        f"{plural(len(same), 'trial')} whose source had not changed {found}."
    )


@_claim("A source that changes between a kill and the next run was", "summary", "mover")
def changed(part: Mapping[str, Any]) -> str:
    """How often the source changed between a kill and the next run."""
    return (
        f"After {count(part['changed'])} of the {plural(part['kills'], 'kill')} of the migration the source "
        "changed before the next run: rows were inserted, updated, moved and deleted, "
        f"{_times(part['behind'])} behind what was committed already."
    )


@_claim("The moments of the kills were")
def moments(data: Mapping[str, Any]) -> str:
    """How the moments were drawn, how many came too late, and which phases were hit."""
    rows, late = sum(data["rows"].values()), sum(part["too_late"] for part in data["summary"].values())
    phases = data["summary"]["mover"]["phases"]
    hit = [phase for phase, number in phases.items() if number]
    return (
        f"Moments are drawn uniformly over the time in which a run of {plural(rows, 'row')} in batches of "
        f"{count(data['batch_rows'])} works, every tenth over its verification alone (undisturbed runs ended "
        f"after {three(data['undisturbed']['ended_s'])} s, the median), with seed {data['seed']}; "
        f"{count(late)} more came too late, when the migration had ended. The kills of the migration hit "
        f"{len(hit)} of its {len(phases)} phases."
    )


def kills_table(results: Results) -> pd.DataFrame:
    """A row for each victim: kills, too late, runs that resumed, phases hit, and what the judges found."""
    summary = results.part("crashes", "summary")
    return pd.DataFrame(
        {
            "Killed": NAMES[name].removeprefix("the "),
            "kills": part["kills"],
            "too late": part["too_late"],
            "phases hit": f"{sum(n > 0 for n in part['phases'].values())} of {len(part['phases'])}",
            "resumed": part["after"].get("resumed", 0),
            "waited": part["after"].get("waited", 0),
            **{verdict: part["verify"][verdict] for verdict in VERDICTS},
            "second judge": sum(part["judge"].values()),
        }
        for name, part in summary.items()
    )


def phases_table(results: Results) -> pd.DataFrame:
    """A row for each phase of a migration with how often each victim was killed in it."""
    summary = results.part("crashes", "summary")
    return pd.DataFrame(
        {"Phase": phase}
        | {NAMES[name].removeprefix("the "): part["phases"][phase] for name, part in summary.items()}
        for phase in summary["mover"]["phases"]
    )


def _times(number: int) -> str:
    return plural(number, "time")
