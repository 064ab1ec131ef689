"""When a migration does what, and a random moment for a kill in it."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from redis import Redis

from helpers.errors import HelpersError
from helpers.trials.mover import DONE, OVER, PHASES, VERIFYING, Mover, Standing, look

BEFORE = 0.1
"""This part of the moments lies before a run holds its lease: until then it has only looked."""


def watch(start: Callable[[], Mover], client: Redis, rows: int) -> dict[str, float]:
    """When a migration that nobody disturbs begins and ends what it does, in seconds after its start.

    Args:
        start: starts it.
        client: of its target, which is emptied first; it decodes responses.
        rows: of its source.

    Returns:
        ``begun_s`` (it holds the lease), ``loaded_s``, ``verified_s`` (it has given the lease back) and
        ``ended_s``.

    Raises:
        HelpersError: it did not succeed.
    """
    client.flushall()
    empty = look(client)
    seen: dict[str, float] = {}
    with start() as mover:
        while mover.running:
            now = look(client)
            if now.lease:
                seen.setdefault("begun", mover.age_s)
            seen.setdefault(now.phase(empty, rows), mover.age_s)
            time.sleep(0.001)
        ended_s, ended = mover.age_s, mover.wait()
    if ended.code != DONE:
        raise HelpersError(f"the undisturbed migration ended with {ended.code}: {ended.said}")

    def first(*names: str) -> float:
        return min((seen[name] for name in names if name in seen), default=ended_s)

    return {
        "begun_s": first("begun", *PHASES[1:]),
        "loaded_s": first(VERIFYING, OVER),
        "verified_s": first(OVER),
        "ended_s": ended_s,
    }


def middle(watched: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The medians of what ``watch`` saw several times."""
    return {name: median(times[name] for times in watched) for name in watched[0]}


@dataclass(frozen=True)
class Moment:
    """So many seconds after a run has taken its lease (before it, when negative), or after it has loaded."""

    seconds: float
    after: str = "lease"


def draw(
    chance: random.Random, times: Mapping[str, float], rows: int, before: Standing, *, late: bool = False
) -> Moment:
    """A moment for a kill, uniform over the time in which a run works, or only over its verification.

    It counts from the lease because the start of an interpreter takes longer one time than another. A run
    that finds rows committed has less to load, but has to compare them, which takes about as long as
    verifying.

    Args:
        chance: where the number comes from.
        times: of an undisturbed run, as ``watch`` gives them.
        rows: of the source.
        before: what the run finds.
        late: only over the verification.
    """
    verifying = times["verified_s"] - times["loaded_s"]
    if late:
        return Moment(chance.uniform(0, verifying), "load")
    left = 1 - min(before.rows / rows, 1)
    work = left * (times["loaded_s"] - times["begun_s"]) + verifying * (2 if before.rows else 1)
    return Moment(chance.uniform(-BEFORE * work / (1 - BEFORE), work))


def wait(mover: Mover, client: Redis, before: Standing, begun_s: float, moment: Moment) -> None:
    """Wait until a running migration has come to a moment, or has ended.

    Args:
        mover: the migration.
        client: of its target.
        before: what it found.
        begun_s: when runs usually take their lease, in seconds after their start.
        moment: as ``draw`` gives it.
    """

    def come() -> bool:
        now = look(client)
        if moment.after == "load":
            return now.status == "complete" and now.state != before.state
        return now.lease not in (None, before.lease)

    if moment.seconds >= 0:
        while mover.running and not come():
            time.sleep(0.001)
        begun_s = mover.age_s
    mover.sleep_until(begun_s + moment.seconds)
