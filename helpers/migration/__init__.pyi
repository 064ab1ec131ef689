from .moving import describe as describe
from .moving import migrate as migrate
