"""Who holds a lease: a process of some machine, known again without asking any clock for the time."""

import hashlib
import os
import platform
import secrets
from pathlib import Path

PARTS = 4


def token(run: str | None = None) -> str:
    """A name that no other holder has: a run and a random number, machine, process id, when it started."""
    mark = f"{run or secrets.token_hex(8)}.{secrets.token_hex(4)}"
    return " ".join((mark, _machine() or "-", str(os.getpid()), _started(os.getpid()) or "-"))


def alive(token: str) -> bool | None:
    """Whether the process of a token still runs; None when this cannot be told from here."""
    parts = token.split()
    if len(parts) != PARTS or parts[1] != _machine() or not parts[2].isdigit():
        return None
    try:
        os.kill(int(parts[2]), 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    started = _started(int(parts[2]))
    return None if started is None else started == parts[3]


def name(token: str) -> str:
    """The process of a token, for messages."""
    parts = token.split()
    if len(parts) != PARTS:
        return "another program"
    return f"process {parts[2]} of {'this' if parts[1] == _machine() else 'another'} machine"


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
