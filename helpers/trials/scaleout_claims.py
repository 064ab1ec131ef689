"""Sentences and tables on scaling out, computed from the results ``scaleout`` and ``ladder``."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Results
from helpers.text import count, duration_s, duration_us, join, plural, span, three
from helpers.trials import outlook
from helpers.trials.outlook import Costs

BUSY = 0.9
"""From this share of all cores on, the machine is called the limit."""
SIDES = {
    "movers": "the cores that load",
    "Redis": "Redis' cores",
    "reading": "reading the source",
    "network": "the network of the machines that load",
}

_claim = claim.from_result("scaleout")


def _rates(data: Mapping[str, Any]) -> dict[tuple[int, int], dict[int, float]]:
    """Rows/s by round, for each arm (nodes, workers)."""
    found: dict[tuple[int, int], dict[int, float]] = {}
    for one in data["rounds"]:
        found.setdefault((one["nodes"], one["workers"]), {})[one["round"]] = one["rows_per_second"]
    return found


def against(these: Mapping[int, float], those: Mapping[int, float]) -> tuple[str, str]:
    """How rates compare with others of the same rounds: by how much, and whether in all of them."""
    ratios = sorted(rate / those[number] for number, rate in these.items())
    if ratios[0] > 1:
        verdict = "more in every round"
    elif ratios[-1] < 1:
        verdict = "less in every round"
    else:
        verdict = "no difference shown"
    return f"{three(median(ratios))} times the rate", verdict


@_claim("The effect of more processes and more nodes was")
def speed(data: Mapping[str, Any]) -> str:
    """What the second process and the further nodes changed, round by round."""
    rates = _rates(data)
    nodes = sorted({of for of, _ in rates})
    workers = sorted({of for _, of in rates})
    base = rates[nodes[0], workers[0]].values()
    sentences = []
    for of in nodes:
        times, verdict = against(rates[of, workers[-1]], rates[of, workers[0]])
        sentences.append(
            f"With {plural(of, 'Redis node')} {workers[-1]} processes loaded at {times} of one, {verdict}."
        )
    for of in workers:
        times, verdict = against(rates[nodes[-1], of], rates[nodes[0], of])
        sentences.append(
            f"{plural(of, 'process', 'processes').capitalize()} loaded into {nodes[-1]} nodes at {times} of "
            f"one node, {verdict}."
        )
    return (
        f"One process filled one Redis with {count(median(base))} rows/s (median of "
        f"{plural(len(base), 'round')}). {' '.join(sentences)}"
    )


@_claim("Why more processes and nodes are quicker, or not, was")
def why(data: Mapping[str, Any]) -> str:
    """How busy the machine was: what it had left is all that more processes could have used."""
    busy = {
        key: median(one["busy"] for one in data["rounds"] if (one["nodes"], one["workers"]) == key)
        for key in _rates(data)
    }
    shares = span([100 * share for share in busy.values()], count)
    verdict = (
        "With the most of both hardly anything was left, so this machine cannot show what more would bring."
        if busy[max(busy)] >= BUSY
        else "They were not the limit alone."
    )
    return (
        f"Source, movers and Redis share the {plural(data['cores'], 'core')} of the machine, of which "
        f"{shares} % were busy. {verdict}"
    )


@_claim("What a row costs with several nodes was")
def costs(data: Mapping[str, Any]) -> str:
    """What a row costs each side, on which the outlook rests."""
    one = Costs.from_result(data)
    return (
        f"A row took the movers {duration_s(one.mover_s)} and Redis {duration_s(one.redis_s)} of a core, and "
        f"a stream that only reads the source {duration_s(one.read_s)}. From the source came "
        f"{count(one.source_bytes)} bytes, {count(one.redis_bytes)} went to Redis, which needed "
        f"{count(one.memory_bytes)} bytes of memory for it. These are medians over all rounds with "
        f"{max(r['nodes'] for r in data['rounds'])} nodes."
    )


@_claim("What very many rows would need was")
def needs(data: Mapping[str, Any]) -> str:
    """What very many rows would need, by these costs."""
    one = Costs.from_result(data)
    sentences = []
    for rows in outlook.ROWS:
        times = {movers: one.seconds(rows, movers) for movers in outlook.MOVERS}
        slowest = {movers: max(sides, key=lambda side: sides[side]) for movers, sides in times.items()}
        few, many = outlook.MOVERS[0], outlook.MOVERS[-1]
        sentences.append(
            f"{count(rows)} rows would need {count(rows * one.memory_bytes / 1e9)} GB of memory in "
            f"{plural(one.nodes(rows), 'Redis node')}. Loading them would take "
            f"{outlook.hours(times[few][slowest[few]])} with {plural(few, 'core')} and "
            f"{outlook.hours(times[many][slowest[many]])} with {many}, limited by {SIDES[slowest[many]]}."
        )
    return (
        f"If a row costs as much among very many, and all spreads evenly: {' '.join(sentences)} Assumed are "
        f"nodes of {count(outlook.NODE_BYTES / 1e9)} GB, filled to {count(100 * outlook.FILLED)} %, and "
        f"machines of {outlook.HOST_CORES} cores that load with {count(outlook.LINK_BYTES_S * 8 / 1e9)} "
        "Gbit/s each. The source is assumed to read for all of them as quickly as for one. None of this was "
        "measured."
    )


@claim.from_result("ladder")("How long verifying very many rows would take was", "growth")
def verified(migrations: Sequence[Mapping[str, Any]]) -> str:
    """How long one process would take to verify very many rows."""
    most = max(one["rows"] for one in migrations)
    rate = median(one["rows"] / one["verify_seconds"] for one in migrations if one["rows"] == most)
    times = join([f"{outlook.hours(rows / rate)} for {count(rows)} rows" for rows in outlook.ROWS])
    return (
        f"One process that verifies at the rate it had with {count(most)} rows in one Redis would take "
        f"{times}."
    )


def table(results: Results) -> pd.DataFrame:
    """Rates, processor time a row and share of busy cores for each arm: medians over rounds."""
    data = results.require("scaleout")
    rows = []
    for (nodes, workers), rates in _rates(data).items():
        records = [one for one in data["rounds"] if (one["nodes"], one["workers"]) == (nodes, workers)]

        def middle(field: str, records: list[dict[str, Any]] = records) -> float:
            return float(median(one[field] / one["rows"] for one in records)) * 1e6

        redis = median(sum(one["redis_cpu_seconds"]) / one["rows"] for one in records) * 1e6
        rows.append(
            {
                "Redis nodes": count(nodes),
                "processes": count(workers),
                "rows/s": count(median(rates.values())),
                "min to max": f"{count(min(rates.values()))} to {count(max(rates.values()))}",
                "mover CPU a row": duration_us(middle("mover_cpu_seconds")),
                "Redis CPU a row": duration_us(redis),
                "cores busy": f"{three(100 * median(one['busy'] for one in records))} %",
            }
        )
    return pd.DataFrame(rows)


def outlook_table(results: Results) -> pd.DataFrame:
    """How long a load of very many rows would take by each side, if it were the only one."""
    one = Costs.from_result(results.require("scaleout"))
    rows = []
    for number in outlook.ROWS:
        for movers in outlook.MOVERS:
            sides = one.seconds(number, movers)
            rows.append(
                {
                    "Rows": count(number),
                    "Redis nodes": count(one.nodes(number)),
                    "cores that load": count(movers),
                    **{f"by {side}": outlook.hours(seconds) for side, seconds in sides.items()},
                    "load": outlook.hours(max(sides.values())),
                }
            )
    return pd.DataFrame(rows)
