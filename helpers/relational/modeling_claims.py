"""Sentences and tables on the Redis model, computed from the result ``modeling``."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Missing, Results
from helpers.text import count, exact, join, plural, size_bytes, three

NEAR = 0.05
"""Shares that differ by less are called equal: MEMORY USAGE is exact, but the allocator rounds."""

_claim = claim.from_result("modeling")


@_claim("What becomes of equal events was", "duplicates")
def duplicates(part: Mapping[str, Any]) -> str:
    """How many of several events each pattern kept."""
    lost = part["events"] - part["set_without_id"]
    without = "kept them all too" if not lost else f"lost {count(lost)} of them"
    all_kept = part["list"] == part["set_with_id"] == part["events"]
    kept = "all" if all_kept else f"{count(part['list'])} and {count(part['set_with_id'])}"
    return (
        f"Of {plural(part['events'], 'event')} list and sorted set kept {kept}. Without the activity's "
        f"number in its members the sorted set {without}."
    )


@_claim("Where encodings change was", "thresholds")
def thresholds(by_name: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Which encodings changed, and the largest step in memory."""
    part = {name: found for name, found in by_name.items() if found}
    if not part:
        raise Missing("modeling: no change of encoding found")
    name, step = max(part.items(), key=lambda item: item[1]["bytes_after"] / item[1]["bytes_before"])
    what, _, by = name.partition(", ")
    return (
        f"Redis changed the encoding in {plural(len(part), 'case')} as values grew. The largest step in "
        f"memory was that of the {what} ({by}), beyond {count(step['elements'])}: from "
        f"{size_bytes(step['bytes_before'])} to {size_bytes(step['bytes_after'])}."
    )


@_claim("The memory of list and sorted set was", "memory")
def memory(records: Sequence[Mapping[str, Any]]) -> str:
    """What list and sorted set need per activity, for the longest history."""
    longest = max(records, key=lambda record: record["length"])
    ratio = longest["set"]["bytes"] / longest["list"]["bytes"]
    each = {name: three(longest[name]["bytes"] / longest["length"]) for name in ("list", "set")}
    verdict = (
        "That is about the same"
        if abs(ratio - 1) < NEAR
        else f"That is {three(ratio)} times the memory of the list"
        if ratio > 1
        else f"That is less than the list ({three(ratio)} times)"
    )
    return (
        f"With {count(longest['length'])} activities the list needs {each['list']} bytes an activity and the "
        f"sorted set {each['set']}. {verdict}."
    )


@_claim("The size of an embedded document was", "mongodb")
def mongodb_embedding(part: Mapping[str, Any]) -> str:
    """How many activities one document could hold."""
    if not part["embedded_activities"]:
        raise Missing("modeling: no activity embedded")
    each = part["embedded_bytes"] / part["embedded_activities"]
    most = part["largest_document_bytes"] / each
    return (
        f"An embedded activity needs {three(each)} bytes, and this server takes documents of up to "
        f"{exact(size_bytes(part['largest_document_bytes']))}. Embedding ends at about "
        f"{count(float(f'{most:.2g}'))} activities of a user."
    )


@_claim("Whether dates come back exactly was", "precision")
def precision(part: Mapping[str, Any]) -> str:
    """In which stores dates came back exactly."""
    labels = {"redis": "Redis (our text)", "mongodb": "MongoDB's date", "cassandra": "Cassandra's timestamp"}
    whole = [label for name, label in labels.items() if part[name] == part["rows"]]
    dates = plural(part["rows"], "date")
    fewer: dict[int, list[str]] = {}
    for name, label in labels.items():
        if part[name] < part["rows"]:
            fewer.setdefault(part[name], []).append(label)
    of = "them" if whole else dates
    others = [
        f"{join(found)} gave back {count(number) if number else 'none'} of {of} exactly"
        for number, found in fewer.items()
    ]
    return "; ".join([f"{join(whole)} gave back all {dates} exactly"] * bool(whole) + others) + "."


def thresholds_table(results: Results) -> pd.DataFrame:
    """Changes of encoding: at which size, from what to what, bytes before and after."""
    rows = results.require("modeling")["thresholds"]
    return pd.DataFrame(
        {
            "Growing": name,
            "up to": count(found["elements"]),
            "encoding": f"`{found['from']}`",
            "then": f"`{found['to']}`",
            "before": size_bytes(found["bytes_before"]),
            "after": size_bytes(found["bytes_after"]),
        }
        for name, found in rows.items()
        if found
    )


def memory_table(results: Results) -> pd.DataFrame:
    """Histories of several lengths: bytes an activity and encoding as list and as sorted set."""
    return pd.DataFrame(
        {
            "Activities": count(record["length"]),
            "list, bytes each": three(record["list"]["bytes"] / record["length"]),
            "list encoding": f"`{record['list']['encoding']}`",
            "sorted set, bytes each": three(record["set"]["bytes"] / record["length"]),
            "sorted set encoding": f"`{record['set']['encoding']}`",
        }
        for record in results.require("modeling")["memory"]
    )
