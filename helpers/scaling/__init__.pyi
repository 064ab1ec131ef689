from . import (
    claims as claims,
    figures as figures,
    growth as growth,
    nodes as nodes,
    nodes_claims as nodes_claims,
    tables as tables,
)
