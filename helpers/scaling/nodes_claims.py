"""Sentences on several nodes, computed from the result ``nodes``."""

from collections.abc import Mapping
from typing import Any

from helpers.report import claim
from helpers.results import Missing
from helpers.scaling.nodes_schemas import PARTS
from helpers.scaling.tables import CASES, errors_text, measured
from helpers.text import count, duration_s, duration_us, exact, join, plural, span

_claim = claim.from_result("nodes")


def _lost(found: Mapping[str, Any]) -> str:
    """How many acknowledged writes were lost: ``none of 12 acknowledged writes was lost``."""
    whole, lost = found["acknowledged"], found["lost"]
    if not whole:
        return "no write was acknowledged"
    if not lost:
        return f"none of {plural(whole, 'acknowledged write')} was lost"
    return f"{count(lost)} of {plural(whole, 'acknowledged write')} {'was' if lost == 1 else 'were'} lost"


def _times(number: int) -> str:
    """``once``, ``twice``, ``5 times``; ``never`` for 0."""
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{count(number)} times")


@_claim("Several nodes were")
def summary(data: Mapping[str, Any]) -> str:
    """Which settings lost acknowledged writes, over all parts, and which parts are not there."""
    parts = measured(data)
    if not parts:
        raise Missing("nodes: no part was measured")
    settings = {f"{PARTS[part]} ({tier})": t for part, d in parts.items() for tier, t in d["tiers"].items()}
    losing = {name: found for name, found in settings.items() if found["lost"]}
    opening = f"Nodes were killed under {plural(len(settings), 'setting')} of {plural(len(parts), 'set-up')}."
    if not losing:
        whole = sum(found["acknowledged"] for found in settings.values())
        loss = f"None of {plural(whole, 'acknowledged write')} was lost."
    else:
        kept = len(settings) - len(losing)
        rest = f"; the other {count(kept)} lost none" if kept else ""
        loss = f"Acknowledged writes were lost under {count(len(losing))} of them{rest}."
        loss += f" These are {join(list(losing))}."
    absent = [name for part, name in PARTS.items() if part not in parts]
    return f"{opening} {loss}{f' Not measured: {join(absent)}.' if absent else ''}"


@_claim("Redis with a replica was", "redis_replica")
def replica_killed(data: Mapping[str, Any]) -> str:
    """What the death of a primary costs while its replica keeps up: loss and outage in each tier."""
    cases, outages = data["found"]["cases"]["killed"], data["found"]["outages_s"]
    kills = len(next(iter(outages.values())))
    sentences = [
        f"With {tier}, {_lost(found)}, and nothing was acknowledged for {span(outages[tier], duration_s)}."
        for tier, found in cases.items()
    ]
    return (
        f"The primary was killed {_times(kills)} while its replica kept up, and a command promoted the "
        f"replica at once. {' '.join(sentences)}"
    )


@_claim("Redis with a replica that was cut off was", "redis_replica")
def replica_cut_off(data: Mapping[str, Any]) -> str:
    """What is lost when the primary dies some time after the link to its replica was cut."""
    found, cases = data["found"], data["found"]["cases"]["cut off"]
    sentences = []
    for tier, one in cases.items():
        failed = one["writes"] - one["acknowledged"]
        was = "was" if failed == 1 else "were"
        more = f" ({plural(failed, 'write')} {was} not acknowledged)" if failed else ""
        sentences.append(f"With {tier}, {_lost(one)}{more}.")
    alone = found["only_on_old_primary"]["cut off"]
    held = [
        f"{plural(alone[tier], 'write')} ({tier})" for tier in cases if cases[tier]["lost"] and alone[tier]
    ]
    back = (
        f" When the killed primary was back, it alone still held {join(held)}, and gave them up to become "
        "the replica."
        if held
        else ""
    )
    return (
        f"The link to the replica was cut {exact(duration_s(found['cut_s']))} before the primary was killed. "
        f"{' '.join(sentences)}{back}"
    )


