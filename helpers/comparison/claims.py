"""Sentences on the comparison: answers, times, rates, and what limited them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from helpers.comparison.decision import best
from helpers.comparison.statistics import Interval
from helpers.comparison.summary import BUSY, busiest, by_core
from helpers.comparison.tables import medians_us, shorter_than_null, value_of
from helpers.comparison.workload import IN_WORDS, MIX, OPERATIONS
from helpers.report import claim
from helpers.results import Missing, having
from helpers.settings import LABELS
from helpers.text import count, duration_s, duration_us, join, plural, span, three

_claim = claim.from_result("comparison")


@_claim("Equal answers:")
def equal_answers(data: Mapping[str, Any]) -> str:
    """How many questions all stores answered alike, how many of them for something that does not exist."""
    asked = {kind: number for kind, number in data["answers"].items() if kind != "misses"}
    stores = join([LABELS[store] for store in data["counts"]])
    return (
        f"{stores} gave the same answer to each of {count(sum(asked.values()))} questions, "
        f"{count(asked.get('while timing', 0))} of them asked while timing and "
        f"{count(data['answers'].get('misses', 0))} about something that does not exist."
    )


@_claim("Samples:", "latency")
def samples(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many operations stand behind the latencies of one client in the relaxed tier, and in how many
    blocks.
    """
    shown = [row for row in rows if row["tier"] == "relaxed" and row["mix"] == MIX]
    if not shown:
        raise Missing(f"comparison: the {MIX} mix was not measured")
    numbers, blocks = ([row[name] for row in shown] for name in ("n", "blocks"))
    return f"Each store and operation: {span(numbers, count)} samples in {span(blocks, count)} blocks."


@_claim("Fastest store:")
def fastest(data: Mapping[str, Any]) -> str:
    """The store with the lowest median for each operation, where a difference to the others is shown."""
    by_store: dict[str, list[str]] = {}
    longer: dict[str, list[float]] = {}
    level: dict[str, list[str]] = {}
    for operation in OPERATIONS:
        medians = medians_us(data, operation)
        first, *others = sorted(medians, key=lambda store: medians[store])
        tests = {store: _ratio(data, operation, store, first) for store in others}
        leads = [test["ratio"] for test in tests.values() if test["shown"]]
        by_store.setdefault(first if leads else "", []).append(operation)
        longer.setdefault(first if leads else "", []).extend(leads)
        for store in [store for store, test in tests.items() if leads and not test["shown"]]:
            level.setdefault(store, []).append(operation)
    sentences = [
        f"{LABELS[store]} has the lowest median {_to(found)}; where a difference is shown, the others take "
        f"{span(longer[store])} times as long."
        if store
        else f"{'no' if store == next(iter(by_store)) else 'No'} store is shown to be fastest {_to(found)}."
        for store, found in by_store.items()
    ]
    sentences += [
        f"No difference is shown to {LABELS[store]} {_to(found)}." for store, found in level.items()
    ]
    return f"With one client and the {MIX} mix, {' '.join(sentences)}"


def _to(operations: Sequence[str]) -> str:
    """``to read a profile and to place an order``; ``in all four operations`` where it is all."""
    if len(operations) == len(OPERATIONS):
        return "in all four operations"
    return join([f"to {IN_WORDS[one]}" for one in operations])


@_claim("Differences between stores:", "ratios")
def differences(tests: Sequence[Mapping[str, Any]]) -> str:
    """In how many of the tests a difference is shown after Holm's correction, and where it is not."""
    level = [test for test in tests if not test["shown"]]
    blocks, shown = min(test["blocks"] for test in tests), len(tests) - len(level)
    opening = (
        f"Of {plural(len(tests), 'paired t-test')} on the logarithms of ratios of block medians, "
        f"{shown} {'shows' if shown == 1 else 'show'} a difference after Holm's correction over all. There "
        f"is one for each pair of stores, operation, mix and tier, with the block as its unit and at least "
        f"{plural(blocks, 'block')} each."
    )
    if not level:
        return opening
    pairs = Counter(f"{LABELS[test['store']]} and {LABELS[test['against']]}" for test in level)
    return f"{opening} Where none is shown, the pair is most often {pairs.most_common(1)[0][0]}."


