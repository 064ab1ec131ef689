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
from typing import Any, NamedTuple

import numpy as np
import psutil

from helpers.comparison.store import Store
from helpers.comparison.workload import READS, Operation
from helpers.errors import HelpersError, first_line
from helpers.servers import machine

MOST_FAILURES = 5
"""Failures in a row after which a client gives up: the server is gone."""

ANSWERS_EVERY = 20
"""Each client keeps the answer of every so many-th read, to be compared between stores afterwards."""


@dataclass
class StoreRun:
    """What came of one stream on one store.

    Samples of one client follow each other, in the order sent; failed operations have none. Times in
    microseconds. What the others are is told by ``samples.RunSamples``, which is what is saved of it.
    """

    operations: list[str] = field(default_factory=list)
    latency_us: list[float] = field(default_factory=list)
    service_us: list[float] = field(default_factory=list)
    errors: int = 0
    error: str = ""
    wall_s: float = 0.0
    processes: int = 1
    client_cpu_s: float = 0.0
    busiest_cpu_s: float = 0.0
    asking_cpu_s: float = 0.0
    server_cpu_s: float | None = None
    machine_busy_share: float | None = None
    cores: int = 1
    answers: list[Any] = field(default_factory=list)


Client = Callable[[StoreRun, threading.Event, int], None]
"""What one client does; given are where it writes what it saw, what says that the server is gone, and the
start.
"""


@dataclass
class Part:
    """What the clients of one process saw, in their order, and what they took of its processor time.

    ``ended_ns`` is when the last one was done, by ``time.perf_counter_ns``, which is one clock for all
    processes of a machine (Python's documentation calls it system-wide).
    """

    runs: list[StoreRun]
    cpu_s: float
    ended_ns: int
    gave_up: bool


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
    return _alone(store, closed_clients(store, streams))


def closed_clients(store: Store, streams: Sequence[Sequence[Operation]]) -> list[Client]:
    """A client for each stream, as ``closed`` has them."""

    def client(stream: Sequence[Operation], run: StoreRun, gave_up: threading.Event, start_ns: int) -> None:
        do = _Doer(store, run, gave_up)
        for operation in stream:
            if gave_up.is_set():
                return
            started = time.perf_counter_ns()
            if do(operation):
                run.operations.append(operation.name)
                run.latency_us.append((time.perf_counter_ns() - started) / 1000)

    return [partial(client, stream) for stream in streams]


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
    return _alone(store, open_clients(store, stream, due_s, clients=clients))


def open_clients(
    store: Store, stream: Sequence[Operation], due_s: Sequence[float], *, clients: int
) -> list[Client]:
    """So many clients that share a stream, as ``open_loop`` has them."""
    next_index = itertools.count()  # next() on it is one step of the interpreter, so each index is taken once

    def client(run: StoreRun, gave_up: threading.Event, start_ns: int) -> None:
        do = _Doer(store, run, gave_up)
        while not gave_up.is_set() and (index := next(next_index)) < len(stream):
            due = start_ns + int(due_s[index] * 1e9)
            wait_until(due)
            sent = time.perf_counter_ns()
            if do(stream[index]):
                ended = time.perf_counter_ns()
                run.operations.append(stream[index].name)
                run.latency_us.append((ended - due) / 1000)
                run.service_us.append((ended - sent) / 1000)

    return [client] * clients


def wait_until(moment_ns: int) -> None:
    """Sleep until a moment of ``time.perf_counter_ns``; not at all when it has passed."""
    wait_ns = moment_ns - time.perf_counter_ns()
    if wait_ns > 0:
        time.sleep(wait_ns / 1e9)


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


