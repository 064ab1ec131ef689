"""The lease and the checkpoint: each batch commits with its position, and only while the lease is ours.

The stream of a batch is ``MULTI, commands, HSET migration:state, PEXPIRE migration:lease, EXEC, WATCH lease,
GET lease``. MULTI and the commands of the next batch may follow at once: the server only queues them. Their
EXEC is sent only after GET gave our token back, and the WATCH makes it fail if anybody took the lease in
between. So a process that was paused until its lease ran out cannot write any more. (In a cluster it is done
otherwise: ``helpers.target.cluster_checkpoint``.)
"""

import contextlib
import copy
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from helpers.columns import NOTHING, Strings, column_of, joined
from helpers.errors import HelpersError
from helpers.model import partition_names
from helpers.target import resp
from helpers.target.connecting import connect
from helpers.target.lease import (
    LEASE_MS,
    LeaseLost,
    holder,
    lease_key,
    new_token,
    partition_lease_key,
    still_runs,
)
from helpers.target.resp import encode

FORMAT = "4"
BEFORE = "3"
"""The format of the version before, whose model was always the course's; it is taken over."""
PARTITIONS_LEASED = "claimed"
"""Field of the state: partitions were leased to several processes, and these leases may be there still."""
OK_QUEUED = (b"+OK\r\n", b"+QUEUED\r\n")


def state_key(prefix: str = "", *, clustered: bool = False) -> str:
    """The hash in which a migration keeps how far it is.

    Args:
        prefix: the prefix of the migration.
        clustered: whether the target is a cluster, where braces bring it to the slot of the lease.
    """
    return f"{prefix}migration:{{state}}" if clustered else f"{prefix}migration:state"


@dataclass(frozen=True)
class _Sent:
    """What was sent and is not known to be written yet.

    Attributes:
        number: by which ``resp.Connection.receive`` gives its replies.
        at: when its EXEC was sent, as ``time.monotonic`` tells it.
        commands: how many commands it has, with those of ``_looks``.
        changes_state: whether the state was set, too.
        doing: what this is, for messages.
        written: called when it is written.
    """

    number: int
    at: float
    commands: int
    changes_state: bool
    doing: str
    written: Callable[[], object]


