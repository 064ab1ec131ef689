"""The rehearsal: every command that a migration needs, queued in the target and thrown away.

A command queued behind MULTI is judged as if it were run: by the user's rights, by memory, disk and
replicas. DISCARD forgets it. So what a target would refuse in the middle of a load is known before its
first write.
"""

from collections.abc import Callable, Mapping

import hiredis

from helpers import text
from helpers.errors import HelpersError
from helpers.model import BOOKKEEPING, KeyKind, Plan
from helpers.target import resp
from helpers.target.checkpoint import state_key
from helpers.target.cluster import Cluster
from helpers.target.lease import lease_key, partition_lease_key
from helpers.target.redo import log_key, mark_key
from helpers.target.resp import encode

Command = tuple[str | int, ...]
"""Words of a command; those on a key have ``{}`` in its place."""

ON_TYPE: Mapping[str, tuple[Command, ...]] = {
    "hash": (("HSET", "{}", "f", "v"), ("HGETALL", "{}")),
    "string": (("SET", "{}", "v"), ("GET", "{}")),
    "set": (
        ("SADD", "{}", "m"),
        ("SREM", "{}", "m"),
        ("SMISMEMBER", "{}", "m"),
        ("SCARD", "{}"),
        ("SSCAN", "{}", 0),
    ),
    "list": (("RPUSH", "{}", "v"), ("LRANGE", "{}", 0, 0), ("LLEN", "{}"), ("LTRIM", "{}", 0, 0)),
    "zset": (
        ("ZADD", "{}", 0, "m"),
        ("ZREM", "{}", "m"),
        ("ZRANGE", "{}", 0, 0),
        ("ZMSCORE", "{}", "m"),
        ("ZCARD", "{}"),
        ("ZSCAN", "{}", 0),
    ),
}
ON_ANY: tuple[Command, ...] = (
    ("DEL", "{}"),
    ("UNLINK", "{}"),
    ("TYPE", "{}"),
    ("PTTL", "{}"),
    ("PERSIST", "{}"),
)
ON_STATE: tuple[Command, ...] = (*ON_TYPE["hash"], ("DEL", "{}"), ("EXISTS", "{}"))
ON_LEASE: tuple[Command, ...] = (
    ("SET", "{}", "v", "NX", "PX", 1),
    ("GET", "{}"),
    ("PTTL", "{}"),
    ("PEXPIRE", "{}", 1),
    ("DEL", "{}"),
    ("EXISTS", "{}"),
)
ON_PARTITION_LEASE: tuple[Command, ...] = (
    ("SET", "{}", "v", "PX", 1),
    ("GET", "{}"),
    ("PEXPIRE", "{}", 1),
    ("DEL", "{}"),
)
FOLLOWING: Mapping[str, tuple[Command, ...]] = {
    "list": (
        ("LINDEX", "{}", 0),
        ("LSET", "{}", 0, "v"),
        ("LREM", "{}", 1, "v"),
        ("LINSERT", "{}", "BEFORE", "v", "v"),
        ("LPOP", "{}", 1),
    ),
    "zset": (("ZCOUNT", "{}", 0, 0), ("ZRANGEBYSCORE", "{}", 0, 0), ("ZSCORE", "{}", "m")),
}
"""What the script of ``follow`` runs besides."""
ON_LOG: tuple[Command, ...] = (
    ("HSET", "{}", "f", "v"),
    ("HKEYS", "{}"),
    ("HGET", "{}", "f"),
    ("HDEL", "{}", "f"),
    ("DEL", "{}"),
    ("UNLINK", "{}"),
)
ON_MARK: tuple[Command, ...] = (("SET", "{}", 0), ("GET", "{}"), ("UNLINK", "{}"))
"""Of the redo log of what is followed onto a cluster."""
IN_CLUSTER: tuple[Command, ...] = (
    ("EVAL", "return 1", 0),
    ("EVALSHA", "0" * 40, 0),
    ("SCRIPT", "LOAD", "return 1"),
    ("CLUSTER", "SLOTS"),
    ("CLUSTER", "NODES"),
    ("CLIENT", "SETNAME", "x"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "ID", 1),
    ("ROLE",),
    ("WAIT", 0, 1),
    ("ASKING",),
)
"""What each node of a cluster is asked besides."""
SEARCHED = 1000
"""How many numbers are tried to find a key that belongs to a node."""
AROUND = ("PING", "ECHO", "INFO", "WATCH", "UNWATCH", "MULTI", "EXEC", "DISCARD")
"""Commands that a migration runs, but not in a transaction."""


