"""Names, folders and URLs: what is known before any server is asked."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import platformdirs

from helpers.errors import HelpersError

NAMES = ("postgres", "redis", "mongodb", "cassandra")
"""The four servers, in the order in which they are shown."""

SCHEMES = {
    "postgres": ("postgresql", "postgres"),
    "redis": ("redis", "rediss", "unix"),
    "mongodb": ("mongodb", "mongodb+srv"),
    "cassandra": ("cassandra",),
}
DATABASE = "user_activity"
ACTIVITY_TYPES = ("login", "logout", "view_product", "add_to_cart")
"""What a user does, as the assignment names it."""


def project_root() -> Path:
    """The folder that holds ``helpers``, ``notebooks`` and ``report``."""
    return Path(__file__).resolve().parent.parent


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
    """The URL with its password, if any, shown as ``***``."""
    if "://" not in url:  # a PostgreSQL keyword string
        return " ".join("password=***" if part.startswith("password=") else part for part in url.split())
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))


def address(url: str) -> str:
    """``host:port`` of a URL (or the path of a unix socket), for messages."""
    if "://" not in url:
        words = dict(part.split("=", 1) for part in url.split() if "=" in part)
        return f"{words.get('host', 'local')}:{words.get('port', '5432')}"
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return host or parts.path