@_claim("Slowest operations:")
def tails(data: Mapping[str, Any]) -> str:
    """How far the 99th percentile lies above the median, in the store with the least spread and with most."""
    spread = {
        store: max(
            (
                found["p99"]["value"] / found["p50"]["value"]
                for row in having(data["latency"], store=store, tier="relaxed", mix=MIX)
                if (found := row["percentiles_us"])["p99"] and found["p50"]
            ),
            default=None,
        )
        for store in data["counts"]
    }
    known = {store: times for store, times in spread.items() if times is not None}
    if not known:
        return "Slowest operations: not measured with enough samples for a 99th percentile."
    least, most = (of(known, key=lambda store: known[store]) for of in (min, max))
    if least == most or three(known[least]) == three(known[most]):
        return f"The 99th percentile is at most {three(known[most])} times the median."
    return (
        f"The 99th percentile is at most {three(known[least])} times the median on {LABELS[least]}, and at "
        f"most {three(known[most])} times on {LABELS[most]}; the others lie between."
    )


@_claim("Share of the driver:")
def driver_share(data: Mapping[str, Any]) -> str:
    """Which part of an operation's median a null operation takes, and where it is no floor."""
    floors = data["floors"]
    shares: dict[str, list[float]] = {}
    without = []
    for store, null in floors["null_op_us"].items():
        if above := shorter_than_null(data, store):
            without.append(
                f"{LABELS[store]}'s null operation ({floors['null_op_cost'][store]['asks']}) takes no less "
                f"than to {join([IN_WORDS[one] for one in above])}: it is no floor."
            )
        else:
            shares[store] = [
                100 * null["p50"]["value"] / medians_us(data, operation)[store] for operation in OPERATIONS
            ]
    echo = floors["echo_us"]["p50"]
    shorter = [
        LABELS[store] for store, null in floors["null_op_us"].items() if null["p50"]["high"] < echo["low"]
    ]
    no_floor = f", longer than a null operation of {join(shorter)}, so it is no floor here" if shorter else ""
    sentences = [f"A bare TCP round trip takes {value_of(echo)}{no_floor}."]
    if shares:
        every = [share for of_store in shares.values() for share in of_store]
        least, most = (of(shares, key=lambda store: of(shares[store])) for of in (min, max))
        where = f", least on {LABELS[least]} and most on {LABELS[most]}" if least != most else ""
        whose = "its store's" if not without else "a store's own"
        sentences.append(
            f"A driver's null operation takes {span([round(share) for share in every], count)} % of the "
            f"median of {whose} operations{where}."
        )
    return " ".join([*sentences, *without])


@_claim("Time of an operation:", "cost")
def cost(by_store: Mapping[str, Any]) -> str:
    """Which part of the time of an operation the client's own thread works, and where the server's processor
    time is not known.
    """
    shares = {
        store: 100 * mixes[MIX]["asking_us"] / mixes[MIX]["elapsed_us"] for store, mixes in by_store.items()
    }
    least, most = (of(shares, key=lambda store: shares[store]) for of in (min, max))
    where = f", least on {LABELS[least]} and most on {LABELS[most]}" if least != most else ""
    unknown = [LABELS[store] for store, mixes in by_store.items() if mixes[MIX]["server_cpu_us"] is None]
    note = f" The processor time of the server is unknown for {join(unknown)}." if unknown else ""
    return (
        f"Of the mean time of an operation of one client ({MIX} mix) the asking thread works for "
        f"{span([round(share) for share in shares.values()], count)} %{where}; for the rest it waits.{note}"
    )


LIMITED: Mapping[str, str] = {
    "client": "the clients",
    "server": "the server",
    "machine": "the machine, whose cores server and clients share",
    "waiting": "the wait for each answer, as nobody was busy",
}
"""What limited a rate, in words."""
AGREE = 1 - BUSY
"""How far apart two rates may lie that are to agree: a server counts as busy from so much below a core on."""


OTHERS = 0.15
"""Share of the machine from which on what other programs use is told."""


