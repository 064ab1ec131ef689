"""Detached server processes: start one, know it again, stop it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

from helpers.errors import HelpersError

HOST = "127.0.0.1"
GIVEN, TRIES = 100, 200
PORTS = range(20_000, 32_768)
"""Below those of connections: from 32768 on Linux (``net.ipv4.ip_local_port_range``), 49152 elsewhere."""
_given: deque[int] = deque(maxlen=GIVEN)
"""The ports that this process found free last."""
_children: dict[int, subprocess.Popen[bytes]] = {}
"""The processes that this one started, by pid: only their parent learns how they ended."""
SERVER, OWNER = "server.json", "owner.json"


def ended(process: psutil.Process) -> bool:
    """Whether all threads of a process have ended: as long as one has not, its port is taken.

    Raises:
        psutil.Error: there is no such process any more.
    """
    return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() < 2


@dataclass(frozen=True)
class Started:
    """A server that was started: its process (pid, and start in seconds of the epoch) and its port."""

    pid: int
    created: float
    port: int

    def alive(self) -> bool:
        """Whether that very process still runs; a reused pid has another start time."""
        try:
            process = psutil.Process(self.pid)
            return not ended(process) and abs(process.create_time() - self.created) < 1
        except psutil.Error:
            return False


def read_started(folder: Path, name: str = SERVER) -> Started | None:
    """What was started in a server's folder; None when nothing was, or it is not readable.

    Args:
        folder: of the server.
        name: of the file that says so.
    """
    try:
        return Started(**json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def running(folder: Path) -> Started | None:
    """What runs now of what was started in a server's folder."""
    found = read_started(folder)
    return found if found is not None and found.alive() else None


def kill(folder: Path) -> None:
    """Kill what runs of a server's folder, and its children, by SIGKILL."""
    if found := running(folder):
        stop(found, how=signal.SIGKILL)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all.

    Args:
        path: of the file; its folder is there.
        text: what it is to hold, in UTF-8.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def need(name: str, missing: str | None) -> None:
    """Raise ``HelpersError`` where something, ``missing``, keeps a server from being started here."""
    if missing:
        raise HelpersError(f"{name}: cannot be started here: {missing}")


@contextlib.contextmanager
def throw_away(name: str, home: Path) -> Iterator[Path]:
    """A folder for throw-away servers, removed at the end.

    What a process that was killed has left of its own is removed first.

    Args:
        name: is part of the folder's name.
        home: the state folder, below which it is made.
    """
    sweep(home)
    folder = Path(tempfile.mkdtemp(prefix=f"scratch-{name}-", dir=home))
    try:
        owner = Started(os.getpid(), psutil.Process().create_time(), 0)
        write_private(folder / OWNER, json.dumps(asdict(owner)))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(home: Path) -> None:
    """End the throw-away servers whose owner was killed before it could, and remove their folders."""
    for folder in home.glob("scratch-*"):
        owner = read_started(folder, OWNER)
        if owner is None or owner.alive():
            continue
        for path in (*folder.glob(SERVER), *folder.glob(f"*/{SERVER}")):
            kill(path.parent)
        shutil.rmtree(folder, ignore_errors=True)


def password(folder: Path) -> str:
    """The server's password, made at random on first use and kept in a 0600 file."""
    path = folder / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8")


def free_port(preferred: int | None = None) -> int:
    """A free loopback port; the preferred one when nothing listens there.

    None of those that systems give to connections of their own, so that a server which starts again finds its
    port as it left it; and none of the last hundred that were given: who asked may not listen there yet.
    """
    drawn = [port for port in secrets.SystemRandom().sample(PORTS, TRIES) if port not in _given]
    for port in (*([] if preferred is None else [preferred]), *drawn):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given.append(port)
        return port
    raise HelpersError(f"no free port on {HOST}; stop a program that holds many ports and try again")