class Checkpoint:
    """The state of a migration in its target, and the right to change it.

    Args:
        connection: the target.
        prefix: the prefix of the migration.

    Attributes:
        key: of the hash that holds the state.
        lease: key of the string that gives the right to write.
        token: what stands there while that right is ours; empty before ``acquire``.
        renewed: when the lease was renewed last, as ``time.monotonic`` tells it.
        life_ms: how long the lease lasts from then on.
    """

    life_ms = LEASE_MS

    def __init__(self, connection: resp.Connection, prefix: str) -> None:
        self.connection, self.prefix = connection, prefix
        self.lease = lease_key(prefix, clustered=connection.clustered).encode()
        self.key = state_key(prefix, clustered=connection.clustered).encode()
        self.token = ""
        self.renewed = 0.0
        self._end = b""
        self._sent: _Sent | None = None
        self._lost = False

    def read(self) -> dict[str, str]:
        """The state as it is in the target; empty when no migration was recorded there.

        Raises:
            HelpersError: another program keeps something else under the state's key.
        """
        try:
            flat = self.connection.call("HGETALL", self.key)
        except resp.Refused as error:
            if error.code != "WRONGTYPE":
                raise
            raise HelpersError(
                f"redis at {self.connection.address}: {self.key.decode()} is no hash, so another program "
                "wrote it; use another --prefix or database"
            ) from error
        words = [word.decode("utf-8", "replace") for word in flat]
        return dict(zip(words[::2], words[1::2], strict=True))

    def acquire(self, job: str | None = None) -> None:
        """Take the lease, or wait for one whose holder has gone.

        It is always a new one, also after a lost connection: what is still on its way over the lost one can
        then not be executed any more.

        Args:
            job: the name of a job, whose own earlier lease is replaced at once.

        Raises:
            HelpersError: another migration holds it and is alive.
        """
        self.token = new_token(job)
        self._end = encode("WATCH", self.lease) + encode("GET", self.lease)
        deadline = time.monotonic() + 2 * LEASE_MS / 1000
        before: tuple[bytes, int] | None = None
        while True:
            if self.connection.call("SET", self.lease, self.token, "NX", "PX", LEASE_MS) is not None:
                break
            other = self.connection.call("GET", self.lease) or b""
            mine = job is not None and other.startswith(job.encode())
            left_ms = self.connection.call("PTTL", self.lease)
            alive = not mine and still_runs(other.decode("utf-8", "replace"))
            renewed = before is not None and before[0] == other and left_ms > before[1]
            if alive or renewed or time.monotonic() > deadline:
                raise HelpersError(
                    f"redis at {self.connection.address}: another migration is under way "
                    f"({holder(other.decode('utf-8', 'replace'))}; its lease runs out in "
                    f"{max(left_ms, 0) / 1000:.0f} s unless renewed); wait until it ends"
                )
            if alive is False and self._take_over(other):
                break
            before = (other, left_ms)
            time.sleep(0.2)
        if deletions := self._partition_deletions():  # whoever took the lease meanwhile loses his partitions
            self.connection.ask(*deletions)
        self._watch()
        self.renewed = time.monotonic()

    def _partition_deletions(self) -> list[bytes]:
        """The commands that take its partition from every process that loads one."""
        state = self.read()
        clustered = self.connection.clustered
        found = partition_names(state) if state.get(PARTITIONS_LEASED) else []
        return [encode("DEL", partition_lease_key(name, self.prefix, clustered=clustered)) for name in found]

    def end_partition_leases(self) -> None:
        """Take back all partitions: nobody but the holder of the lease can write any more."""
        self.commit(column_of(*self._partition_deletions()), {PARTITIONS_LEASED: ""})

    def _take_over(self, other: bytes) -> bool:
        """Replace a lease whose holder does not need it any more, unless it changed meanwhile."""
        if self.connection.ask(encode("WATCH", self.lease), encode("GET", self.lease))[1] != other:
            return False
        swap = encode("SET", self.lease, self.token, "PX", LEASE_MS, "XX")
        return self.connection.ask(encode("MULTI"), swap, encode("EXEC"))[-1] is not None

    def _watch(self) -> None:
        if self.connection.ask(self._end)[-1] != self.token.encode():
            raise self._lease_lost("was taken")
        self._lost = False

    def _lease_lost(self, how: str) -> LeaseLost:
        return LeaseLost(f"redis at {self.connection.address}: the lease of this migration {how}")

    def commit(
        self, commands: Strings = NOTHING, state: Mapping[str, Any] | None = None, doing: str = ""
    ) -> list[Any]:
        """Run some commands and change the state, all or nothing, if the lease is still ours.

        Args:
            commands: a column with one command in RESP a row.
            state: values of the fields of the state to set; the others stay.
            doing: what this is, for messages.

        Returns:
            The replies to the commands, as ``resp.parse`` gives them.

        Raises:
            LeaseLost: nothing was written; the lease is not ours any more.
            resp.Refused: a reply was an error, maybe one to what ``send`` had sent before; then nothing of
                this was written.
        """
        self.settle()
        self.send(commands, state, doing)
        return self.settle()

    def send(
        self,
        commands: Strings = NOTHING,
        state: Mapping[str, Any] | None = None,
        doing: str = "",
        written: Callable[[], object] = lambda: None,
    ) -> None:
        """``commit``, but it waits only for what was sent before.

        The commands are on their way while the server is at work on that; their EXEC follows once that is
        known to be written, and the lease to be ours.

        Args:
            commands: as ``commit`` takes them.
            state: as ``commit`` takes it.
            doing: as ``commit`` takes it.
            written: called by the ``send``, ``commit`` or ``settle`` that finds all this written.

        Raises:
            LeaseLost, resp.Refused: as ``commit``, for what was sent before; nothing of this was written.
            resp.Lost: the connection broke; whether this was written is not known.
        """
        looks = self._looks()
        begin = (encode("MULTI"), joined(commands), *looks)
        if self._sent:
            self.connection.write(*begin)
            begin = ()
            try:
                self.settle()
            except HelpersError:
                with contextlib.suppress(HelpersError):
                    self.connection.exchange(encode("DISCARD"), self._end)
                raise
        body = encode("HSET", self.key, *(w for pair in state.items() for w in pair)) if state else b""
        life = encode("PEXPIRE", self.lease, self.life_ms)
        at = time.monotonic()
        number = self.connection.send(*begin, body, life, encode("EXEC"), self._end)
        self._sent = _Sent(number, at, len(commands) + len(looks), bool(state), doing, written)

    def settle(self) -> list[Any]:
        """Wait for the replies to what was sent last.

        Returns:
            The replies to its commands; none when nothing was sent, or somebody waited already.

        Raises:
            LeaseLost: it was not written, or the lease was replaced since.
            resp.Refused: a reply was an error.
        """
        sent, self._sent = self._sent, None
        if sent is None:
            return []
        raw = self.connection.receive(sent.number)
        queued = OK_QUEUED[0] + OK_QUEUED[1] * (sent.commands + sent.changes_state + 1)
        as_hoped = raw.startswith(queued)
        replies = resp.parse(raw[len(queued) :] if as_hoped else raw)
        # The error of a command that was not queued comes before that of EXEC, and is the reason. Where one
        # failed in EXEC, the others stand: a load that goes on is compared as a whole.
        for error in resp.errors(replies):
            raise self.connection.error_of(error, sent.doing)
        if not as_hoped or len(replies) != 3:
            raise HelpersError(f"redis at {self.connection.address}: an answer that is not of Redis")
        results, _, other = replies
        if results is None or other != self.token.encode():
            self._lost = True  # what is watched now is another's
            raise self._lease_lost("ran out")
        self.renewed = sent.at
        found = self._looked(results[: sent.commands])
        sent.written()
        return found

    def _looks(self) -> tuple[bytes, ...]:
        """Commands at the end of a batch, whose replies ``_looked`` judges."""
        return ()

    def _looked(self, replies: list[Any]) -> list[Any]:
        """The replies to the commands of a batch without those to ``_looks``."""
        return replies

    def renew_when_due(self) -> None:
        """Renew the lease if a third of its time has gone since it was renewed."""
        if time.monotonic() - self.renewed > LEASE_MS / 3000:
            self.commit()

    def give_up(self, url: str, error: BaseException) -> None:
        """Close the connection after an error, and give the lease back where the target can be reached.

        Args:
            url: of the target.
            error: what happened. After an interrupt a thread may still be sending: nothing is waited for.
        """
        if isinstance(error, HelpersError):
            with contextlib.suppress(HelpersError):
                self.settle()  # what is written counts
        self.connection.close()
        if not isinstance(error, resp.Lost):
            self.release(url)

    def release(self, url: str | None = None) -> None:
        """Give the lease back, if it is still ours.

        Args:
            url: of the target, to do it over a connection of its own, when this one may be in the middle of
                something.
        """
        with contextlib.suppress(HelpersError):
            if url is None:
                self._give_back()
            else:
                with contextlib.closing(connect(url)) as connection:
                    other = copy.copy(self)  # a thread may still be busy with this one
                    other.connection, other._sent = connection, None
                    for _ in range(2):  # what is still under way on the closed one may renew it in between
                        other._watch()
                        with contextlib.suppress(LeaseLost):  # as it is, once it is given back
                            other._give_back()

    def _give_back(self) -> None:
        if not self._lost:
            self.commit(column_of(*self._partition_deletions(), encode("DEL", self.lease)))

    def replicate(self) -> None:
        """Make sure of what was committed, as far as the target lets us."""

    def push_script(self) -> bytes:
        """The name of the script that pushes to a list once; empty where a batch is one transaction."""
        return b""

    def empty(self) -> None:
        """Empty the whole database, but for the lease."""
        lease = encode("SET", self.lease, self.token, "PX", LEASE_MS)
        self.commit(column_of(encode("FLUSHDB"), lease))