class Crew:
    """The clients of this process, each a thread that waits, connected, for the common start."""

    def __init__(self, store: Store, clients: Sequence[Client]) -> None:
        gc.collect()  # so that no store pays for what the others left behind
        self._store, self._runs = store, [StoreRun() for _ in clients]
        self._gave_up, self._start_ns, self._cpu = threading.Event(), 0, 0.0
        self._faults: list[BaseException] = []
        self._ended_ns = [0] * len(clients)
        self._connected, self._gate = (threading.Barrier(len(clients) + 1) for _ in range(2))
        self._threads = [
            threading.Thread(target=self._body, args=(number, client), daemon=True)
            for number, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()
        with suppress(threading.BrokenBarrierError):  # the fault is raised at the end
            self._connected.wait()

    def _body(self, number: int, client: Client) -> None:
        run = self._runs[number]
        try:
            try:
                self._store.null_op()  # so that no timed operation opens a connection
            except self._store.ERRORS as error:
                run.errors, run.error = 1, first_line(error)
                self._gave_up.set()
            self._connected.wait()
            self._gate.wait()
            wait_until(self._start_ns)
            cpu = time.thread_time()
            client(run, self._gave_up, self._start_ns)
            run.asking_cpu_s = time.thread_time() - cpu
        except BaseException as fault:  # carried over to the thread that asked
            self._connected.abort()
            self._gate.abort()
            self._gave_up.set()
            self._faults.append(fault)
        finally:
            self._ended_ns[number] = time.perf_counter_ns()

    def start(self, start_ns: int) -> None:
        """Have all clients begin at a moment of ``time.perf_counter_ns``."""
        self._start_ns = start_ns
        self._cpu = time.process_time()
        with suppress(threading.BrokenBarrierError):
            self._gate.wait()

    @property
    def gave_up(self) -> bool:
        """Whether the server stopped answering."""
        return self._gave_up.is_set()

    @property
    def done(self) -> int:
        """How many operations were answered or failed so far."""
        return sum(len(run.operations) + run.errors for run in self._runs)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the clients, at most so long; gives whether they are done."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def part(self) -> Part:
        """What they saw, once they are done.

        Raises:
            Exception: what one of them raised that is no failure of the store.
        """
        cpu_s = time.process_time() - self._cpu
        if self._faults:
            raise self._faults[0]
        return Part(self._runs, cpu_s, max(self._ended_ns), self.gave_up)


class Used(NamedTuple):
    """Processor seconds of the server, and the share of all cores that were in use; None where unknown."""

    server_cpu_s: float | None
    machine_busy_share: float | None


UNKNOWN = Used(None, None)


class Meter:
    """What server and machine were busy with between two moments.

    Args:
        store: whose server.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._before, self._cores = store, _server_cpu_s(store), machine.Cores()

    def read(self) -> Used:
        """What was used since then."""
        share = self._cores.busy()
        server = _server_cpu_s(self._store)
        used = None if server is None or self._before is None else server - self._before
        return Used(used, share)


def _alone(store: Store, clients: Sequence[Client]) -> StoreRun:
    """Have the clients work in this process."""
    crew = Crew(store, clients)
    meter, start_ns = Meter(store), time.perf_counter_ns()
    crew.start(start_ns)
    crew.join()
    used = UNKNOWN if crew.gave_up else meter.read()
    return whole(store, [crew.part()], start_ns, used)


def whole(store: Store, parts: Sequence[Part], start_ns: int, used: Used) -> StoreRun:
    """The run of all clients.

    Args:
        store: that was asked.
        parts: of each process; clients were dealt to them in turns.
        start_ns: when all clients began.
        used: by server and machine from then on.

    Raises:
        HelpersError: the server stopped answering; says how many operations succeeded and failed.
    """
    total = StoreRun(
        processes=len(parts),
        wall_s=(max(part.ended_ns for part in parts) - start_ns) / 1e9,
        client_cpu_s=sum(part.cpu_s for part in parts),
        busiest_cpu_s=max(part.cpu_s for part in parts),
        server_cpu_s=used.server_cpu_s,
        machine_busy_share=used.machine_busy_share,
        cores=psutil.cpu_count() or 1,
    )
    for turn in itertools.zip_longest(*(part.runs for part in parts)):
        for run in filter(None, turn):
            total.operations += run.operations
            total.latency_us += run.latency_us
            total.service_us += run.service_us
            total.answers += run.answers
            total.asking_cpu_s += run.asking_cpu_s
            total.errors += run.errors
            total.error = total.error or run.error
    if any(part.gave_up for part in parts):
        raise HelpersError(
            f"{store.name} at {store.address}: stopped answering after {len(total.operations):,} operations, "
            f"{total.errors} failed ({total.error}); nothing of this block is kept, see that the server runs "
            "(`python -m helpers status`) and measure again"
        )
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
