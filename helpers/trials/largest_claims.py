"""Sentences, and a row of a table, on the largest migration, computed from the result ``largest``."""

import math
from collections.abc import Mapping
from typing import Any

from helpers.report import claim
from helpers.results import Missing, Results
from helpers.text import count, duration_s, join, plural, size_bytes, three
from helpers.trials import outlook

SAME = 0.1
"""Up to this share more or less, a row is said to cost as much among many as among few."""

_claim = claim.from_result("largest")


def total(data: Mapping[str, Any]) -> int:
    """Rows of all tables."""
    return int(sum(data["rows"].values()))


def load_seconds(data: Mapping[str, Any]) -> float:
    """Seconds of the load before the kill and after it, with the starts of both processes.

    Raises:
        Missing: it ended before all was loaded.
    """
    resumed = data["resumed"]
    if not resumed or resumed["loaded_s"] is None:
        raise Missing("largest: not loaded whole", data["ended"] or "")
    return float(data["killed"]["seconds"] + resumed["loaded_s"])


@_claim("The largest migration was")
def done(data: Mapping[str, Any]) -> str:
    """What was migrated, killed, gone on with and found; or how far it came, and why no further."""
    killed, resumed, verified = data["killed"], data["resumed"], data["verified"]
    tables = plural(len(data["rows"]), "table")
    sentences = [f"The largest migration was made apart: {count(total(data))} rows in {tables}."]
    if killed and (resumed or not data["ended"]):
        after = duration_s(killed["seconds"])
        sentences.append(
            f"It was killed by SIGKILL after {after}, with {count(killed['rows'])} of them committed."
        )
    if resumed and resumed["loaded_s"] is not None:
        loaded, ended = duration_s(resumed["loaded_s"]), duration_s(resumed["seconds"])
        first = "" if resumed["first_s"] is None else f", the first after {duration_s(resumed['first_s'])}"
        sentences.append(
            f"The same command went on and had written the others after {loaded}{first}. Then it looked "
            f"whether the source had changed meanwhile, and ended after {ended}."
        )
    if verified:
        found, took = verified["differences"], duration_s(verified["verify_seconds"])
        told = plural(found, "difference") if found else "no difference"
        sentences.append(f"`verify`, a process of its own, compared every field in {took} and found {told}.")
    if data["ended"]:
        last = resumed or killed
        rows = last["rows"] if last else 0
        sentences.append(f"It ended early with {count(rows)} rows committed: {data['ended']}.")
    return " ".join(sentences)


@_claim("How fast the largest migration was before and after the kill was")
def rates(data: Mapping[str, Any]) -> str:
    """The rates before and after the kill: of all that streams read, as these do not cost the same rows."""
    killed, resumed = data["killed"], data["resumed"]
    load_seconds(data)
    before = killed["reads"] / killed["seconds"]
    after = (resumed["reads"] - killed["reads"]) / resumed["loaded_s"]
    ratio = after / before
    verdict = "as many" if abs(ratio - 1) <= SAME else f"{three(ratio)} times as many"
    return (
        f"From its start to the kill {count(before)} rows were read and written in a second, from the next "
        f"start on {verdict} ({count(after)}). A row counts for each stream that reads it, and the streams "
        "before and after the kill are not the same."
    )


@_claim("The memory of the largest migration was")
def memory(data: Mapping[str, Any]) -> str:
    """What Redis and the processes needed, beside the forecast."""
    parts = [data[name] for name in ("forecast", "killed", "resumed", "verified") if data[name]]
    redis, forecast = data["redis"], data["forecast"]
    sentences = []
    if redis["bytes_per_row"]:
        sentences.append(
            f"Redis held its rows in {size_bytes(redis['memory_bytes'])}, {three(redis['bytes_per_row'])} "
            "bytes a row."
        )
    if forecast and data["resumed"] and data["resumed"]["loaded_s"] is not None:
        share = redis["memory_bytes"] / forecast["memory_bytes"] - 1
        percent = f"{100 * abs(share):.0f}"
        much = (
            "as forecast"
            if percent == "0"
            else f"{percent} % {'more' if share > 0 else 'less'} than forecast"
        )
        sentences.append(
            f"That is {much} by the dry run, which took {duration_s(forecast['seconds'])}; the load took "
            f"{three(load_seconds(data) / forecast['load_seconds'])} times the seconds that it gave."
        )
    if parts:
        peak = three(max(one["peak_rss_mb"] for one in parts))
        sentences.append(f"No process of the migration needed more than {peak} MB.")
    sentences.append(f"PostgreSQL's tables and indexes took {size_bytes(data['filled']['bytes'])}.")
    return " ".join(sentences)


