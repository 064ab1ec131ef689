"""Redis at ``maxmemory``: what it refuses or drops."""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import numpy as np
import redis as redis_py

from helpers.errors import HelpersError, first_line
from helpers.relational import REFERENCE, Activity, redis_model
from helpers.results import NOT_MEASURED
from helpers.scaling.beyond_cache import in_one_line
from helpers.servers import connections, scratch

ROOM_BYTES = {"quick": 2**20, "full": 2**23}
"""What Redis may use beyond what it uses when empty."""
EACH = 25
"""Activities of a user, written to Redis in one transaction."""
USER_BYTES = 1_024
"""Users are as many as would fit if each took no more than this; each takes about twice as much."""
POLICIES = ("noeviction", "allkeys-lru")
TENTHS = 10


def redis(
    step: Callable[[str], object] = lambda what: None, *, room_bytes: int = ROOM_BYTES["quick"]
) -> dict[str, Any]:
    """Write more than ``maxmemory`` holds, under each policy, and look what is there afterwards.

    Args:
        step: called with what was done, once a policy.
        room_bytes: what Redis may use beyond what it uses when empty.
    """
    with ExitStack() as stack:
        try:
            server = stack.enter_context(scratch.redis("appendonly no"))
        except HelpersError as error:
            return {NOT_MEASURED: str(error)}
        client: Any = stack.enter_context(
            contextlib.closing(connections.redis(server.url, decode_responses=True))
        )
        found: dict[str, Any] = {"version": server.version, "room_bytes": room_bytes, "policies": {}}
        with in_one_line("redis", server.url, (redis_py.RedisError, OSError)):
            limit = int(client.info("memory")["used_memory"]) + room_bytes
            client.config_set("maxmemory", limit)
            for policy in POLICIES:
                found["policies"][policy] = _filled(client, policy, room_bytes // USER_BYTES)
                step(f"redis, {policy}")
        return found


def _filled(client: Any, policy: str, users: int) -> dict[str, Any]:
    client.flushall()
    client.config_resetstat()
    client.config_set("maxmemory-policy", policy)
    acknowledged, refused, words = [], 0, ""
    for user in range(1, users + 1):
        try:
            _write(client, user)
            acknowledged.append(user)
        except redis_py.ResponseError as error:
            refused += 1
            words = words or _words(error)
    used = int(client.info("memory")["used_memory"])
    left = _left(client, acknowledged)
    gone = [EACH - activities for activities, _ in left]
    found = {
        "settings": client.config_get("maxmemory", "maxmemory-policy"),
        "used_bytes": used,
        "written": users * EACH,
        "acknowledged": len(acknowledged) * EACH,
        "refused": refused * EACH,
        "words": words,
        "keys_evicted": int(client.info("stats")["evicted_keys"]),
        "gone": sum(gone),
        "gone_share_by_tenth": [round(float(np.mean(p)) / EACH, 4) for p in np.array_split(gone, TENTHS)]
        if len(gone) >= TENTHS
        else [],
        "users_torn": sum(activities != by_time for activities, by_time in left),
    }
    if refused and acknowledged:
        found["accepted_after_delete"] = _accepted_after_delete(client, acknowledged)
    return found


def _accepted_after_delete(client: Any, users: Sequence[int]) -> bool:
    """Whether a write goes through again once a quarter of the users is deleted."""
    for user in users[: len(users) // 4 + 1]:
        client.delete(redis_model.activities_key(user), redis_model.activities_by_time_key(user))
    try:
        _write(client, users[0])
    except redis_py.ResponseError:
        return False
    return True


def _write(client: Any, user: int) -> None:
    """The activities of a user, list and sorted set, in one transaction: all are acknowledged or none."""
    rows = _activities(user)
    with client.pipeline(transaction=True) as pipe:
        pipe.rpush(
            redis_model.activities_key(user),
            *(redis_model.encode_activity(kind, at) for _, _, kind, at in rows),
        )
        pipe.zadd(
            redis_model.activities_by_time_key(user),
            {
                redis_model.encode_member(number, kind): redis_model.microseconds(at)
                for number, _, kind, at in rows
            },
        )
        pipe.execute()


def _activities(user: int) -> list[Activity]:
    first = (user - 1) * EACH
    return [
        (number, user, "view_product", REFERENCE + timedelta(milliseconds=number))
        for number in range(first + 1, first + EACH + 1)
    ]


def _left(client: Any, users: Sequence[int]) -> list[tuple[int, int]]:
    """How many of each user's activities are there as they were written, in the list and in the sorted
    set.
    """
    left = []
    for start in range(0, len(users), 100):
        some = users[start : start + 100]
        with client.pipeline(transaction=False) as pipe:
            for user in some:
                pipe.lrange(redis_model.activities_key(user), 0, -1)
                pipe.zrange(redis_model.activities_by_time_key(user), 0, -1)
            found = [set(answer) for answer in pipe.execute()]
        for user, listed, scored in zip(some, found[::2], found[1::2], strict=True):
            rows = _activities(user)
            in_list = sum(redis_model.encode_activity(kind, at) in listed for _, _, kind, at in rows)
            in_set = sum(redis_model.encode_member(number, kind) in scored for number, _, kind, _ in rows)
            left.append((in_list, in_set))
    return left


def _words(error: redis_py.ResponseError) -> str:
    """What the server said, without what the driver puts before it."""
    said = first_line(error).rpartition("caused error: ")[2]
    return f"OOM {said}" if isinstance(error, redis_py.exceptions.OutOfMemoryError) else said
