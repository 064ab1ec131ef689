"""Connections: what is said when one cannot be had."""

import io
import re
import sys
import time
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import psycopg2
import pytest
from proxy import proxy

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import connections, process

SCHEMES = {"postgres": "postgresql", "redis": "redis", "mongodb": "mongodb", "cassandra": "cassandra"}
MARKS = ("/", "?", "#", "%zz")
"""What a password must not hold as it is."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB's driver asks again until its time is over."""
    monkeypatch.setattr(connections, "TIMEOUT_S", 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", SCHEMES)
def test_an_unreachable_server_is_one_line_with_the_remedy(name: str) -> None:
    port = process.free_port()
    with pytest.raises(HelpersError) as caught:
        getattr(connections, name)(f"{SCHEMES[name]}://user:hidden@127.0.0.1:{port}/")
    message = str(caught.value)
    assert message.startswith(f"{name} at 127.0.0.1:{port}: ")
    assert connections.REMEDY in message and "hidden" not in message and "\n" not in message


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis", "unix:///nowhere.sock?password=hidden"),
        ("redis", "redis://:hid/den@127.0.0.1:1/0"),
        ("redis", "redis://:hidden@[127.0.0.1:1/0"),
        ("postgres", "host=127.0.0.1 port=1 password=hidden"),
        ("postgres", "postgresql://u@127.0.0.1:1/d?password=hidden"),
        ("postgres", "postgresql://u:hid/den@127.0.0.1:1/d"),
        ("postgres", "postgresql://u:hid@den@127.0.0.1:1/d"),
        ("redis", "redis://:hid?x=den@127.0.0.1:1/0"),
        *((name, f"{SCHEMES[name]}://u:hid{mark}den@127.0.0.1:1/d") for name in SCHEMES for mark in MARKS),
    ],
)
def test_no_password_is_ever_repeated(name: str, url: str) -> None:
    with pytest.raises(HelpersError) as caught:
        getattr(connections, name)(url)
    assert not {"hid", "hidden", "den"} & set(re.split(r"\W+", str(caught.value)))
    assert not {"hid", "hidden", "den"} & set(re.split(r"\W+", settings.redact(url)))


def test_a_service_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "none"))
    with pytest.raises(HelpersError, match=r"postgres at service shop: .*not found"):
        connections.postgres("service=shop")


def test_a_timeout_of_the_url_wins(postgres_server: str) -> None:
    for url, seconds in ((f"{postgres_server}?connect_timeout=33", "33"), (postgres_server, "5")):
        connection = connections.postgres(url)
        assert connection.get_dsn_parameters()["connect_timeout"] == seconds
        connection.close()


def test_a_host_that_has_gone_is_noticed(postgres_server: str) -> None:
    connection = connections.postgres(f"{postgres_server}?keepalives_idle=7")
    found = connection.get_dsn_parameters()
    connection.close()
    assert (found["keepalives_idle"], found["keepalives_count"], found["tcp_user_timeout"]) == (
        *("7", "3", "60000"),
    )


def test_nonsense_is_refused_in_one_line() -> None:
    for name, url in {
        "postgres": "nonsense",
        "redis": "http://x",
        "mongodb": "mongodb://[",
        "cassandra": "cassandra://h:x",
    }.items():
        with pytest.raises(HelpersError) as caught:
            getattr(connections, name)(url)
        assert "\n" not in str(caught.value)
    with pytest.raises(HelpersError, match="redis: the URL is malformed, it starts with redis:// or"):
        connections.redis("nonsense")


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


def test_an_interrupt_as_reading_begins_is_an_interrupt(postgres_url: str) -> None:
    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if (
            event == "call"
            and frame.f_code.co_name == "read"
            and frame.f_code.co_filename == connections.__file__
        ):
            raise KeyboardInterrupt

    with connections.postgres(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE one (x text)")
        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                connections.copy_in(cursor, "COPY one FROM STDIN", io.BytesIO(b"a\n"))
        finally:
            sys.settrace(before)


def test_a_cassandra_that_is_busy_as_a_session_begins_is_waited_for(cassandra_url: str) -> None:
    """What it tells of its nodes takes longer than the driver waits by itself."""
    slept: list[int] = []

    def late(data: bytes) -> bytes:
        if b"partitioner" in data and not slept:
            slept.append(len(data))
            time.sleep(2.5)
        return data

    with proxy(cassandra_url, answered=late) as port:
        there = urlsplit(cassandra_url)
        url = cassandra_url.replace(f":{there.port}", f":{port}")
        with connections.cassandra_session(url) as session:
            assert session.execute("SELECT key FROM system.local").one()[0] == "local"
    assert slept


def test_a_cassandra_whose_answer_is_late_is_one_line_with_the_remedy() -> None:
    from cassandra import OperationTimedOut

    line = str(connections.unreachable("cassandra", "cassandra://h:1", OperationTimedOut()))
    assert line == f"cassandra at h:1: its answer timed out; {connections.SILENT}"
