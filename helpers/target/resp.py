"""Redis' wire protocol in bulk: many commands as one write, their replies as one piece of bytes.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/ (RESP2).
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis

from helpers import settings
from helpers.columns import Strings, joined
from helpers.errors import HelpersError, brief, first_line
from helpers.servers import RedisSocket, connections

RECEIVE_BYTES = 1 << 18
REMEDIES = {
    "OOM": "raise maxmemory, then the same command goes on",
    "READONLY": "this is a read-only replica; give the URL of its primary",
    "MISCONF": "Redis cannot write to its disk; repair that, then the same command goes on",
    "NOPERM": "give this Redis user the right (`ACL SETUSER`)",
    "NOAUTH": "put user and password into the URL",
    "NOREPLICAS": "wait for its replicas, or lower min-replicas-to-write; then the same command goes on",
    "WRONGTYPE": "another program wrote a key of the model; the same command puts that right",
}
ALLOW = "allow it by `ACL SETUSER {user} +{name}`"
NOT_READY = ("LOADING", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "BUSY")


class Lost(HelpersError):
    """The server went away or is not ready; trying again later may help."""


class Refused(HelpersError):
    """The server answered with an error; ``code`` is its first word."""

    code = ""


def encode(*words: bytes | str | int) -> bytes:
    """One command in RESP."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        text = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


