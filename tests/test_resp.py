"""The wire protocol: bytes out, every reply looked at."""

import contextlib

import hiredis
import pytest
from hypothesis import given, strategies as st

from helpers.errors import HelpersError
from helpers.servers import connections
from helpers.target import resp


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_a_command_is_read_back_as_it_was_written(words: list[bytes]) -> None:
    assert resp.parse(resp.encode(*words)) == [words]


def test_replies_to_many_commands(redis_url: str) -> None:
    connection = resp.Connection(redis_url)
    raw = connection.exchange(
        resp.encode("SET", "a", b"\r\n$1\xff") + resp.encode("GET", "a") + resp.encode("LPUSH", "a", 1)
    )
    ok, value, error = resp.parse(raw)
    assert (ok, value) == (b"OK", b"\r\n$1\xff")
    assert isinstance(error, hiredis.ReplyError)
    assert list(resp.errors([[ok, [error]]])) == [error]
    with pytest.raises(resp.Refused, match="WRONGTYPE"):
        connection.call("LPUSH", "a", 1)
    connection.close()


def test_large_payloads_both_ways(redis_url: str) -> None:
    connection = resp.Connection(redis_url)
    value = b"x" * 3_000_000
    raw = connection.exchange(
        b"".join(resp.encode("SET", i, value) + resp.encode("GET", i) for i in range(5))
    )
    assert raw == (b"+OK\r\n" + resp.bulk_string(value)) * 5
    connection.close()


def test_replies_are_for_who_asked_in_any_order(redis_url: str) -> None:
    with contextlib.closing(resp.Connection(redis_url)) as connection:
        long = "a" * resp.RECEIVE_BYTES
        first = connection.send(resp.encode("ECHO", long))
        connection.write(resp.encode("ECHO", "b"))
        second = connection.send(resp.encode("ECHO", "c"))
        nothing = connection.send()
        assert connection.call("ECHO", "d") == b"d"
        assert resp.parse(connection.receive(second)) == [b"b", b"c"]
        assert connection.receive(nothing) == b""
        assert resp.parse(connection.receive(first)) == [long.encode()]
        assert connection.call("ECHO", "e") == b"e"


def test_a_lost_connection_is_said(redis_url: str) -> None:
    connection = resp.Connection(redis_url)
    connections.redis(redis_url).client_kill_filter(skipme=True)
    with pytest.raises(resp.Lost, match="connection lost"):
        connection.call("PING")


def test_a_user_without_rights_is_told_so(redis_url: str) -> None:
    admin = connections.redis(redis_url)
    admin.acl_setuser(
        "reader",
        enabled=True,
        passwords=["+secret-of-reader"],
        keys=["*"],
        commands=["+@read", "+@connection"],
    )
    try:
        url = redis_url.replace("//:", "//reader:")
        head, _, tail = url.partition("@")
        connection = resp.Connection(head.rpartition(":")[0] + ":secret-of-reader@" + tail)
        with pytest.raises(resp.Refused, match="NOPERM") as caught:
            connection.call("SET", "a", "b")
        assert "secret-of-reader" not in str(caught.value)
        assert "ACL SETUSER" in str(caught.value)
        connection.close()
    finally:
        admin.acl_deluser("reader")


def test_no_server_there() -> None:
    with pytest.raises(HelpersError, match=r"127\.0\.0\.1:1"):
        resp.Connection("redis://127.0.0.1:1/0")
