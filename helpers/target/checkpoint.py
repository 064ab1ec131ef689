"""The lease and the checkpoint: each batch commits with its position, and only while the lease is ours.

The stream of a batch is ``MULTI, commands, HSET migration:state, PEXPIRE migration:lease, EXEC, WATCH lease,
GET lease``. The next batch is sent only after GET gave our token back, and the WATCH makes its EXEC fail
if anybody took the lease in between. So a process that was paused until its lease ran out cannot write any
more. (In a cluster it is done otherwise: ``helpers.target.slotted``.)
"""

import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from helpers.columns import NOTHING, Strings, column_of, joined, stacked
from helpers.errors import HelpersError
from helpers.model import streams
from helpers.target import cluster, holder, resp
from helpers.target.resp import encode

FORMAT = "3"
LEASE_MS = 15_000
OK_QUEUED = (b"+OK\r\n", b"+QUEUED\r\n")


CLAIMED = "claimed"
"""Field of the state: partitions were claimed by several processes, and their claims may be there still."""


def state_key(prefix: str = "", *, clustered: bool = False) -> str:
    """The hash in which a migration keeps how far it is; in a cluster with braces, as its lease has them."""
    return f"{prefix}migration:{{state}}" if clustered else f"{prefix}migration:state"


def lease_key(prefix: str = "", *, clustered: bool = False) -> str:
    """The string that says which process migrates now; it expires by itself."""
    return f"{prefix}migration:{{state}}:lease" if clustered else f"{prefix}migration:lease"


def claim_key(partition: str, prefix: str = "", *, clustered: bool = False) -> str:
    """The string that says which process loads a partition, where several do."""
    return f"{prefix}migration:{'{state}:' if clustered else ''}claim:{partition}"


class LeaseLost(HelpersError):
    """The lease ran out or was taken: nothing more may be written under it."""


class Checkpoint:
    """The state of a migration in its target, and the right to change it."""

    life_ms = LEASE_MS

    def __init__(self, connection: resp.Connection, prefix: str) -> None:
        self.connection, self.prefix = connection, prefix
        self.lease = lease_key(prefix, clustered=connection.clustered).encode()
        self.key = state_key(prefix, clustered=connection.clustered).encode()
        self.token = ""
        self.renewed = 0.0
        self._end = b""

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

    def acquire(self, run: str | None = None) -> None:
        """Take the lease, or wait for one whose holder has gone.

        It is always a new one, also after a lost connection: what is still on its way over the lost one can
        then not be executed any more.

        Args:
            run: the name of a run, whose own earlier lease is replaced at once.

        Raises:
            HelpersError: another migration holds it and is alive.
        """
        self.token = holder.token(run)
        self._end = encode("WATCH", self.lease) + encode("GET", self.lease)
        deadline = time.monotonic() + 2 * LEASE_MS / 1000
        before: tuple[bytes, int] | None = None
        while True:
            if self.connection.call("SET", self.lease, self.token, "NX", "PX", LEASE_MS) is not None:
                break
            other = self.connection.call("GET", self.lease) or b""
            mine = run is not None and other.startswith(run.encode())
            left_ms = self.connection.call("PTTL", self.lease)
            alive = not mine and holder.alive(other.decode("utf-8", "replace"))
            renewed = before is not None and before[0] == other and left_ms > before[1]
            if alive or renewed or time.monotonic() > deadline:
                raise HelpersError(
                    f"redis at {self.connection.address}: another migration is under way "
                    f"({holder.name(other.decode('utf-8', 'replace'))}; its lease runs out in "
                    f"{max(left_ms, 0) / 1000:.0f} s unless renewed); wait until it ends"
                )
            if alive is False and self._take_over(other):
                break
            before = (other, left_ms)
            time.sleep(0.2)
        if unclaim := self._unclaim():  # whoever took the lease meanwhile loses his claims, and begins again
            self._ask(*unclaim)
        self._watch()
        self.renewed = time.monotonic()

    def _unclaim(self) -> list[bytes]:
        """The commands that take its partition from every process that loads one."""
        state = self.read()
        clustered = self.connection.clustered
        parts = streams.partitions(state) if state.get(CLAIMED) else []
        return [encode("DEL", claim_key(part.name, self.prefix, clustered=clustered)) for part in parts]

    def unclaim(self) -> None:
        """End all claims: nobody but the holder of the lease can write any more."""
        self.commit(column_of(*self._unclaim()), {CLAIMED: ""})

    def _take_over(self, other: bytes) -> bool:
        """Replace a lease whose holder does not need it any more, unless it changed meanwhile."""
        if self._ask(encode("WATCH", self.lease), encode("GET", self.lease))[1] != other:
            return False
        swap = encode("SET", self.lease, self.token, "PX", LEASE_MS, "XX")
        return self._ask(encode("MULTI"), swap, encode("EXEC"))[-1] is not None

    def _watch(self) -> None:
        if self._ask(self._end)[-1] != self.token.encode():
            raise LeaseLost(f"redis at {self.connection.address}: the lease of this migration was taken")

    def _ask(self, *commands: bytes) -> list[Any]:
        """The replies to some commands, none of which is an error."""
        replies = resp.parse(self.connection.exchange(*commands))
        for error in resp.errors(replies):
            raise self.connection.refused(error)
        return replies

    def commit(
        self, commands: Strings = NOTHING, state: Mapping[str, Any] | None = None, doing: str = ""
    ) -> list[Any]:
        """Run some commands and change the state, all or nothing, if the lease is still ours.

        Args:
            commands: in RESP, one a row.
            state: fields of the state to set.
            doing: what this is, for messages.

        Returns:
            The replies to the commands.

        Raises:
            LeaseLost: nothing was written; the lease is not ours any more.
            resp.Refused: a reply was an error.
        """
        body = encode("HSET", self.key, *(w for pair in state.items() for w in pair)) if state else b""
        count = len(commands)
        raw = self.connection.exchange(
            encode("MULTI"),
            joined(commands),
            body,
            encode("PEXPIRE", self.lease, self.life_ms),
            encode("EXEC"),
            self._end,
        )
        queued = OK_QUEUED[0] + OK_QUEUED[1] * (count + bool(state) + 1)
        as_hoped = raw.startswith(queued)
        replies = resp.parse(raw[len(queued) :] if as_hoped else raw)
        # The error of a command that was not queued comes before that of EXEC, and is the reason. Where one
        # failed in EXEC, the others stand: a load that goes on is compared as a whole.
        for error in resp.errors(replies):
            raise self.connection.refused(error, doing)
        if not as_hoped or len(replies) != 3:
            raise HelpersError(f"redis at {self.connection.address}: an answer that is not of Redis")
        results, _, other = replies
        if results is None or other != self.token.encode():
            raise LeaseLost(f"redis at {self.connection.address}: the lease of this migration ran out")
        self.renewed = time.monotonic()
        answers: list[Any] = results[:count]
        return answers

    def renew_when_due(self) -> None:
        """Renew the lease if a third of its time has gone since it was renewed."""
        if time.monotonic() - self.renewed > LEASE_MS / 3000:
            self.commit()

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
                with contextlib.closing(cluster.connect(url)) as connection:
                    self.connection = connection
                    self._watch()
                    self._give_back()

    def _give_back(self) -> None:
        self.commit(column_of(*self._unclaim(), encode("DEL", self.lease)))

    def settle(self) -> None:
        """Make sure of what was committed, as far as the target lets us."""

    def guard(self) -> bytes:
        """The name of the script that pushes to a list once; empty where a batch is one transaction."""
        return b""

    def empty(self) -> None:
        """Empty the whole database, but for the lease."""
        lease = encode("SET", self.lease, self.token, "PX", LEASE_MS)
        self.commit(column_of(encode("FLUSHDB"), lease))


