from . import (
    keyspace as keyspace,
    record as record,
    redo as redo,
    rehearsal as rehearsal,
    resp as resp,
    routing as routing,
)
from .checkpoint import (
    BEFORE as BEFORE,
    FORMAT as FORMAT,
    PARTITIONS_LEASED as PARTITIONS_LEASED,
    Checkpoint as Checkpoint,
    state_key as state_key,
)
from .cluster_checkpoint import (
    ClusterCheckpoint as ClusterCheckpoint,
    checkpoint_of as checkpoint_of,
    partition_checkpoint_of as partition_checkpoint_of,
)
from .connecting import (
    connect as connect,
)
from .lease import (
    LeaseLost as LeaseLost,
    lease_key as lease_key,
)
from .resp import (
    encode as encode,
)
from .watch import (
    Watches as Watches,
)
