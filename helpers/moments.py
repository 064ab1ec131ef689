"""When a migration does what, and a random moment for a kill in it."""

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

from helpers import connections
from helpers.errors import HelpersError
from helpers.mover import DONE, LOADED, OVER, PHASES, VERIFYING, Mover, Standing, look

EARLIEST = 0.95
"""The first moment, as a part of the time until an undisturbed run touches the target: a start is dull."""
CAUGHT = ("complete", "reconciling")
"""What a status must be for the next run to catch up, and not only to go on."""


def learn(start: Callable[[], Mover], client: "connections.redis_py.Redis", runs: int) -> dict[str, float]:
    """When an undisturbed migration begins and ends what it does: medians in seconds after its start.

    Args:
        start: starts a migration.
        client: of its target, which is emptied before each run; it decodes responses.
        runs: how many are watched.

    Returns:
        ``begun_s`` (it holds the lease), ``loaded_s``, ``verified_s`` (it has given the lease back) and
        ``ended_s``.

    Raises:
        HelpersError: it did not succeed.
    """
    found = [_watch(start, client) for _ in range(runs)]
    return {name: median(times[name] for times in found) for name in found[0]}


def _watch(start: Callable[[], Mover], client: "connections.redis_py.Redis") -> dict[str, float]:
    client.flushall()
    empty = look(client)
    seen: dict[str, float] = {}
    with start() as mover:
        while mover.running:
            now = look(client)
            if now.lease:
                seen.setdefault("begun", mover.age_s)
            seen.setdefault(now.phase(empty), mover.age_s)
            time.sleep(0.001)
        ended_s, ended = mover.age_s, mover.wait()
    if ended.code != DONE:
        raise HelpersError(f"the undisturbed migration ended with {ended.code}: {ended.said}")

    def first(*names: str) -> float:
        return min((seen[name] for name in names if name in seen), default=ended_s)

    return {
        "begun_s": first("begun", *PHASES[1:]),
        "loaded_s": first(LOADED, VERIFYING, OVER),
        "verified_s": first(OVER),
        "ended_s": ended_s,
    }


def draw(
    chance: random.Random, times: Mapping[str, float], rows: int, before: Standing, *, changed: bool
) -> float:
    """A moment for a kill in seconds after the start, uniform over the time in which a run works.

    A run that finds rows committed has less to load; one that finds a load complete, or its source changed,
    has to catch up, which takes about as long as verifying.

    Args:
        chance: where the number comes from.
        times: of an undisturbed run, as ``learn`` gives them.
        rows: of the source.
        before: what the run finds.
        changed: whether the source has changed since.
    """
    spared = min(before.rows / rows, 1) * (times["loaded_s"] - times["begun_s"])
    more = times["verified_s"] - times["loaded_s"] if changed or before.status in CAUGHT else 0
    return chance.uniform(EARLIEST * times["begun_s"], times["verified_s"] - spared + more)
