"""Reads of one activity each, in rounds, with what the server read for them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import psutil

from helpers.comparison import loops, statistics
from helpers.comparison.store import Store
from helpers.comparison.workload import Operation
from helpers.scaling.summary import SHARES

SEED = 13
HOT_USERS = 200
ROUND_READS = 200


class Reader:
    """Reads of one activity each, in rounds of each kind, with what the server read for them."""

    def __init__(self, store: Store, pid: int, users: int, into_cache: Callable[[], int]) -> None:
        self._store, self._users, self._into_cache = store, users, into_cache
        self._random = np.random.default_rng(SEED)
        self._hot = list(range(users - min(HOT_USERS, users) + 1, users + 1))
        self._process = psutil.Process(pid)
        self._times: dict[str, list[list[float]]] = {}

    def warm(self) -> None:
        """Read the few users of ``inside``, so that they are in memory."""
        loops.closed(self._store, [_reads(self._hot)])

    def rounds(self, parts: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
        """Each part in every round, in turns, after what makes it ready."""
        moved: dict[str, list[tuple[int, int | None]]] = {name: [] for name in parts}
        self._times = {name: [] for name in parts}
        for number in range(rounds):
            names = list(parts)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                parts[name]()
                chosen = self._hot if name == "inside" else list(range(1, self._users + 1))
                users = self._random.choice(chosen, ROUND_READS, replace=len(chosen) < ROUND_READS)
                cache, disk = self._into_cache(), self._from_disk()
                run = loops.closed(self._store, [_reads(int(user) for user in users)])
                self._times[name].append(run.latency_us)
                after = self._from_disk()
                moved[name].append(
                    (self._into_cache() - cache, None if disk is None or after is None else after - disk)
                )
        return {name: self._row(name, moved[name]) for name in parts}

    def ratios(self, base: str) -> dict[str, Any]:
        """How many times longer the median of each other part takes, rounds paired; None with one round."""
        medians = {name: [float(np.median(us)) for us in of] for name, of in self._times.items()}
        found = {}
        for name in medians:
            if name != base:
                ratio = statistics.log_ratio(medians[name], medians[base])
                found[name] = None if ratio is None else ratio.as_dict() | {"p": ratio.p}
        return found

    def _row(self, name: str, moved: list[tuple[int, int | None]]) -> dict[str, Any]:
        samples = np.concatenate(self._times[name])
        disk = [part for _, part in moved]
        return {
            "n": len(samples),
            "percentiles_us": statistics.describe(self._times[name], SHARES),
            "into_cache_bytes": sum(part for part, _ in moved),
            "from_disk_bytes": None if None in disk else sum(part or 0 for part in disk),
        }

    def _from_disk(self) -> int | None:
        """Bytes that the kernel fetched from the disk for the server so far, None where it does not say."""
        try:
            return int(self._process.io_counters().read_bytes)
        except (psutil.Error, AttributeError):
            return None


def _reads(users: Iterable[int]) -> list[Operation]:
    return [Operation("last_activities", (user, 1)) for user in users]
