from . import (
    answers as answers,
    bench as bench,
    claims as claims,
    crosscheck as crosscheck,
    dataset as dataset,
    decision as decision,
    figures as figures,
    loops as loops,
    phases as phases,
    published as published,
    published_claims as published_claims,
    samples as samples,
    statistics as statistics,
    stores as stores,
    workload as workload,
)
from .bench import (
    run as run,
)
from .cassandra import (
    CassandraStore as CassandraStore,
)
from .claims import (
    TITLES as TITLES,
)
from .mongodb import (
    MongoStore as MongoStore,
)
from .store import (
    Store as Store,
)
from .tables import (
    NONE as NONE,
    short_cell as short_cell,
)
from .workload import (
    Operation as Operation,
    Workload as Workload,
)
