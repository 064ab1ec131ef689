"""Why leave PostgreSQL? What each other store gains and loses against staying."""

from collections.abc import Mapping, Sequence
from typing import Any

from helpers.comparison.summary import busiest, by_core
from helpers.comparison.workload import BASE, IN_WORDS, MIX, OPERATIONS, READS, TIERS
from helpers.report import claim
from helpers.results import Missing, having
from helpers.settings import LABELS
from helpers.text import join, plural, three

LEVEL = "shows no difference in time"
WRITES = [operation for operation in OPERATIONS if operation not in READS]

_claim = claim.from_result("comparison")


@_claim("What leaving PostgreSQL gains and loses was")
def gains_and_losses(data: Mapping[str, Any]) -> str:
    """For each store the operations whose median is shown to be shorter or longer than PostgreSQL's, in both
    tiers of durability, and what a processor second of its server does.
    """
    others = [store for store in data["counts"] if store != BASE]
    if BASE not in data["counts"] or not others:
        raise Missing("comparison: not measured beside PostgreSQL")
    sentences = [
        f"{LABELS[store]} {'; '.join(_parts(data, store)) or 'cannot be compared'}." for store in others
    ]
    return (
        f"Against staying with PostgreSQL (medians of one client, {MIX} mix; below 1 is shorter): "
        f"{' '.join(sentences)} All give up what no figure shows: PostgreSQL refuses an activity or an order "
        "whose user or product does not exist."
    )


def _parts(data: Mapping[str, Any], store: str) -> list[str]:
    relaxed, strict = TIERS
    parts = _exchanged(data, store, relaxed, OPERATIONS)
    if flushed := _exchanged(data, store, strict, WRITES):
        parts.append(f"with every write on disk first it {', '.join(flushed)}")
    return parts + _of_a_processor(data, store)


def _exchanged(data: Mapping[str, Any], store: str, tier: str, operations: Sequence[str]) -> list[str]:
    """Gains, losses and what is level in one tier, empty where nothing was tested."""
    found: dict[str, list[str]] = {"gains time": [], "loses time": [], LEVEL: []}
    for operation in operations:
        for row in having(data["ratios"], tier=tier, mix=MIX, operation=operation):
            if {row["store"], row["against"]} != {store, BASE}:
                continue
            times = row["ratio"] if row["store"] == store else 1 / row["ratio"]
            if row["shown"]:
                found["gains time" if times < 1 else "loses time"].append(
                    f"{IN_WORDS[operation]} ({three(times)} times)"
                )
            else:
                found[LEVEL].append(IN_WORDS[operation])
    return [f"{what} to {join(named)}" for what, named in found.items() if named]


def _of_a_processor(data: Mapping[str, Any], store: str) -> list[str]:
    """Operations from a processor second of its server, with the most clients, against PostgreSQL's.

    It does not depend on how fast the clients are, as a rate would.
    """
    rates = by_core(data["throughput"])
    if not {store, BASE} <= rates.keys():
        return []
    mine, base = rates[store], rates[BASE]
    much = f"{three(mine.value / base.value)} times the operations"
    clients = plural(busiest(data["throughput"])[store]["clients"], "client")
    told = "no difference shown in operations" if mine.overlaps(base) else much
    return [f"from a processor second of the server, with {clients}: {told}"]
