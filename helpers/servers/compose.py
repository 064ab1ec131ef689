"""The Compose stack of ``docker-compose.yml``: its loopback ports and the passwords in ``.env``."""

from pathlib import Path
from urllib.parse import quote

from helpers import settings
from helpers.servers import process

PORTS = {"postgres": 55432, "redis": 56379, "mongodb": 57017, "cassandra": 59042}
VARIABLES = {name: f"{name.upper()}_PASSWORD" for name in settings.NAMES}
REMEDY = (
    "`docker compose ps` says whether the stack is up; where another program holds its port end that, or "
    "remove .env to use the embedded servers"
)
USERS = {"postgres": "postgres", "mongodb": "course", "cassandra": "cassandra"}


def read_passwords(path: Path | None = None) -> dict[str, str]:
    """The passwords in ``.env``, by server; empty without the file. ``NAME=value`` lines, quotes optional."""
    path = path or settings.project_root() / ".env"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    values = {name.strip(): value.strip().strip("'\"") for name, value in pairs.items()}
    return {name: values[variable] for name, variable in VARIABLES.items() if values.get(variable)}


def url(name: str) -> str | None:
    """The URL of a server of the stack; None when its port does not answer or ``.env`` lacks its password."""
    password = read_passwords().get(name)
    if password is None or not process.listening(PORTS[name]):
        return None
    secret, place = quote(password, safe=""), f"{process.HOST}:{PORTS[name]}"
    return {
        "postgres": f"postgresql://{USERS['postgres']}:{secret}@{place}/{settings.DATABASE}",
        "redis": f"redis://:{secret}@{place}/0",
        "mongodb": f"mongodb://{USERS['mongodb']}:{secret}@{place}/?authSource=admin",
        "cassandra": f"cassandra://{USERS['cassandra']}:{secret}@{place}",
    }[name]
