from . import (
    claims as claims,
    diagrams as diagrams,
    figures as figures,
    layouts as layouts,
    model_diagram as model_diagram,
    modeling_claims as modeling_claims,
    population as population,
    records as records,
    redis_model as redis_model,
    rows as rows,
    schema as schema,
    tables as tables,
)
from .population import (
    populate as populate,
    require_rows as require_rows,
)
from .rows import (
    REFERENCE as REFERENCE,
    Rows as Rows,
)
from .schema import (
    Activity as Activity,
)
from .violations import (
    Violations as Violations,
    refused as refused,
)
