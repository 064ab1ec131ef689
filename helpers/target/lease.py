"""The lease: who may write under a prefix now, a process of some machine.

A lease is a string that expires by itself. It holds a token, by which its holder is known again without
asking any clock for the time. Where several processes load, each has besides the lease of its partition.
"""

import hashlib
import os
import platform
import secrets
from pathlib import Path

from helpers.errors import HelpersError

LEASE_MS = 15_000
TOKEN_WORDS = 4


class LeaseLost(HelpersError):
    """The lease ran out or was taken: nothing more may be written under it."""


def lease_key(prefix: str = "", *, clustered: bool = False) -> str:
    """The string that says which process migrates now; it expires by itself.

    Args:
        prefix: the prefix of the migration.
        clustered: whether the target is a cluster, where braces bring it to the slot of the state.
    """
    return f"{prefix}migration:{{state}}:lease" if clustered else f"{prefix}migration:lease"


def partition_lease_key(partition: str, prefix: str = "", *, clustered: bool = False) -> str:
    """The string that says which process loads a partition, where several do.

    Args:
        partition: its name in the state.
        prefix: the prefix of the migration.
        clustered: whether the target is a cluster, where braces bring it to the slot of the state.
    """
    return f"{prefix}migration:{'{state}:' if clustered else ''}claim:{partition}"


def new_token(job: str | None = None) -> str:
    """A token that no other holder has: a job and a random number, machine, process id, when it started.

    Args:
        job: a name without spaces or dots with which the token begins; a random one when None.
    """
    mark = f"{job or secrets.token_hex(8)}.{secrets.token_hex(4)}"
    return " ".join((mark, _machine() or "-", str(os.getpid()), _started(os.getpid()) or "-"))


def still_runs(token: str) -> bool | None:
    """Whether the process of a token still runs; None when this cannot be told from here."""
    words = token.split()
    if len(words) != TOKEN_WORDS or words[1] != _machine() or not words[2].isdigit():
        return None
    try:
        os.kill(int(words[2]), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    started = _started(int(words[2]))
    return None if started is None else started == words[3]


def holder(token: str) -> str:
    """The process of a token, for messages."""
    words = token.split()
    if len(words) != TOKEN_WORDS:
        return "another program"
    return f"process {words[2]} of {'this' if words[1] == _machine() else 'another'} machine"


def _machine() -> str:
    """A name of this machine and process space that tells nothing about them; empty where there is none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot}{space}{platform.node()}".encode()).hexdigest()[:16]


def _started(pid: int) -> str | None:
    """Clock ticks from boot to the start of a process, which no change of the time of day moves.

    ``dead`` for one that has ended and waits for its parent; None where it cannot be read.

    Source: proc_pid_stat(5), fields 3 and 22.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except OSError:
        return None
    state, *more = fields.split()
    return "dead" if state in "ZX" else more[18]
