from . import (
    answers as answers,
    bench as bench,
    claims as claims,
    crosscheck as crosscheck,
    crosscheck_claims as crosscheck_claims,
    dataset as dataset,
    decision as decision,
    decision_claims as decision_claims,
    decision_figures as decision_figures,
    durability as durability,
    figures as figures,
    leaving as leaving,
    loops as loops,
    phases as phases,
    programs as programs,
    published as published,
    published_claims as published_claims,
    samples as samples,
    statistics as statistics,
    stores as stores,
    tables as tables,
    workload as workload,
)
from .bench import (
    run as run,
)
from .cassandra import (
    CassandraStore as CassandraStore,
)
from .mongodb import (
    MongoStore as MongoStore,
)
from .postgres import (
    PostgresStore as PostgresStore,
)
from .store import (
    Store as Store,
)
from .tables import (
    value_of as value_of,
)
from .workload import (
    BASE as BASE,
    IN_WORDS as IN_WORDS,
    Operation as Operation,
    Workload as Workload,
)
