"""Real servers for every test, started once a session in a state folder of its own."""

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import compiled  # noqa: F401  # first, for what is imported after it
import hypothesis
import psycopg2
import pytest
from clustered import empty
from migrating import ROWS
from psycopg2 import sql

from helpers import servers, settings
from helpers.relational import schema
from helpers.servers import connections
from helpers.servers.redis_cluster import Cluster, cluster

_numbers = itertools.count()
# A machine that is slow for a moment is no fault of the code.
hypothesis.settings.register_profile("course", deadline=None)
hypothesis.settings.load_profile("course")
# A shell starts what it puts in the background with interrupts ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def state_folder() -> Iterator[Path]:
    """A fresh state folder, whose servers stop with the session; ``HELPERS_TEST_HOME`` names one to keep."""
    for name in settings.NAMES:
        os.environ.pop(f"{name.upper()}_URL", None)
    kept = os.environ.get("HELPERS_TEST_HOME")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="course-tests-"))
    os.environ["HELPERS_HOME"] = str(folder)
    results = Path(tempfile.mkdtemp(prefix="course-results-"))
    os.environ["HELPERS_RESULTS"] = str(results)
    yield folder
    shutil.rmtree(results, ignore_errors=True)
    if not kept:
        servers.down(delete=True)
        shutil.rmtree(folder, ignore_errors=True)


def _running(name: str) -> str:
    return servers.up([name], progress=False)[name].url or ""


@pytest.fixture(scope="session")
def postgres_server() -> str:
    return _running("postgres")


@pytest.fixture(scope="session")
def redis_server() -> str:
    return _running("redis")


@pytest.fixture(scope="session")
def mongodb_url() -> str:
    return _running("mongodb")


@pytest.fixture(scope="session")
def cassandra_url() -> str:
    return _running("cassandra")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A URL whose search path is a fresh schema, dropped afterwards."""
    schema = f"test_{os.getpid()}_{next(_numbers)}"
    connection = psycopg2.connect(postgres_server)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    try:
        yield connections.with_schema(postgres_server, schema)
    finally:
        # A failed test may leave a transaction open, which would hold the schema for ever.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()"
        )
        cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        connection.close()


@pytest.fixture
def source(postgres_url: str) -> str:
    """The URL of a fresh schema with a few rows in the four tables."""
    connection = connections.postgres(postgres_url)
    with connection, connection.cursor() as cursor:
        schema.create(connection)
        cursor.execute(ROWS)
    connection.close()
    return postgres_url


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """The URL of an empty logical database, emptied afterwards (database 0 is the course's)."""
    url = f"{redis_server.rpartition('/')[0]}/{next(_numbers) % 14 + 1}"
    client = connections.redis(url)
    client.flushdb()
    try:
        yield url
    finally:
        client.flushdb()
        client.close()


@pytest.fixture(scope="module")
def whole() -> Iterator[Cluster]:
    """A Redis Cluster of three masters, which the tests of a module share."""
    with cluster(3) as made:
        yield made


@pytest.fixture
def nodes(whole: Cluster) -> Cluster:
    """The same, emptied."""
    empty(whole)
    return whole
