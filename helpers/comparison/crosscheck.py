"""Other programs' measurements of the same servers in the same minutes, beside our own.

Each program of ``programs`` that is on PATH asks a store the same as we do, where it has the same
operation, with as many clients, in turns with ours; for Redis' PING a bare TCP echo takes its turn too.
What they measure is not the same: their clients are not written in Python. A ratio of ours to theirs is
what the client's language and driver cost, and a figure of a server that is wrong would show in it: where
a program gets much more out of a server than we, what we measured was not the server.
"""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from helpers import results, settings, text
from helpers.comparison import loops, programs, statistics, stores
from helpers.comparison.processes import Processes
from helpers.comparison.programs import FIRST, POINTS, RECORDS, Program, Turn
from helpers.comparison.store import CLIENTS, Store
from helpers.comparison.workload import Operation
from helpers.errors import HelpersError, first_line
from helpers.results import NOT_MEASURED

NEEDED = {
    "redis-benchmark": "the cross-check of Redis (Debian: redis-tools)",
    "go-ycsb": "the cross-check of MongoDB and Cassandra (the README says how to get it)",
    "pgbench": "the cross-check of PostgreSQL (Debian: postgresql)",
}
"""What a publication lacks where a program is not on PATH."""
OPERATIONS = ("null", "read", "insert")
CLIENT_COUNTS = (1, 4, CLIENTS)
ROUNDS = 8
REQUESTS = 2000
OURS, ECHO = "ours", "echo"
SENDS: Mapping[str, Mapping[str, str]] = {
    "postgres": {"read": "SELECT of a row by its key", "insert": "INSERT of an activity"},
    "redis": {"null": "PING", "read": "HGETALL of three fields", "insert": "HSET of three fields"},
    "mongodb": {
        "read": "a document of three fields by its key",
        "insert": "a document of three fields, one more index",
    },
    "cassandra": {"read": "SELECT of a row by its key", "insert": "INSERT of an activity"},
}
"""What we send, by store and operation."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1", "local")
START = datetime(2026, 1, 1)


def run(
    urls: Mapping[str, str] | None = None,
    folder: Path | None = None,
    *,
    rounds: int = ROUNDS,
    requests: int = REQUESTS,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compare with every program on PATH, and add what was found to the saved comparison of a folder.

    The comparison's data are made anew in each store, and removed at the end.

    Args:
        urls: of the servers, by name; the resolved ones where none is given.
        folder: a results folder whose ``comparison.json`` gets it as ``cross_check``; None saves nothing.
        rounds: turns that each side takes; they are the unit of replication.
        requests: how many each side sends in a turn.
        names: of the stores; all when None.

    Returns:
        What ``CROSS_CHECK`` describes: the programs with their versions or why they gave nothing; for
        each store, program, operation and number of clients both sides' percentiles in microseconds and
        requests per second with intervals over rounds, and ratios (ours / theirs); every turn.

    Raises:
        HelpersError: a server cannot be reached, stops answering, or refuses the temporary user.
    """
    statistics.prepare()
    if folder is not None:
        results.read(folder / "comparison.json")  # better refused now than later
    found: dict[str, Any] = {"rounds": rounds, "requests": requests, "records": RECORDS}
    found |= {"programs": [], "rows": [], "turns": []}
    with _own_folder() as private, loops.lean():
        for name in names or stores.NAMES:
            _store(name, (urls or {}).get(name), private, found)
    if folder is not None:
        _add(found, folder)
    return found


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for the programs' files, removed at the end; what a killed process left is removed first."""
    home = settings.home()
    for left in home.glob("cross-check-*-*"):
        owner = left.name.split("-")[2]
        if not (owner.isdigit() and psutil.pid_exists(int(owner))):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"cross-check-{os.getpid()}-", dir=home) as path:
        yield Path(path)


def _store(name: str, url: str | None, folder: Path, found: dict[str, Any]) -> None:
    """Measure one store, and add what was found."""
    paths: dict[type[Program], str] = {}
    missing: dict[type[Program], str] = {}
    for program in programs.PROGRAMS:
        if name in program.sends:
            path = shutil.which(program.name)
            if path is None:
                missing[program] = f"{program.name} is not on PATH ({program.source})"
            else:
                paths[program] = path
    if paths:
        with stores.opened(name, url) as store, Processes({name: store}, psutil.cpu_count() or 1) as clients:
            for program in list(paths):
                reason = _elsewhere(store) or program.unfit(store.url)
                if reason:
                    del paths[program]
                    missing[program] = reason
            if paths:
                _measure(store, clients, [of(path, store, folder) for of, path in paths.items()], found)
    found["programs"] += [
        {"store": name, "program": program.name, NOT_MEASURED: reason} for program, reason in missing.items()
    ]