def listening(port: int, host: str = HOST) -> bool:
    """Whether something accepts connections there.

    Args:
        port: asked for a second at most.
        host: its address.
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def start(
    command: Sequence[str], folder: Path, port: int, *, variables: Mapping[str, str] | None = None
) -> Started:
    """Start a detached process that logs to ``folder/log``, and remember it in ``folder/server.json``.

    It outlives this process; ``stop`` ends it. Whether it comes up is for ``wait`` to see.

    Args:
        command: the program and its words.
        folder: of the server; its working folder too.
        port: where it will listen on loopback; only remembered.
        variables: environment variables; they win over this process's own.

    Returns:
        The process, by which it is known again.

    Raises:
        OSError: the program cannot be run, or the folder not be written to.
    """
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(variables or {})},
            start_new_session=True,
        )
    _children[child.pid] = child
    Thread(target=child.wait, daemon=True).start()  # reaps it, should it end before this process does
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.Error:
        created = time.time()
    record = Started(child.pid, created, port)
    write_private(folder / SERVER, json.dumps(asdict(record)))
    return record


def wait(
    name: str, record: Started, answers: Callable[[], str], folder: Path, *, timeout_s: float, cancel: Event
) -> str:
    """Wait until the server answers, and return its version.

    Args:
        name: of the server, for messages.
        record: as ``start`` gave it.
        answers: asks the server for its version; raises HelpersError while it does not answer.
        folder: of the server, whose log is there.
        timeout_s: how long it may take.
        cancel: when set, the wait ends.

    Raises:
        HelpersError: it ended, did not answer in time (with the last line of its log), or ``cancel`` was set.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        if not record.alive():
            raise HelpersError(f"{name}: {_how_it_ended(record)}: {last_words(folder)}")
        if cancel.is_set():
            raise HelpersError(f"{name}: interrupted while starting")
        try:
            if listening(record.port):
                return answers()
            refusal = f"{HOST}:{record.port} does not accept connections"
        except HelpersError as error:
            refusal = str(error)
        if time.monotonic() > deadline:
            raise HelpersError(
                f"{name}: no answer within {timeout_s:.0f} s ({refusal}): {last_words(folder)}"
            )
        cancel.wait(0.1)


def _how_it_ended(record: Started) -> str:
    child = _children.get(record.pid)
    if child is not None and child.wait() == -signal.SIGKILL:
        return (
            "the server was killed while starting, as the system does when memory is short (end programs, "
            "give the machine or its container more, or set the URL of a server elsewhere)"
        )
    return "the server ended while starting"


def last_words(folder: Path) -> str:
    """The last telling line of a server's log, and where the log is."""
    path = folder / "log"
    try:
        lines = [
            line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
    except OSError:
        lines = []
    telling = [
        line
        for line in lines[-60:]
        if any(word in line.lower() for word in ("fatal", "error", "exception", "could not"))
    ]
    return f"{(telling or lines or ['its log is empty'])[-1].strip()[:300]} (log: {path})"


def stop(record: Started, *, timeout_s: float = 30, how: signal.Signals = signal.SIGTERM) -> None:
    """End a server and its children: politely, then by SIGKILL after the timeout; nothing if it has ended.

    Args:
        record: as ``start`` gave it.
        timeout_s: how long it may take.
        how: the signal; with SIGKILL all are killed at once: none is left to finish what it was doing.
    """
    if not record.alive():
        return
    try:
        process = psutil.Process(record.pid)  # it may have ended since it was asked
        family = [process]
        family += process.children(recursive=True)
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return
    for child in family[1:] if how == signal.SIGKILL else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    deadline = time.monotonic() + timeout_s
    while record.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    for member in family:  # children of a server that was killed end by themselves a moment later
        with contextlib.suppress(psutil.NoSuchProcess):
            if ended(member):
                continue
            try:
                member.wait(1)
            except psutil.TimeoutExpired:
                member.kill()
