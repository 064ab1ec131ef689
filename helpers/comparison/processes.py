"""Clients in processes of their own, so that one interpreter's lock does not bound what is measured.

The processes are started once and keep their connections. A run has a common start: each process says that
its clients are connected, then all are told the moment. What they saw comes back when the last is done. One
that dies or makes no progress ends the run, and all others with it.
"""

import gc
import multiprocessing
import os
import signal
import socket
import struct
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from helpers.comparison import loops, stores
from helpers.comparison.store import Store
from helpers.comparison.workload import Operation
from helpers.errors import HelpersError

START_S = 180.0
"""How long the processes are given to connect; a busy machine loads drivers slowly."""
PATIENCE_S = 60.0
"""How long a process may make no progress; five failures of ten seconds each end a client earlier."""
BEAT_S = 1.0
"""How often a process says how far it is."""
LEAD_NS = 5_000_000
"""The moment of the start lies so far ahead that all processes hear of it before."""
LEAVE_S = 5.0
"""How long a process is given to end by itself."""


@dataclass(frozen=True)
class Order:
    """What the clients of one process do: a stream each, or one stream that falls due, shared by so many."""

    store: str
    streams: Sequence[Sequence[Operation]]
    due_s: Sequence[float] | None = None
    clients: int = 0

    def made(self, store: Store) -> list[loops.Client]:
        """The clients, on the connections of the process they are in."""
        if self.due_s is None:
            return loops.closed_clients(store, self.streams)
        return loops.open_clients(store, self.streams[0], self.due_s, clients=self.clients)


class Processes:
    """As many processes as clients may need, each connected to every store.

    Args:
        opened: the stores, by name; what they created is there, and stays while the processes live.
        count: how many at most; started when a run first needs them.

    A context manager: on leaving, the processes end, by force if they must.
    """

    def __init__(self, opened: Mapping[str, Store], count: int) -> None:
        self._opened, self._count = opened, count
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def closed(self, name: str, streams: Sequence[Sequence[Operation]]) -> loops.StoreRun:
        """``loops.closed`` with the clients dealt to the processes in turns; one client is in one process.

        Args:
            name: of the store.
            streams: operations of each client.

        Raises:
            HelpersError: the server stopped answering, or a process of clients died or hangs.
        """
        count = min(self._count, len(streams))
        return self._run([Order(name, streams[number::count]) for number in range(count)])

    def open_loop(
        self, name: str, stream: Sequence[Operation], due_s: Sequence[float], *, clients: int
    ) -> loops.StoreRun:
        """``loops.open_loop`` with operations and clients dealt to the processes in turns.

        So an operation waits for the first free client of its process, not of all.

        Args:
            name: of the store.
            stream, due_s, clients: as for ``loops.open_loop``.

        Raises:
            HelpersError: as ``closed``.
        """
        count = min(self._count, clients, len(stream))
        return self._run(
            [
                Order(name, [stream[n::count]], due_s[n::count], len(range(n, clients, count)))
                for n in range(count)
            ]
        )

    def _run(self, orders: Sequence[Order]) -> loops.StoreRun:
        try:
            workers = self._ready(len(orders))
            gc.collect()
            for worker, order in zip(workers, orders, strict=True):
                worker.tell(order)
            self._hear(workers)
            store = self._opened[orders[0].store]
            meter, start_ns = loops.Meter(store), time.perf_counter_ns() + LEAD_NS
            for worker in workers:
                worker.tell(start_ns)
            gave_up = any(self._hear(workers))
            used = loops.UNKNOWN if gave_up else meter.read()
            for worker in workers:
                worker.tell(None)  # only now: packing what was seen takes processor time
            return loops.whole(store, self._hear(workers), start_ns, used)
        except BaseException:
            self.close(force=True)
            raise

    def _ready(self, count: int) -> "list[_Worker]":
        """So many workers, those that are missing started together."""
        urls = {name: store.url for name, store in self._opened.items()}
        started = [_Worker(urls) for _ in range(count - len(self._workers))]
        self._workers += started
        self._hear(started, START_S)
        return self._workers[:count]

    def _hear(self, workers: "Sequence[_Worker]", patience_s: float | None = None) -> list[Any]:
        """What each of the workers says next, in their order; ``PATIENCE_S`` is waited when None is given."""
        patience_s = PATIENCE_S if patience_s is None else patience_s
        said: dict[_Worker, Any] = {}
        progress = {worker: (-1, time.monotonic()) for worker in workers}
        while silent := [worker for worker in workers if worker not in said]:
            wait([thing for worker in silent for thing in (worker.pipe, worker.process.sentinel)], BEAT_S)
            for worker in silent:
                before, moment = progress[worker]
                message = worker.heard()
                if isinstance(message, _Beat) and message.done != before:
                    progress[worker] = (message.done, time.monotonic())
                elif message is not None and not isinstance(message, _Beat):
                    said[worker] = message.what
                elif time.monotonic() - moment > patience_s:
                    raise _stuck(patience_s)
        return [said[worker] for worker in workers]

    def close(self, *, force: bool = False) -> None:
        """End the processes; by force those that do not go by themselves.

        Args:
            force: do not wait for them.
        """
        for worker in self._workers:
            worker.pipe.close()  # which each sees as the end
        until = time.monotonic() + (0 if force else LEAVE_S)
        for worker in self._workers:
            worker.end(max(0.0, until - time.monotonic()))
        self._workers = []


