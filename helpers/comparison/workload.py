"""What all stores are given: operations, mixes, tiers of durability, and the seeded stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from helpers.settings import ACTIVITY_TYPES

OPERATIONS = ("read_profile", "last_activities", "append_activity", "place_order")
"""The operations of a store that are timed, by name, in the order in which they are shown."""

TITLES: Mapping[str, str] = {
    "read_profile": "Read profile",
    "last_activities": "Read last 20 activities",
    "append_activity": "Append activity",
    "place_order": "Place order",
}
"""What operations are called above charts."""

IN_WORDS: Mapping[str, str] = {
    "read_profile": "read a profile",
    "last_activities": "read the last 20 activities",
    "append_activity": "append an activity",
    "place_order": "place an order",
}
"""What they are called in sentences, after "to"."""

READS = ("read_profile", "last_activities")

MIXES: Mapping[str, Mapping[str, float]] = {
    "95/5": dict(zip(OPERATIONS, (0.475, 0.475, 0.025, 0.025), strict=True)),
    "50/50": dict(zip(OPERATIONS, (0.25, 0.25, 0.25, 0.25), strict=True)),
}
"""Share of each operation, by the mix's name (percent reads / percent writes)."""

BASE = "postgres"
"""The store that the others are compared against: where the data are before anyone leaves."""

TIERS = ("relaxed", "strict")
"""Durability: an acknowledged write may be lost with the machine (relaxed), or is on disk first (strict)."""

MIX = "50/50"
"""The mix of which sentences, tables and charts speak where they name no other."""

ZIPF_EXPONENT = 0.99
"""How uneven users are: the constant of YCSB (Cooper and others, SoCC 2010), where a few users do most
of the work.
"""

MISS_SHARE = 0.01
"""Share of reads that ask for a user who does not exist."""

LIMIT = 20


class Operation(NamedTuple):
    """One operation of a store, with its arguments."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Population:
    """What the stores hold before the stream starts: how many of each, and the latest date among them."""

    users: int
    products: int
    activities: int
    orders: int
    latest: datetime


class Workload:
    """A source of streams; the same population, seed and calls give the same streams.

    New activities and orders get the next free id and a date one millisecond after the one before, so that
    the order of dates is the order of the stream.
    """

    def __init__(self, population: Population, *, seed: int) -> None:
        self.population = population
        self._random = np.random.default_rng(seed)
        self._activity_id = population.activities
        self._order_id = population.orders
        self._date = population.latest
        # Which users are busy is drawn too, so that the busy ones are not those with the lowest ids.
        self._by_rank = self._random.permutation(np.arange(1, population.users + 1))

    def stream(self, count: int, mix: str) -> list[Operation]:
        """A stream for one client.

        Args:
            count: number of operations.
            mix: a name in ``MIXES``.
        """
        return self.streams(count, mix, clients=1)[0]

    def streams(self, count: int, mix: str, *, clients: int) -> list[list[Operation]]:
        """One stream for each client; no two clients have a user in common.

        So what one client reads does not depend on how far the others are, and answers stay comparable
        between stores however the threads interleave.

        Args:
            count: number of operations of all clients together.
            mix: a name in ``MIXES``.
            clients: number of clients; at most as many as there are users.
        """
        shares = MIXES[mix]
        names = self._random.choice(
            list(shares), size=(clients, -(-count // clients)), p=list(shares.values())
        )
        return [self._for_users(row, self._by_rank[client::clients]) for client, row in enumerate(names)]

    def _for_users(self, names: np.ndarray, users: np.ndarray) -> list[Operation]:
        chosen = users[zipfian(self._random, len(users), len(names))]
        missing = self._random.random(len(names)) < MISS_SHARE
        products = self._random.integers(1, self.population.products + 1, len(names))
        details = self._random.integers(0, 20, len(names))
        return [
            self._operation(str(name), int(user), bool(miss), int(product), int(detail))
            for name, user, miss, product, detail in zip(
                names, chosen, missing, products, details, strict=True
            )
        ]

    def _operation(self, name: str, user: int, miss: bool, product: int, detail: int) -> Operation:
        if name in READS:
            user += self.population.users if miss else 0
            return Operation(name, (user,) if name == "read_profile" else (user, LIMIT))
        self._date += timedelta(milliseconds=1)
        if name == "append_activity":
            self._activity_id += 1
            kind = ACTIVITY_TYPES[detail % len(ACTIVITY_TYPES)]
            return Operation(name, (self._activity_id, user, kind, self._date))
        self._order_id += 1
        return Operation(name, (self._order_id, user, product, self._date, 1 + detail % 5))


def zipfian(
    random: np.random.Generator, size: int, count: int, exponent: float = ZIPF_EXPONENT
) -> np.ndarray:
    """Ranks 0..size-1 where rank k is drawn with a probability proportional to ``1 / (k + 1)**exponent``.

    Args:
        random: where they come from.
        size: how many different ones there are.
        count: how many are drawn.
        exponent: 0 for all alike; the larger, the more uneven.
    """
    weights = np.arange(1, size + 1, dtype=float) ** -exponent
    return np.searchsorted(np.cumsum(weights) / weights.sum(), random.random(count), side="right").clip(
        0, size - 1
    )


def arrivals(random: np.random.Generator, rate_per_s: float, seconds: float) -> np.ndarray:
    """Times in seconds from the start at which requests of a Poisson process arrive, in order.

    Args:
        random: where they come from.
        rate_per_s: how many arrive in a second, on average.
        seconds: as many arrive as this length has on average.
    """
    count = max(1, round(rate_per_s * seconds))
    return np.cumsum(random.exponential(1 / rate_per_s, count))
