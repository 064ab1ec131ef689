"""The target's side: what it is fit for, which keys of the model it holds, and their removal."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from helpers import model, resp
from helpers.errors import HelpersError
from helpers.resp import encode

SCAN_COUNT = 5000


@dataclass(frozen=True)
class Fitness:
    """What INFO says of a target: version, memory in bytes (0: no limit), eviction policy, append-only
    file.
    """

    version: str
    used_bytes: int
    limit_bytes: int
    policy: str
    append_only: bool

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
        return found


def inspect(connection: resp.Connection) -> Fitness:
    """Whether the target can be written to at all.

    Raises:
        HelpersError: it is a read-only replica, a cluster, or too old.
    """
    text = connection.call("INFO").decode("utf-8", "replace")
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    where = f"redis at {connection.address}"
    if info.get("role") == "slave":
        kind = "read-only" if info.get("slave_read_only", "1") == "1" else "writable"
        raise HelpersError(
            f"{where}: this is a {kind} replica, which keeps only what its primary sends; "
            "give the URL of its primary"
        )
    if info.get("cluster_enabled") == "1":
        raise HelpersError(
            f"{where}: this is a Redis Cluster, where one transaction cannot hold a batch; use one node"
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


def scan(connection: resp.Connection, prefix: str) -> Iterator[list[tuple[str, bytes]]]:
    """(kind, key) of every key of the model under the prefix, in lists of bounded length; SCAN may repeat
    one.
    """
    pattern, glob = model.key_pattern(prefix), model.glob(prefix)
    cursor: bytes = b"0"
    while True:
        cursor, keys = connection.call("SCAN", cursor, "MATCH", glob, "COUNT", SCAN_COUNT)
        found = [(m.lastgroup or "", m.group()) for key in keys if (m := pattern.fullmatch(key))]
        if found:
            yield found
        if cursor == b"0":
            return


def count(connection: resp.Connection, prefix: str) -> Counter[str]:
    """How many keys of each kind the target holds (SCAN may count one twice)."""
    kinds: Counter[str] = Counter()
    for found in scan(connection, prefix):
        kinds.update(kind for kind, _ in found)
    return kinds


def holds_only(connection: resp.Connection, prefix: str, keys: int) -> bool:
    """Whether so many keys, and those of the bookkeeping, are all that the database holds."""
    own = connection.call("EXISTS", model.state_key(prefix), model.lease_key(prefix))
    return bool(connection.call("DBSIZE") == keys + own)


def remove(connection: resp.Connection, prefix: str, commit: Callable[[bytes, int], object]) -> int:
    """Remove every key of the model under the prefix, in batches; how many keys that were.

    Args:
        connection: where to scan.
        prefix: the prefix of the migration.
        commit: runs the commands of a batch (``Checkpoint.commit``).
    """
    removed = 0
    for found in scan(connection, prefix):
        commit(encode("UNLINK", *(key for _, key in found)), 1)
        removed += len(found)
    return removed
