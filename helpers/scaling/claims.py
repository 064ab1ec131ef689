"""Sentences on the growth of the data: latency, space, and what happens beyond memory."""

from collections.abc import Mapping
from typing import Any

from helpers.comparison import BASE, IN_WORDS, value_of
from helpers.report import claim
from helpers.results import Missing, having
from helpers.scaling.tables import CACHES, READS, megabytes
from helpers.settings import LABELS
from helpers.text import count, exact, join, plural, size_bytes, span, three

_claim = claim.from_result("scale")


@_claim("How latency grows with the data was")
def growth(data: Mapping[str, Any]) -> str:
    """Which medians are shown to be longer or shorter with the most activities than with the fewest."""
    rows = data["growth"]
    if not rows:
        return "How latency grows with the data was not measured with enough blocks."
    opening = (
        f"From {count(rows[0]['smallest'])} to {count(rows[0]['largest'])} activities, medians of blocks "
        f"were compared in {plural(len(rows), 'test')} (paired t-tests, Holm's correction over all)."
    )
    longer = [row for row in rows if row["shown"] and row["ratio"] > 1]
    shorter = [row for row in rows if row["shown"] and row["ratio"] < 1]
    level = len(rows) - len(longer) - len(shorter)
    if level == len(rows):
        reach = max(max(row["high"], 1 / row["low"]) for row in rows)
        return (
            f"{opening} No median is shown to change; the intervals leave room for a factor of "
            f"{three(reach)} at most."
        )
    sentences = [
        f"{plural(len(of), 'median')} {'is' if len(of) == 1 else 'are'} shown to be {what}, at most "
        f"{three(most)} times, on {join(list(dict.fromkeys(LABELS[row['store']] for row in of)))}."
        for of, what, most in (
            (longer, "longer", max((row["ratio"] for row in longer), default=1)),
            (shorter, "shorter", min((row["ratio"] for row in shorter), default=1)),
        )
        if of
    ]
    rest = f" For the other {count(level)} no difference is shown." if level else ""
    return f"{opening} {' '.join(sentences)}{rest}"


@_claim("How tails grow with the data was")
def tails(data: Mapping[str, Any]) -> str:
    """The 99th percentile with the most activities as a multiple of that with the fewest."""
    sizes = data["design"]["sizes"]
    found = {
        (r["activities"], r["operation"], r["store"]): r["percentiles_us"]["p99"] for r in data["latency"]
    }
    multiples = {
        (store, operation): found[sizes[-1], operation, store]["value"]
        / found[sizes[0], operation, store]["value"]
        for store in dict.fromkeys(row["store"] for row in data["space"])
        for operation in IN_WORDS
        if found.get((sizes[0], operation, store)) and found.get((sizes[-1], operation, store))
    }
    if not multiples:
        return "How tails grow with the data was not measured with enough samples for a 99th percentile."
    store, operation = max(multiples, key=lambda one: multiples[one])
    return (
        f"The 99th percentile becomes {span(list(multiples.values()))} times what it was (not tested), most "
        f"on {LABELS[store]} to {IN_WORDS[operation]}."
    )


@_claim("The space of an activity was")
def space(data: Mapping[str, Any]) -> str:
    """What an activity takes in memory and on disk at the largest size, and which store takes least of the
    disk; memory is not compared, because a cache holds what it chooses.
    """
    rows = _at(data, max(row["activities"] for row in data["space"]))
    activities = next(iter(rows.values()))["activities"]
    disk = {store: row["disk_per_activity"] for store, row in rows.items()}
    memory = {store: row["memory_per_activity"] for store, row in rows.items()}
    on_disk = {store: size for store, size in disk.items() if size is not None}
    in_memory = {store: size for store, size in memory.items() if size is not None}
    sentences = []
    if on_disk:
        sentences.append(
            f"With {count(activities)} activities, one takes {span(list(on_disk.values()), size_bytes)} of "
            f"the disk{_least(on_disk)}."
        )
    if in_memory:
        sentences.append(f"In memory it takes {span(list(in_memory.values()), size_bytes)}.")
    sentences += [
        f"{join(silent)} {'does' if len(silent) == 1 else 'do'} not say what it takes {where}."
        for of, where in ((disk, "on disk"), (memory, "in memory"))
        if (silent := [LABELS[store] for store, size in of.items() if size is None])
    ]
    if caching := [f"{LABELS[store]}'s" for store in CACHES if store in in_memory]:
        sentences.append(f"The memory that is {join(caching)} is what a cache held just then.")
    return " ".join(sentences)