class PartitionCheckpoint(Checkpoint):
    """The state of a migration, and the right to change it as far as one partition goes.

    Args:
        connection: the target.
        prefix: the prefix of the migration.
        partition: the partition's name.
        lease: the token of the migration's lease, which must be held while this writes.
    """

    life_ms = 24 * 60 * 60 * 1000
    """A partition's lease need not run out, as whoever needs it takes it; then it is gone by itself."""

    def __init__(self, connection: resp.Connection, prefix: str, partition: str, lease: str) -> None:
        super().__init__(connection, prefix)
        self._main_lease, self._main_token = self.lease, lease.encode()
        self.lease = partition_lease_key(partition, prefix).encode()

    def take(self) -> None:
        """Take the partition from whoever has it.

        Raises:
            LeaseLost: the lease of the migration is not held any more.
        """
        self.token = secrets.token_hex(16)
        self._end = encode("WATCH", self.lease) + encode("GET", self.lease)
        swap = encode("SET", self.lease, self.token, "PX", self.life_ms)
        deadline = time.monotonic() + LEASE_MS / 1000
        while True:
            held = self.connection.ask(encode("WATCH", self._main_lease), encode("GET", self._main_lease))[1]
            self._check(held)
            if self.connection.ask(encode("MULTI"), swap, encode("EXEC"))[-1] is not None:
                break
            if time.monotonic() > deadline:  # it was renewed in between, again and again
                raise self._lease_lost("was taken")
        self._watch()
        self.renewed = time.monotonic()

    def _looks(self) -> tuple[bytes, ...]:
        return (encode("GET", self._main_lease),)

    def _looked(self, replies: list[Any]) -> list[Any]:
        """The replies without that of the last command.

        Raises:
            LeaseLost: the migration's lease is not that which this was given; the batch was written, and is
                the last one.
        """
        *found, held = replies
        self._check(held)
        return found

    def _check(self, held: bytes | None) -> None:
        if held != self._main_token:
            raise self._lease_lost("was taken")