def commands(
    plan: Plan,
    *,
    flushdb: bool = False,
    follow: bool = False,
    clustered: bool = False,
    key_of: Callable[[KeyKind], str] | None = None,
) -> list[Command]:
    """What a migration may run in a transaction, each command on a key of each kind that it touches.

    Args:
        plan: of the migration.
        flushdb: whether it empties the database.
        follow: whether it is to be followed.
        clustered: whether the target is a cluster.
        key_of: gives a key of a kind; by default that of the row 1.
    """
    state, lease = (name(plan.prefix, clustered=clustered) for name in (state_key, lease_key))
    partition = partition_lease_key(plan.streams[0].name, plan.prefix, clustered=clustered)
    found = [(state, ON_STATE), (lease, ON_LEASE), (partition, ON_PARTITION_LEASE)]
    for kind in plan.written:
        more = FOLLOWING.get(kind.type, ()) if follow else ()
        key = key_of(kind) if key_of else _key(plan, kind, 1)
        found.append((key, (*ON_TYPE[kind.type], *ON_ANY, *more)))
    if follow and clustered:
        found += [(log_key(plan.prefix).decode(), ON_LOG), (mark_key(plan.prefix, 0).decode(), ON_MARK)]
    on_keys = [(words[0], key, *words[2:]) for key, commands in found for words in commands]
    once: list[Command] = [("SCAN", 0), ("DBSIZE",)]
    once += [("FLUSHDB",)] if flushdb else []
    once += [("EVAL", "return 1", 0), ("HDEL", state, "f")] if follow else []
    once += IN_CLUSTER if clustered else ()
    return [*once, *on_keys]


def rehearse(connection: resp.Connection, plan: Plan, *, flushdb: bool = False, follow: bool = False) -> None:
    """Find out, without writing, whether the target would refuse anything of a migration now.

    Args:
        connection: the target.
        plan: of the migration.
        flushdb: whether it empties the database.
        follow: whether it is to be followed.

    Raises:
        HelpersError: it would; all missing rights are in one line, with the command that gives them.
    """
    if isinstance(connection, Cluster):
        for node in connection.masters():
            _rehearse(node, plan, flushdb, follow, cluster=connection)
    else:
        _rehearse(connection, plan, flushdb, follow)


def _rehearse(
    connection: resp.Connection,
    plan: Plan,
    flushdb: bool,
    follow: bool = False,
    cluster: Cluster | None = None,
) -> None:
    """Rehearse on one server; of a cluster on a node, with keys of which it has the slots, where it has."""

    def key_of(kind: KeyKind) -> str:
        names = (_key(plan, kind, number) for number in range(1, SEARCHED))
        return next(
            (key for key in names if cluster is None or cluster.owner(key.encode()) is connection),
            _key(plan, kind, 1),
        )

    # Were MULTI denied, what follows it would be run: be sure of it with a command that does no harm.
    _try(connection, [("MULTI",), ("SCAN", 0), ("DISCARD",), ("MULTI",), ("EXEC",)], plan)
    watched = (lease_key(plan.prefix), partition_lease_key(plan.streams[0].name, plan.prefix))
    lease: list[Command] = [("WATCH", *watched), ("UNWATCH",)] if cluster is None else []
    sent = commands(plan, flushdb=flushdb, follow=follow, clustered=cluster is not None, key_of=key_of)
    _try(connection, [*lease, ("MULTI",), *sent, ("DISCARD",)], plan)


def _key(plan: Plan, kind: KeyKind, number: int) -> str:
    """A key of a kind, whose columns all have one number."""
    return plan.key_of(kind, [b"%d" % number] * len(kind.key.columns)).decode()


def _try(connection: resp.Connection, sent: list[Command], plan: Plan) -> None:
    replies = resp.parse(connection.exchange(b"".join(encode(*words) for words in sent)))
    errors = [(w, r) for w, r in zip(sent, replies, strict=True) if isinstance(r, hiredis.ReplyError)]
    errors = [(words, error) for words, error in errors if not str(error).startswith(("MOVED ", "ASK "))]
    denied = [(words, "run the" in str(error)) for words, error in errors if "NOPERM" in str(error)]
    if denied:
        names = list(dict.fromkeys(right(words) for words, by_command in denied if by_command))
        keys = list(dict.fromkeys(str(words[1]) for words, by_command in denied if not by_command))
        lacks = [f"may not run {text.join(names)}"] if names else []
        lacks += [f"has no right to keys such as {text.join(keys[:3])}"] if keys else []
        rights = [f"+{name.lower()}" for name in names] + list(
            dict.fromkeys(_pattern(key, plan) for key in keys)
        )
        raise HelpersError(
            f"redis at {connection.address}: user {connection.user} {text.join(lacks)}; nothing was written; "
            f"allow it by `ACL SETUSER {connection.user} {' '.join(rights)}`"
        )
    for _, error in errors:
        raise connection.error_of(error)


def right(words: Command) -> str:
    """The right that a command needs, as ACL names it."""
    return f"{words[0]}|{words[1]}" if words[0] in ("CLIENT", "CLUSTER", "SCRIPT") else str(words[0])


def _pattern(key: str, plan: Plan) -> str:
    """The pattern of keys like this one, as ACL takes it: ``shop:user:1:orders`` gives ``~shop:user:*``."""
    for head in (*plan.heads, BOOKKEEPING):
        if key.startswith(plan.prefix + head):
            return f"~{plan.prefix}{head}*"
    return f"~{key}"