def _least(known: Mapping[str, float]) -> str:
    if len(known) < 2:
        return ""
    least = [LABELS[store] for store, size in known.items() if size == min(known.values())]
    most = [LABELS[store] for store, size in known.items() if size == max(known.values())]
    return f", least in {join(least)} and most in {join(most)}" if least != most else ""


@_claim("How the space of an activity changes was")
def space_growth(data: Mapping[str, Any]) -> str:
    """What an activity takes at the largest size as a multiple of the smallest: what is fixed fades."""
    sizes = sorted({row["activities"] for row in data["space"]})
    first, last = _at(data, sizes[0]), _at(data, sizes[-1])
    sentences = []
    for key, where in (("memory_per_activity", "in memory"), ("disk_per_activity", "on disk")):
        multiples = {
            store: last[store][key] / first[store][key]
            for store in first
            if first[store][key] and last[store][key]
        }
        if multiples:
            sentences.append(f"{span(list(multiples.values()))} times {where}")
    if not sentences:
        return "How the space of an activity changes no server says."
    return (
        f"With {count(sizes[-1])} activities instead of {count(sizes[0])}, one takes {join(sentences)} what "
        "it took."
    )


@_claim("How fast data load was")
def loading(data: Mapping[str, Any]) -> str:
    """At which rate each store took the rows at the largest size: lowest and highest."""
    rows = _at(data, max(row["activities"] for row in data["space"]))
    rates = {store: row["activities"] / row["load_s"] for store, row in rows.items()}
    least, most = (of(rates, key=lambda store: rates[store]) for of in (min, max))
    where = f", slowest into {LABELS[least]} and quickest into {LABELS[most]}" if least != most else ""
    return (
        f"One client loaded {span(list(rates.values()), count)} activities a second{where} (one load each, "
        "not tested; the client's own work counts)."
    )


@_claim("What leaving PostgreSQL does to space and loading was")
def leaving(data: Mapping[str, Any]) -> str:
    """What an activity takes on disk and how fast data load, as a multiple of staying with PostgreSQL."""
    rows = _at(data, max(row["activities"] for row in data["space"]))
    base = rows.pop(BASE)
    if not rows:
        raise Missing("scale: only PostgreSQL was measured")
    loads = [base["load_s"] / row["load_s"] for row in rows.values()]
    disks = [
        row["disk_per_activity"] / base["disk_per_activity"]
        for row in rows.values()
        if row["disk_per_activity"] and base["disk_per_activity"]
    ]
    taken = f" They take {span(disks)} times its disk." if disks else ""
    return (
        f"Against PostgreSQL, the others load {count(base['activities'])} activities at "
        f"{span(loads)} times the rate (one load each, not tested).{taken}"
    )


@_claim("The memory of the servers was")
def server_memory(data: Mapping[str, Any]) -> str:
    """Resident memory of the servers before the first load and after the largest."""
    sizes = sorted({row["activities"] for row in data["space"]})
    first, last = _at(data, sizes[0]), _at(data, sizes[-1])
    known = {
        store: (first[store]["rss_before_mb"], last[store]["rss_after_mb"])
        for store in first
        if first[store]["rss_before_mb"] is not None and last[store]["rss_after_mb"] is not None
    }
    unknown = [LABELS[store] for store in first if store not in known]
    note = f" It is unknown for {join(unknown)}." if unknown else ""
    if not known:
        return f"The memory of the servers was not measured.{note}"
    least, most = (of(known, key=lambda store: known[store][1]) for of in (min, max))
    ends = [f"{LABELS[store]}'s {megabytes(known[store][1])}" for store in dict.fromkeys((least, most))]
    which = ", the least and the most" if least != most else ""
    return (
        f"After {count(sizes[-1])} activities, resident memory is {join(ends)}{which} of all servers.{note}"
    )


