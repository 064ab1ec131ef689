"""Whether keys are written while they are read: Redis says so itself.

Source: https://redis.io/docs/latest/develop/reference/client-side-caching/ (broadcasting mode).
"""

from typing import Any

import hiredis

from helpers import settings, text
from helpers.errors import HelpersError, first_line
from helpers.model import BOOKKEEPING, Plan
from helpers.servers import RedisSocket, connections
from helpers.target import resp
from helpers.target.checkpoint import state_key
from helpers.target.lease import lease_key
from helpers.text import show


class Watch:
    """A connection that Redis tells of every key of the model, or of its bookkeeping, that is written.

    Nothing is written for it, and Redis keeps nothing per key.

    Args:
        url: of the server.
        plan: of the migration.
        clustered: whether the server is a node of a cluster.

    Attributes:
        warning: why nothing will be told (rights, or a server that cannot), or None.
    """

    def __init__(self, url: str, plan: Plan, *, clustered: bool = False) -> None:
        self.address = settings.address(url)
        self.warning: str | None = None
        self._plan = plan
        names = (state_key, lease_key)
        self._own = {name(plan.prefix, clustered=clustered).encode() for name in names}
        self._written: list[bytes] = []
        self._reader = hiredis.Reader()
        self._opened = RedisSocket(url, protocol=3, silence_s=settings.SILENCE_S)
        heads = sorted(plan.prefix + head for head in (*plan.heads, BOOKKEEPING))
        # Redis takes none that another begins with; all keys are told of where one head is empty.
        apart = [one for one in heads if not any(one != other and one.startswith(other) for other in heads)]
        words = [word for head in apart if head for word in ("PREFIX", head)]
        reply = self._ask("CLIENT", "TRACKING", "ON", "BCAST", *words)
        if isinstance(reply, hiredis.ReplyError):
            self.warning = (
                f"Redis does not tell which keys are written meanwhile ({first_line(reply)}), so that the "
                "tables are of one moment only if nothing wrote"
            )

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()

    def look(self) -> None:
        """Return if nothing was written since the watch began.

        Raises:
            HelpersError: something was; it names the first keys.
            resp.Lost: the connection broke.
        """
        reply = self._ask("PING")
        if isinstance(reply, hiredis.ReplyError):
            raise resp.Lost(f"redis at {self.address}: {first_line(reply)}")
        if self._written:
            names = text.join([show(key) for key in self._written[:3]])
            raise HelpersError(
                f"redis at {self.address}: {names} changed while it was read (databases of one server are "
                "not told apart); stop what writes there, then the same command; nothing was written to "
                "postgres"
            )

    def _ask(self, *words: str) -> Any:
        """The reply to a command; what is pushed before it is noted."""
        try:
            self._opened.socket.sendall(resp.encode(*words))
            while True:
                while (reply := self._reader.gets()) is not False:
                    if not isinstance(reply, hiredis.PushNotification):
                        return reply
                    self._note(reply)
                data = self._opened.socket.recv(resp.RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("connection closed by the server")
                self._reader.feed(data)
        except OSError as error:
            raise resp.Lost(
                f"redis at {self.address}: connection lost ({first_line(error)}); {connections.REMEDY}"
            ) from error

    def _note(self, pushed: list[Any]) -> None:
        if pushed[0] != b"invalidate":
            return
        if pushed[1] is None:
            self._written.append(b"everything (FLUSHDB)")
            return
        for key in pushed[1]:
            ours = key in self._own or self._plan.kind_of(key) is not None
            if ours and len(self._written) < 3 and key not in self._written:
                self._written.append(key)


class Watches:
    """A ``Watch`` on each server that holds keys: of a cluster, its masters. A slot that moves counts as
    written to.

    Args:
        connection: the target.
        plan: of the migration.
    """

    def __init__(self, connection: resp.Connection, plan: Plan) -> None:
        self._all: list[Watch] = []
        try:
            for node in connection.masters():
                self._all.append(Watch(node.url, plan, clustered=connection.clustered))
        except BaseException:
            self.close()
            raise

    @property
    def warning(self) -> str | None:
        """Why one of them will not be told anything, or None."""
        return next((one.warning for one in self._all if one.warning), None)

    def close(self) -> None:
        """Close the connections."""
        for one in self._all:
            one.close()

    def look(self) -> None:
        """Return if nothing was written since the watch began; see ``Watch.look``."""
        for one in self._all:
            one.look()