def _elsewhere(store: Store) -> str | None:
    """Why no load is sent to a server, None for one on this machine."""
    address = store.address
    if address.startswith("/") or address.rpartition(":")[0] in LOOPBACK:
        return None
    return f"the server at {address} is not on this machine, and a load is sent to no other"


def _measure(store: Store, clients: Processes, others: Sequence[Program], found: dict[str, Any]) -> None:
    """All rounds of one store with the programs that are there."""
    with ExitStack() as stack:
        failed: dict[str, str] = {}
        programs.sweep(store)
        _load(store)
        for program in others:
            try:
                stack.enter_context(program.ready())
            except programs.Failed as error:
                failed[program.name] = str(error)
        sides = _Sides(store, clients, others, failed)
        plan = [
            (operation, count)
            for operation in OPERATIONS
            if operation in SENDS[store.name]
            for count in CLIENT_COUNTS
        ]
        turns = [
            turn
            for number in range(found["rounds"])
            for operation, count in plan
            for turn in sides.take(Turn(operation, count, found["requests"]), number)
        ]
        server_version = store.version()
    for program in others:
        if program.name in failed:
            reason = {NOT_MEASURED: failed[program.name]}
            found["programs"].append({"store": store.name, "program": program.name} | reason)
            continue
        about = {"version": program.version(), "server_version": server_version}
        found["programs"].append({"store": store.name, "program": program.name} | about)
        for operation, count in plan:
            if operation in program.sends[store.name]:
                found["rows"].append(_row(store.name, program, operation, count, turns))
    found["turns"] += [turn for turn in turns if turn["side"] not in failed]


def _load(store: Store) -> None:
    """The comparison's own tables with the users that are read, in the relaxed tier where the server
    can be set.
    """
    store.create()
    if "relaxed" in store.tiers():
        store.set_durability("relaxed")
    store.load_rows("users", (_user(FIRST.get(store.name, 1) + number) for number in range(RECORDS)))


def _user(number: int) -> Any:
    name = f"user{number % 10_000:04}"
    return number, name, f"{name}@example.org", START + timedelta(microseconds=number % 10**9)


class _Sides:
    """Ours and the other programs, which take turns at one store; one that fails is asked no more.

    Args:
        store: loaded.
        clients: our own.
        others: the programs, each ready.
        failed: why, by name; those in it are not asked, and those that fail are put into it.
    """

    def __init__(
        self, store: Store, clients: Processes, others: Sequence[Program], failed: dict[str, str]
    ) -> None:
        self._store, self._clients, self._others, self._failed = store, clients, others, failed
        self._inserted = 0
        self._random = random.Random(1)

    def take(self, turn: Turn, number: int) -> Iterator[dict[str, Any]]:
        """One turn of each side that has the operation; who begins changes with the round's number."""
        sides: dict[str, Callable[[Turn], dict[str, float]]] = {OURS: self._ours}
        sides |= {
            program.name: program.ask
            for program in self._others
            if turn.operation in program.sends[self._store.name] and program.name not in self._failed
        }
        if len(sides) == 1:
            return
        if (turn.operation, turn.clients) == ("null", 1):
            sides[ECHO] = lambda turn: _points(loops.echo_us(turn.requests))
        order = list(sides)
        for place in range(len(order)):
            side = order[(place + number) % len(order)]
            try:
                figures = sides[side](turn)
            except programs.Failed as error:
                self._failed[side] = str(error)
                continue
            about = {"store": self._store.name, "operation": turn.operation, "clients": turn.clients}
            yield about | {"round": number, "side": side} | figures

    def _ours(self, turn: Turn) -> dict[str, float]:
        each = turn.requests // turn.clients
        streams = [[self._operation(turn.operation) for _ in range(each)] for _ in range(turn.clients)]
        done = self._clients.closed(self._store.name, streams)
        return _points(np.asarray(done.latency_us)) | {"per_s": len(done.operations) / done.wall_s}

    def _operation(self, name: str) -> Operation:
        if name == "null":
            return Operation("null_op", ())
        user_id = FIRST.get(self._store.name, 1) + self._random.randrange(RECORDS)
        if name == "read":
            return Operation("read_profile", (user_id,))
        self._inserted += 1
        if self._store.name == "redis":  # an activity is two commands there, which no program sends
            return Operation("load_rows", ("users", [_user(3 * 10**12 + self._inserted)]))
        moment = START + timedelta(milliseconds=self._inserted)
        return Operation("append_activity", (self._inserted, user_id, "login", moment))


