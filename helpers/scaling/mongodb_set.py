"""MongoDB with three members: clients write on, each with a write concern of its own, and primaries go.

The cases, one after the other, under the same writers: the primary is killed, with the time of noticing that
is set for all stores, then with MongoDB's own; the primary steps down when asked to; the secondaries are
killed first and the primary some time later, so that what only the primary acknowledged is on no other member
when they elect a new one. ``w:2`` asks for two members as they are, ``w:majority`` for two whose journals are
on disk.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pymongo
import pymongo.errors
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern

from helpers import settings
from helpers.results import NOT_MEASURED
from helpers.scaling.nodes_schemas import SET, SHIPPED
from helpers.scaling.writes import (
    DETECTION_S,
    Failed,
    Scene,
    failover,
    in_one_line,
    middle_and_most,
    outage_in_s,
)
from helpers.servers import ReplicaSet, mongodb as server, mongodb_nodes

MEMBERS = 3
DATABASE = "nodes"
CONCERNS: dict[str, int | str] = {"w:1": 1, "w:2": 2, "w:majority": "majority"}
SHOWN = "w:majority"
"""The write concern whose counts and timeline stand for the whole: what a client gets that sets none."""
CASES = {
    "killed": "the primary is killed",
    "shipped": "the primary is killed, detection as shipped",
    "stepdown": "the primary steps down",
    "behind": "the secondaries are killed, then the primary",
}
DETECTION: dict[str, dict[str, int]] = {
    SET: {"electionTimeoutMillis": round(DETECTION_S * 1000), "heartbeatIntervalMillis": 500},
    SHIPPED: {"electionTimeoutMillis": 10_000, "heartbeatIntervalMillis": 2000},
}
"""Settings of the set: after how long without a primary one is elected, and how often members ask."""
PROMOTED_BY = "the other members, by election"
PATIENCE_MS = 1000
"""How long a write waits for a primary, and for the members that it asks for, before it fails."""
OPTIONS: dict[str, Any] = {
    "retryWrites": False,
    "retryReads": False,
    "serverSelectionTimeoutMS": PATIENCE_MS,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": 5000,
    "heartbeatFrequencyMS": 500,
}
SAMPLE_S = 0.05
ENOUGH = 20
"""Acknowledged writes after which what happened counts as over."""
AGAIN_S = 90
"""How long they are waited for."""


@dataclass(frozen=True)
class SetDesign:
    """How long undisturbed writing lasts, how long the primary is alone, writes a second of each client, and
    how often each case comes.
    """

    steady_s: float
    alone_s: float
    per_s: float
    cases: Mapping[str, int]


DESIGNS = {
    "small": SetDesign(0.5, 0.5, 100, {"stepdown": 1, "behind": 1}),
    "full": SetDesign(2, 2, 100, {"killed": 3, "shipped": 2, "stepdown": 1, "behind": 1}),
}
STEPS = {profile: 2 + sum(design.cases.values()) for profile, design in DESIGNS.items()}
"""How often ``measure`` calls ``step``."""


def measure(profile: str, step: Callable[[str], None]) -> dict[str, Any]:
    """Measure a throw-away replica set.

    Args:
        profile: ``full``, or ``small`` (one case less, and shorter).
        step: called with what begins, ``STEPS`` times.

    Returns:
        A part of the result ``nodes``; in it ``tiers``: for each write concern its counts over the whole
        time, with ``errors`` by kind; ``found``: ``cases`` (the same counts for each case and write concern),
        ``election_reason`` of each case, ``rolled_back`` (documents that members laid aside), ``lag_ms`` of
        the secondaries and ``latency_ms`` of each write concern (median and max) while nothing happened.
        Or {"not measured": reason} where MongoDB cannot run.

    Raises:
        HelpersError: no such profile, or the set did not come up, or not back.
    """
    design = settings.of_profile(DESIGNS, profile)
    if reason := server.missing():
        return {NOT_MEASURED: reason}
    step("a replica set of three starts")
    with (
        mongodb_nodes.replica_set(MEMBERS) as members,
        in_one_line("mongodb: the replica set", (pymongo.errors.PyMongoError,)),
    ):
        return _Measurement(members, design, step).run()


class _Measurement:
    def __init__(self, members: ReplicaSet, design: SetDesign, step: Callable[[str], None]) -> None:
        self._set, self._design, self._step = members, design, step
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(members.url, **OPTIONS)
        self._scene = Scene(SHOWN, design.steady_s)
        self._reasons: dict[str, str] = {}
        self._stated: dict[str, dict[str, int]] = {}

    def run(self) -> dict[str, Any]:
        try:
            for concern in CONCERNS:
                self._client[DATABASE].create_collection(_name(concern))
            writes = {concern: self._write(concern) for concern in CONCERNS}
            with self._scene.writing(writes, self._design.per_s):
                self._step("clients write on, the secondaries' lag")
                lags = self._lags()
                steady_to = self._scene.now_s()
                for name, times in self._design.cases.items():
                    self._detect(SHIPPED if name == "shipped" else SET)
                    for _ in range(times):
                        self._case(name)
            self._set.settle()
            return self._result(lags, steady_to)
        finally:
            self._client.close()

    def _collection(self, concern: str) -> Collection[dict[str, Any]]:
        return self._client[DATABASE].get_collection(
            _name(concern),
            write_concern=pymongo.WriteConcern(w=CONCERNS[concern], wtimeout=PATIENCE_MS),
            read_concern=ReadConcern("majority"),
        )

    def _write(self, concern: str) -> Callable[[int], None]:
        collection = self._collection(concern)

        def write(number: int) -> None:
            try:
                collection.insert_one({"_id": number})
            except pymongo.errors.PyMongoError as error:
                raise Failed(error, _kind(error)) from error

        return write

    def _lags(self) -> list[float]:
        """Milliseconds that the secondaries are behind, many times over while the writers write."""
        primary, found = self._set.primary(), []
        end = time.monotonic() + self._design.steady_s
        while time.monotonic() < end:
            found += mongodb_nodes.lags_ms(primary.ask("replSetGetStatus")["members"])
            time.sleep(SAMPLE_S)
        return found

    def _detect(self, detection: str) -> None:
        """Have the members notice a dead primary after a time."""
        primary = self._set.primary()
        found = primary.ask("replSetGetConfig")["config"]
        changed = {**found, "version": found["version"] + 1}
        changed["settings"] = {**found["settings"], **DETECTION[detection]}
        primary.ask({"replSetReconfig": changed})
        self._set.settle()
        stated = self._set.primary().ask("replSetGetConfig")["config"]["settings"]
        self._stated[detection] = {name: stated[name] for name in DETECTION[detection]}

    def _case(self, name: str) -> None:
        self._step(CASES[name])
        happens = {"stepdown": self._step_down, "behind": self._behind}
        with self._scene.window(name):
            if name in happens:
                happens[name]()
            else:
                self._killed(name)
            self._scene.pass_time()

    def _killed(self, name: str) -> None:
        old = self._set.primary()
        self._scene.event("primary killed")
        old.kill()
        self._acknowledged_again(name)
        self._scene.event("old primary started")
        old.start()
        self._set.settle()

    def _step_down(self) -> None:
        old = self._set.primary()
        self._scene.event("primary steps down")
        old.ask({"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 10})
        self._acknowledged_again("stepdown")
        self._set.settle()

    def _behind(self) -> None:
        primary = self._set.primary()
        others = [member for member in self._set.members if member is not primary]
        self._scene.event("secondaries killed")
        for member in others:
            member.kill()
        time.sleep(self._design.alone_s)
        self._scene.event("primary killed")
        primary.kill()
        for member in others:
            member.start()
        self._scene.event("secondaries started")
        self._acknowledged_again("behind")
        self._scene.event("old primary started")
        primary.start()
        self._set.settle()

    def _acknowledged_again(self, name: str) -> None:
        self._scene.wait_for(ENOUGH, timeout_s=AGAIN_S)
        metrics = self._set.status().get("electionCandidateMetrics", {})
        self._reasons[name] = str(metrics.get("lastElectionReason", ""))
        self._scene.event("writes acknowledged again")

    def _result(self, lags: list[float], steady_to: float) -> dict[str, Any]:
        kept = {
            concern: {found["_id"] for found in self._collection(concern).find({}, {"_id": 1})}
            for concern in CONCERNS
        }
        return {
            "nodes": MEMBERS,
            "version": self._set.version,
            **self._scene.common(kept[SHOWN], self._settings()),
            "tiers": self._scene.tiers(kept),
            "failover": self._failover(),
            "second_node": self._scene.times_as_long("w:2", "w:1", steady_to),
            "found": {
                "cases": self._scene.cases(kept),
                "election_reason": self._reasons,
                "rolled_back": sum(member.rolled_back() for member in self._set.members),
                "lag_ms": middle_and_most(lags),
                "latency_ms": self._scene.latency_ms(steady_to),
            },
        }

    def _failover(self) -> list[dict[str, Any]]:
        """What each kill of a primary cost the writer that is shown."""
        writes = self._scene.writes[SHOWN]
        return [
            failover(
                detection,
                self._stated[detection]["electionTimeoutMillis"] / 1000,
                PROMOTED_BY,
                [outage_in_s(writes, *window) for window in windows],
            )
            for case, detection in (("killed", SET), ("shipped", SHIPPED))
            if (windows := self._scene.windows.get(case))
        ]

    def _settings(self) -> dict[str, str]:
        """As the servers state them, and the driver's own."""
        primary = self._set.primary()
        default = primary.ask("getDefaultRWConcern").get("defaultWriteConcern", {})
        flush = primary.ask({"getParameter": 1, "journalCommitInterval": 1})["journalCommitInterval"]
        return {
            "default write concern": f"w:{default.get('w')}",
            **{
                name: "; ".join(f"{stated[name]} ms {how}" for how, stated in self._stated.items())
                for name in DETECTION[SET]
            },
            "journal flushed at least every": f"{flush} ms",
            "retryable writes": "off (driver)",
            "wtimeout": f"{PATIENCE_MS} ms",
            "server selection timeout": f"{PATIENCE_MS} ms (driver)",
            "heartbeat of the driver": f"{OPTIONS['heartbeatFrequencyMS']} ms",
            "writes a second": f"at most {self._design.per_s:.0f} a client, one client a write concern",
        }


def _name(concern: str) -> str:
    return concern.replace(":", "_")


def _kind(error: pymongo.errors.PyMongoError) -> str:
    """The error's type, or the server's own name for it."""
    details = getattr(error, "details", None)
    return str((details or {}).get("codeName") or type(error).__name__)
