"""Connections: what is said when one cannot be had."""

import psycopg2
import pytest

from helpers import connections
from helpers.errors import HelpersError
from helpers.servers import process

SCHEMES = {"postgres": "postgresql", "redis": "redis", "mongodb": "mongodb", "cassandra": "cassandra"}


@pytest.mark.parametrize("name", SCHEMES)
def test_an_unreachable_server_is_one_line_with_the_remedy(name: str) -> None:
    port = process.free_port()
    with pytest.raises(HelpersError) as caught:
        getattr(connections, name)(f"{SCHEMES[name]}://user:hidden@127.0.0.1:{port}/")
    message = str(caught.value)
    assert message.startswith(f"{name} at 127.0.0.1:{port}: ")
    assert connections.REMEDY in message and "hidden" not in message and "\n" not in message


def test_nonsense_is_refused_in_one_line() -> None:
    for name, url in {
        "postgres": "nonsense",
        "redis": "http://x",
        "mongodb": "mongodb://[",
        "cassandra": "cassandra://h:x",
    }.items():
        with pytest.raises(HelpersError):
            getattr(connections, name)(url)


@pytest.mark.parametrize("style", ["url", "words"])
def test_with_schema_sets_the_search_path(postgres_server: str, style: str) -> None:
    url = postgres_server
    if style == "words":
        url = " ".join(f"{key}={value}" for key, value in psycopg2.extensions.parse_dsn(url).items())
    connection = connections.postgres(connections.with_schema(url, "own"))
    try:
        cursor = connection.cursor()
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == ("own",)
    finally:
        connection.close()