@_claim("The lag of Redis's replica was", "redis_replica")
def replica_lag(data: Mapping[str, Any]) -> str:
    """How far the replica is behind, and what waiting for it adds, while nothing happens."""
    lag, latency = data["found"]["lag_bytes"], data["found"]["latency_ms"]
    medians = [f"{duration_us(1000 * took['median'])} ({tier})" for tier, took in latency.items()]
    return (
        f"While nothing happened, the replica was at most {plural(round(lag['max']), 'byte')} behind "
        f"(median {count(lag['median'])}); the median write took {join(medians)}."
    )


@_claim("min-replicas-to-write was", "redis_replica")
def replicas_wanted(data: Mapping[str, Any]) -> str:
    """What a primary that wants a replica answers when it has none."""
    words = data["found"]["refused_alone"]
    if not words:
        return "With min-replicas-to-write 1 and its replica dead, the primary still took writes."
    return (
        f"With min-replicas-to-write 1 and its replica dead, the primary refuses writes: {words.rstrip('.')}."
    )


@_claim("Moving slots of a Redis Cluster was", "redis_cluster")
def slots_moved(data: Mapping[str, Any]) -> str:
    """What a client meets while slots move to another master, and whether keys were lost."""
    move, before = data["found"]["move"], data["found"]["keys_before"]
    case = next(iter(data["found"]["cases"]["slots moved"].values()))
    gone, failed = data["found"]["keys_before_lost"], case["writes"] - case["acknowledged"]
    met = join([f"{word} {_times(move[word])}" for word in ("MOVED", "ASK", "TRYAGAIN")])
    errors = f"; {plural(failed, 'write')} failed ({errors_text(case)})" if failed else "; no write failed"
    earlier = (
        f"none of the {count(before)} keys from before was lost"
        if not gone
        else f"{count(gone)} of the {count(before)} keys from before were lost"
    )
    return (
        f"{plural(move['slots'], 'slot')} with {plural(move['keys'], 'key')} moved in "
        f"{duration_s(move['seconds'])} while a client wrote. The nodes answered {met}, which the driver "
        f"follows{errors}. Of what was acknowledged, {_lost(case)}, and {earlier}. The longest time without "
        f"an acknowledgement was {duration_s(case['outage_s'])}."
    )


@_claim("The failover of a Redis Cluster was", "redis_cluster")
def cluster_failover(data: Mapping[str, Any]) -> str:
    """How long a replica takes to step in, what that means for its keys and for the others', and loss."""
    kills = data["found"]["kills"]
    sentences = []
    for tier in dict.fromkeys(kill["tier"] for kill in kills):
        of_tier = [kill for kill in kills if kill["tier"] == tier]
        failed, others = (sum(kill[name] for kill in of_tier) for name in ("others_failed", "others"))
        outages = span([kill["outage_s"] for kill in of_tier], duration_s)
        longest = max(kill["others_outage_s"] for kill in of_tier)
        sentences.append(
            f"With {tier}, keys of the killed master could not be written for {outages}, and "
            f"{_lost(data['tiers'][tier])}. Of {plural(others, 'write')} to other masters "
            f"{count(failed) if failed else 'none'} failed; at most {duration_s(longest)} passed without an "
            "acknowledgement."
        )
    return (
        f"A master was killed {_times(len(kills))}, and its replica took over by a vote of the others. "
        f"{' '.join(sentences)}"
    )


