"""Another program's measurement of the same server in the same minutes, beside our own.

``redis-benchmark``, where it is installed, sends PING to the Redis server; in turns with it, our driver's
null operation and a bare TCP echo are timed. What the two measure is not the same: it is a C program with
one event loop, ours is Python with a thread for each client. Their ratio is what the client's language and
driver cost, and a server figure that is wrong would show in it.
"""

import csv
import json
import math
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import redis as redis_py

from helpers import results, text
from helpers.comparison import loops, statistics, stores
from helpers.comparison.redis import RedisStore
from helpers.comparison.store import CLIENTS
from helpers.comparison.workload import Operation
from helpers.errors import HelpersError, first_line
from helpers.results import NOT_MEASURED

TOOL = "redis-benchmark"
PROGRAMS = {TOOL: "the cross-check of Redis (Debian: redis-tools)"}
"""What a publication lacks where a program is not on PATH."""
PEERS = {
    "mongodb": ("mongoperf", "it times the disk, not the server, and left MongoDB with version 4.4"),
    "cassandra": ("cassandra-stress", "its statements and tables are its own, none is a null operation"),
}
"""Programs of the same kind for the other stores, and why they would not be run if they were here."""
POINTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
"""The percentiles that ``redis-benchmark --csv`` gives."""
ROUNDS = 10
REQUESTS = 2000
PATIENCE_S = 30
"""``redis-benchmark`` goes on asking when its server is gone; after so long it is ended."""
NULL = Operation("null_op", ())
USER = "cross-check-"


def run(
    url: str | None = None,
    folder: Path | None = None,
    *,
    rounds: int = ROUNDS,
    requests: int = REQUESTS,
) -> dict[str, Any]:
    """Compare with ``redis-benchmark``, and add what was found to the saved comparison of a folder.

    Args:
        url: of Redis; the resolved server when None.
        folder: a results folder whose ``comparison.json`` gets it as ``cross_check``; None saves nothing.
        rounds: turns that each side takes; they are the unit of replication.
        requests: how many each side sends in a turn.

    Returns:
        By store: percentiles of both sides in microseconds with intervals over rounds, requests per second
        and ratios (ours / theirs); or ``{"not measured": reason}``.

    Raises:
        HelpersError: the server cannot be reached, stops answering, or refuses the temporary user.
    """
    if folder is not None:
        results.read(folder / "comparison.json")  # better refused now than later
    found = {"redis": _redis(url, rounds, requests)}
    for name, (tool, reason) in PEERS.items():
        why = f"{tool} is not run: {reason}" if shutil.which(tool) else f"{tool} is not on PATH"
        found[name] = {NOT_MEASURED: why}
    if folder is not None:
        _add(found, folder)
    return found


def _redis(url: str | None, rounds: int, requests: int) -> dict[str, Any]:
    tool = shutil.which(TOOL)
    if tool is None:
        return {NOT_MEASURED: f"{TOOL} is not on PATH (Debian's package redis-tools has it)"}
    store = stores.connect("redis", url)
    assert isinstance(store, RedisStore)
    with store:
        where = options(store.url)
        if where is None:
            return {NOT_MEASURED: f"{TOOL} is not given the certificates of a TLS connection"}
        with _pinger(store) as user:
            command = [tool, *where, "--user", user, "-a", "any", "-n", str(requests), "--csv"]
            turns = [_turn(store, command, requests, number) for number in range(rounds)]
            version = store.version()
    return {
        "tool": TOOL,
        "tool_version": _version(tool),
        "server_version": version,
        "rounds": rounds,
        "requests": requests,
        "one_client": _compared(turns, "one_client") | _beside_echo(turns),
        "many_clients": {"clients": CLIENTS} | _compared(turns, "many_clients"),
        "turns": turns,
    }


