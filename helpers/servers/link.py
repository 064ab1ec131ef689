"""A link between two processes that can be cut: a relay on loopback."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from helpers.servers.process import HOST

CHUNK_BYTES = 1 << 16


class Link:
    """Passes bytes between whoever connects to ``port`` and a server's port, until it is cut."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._cut = Event()
        self._door = socket.create_server((HOST, 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[Thread] = []
        self.port = int(self._door.getsockname()[1])
        self._spawn(self._accept)

    def cut(self) -> None:
        """Pass nothing more in either direction; connections stay open, as when a cable is pulled."""
        self._cut.set()

    def close(self) -> None:
        """End all connections and threads."""
        self._cut.set()
        for one in (self._door, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            one.close()
        for thread in self._threads:
            thread.join()

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                before, _ = self._door.accept()
                self._sockets.append(before)
                if self._cut.is_set():
                    continue  # held, not answered
                with contextlib.suppress(OSError):
                    behind = socket.create_connection((HOST, self._behind), timeout=5)
                    behind.settimeout(None)
                    self._sockets.append(behind)
                    self._spawn(self._pump, before, behind)
                    self._spawn(self._pump, behind, before)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if self._cut.is_set():
                    return
                sink.sendall(data)
            if not self._cut.is_set():
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def link(behind: int) -> Iterator[Link]:
    """A link to a port of this machine, closed at the end."""
    made = Link(behind)
    try:
        yield made
    finally:
        made.close()
