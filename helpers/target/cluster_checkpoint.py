"""The checkpoint of a migration whose target is a cluster, where no transaction spans slots.

One server commits a batch and its position in one ``EXEC``. A cluster cannot, not even on one node. Exactly
once is made of three other things there:

1. Each command of a batch may come twice and change nothing the second time: HSET and ZADD are so, and a
   list is pushed to by ``PUSH``, which is told how long the list was before and leaves out what it has.
2. State and lease have one slot, and the state moves on only after every node has answered for the whole
   batch: a batch whose position was not recorded is sent again, a position that was recorded has its batch.
3. Who lost the lease cannot write any more. Every connection that a migration writes over carries the token
   of its lease as its name, and only then the lease is looked at; who takes a lease ends, on every node, the
   connections with another token of the same prefix before it reads the state. So what a process that was
   paused sends later reaches nobody, and a connection that it opens later finds the lease taken.

The replies of a node are those of its memory, and replicas follow a moment later: a master that is lost may
take along what it had acknowledged. Whoever loses a connection, or finds that a master is none any more,
therefore begins anew and compares the whole, as every load does that goes on.
"""

import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from helpers.columns import NOTHING, Strings
from helpers.errors import HelpersError
from helpers.target import keyspace, resp, routing
from helpers.target.checkpoint import Checkpoint, PartitionCheckpoint
from helpers.target.cluster import Cluster
from helpers.target.lease import LEASE_MS, partition_lease_key

PUSH = (
    "local held, before = redis.call('LLEN', KEYS[1]), tonumber(ARGV[1]) "
    "if held < before then return held end "
    "for i = 2 + held - before, #ARGV, 5000 do "
    "redis.call('RPUSH', KEYS[1], unpack(ARGV, i, math.min(i + 4999, #ARGV))) end "
    "return redis.call('LLEN', KEYS[1])"
)
"""Push elements to a list that was so long before them, but those that it has already; its length then. A
list that is shorter is left as it is: something is lost, which only a comparison can mend."""
REPLICATE_MS = 1000
EMPTY_TIMES = 3
"""How often a cluster is emptied while keys move from a node that was not emptied yet to one that was."""
IF_OURS = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
COMMIT = (
    "for i = 2, #KEYS do if redis.call('GET', KEYS[i]) ~= ARGV[i - 1] then return 0 end end "
    "redis.call('PEXPIRE', KEYS[2], ARGV[#KEYS]) "
    "for i = #KEYS + 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end return 1"
)
"""Set fields of the first key if each further key has its token; the second lives on."""
SWAP = IF_OURS + "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1"
DROP = IF_OURS + "redis.call('DEL', KEYS[1]) return 1"
EMPTY = IF_OURS + "redis.call('FLUSHDB') redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
TAKE = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) return 1"
)


def checkpoint_of(connection: resp.Connection, prefix: str) -> Checkpoint:
    """The checkpoint of a migration, as its target needs it.

    Args:
        connection: the target, one server or a cluster.
        prefix: the prefix of the migration.

    Raises:
        HelpersError: the target is a cluster, and the prefix would tear state and lease apart.
    """
    if isinstance(connection, Cluster):
        return ClusterCheckpoint(connection, prefix)
    return Checkpoint(connection, prefix)


def partition_checkpoint_of(
    connection: resp.Connection, prefix: str, partition: str, lease: str
) -> "PartitionCheckpoint | ClusterPartitionCheckpoint":
    """The checkpoint of a partition, as its target needs it.

    Args:
        connection: the target, one server or a cluster.
        prefix: the prefix of the migration.
        partition: the partition's name.
        lease: the token of the migration's lease, which must be held while the partition is written.
    """
    if isinstance(connection, Cluster):
        return ClusterPartitionCheckpoint(connection, prefix, partition, lease)
    return PartitionCheckpoint(connection, prefix, partition, lease)


