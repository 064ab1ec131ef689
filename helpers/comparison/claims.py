"""Sentences on the comparison: answers, times, rates, and what limited them."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from helpers.comparison.decision import best
from helpers.comparison.statistics import Interval
from helpers.comparison.summary import BUSY, busiest, by_core
from helpers.comparison.tables import medians_us, shorter_than_null, with_ends
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


@_claim("Fastest store:")
def fastest(data: Mapping[str, Any]) -> str:
    """The store with the lowest median for each operation, where a difference to the others is shown."""
    by_store: dict[str, list[str]] = {}
    for operation in OPERATIONS:
        medians = medians_us(data, operation)
        first, *others = sorted(medians, key=lambda store: medians[store])
        tests = {store: _ratio(data, operation, store, first) for store in others}
        longer = [
            f"{three(test['ratio'])} times as long on {LABELS[store]}"
            for store, test in tests.items()
            if test["shown"]
        ]
        level = [LABELS[store] for store, test in tests.items() if not test["shown"]]
        notes = [*longer, *[f"no difference shown to {join(level)}"] * bool(level)]
        told = f" ({duration_us(medians[first])}; {', '.join(notes)})" if longer else ""
        by_store.setdefault(first if longer else "", []).append(f"to {IN_WORDS[operation]}{told}")
    sentences = [
        f"{LABELS[store]} has the lowest median {join(found)}"
        if store
        else f"no store is shown to be fastest {join(found)}"
        for store, found in by_store.items()
    ]
    return f"With one client and the {MIX} mix, {'; '.join(sentences)}."


@_claim("Differences between stores:", "ratios")
def differences(tests: Sequence[Mapping[str, Any]]) -> str:
    """In how many of the tests a difference is shown after Holm's correction, and where it is not."""
    level = [test for test in tests if not test["shown"]]
    blocks, shown = min(test["blocks"] for test in tests), len(tests) - len(level)
    opening = (
        f"Of {plural(len(tests), 'paired t-test')} on the logarithms of ratios of block medians (each pair "
        f"of stores, operation, mix and tier; the unit is the block, at least {count(blocks)} each; Holm's "
        f"correction over all), {shown} {'shows' if shown == 1 else 'show'} a difference"
    )
    if not level:
        return f"{opening}."
    named = [
        f"{LABELS[t['store']]} and {LABELS[t['against']]} to {IN_WORDS[t['operation']]} ({t['mix']}, "
        f"{t['tier']})"
        for t in level
    ]
    listed = join(named[:4]) if len(named) <= 4 else f"{', '.join(named[:3])} and {len(named) - 3} more"
    return f"{opening}. No difference is shown between {listed}."


@_claim("Slowest operations:")
def tails(data: Mapping[str, Any]) -> str:
    """How far the 99th percentile lies above the median in each store."""
    sentences = []
    for store in data["counts"]:
        spread = [
            (found["p99"]["value"] / found["p50"]["value"], row["operation"])
            for row in having(data["latency"], store=store, tier="relaxed", mix=MIX)
            if (found := row["percentiles_us"])["p99"] and found["p50"]
        ]
        if spread:
            most, operation = max(spread)
            sentences.append(f"{three(most)} times the median on {LABELS[store]} (to {IN_WORDS[operation]})")
    if not sentences:
        return "Slowest operations: not measured with enough samples for a 99th percentile."
    return f"The 99th percentile is at most {join(sentences)}."


@_claim("Share of the driver:")
def driver_share(data: Mapping[str, Any]) -> str:
    """Which part of an operation's median a null operation takes, and where it is no floor."""
    floors = data["floors"]
    echo = with_ends(floors["echo_us"]["p50"])
    sentences = []
    for store, null in floors["null_op_us"].items():
        named = f"{LABELS[store]}'s null operation ({floors['null_op_cost'][store]['asks']})"
        takes = f"{named} takes {with_ends(null['p50'])}"
        above = shorter_than_null(data, store)
        if above:
            sentences.append(
                f"{takes}, no less than to {join([IN_WORDS[one] for one in above])}: it is no floor"
            )
        else:
            shares = [null["p50"]["value"] / medians_us(data, operation)[store] for operation in OPERATIONS]
            sentences.append(
                f"{takes}, which is {span([100 * share for share in shares])} % of the median of an operation"
            )
    again = [
        f" In the cross-check, at another time and in turns with {row['program']}, {LABELS[row['store']]}'s "
        f"takes {with_ends(row['ours_us']['p50'])}."
        for row in data.get("cross_check", {}).get("rows", ())
        if (row["operation"], row["clients"]) == ("null", 1)
    ]
    return (
        f"With one client, in turns with the other stores, a bare TCP round trip takes {echo}; "
        f"{'; '.join(sentences)}.{''.join(again)}"
    )