@_claim("The model's order in a Redis Cluster was", "redis_cluster")
def order_in_cluster(data: Mapping[str, Any]) -> str:
    """Whether the model's order transaction is taken by a cluster, and which names of keys change that."""
    ways = data["found"]["order"]
    taken = [way["way"] for way in ways if not way["driver"] and not way["server"]]
    refused = {way["way"]: way["server"] or way["driver"] for way in ways if way["way"] not in taken}
    words = join(list(dict.fromkeys(refused.values())), "or")
    if not refused:
        return f"A cluster takes the order's transaction with keys named {join(taken)}: none is refused."
    told = f"A cluster refuses the order's transaction with keys named {join(list(refused))}."
    answers = f"It answers {words.rstrip('.')}."
    rest = f"It takes it with keys named {join(taken)}." if taken else "No way of naming them is taken."
    return f"{told} {answers} {rest}"


@_claim("MongoDB's replica set was", "mongodb_set")
def mongodb(data: Mapping[str, Any]) -> str:
    """Outage in each case over the write concerns, and which of these lost writes; what was rolled back."""
    sentences = []
    for case, concerns in data["found"]["cases"].items():
        longest = span([one["outage_s"] for one in concerns.values()], duration_s)
        losing = [f"with {name} {_lost(one)}" for name, one in concerns.items() if one["lost"]]
        sentences.append(
            f"When {CASES.get(case, case)}, nothing was acknowledged for {longest}; "
            f"{join(losing) or 'no acknowledged write was lost'}."
        )
    back = data["found"]["rolled_back"]
    rolled = (
        f"Members that came back had set {plural(back, 'document')} aside in rollback files{_rest(data)}."
        if back
        else "No member that came back had set a document aside in a rollback file."
    )
    return " ".join([*sentences, rolled])


def _rest(data: Mapping[str, Any]) -> str:
    """How many of the lost writes are not in the rollback files, where there are more of them."""
    lost = sum(one["lost"] for one in data["tiers"].values())
    gone = lost - data["found"]["rolled_back"]
    return f"; {count(gone)} of the {count(lost)} lost writes are in none" if gone > 0 else ""


@_claim("Cassandra's ring was", "cassandra_ring")
def cassandra(data: Mapping[str, Any]) -> str:
    """What each consistency level acknowledged and lost while nodes died, and when a quorum was refused."""
    sentences = [
        f"At {level} {count(found['writes'] - found['acknowledged'])} of {plural(found['writes'], 'write')} "
        f"failed{f' ({errors_text(found)})' if found['errors'] else ''}, and {_lost(found)}. The longest "
        f"time without an acknowledgement was {duration_s(found['outage_s'])}."
        for level, found in data["tiers"].items()
    ]
    after = data["found"]["refused_after_s"]
    sentences.append(
        "No write was refused as Unavailable."
        if after is None
        else f"Writes at QUORUM were refused as Unavailable {duration_s(after)} after too few nodes were "
        "left."
    )
    return " ".join(sentences)


@_claim("What comes back to Cassandra's nodes was", "cassandra_ring")
def cassandra_returned(data: Mapping[str, Any]) -> str:
    """What nodes that were away had missed, and how much of it was handed over by itself."""
    sentences = [
        f"node {one['node']} was away for {duration_s(one['away_s'])} and had missed "
        f"{plural(one['missed'], 'write')}, of which {count(one['missed'] - one['still_missed'])} came by "
        f"themselves{_within(one)}"
        for one in data["found"]["returned"]
    ]
    if not sentences:
        return "No node of Cassandra's ring came back."
    lacking = data["found"]["lacking"]
    before, after = (sum(lacking[when]) for when in ("before_reading_at_all", "after_reading_at_all"))
    return (
        f"Started again, {'; '.join(sentences)}. Before all rows were read at ALL, the nodes lacked "
        f"{count(before)} acknowledged writes by themselves, and {count(after)} afterwards."
    )


def _within(one: Mapping[str, Any]) -> str:
    came = one["missed"] > one["still_missed"]
    return f" within {duration_s(one['handed_over_s'])}" if came else ""


@_claim("Several nodes were")
def not_told(data: Mapping[str, Any]) -> str:
    """What one machine cannot tell."""
    return f"These measurements do not tell {'; '.join(data['not_told'])}."