class ClusterCheckpoint(Checkpoint):
    """``Checkpoint`` in a cluster: the state of a migration, and the right to change it.

    Args:
        connection: the cluster.
        prefix: the prefix of the migration.

    Raises:
        HelpersError: the prefix would tear state and lease apart.
    """

    connection: Cluster

    def __init__(self, connection: Cluster, prefix: str) -> None:
        super().__init__(connection, prefix)
        if routing.slot(self.key) != routing.slot(self.lease):
            raise HelpersError(
                f"redis at {connection.address}: --prefix {prefix!r} has empty braces, which in a cluster "
                "bring its bookkeeping to several slots; use another one"
            )
        digest = hashlib.sha256(prefix.encode("utf-8", "surrogateescape")).hexdigest()
        self._names_begin = f"migration:{digest[:16]}:"

    @property
    def _name(self) -> str:
        """What the connections of this lease are called."""
        return self._names_begin + self.token.split(" ")[0]

    def _leases(self) -> dict[bytes, bytes]:
        """The tokens that must stand in the cluster while this writes, by key; the first lease is renewed."""
        return {self.lease: self.token.encode()}

    def commit(
        self, commands: Strings = NOTHING, state: Mapping[str, Any] | None = None, doing: str = ""
    ) -> list[Any]:
        """Run some commands, and once every node has answered, change the state, if the lease is still ours.

        Arguments, replies and errors are those of ``Checkpoint.commit``. Unlike there, commands may have been
        run when this fails.
        """
        replies = self.connection.replies(commands) if commands else []
        for error in resp.errors(replies):
            raise self.connection.error_of(error, doing)
        self.record(self.key, state or {})
        return replies

    def send(
        self,
        commands: Strings = NOTHING,
        state: Mapping[str, Any] | None = None,
        doing: str = "",
        written: Callable[[], object] = lambda: None,
    ) -> None:
        """``commit``, then ``written``. Nothing is sent ahead: a node executes at once what reaches it, and a
        batch must not begin before the one before it is done everywhere.

        Arguments and errors are those of ``Checkpoint.send``.
        """
        self.commit(commands, state, doing)
        written()

    def record(self, key: bytes, fields: Mapping[str, Any]) -> None:
        """Set fields of a hash in the slot of the state, if the lease is still ours, and renew that.

        Args:
            key: of the hash.
            fields: with their values.

        Raises:
            LeaseLost: nothing was written.
        """
        leases = self._leases()
        words = (*leases.values(), self.life_ms, *(word for pair in fields.items() for word in pair))
        if self.connection.call("EVAL", COMMIT, 1 + len(leases), key, *leases, *words) != 1:
            raise self._lease_lost("ran out")
        self.renewed = time.monotonic()

    def push_script(self) -> bytes:
        """The name of ``PUSH`` on every node."""
        return self.connection.script(PUSH)

    def empty(self) -> None:
        """Empty every master, the one with state and lease last: until then it is known what was begun."""
        self.commit()
        for _ in range(EMPTY_TIMES):
            before, last = self.connection.layout(), self.connection.owner(self.lease)
            for node in self.connection.masters():
                if node is not last:
                    node.call("FLUSHDB")
            if self.connection.call("EVAL", EMPTY, 1, self.lease, self.token, LEASE_MS) != 1:
                raise self._lease_lost("ran out")
            if keyspace.steady(self.connection, before):
                break

    def _take_over(self, other: bytes) -> bool:
        return bool(self.connection.call("EVAL", SWAP, 1, self.lease, other, self.token, LEASE_MS) == 1)

    def _watch(self) -> None:
        """Make sure that the lease is ours, and that nobody else writes under an earlier one."""
        self.connection.on_connect = self._enter
        for node in self.connection.nodes():
            self._enter(node)
        self._check()
        self._fence()
        self._check()
        self.connection.on_connect = self._enter_and_check

    def _fence(self) -> None:
        """End, on every node, the connections over which others may still write."""
        nodes = self.connection.all_nodes()
        try:
            for node in nodes:
                try:
                    self._end_others(node)
                except resp.Lost:
                    if node in self.connection.nodes():
                        raise
        finally:
            self.connection.close_extra(nodes)

    def _enter(self, node: resp.Connection) -> None:
        node.call("CLIENT", "SETNAME", self._name)

    def _enter_and_check(self, node: resp.Connection) -> None:
        self._enter(node)
        self._check()

    def _check(self) -> None:
        for key, token in self._leases().items():
            if self.connection.call("GET", key) != token:
                raise self._lease_lost("was taken")

    def _end_others(self, node: resp.Connection) -> None:
        """End what other leases of this prefix have open on a node."""
        for line in node.call("CLIENT", "LIST").decode("utf-8", "replace").splitlines():
            found = re.match(r"id=(\d+) .*? name=(\S*) ", line)
            if found and found[2].startswith(self._names_begin) and found[2] != self._name:
                with contextlib.suppress(resp.Refused):  # it has gone by itself
                    node.call("CLIENT", "KILL", "ID", found[1])

    def replicate(self) -> None:
        """Wait a moment until a replica has the state: a master that is lost should not take it along."""
        node = self.connection.owner(self.key)
        if node.call("ROLE")[2]:
            node.call("WAIT", 1, REPLICATE_MS)

    def end_partition_leases(self) -> None:
        """Take back all partitions, and end the connections of who had them."""
        super().end_partition_leases()
        self._fence()

    def _give_back(self) -> None:
        if self._partition_deletions():
            self.end_partition_leases()
        self.connection.call("EVAL", DROP, 1, self.lease, self.token)


class ClusterPartitionCheckpoint(ClusterCheckpoint):
    """``PartitionCheckpoint`` in a cluster: the right to change the state as far as one partition goes.

    Args:
        connection: the target.
        prefix: the prefix of the migration.
        partition: the partition's name.
        lease: the token of the migration's lease, which must be held while this writes.
    """

    life_ms = PartitionCheckpoint.life_ms

    def __init__(self, connection: Cluster, prefix: str, partition: str, lease: str) -> None:
        super().__init__(connection, prefix)
        self._main_lease, self._main_token = self.lease, lease.encode()
        self.lease = partition_lease_key(partition, prefix, clustered=True).encode()
        self._names_begin += f"{lease.split(' ')[0]}:{partition}:"

    def take(self) -> None:
        """Take the partition from whoever has it.

        Raises:
            LeaseLost: the lease of the migration is not held any more.
        """
        self.token = secrets.token_hex(16)
        words = (self._main_lease, self.lease, self._main_token, self.token, self.life_ms)
        if self.connection.call("EVAL", TAKE, 2, *words) != 1:
            raise self._lease_lost("was taken")
        self._watch()
        self.renewed = time.monotonic()

    def _leases(self) -> dict[bytes, bytes]:
        return {self.lease: self.token.encode(), self._main_lease: self._main_token}
