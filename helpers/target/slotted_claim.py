"""The claim of a partition in a cluster: the right of one process, of several that load, to write it.

As the lease there (``helpers.target.slotted``), it is a token that the connections carry as their name: who
takes the partition over ends the connections of the one before, and who takes the lease those of all.
"""

import secrets
import time

from helpers.target import resp
from helpers.target.checkpoint import Claim, LeaseLost, claim_key
from helpers.target.cluster import Cluster
from helpers.target.slotted import Slotted

TAKE = (
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
    "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) return 1"
)


def claim(connection: resp.Connection, prefix: str, partition: str, lease: str) -> "Claim | SlottedClaim":
    """The claim of a partition, as its target needs it; arguments are those of ``Claim``."""
    if isinstance(connection, Cluster):
        return SlottedClaim(connection, prefix, partition, lease)
    return Claim(connection, prefix, partition, lease)


class SlottedClaim(Slotted):
    """The state of a migration in a cluster, and the right to change it as far as one partition goes.

    Args:
        connection: the target.
        prefix: the prefix of the migration.
        partition: the partition's name.
        lease: the token of the migration's lease, which must be held while this writes.
    """

    life_ms = Claim.life_ms

    def __init__(self, connection: Cluster, prefix: str, partition: str, lease: str) -> None:
        super().__init__(connection, prefix)
        self._job, self._job_token = self.lease, lease.encode()
        self.lease = claim_key(partition, prefix, clustered=True).encode()
        self._mark += f"{lease.split(' ')[0]}:{partition}:"

    def take(self) -> None:
        """Take the partition from whoever has it.

        Raises:
            LeaseLost: the lease of the migration is not held any more.
        """
        self.token = secrets.token_hex(16)
        words = (self._job, self.lease, self._job_token, self.token, self.life_ms)
        if self.connection.call("EVAL", TAKE, 2, *words) != 1:
            raise LeaseLost(f"redis at {self.connection.address}: the lease of this migration was taken")
        self._watch()
        self.renewed = time.monotonic()

    def _rights(self) -> dict[bytes, bytes]:
        return {self.lease: self.token.encode(), self._job: self._job_token}
