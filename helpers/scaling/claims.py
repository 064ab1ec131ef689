"""Sentences on the growth of the data: latency, space, and what happens beyond memory."""

from collections.abc import Iterable, Mapping
from typing import Any

from helpers.comparison import BASE, IN_WORDS, value_of
from helpers.report import claim
from helpers.results import Missing, having
from helpers.scaling.tables import CACHES, READS
from helpers.settings import LABELS
from helpers.text import count, join, plural, size_bytes, span, three

_claim = claim.from_result("scale")


@_claim("How latency grows with the data was")
def growth(data: Mapping[str, Any]) -> str:
    """Which medians are shown to be longer or shorter with the most activities than with the fewest."""
    rows = data["growth"]
    if not rows:
        return "How latency grows with the data was not measured with enough blocks."
    opening = (
        f"From {count(rows[0]['smallest'])} to {count(rows[0]['largest'])} activities "
        f"({plural(len(rows), 'test')} on medians of blocks, Holm's correction over all)"
    )
    longer = _named(row for row in rows if row["shown"] and row["ratio"] > 1)
    shorter = _named(row for row in rows if row["shown"] and row["ratio"] < 1)
    level = [row for row in rows if not row["shown"]]
    sentences = [f"longer {join(longer)}"] if longer else []
    sentences += [f"shorter {join(shorter)}"] if shorter else []
    if not sentences:
        reach = max(max(row["high"], 1 / row["low"]) for row in rows)
        return (
            f"{opening}, no median is shown to change; the intervals leave room for a factor of "
            f"{three(reach)} at most."
        )
    rest = f"; for the other {count(len(level))} no difference is shown" if level else ""
    return f"{opening}, the median is {'; '.join(sentences)}{rest}."


def _named(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"to {IN_WORDS[row['operation']]} on {LABELS[row['store']]} ({three(row['ratio'])} times, "
        f"{three(row['low'])} to {three(row['high'])})"
        for row in rows
    ]


@_claim("How tails grow with the data was")
def tails(data: Mapping[str, Any]) -> str:
    """The 99th percentile with the most activities as a multiple of that with the fewest, by store."""
    sizes = data["design"]["sizes"]
    found = {
        (r["activities"], r["operation"], r["store"]): r["percentiles_us"]["p99"] for r in data["latency"]
    }
    sentences = []
    for store in dict.fromkeys(row["store"] for row in data["space"]):
        multiples = [
            found[sizes[-1], operation, store]["value"] / found[sizes[0], operation, store]["value"]
            for operation in IN_WORDS
            if found.get((sizes[0], operation, store)) and found.get((sizes[-1], operation, store))
        ]
        if multiples:
            sentences.append(f"{span(multiples)} times on {LABELS[store]}")
    if not sentences:
        return "How tails grow with the data was not measured with enough samples for a 99th percentile."
    return (
        f"The 99th percentile with {count(sizes[-1])} activities is, against {count(sizes[0])}, "
        f"{join(sentences)} (lowest and highest of the operations; not tested)."
    )


@_claim("The space of an activity was")
def space(data: Mapping[str, Any]) -> str:
    """What an activity takes in memory and on disk at the largest size, and which store takes least of the
    disk; memory is not compared, because a cache holds what it chooses.
    """
    rows = _at(data, max(row["activities"] for row in data["space"]))
    sentences = []
    for kind, where in (("memory", "in memory"), ("disk", "on disk")):
        sizes = {store: row[f"{kind}_per_activity"] for store, row in rows.items()}
        known = {store: size for store, size in sizes.items() if size is not None}
        if not known:
            sentences.append(f"{where} no server says it")
            continue
        listed = join([f"{size_bytes(size)} in {LABELS[store]}" for store, size in known.items()])
        unknown = [LABELS[store] for store in sizes if store not in known]
        note = f" ({join(unknown)}: not told)" if unknown else ""
        sentences.append(f"{where} {listed}{note}{_least(known) if kind == 'disk' else ''}")
    activities = next(iter(rows.values()))["activities"]
    caching = [s for s in CACHES if rows.get(s, {}).get("memory_per_activity") is not None]
    held = join([f"{LABELS[store]}'s" for store in caching])
    note = f" The memory that is {held} is what a cache held of them just then." if caching else ""
    return f"With {count(activities)} activities, one takes {'; '.join(sentences)}.{note}"


def _least(known: Mapping[str, float]) -> str:
    if len(known) < 2:
        return ""
    least = [store for store, size in known.items() if size == min(known.values())]
    return f", least in {join([LABELS[store] for store in least])}"


