from .moving import describe as describe, migrate as migrate
