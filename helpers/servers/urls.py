"""Where a server's URL comes from. The first that matches wins: the environment (``POSTGRES_URL`` and so on),
a running Compose stack, the embedded server.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import process

USERS = {"postgres": "postgres", "redis": "", "mongodb": "course", "cassandra": "course"}
"""Users of the embedded servers; Redis asks for a password alone."""
PORTS = {"postgres": 55432, "redis": 56379, "mongodb": 57017, "cassandra": 59042}
"""Loopback ports of ``docker-compose.yml``."""
VARIABLES = {name: f"{name.upper()}_PASSWORD" for name in settings.NAMES}
"""Names of the passwords in ``.env``."""
COMPOSE_USERS = USERS | {"cassandra": "cassandra"}
COMPOSE_REMEDY = (
    "`docker compose ps` says whether the stack is up; where another program holds its port end that, or "
    "remove .env to use the embedded servers"
)
PATHS = {
    "postgres": f"postgresql://{{}}/{settings.DATABASE}",
    "redis": "redis://{}/0",
    "mongodb": "mongodb://{}/?authSource=admin",
    "cassandra": "cassandra://{}",
}


def local(name: str, port: int, password: str, user: str | None = None) -> str:
    """The URL of a server on a loopback port.

    Args:
        name: of the server.
        port: where it listens.
        password: as it is; it is quoted here.
        user: the one that ``up`` makes when None.
    """
    user = USERS[name] if user is None else user
    return PATHS[name].format(f"{user}:{quote(password, safe='')}@{process.HOST}:{port}")


def url(name: str) -> str:
    """The URL of a server, with its password.

    Raises:
        HelpersError: no server of that name is known to run.
    """
    check([name])
    found = outside(name)
    address = found[0] if found else running_url(name)
    if address is None:
        raise HelpersError(
            f"{name}: no server is running; start it with `python -m helpers up {name}` "
            f"or set {name.upper()}_URL"
        )
    return address


def outside(name: str) -> tuple[str, str] | None:
    """The URL of a server that is not ours to start, and where it is from: ``env`` or ``compose``."""
    given = settings.environment_url(name)
    if given:
        return given, "env"
    password = read_passwords().get(name)
    if password is None or not process.listening(PORTS[name]):
        return None
    return local(name, PORTS[name], password, COMPOSE_USERS[name]), "compose"


def running_url(name: str) -> str | None:
    """The URL of the embedded server of this state folder when its process runs, else None."""
    folder = settings.home() / name
    found = process.running(folder)
    if found is None or not (folder / "ready").exists():
        return None
    return local(name, found.port, process.password(folder))


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


def check(names: Sequence[str]) -> None:
    """Refuse a name that is none of the four servers.

    Raises:
        HelpersError: it names the first of them.
    """
    unknown = [name for name in names if name not in settings.NAMES]
    if unknown:
        raise HelpersError(f"unknown server {unknown[0]}; the servers are {', '.join(settings.NAMES)}")
