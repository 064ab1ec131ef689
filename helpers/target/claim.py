"""The claim of a partition: the right of one process, of several that load, to write it.

The lease of a migration is its coordinator's, who renews it all the time; each renewal would make the
transactions fail of all who watch it. So a worker watches a key of its own partition. Whoever takes the
partition over writes his token there, and whoever takes the lease removes all claims: in both cases the next
``EXEC`` of the one before fails, also of a process that was paused.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from helpers.columns import NOTHING, Strings, column_of, stacked
from helpers.target import resp
from helpers.target.checkpoint import LEASE_MS, Checkpoint, LeaseLost, claim_key
from helpers.target.resp import encode


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
