"""A socket to Redis past its greeting, for bytes that redis-py neither makes nor reads.

To import redis-py takes a fifth of a second of processor time. So a URL that asks for no more than a host, a
user and a database is opened here. One that asks for more is left to redis-py, and so is one that is not
answered as hoped: it knows how to say why.
"""

import contextlib
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import hiredis

from helpers.servers import connections

if TYPE_CHECKING:
    import redis as redis_py

PORT = 6379
KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""How a host that has gone is noticed, as redis-py does it; a system may lack some of these."""


class RedisSocket:
    """A connection that has said who it is, and has chosen its database.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with all that redis-py takes.
        protocol: of the replies, 2 or 3.
        silence_s: after so many seconds without a byte it counts as lost.

    Attributes:
        socket: to be written to and read from.
        user: the name of the ACL user.
        database: the number of the logical database.

    Raises:
        HelpersError: it cannot be reached, or refuses the user or password.
    """

    def __init__(self, url: str, *, protocol: int, silence_s: float) -> None:
        self._client: redis_py.Redis | None = None
        parts = _plain(url)
        if parts is not None:
            self.user, self.database = unquote(parts.username or "default"), int(parts.path[1:] or 0)
            try:
                self.socket = self._greeted(parts, protocol, silence_s)
                return
            except TimeoutError as error:  # to ask once more would only take as long again
                raise connections.unreachable("redis", url, error) from error
            except (hiredis.HiredisError, OSError, UnicodeError):
                pass
        self._client = connections.redis(url, protocol=protocol, socket_timeout=silence_s)
        pool: Any = self._client.connection_pool
        self.socket = _taken(pool, url)
        given = pool.connection_kwargs
        self.user, self.database = str(given.get("username") or "default"), int(given.get("db") or 0)

    def close(self) -> None:
        """Close it; another thread that waits for bytes from it waits no longer."""
        if self._client is not None:
            self._client.close()
            return
        _close(self.socket)

    def __del__(self) -> None:
        """Nobody holds it any more; redis-py closes its own then, too."""
        if self._client is None and hasattr(self, "socket"):
            self.socket.close()

    def _greeted(self, parts: SplitResult, protocol: int, silence_s: float) -> socket.socket:
        """A socket whose greeting was answered without an error."""
        where = parts.hostname or "localhost", parts.port or PORT
        try:
            found = socket.create_connection(where, connections.TIMEOUT_S)
        except TimeoutError as error:
            raise TimeoutError("Timeout connecting to server") from error
        try:
            found.settimeout(silence_s)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEP_ALIVE.items():
                if option := getattr(socket, name, None):
                    found.setsockopt(socket.IPPROTO_TCP, option, value)
            self._greet(found, parts, protocol)
        except TimeoutError as error:
            _close(found)
            raise TimeoutError(f"Timeout reading from {where[0]}:{where[1]}") from error
        except BaseException:
            _close(found)
            raise
        return found

    def _greet(self, found: socket.socket, parts: SplitResult, protocol: int) -> None:
        password = unquote(parts.password or "")
        commands: list[tuple[Any, ...]] = [("HELLO", str(protocol))] if protocol != 2 else []
        if parts.username or password:
            commands.insert(0, ("AUTH", *([unquote(parts.username)] if parts.username else []), password))
        if self.database:
            commands.append(("SELECT", str(self.database)))
        commands.append(("PING",))
        reader = hiredis.Reader()
        found.sendall(b"".join(hiredis.pack_command(command) for command in commands))
        for _ in commands:
            while (reply := reader.gets()) is False:
                data = found.recv(1 << 12)
                if not data:
                    raise ConnectionResetError("closed")
                reader.feed(data)
            if isinstance(reply, hiredis.ReplyError):
                raise reply


def _plain(url: str) -> SplitResult | None:
    """The parts of a URL that asks for no more than a host, a user and a database; None of any other."""
    try:
        parts = urlsplit(url)
        known = parts.scheme == "redis" and not parts.query and not parts.fragment and parts.port != 0
    except ValueError:
        return None
    path = parts.path.removeprefix("/")
    return parts if known and (not path or (path.isascii() and path.isdigit())) else None


def _taken(pool: Any, url: str) -> socket.socket:
    """The socket of a connection of redis-py's."""
    import redis as redis_py

    try:
        taken: socket.socket = pool.get_connection()._sock
    except (redis_py.RedisError, OSError) as error:
        raise connections.unreachable("redis", url, error) from error
    return taken


def _close(found: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end was faster
        found.shutdown(socket.SHUT_RDWR)
    found.close()