def slopes(data: Mapping[str, Any]) -> dict[str, float]:
    """What a row costs among all, as a multiple of what it costs among the rows of the base.

    Returns:
        By ``load``, ``verify`` and ``bytes``, of what was measured.

    Raises:
        Missing: it was not loaded whole, or had no more rows than the base.
    """
    base, rows = data["base"], total(data)
    if rows <= base["rows"]:
        raise Missing("largest: one size alone tells no growth")
    found = {
        "load": load_seconds(data) / rows / (base["load_seconds"] / base["rows"]),
        "bytes": data["redis"]["bytes_per_row"] / base["bytes_per_row"],
    }
    if data["verified"]:
        each = data["verified"]["verify_seconds"] / rows
        found["verify"] = each / (base["verify_seconds"] / base["rows"])
    return found


@_claim("How the cost of a row grows with rows was")
def slope(data: Mapping[str, Any]) -> str:
    """What a row costs among all of them, against among those of the base."""
    found, base, rows, verified = slopes(data), data["base"], total(data), data["verified"]
    costs = [f"{three(found['load'])} times the seconds to load ({duration_s(load_seconds(data) / rows)})"]
    if "verify" in found:
        each = duration_s(verified["verify_seconds"] / rows)
        costs.append(f"{three(found['verify'])} times to verify ({each})")
    costs.append(
        f"{three(found['bytes'])} times the bytes in Redis ({three(data['redis']['bytes_per_row'])})"
    )
    return (
        f"Against {count(base['rows'])} rows on the same servers, {count(rows)} took, a row, {join(costs)}. "
        f"{_verdict(found)}"
    )


def _verdict(found: Mapping[str, float]) -> str:
    """In what a row costs as much among many, in what more, and in what less."""
    named = {"load": "to load", "verify": "to verify", "bytes": "in memory"}
    kinds: dict[str, list[str]] = {f"about as much (within {100 * SAME:.0f} %)": [], "more": [], "less": []}
    same, more, less = kinds.values()
    for name, times in found.items():
        (same if abs(times - 1) <= SAME else more if times > 1 else less).append(named[name])
    said = [f"{much} {join(names)}" for much, names in kinds.items() if names]
    return f"So among many rows, one costs {', '.join(said)}."


def longer(data: Mapping[str, Any], rows: int) -> dict[str, float]:
    """Seconds of load and verification, and bytes, of more rows, if what a row costs goes on to grow so.

    A cost that grew by a factor from the base to all rows is taken to grow by the same factor as often as
    rows grow by as much again.

    Args:
        data: of the result.
        rows: how many.

    Raises:
        Missing: as ``slopes``.
    """
    found, of = slopes(data), total(data)
    again = math.log(rows / of) / math.log(of / data["base"]["rows"])
    each = {"load": load_seconds(data) / of, "bytes": data["redis"]["bytes_per_row"]}
    if data["verified"]:
        each["verify"] = data["verified"]["verify_seconds"] / of
    return {name: rows * cost * found[name] ** again for name, cost in each.items()}


@_claim("On which slope the outlook rests was")
def rests(data: Mapping[str, Any]) -> str:
    """What very many rows would take one process and one Redis, by the measured slope."""
    sentences = []
    for rows in outlook.ROWS:
        far = longer(data, rows)
        verify = f" and {outlook.hours(far['verify'])} to verify" if "verify" in far else ""
        sentences.append(
            f"{count(rows)} rows would take {outlook.hours(far['load'])} to load{verify}, and "
            f"{count(far['bytes'] / 1e9)} GB"
        )
    return (
        f"The slope from {count(data['base']['rows'])} to {count(total(data))} rows was measured. If it goes "
        f"on, with one process and one Redis that is large enough {join(sentences)}. This was not measured."
    )


def costs(results: Results) -> str:
    """What it cost, all together; one sentence where nothing was measured."""
    if "largest" not in results:
        return "What the largest migration cost was not measured."
    return " ".join(said(results) for said in (rates, memory, slope, rests))


def growth_row(results: Results) -> list[dict[str, str]]:
    """The largest migration as a row of the ladder's table of sizes; none where it was not measured whole."""
    try:
        data = results.require("largest")
        seconds, rows = load_seconds(data), total(data)
    except Missing:
        return []
    verified = data["verified"]
    if not verified:
        return []
    peaks = [data[name]["peak_rss_mb"] for name in ("killed", "resumed", "verified")]
    return [
        {
            "Rows": count(rows),
            "migrations": "1, killed once",
            "load, rows/s": count(rows / seconds),
            "verify, rows/s": count(rows / verified["verify_seconds"]),
            "verify / load": three(verified["verify_seconds"] / seconds),
            "memory, at most": f"{three(max(peaks))} MB",
        }
    ]
