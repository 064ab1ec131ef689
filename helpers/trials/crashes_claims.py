"""Sentences and tables on the kill campaign, computed from the result ``crashes``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Missing, Results
from helpers.text import count, join, plural, three

NAMES = {"mover": "the migration", "redis": "Redis", "postgres": "PostgreSQL"}
VERDICTS = ("lost", "doubled", "altered")
RULE_OF_THREE = 3
"""Nothing in n trials: with 95 % confidence at most so many in n (Hanley and Lippman-Hand, 1983)."""

_claim = claim.from_result("crashes")


@_claim("Kills at random moments were")
def kills(data: Mapping[str, Any]) -> str:
    """What was killed how often, and what the two judges found afterwards."""
    tables = " on general tables" if data.get("model") == "general" else ""
    return f"{_struck(data)}{tables}. {_verdict(data['summary'])}"


@_claim("Kills on other tables than the course's were", "general")
def general(data: Mapping[str, Any]) -> str:
    """What was killed how often on the general model, what the two judges found afterwards, and what that
    bounds.
    """
    trials = len(data["trials"])
    bounded = f" {_at_most(trials)}" if trials and not faulty(data) else ""
    return (
        f"The same was done on {plural(len(data['rows']), 'other table')}, with text and composite keys and "
        f"every type of key in Redis. {_struck(data)}. {_verdict(data['summary'])}{bounded}"
    )


@_claim("The chance of a fault after kills was")
def bound(data: Mapping[str, Any]) -> str:
    """In how many trials a fault was found, and what that bounds; trials are independent, kills of one trial
    are not.
    """
    trials, faults = len(data["trials"]), faulty(data)
    if not trials:
        raise Missing("crashes: no trial was made")
    kills = sum(part["kills"] for part in data["summary"].values())
    if faults:
        return (
            f"A fault was found in {count(faults)} of {plural(trials, 'trial')} with {plural(kills, 'kill')}."
        )
    return f"No fault was found in {plural(trials, 'trial')} with {plural(kills, 'kill')}. {_at_most(trials)}"


def _at_most(trials: int) -> str:
    return f"At most {100 * RULE_OF_THREE / trials:.1f} % of such trials go wrong (a 95 % bound)."


def faulty(data: Mapping[str, Any]) -> int:
    """In how many trials a run did not do what it should, or a judge found a value lost, doubled or
    altered.
    """
    return sum(
        bool(trial["faults"] or any((*trial["verify"].values(), *trial["judge"].values())))
        for trial in data["trials"]
    )


def _struck(data: Mapping[str, Any]) -> str:
    trials = plural(sum(part["trials"] for part in data["summary"].values()), "trial")
    named = join([NAMES[name] for name in data["summary"]])
    kills = sum(part["kills"] for part in data["summary"].values())
    return f"In {trials} SIGKILL struck {named} {_times(kills)} at random moments"


def _verdict(summary: Mapping[str, Any]) -> str:
    """What the two judges found after all kills, as a sentence."""
    found = {
        who: {v: sum(part[who][v] for part in summary.values()) for v in VERDICTS}
        for who in ("verify", "judge")
    }
    faults = sum(part["faults"] for part in summary.values())
    if not faults and not any(any(counts.values()) for counts in found.values()):
        return (
            "Once the same command had come to its end, neither the verification nor the second judge found "
            "a value lost, doubled or altered."
        )
    first, second = (join([f"{count(n)} {v}" for v, n in counts.items()]) for counts in found.values())
    return (
        f"Afterwards the verification found {first}; the second judge found {second}; and "
        f"{plural(faults, 'run')} did not do what it should: that is a fault."
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
        f" It ended with exit code 2 and said why {_times(others)}, and the same command did the rest."
        if others
        else ""
    )
    return (
        f"Of {plural(sum(after.values()), 'run')} that followed a kill undisturbed, {ways}. When a server "
        f"was killed under it, the migration waited and went on by itself {_times(waited)}.{stopped} "
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
        "A migration that goes on compares the whole load at its end and puts right what differs. In "
        f"{plural(len(same), 'trial')} the source had not changed: {found}."
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
    came = f"{plural(late, 'kill')} more came too late, when the migration had ended."
    return (
        f"Moments are drawn uniformly over the time in which a run of {plural(rows, 'row')} works, every "
        f"tenth over its verification alone (batches of {count(data['batch_rows'])}, seed {data['seed']}). "
        f"Undisturbed runs ended after {three(data['undisturbed']['ended_s'])} s, the median. "
        f"{came if late else 'No kill came too late.'} The kills of the migration hit {len(hit)} of its "
        f"{len(phases)} phases."
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
