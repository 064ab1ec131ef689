"""Open a connection to each server, with errors that say where, why and what to do."""

import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import psycopg2
import psycopg2.extensions
import pymongo
import redis as redis_py
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable, Session

from helpers import settings
from helpers.errors import HelpersError, first_line

REMEDY = "check the URL, or start the servers with `python -m helpers up`"
TIMEOUT_S = 5


def _url(name: str, url: str | None) -> str:
    if url is not None:
        return url
    from helpers import servers  # the servers use these connections to ask whether they answer

    return servers.url(name)


def _refused(name: str, url: str, error: BaseException) -> HelpersError:
    try:
        password, place = urlsplit(url).password if "://" in url else None, settings.address(url)
    except ValueError:  # so malformed that it has no parts: repeat nothing of it
        return HelpersError(f"{name}: the URL is malformed; {REMEDY}")
    reason = re.split(r", (?:full error|Timeout): ", first_line(error))[0]  # pymongo adds its whole state
    for secret in {password, unquote(password)} if password else ():
        reason = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", reason)
    return HelpersError(f"{name} at {place}: {reason}; {REMEDY}")


def postgres(url: str | None = None, **options: Any) -> psycopg2.extensions.connection:
    """A psycopg2 connection.

    Args:
        url: URL or keyword string as libpq takes it; the resolved server when None.
        options: further connection parameters of libpq.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    url = _url("postgres", url)
    try:
        return psycopg2.connect(url, **{"connect_timeout": TIMEOUT_S, **options})
    except (psycopg2.OperationalError, psycopg2.ProgrammingError) as error:
        raise _refused("postgres", url, error) from error


def with_schema(url: str | None, schema: str) -> str:
    """The URL of the same PostgreSQL database with one schema as its whole search path."""
    url = _url("postgres", url)
    option = f"-csearch_path={schema}"
    if "://" not in url:
        return f"{url} options='{option}'"
    return f"{url}{'&' if urlsplit(url).query else '?'}options={quote(option, safe='')}"


def redis(url: str | None = None, **options: Any) -> "redis_py.Redis":
    """A redis-py client that has answered PING.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; the resolved server when None.
        options: passed to ``Redis.from_url`` (for example ``decode_responses=True``).

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    url = _url("redis", url)
    try:
        client = redis_py.Redis.from_url(url, **{"socket_connect_timeout": TIMEOUT_S, **options})
    except (redis_py.RedisError, ValueError) as error:
        raise _refused("redis", url, error) from error
    try:
        client.ping()
    except (redis_py.RedisError, OSError) as error:
        client.close()
        raise _refused("redis", url, error) from error
    return client


def mongodb(url: str | None = None, **options: Any) -> "pymongo.MongoClient[dict[str, Any]]":
    """A pymongo client that has answered ``ping``.

    Args:
        url: ``mongodb://`` URL; the resolved server when None.
        options: passed to ``MongoClient``.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    url = _url("mongodb", url)
    try:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            url, **{"serverSelectionTimeoutMS": TIMEOUT_S * 1000, **options}
        )
    except (pymongo.errors.PyMongoError, ValueError) as error:
        raise _refused("mongodb", url, error) from error
    try:
        client.admin.command("ping")
    except pymongo.errors.PyMongoError as error:
        client.close()
        raise _refused("mongodb", url, error) from error
    return client


def cassandra(url: str | None = None, **options: Any) -> Session:
    """A session of the DataStax driver; close it with ``session.cluster.shutdown()``.

    Args:
        url: ``cassandra://user:password@host:port[/keyspace]``; the resolved server when None.
        options: passed to ``Cluster``.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    url = _url("cassandra", url)
    parts = urlsplit(url)
    try:
        auth = (
            PlainTextAuthProvider(unquote(parts.username), unquote(parts.password or ""))
            if parts.username
            else None
        )
        cluster = Cluster(
            [parts.hostname or "127.0.0.1"],
            port=parts.port or 9042,
            auth_provider=auth,
            connect_timeout=TIMEOUT_S,
            **options,
        )
    except ValueError as error:
        raise _refused("cassandra", url, error) from error
    try:
        return cluster.connect(parts.path.strip("/") or None)
    except (NoHostAvailable, OSError) as error:
        cluster.shutdown()
        causes = getattr(error, "errors", None)
        cause = next(iter(causes.values())) if isinstance(causes, dict) and causes else error
        raise _refused("cassandra", url, cause) from error
