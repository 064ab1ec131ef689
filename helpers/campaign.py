"""Trials of the kill campaign: disturb a migration at a random moment, run it again, judge what is there."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from helpers import connections, judge, verification
from helpers.errors import HelpersError
from helpers.mover import ACTIVITIES, LOADED, OVER, START, VERIFYING, Ended, Mover, Standing, look
from helpers.servers.scratch import Scratch

BATCH_ROWS = 5
OLDER_EVERY = 4
"""Every fourth trial begins with an older load, whose source has changed since."""
CHANGED_OF_FIVE = (0, 3)
"""After these of each five kills of the mover the source changes before the next run."""
AGAIN_SHARE = 0.5
"""With this probability a run that follows a kill is killed too."""
LONGEST_PAUSE_S = 1.0
"""A killed server is started again after a random part of this."""
EARLIEST = 0.95
"""The first moment, as a part of the time until an undisturbed run touches the target: a start is dull."""
ATTEMPTS = 3
MOST_TOO_LATE = 20
"""So many trials a wanted kill, and no more: then something is wrong with the moments."""
DONE, STOPPED = 0, 2
CAUGHT = ("complete", "reconciling")
"""What a status must be for the next run to catch up, and not only to go on."""


class Campaign:
    """Trials on two throw-away servers; nothing else may use them.

    Args:
        source: PostgreSQL, filled with rows that the model can hold.
        target: Redis, which is emptied.
        seed: of moments and changes.
    """

    def __init__(self, source: Scratch, target: Scratch, *, seed: int) -> None:
        self.servers = {"postgres": source, "redis": target}
        self.source, self.target = source.url, target.url
        self.seed = seed
        self.client = connections.redis(self.target, decode_responses=True)
        self.times: dict[str, float] = {}
        self.rows = 0

    def learn(self, runs: int) -> dict[str, float]:
        """When an undisturbed migration begins and ends what it does: medians in seconds after its start.

        ``begun_s`` (it holds the lease), ``hashes_s`` (it comes to activities), ``loaded_s``, ``verified_s``
        (it gives the lease back), ``ended_s``.

        Raises:
            HelpersError: it did not succeed.
        """
        found = [self._watch() for _ in range(runs)]
        self.times = {name: median(times[name] for times in found) for name in found[0]}
        self.rows = look(self.client).rows
        return self.times

    def _watch(self) -> dict[str, float]:
        self.client.flushall()
        empty = look(self.client)
        seen: dict[str, float] = {}
        with self._mover() as mover:
            while mover.running:
                now = look(self.client)
                if now.lease:
                    seen.setdefault("begun", mover.age_s)
                seen.setdefault(now.phase(empty), mover.age_s)
                time.sleep(0.001)
            ended_s, ended = mover.age_s, mover.wait()
        if ended.code != DONE:
            raise HelpersError(f"the undisturbed migration ended with {ended.code}: {ended.said}")
        return {
            "begun_s": seen["begun"],
            "hashes_s": seen[ACTIVITIES],
            "loaded_s": min(seen[phase] for phase in (LOADED, VERIFYING) if phase in seen),
            "verified_s": seen.get(OVER, ended_s),
            "ended_s": ended_s,
        }

    def trials(self, victim: str, kills: int) -> Iterator[dict[str, Any]]:
        """Trials, one after the other, until so many kills have struck.

        Args:
            victim: ``mover``, ``redis`` or ``postgres``.
            kills: wanted; one that came too late, when the migration had ended, does not count.
        """
        struck = number = 0
        while struck < kills:
            number += 1
            if number > MOST_TOO_LATE * kills:
                raise HelpersError(f"of {number:,} kills of {victim} only {struck:,} were in time")
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
                self._kill_server(trial, chance, self.servers[victim])
            self._judge(trial)
            yield trial | {"seconds": time.monotonic() - began}
            struck += len(trial["kills"])

    def _kill_movers(self, trial: dict[str, Any], chance: random.Random, struck: int, most: int) -> None:
        """Kill one mover after the other, and let one through; ``struck`` kills were made in other trials."""
        changed = trial["older_load"]
        for number in range(struck, most):
            before = look(self.client)
            with self._mover() as mover:
                mover.sleep_until(moment(chance, self.times, self.rows, before, changed=changed))
                at_s = mover.age_s
                if not mover.kill():
                    trial["too_late"] += 1
                    self._note(trial, mover.wait(), before)
                    return
            now = self._struck(trial, before, at_s, look(self.client))
            trial["exits"].append(-9)
            changed = number % 5 in CHANGED_OF_FIVE
            if changed:
                trial["kills"][-1]["changed"] = self._change(chance)
            self._compare_rows(trial, now)
            if chance.random() >= AGAIN_SHARE:
                break
        self._let_through(trial)

    def _kill_server(self, trial: dict[str, Any], chance: random.Random, server: Scratch) -> None:
        """Kill a server under a mover, start it again, and let the mover go on or another one begin."""
        before = look(self.client)
        with self._mover() as mover:
            mover.sleep_until(moment(chance, self.times, self.rows, before, changed=trial["older_load"]))
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
        if now.phase(before) != START:
            trial["faults"].append(f"a migration under way gave up on a server that was back: {ended.said}")
        self._let_through(trial)

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

    @staticmethod
    def _struck(trial: dict[str, Any], before: Standing, at_s: float, now: Standing) -> Standing:
        trial["kills"].append(
            {"at_s": at_s, "phase": now.phase(before), "rows": now.rows, "changed": None}
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
        """Two judges compare every value."""
        seen = verification.verify(self.source, self.target, progress=False)
        trial["verify"] = sort(seen["by_problem"])
        trial["judge"] = judge.compare(self.source, self.target)
        trial["examples"] = seen["examples"][:3]

    def _change(self, chance: random.Random) -> str:
        """Change the source at rows that are loaded early: one of each inserted, updated, moved, deleted.

        Returns:
            ``behind`` when the deleted order was in the target already, ``ahead`` when it was not.
        """
        connection = connections.postgres(self.source)
        user, other = chance.sample(range(1, 11), 2)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT order_id FROM orders ORDER BY order_id LIMIT 20")
            order = chance.choice(cursor.fetchall())[0]
            cursor.execute("DELETE FROM orders WHERE order_id = %s", (order,))
            cursor.execute(
                "INSERT INTO orders SELECT min(order_id) - 1, %s, 1, now(), 1 FROM orders", (user,)
            )
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
        return "behind" if self.client.exists(f"order:{order}") else "ahead"

    def _mover(self) -> Mover:
        return Mover(self.source, self.target, batch_rows=BATCH_ROWS)


def moment(
    chance: random.Random, times: Mapping[str, float], rows: int, before: Standing, *, changed: bool
) -> float:
    """A moment for a kill in seconds after the start, uniform over the time in which a run works.

    A run that finds rows committed has less to load; one that finds a load complete, or its source changed,
    has to catch up, which takes about as long as verifying.

    Args:
        chance: where the number comes from.
        times: of an undisturbed run, as ``Campaign.learn`` gives them.
        rows: of the source.
        before: what the run finds.
        changed: whether the source has changed since.
    """
    spared = min(before.rows / rows, 1) * (times["loaded_s"] - times["begun_s"])
    more = times["verified_s"] - times["loaded_s"] if changed or before.status in CAUGHT else 0
    return chance.uniform(EARLIEST * times["begun_s"], times["verified_s"] - spared + more)


def sort(by_problem: dict[str, int]) -> dict[str, int]:
    """The verifier's problems as ``lost``, ``doubled`` (what should not be there) and ``altered``."""
    found = Counter(dict.fromkeys(judge.VERDICTS, 0))
    for problem, number in by_problem.items():
        first = problem.split()[0]
        found["lost" if first == "missing" else "doubled" if first == "extra" else "altered"] += number
    return dict(found)
