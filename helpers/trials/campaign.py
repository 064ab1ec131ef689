"""Trials of the kill campaign: disturb a migration at a random moment, run it again, judge what is there."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.relational import population, redis_model
from helpers.servers import Scratch, connections
from helpers.trials import general, judge
from helpers.trials.mover import (
    DONE,
    START,
    STOPPED,
    Ended,
    Mover,
    Standing,
    draw_moment,
    look,
    medians,
    wait_for_moment,
    watch,
)


@dataclass(frozen=True)
class Case:
    """Tables and the model that they are moved by.

    Attributes:
        name: what results call it.
        model: the file; None for the course's.
        populate: makes and fills the tables (URL, ``seed``, rows of each table by name); rows of each table.
        change: changes some rows (URL, chance); a key that they make needless.
    """

    name: str
    model: Path | None
    populate: Callable[..., dict[str, int]]
    change: Callable[[str, random.Random], str]


EARLY_USERS = 10
EARLY_ORDERS = 20
BATCH_ROWS = 5
OLDER_EVERY = 4
"""Every fourth trial begins with an older load, whose source has changed since."""
CHANGED_OF_FIVE = (0, 3)
"""After these of each five kills of the mover the source changes before the next run."""
LATE_EVERY = 10
"""Every tenth kill is meant for the verification, which is short."""
KILLED_TOO_SHARE = 0.5
"""With this probability a run that follows a kill is killed too."""
LONGEST_PAUSE_S = 1.0
"""A killed server is started again after a random part of this."""
LEARN_EVERY, RECENT = 10, 5
"""After so many trials a run is watched again, and the last few count: a machine has slow spells."""
ATTEMPTS = 3
MOST_TOO_LATE = 20
"""So many trials a wanted kill, and no more: then something is wrong with the moments."""


class Campaign:
    """Trials on two throw-away servers; nothing else may use them.

    Args:
        source: PostgreSQL, filled with rows that the model can hold.
        target: Redis, which is emptied.
        rows: of the source.
        seed: of moments and changes: a trial's are those of ``random.Random("<seed> <victim> <number>")``.
        workers: processes that load; those of a mover that is killed end with it.
        case: what the source was filled by; the course's when None.
    """

    def __init__(
        self,
        source: Scratch,
        target: Scratch,
        *,
        rows: int,
        seed: int,
        workers: int = 1,
        case: Case | None = None,
    ) -> None:
        self.servers = {"postgres": source, "redis": target}
        self.source, self.target = source.url, target.url
        self.rows, self.seed, self.workers, self.case = rows, seed, workers, case or COURSE
        self.client = connections.redis(self.target, decode_responses=True)
        self.watched: list[dict[str, float]] = []

    def learn(self, runs: int = 1) -> None:
        """Watch migrations that nobody disturbs; from the last of them trials know how long one takes."""
        for _ in range(runs):
            self.watched.append(watch(self._mover, self.client, self.rows))
        self.times = medians(self.watched[-RECENT:])

    def trials(self, victim: str, kills: int) -> Iterator[dict[str, Any]]:
        """Trials, one after the other, until so many kills have struck.

        Args:
            victim: ``mover``, ``redis`` or ``postgres``.
            kills: wanted; one that came too late, when the migration had ended, does not count.

        Raises:
            HelpersError: too many of them came too late.
        """
        struck = number = 0
        while struck < kills:
            number += 1
            if number > MOST_TOO_LATE * kills:
                raise HelpersError(f"of {number:,} kills of {victim} only {struck:,} were in time")
            if number % LEARN_EVERY == 0:
                self.learn()
            chance = random.Random(f"{self.seed} {victim} {number}")
            began = time.monotonic()
            trial: dict[str, Any] = {
                "victim": victim, "number": number, "older_load": False, "kills": [], "too_late": 0,
                "exits": [], "said": [], "faults": [],
            }  # fmt: skip
            if number % OLDER_EVERY == 2:  # what the trial before it left
                trial["older_load"] = True
                self._change(chance)
            else:
                self.client.flushall()
            if victim == "mover":
                self._kill_movers(trial, chance, struck, kills)
            else:
                self._kill_server(trial, chance, self.servers[victim], struck)
            self._judge(trial)
            yield trial | {"seconds": time.monotonic() - began}
            struck += len(trial["kills"])

    def _kill_movers(self, trial: dict[str, Any], chance: random.Random, struck: int, most: int) -> None:
        """Kill one mover after the other, and let one through; ``struck`` kills were made in other trials."""
        for number in range(struck, most):
            before = look(self.client)
            with self._mover() as mover:
                self._wait(mover, chance, before, number)
                at_s = mover.age_s
                if not mover.kill():
                    trial["too_late"] += 1
                    self._note(trial, mover.wait(), before)
                    return
            now = self._struck(trial, before, at_s, look(self.client))
            trial["exits"].append(-9)
            if number % 5 in CHANGED_OF_FIVE:
                trial["kills"][-1]["changed"] = self._change(chance)
            self._compare_rows(trial, now)
            if chance.random() >= KILLED_TOO_SHARE:
                break
        self._let_through(trial)

    def _kill_server(
        self, trial: dict[str, Any], chance: random.Random, server: Scratch, struck: int
    ) -> None:
        """Kill a server under a mover, start it again, and let the mover go on or another one begin."""
        before = look(self.client)
        with self._mover() as mover:
            self._wait(mover, chance, before, struck)
            now, at_s = look(self.client), mover.age_s
            if mover.running:
                server.kill()
                self._struck(trial, before, at_s, now)
                time.sleep(chance.uniform(0, LONGEST_PAUSE_S))
                server.start()
                self.client = connections.redis(self.target, decode_responses=True)
                self._compare_rows(trial, now)
            else:
                trial["too_late"] += 1
            ended = mover.wait()
        if ended.code == DONE:
            self._note(trial, ended, before)
            if trial["kills"]:
                trial["after"] = "waited"
            return
        self._stopped(trial, ended)
        if now.phase(before, self.rows) != START:
            trial["faults"].append(f"a migration under way gave up on a server that was back: {ended.said}")
        self._let_through(trial)

    def _wait(self, mover: Mover, chance: random.Random, before: Standing, number: int) -> None:
        """Wait until a random moment; ``number`` kills were made before."""
        late = number % LATE_EVERY == LATE_EVERY - 1
        moment = draw_moment(chance, self.times, self.rows, before, late=late)
        wait_for_moment(mover, self.client, before, self.times["begun_s"], moment)

    def _let_through(self, trial: dict[str, Any]) -> None:
        """The same command, undisturbed, until it is done."""
        for attempt in range(1, ATTEMPTS + 1):
            before = look(self.client)
            with self._mover() as mover:
                ended = mover.wait()
            if ended.result is not None or attempt == ATTEMPTS:
                self._note(trial, ended, before)
                return
            self._stopped(trial, ended)

    def _note(self, trial: dict[str, Any], ended: Ended, before: Standing) -> None:
        """What the run says that came to its end."""
        result = ended.result or {}
        trial["exits"].append(ended.code)
        resumed = bool(result.get("resumed"))
        trial["after"] = "anew" if before.status is None else "resumed" if resumed else "caught up"
        trial["rows_loaded_now"] = result.get("rows_loaded_now")
        trial["caught_up"] = result.get("caught_up", {})
        if ended.code != DONE:
            trial["faults"].append(f"the same command ended with {ended.code}: {ended.said}")

    @staticmethod
    def _stopped(trial: dict[str, Any], ended: Ended) -> None:
        """A run that ended early: with 2 and a line that says how far, or it is a fault."""
        trial["exits"].append(ended.code)
        trial["said"].append(ended.said)
        if ended.code != STOPPED:
            trial["faults"].append(f"a disturbed run ended with {ended.code}: {ended.said}")

    def _struck(self, trial: dict[str, Any], before: Standing, at_s: float, now: Standing) -> Standing:
        trial["kills"].append(
            {"at_s": at_s, "phase": now.phase(before, self.rows), "rows": now.rows, "changed": None}
        )  # fmt: skip
        return now

    def _compare_rows(self, trial: dict[str, Any], before: Standing) -> None:
        """What was committed must stay committed."""
        now = look(self.client)
        if now.rows < before.rows:
            trial["faults"].append(
                f"{before.rows:,} rows were committed before a kill, {now.rows:,} after it"
            )

    def _judge(self, trial: dict[str, Any]) -> None:
        """Two judges compare every value; what a run had to put right is judged too."""
        changed = trial["older_load"] or any(kill["changed"] for kill in trial["kills"])
        if trial["caught_up"] and not changed:
            trial["faults"].append(f"the load was not exactly once, and was put right: {trial['caught_up']}")
        seen = verification.verify(self.source, self.target, progress=False)
        trial["verify"] = judge.sort(seen["by_problem"])
        trial["judge"] = judge.compare(self.source, self.target, model=self.case.model)
        trial["examples"] = seen["examples"][:3]

    def _change(self, chance: random.Random) -> str:
        """Change the source; whether that was ``behind`` or ``ahead`` of what is in the target already."""
        key = self.case.change(self.source, chance)
        return "behind" if self.client.exists(key) else "ahead"

    def _mover(self) -> Mover:
        options = ["--batch-rows", str(BATCH_ROWS), "--workers", str(self.workers)]
        if self.case.model is not None:
            options += ["--model", str(self.case.model)]
        return Mover(self.source, self.target, *options)


def _populate(source: str, *, seed: int, **rows: Any) -> dict[str, int]:
    population.populate(source, **rows, seed=seed, progress=False)
    return dict(rows)


def make(source: str, chance: random.Random) -> str:
    """Insert, update, move and delete some rows, in one transaction; no table becomes larger by much.

    An email becomes ``NULL`` (or is there again), an activity moves to another user, the user gets one that
    is older than all, one order is deleted and another made.

    Args:
        source: PostgreSQL URL; needs ten users that begin with 1, with activities, and twenty orders.
        chance: chooses the rows.

    Returns:
        The key of the deleted order.
    """
    connection = connections.postgres(source)
    user, other = chance.sample(range(1, EARLY_USERS + 1), 2)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT order_id FROM orders ORDER BY order_id LIMIT %s", (EARLY_ORDERS,))
        order = chance.choice(cursor.fetchall())[0]
        cursor.execute("DELETE FROM orders WHERE order_id = %s", (order,))
        cursor.execute("INSERT INTO orders SELECT min(order_id) - 1, %s, 1, now(), 1 FROM orders", (user,))
        cursor.execute(
            "UPDATE users SET email = CASE WHEN email IS NULL THEN username || '@changed' END "
            "WHERE user_id = %s",
            (user,),
        )
        cursor.execute(
            "UPDATE activities SET user_id = %s WHERE activity_id = "
            "(SELECT activity_id FROM activities WHERE user_id = %s ORDER BY activity_date LIMIT 1)",
            (other, user),
        )
        cursor.execute(
            "INSERT INTO activities (user_id, activity_type, activity_date) "
            "SELECT user_id, 'login', min(activity_date) - interval '1 day' FROM activities "
            "WHERE user_id = %s GROUP BY user_id",
            (user,),
        )
    connection.close()
    return redis_model.order_key(order)


COURSE = Case("course", None, _populate, make)
GENERAL = Case("general", general.MODEL, general.populate, general.change)
CASES = {case.name: case for case in (COURSE, GENERAL)}
