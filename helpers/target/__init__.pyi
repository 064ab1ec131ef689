from . import (
    cluster as cluster,
    keyspace as keyspace,
    record as record,
    rehearsal as rehearsal,
    resp as resp,
    routing as routing,
    slotted as slotted,
)
from .checkpoint import (
    CLAIMED as CLAIMED,
    FORMAT as FORMAT,
    Checkpoint as Checkpoint,
    LeaseLost as LeaseLost,
    lease_key as lease_key,
    state_key as state_key,
)
from .resp import (
    encode as encode,
)
from .watch import (
    Watches as Watches,
)
