"""Why leave PostgreSQL? What each other store gains and loses against staying."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from helpers.comparison.summary import by_core
from helpers.comparison.workload import BASE, IN_WORDS, MIX, OPERATIONS, READS, TIERS
from helpers.report import claim
from helpers.results import Missing, Results, having
from helpers.settings import LABELS
from helpers.text import NOT_AVAILABLE, join, known, three

QUICKER, SLOWER, LEVEL = "is quicker", "is slower", "shows no difference in time"
VERBS = {QUICKER: "are quicker", SLOWER: "are slower", LEVEL: "show no difference in time"}
"""What is said of one store, and of several."""
WRITES = [operation for operation in OPERATIONS if operation not in READS]

_claim = claim.from_result("comparison")


@_claim("What leaving PostgreSQL gains and loses was")
def gains_and_losses(data: Mapping[str, Any]) -> str:
    """For each store the operations whose median is shown to be shorter or longer than PostgreSQL's."""
    others = _others(data)
    relaxed = TIERS[0]
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for store in others:
        alike.setdefault(_exchanged(data, store, relaxed, OPERATIONS), []).append(LABELS[store])
    sentences = [_told(labels, found) for found, labels in alike.items()]
    return (
        f"Against staying with PostgreSQL (medians of one client, {MIX} mix): {' '.join(sentences)} "
        "All give up what no figure shows: PostgreSQL refuses an activity or an order whose user or product "
        "does not exist."
    )


def table(results: Results) -> pd.DataFrame:
    """A row for each store: its medians over PostgreSQL's in both tiers, where a difference is shown, and the
    operations of a processor second of its server over those of PostgreSQL's.
    """
    data = results.require("comparison", "ratios")
    others = _others(data)
    relaxed, strict = TIERS
    measured = [(relaxed, operation) for operation in OPERATIONS] + [(strict, one) for one in WRITES]
    return pd.DataFrame(
        {"store": LABELS[store]}
        | {
            f"{IN_WORDS[operation]}{', strict' if tier == strict else ''}": known(
                _times(data, store, tier, operation), _written
            )
            for tier, operation in measured
        }
        | {"operations of a processor second": _of_a_processor(data, store)}
        for store in others
    )


def _others(data: Mapping[str, Any]) -> list[str]:
    """The stores that were measured beside PostgreSQL.

    Raises:
        Missing: none, or not PostgreSQL.
    """
    others = [store for store in data["counts"] if store != BASE]
    if BASE not in data["counts"] or not others:
        raise Missing("comparison: not measured beside PostgreSQL")
    return others


def _times(data: Mapping[str, Any], store: str, tier: str, operation: str) -> tuple[float, bool] | None:
    """How many times PostgreSQL's median a store's is and whether a difference is shown; None untested."""
    for row in having(data["ratios"], tier=tier, mix=MIX, operation=operation):
        if {row["store"], row["against"]} == {store, BASE}:
            return (row["ratio"] if row["store"] == store else 1 / row["ratio"]), row["shown"]
    return None


def _written(found: tuple[float, bool]) -> str:
    return three(found[0]) if found[1] else f"{three(found[0])}, not shown"


def _exchanged(
    data: Mapping[str, Any], store: str, tier: str, operations: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """(one of ``VERBS``, operations that were tested) of gains, losses and what is level in one tier."""
    found: dict[str, list[str]] = {verb: [] for verb in VERBS}
    for operation in operations:
        if tested := _times(data, store, tier, operation):
            times, shown = tested
            what = LEVEL if not shown else QUICKER if times < 1 else SLOWER
            found[what].append(IN_WORDS[operation])
    return tuple((what, join(named)) for what, named in found.items() if named)


def _told(labels: Sequence[str], found: Sequence[tuple[str, str]]) -> str:
    """A sentence on stores for which the same was found."""
    one = len(labels) == 1
    words = [f"{what if one else VERBS[what]} to {named}" for what, named in found]
    again = "; it " if one else "; they "
    return f"{join(labels)} {again.join(words) or 'cannot be compared'}."


def _of_a_processor(data: Mapping[str, Any], store: str) -> str:
    """Operations from a processor second of its server, with the most clients, over PostgreSQL's.

    It does not depend on how fast the clients are, as a rate would.
    """
    rates = by_core(data["throughput"])
    if not {store, BASE} <= rates.keys():
        return NOT_AVAILABLE
    return _written((rates[store].value / rates[BASE].value, not rates[store].overlaps(rates[BASE])))
