"""Real servers for every test, started once a session in a state folder of its own."""

import gc
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compiled  # noqa: F401  # first, for what is imported after it
import following
import hostile
import hypothesis
import psycopg2
import pytest
from clustered import empty
from filelock import FileLock
from migrating import make_course
from psycopg2 import sql

from helpers import results, servers, settings
from helpers.servers import cassandra, connections
from helpers.servers.redis_cluster import Cluster, cluster
from helpers.source import Upstream, slot

SLOW = (
    *("course", "browser", "workers", "follow", "follow_tables", "exercises", "any_order", "follow_cluster"),
    *("verification", "nodes_cassandra", "cluster_interrupted", "failures", "nbgrader", "scale", "nbconvert"),
    *("crashes", "report", "bench", "restoration", "crosscheck", "migration_interrupted", "model_random"),
    *("migration", "beyond_memory", "nodes_mongodb", "security", "scaleout", "pace", "largest"),
    *("servers", "readme_commands"),
    *("stores", "nodes_redis", "standing_cluster", "cluster", "cli", "model_whole", "model_rows"),
    *("model_proposal", "restoration_models", "definitions", "verification_models"),
)
"""Test files that take long, the longest first: so they are begun, and none is left alone at the end."""
JARS = Path(__file__).parents[1] / ".pytest_cache" / "jars"
"""Cassandra's, fetched once for all test processes and runs; their digests are compared at each start."""
_numbers = itertools.count()
results.jsonschema()  # before a test module or a plugin imports it in full
# A machine that is slow for a moment is no fault of the code.
hypothesis.settings.register_profile("course", deadline=None)
hypothesis.settings.load_profile("course")
# A shell starts what it puts in the background with interrupts ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):  # of xdist, which begins with the file of most tests
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}.py": number for number, name in enumerate(SLOW)}
    gone = [name for name in order if not Path(__file__).with_name(name).exists()]
    assert not gone, f"SLOW names files that are no more: {gone}"
    for item in items:
        if item.path.name in order or "cassandra_url" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_collection_finish() -> None:
    # What tests and libraries are made of stays to the end: a measurement, which collects garbage before each
    # of its turns, need not look at it again.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def state_folder() -> Iterator[Path]:
    """A fresh state folder, whose servers stop with the session; ``HELPERS_TEST_HOME`` names one to keep."""
    for name in settings.NAMES:
        os.environ.pop(f"{name.upper()}_URL", None)
    kept = os.environ.get("HELPERS_TEST_HOME")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="course-tests-"))
    os.environ["HELPERS_HOME"] = str(folder)
    JARS.mkdir(parents=True, exist_ok=True)
    if not (folder / "jars").exists():
        (folder / "jars").symlink_to(JARS)
    results = Path(tempfile.mkdtemp(prefix="course-results-"))
    os.environ["HELPERS_RESULTS"] = str(results)
    yield folder
    shutil.rmtree(results, ignore_errors=True)
    if not kept:
        servers.down(delete=True)
        shutil.rmtree(folder, ignore_errors=True)


def _running(name: str) -> str:
    return servers.up([name], progress=False)[name].url or ""


@pytest.fixture(scope="session", autouse=True)
def light_cassandra() -> Iterator[None]:
    """A Cassandra that compiles less, collects garbage in one thread and flushes no schema: it starts,
    makes and drops tables in half of the processor time. Its rough clock, by which requests time out, ticks
    ten instead of five hundred times a second, which costs it half of what it takes at rest. Servers that
    commands start in processes of their own are as they are for all.
    """
    command = cassandra.command

    def lighter(folder: Path, **options: Any) -> list[str]:
        java, *words = command(folder, **options)
        words[words.index("-XX:+UseG1GC")] = "-XX:+UseSerialGC"
        # A ring flushes and ticks as it does for all: its nodes are killed, and come back.
        alone = ["unsafesystem=true", "approximate_time_precision_ms=100"] if not options else []
        return [java, "-XX:TieredStopAtLevel=1", *(f"-Dcassandra.{one}" for one in alone), *words]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cassandra, "command", lighter)
        yield


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
    with FileLock(f"{JARS}.lock"):
        cassandra.fetch()
    return _running("cassandra")


@pytest.fixture(scope="session")
def urls(postgres_server: str, redis_server: str, mongodb_url: str, cassandra_url: str) -> dict[str, str]:
    """Of all servers by name; of Redis a database that ``redis_url`` never gives."""
    return {
        "postgres": postgres_server,
        "redis": f"{redis_server.rpartition('/')[0]}/15",
        "mongodb": mongodb_url,
        "cassandra": cassandra_url,
    }


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
        try:
            following.leave_nothing(postgres_server)
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
    return make_course(postgres_url)


@pytest.fixture
def hostile_url(postgres_server: str) -> Iterator[str]:
    """A schema with everything that is hard to hold, which may be followed; its slots go with it."""
    with hostile.schemas(postgres_server, f"followed {os.getpid()}") as url:
        following.tell_all(url)
        yield url
        with Upstream(url) as upstream:
            for found in slot.find(upstream.ask):
                slot.drop(upstream, found.name)


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
