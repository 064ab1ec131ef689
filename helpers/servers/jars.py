"""Cassandra's jars: the exact files of a lock, fetched once from Maven Central and checked.

``cassandra.lock.json`` names each jar with its SHA-256. ``python -m helpers.servers.jars WORK_FOLDER`` writes
the lock anew from Maven's own resolution (by jgo); nothing else changes it.
"""

import hashlib
import json
import os
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from helpers import settings
from helpers.errors import HelpersError, first_line, usable, writing

ENDPOINT = "org.apache.cassandra:cassandra-all:5.0.5"
REPOSITORY = "https://repo1.maven.org/maven2"
LOCK = Path(__file__).with_name("cassandra.lock.json")
ATTEMPTS = 3
ELSEWHERE = "set HELPERS_HOME to a folder you can write to"


def read_lock() -> list[dict[str, Any]]:
    """The pinned jars: dicts with ``path`` (in the repository), ``sha256`` and ``bytes``."""
    jars: list[dict[str, Any]] = json.loads(LOCK.read_text(encoding="utf-8"))["jars"]
    return jars


def ensure(folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Path]:
    """The jars on this machine, fetched where missing or damaged, each checked against the lock.

    Args:
        folder: cache folder; made when missing.
        progress: called with (jars at hand, all jars).

    Returns:
        Their paths, in the order of the lock.

    Raises:
        HelpersError: a jar cannot be fetched (no network, proxy), or is not the file that the lock names.
    """
    jars = read_lock()
    paths = [folder / Path(jar["path"]).name for jar in jars]
    wanted = [(jar, path) for jar, path in zip(jars, paths, strict=True) if not _is(path, jar)]
    if wanted:
        usable(folder, ELSEWHERE)
    at_hand = len(jars) - len(wanted)
    progress(at_hand, len(jars))
    pool = ThreadPoolExecutor(8)
    try:
        for done in as_completed([pool.submit(_fetch, jar, path) for jar, path in wanted]):
            done.result()
            at_hand += 1
            progress(at_hand, len(jars))
    finally:
        pool.shutdown(cancel_futures=True)
    return paths


def _is(path: Path, jar: dict[str, Any]) -> bool:
    try:
        return bool(path.stat().st_size == jar["bytes"] and _sha256(path.read_bytes()) == jar["sha256"])
    except OSError:
        return False


def _fetch(jar: dict[str, Any], path: Path) -> None:
    repository = os.environ.get("MAVEN_REPOSITORY_URL") or REPOSITORY
    url = f"{repository.rstrip('/')}/{jar['path']}"
    shown = settings.redact(url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            opener = urllib.request.build_opener()  # `urlopen` keeps the proxies of its first call
            with opener.open(_request(url), timeout=30) as reply:
                content = reply.read()
            break
        except (HTTPException, OSError, ValueError) as error:
            missing = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if missing or isinstance(error, ValueError) or attempt == ATTEMPTS:
                raise HelpersError(
                    f"cassandra: {shown} cannot be fetched{_through(url)} ({_why(error)}); its jars come "
                    "once from Maven Central: connect to the network, set HTTPS_PROXY to your proxy, set "
                    "MAVEN_REPOSITORY_URL to a mirror, or set CASSANDRA_URL to a server of yours"
                ) from error
    if _sha256(content) != jar["sha256"]:
        raise HelpersError(
            f"cassandra: {shown} is not the file that the lock names (SHA-256 differs); it was not kept: "
            "try again on another network, or set CASSANDRA_URL to a server of yours"
        )
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    with writing(path, ELSEWHERE):
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _request(url: str) -> urllib.request.Request:
    """The request for a URL, with user and password by header: urllib takes them for a part of the host."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())
    if at:
        request.add_unredirected_header(
            "Authorization", f"Basic {b64encode(unquote(user).encode()).decode()}"
        )
    return request


def _through(url: str) -> str:
    """The proxy that a URL is fetched through, in words; empty without one."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    return f" through the proxy {settings.redact(proxy)}"


def _why(error: Exception) -> str:
    reason = error.reason if type(error) is urllib.error.URLError else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return first_line(reason) if isinstance(reason, Exception) else str(reason)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_lock(work: Path) -> None:
    """Resolve the endpoint anew by jgo into the folder ``work`` and write the lock."""
    import jgo  # only whoever renews the lock needs it: pip install jgo

    repository = work / "repository"
    jgo.EnvironmentBuilder(
        context=jgo.MavenContext(repo_cache=repository), cache_dir=work / "environment"
    ).from_endpoint(ENDPOINT)
    jars = []
    for path in sorted(repository.rglob("*.jar")):
        content = path.read_bytes()
        where = path.relative_to(repository).as_posix()
        jars.append({"path": where, "sha256": _sha256(content), "bytes": len(content)})
    LOCK.write_text(json.dumps({"endpoint": ENDPOINT, "jars": jars}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import sys

    write_lock(Path(sys.argv[1]).absolute())