@_claim("How the space of an activity changes was")
def space_growth(data: Mapping[str, Any]) -> str:
    """What an activity takes at the largest size as a multiple of the smallest: what is fixed fades."""
    sizes = sorted({row["activities"] for row in data["space"]})
    first, last = _at(data, sizes[0]), _at(data, sizes[-1])
    sentences = []
    for store in first:
        multiples = [
            f"{three(last[store][key] / first[store][key])} times {where}"
            for key, where in (("memory_per_activity", "in memory"), ("disk_per_activity", "on disk"))
            if first[store][key] and last[store][key]
        ]
        sentences.append(f"{LABELS[store]} {join(multiples) or 'not told'}")
    return (
        f"What one activity takes with {count(sizes[-1])} of them, against {count(sizes[0])}: "
        f"{'; '.join(sentences)}."
    )


@_claim("How fast data load was")
def loading(data: Mapping[str, Any]) -> str:
    """At which rate each store took the rows, at the smallest and the largest size."""
    sizes = sorted({row["activities"] for row in data["space"]})
    first, last = _at(data, sizes[0]), _at(data, sizes[-1])
    sentences = [
        f"{LABELS[store]} {_per_s(last[store])} per second"
        + (f" ({_per_s(first[store])} at {count(sizes[0])})" if len(sizes) > 1 else "")
        for store in last
    ]
    return (
        f"With their users, products and orders, {count(sizes[-1])} activities were loaded by one client at: "
        f"{'; '.join(sentences)}. It is one load each, in which the client's own work counts."
    )


def _per_s(row: Mapping[str, Any]) -> str:
    return count(row["activities"] / row["load_s"])


@_claim("What leaving PostgreSQL does to space and loading was")
def leaving(data: Mapping[str, Any]) -> str:
    """What an activity takes on disk and how fast data load, as a multiple of staying with PostgreSQL."""
    rows = _at(data, max(row["activities"] for row in data["space"]))
    base = rows.pop(BASE)
    sentences = []
    for store, row in rows.items():
        parts = [f"loading at {three(base['load_s'] / row['load_s'])} times the rate"]
        if row["disk_per_activity"] and base["disk_per_activity"]:
            multiple = row["disk_per_activity"] / base["disk_per_activity"]
            parts.insert(0, f"{three(multiple)} times the disk")
        sentences.append(f"{LABELS[store]} {join(parts)}")
    if not sentences:
        raise Missing("scale: only PostgreSQL was measured")
    return (
        f"Against staying with PostgreSQL, {count(base['activities'])} activities take: "
        f"{'; '.join(sentences)} (one load each, not tested)."
    )


@_claim("The memory of the servers was")
def server_memory(data: Mapping[str, Any]) -> str:
    """Resident memory of each server before the first load and after the largest."""
    sizes = sorted({row["activities"] for row in data["space"]})
    first, last = _at(data, sizes[0]), _at(data, sizes[-1])
    sentences = []
    for store in first:
        before, after = first[store]["rss_before_mb"], last[store]["rss_after_mb"]
        known = before is not None and after is not None
        sentences.append(
            f"{LABELS[store]} from {three(before)} to {three(after)} MB"
            if known
            else f"{LABELS[store]} unknown"
        )
    return (
        f"Resident memory of the whole server, before the first load and after {count(sizes[-1])} activities:"
        f" {'; '.join(sentences)}."
    )


@_claim("What Redis does when its memory is full was", "outgrown", "redis")
def refusing(part: Mapping[str, Any]) -> str:
    """Redis at ``maxmemory`` under noeviction: what it refuses, in which words, and what becomes of the
    rest.
    """
    row = part["policies"]["noeviction"]
    refused = (
        f"refused {count(row['refused'])} with `{row['words']}`" if row["refused"] else "refused none of them"
    )
    gone = "none is" if not row["gone"] else f"{count(row['gone'])} are"
    again = ""
    if "accepted_after_delete" in row:
        done = "took" if row["accepted_after_delete"] else "still did not take"
        again = f" After a quarter of the users was deleted, it {done} a write again."
    return (
        f"With room for {size_bytes(part['room_bytes'])} and the policy noeviction, Redis took "
        f"{count(row['acknowledged'])} of {count(row['written'])} activities and {refused}. Reading went on: "
        f"of the acknowledged activities {gone} gone.{again}"
    )


