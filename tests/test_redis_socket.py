"""A socket to Redis: opened without redis-py where the URL is plain, by it where not; the same either way."""

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from proxy import proxy

from helpers.errors import HelpersError
from helpers.servers import RedisSocket, connections
from helpers.target import connect

WITHOUT = """
import sys
from helpers.target import connect
assert connect(sys.argv[1]).call("PING") == b"PONG"
print("redis" in sys.modules)
"""


def opened(url: str, protocol: int = 2) -> tuple[str, int, bytes]:
    """(user, database, what PING is answered)."""
    found = RedisSocket(url, protocol=protocol, silence_s=5)
    try:
        found.socket.sendall(b"*1\r\n$4\r\nPING\r\n")
        return found.user, found.database, found.socket.recv(100)
    finally:
        found.close()


@pytest.fixture
def mover(redis_url: str) -> Iterator[str]:
    """The URL of a user whose password is quoted."""
    client = connections.redis(redis_url)
    client.acl_setuser("mover", enabled=True, passwords=["+p@ss:w/rd"], keys=["*"], commands=["+@all"])
    yield re.sub("//:[^@]+@", "//mover:p%40ss%3Aw%2Frd@", redis_url)
    client.acl_deluser("mover")


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_is_the_same_with_redis_py_and_without(redis_url: str, mover: str, protocol: int) -> None:
    for url, user in ((redis_url, "default"), (mover, "mover")):
        plain = re.sub(r"/\d+$", "/3", url)
        without = opened(plain, protocol)
        assert without == opened(f"{plain}?socket_keepalive=true", protocol) == (user, 3, b"+PONG\r\n")


def test_a_plain_url_needs_no_redis_py(redis_url: str) -> None:
    for url, needed in ((redis_url, "False"), (f"{redis_url}?socket_keepalive=true", "True")):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, url], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == needed


def test_a_refusal_is_said_as_redis_py_says_it(mover: str) -> None:
    wrong = mover.replace("w%2Frd", "wrong")
    said = []
    for url in (wrong, f"{wrong}?socket_keepalive=true"):
        with pytest.raises(HelpersError) as caught:
            RedisSocket(url, protocol=2, silence_s=5)
        said.append(str(caught.value))
    assert said[0] == said[1] and "invalid username-password pair" in said[0] and "wrong" not in said[0]


def test_a_server_that_keeps_silent_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port, began = silent.getsockname()[1], time.monotonic()
        with pytest.raises(HelpersError, match=rf"Timeout reading from 127\.0\.0\.1:{port}; .*hangs"):
            RedisSocket(f"redis://127.0.0.1:{port}/0", protocol=2, silence_s=1)
        assert time.monotonic() - began < 1.9


def test_closing_ends_what_another_thread_waits_for(redis_url: str) -> None:
    found = RedisSocket(redis_url, protocol=2, silence_s=60)

    def wait() -> None:
        with contextlib.suppress(OSError):  # it is closed already
            found.socket.recv(1)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    found.close()
    waiting.join(10)
    assert not waiting.is_alive()


def test_the_connection_tells_user_and_database(mover: str) -> None:
    connection = connect(re.sub(r"/\d+$", "/2", mover))
    assert (connection.user, connection.database) == ("mover", 2)
    connection.close()


def test_a_greeting_that_fails_once_is_said_again(redis_url: str) -> None:
    """As redis-py says it; what answered is used, and every error from then on is told."""
    failed = []

    def answered(data: bytes) -> bytes:
        if failed:
            return data
        failed.append(data)
        return b"-ERR injected\r\n" * data.count(b"\r\n")

    with proxy(redis_url, answered=answered) as port:
        assert opened(re.sub(r":\d+/", f":{port}/", redis_url))[2] == b"+PONG\r\n"
    assert failed