@_claim("What Redis does when its memory is full was", "outgrown", "redis")
def refusing(part: Mapping[str, Any]) -> str:
    """Redis at ``maxmemory`` under noeviction: what it refuses, in which words, and what becomes of the
    rest.
    """
    row = part["policies"]["noeviction"]
    refused = (
        f"refused {count(row['refused'])} ({row['words'].rstrip('.')})"
        if row["refused"]
        else "refused none of them"
    )
    gone = "none is" if not row["gone"] else f"{count(row['gone'])} are"
    again = ""
    if "accepted_after_delete" in row:
        done = "took" if row["accepted_after_delete"] else "still did not take"
        again = f" After a quarter of the users was deleted, it {done} a write again."
    return (
        f"With room for {exact(size_bytes(part['room_bytes']))} and the policy noeviction, Redis took "
        f"{count(row['acknowledged'])} activities and {refused}. Reading went on: of the acknowledged "
        f"activities {gone} gone.{again}"
    )


@_claim("What Redis drops when its memory is full was", "outgrown", "redis")
def evicting(part: Mapping[str, Any]) -> str:
    """Redis at ``maxmemory`` under allkeys-lru: which share of what it had acknowledged is gone."""
    row = part["policies"]["allkeys-lru"]
    opening = f"With the policy allkeys-lru, Redis acknowledged {count(row['acknowledged'])} activities"
    if not row["gone"]:
        return f"{opening}, and none of them is gone."
    share = three(100 * row["gone"] / row["acknowledged"])
    tenths = row["gone_share_by_tenth"]
    ages = (
        f" Of the tenth written first {100 * tenths[0]:.0f} % are gone, of the tenth written last "
        f"{100 * tenths[-1]:.0f} %."
        if tenths
        else ""
    )
    torn = (
        f" Of {plural(row['users_torn'], 'user')} only one of list and sorted set is left: keys are "
        "dropped one by one, whatever transaction wrote them."
        if row["users_torn"]
        else ""
    )
    return f"{opening}, of which {share} % are gone again.{ages}{torn}"


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
    return (
        f"With {exact(size_bytes(part['memtable_bytes']))} for memtables, Cassandra took "
        f"{size_bytes(part['written_bytes'])} and refused nothing; it wrote them out in "
        f"{plural(part['flushes'], 'flush', 'flushes')}. {_reads(part, 'cassandra')} {_lost(part)}"
    )


@_claim("What happens beyond memory was")
def not_shown(data: Mapping[str, Any]) -> str:
    """What the measurement beyond memory cannot tell."""
    return " ".join(data["outgrown"]["not_shown"])


def _beyond(part: Mapping[str, Any], store: str, cache: str) -> str:
    """A store with more data than it keeps in memory, and what it calls that memory."""
    multiple = three(part["file_bytes"] / part["cache_bytes"])
    return (
        f"With {cache} of {exact(size_bytes(part['cache_bytes']))}, {LABELS[store]} took {multiple} times as "
        f"much data and refused nothing. {_reads(part, store)} {_lost(part)}"
    )


def _reads(part: Mapping[str, Any], store: str) -> str:
    """The median read inside, and how much longer it takes in the places outside."""
    names = READS[store]
    inside, *others = part["reads"]
    median = value_of(part["reads"][inside]["percentiles_us"]["p50"])
    against = [
        f"{names[name].capitalize()}{',' * (',' in names[name])} {_against(part['ratios'].get(name))}."
        for name in others
    ]
    return " ".join([f"A read takes {median} {names[inside]} (median).", *against])


def _against(ratio: Mapping[str, float] | None) -> str:
    if ratio is None:
        return "it was not compared"
    if ratio["low"] <= 1 <= ratio["high"]:
        return "no difference is shown"
    return f"it takes {three(ratio['value'])} times as long"


def _lost(part: Mapping[str, Any]) -> str:
    lost = "none is" if not part["lost"] else f"{count(part['lost'])} are"
    return f"Of {count(part['checked'])} acknowledged activities asked for, {lost} missing or changed."


def _at(data: Mapping[str, Any], activities: int) -> dict[str, Mapping[str, Any]]:
    return {row["store"]: row for row in having(data["space"], activities=activities)}
