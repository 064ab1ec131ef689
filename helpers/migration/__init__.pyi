from . import (
    following as following,
    restoration as restoration,
    verification as verification,
)
from .encoding import (
    Encoder as Encoder,
)
from .follower import (
    Lag as Lag,
)
from .following import (
    drop_slot as drop_slot,
    follow as follow,
)
from .job import (
    PATIENCE as PATIENCE,
)
from .moving import (
    describe as describe,
    migrate as migrate,
)
from .restoration import (
    restore as restore,
)
from .verification import (
    verify as verify,
)
