"""Open a connection to each server, with errors that say where, why and what to do."""

import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import psycopg2
import psycopg2.extensions

from helpers import settings
from helpers.errors import HelpersError, brief, first_line
from helpers.servers import urls

if TYPE_CHECKING:  # each of these drivers takes much of a migration's memory, or of its first second
    import pymongo
    import redis as redis_py
    from cassandra.cluster import Session

REMEDY = "check the URL, or start the servers with `python -m helpers up`"
ESCAPES = "in a user or password, / @ : ? # and % are written %2F %40 %3A %3F %23 and %25"
STRANGER = "what answers there is another program, or another version: check host and port of the URL"
SILENT = (
    "check host and port of the URL, and whether that server hangs or is asleep; an embedded one is ended by "
    "`python -m helpers down` and started by `python -m helpers up`"
)
NOT_YET = "wait a moment, then run the same command again"
REMEDIES = {
    "RFC 3986": ESCAPES,
    "percent-encoded": ESCAPES,
    "CERTIFICATE_VERIFY_FAILED": "give the file of its authority: `?ssl_ca_certs=FILE` (verification of the "
    "host's name is part of it)",
    "max number of clients": "raise maxclients, or close other connections",
    "loading the dataset": "wait until it has read its data",
    "permissions to run the": "give this user the right (`ACL SETUSER`)",
    "MISCONF": "repair that",
    "SELECT is not allowed in cluster mode": "a cluster has only database 0: let the URL end with /0",
    "the database system is": NOT_YET,
    "Protocol error": STRANGER,
    "Got response id": STRANGER,
    "codec can't decode": STRANGER,
    "wrong version number": STRANGER,
    "record layer failure": STRANGER,
    "Connection closed by server": STRANGER,
    "timeout expired": SILENT,
    "Timed out creating connection": SILENT,
    "No servers found yet": SILENT,
    "Timeout reading from": SILENT,
    "timed out": SILENT,
}
"""Remedies by what a server's answer says, where the common one does not fit."""
DRIVERS = {"psycopg2": "postgres", "redis": "redis", "pymongo": "mongodb", "cassandra": "cassandra"}
MORE = r" \(configured timeouts|, (?:full error|Timeout): "
"""Where pymongo begins to add its whole state."""
UNREAD = "error in .read() call"
"""What psycopg2 says of a file that could not be read."""
TIMEOUT_S = 5
FLUSH_S = 120
"""How long Redis may take to empty itself: with ten million rows in it longer than redis-py waits."""
BUSY_S = 15
"""How long Cassandra may take to describe its nodes to a new session; the driver's two seconds are too few on
a busy machine.
"""
CLOSED_S = 3.0
"""How long a server may take to notice that a connection was closed."""
PROCESS = f"helpers {secrets.token_hex(4)}"
"""What this process calls itself at PostgreSQL, where the URL and the environment do not say."""
KEEP_ALIVE = {
    "connect_timeout": TIMEOUT_S,
    "keepalives_idle": settings.SILENCE_S // 2,
    "keepalives_interval": settings.SILENCE_S // 6,
    "keepalives_count": 3,
    "tcp_user_timeout": settings.SILENCE_S * 1000,
}
"""Parameters of libpq by which a host that has gone is noticed; those of the URL win."""


def unreachable(name: str, url: str, error: BaseException) -> HelpersError:
    """The error to raise when a server cannot be had: one line that says where, why, and the remedy.

    Args:
        name: of the server.
        url: by which it was asked; no password of it is repeated.
        error: what the driver raised.
    """
    if name != "postgres" and "://" not in url:
        starts = " or ".join(f"{scheme}://" for scheme in settings.SCHEMES[name])
        return HelpersError(f"{name}: the URL is malformed, it starts with {starts}")
    try:
        place = urlsplit(url).netloc
        whole = "://" not in url or ("@" in settings.before_query(url.partition("://")[2])) == ("@" in place)
        whole = whole and (name != "postgres" or place.count("@") < 2)  # libpq takes the first for the end
    except ValueError:
        whole = False
    if not whole:  # its parts are not where they should be: repeat nothing of it
        return HelpersError(f"{name}: the URL is malformed ({ESCAPES})")
    reason = re.split(MORE, first_line(error))[0]
    reason = re.sub(
        r"^errors=None, last_host=.*$", "its answer timed out", reason
    )  # so says Cassandra's driver
    reason = brief(re.sub(r"^errors=(.*), last_host=.*$", r"\1", reason))
    for secret in settings.secrets(url):
        reason = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", reason)
    remedy = next((remedy for words, remedy in REMEDIES.items() if words in reason), REMEDY)
    return HelpersError(f"{name} at {settings.address(url)}: {reason}; {remedy}")