def bulk_string(text: bytes) -> bytes:
    """One bulk string in RESP, as part of a command or of a reply."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def parse(raw: bytes) -> list[Any]:
    """The replies in the bytes, in order; errors are ``hiredis.ReplyError`` objects among them."""
    reader = hiredis.Reader()
    reader.feed(raw)
    replies = []
    while (reply := reader.gets()) is not False:
        replies.append(reply)
    return replies


def errors(replies: Sequence[Any]) -> Iterable[hiredis.ReplyError]:
    """The error replies, those inside arrays too."""
    if {hiredis.ReplyError, list}.isdisjoint(map(type, replies)):  # thousands of numbers, most of the time
        return
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            yield reply
        elif isinstance(reply, list):
            yield from errors(reply)


class Connection:
    """One connection to Redis, opened as redis-py opens it: ``redis://``, ``rediss://``, ``unix://``,
    ACL users.

    Args:
        url: of the server.
        silence_s: after so many seconds without a byte it counts as lost; ``settings.SILENCE_S`` when None.

    Attributes:
        address: where it is, for messages.
        url: that it was opened with.
        clustered: whether it leads to the nodes of a cluster (see ``helpers.target.cluster``).
    """

    clustered = False

    def __init__(self, url: str, *, silence_s: float | None = None) -> None:
        self.url = url
        self.address = settings.address(url)
        try:
            self._opened = RedisSocket(url, protocol=2, silence_s=silence_s or settings.SILENCE_S)
        except HelpersError as error:
            raise Lost(str(error)) from error
        mark = secrets.token_hex(12).encode()
        self._last = encode(b"ECHO", mark)
        self._last_reply = bulk_string(mark)
        self._buffer, self._held = bytearray(RECEIVE_BYTES), 0
        self._sent, self._received, self._kept = 0, 0, dict[int, bytes]()
        self._opened.socket.sendall(self._last)
        answer = self._receive(until=b"\r\n")
        if answer.startswith(b"-"):
            raise self.error_of(parse(answer + b"\r\n")[0])
        self._receive(until=mark + b"\r\n")

    @property
    def user(self) -> str:
        """The name of the ACL user."""
        return self._opened.user

    @property
    def database(self) -> int:
        """The number of the logical database."""
        return self._opened.database

    def close(self) -> None:
        """Close the connection."""
        self._opened.close()

    def exchange(self, *commands: bytes) -> bytes:
        """The replies to some commands, raw.

        Args:
            commands: pieces that together are whole commands in RESP, any number.

        Raises:
            Lost: the connection broke, or no byte came for a minute.
        """
        return self.receive(self.send(*commands))

    def unexpected_replies(self, commands: Strings, expected: Strings) -> bytes | None:
        """The replies to some commands that only read, raw, unless they are what they should be.

        Args:
            commands: a column in RESP, each row one or several on the same key.
            expected: a column of the replies that each row of them should get, in RESP.

        Returns:
            None when they are; else all replies in RESP, in the order of the commands.

        Raises:
            Lost: as ``exchange``.
        """
        raw = self.exchange(joined(commands))
        return None if raw == joined(expected) else raw

    def write(self, *commands: bytes) -> None:
        """Send some commands whose replies come with those of the next ``send``.

        Raises:
            Lost: the connection broke.
        """
        try:
            self._opened.socket.sendall(b"".join(commands))
        except OSError as error:
            raise self._lost(error) from error

    def send(self, *commands: bytes) -> int:
        """The first half of ``exchange``: more can be sent, here or to other nodes, before it is waited for.

        Returns:
            The number that ``receive`` gives the replies for.

        Raises:
            Lost: the connection broke.
        """
        self.write(*commands, self._last)
        self._sent += 1
        return self._sent

    def receive(self, number: int) -> bytes:
        """The second half of ``exchange``: the replies to what was sent, raw.

        Args:
            number: what ``send`` returned. Replies to what was sent before it are kept for their own call.

        Raises:
            Lost: the connection broke, or no byte came for a minute.
        """
        while number not in self._kept:
            self._kept[self._received + 1] = self._receive(until=self._last_reply)
            self._received += 1
        return self._kept.pop(number)

    def masters(self) -> "list[Connection]":
        """A connection to each server that holds keys: this one alone, or the masters of a cluster."""
        return [self]

    def share(self, node: "Connection", prefix: str) -> float:
        """Which share of the keys under a prefix goes to one of the masters, from 0 to 1.

        Args:
            node: one of ``masters``.
            prefix: the prefix of the migration.
        """
        return 1.0

    def layout(self) -> tuple[str, ...]:
        """Which slots are where, and which move now: as long as it is the same, no key moves."""
        return ()

    def check(self) -> None:
        """Return if every server that was written to is still the one that keeps it.

        Raises:
            Lost: one is not.
        """

    def call(self, *words: bytes | str | int) -> Any:
        """The reply to one command.

        Raises:
            Refused: the reply is an error.
            Lost: the connection broke.
        """
        return self.ask(encode(*words))[0]

    def ask(self, *commands: bytes, doing: str = "") -> list[Any]:
        """The parsed replies to some commands, none of which is an error.

        Args:
            commands: as ``exchange`` takes them.
            doing: what is being done, for messages; empty to leave it out.

        Raises:
            Refused: a reply is an error.
            Lost: the connection broke.
        """
        replies = parse(self.exchange(*commands))
        for error in errors(replies):
            raise self.error_of(error, doing)
        return replies

    def error_of(self, error: hiredis.ReplyError, doing: str = "") -> HelpersError:
        """The error to raise for an error reply: one line with the remedy.

        Args:
            error: as ``parse`` gives it.
            doing: what was being done, for the message; empty to leave it out.

        Returns:
            ``Lost`` where the server is not ready, else ``Refused`` with the code of the reply.
        """
        text = brief(first_line(error))
        code = text.removeprefix("EXECABORT Transaction discarded because of: ").split(" ", 1)[0]
        where = f"redis at {self.address}: {doing + ': ' if doing else ''}{text}"
        if code in NOT_READY:
            return Lost(f"{where}; wait until it is ready, then the same command goes on")
        denied = re.search(r"run the '([\w|]+)'", text)
        remedy = REMEDIES.get(code, "see the Redis log")
        refused = Refused(f"{where}; {ALLOW.format(user=self.user, name=denied[1]) if denied else remedy}")
        refused.code = code
        return refused

    def _receive(self, until: bytes) -> bytes:
        """The bytes before ``until``; what was received behind it is kept for the next call."""
        looked = 0
        try:
            while (end := self._buffer.find(until, looked, self._held)) < 0:
                looked = max(self._held - len(until) + 1, 0)
                if len(self._buffer) - self._held < RECEIVE_BYTES:
                    self._buffer += bytes(len(self._buffer))
                with memoryview(self._buffer) as whole, whole[self._held :] as room:
                    got = self._opened.socket.recv_into(room)
                if not got:
                    raise ConnectionResetError("connection closed by the server")
                self._held += got
        except OSError as error:
            raise self._lost(error) from error
        with memoryview(self._buffer) as whole:
            found = whole[:end].tobytes()
        behind = self._held - end - len(until)
        self._buffer[:behind] = self._buffer[self._held - behind : self._held]
        self._held = behind
        return found

    def _lost(self, error: OSError) -> Lost:
        self.close()
        return Lost(f"redis at {self.address}: connection lost ({first_line(error)}); {connections.REMEDY}")
