from . import (
    crashes as crashes,
    crashes_claims as crashes_claims,
    cutover as cutover,
    figures as figures,
    ladder as ladder,
    ladder_claims as ladder_claims,
    migration_claims as migration_claims,
    mover as mover,
    rungs as rungs,
    scaleout as scaleout,
    scaleout_claims as scaleout_claims,
)