def _points(latency_us: np.ndarray) -> dict[str, float]:
    """Percentiles and, for one client, requests per second."""
    found = {name: float(np.quantile(latency_us, share)) for name, share in POINTS.items()}
    return found | {"per_s": 1e6 / float(latency_us.mean())}


def _row(
    store: str, program: Program, operation: str, clients: int, turns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Both sides over the rounds, and their ratios (ours / theirs) with Student's interval on logarithms."""

    def of(side: str, figure: str, clients: int = clients) -> list[float]:
        return [
            turn[figure]
            for turn in turns
            if (turn["operation"], turn["clients"], turn["side"]) == (operation, clients, side)
        ]

    def ratio(figure: str, these: str, others: str) -> dict[str, float] | None:
        found = statistics.log_ratio(of(these, figure), of(others, figure))
        return None if found is None else found.as_dict()

    row: dict[str, Any] = {
        "store": store,
        "program": program.name,
        "operation": operation,
        "clients": clients,
        "ours": SENDS[store][operation],
        "theirs": program.sends[store][operation],
        "ours_us": {name: _mean(of(OURS, name)) for name in POINTS},
        "theirs_us": {name: _mean(of(program.name, name)) for name in POINTS},
        "ours_per_s": _mean(of(OURS, "per_s")),
        "theirs_per_s": _mean(of(program.name, "per_s")),
        "ratio": {name: ratio(name, OURS, program.name) for name in (*POINTS, "per_s")},
    }
    if clients > 1:
        gains = {
            side: statistics.log_ratio(of(of_side, "per_s"), of(of_side, "per_s", 1))
            for side, of_side in ((OURS, OURS), ("theirs", program.name))
        }
        row["gain"] = {side: None if one is None else one.as_dict() for side, one in gains.items()}
    if of(ECHO, "p50"):
        row["echo_us"] = {name: _mean(of(ECHO, name)) for name in POINTS}
        row["theirs_to_echo"] = ratio("p50", program.name, ECHO)
    return row


def _mean(values: Sequence[float]) -> dict[str, float] | None:
    found = statistics.geometric_mean(values)
    return None if found is None else found.as_dict()


def _add(found: Mapping[str, Any], folder: Path) -> None:
    """Put a cross-check into ``comparison.json``, which keeps its date and environment."""
    from helpers.comparison.schemas import COMPARISON

    path = folder / "comparison.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["data"]["cross_check"] = dict(found)
    try:
        results.jsonschema().validate(record["data"], COMPARISON)
    except results.jsonschema().ValidationError as error:
        raise HelpersError(
            f"{path}: not a comparison of this version ({first_line(error)}); run `python -m helpers bench`"
        ) from error
    results.write(path, record)


def describe(found: Mapping[str, Any]) -> list[str]:
    """What was found, as lines for people."""
    lines = [
        f"{one['store']} by {one['program']}: not compared: {one[NOT_MEASURED]}"
        for one in found["programs"]
        if NOT_MEASURED in one
    ]
    for row in found["rows"]:
        what = (
            f"{row['store']} by {row['program']}, {row['operation']}, {text.plural(row['clients'], 'client')}"
        )
        if None in row["ratio"].values():
            lines.append(f"{what}: one round shows nothing; measure more")
            continue
        median, rate = (statistics.Interval.of(row["ratio"][name]).written() for name in ("p50", "per_s"))
        lines.append(
            f"{what}: median {text.duration_us(row['ours_us']['p50']['value'])} against "
            f"{text.duration_us(row['theirs_us']['p50']['value'])}, ratio {median}; "
            f"{text.count(row['ours_per_s']['value'])} against "
            f"{text.count(row['theirs_per_s']['value'])} a second, "
            f"ratio {rate}; {found['rounds']} rounds"
        )
    return lines
