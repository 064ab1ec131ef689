from .checking import (
    Becomes as Becomes,
    check as check,
    describe as describe,
)
from .declaration import (
    Key as Key,
    Model as Model,
    course as course,
    load as load,
    parse as parse,
)
from .formats import (
    FORMATS as FORMATS,
    SETTINGS as SETTINGS,
    Format as Format,
    format_of as format_of,
)
from .guiding import (
    BOOKKEEPING as BOOKKEEPING,
    BY_NUMBER as BY_NUMBER,
    REGISTERED as REGISTERED,
    TIES as TIES,
    Guide as Guide,
    exact as exact,
    guides as guides,
    inexact as inexact,
    order_within as order_within,
    too_long as too_long,
    unguided as unguided,
)
from .kinds import (
    KeyKind as KeyKind,
    Pair as Pair,
)
from .plan import (
    Plan as Plan,
    registered as registered,
)
from .proposing import (
    Catalogue as Catalogue,
    ForeignKey as ForeignKey,
    Proposal as Proposal,
    Relation as Relation,
    proposal as proposal,
    propose as propose,
)
from .rows import (
    EXACT_SCORE as EXACT_SCORE,
    LONGEST_BYTES as LONGEST_BYTES,
    REASONS as REASONS,
    Limits as Limits,
    far_sql as far_sql,
    literal as literal,
    why as why,
)
from .score_order import ScoreOrder as ScoreOrder
from .streams import (
    PARTITIONS as PARTITIONS,
    Partition as Partition,
    Stream as Stream,
    partition_names as partition_names,
)
from .tables import (
    Column as Column,
    Table as Table,
    parse_name as parse_name,
    quoted as quoted,
    write_name as write_name,
)
from .templates import (
    Pattern as Pattern,
    Template as Template,
    escape as escape,
    unescape as unescape,
)