def _lost(what: str) -> HelpersError:
    return HelpersError(
        f"a process of clients {what}; nothing of this block is kept, and the others were ended: measure "
        "again"
    )


def _stuck(patience_s: float) -> HelpersError:
    return _lost(f"has made no progress for {patience_s:g} s")


@dataclass(frozen=True)
class _Beat:
    """How many operations a process has done so far."""

    done: int


@dataclass(frozen=True)
class _Said:
    """An answer of a process."""

    what: Any


class _Worker:
    """One process and the pipe to it.

    URLs go through the pipe, because a password on a command line is seen by all.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is seen
        self.tell(dict(urls))

    def tell(self, what: Any) -> None:
        """Send it something.

        Raises:
            HelpersError: it is gone, or takes nothing.
        """
        try:
            self._limit_waiting()
            self.pipe.send(what)
        except BlockingIOError as error:
            raise _stuck(PATIENCE_S) from error
        except OSError as error:
            raise self._gone() from error

    def _limit_waiting(self) -> None:
        """Have no write to the pipe and no read from it wait longer than a process may make no progress: what
        is sent may be larger than what the pipe holds.
        """
        limit = struct.pack("ll", int(PATIENCE_S), int(PATIENCE_S % 1 * 1e6))
        with socket.socket(fileno=os.dup(self.pipe.fileno())) as end:
            for which in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                end.setsockopt(socket.SOL_SOCKET, which, limit)

    def heard(self) -> "_Beat | _Said | None":
        """What it has said, None when nothing so far.

        Raises:
            HelpersError: it is gone, or says why it could not go on.
        """
        try:
            found = self.pipe.recv() if self.pipe.poll() else None
        except BlockingIOError as error:
            raise _stuck(PATIENCE_S) from error
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if isinstance(found, Exception):
            raise found
        if found is None and not self.process.is_alive() and not self.pipe.poll():
            raise self._gone()
        return found

    def _gone(self) -> HelpersError:
        self.process.join(1)
        return _lost(f"has died (exit code {self.process.exitcode})")

    def end(self, patience_s: float) -> None:
        """See that it ends."""
        self.process.join(patience_s)
        for stop in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                stop()
                self.process.join(1)
        with suppress(ValueError):  # not even killed by now: the system will get to it
            self.process.close()


def _work(pipe: Connection) -> None:
    """What a process of clients does until the other end of its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process ends the others
    with suppress(EOFError, BrokenPipeError), ExitStack() as stack:
        try:
            opened = {
                name: stack.enter_context(stores.connect(name, url)) for name, url in pipe.recv().items()
            }
            for store in opened.values():
                store.join()
            gc.collect()
            gc.freeze()  # as ``loops.lean`` does
            pipe.send(_Said(None))
            while True:
                order: Order = pipe.recv()
                store = opened[order.store]
                crew = loops.Crew(store, order.made(store))
                pipe.send(_Said(None))
                crew.start(pipe.recv())
                while not crew.join(BEAT_S):
                    pipe.send(_Beat(crew.done))
                part = crew.part()
                pipe.send(_Said(part.gave_up))
                pipe.recv()
                pipe.send(_Said(part))
        except (EOFError, BrokenPipeError):
            raise
        except HelpersError as error:
            pipe.send(error)
        except BaseException:
            pipe.send(RuntimeError(f"in a process of clients:\n{traceback.format_exc()}"))