class Claim(Checkpoint):
    """The state of a migration, and the right to change it as far as one partition goes.

    Args:
        connection: the target.
        prefix: the prefix of the migration.
        partition: the partition's name.
        lease: the token of the migration's lease, which must be held while this writes.
    """

    life_ms = 24 * 60 * 60 * 1000
    """A claim need not run out, as whoever needs the partition just takes it; then it is gone by itself."""

    def __init__(self, connection: resp.Connection, prefix: str, partition: str, lease: str) -> None:
        super().__init__(connection, prefix)
        self._job, self._job_token = self.lease, lease.encode()
        self.lease = claim_key(partition, prefix).encode()

    def take(self) -> None:
        """Take the partition from whoever has it.

        Raises:
            LeaseLost: the lease of the migration is not held any more.
        """
        self.token = secrets.token_hex(16)
        self._end = encode("WATCH", self.lease) + encode("GET", self.lease)
        claim = encode("SET", self.lease, self.token, "PX", self.life_ms)
        deadline = time.monotonic() + LEASE_MS / 1000
        while True:
            held = self._ask(encode("WATCH", self._job), encode("GET", self._job))[1]
            self._check(held)
            if self._ask(encode("MULTI"), claim, encode("EXEC"))[-1] is not None:
                break
            if time.monotonic() > deadline:  # it was renewed in between, again and again
                raise self._gone()
        self._watch()
        self.renewed = time.monotonic()

    def commit(
        self, commands: Strings = NOTHING, state: Mapping[str, Any] | None = None, doing: str = ""
    ) -> list[Any]:
        """``Checkpoint.commit`` under the claim.

        Raises:
            LeaseLost: the claim is not ours any more, and nothing was written; or it is, but nobody holds
                the lease, and there is nothing more to write.
        """
        look = column_of(encode("GET", self._job))
        *replies, held = super().commit(stacked(commands, look), state, doing)
        self._check(held)
        return replies

    def _check(self, held: bytes | None) -> None:
        if held != self._job_token:
            raise self._gone()

    def _gone(self) -> LeaseLost:
        return LeaseLost(f"redis at {self.connection.address}: the lease of this migration was taken")
