"""The lease and the checkpoint: each batch commits with its position, and only while the lease is ours.

The stream of a batch is ``MULTI, commands, HSET migration:state, PEXPIRE migration:lease, EXEC, WATCH lease,
GET lease``. The next batch is sent only after GET gave our token back, and the WATCH makes its EXEC fail
if anybody took the lease in between. So a process that was paused until its lease ran out cannot write any
more.
"""

import contextlib
import hashlib
import os
import platform
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from helpers import model, resp
from helpers.errors import HelpersError
from helpers.resp import encode

FORMAT = "2"
LEASE_MS = 15_000
OK_QUEUED = (b"+OK\r\n", b"+QUEUED\r\n")


class LeaseLost(HelpersError):
    """The lease ran out or was taken: nothing more may be written under it."""


class Checkpoint:
    """The state of a migration in its target, and the right to change it."""

    def __init__(self, connection: resp.Connection, prefix: str) -> None:
        self.connection = connection
        self.lease = model.lease_key(prefix).encode()
        self.key = model.state_key(prefix).encode()
        self.token = ""
        self.renewed = 0.0
        self._end = b""

    def read(self) -> dict[str, str]:
        """The state as it is in the target; empty when no migration was recorded there."""
        flat = self.connection.call("HGETALL", self.key)
        words = [word.decode("utf-8", "replace") for word in flat]
        return dict(zip(words[::2], words[1::2], strict=True))

    def acquire(self, token: str | None = None) -> None:
        """Take the lease, or wait for one whose holder has gone.

        Args:
            token: a token of this process, whose lease it may go on with after a lost connection.

        Raises:
            HelpersError: another migration holds it and is alive.
        """
        self.token = token or _token()
        self._end = encode("WATCH", self.lease) + encode("GET", self.lease)
        deadline = time.monotonic() + 2 * LEASE_MS / 1000
        before: tuple[bytes, int] | None = None
        while True:
            if self.connection.call("SET", self.lease, self.token, "NX", "PX", LEASE_MS) is not None:
                break
            holder = self.connection.call("GET", self.lease) or b""
            if holder == self.token.encode():
                break
            left_ms = self.connection.call("PTTL", self.lease)
            alive = _alive(holder.decode("utf-8", "replace"))
            renewed = before is not None and before[0] == holder and left_ms > before[1]
            if alive or renewed or time.monotonic() > deadline:
                raise HelpersError(
                    f"redis at {self.connection.address}: another migration is under way "
                    f"({_age(holder)}, its lease runs out in {max(left_ms, 0) / 1000:.0f} s unless renewed); "
                    "wait until it ends"
                )
            if alive is False and self._take_over(holder):
                break
            before = (holder, left_ms)
            time.sleep(0.2)
        self._watch()
        self.renewed = time.monotonic()

    def _take_over(self, holder: bytes) -> bool:
        """Replace the lease of a process of this machine that no longer runs, unless it changed meanwhile."""
        commands = encode("WATCH", self.lease), encode("GET", self.lease)
        if resp.parse(self.connection.exchange(b"".join(commands)))[1] != holder:
            return False
        swap = encode("MULTI") + encode("SET", self.lease, self.token, "PX", LEASE_MS, "XX") + encode("EXEC")
        return resp.parse(self.connection.exchange(swap))[-1] is not None

    def _watch(self) -> None:
        replies = resp.parse(self.connection.exchange(self._end))
        for error in resp.errors(replies):
            raise self.connection.refused(error)
        if replies[-1] != self.token.encode():
            raise LeaseLost(f"redis at {self.connection.address}: the lease of this migration was taken")

    def commit(
        self, commands: bytes = b"", count: int = 0, state: Mapping[str, Any] | None = None, doing: str = ""
    ) -> list[Any]:
        """Run some commands and change the state, all or nothing, if the lease is still ours.

        Args:
            commands: RESP of the commands.
            count: how many they are.
            state: fields of the state to set.
            doing: what this is, for messages.

        Returns:
            The replies to the commands.

        Raises:
            LeaseLost: nothing was written; the lease is not ours any more.
            resp.Refused: a reply was an error.
        """
        body = encode("HSET", self.key, *(w for pair in state.items() for w in pair)) if state else b""
        ours = count + bool(state)
        raw = self.connection.exchange(
            encode("MULTI")
            + commands
            + body
            + encode("PEXPIRE", self.lease, LEASE_MS)
            + encode("EXEC")
            + self._end
        )
        queued = OK_QUEUED[0] + OK_QUEUED[1] * (ours + 1)
        as_hoped = raw.startswith(queued)
        replies = resp.parse(raw[len(queued) :]) if as_hoped else resp.parse(raw)[ours + 2 :]
        if len(replies) != 3 or not isinstance(replies[0], list):
            if replies and replies[0] is None:
                raise LeaseLost(f"redis at {self.connection.address}: the lease of this migration ran out")
            # The reason stands at the command that was refused, not at EXEC.
            for error in resp.errors(resp.parse(raw)):
                raise self.connection.refused(error, doing)
            raise HelpersError(f"redis at {self.connection.address}: an answer that is not of Redis")
        results, _, holder = replies
        inner = list(resp.errors(results))
        if inner:  # the rest of the batch and its position stand: say so before stopping
            self.connection.exchange(encode("HSET", self.key, "changed", "1"))
            raise self.connection.refused(inner[0], doing)
        if holder != self.token.encode():
            raise LeaseLost(f"redis at {self.connection.address}: the lease of this migration was taken")
        self.renewed = time.monotonic()
        return results[:count]

    def renew_when_due(self) -> None:
        """Renew the lease if a third of its time has gone since it was renewed."""
        if time.monotonic() - self.renewed > LEASE_MS / 3000:
            self.commit()

    def release(self) -> None:
        """Give the lease back, if it is still ours."""
        with contextlib.suppress(LeaseLost, resp.Lost, resp.Refused):
            self.commit(encode("DEL", self.lease), 1)


def _machine() -> str:
    """A name of this machine and process space that tells nothing about them; empty where there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot}{space}{platform.node()}".encode()).hexdigest()[:16]


def _token() -> str:
    return " ".join(
        (
            secrets.token_hex(8),
            _machine() or "-",
            str(os.getpid()),
            f"{psutil.Process().create_time():.2f}",
            f"{time.time():.0f}",
        )
    )


def _alive(token: str) -> bool | None:
    """Whether the process that holds a lease runs; None when this cannot be told from here."""
    parts = token.split()
    if len(parts) != 5 or parts[1] != _machine() or not parts[1]:
        return None
    try:
        return abs(psutil.Process(int(parts[2])).create_time() - float(parts[3])) < 1
    except (psutil.Error, ValueError):
        return False


def _age(holder: bytes) -> str:
    try:
        return f"since {max(time.time() - int(holder.split()[-1]), 0):.0f} s"
    except (ValueError, IndexError):
        return "since an unknown time"