@_claim("What Redis drops when its memory is full was", "outgrown", "redis")
def evicting(part: Mapping[str, Any]) -> str:
    """Redis at ``maxmemory`` under allkeys-lru: which share of what it had acknowledged is gone."""
    row = part["policies"]["allkeys-lru"]
    opening = (
        f"With the policy allkeys-lru, Redis acknowledged {count(row['acknowledged'])} of "
        f"{count(row['written'])} activities and dropped {plural(row['keys_evicted'], 'key')}"
    )
    if not row["gone"]:
        return f"{opening}: no acknowledged activity is gone."
    share = three(100 * row["gone"] / row["acknowledged"])
    tenths = row["gone_share_by_tenth"]
    ages = (
        f", {100 * tenths[0]:.0f} % of the tenth written first and {100 * tenths[-1]:.0f} % of that written "
        "last"
        if tenths
        else ""
    )
    torn = (
        f" Of {plural(row['users_torn'], 'user')} only one of list and sorted set is left: keys are "
        "dropped one by one, whatever transaction wrote them."
        if row["users_torn"]
        else ""
    )
    return (
        f"{opening}: {count(row['gone'])} acknowledged activities are gone from their lists "
        f"({share} %{ages}).{torn}"
    )


@_claim("What PostgreSQL does when data outgrow its shared buffers was", "outgrown", "postgres")
def postgres_beyond(part: Mapping[str, Any]) -> str:
    """PostgreSQL with data of several times its buffers: reads inside and outside, and what is lost."""
    return _beyond(part, "postgres", "shared buffers")


@_claim("What MongoDB does when data outgrow its cache was", "outgrown", "mongodb")
def mongodb_beyond(part: Mapping[str, Any]) -> str:
    """MongoDB with data of several times its cache: reads inside and outside, and what is lost."""
    return _beyond(part, "mongodb", "a cache")


@_claim("What Cassandra does when data outgrow its memtables was", "outgrown", "cassandra")
def cassandra_beyond(part: Mapping[str, Any]) -> str:
    """Cassandra with data of many times its memtables: flushes, files, reads, and what is lost."""
    resident = "" if part["rss_mb"] is None else f"; the process then had {three(part['rss_mb'])} MB resident"
    return (
        f"With {size_bytes(part['memtable_bytes'])} for memtables and a heap of at most "
        f"{size_bytes(part['heap_bytes'])}, Cassandra took {size_bytes(part['written_bytes'])} and refused "
        f"nothing: {plural(part['flushes'], 'flush', 'flushes')} and "
        f"{plural(part['compactions'], 'compaction task')} of all tables, "
        f"{plural(part['tables_written'], 'SSTable')} of activities written{resident}. "
        f"{_reads(part, 'cassandra')} {_lost(part)}"
    )


@_claim("What happens beyond memory was")
def not_shown(data: Mapping[str, Any]) -> str:
    """What the measurement beyond memory cannot tell."""
    return " ".join(data["outgrown"]["not_shown"])


def _beyond(part: Mapping[str, Any], store: str, cache: str) -> str:
    """A store with more data than it keeps in memory, and what it calls that memory."""
    multiple = three(part["file_bytes"] / part["cache_bytes"])
    return (
        f"With {cache} of {size_bytes(part['cache_bytes'])}, {LABELS[store]} took data of "
        f"{size_bytes(part['file_bytes'])} ({multiple} times as much) and refused nothing. "
        f"{_reads(part, store)} {_lost(part)}"
    )


def _reads(part: Mapping[str, Any], store: str) -> str:
    sentences = []
    for name, row in part["reads"].items():
        took = value_of(row["percentiles_us"]["p50"])
        moved = [f"{size_bytes(row['into_cache_bytes'])} into the cache"] * (store in CACHES)
        if row["from_disk_bytes"] is not None:
            moved.append(f"{size_bytes(row['from_disk_bytes'])} from the disk")
        against = _against(part["ratios"].get(name))
        sentences.append(f"{READS[store][name]} {took}{against}{f' ({join(moved)})' if moved else ''}")
    number = next(iter(part["reads"].values()))["n"]
    return f"The median read of one activity ({count(number)} each) took: {'; '.join(sentences)}."


def _against(ratio: Mapping[str, float] | None) -> str:
    if ratio is None:
        return ""
    ends = f"{three(ratio['low'])} to {three(ratio['high'])}"
    if ratio["low"] <= 1 <= ratio["high"]:
        return f", no difference shown ({ends} times)"
    return f", {three(ratio['value'])} times as long ({ends})"


def _lost(part: Mapping[str, Any]) -> str:
    lost = "none is" if not part["lost"] else f"{count(part['lost'])} are"
    return f"Of {count(part['checked'])} acknowledged activities asked for, {lost} missing or changed."


def _at(data: Mapping[str, Any], activities: int) -> dict[str, Mapping[str, Any]]:
    return {row["store"]: row for row in having(data["space"], activities=activities)}