@_claim("Throughput against concurrency:", "throughput")
def scaling(rows: Sequence[Mapping[str, Any]]) -> str:
    """How throughput changes from one client to the most, what the limit was, and who comes first."""
    fewest, crowd = min(row["clients"] for row in rows), busiest(rows)
    alone = {row["store"]: row for row in rows if row["clients"] == fewest}
    clients = next(iter(crowd.values()))["clients"]
    own = {store: row for store, row in crowd.items() if row["limit"] != "client"}
    changes = {
        store: row["per_s"] / alone[store]["per_s"]
        for store, row in own.items()
        if not _rate(alone[store]).overlaps(_rate(row))
    }
    still = [LABELS[store] for store in own if store not in changes]
    sentences = []
    for verb, ratios in (
        ("multiply", {store: times for store, times in changes.items() if times > 1}),
        ("lower", {store: times for store, times in changes.items() if times < 1}),
    ):
        if ratios:
            by = span(list(ratios.values()))
            named = join([LABELS[store] for store in sorted(ratios, key=lambda store: ratios[store])])
            sentences.append(f"{plural(clients, 'client')} {verb} the rate of one by {by} on {named}.")
    if still:
        sentences.append(f"On {join(still)} no change is shown.")
    if bound := [LABELS[store] for store in crowd if store not in own]:
        sentences.append(f"On {join(bound)} the clients could send no more, so the server could do more.")
    limits = [
        f"{words} ({join([LABELS[s] for s in found])})"
        for limit, words in LIMITED.items()
        if (found := [store for store, row in crowd.items() if row["limit"] == limit])
    ]
    return " ".join(
        [
            *sentences,
            f"With {plural(clients, 'client')} the limit was {'; '.join(limits)}.",
            f"{_first_by_rate(crowd)}{_others(rows)}",
        ]
    )


def _others(rows: Sequence[Mapping[str, Any]]) -> str:
    """That other programs kept the machine busy, where they did."""
    most = max((row["others_busy_share"] or 0.0 for row in rows), default=0.0)
    if most < OTHERS:
        return ""
    return (
        f" Programs that have no part in this used up to {100 * most:.0f} % of the machine meanwhile, so it "
        "could give less."
    )


def _rate(row: Mapping[str, Any]) -> Interval:
    """The rate reached; with a single block nothing bounds it."""
    low, high = (0.0, inf) if row["low"] is None else (row["low"], row["high"])
    return Interval(row["per_s"], low, high)


def _first_by_rate(crowd: Mapping[str, Mapping[str, Any]]) -> str:
    """Who reaches most; nobody where a rate is not the server's own, as more load could then reach more."""
    if any(row["limit"] != "server" for row in crowd.values()):
        return "No store is called first by these rates, which are a server's own only where it is the limit."
    first, *level = best({store: _rate(row) for store, row in crowd.items()})
    if level:
        named = join([LABELS[store] for store in (first, *level)])
        return f"No difference is shown between those that reach most, {named}."
    return f"{LABELS[first]} reaches most."