def unexpected(error: Exception) -> HelpersError | None:
    """What to tell of a driver's error that nobody expected, in the middle of some work; None of another."""
    server = DRIVERS.get(type(error).__module__.partition(".")[0])
    if server is None:
        return None
    reason = brief(re.split(MORE, first_line(error))[0])
    return HelpersError(
        f"{server}: {reason}; look at `python -m helpers status`, start what is not running with "
        "`python -m helpers up`, then the same command begins anew"
    )


def postgres(url: str | None = None, **options: Any) -> psycopg2.extensions.connection:
    """A psycopg2 connection.

    Args:
        url: URL or keyword string as libpq takes it; the resolved server when None.
        options: further connection parameters of libpq.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    url = urls.url("postgres") if url is None else url
    try:
        given = set(psycopg2.extensions.parse_dsn(url))
        if "PGCONNECT_TIMEOUT" in os.environ:
            given.add("connect_timeout")
        if "PGAPPNAME" in os.environ:
            given.add("application_name")
        wanted = KEEP_ALIVE | {"application_name": PROCESS}
        ours = {name: value for name, value in wanted.items() if name not in given}
        connection: psycopg2.extensions.connection = psycopg2.connect(url, **{**ours, **options})
    except (psycopg2.OperationalError, psycopg2.ProgrammingError, UnicodeDecodeError) as error:
        raise unreachable("postgres", url, error) from error
    return connection


def held(connection: psycopg2.extensions.connection, lock: int) -> bool:
    """Whether a connection got an advisory lock, which it keeps until it is closed.

    One that was closed a moment ago may still hold it: the server notices after a while.

    Args:
        connection: in a transaction or not.
        lock: its number.
    """
    deadline = time.monotonic() + CLOSED_S
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (lock,))
            ours = cursor.fetchone() == (True,)
            if ours or time.monotonic() > deadline:
                return ours
            time.sleep(0.05)


def copy_in(cursor: psycopg2.extensions.cursor, statement: str, file: Any) -> None:
    """``COPY ... FROM STDIN`` from a file; what is raised is what went wrong first.

    psycopg2 itself makes an error of its own out of whatever reading the file raises, an interrupt too. And
    where the server ends the connection in the middle, it prints the server's last words as a traceback,
    and raises only that the connection is closed.

    Args:
        file: ``read(size)`` gives bytes, none at the end.

    Raises:
        psycopg2.Error: the server refused or went away.
    """
    told: list[BaseException] = []

    def read(size: int) -> bytes:
        try:
            return bytes(file.read(size))
        except BaseException as error:
            told.append(error)
            raise

    def overheard(_: object, error: BaseException, __: object) -> None:
        told.append(error.__cause__ or error)

    before, sys.excepthook = sys.excepthook, overheard
    try:
        cursor.copy_expert(statement, SimpleNamespace(read=read), size=1 << 16)
    except psycopg2.Error as error:
        if told:
            raise told[0] from error
        if UNREAD in str(error):  # nothing but an interrupt raises just before or after reading
            raise KeyboardInterrupt from error
        raise
    finally:
        sys.excepthook = before


class _Unsaid:
    """Inside, psycopg2 does not print a server's last words; several threads may be inside at once."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before, sys.excepthook = sys.excepthook, self._hear

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.excepthook = self._before

    def _hear(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error.__cause__, psycopg2.Error):
            self._before(kind, error, trace)


LAST_WORDS_UNSAID = _Unsaid()
"""A context: where a server ends the connection in the middle of COPY, psycopg2 prints its last words as a
traceback, besides raising an error."""


