from . import (
    catalogue as catalogue,
    copybinary as copybinary,
    copytext as copytext,
    followable as followable,
    partitions as partitions,
    pgoutput as pgoutput,
    publication as publication,
    shape as shape,
    slot as slot,
)
from .changes import (
    BEAT as BEAT,
    Stream as Stream,
)
from .snapshot import (
    Source as Source,
    SourceLost as SourceLost,
    Upstream as Upstream,
)