@_claim("Two ways to a rate:", "throughput")
def core_rates(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether the rate reached agrees with what a core of the server allows, and whose core allows most."""
    crowd = busiest(rows)
    agreeing: dict[str, list[str]] = {}
    for store, row in crowd.items():
        agreeing.setdefault(_two_ways(row), []).append(LABELS[store])
    sentences = [f"{words.format(join(stores))}." for words, stores in agreeing.items() if words]
    return " ".join([*sentences, _first_by_core(rows)])


def _two_ways(row: Mapping[str, Any]) -> str:
    """How the rate reached and the one allowed stand to each other; empty where they cannot agree, since the
    server was not the limit.
    """
    core = row["core_per_s"]
    if core is None:
        return "The processor time of {} is not known"
    if row["limit"] != "server":
        return ""
    ratio = row["per_s"] / (core["value"] * max(1.0, row["server_busy_cores"]))
    if abs(ratio - 1) <= AGREE:
        return "What a core allows agrees with the rate reached on {}"
    return f"The rate reached is {three(ratio)} times what a core allows on {{}}, so the two do not agree"


def _first_by_core(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whose server needs least processor time; nobody where the clients could not load one as the others."""
    crowd, allowed = busiest(rows), by_core(rows)
    if bound := [LABELS[store] for store, row in crowd.items() if row["limit"] == "client"]:
        return f"No store is called first, as the clients could not load {join(bound)} in full."
    if len(allowed) < len(crowd):
        return "No store is called first: not every server's processor time is known."
    first, *level = best(allowed)
    if level:
        named = join([LABELS[store] for store in (first, *level)])
        return f"No difference is shown between those whose core allows most, {named}."
    others = [allowed[first].value / core.value for store, core in allowed.items() if store != first]
    return f"A core of {LABELS[first]} allows most, {span(others)} times as many operations as the others."


NINETY: Mapping[str, str] = {"p99": "99th percentile", "p50": "median"}
KEPT = 0.95
"""Share of an offered rate from which on it counts as done."""


@_claim("Open loop:", "open_loop")
def open_loop(rows: Sequence[dict[str, Any]]) -> str:
    """What waiting adds to the service time at the highest rate that was offered to all stores, and who fell
    behind.
    """
    rate = max(row["offered_per_s"] for row in rows)
    behind, waits = [], {}
    for row in having(rows, offered_per_s=rate):
        name = "p99" if row["latency_us"]["p99"] else "p50"
        waits[row["store"]] = row["latency_us"][name]["value"], row["service_us"][name]["value"], name
        if row["achieved_per_s"] < KEPT * row["offered_per_s"]:
            behind.append(
                f"On {LABELS[row['store']]} only {count(row['achieved_per_s'])} were done (limit: "
                f"{row['limit']})."
            )
    most = max(waits, key=lambda store: waits[store][0] / waits[store][1])
    due, sent, name = waits[most]
    quickest = min(waits, key=lambda store: waits[store][0])
    return " ".join(
        [
            f"When {count(rate)} operations a second arrive at random, waiting counts most on "
            f"{LABELS[most]}: the {NINETY[name]} is {duration_us(due)} from when an operation was due and "
            f"{duration_us(sent)} from when it was sent.",
            f"The lowest from when it was due is {LABELS[quickest]}'s, {duration_us(waits[quickest][0])}.",
            *behind,
        ]
    )


@_claim("Warm-up:", "warm_up")
def warm_up(by_store: Mapping[str, Sequence[float]]) -> str:
    """How much longer operations took right after loading than at the end of the warm-up."""
    times = {
        store: series[0] / sorted(series[len(series) // 2 :])[len(series) // 4]
        for store, series in by_store.items()
        if len(series) >= 4
    }
    if not times:
        raise Missing("comparison: too few operations before the first block")
    least, most = (of(times, key=lambda store: times[store]) for of in (min, max))
    where = f", least on {LABELS[least]} and most on {LABELS[most]}" if least != most else ""
    return (
        f"The first operations took {span(list(times.values()))} times as long as those in the second half "
        f"of the warm-up{where}."
    )


@_claim("Failed operations:")
def errors(data: Mapping[str, Any]) -> str:
    """How many operations failed."""
    failed = {store: number for store, number in data["errors"].items() if number}
    done = sum(data["operations"].values())
    if not failed:
        return f"None of {count(done)} timed operations failed."
    named = [f"{plural(number, 'operation')} on {LABELS[store]}" for store, number in failed.items()]
    whole = count(done + sum(failed.values()))
    return f"Of {whole} timed operations {join(named)} failed; they are in no figure."


@_claim("Time of the comparison:", "seconds")
def duration(seconds: float) -> str:
    """How long measuring took."""
    return f"The comparison was measured in {duration_s(seconds)}."


def _ratio(data: Mapping[str, Any], operation: str, store: str, against: str) -> dict[str, Any]:
    """The test of two stores, its ratio turned so that it is ``store`` over ``against``."""
    for row in having(data["ratios"], tier="relaxed", mix=MIX, operation=operation):
        if {row["store"], row["against"]} == {store, against}:
            turned = row["store"] != store
            return {"ratio": 1 / row["ratio"] if turned else row["ratio"], "shown": row["shown"]}
    raise KeyError(f"no test of {store} against {against}")
