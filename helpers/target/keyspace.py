"""The target's side: what it is fit for, which keys of the model it holds, and their removal."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from helpers.columns import Strings, column_of
from helpers.errors import HelpersError
from helpers.model import REGISTERED, Plan
from helpers.target import resp
from helpers.target.checkpoint import Checkpoint, state_key
from helpers.target.lease import lease_key
from helpers.target.resp import encode

SCAN_COUNT = 5000


@dataclass(frozen=True)
class Fitness:
    """What INFO says of a target; of a cluster that of the node with the least room.

    Attributes:
        version: of Redis.
        used_bytes: memory that it uses.
        limit_bytes: memory that it may use (maxmemory); 0 without a limit.
        policy: what it evicts at the limit (maxmemory-policy).
        append_only: it writes an append-only file.
        where: the address of the node; empty for a single server.
        share: of the keys that go to it, from 0 to 1.
        others: the other masters.
    """

    version: str
    used_bytes: int
    limit_bytes: int
    policy: str
    append_only: bool
    where: str = ""
    share: float = 1.0
    others: "tuple[Fitness, ...]" = ()

    @property
    def free_bytes(self) -> int:
        """What is left below the limit."""
        return max(self.limit_bytes - self.used_bytes, 0)

    @property
    def warnings(self) -> list[str]:
        """What a user should know before loading."""
        found = []
        if self.policy != "noeviction":
            when = "" if self.limit_bytes else " as soon as it has a maxmemory"
            found.append(
                f"maxmemory-policy is {self.policy}: Redis may evict migrated keys{when}; "
                "set it to noeviction"
            )
        if not self.append_only:
            found.append("appendonly is no: what was written since the last snapshot is lost with the server")
        if self.where:
            found = [f"redis at {self.where}: {one}" for one in found]
        return found + [one for other in self.others for one in other.warnings]


def inspect(connection: resp.Connection, prefix: str) -> Fitness:
    """Whether the target can be written to at all.

    Args:
        connection: the target.
        prefix: the prefix of the migration, whose keys may all go to one node of a cluster.

    Raises:
        HelpersError: it is a read-only replica, or too old; of a cluster, a master is.
    """
    if not connection.clustered:
        return _inspect(connection)
    connection.check()  # one that has just been replaced is no replica that the user named
    found = [
        replace(_inspect(node), where=node.address, share=connection.share(node, prefix))
        for node in connection.masters()
    ]
    limited = [one for one in found if one.limit_bytes and one.share]
    tightest = min(limited or found, key=lambda one: one.free_bytes / (one.share or 1))
    return replace(tightest, others=tuple(one for one in found if one is not tightest))


def info_of(node: resp.Connection, *sections: str) -> dict[str, str]:
    """What INFO says of a server, by field.

    Args:
        node: the server.
        sections: of it; the usual ones when none is given.
    """
    told = node.call("INFO", *sections).decode("utf-8", "replace")
    return dict(line.split(":", 1) for line in told.splitlines() if ":" in line)


def _inspect(connection: resp.Connection) -> Fitness:
    info = info_of(connection)
    where = f"redis at {connection.address}"
    if info.get("role") == "slave":
        kind = "read-only" if info.get("slave_read_only", "1") == "1" else "writable"
        raise HelpersError(
            f"{where}: this is a {kind} replica, which keeps only what its primary sends; "
            "give the URL of its primary"
        )
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        raise HelpersError(f"{where}: Redis {version} has no ZMSCORE; 6.2 or newer is needed")
    return Fitness(
        version=version,
        used_bytes=int(info.get("used_memory", 0)),
        limit_bytes=int(info.get("maxmemory", 0)),
        policy=info.get("maxmemory_policy", "noeviction"),
        append_only=info.get("aof_enabled") == "1",
    )


def scan(connection: resp.Connection, plan: Plan) -> Iterator[list[tuple[str, bytes]]]:
    """(kind, key) of every key of the plan under the prefix, in lists of bounded length; SCAN may repeat
    one.

    The masters of a cluster are scanned one after the other. A key that moves from one that was not scanned
    yet to one that was is not seen: where slots moved meanwhile, all are scanned once more, so that a key
    which moves once is seen in any case.

    Args:
        connection: the target.
        plan: of the migration.
    """
    before = connection.layout()
    yield from _scan_all(connection, plan)
    if not steady(connection, before):
        yield from _scan_all(connection, plan)


def _scan_all(connection: resp.Connection, plan: Plan) -> Iterator[list[tuple[str, bytes]]]:
    for node in connection.masters():
        cursor: bytes | None = None
        while cursor != b"0":
            cursor, keys = node.call("SCAN", cursor or b"0", "MATCH", plan.glob, "COUNT", SCAN_COUNT)
            found = [(kind.name, key) for key in keys if (kind := plan.kind_of(key))]
            if found:
                yield found


def steady(connection: resp.Connection, before: tuple[str, ...]) -> bool:
    """Whether no key has moved between nodes since the layout was as it was before.

    Args:
        connection: the target.
        before: what ``connection.layout`` gave then.
    """
    return connection.layout() == before and not any("[" in one.partition(" ")[2] for one in before)


def size(connection: resp.Connection) -> int:
    """How many keys of any kind the database holds; of a cluster, its masters."""
    return sum(node.call("DBSIZE") for node in connection.masters())


def count(connection: resp.Connection, plan: Plan) -> Counter[str]:
    """How many keys of each kind of the plan there are under a prefix (SCAN may count one twice).

    Args:
        connection: the target.
        plan: of the migration.
    """
    kinds: Counter[str] = Counter()
    for found in scan(connection, plan):
        kinds.update(kind for kind, _ in found)
    return kinds


def holds_only(connection: resp.Connection, plan: Plan, keys: int) -> bool:
    """Whether so many keys, and those of the bookkeeping, are all that the database holds.

    Args:
        connection: the target.
        plan: of the migration.
        keys: how many keys of the plan there should be.
    """
    before, clustered = connection.layout(), connection.clustered
    names = (state_key(plan.prefix, clustered=clustered), lease_key(plan.prefix, clustered=clustered))
    own = connection.call("EXISTS", *names)
    return size(connection) == keys + own and steady(connection, before)


def expiring(connection: resp.Connection, plan: Plan) -> tuple[bool, bool]:
    """Whether keys, and whether fields of hashes, may be there that Redis removes at some time.

    Args:
        connection: the target.
        plan: of the migration, whose lease is one such key.
    """
    clustered, keys, fields = connection.clustered, 0, 0
    for node in connection.masters():
        if told := info_of(node, "keyspace").get(f"db{node.database}"):
            counts = dict(pair.split("=") for pair in told.split(","))
            keys, fields = keys + int(counts["expires"]), fields + int(counts.get("subexpiry", 0))
    return keys > connection.call("EXISTS", lease_key(plan.prefix, clustered=clustered)), fields > 0


def remove(
    connection: resp.Connection,
    plan: Plan,
    commit: Callable[[Strings], object],
    kinds: Collection[str] | None = None,
) -> int:
    """Remove every key of the plan under the prefix, in batches; how many keys that were.

    Args:
        connection: where to scan.
        plan: of the migration.
        commit: runs a column of commands in RESP (``Checkpoint.commit``).
        kinds: the names of the kinds that are meant; all when None.

    Raises:
        LeaseLost: from ``commit``; some keys may be gone.
    """
    removed = 0
    for found in scan(connection, plan):
        keys = [key for kind, key in found if kinds is None or kind in kinds]
        if connection.clustered:  # one command cannot take keys of several slots
            commit(column_of(*(encode("UNLINK", key) for key in keys)))
        elif keys:
            commit(column_of(encode("UNLINK", *keys)))
        removed += len(keys)
    return removed


def keep_registers(
    connection: resp.Connection, plan: Plan, checkpoint: Checkpoint, kept: Collection[str]
) -> None:
    """Remove the registers of all lists but some, and say so in the state when they are gone.

    Args:
        connection: where to scan.
        plan: of the migration, with all registers that may be there.
        checkpoint: its state, whose lease is held.
        kept: names of the lists whose registers stay.
    """
    gone = [one.name for one in plan.registers if one.of and one.of.name not in kept]
    if gone:
        remove(connection, plan, checkpoint.commit, gone)
        left = json.dumps([name for name in plan.registered if name in kept])
        checkpoint.commit(state={REGISTERED: left})
