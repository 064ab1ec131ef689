"""What no store can be faster than: a round trip on the loopback, a driver's null operation, a flush to
the disk.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers.comparison.store import Store

MESSAGE_BYTES = 64
BLOCK_BYTES = 4096
WARM_UP = 20
ECHO_WARM_UP = 400  # a fresh process: it takes this long until the kernel has settled where it runs
# A process of its own, as a server is: within one, client and server would wait for the same interpreter
# lock.
ECHO = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
space = bytearray(4096)
view, receive, send = memoryview(space), connection.recv_into, connection.send
while size := receive(space):
    send(view[:size])
"""


def echo_us(count: int) -> np.ndarray:
    """Round trips of ``MESSAGE_BYTES`` bytes to another process by TCP on the loopback, in microseconds."""
    with subprocess.Popen([sys.executable, "-SEI", "-c", ECHO], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _timed(lambda: _round_trip(connection), count, warm_up=ECHO_WARM_UP)


def _round_trip(connection: socket.socket) -> None:
    connection.sendall(bytes(MESSAGE_BYTES))
    received = 0
    while received < MESSAGE_BYTES:
        received += len(connection.recv(MESSAGE_BYTES))


def null_op_us(store: Store, count: int) -> np.ndarray:
    """Null operations of a store's driver, in microseconds."""
    return _timed(store.null_op, count)


def fsync_us(count: int, folder: Path) -> np.ndarray:
    """Appending ``BLOCK_BYTES`` bytes to a file and flushing it to the disk, in microseconds.

    Args:
        count: how many times.
        folder: a folder on the disk in question; the file in it is removed.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        descriptor = file.fileno()

        def append() -> None:
            os.write(descriptor, bytes(BLOCK_BYTES))
            os.fsync(descriptor)

        return _timed(append, count)


def _timed(do: Callable[[], object], count: int, *, warm_up: int = WARM_UP) -> np.ndarray:
    """Microseconds of each call, after ``warm_up`` that are not counted."""
    for _ in range(warm_up):
        do()
    moments = np.empty(count + 1)
    moments[0] = time.perf_counter_ns()
    for number in range(1, count + 1):
        do()
        moments[number] = time.perf_counter_ns()
    return np.diff(moments) / 1000