def first_cause(error: psycopg2.Error) -> psycopg2.Error:
    """What PostgreSQL said before its connection was found closed."""
    while isinstance(error, psycopg2.InterfaceError) and isinstance(error.__context__, psycopg2.Error):
        error = error.__context__
    return error


def with_schema(url: str | None, schema: str) -> str:
    """The URL of the same PostgreSQL database with one schema, of any name, as its whole search path."""
    url = urls.url("postgres") if url is None else url
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", schema)
    name = schema if plain else '"' + schema.replace('"', '""') + '"'
    option = "-csearch_path=" + re.sub(r"[\\\s]", r"\\\g<0>", name)  # the server splits options at spaces
    if "://" not in url:
        quoted = re.sub(r"[\\']", r"\\\g<0>", option)
        return f"{url} options='{quoted}'"
    return f"{url}{'&' if urlsplit(url).query else '?'}options={quote(option, safe='')}"


def redis(url: str | None = None, **options: Any) -> "redis_py.Redis":
    """A redis-py client that has answered PING.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; the resolved server when None.
        options: passed to ``Redis.from_url`` (for example ``decode_responses=True``).

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    import redis as redis_py

    url = urls.url("redis") if url is None else url
    try:
        client = redis_py.Redis.from_url(url, **{"socket_connect_timeout": TIMEOUT_S, **options})
    except (redis_py.RedisError, ValueError) as error:
        raise unreachable("redis", url, error) from error
    try:
        client.ping()
    except (redis_py.RedisError, OSError) as error:
        client.close()
        raise unreachable("redis", url, error) from error
    return client


def mongodb(url: str | None = None, **options: Any) -> "pymongo.MongoClient[dict[str, Any]]":
    """A pymongo client that has answered ``ping``.

    Args:
        url: ``mongodb://`` URL; the resolved server when None.
        options: passed to ``MongoClient``.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    import pymongo
    import pymongo.errors

    url = urls.url("mongodb") if url is None else url
    try:
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            url, **{"serverSelectionTimeoutMS": TIMEOUT_S * 1000, **options}
        )
    except (pymongo.errors.PyMongoError, ValueError) as error:
        raise unreachable("mongodb", url, error) from error
    try:
        client.admin.command("ping")
    except pymongo.errors.PyMongoError as error:
        client.close()
        raise unreachable("mongodb", url, error) from error
    return client


def cassandra(url: str | None = None, **options: Any) -> "Session":
    """A session of the DataStax driver; ``session.cluster.shutdown()`` ends it.

    Args:
        url: ``cassandra://user:password@host:port[/keyspace]``; the resolved server when None.
        options: passed to ``Cluster``.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import Cluster, NoHostAvailable

    url = urls.url("cassandra") if url is None else url
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
            control_connection_timeout=BUSY_S,
            **options,
        )
    except ValueError as error:
        raise unreachable("cassandra", url, error) from error
    try:
        return cluster.connect(parts.path.strip("/") or None)
    except (NoHostAvailable, OSError) as error:
        cluster.shutdown()
        causes = getattr(error, "errors", None)
        cause = next(iter(causes.values())) if isinstance(causes, dict) and causes else error
        raise unreachable("cassandra", url, cause) from error


@contextmanager
def cassandra_session(url: str | None = None, **options: Any) -> "Iterator[Session]":
    """What ``cassandra`` gives, until the block ends."""
    session = cassandra(url, **options)
    try:
        yield session
    finally:
        session.cluster.shutdown()


def cassandra_once(timeout_s: float, alone: str | None = None) -> dict[str, Any]:
    """Options of a session that tries nothing twice and gives rows as tuples.

    Args:
        timeout_s: how long an answer may take.
        alone: address of the one node that is asked; all in turn when None.
    """
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
    from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy, WhiteListRoundRobinPolicy
    from cassandra.query import tuple_factory

    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([alone]) if alone else RoundRobinPolicy(),
        retry_policy=FallthroughRetryPolicy(),
        row_factory=tuple_factory,
        request_timeout=timeout_s,
    )
    return {"execution_profiles": {EXEC_PROFILE_DEFAULT: profile}}
