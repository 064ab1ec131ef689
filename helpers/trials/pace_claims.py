"""Sentences and a table on the pace of ``follow``, computed from the result ``pace``."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Missing, Results, having
from helpers.text import count, duration_us, plural, span
from helpers.trials.scaleout_claims import against

FOLLOW = ("one", "cluster")
OWN = "postgres"
"""The arm with which the others are compared: PostgreSQL's own logical replication."""

_claim = claim.from_result("pace")


def _rates(data: Mapping[str, Any], backlog: str, arm: str) -> dict[int, float]:
    """Changes a second by round."""
    return {one["round"]: one["per_second"] for one in having(data["rounds"], backlog=backlog, arm=arm)}


def _places(data: Mapping[str, Any]) -> dict[str, str]:
    """Where each arm writes to."""
    return {
        "one": "one Redis",
        "cluster": f"a cluster of {plural(data['nodes'], 'node')}",
        OWN: "a second PostgreSQL",
    }


def _applied(data: Mapping[str, Any], backlog: str, unit: str) -> str:
    places, own, sentences = _places(data), _rates(data, backlog, OWN), []
    for arm in FOLLOW:
        rates = _rates(data, backlog, arm)
        times, verdict = against(rates, own)
        rate = f"{count(median(rates.values()))} {unit}/s"
        sentences.append(f"Onto {places[arm]} it reached {rate}, {times} of PostgreSQL's own, {verdict}.")
    return " ".join(sentences)


@_claim("How fast a backlog is followed was")
def rates(data: Mapping[str, Any]) -> str:
    """How fast ``follow`` applied each backlog, and against PostgreSQL's own replication, round by round."""
    single, large = (having(data["rounds"], backlog=of)[0]["changes"] for of in ("single", "large"))
    number = len({one["round"] for one in data["rounds"]})
    return (
        f"`follow` applied a backlog beside PostgreSQL's own logical replication to a second server (medians "
        f"of {plural(number, 'round')}). First there were {plural(single, 'transaction')} of one row. "
        f"{_applied(data, 'single', 'transactions')} Then there was one transaction of "
        f"{plural(large, 'row')}. {_applied(data, 'large', 'rows')}"
    )


def _percentiles(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """Median, 95th percentile (a value that was seen) and maximum of an arm's delays."""
    delays: Sequence[float] = sorted(record["delays_ms"])
    if not delays:
        raise Missing("pace: no row was seen")
    found = (median(delays), delays[math.ceil(0.95 * len(delays)) - 1], delays[-1])
    middle, most, last = (duration_us(ms * 1e3) for ms in found)
    return middle, most, last


@_claim("How long a commit waits to be followed was")
def delays(data: Mapping[str, Any]) -> str:
    """How long after its commit a row could be read in each target, while users wrote."""
    places = _places(data)
    sentences = []
    for one in data["steady"]:
        middle, most, last = _percentiles(one)
        sentences.append(
            f"In {places[one['arm']]} half of the rows could be read within {middle} of their commit, 95 % "
            f"within {most}, and the last after {last}."
        )
    reached = span([one["committed_per_s"] for one in data["steady"]], count)
    wanted = count(data["steady"][0]["wanted_per_s"])
    return (
        f"Writers tried {wanted} transactions a second and committed {reached}, while each way of following "
        f"worked alone. {' '.join(sentences)}"
    )


@_claim("Whether who follows waits for the disk was", "durability")
def terms(durability: Mapping[str, str]) -> str:
    """Whether the two sides waited for the disk, by what their servers say."""
    redis, own = durability["redis"] == "always", durability["postgres"] not in ("off", "local")
    if redis == own:
        verdict = "Both sides waited for the disk" if redis else "Neither side waited for the disk"
    else:
        verdict = f"Only {'Redis' if redis else 'PostgreSQL'} waited for the disk"
    return (
        f"{verdict} (`appendfsync {durability['redis']}`, `synchronous_commit = {durability['postgres']}`). "
        "For PostgreSQL the start of its worker counts, for `follow` its connections and no start of a "
        "process."
    )


def table(results: Results) -> pd.DataFrame:
    """Rates of both backlogs (medians, with their ends) and delays of each way of following."""
    data = results.require("pace", "rounds", "steady")
    rows = []
    for one in data["steady"]:
        single, large = (_rates(data, of, one["arm"]).values() for of in ("single", "large"))
        middle, most, last = _percentiles(one)
        rows.append(
            {
                "Onto": _places(data)[one["arm"]],
                "transactions/s": f"{count(median(single))} ({span(single, count)})",
                "rows/s of a large one": f"{count(median(large))} ({span(large, count)})",
                "written/s": count(one["committed_per_s"]),
                "delay, median": middle,
                "95 %": most,
                "longest": last,
            }
        )
    return pd.DataFrame(rows)
