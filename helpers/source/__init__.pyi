from . import (
    catalogue as catalogue,
    copybinary as copybinary,
    copytext as copytext,
    definitions as definitions,
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
from .definitions import (
    ColumnDefinition as ColumnDefinition,
    Constraint as Constraint,
    Definitions as Definitions,
    Index as Index,
    Need as Need,
    Relation as Relation,
    SequenceDefinition as SequenceDefinition,
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
