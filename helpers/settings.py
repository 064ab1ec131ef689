"""Names, folders and URLs: what is known before any server is asked."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs

from helpers.errors import HelpersError

Design = TypeVar("Design")

NAMES = ("postgres", "redis", "mongodb", "cassandra")
"""The four servers, in the order in which they are shown."""

ROW_LOGS = ("differences", "rejects")
"""Folders of the state folder whose files hold rows."""

LABELS: Mapping[str, str] = {
    "redis": "Redis",
    "mongodb": "MongoDB",
    "cassandra": "Cassandra",
    "postgres": "PostgreSQL",
}
"""What they are called in sentences, tables and figures."""

SCHEMES = {
    "postgres": ("postgresql", "postgres"),
    "redis": ("redis", "rediss", "unix"),
    "mongodb": ("mongodb", "mongodb+srv"),
    "cassandra": ("cassandra",),
}
HOSTS = re.compile(r"(?:(?:\[[^\]]*\]|[^:,/@\[\]]*)(?::\d*)?(?:,|(?=/)|$))*(?:/.*)?")
"""Hosts with or without ports, and a path: what a URL without a user begins with."""
DATABASE = "user_activity"
SILENCE_S = 60
"""A server from which nothing came for so long, while an answer was due, counts as lost."""
ACTIVITY_TYPES = ("login", "logout", "view_product", "add_to_cart")
"""What a user does, as the assignment names it."""


def project_root() -> Path:
    """The folder that holds ``helpers``, ``notebooks`` and ``report``."""
    return Path(__file__).resolve().parent.parent


def checkout() -> Path:
    """``project_root``, when it holds notebooks and report.

    Raises:
        HelpersError: it does not, because the package alone was installed.
    """
    root = project_root()
    if not (root / "notebooks").is_dir():
        raise HelpersError(
            f"notebooks and report are not in {root}, because the package was installed without "
            "them; get the whole project, and give this command in its folder"
        )
    return root


def home() -> Path:
    """The state folder of the embedded servers, created with mode 0700 when missing.

    ``HELPERS_HOME``, or ``user-activity-course`` in the user's cache folder.

    Raises:
        HelpersError: the folder cannot be made or written to.
    """
    chosen = os.environ.get("HELPERS_HOME")
    folder = (
        Path(chosen).expanduser().absolute()
        if chosen
        else platformdirs.user_cache_path("user-activity-course")
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise HelpersError(
            f"state folder {folder}: {error.strerror}; set HELPERS_HOME to a folder you can write to"
        ) from error
    return folder


def environment_url(name: str) -> str | None:
    """The URL that the environment gives for a server (``POSTGRES_URL`` and so on), or None.

    Raises:
        HelpersError: the URL's scheme is not one of that server.
    """
    variable = f"{name.upper()}_URL"
    url = os.environ.get(variable, "").strip()
    if not url:
        return None
    if "://" in url and urlsplit(url).scheme not in SCHEMES[name]:
        raise HelpersError(
            f"{variable}: {redact(url)} is not a {name} URL; it starts with {SCHEMES[name][0]}://"
        )
    return url


def redact(url: str) -> str:
    """The URL, or PostgreSQL's keyword string, with each password in it shown as ``***``."""
    for _, start, end in reversed(list(_passwords(url))):
        url = f"{url[:start]}***{url[end:]}"
    return url


def secrets(url: str) -> set[str]:
    """The passwords in a URL or keyword string, as they stand there and as they are meant."""
    found = {secret for secret, _, _ in _passwords(url) if secret}
    return found | {unquote(secret) for secret in found} | {secret.strip("'") for secret in found}


def _passwords(url: str) -> Iterator[tuple[str, int, int]]:
    """(password, where it starts, where it ends), in order."""
    if "://" not in url:
        for found in re.finditer(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", url):
            yield found[1], *found.span(1)
        return
    start = url.index("://") + 3
    user, at, _ = before_query(url[start:]).rpartition("@")  # a password may hold a slash by mistake
    if at and ":" in user:
        yield user.split(":", 1)[1], start + user.index(":") + 1, start + len(user)
    for found in re.finditer(r"[?&](?:ssl_?)?password=([^&#]*)", url):
        yield found[1], *found.span(1)


def before_query(rest: str) -> str:
    """What stands before the query in a URL without its scheme; all of it where a password holds the ?."""
    head, _, query = rest.partition("?")
    stray = "@" not in head and "@" in query
    return rest if stray and ("=" not in query.partition("@")[0] or not HOSTS.fullmatch(head)) else head


def address(url: str) -> str:
    """Where a server is, for messages: ``host:port``, the path of a unix socket, or a service's name."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme not in SCHEMES["postgres"]:
        place, _, path = before_query(rest).rpartition("@")[2].partition("/")
        return place or f"/{path}"
    if separator:
        place = before_query(rest).rpartition("@")[2].partition("/")[0]
        words = dict(parse_qsl(rest.partition("?")[2])) | ({"host": place, "port": ""} if place else {})
    else:
        pairs = re.findall(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", url)
        words = {name: value.strip("'") for name, value in pairs}
    service = words.get("service") or os.environ.get("PGSERVICE")
    host = words.get("host") or words.get("hostaddr")
    if service and not host:
        return f"service {service}"
    host = host or os.environ.get("PGHOST") or "local"
    port = words.get("port", os.environ.get("PGPORT", "5432"))
    return f"{host}:{port}" if port else host


def of_profile(designs: Mapping[str, Design], profile: str) -> Design:
    """The design of a profile.

    Raises:
        HelpersError: no such profile.
    """
    if profile not in designs:
        raise HelpersError(f"profile {profile!r} is not one of {', '.join(designs)}")
    return designs[profile]


def postgres_at(connection: Any) -> str:
    """``postgres at host:port`` of a connection, for messages."""
    return f"postgres at {connection.info.host or 'local'}:{connection.info.port}"