@_claim("Time of an operation:", "cost")
def cost(by_store: Mapping[str, Any]) -> str:
    """Where the time of an operation goes: the client's thread, waiting, and the server meanwhile."""
    sentences = []
    for store, mixes in by_store.items():
        of = mixes[MIX]
        server = of["server_cpu_us"]
        if server is None:
            meanwhile = "the server's processor time is unknown"
        else:
            meanwhile = f"the server uses {duration_us(server)} of processor time"
            if server > of["rest_us"]:
                over = duration_us(server - of["rest_us"])
                meanwhile += f", at least {over} of it while other threads or the client work"
        sentences.append(
            f"{LABELS[store]} {duration_us(of['elapsed_us'])}, of which the asking thread is on a processor "
            f"for {duration_us(of['asking_us'])} and waits for {duration_us(of['rest_us'])}; {meanwhile}"
        )
    return f"One operation of one client takes on average ({MIX}): {'. '.join(sentences)}."


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
    sentences = []
    for store, many in crowd.items():
        one = alone[store]
        per_s = count(many["per_s"])
        if many["limit"] == "client":
            text = f"{LABELS[store]}: at least {per_s} per second, as the clients could send no more"
        elif _rate(one).overlaps(_rate(many)):
            text = f"{LABELS[store]}: no change shown ({count(one['per_s'])} and {per_s} per second)"
        else:
            change = many["per_s"] / one["per_s"]
            text = (
                f"{LABELS[store]} {'rises' if change > 1 else 'falls'} to {three(change)} times, from "
                f"{count(one['per_s'])} to {per_s} per second"
            )
        sentences.append(text)
    clients = next(iter(crowd.values()))["clients"]
    limits = [
        f"{words} ({join([LABELS[s] for s in found])})"
        for limit, words in LIMITED.items()
        if (found := [store for store, row in crowd.items() if row["limit"] == limit])
    ]
    return (
        f"From one client to {clients}: {'; '.join(sentences)}. With {plural(clients, 'client')} the limit "
        f"was {'; '.join(limits)}. {_first_by_rate(crowd)}{_others(rows)}"
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
        return "Nobody is called first by these rates: only where the server is the limit are they its own."
    first, *level = best({store: _rate(row) for store, row in crowd.items()})
    if level:
        named = join([LABELS[store] for store in (first, *level)])
        return f"No difference is shown between those that reach most, {named}."
    return f"{LABELS[first]} reaches most."


@_claim("Two ways to a rate:", "throughput")
def core_rates(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rate reached beside the one that a core of the server allows, and whether they agree."""
    crowd = busiest(rows)
    clients = next(iter(crowd.values()))["clients"]
    sentences = [f"{LABELS[store]} {_two_ways(row)}" for store, row in crowd.items()]
    return f"With {plural(clients, 'client')}: {'; '.join(sentences)}. {_first_by_core(rows)}"


def _two_ways(row: Mapping[str, Any]) -> str:
    """The rate reached and the one allowed, and how they stand to each other."""
    reached = f"reached {count(row['per_s'])} per second"
    core = row["core_per_s"]
    if core is None:
        return f"{reached}, and its server's processor time is not known"
    text = f"{reached}, and one core of its server allows {Interval.of(core).written(count)}"
    cores = three(row["server_busy_cores"])
    if row["limit"] != "server":
        why = {
            "client": "the clients could send no more",
            "machine": "all cores of the machine were in use",
            "waiting": "its clients waited for each answer",
        }[row["limit"]]
        return f"{text}; the two cannot agree: the server used {cores} cores, as {why}"
    ratio = row["per_s"] / (core["value"] * max(1.0, row["server_busy_cores"]))
    if abs(ratio - 1) <= AGREE:
        return f"{text}; with {cores} cores in use the two agree"
    return f"{text}; with {cores} cores in use the two do not agree ({three(ratio)} times)"


def _first_by_core(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whose server needs least processor time; nobody where the clients could not load one as the others."""
    crowd, allowed = busiest(rows), by_core(rows)
    if bound := [LABELS[store] for store, row in crowd.items() if row["limit"] == "client"]:
        return f"Nobody is called first, as the clients could not load {join(bound)} in full."
    if len(allowed) < len(crowd):
        return "Nobody is called first: not every server's processor time is known."
    first, *level = best(allowed)
    if level:
        named = join([LABELS[store] for store in (first, *level)])
        return f"No difference is shown between those whose core allows most, {named}."
    others = [
        f"{three(allowed[first].value / core.value)} times as many as one of {LABELS[store]}"
        for store, core in allowed.items()
        if store != first
    ]
    return f"A core of {LABELS[first]} allows most, {join(others)}."


KEPT = 0.95
"""Share of an offered rate from which on it counts as done."""


@_claim("Open loop:", "open_loop")
def open_loop(rows: Sequence[dict[str, Any]]) -> str:
    """What waiting adds to the service time at the highest rate that was offered to all stores."""
    rate = max(row["offered_per_s"] for row in rows)
    sentences = []
    for row in having(rows, offered_per_s=rate):
        name = "p99" if row["latency_us"]["p99"] else "p50"
        due, service = row["latency_us"][name]["value"], row["service_us"][name]["value"]
        kept = row["achieved_per_s"] >= KEPT * row["offered_per_s"]
        done = f", and only {count(row['achieved_per_s'])} per second were done (limit: {row['limit']})"
        late = "" if kept else done
        sentences.append(
            f"{LABELS[row['store']]} {duration_us(due)} from when it was due, {duration_us(service)} from "
            f"when it was sent ({name}){late}"
        )
    return f"At {count(rate)} operations per second arriving at random: {'; '.join(sentences)}."


@_claim("Warm-up:", "warm_up")
def warm_up(by_store: Mapping[str, Sequence[float]]) -> str:
    """How much longer operations took right after loading than at the end of the warm-up."""
    sentences = []
    for store, series in by_store.items():
        if len(series) >= 4:
            settled = sorted(series[len(series) // 2 :])[len(series) // 4]
            sentences.append(f"{three(series[0] / settled)} times as long on {LABELS[store]}")
    if not sentences:
        raise Missing("comparison: too few operations before the first block")
    return f"Against the second half of the warm-up, the first operations took {join(sentences)}."


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
