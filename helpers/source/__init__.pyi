from . import (
    catalogue as catalogue,
    copybinary as copybinary,
    copytext as copytext,
    follow_checks as follow_checks,
    partitions as partitions,
    pgoutput as pgoutput,
    publication as publication,
    slot as slot,
    tables as tables,
)
from .changes import (
    BEAT as BEAT,
    Stream as Stream,
)
from .live import (
    LiveTables as LiveTables,
)
from .snapshot import (
    Source as Source,
    SourceLost as SourceLost,
)
from .upstream import (
    Upstream as Upstream,
)
