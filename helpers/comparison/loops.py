"""Drive a store with a stream, and time every operation: closed loop and open loop.

Closed: each client sends its next operation when the last is answered, so a slow answer delays the
questions after it and hides their waiting. Open: operations are due at times fixed beforehand, as users
do not wait for each other, and latency counts from the time an operation was due (Tene, "How NOT to
Measure Latency", 2013; wrk2 does the same).
"""

import gc
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from helpers.comparison.store import Store
from helpers.comparison.workload import READS, Operation
from helpers.errors import HelpersError, first_line

MOST_FAILURES = 5
"""Failures in a row after which a client gives up: the server is gone."""

ANSWERS_EVERY = 20
"""Each client keeps the answer of every so many-th read, to be compared between stores afterwards."""


@dataclass
class StoreRun:
    """What came of one stream on one store.

    Samples of one client follow each other, in the order sent; failed operations have none. Times in
    microseconds.
    """

    operations: list[str] = field(default_factory=list)
    latency_us: list[float] = field(default_factory=list)
    service_us: list[float] = field(default_factory=list)
    errors: int = 0
    error: str = ""
    wall_s: float = 0.0
    client_cpu_s: float = 0.0
    server_cpu_s: float | None = None
    answers: list[Any] = field(default_factory=list)


@contextmanager
def lean() -> Iterator[None]:
    """Make the garbage collector look only at what is made inside.

    A store should not pay for what another left behind, so that there is a collection before every timed
    run; with all that a notebook holds it would take a tenth of a second, and one in the middle of a run too.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def closed(store: Store, streams: Sequence[Sequence[Operation]]) -> StoreRun:
    """Give each client its stream; each sends as fast as it is answered.

    Args:
        store: loaded; used from as many threads as there are streams.
        streams: operations of each client.

    Raises:
        HelpersError: the server stopped answering; says how many operations succeeded and failed.
    """
    gave_up = threading.Event()

    def client(stream: Sequence[Operation], run: StoreRun) -> None:
        do = _Doer(store, run, gave_up)
        for operation in stream:
            if gave_up.is_set():
                return
            started = time.perf_counter_ns()
            if do(operation):
                run.operations.append(operation.name)
                run.latency_us.append((time.perf_counter_ns() - started) / 1000)

    return _together(store, [partial(client, stream) for stream in streams], gave_up)


def open_loop(store: Store, stream: Sequence[Operation], due_s: Sequence[float], *, clients: int) -> StoreRun:
    """Send each operation when it is due, by the first client that is free then.

    ``latency_us`` counts from when an operation was due, ``service_us`` from when it was sent; what lies
    between is the send lag: waiting for a free client, and the sleeping clock's lateness.

    Args:
        store: loaded.
        stream: operations in the order in which they fall due.
        due_s: seconds from the start, in order, one for each operation.
        clients: how many operations can be under way at once.

    Raises:
        HelpersError: the server stopped answering.
    """
    gave_up = threading.Event()
    next_index = itertools.count()  # next() on it is one step of the interpreter, so each index is taken once
    start: list[int] = []

    def client(run: StoreRun) -> None:
        do = _Doer(store, run, gave_up)
        if not start:
            start.append(time.perf_counter_ns())
        while not gave_up.is_set() and (index := next(next_index)) < len(stream):
            due = start[0] + int(due_s[index] * 1e9)
            wait_ns = due - time.perf_counter_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            sent = time.perf_counter_ns()
            if do(stream[index]):
                ended = time.perf_counter_ns()
                run.operations.append(stream[index].name)
                run.latency_us.append((ended - due) / 1000)
                run.service_us.append((ended - sent) / 1000)

    return _together(store, [client] * clients, gave_up)


class _Doer:
    """Does operations for one client: counts failures, keeps some answers."""

    def __init__(self, store: Store, run: StoreRun, gave_up: threading.Event) -> None:
        self._calls: dict[str, Callable[..., Any]] = {}
        self._store, self._run, self._gave_up = store, run, gave_up
        self._failed = self._reads = 0

    def __call__(self, operation: Operation) -> bool:
        name = operation.name
        do = self._calls.get(name)
        if do is None:
            do = self._calls[name] = getattr(self._store, name)
        try:
            answer = do(*operation.arguments)
        except self._store.ERRORS as error:
            self._run.errors += 1
            self._run.error = first_line(error)
            self._failed += 1
            if self._failed >= MOST_FAILURES:
                self._gave_up.set()
            return False
        self._failed = 0
        if name in READS:
            self._reads += 1
            if self._reads % ANSWERS_EVERY == 0:
                self._run.answers.append(answer)
        return True


def _together(
    store: Store, clients: Sequence[Callable[[StoreRun], None]], gave_up: threading.Event
) -> StoreRun:
    """Start all clients at once, wait for them, and add up what they saw."""
    gc.collect()  # so that no store pays for what the others left behind
    runs = [StoreRun() for _ in clients]
    gate = threading.Barrier(len(clients) + 1)
    faults: list[BaseException] = []

    def body(client: Callable[[StoreRun], None], run: StoreRun) -> None:
        try:
            try:
                store.null_op()  # so that no timed operation opens a connection
            except store.ERRORS as error:
                run.errors, run.error = 1, first_line(error)
                gave_up.set()
            gate.wait()
            client(run)
        except BaseException as fault:  # carried over to the thread that asked
            gate.abort()
            gave_up.set()
            faults.append(fault)

    threads = [
        threading.Thread(target=body, args=pair, daemon=True) for pair in zip(clients, runs, strict=True)
    ]
    for thread in threads:
        thread.start()
    server_before = _server_cpu_s(store)
    with suppress(threading.BrokenBarrierError):  # the fault is raised below
        gate.wait()
    cpu, wall = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.join()
    total = StoreRun(wall_s=time.perf_counter() - wall, client_cpu_s=time.process_time() - cpu)
    if faults:
        raise faults[0]
    for run in runs:
        total.operations += run.operations
        total.latency_us += run.latency_us
        total.service_us += run.service_us
        total.answers += run.answers
        total.errors += run.errors
        total.error = total.error or run.error
    if gave_up.is_set():
        raise HelpersError(
            f"{store.name} at {store.address}: stopped answering after {len(total.operations):,} operations, "
            f"{total.errors} failed ({total.error}); nothing of this block is kept, see that the server runs "
            "(`python -m helpers status`) and measure again"
        )
    server_after = _server_cpu_s(store)
    if server_before is not None and server_after is not None:
        total.server_cpu_s = server_after - server_before
    return total


def _server_cpu_s(store: Store) -> float | None:
    try:
        return store.server_cpu_s()
    except store.ERRORS:
        return None


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
    """How long ``count`` null operations of a store's driver take, each in microseconds."""
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