def options(url: str) -> list[str] | None:
    """Where the server is, as options of ``redis-benchmark``, without what is secret; None for TLS."""
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        return None
    if parts.scheme == "unix":
        return ["-s", parts.path]
    return ["-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 6379)]


@contextmanager
def _pinger(store: RedisStore) -> Iterator[str]:
    """A temporary user who may PING and nothing else, so that no password is on a command line.

    It needs no password and reaches no key, and is removed again.
    """
    name = USER + secrets.token_hex(6)
    rules = ("on", "nopass", "resetkeys", "resetchannels", "-@all", "+ping")
    address = store.address
    try:
        store.client.execute_command("ACL", "SETUSER", name, *rules)
    except redis_py.ResponseError as error:
        raise HelpersError(
            f"redis at {address}: no temporary user for {TOOL} ({first_line(error)}); use a user who may "
            "ACL SETUSER and ACL DELUSER, or a server of your own: `python -m helpers up redis`"
        ) from error
    except store.ERRORS as error:
        raise _gone(store, error) from error
    try:
        yield name
    finally:
        try:
            store.client.execute_command("ACL", "DELUSER", name)
        except redis_py.ResponseError as error:
            raise HelpersError(
                f"redis at {address}: the temporary user {name} (PING only) stays ({first_line(error)}); "
                f"remove it: ACL DELUSER {name}"
            ) from error
        except store.ERRORS:
            pass  # the server is gone, and the user with it: users are kept in memory


def _turn(store: RedisStore, command: Sequence[str], requests: int, number: int) -> dict[str, Any]:
    """One turn of each side; who begins changes from turn to turn."""
    turn: dict[str, Any] = {"one_client": {}, "many_clients": {}}

    def ours_alone() -> None:
        turn["one_client"]["ours"] = _points(loops.null_op_us(store, requests))

    def theirs_alone() -> None:
        turn["one_client"]["theirs"] = _benchmark(store, [*command, "-c", "1", "PING"])

    def echo() -> None:
        turn["one_client"]["echo"] = _points(loops.echo_us(requests))

    def ours_together() -> None:
        done = loops.closed(store, [[NULL] * (requests // CLIENTS)] * CLIENTS)
        figures = _points(np.asarray(done.latency_us)) | {"per_s": len(done.operations) / done.wall_s}
        turn["many_clients"]["ours"] = figures

    def theirs_together() -> None:
        turn["many_clients"]["theirs"] = _benchmark(store, [*command, "-c", str(CLIENTS), "PING"])

    alone, together = (ours_alone, theirs_alone, echo), (ours_together, theirs_together)
    try:
        for group in (alone, together):
            for place in range(len(group)):
                group[(place + number) % len(group)]()
    except store.ERRORS as error:
        raise _gone(store, error) from error
    return turn


def _gone(store: RedisStore, error: BaseException) -> HelpersError:
    return HelpersError(
        f"redis at {store.address}: stopped answering ({first_line(error)}); see that the server runs "
        "(`python -m helpers status`) and measure again"
    )


def _points(latency_us: np.ndarray) -> dict[str, float]:
    """Percentiles and, for one client, requests per second."""
    found = {name: float(np.quantile(latency_us, share)) for name, share in POINTS.items()}
    return found | {"per_s": 1e6 / float(latency_us.mean())}


def _benchmark(store: RedisStore, command: Sequence[str]) -> dict[str, float]:
    """Run ``redis-benchmark`` once, and read its figures.

    Raises:
        HelpersError: it failed, or took too long.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, env=os.environ | {"LC_ALL": "C"}
        )
    except subprocess.TimeoutExpired as error:
        raise _gone(store, TimeoutError(f"{TOOL} not done after {PATIENCE_S} s")) from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise _gone(store, OSError(f"{TOOL}: {said[-1] if said else done.returncode}"))
    return parse(done.stdout)


def parse(output: str) -> dict[str, float]:
    """The figures in the output of ``redis-benchmark --csv`` for one test.

    Returns:
        ``p50``, ``p95`` and ``p99`` in microseconds, ``per_s``.

    Raises:
        HelpersError: the output has no such columns (before Redis 6.2), or a figure is below its
            resolution.
    """
    rows = list(csv.DictReader(output.splitlines()))
    try:
        row = rows[-1]
        found = {name: float(row[f"{name}_latency_ms"]) * 1000 for name in POINTS}
        found["per_s"] = float(row["rps"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise HelpersError(
            f"{TOOL}: no percentiles in what it printed; install redis-tools 6.2 or newer"
        ) from error
    if not all(0 < value < math.inf for value in found.values()):
        raise HelpersError(f"{TOOL}: a figure is below its resolution of 1 µs, so no ratio can be had")
    return {name: round(value, 3) for name, value in found.items()}


def _compared(turns: Sequence[Mapping[str, Any]], part: str) -> dict[str, Any]:
    """Both sides over the turns, and their ratios (ours / theirs) with Student's interval on logarithms."""
    ratios = {}
    for name in (*POINTS, "per_s"):
        ours, theirs = ([turn[part][side][name] for turn in turns] for side in ("ours", "theirs"))
        ratio = statistics.log_ratio(ours, theirs)
        ratios[name] = None if ratio is None else ratio.as_dict()
    return {
        "ours_us": _summary(turns, part, "ours"),
        "theirs_us": _summary(turns, part, "theirs"),
        "ours_per_s": _mean([turn[part]["ours"]["per_s"] for turn in turns]),
        "theirs_per_s": _mean([turn[part]["theirs"]["per_s"] for turn in turns]),
        "ratio": ratios,
    }


def _beside_echo(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The bare round trip of the same turns, and how many of it a PING by ``redis-benchmark`` takes."""
    theirs, echo = ([turn["one_client"][side]["p50"] for turn in turns] for side in ("theirs", "echo"))
    ratio = statistics.log_ratio(theirs, echo)
    return {
        "echo_us": _summary(turns, "one_client", "echo"),
        "theirs_to_echo": None if ratio is None else ratio.as_dict(),
    }


def _summary(turns: Sequence[Mapping[str, Any]], part: str, side: str) -> dict[str, Any]:
    return {name: _mean([turn[part][side][name] for turn in turns]) for name in POINTS}


def _mean(values: Sequence[float]) -> dict[str, float] | None:
    found = statistics.geometric_mean(values)
    return None if found is None else found.as_dict()


def _version(tool: str) -> str:
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=PATIENCE_S)
    return done.stdout.split()[-1] if done.stdout.split() else "unknown"


def _add(found: Mapping[str, Any], folder: Path) -> None:
    """Put a cross-check into ``comparison.json``, which keeps its date and environment."""
    import jsonschema

    from helpers.comparison.schemas import COMPARISON

    path = folder / "comparison.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["data"]["cross_check"] = dict(found)
    try:
        jsonschema.validate(record["data"], COMPARISON)
    except jsonschema.ValidationError as error:
        raise HelpersError(
            f"{path}: not a comparison of this version ({first_line(error)}); run `python -m helpers bench`"
        ) from error
    results.write(path, record)


def describe(found: Mapping[str, Any]) -> list[str]:
    """What was found, as lines for people."""
    lines = []
    for store, part in found.items():
        if NOT_MEASURED in part:
            lines.append(f"{store}: not compared: {part[NOT_MEASURED]}")
            continue
        for clients, which in (("one client", "one_client"), (f"{CLIENTS} clients", "many_clients")):
            ratio = part[which]["ratio"]["p50"]
            ours, theirs = part[which]["ours_us"]["p50"], part[which]["theirs_us"]["p50"]
            if ratio is None:
                lines.append(f"{store}, {clients}: one round shows nothing; measure more")
                continue
            lines.append(
                f"{store}, {clients}: median of PING {text.duration_us(ours['value'])}, by {part['tool']} "
                f"{text.duration_us(theirs['value'])}; ratio {text.three(ratio['value'])} "
                f"({text.three(ratio['low'])} to {text.three(ratio['high'])}, {part['rounds']} rounds)"
            )
    return lines
