"""The embedded Redis Cluster: three masters with a replica each, started detached, found again, stopped."""

import json
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import process, redis
from helpers.servers.redis_cluster import Cluster, settings_of
from helpers.servers.redis_nodes import Node

NAME = "redis-cluster"
MASTERS, NODES = 3, 6
TIMEOUT_MS = 5000
"""``cluster-node-timeout``: a silent master is replaced a moment later."""
LOCK_S = 120
PORTS, READY = "ports.json", "ready"


def exists() -> bool:
    """Whether there is one in this state folder, running or not."""
    return (_folder() / READY).exists()


def running_url() -> str | None:
    """The URL of a node that runs; None when none does."""
    if not exists():
        return None
    return next((node.url for node in _nodes(_folder()) if node.running()), None)


def start() -> str:
    """Start the nodes that do not run, wait until the cluster is whole, and return the URL of one of them.

    Raises:
        HelpersError: Redis cannot run here, a port of its is taken, or the nodes do not form a cluster.
    """
    reason = redis.missing()
    if reason:
        raise HelpersError(f"{NAME}: cannot be started here: {reason}")
    try:
        with FileLock(settings.home() / f"{NAME}.lock", timeout=LOCK_S, mode=0o600):
            return _start(_folder())
    except Timeout as error:
        raise HelpersError(
            f"{NAME}: another process has been starting it for over {LOCK_S} s; end that process, try again"
        ) from error


def stop(*, delete: bool = False) -> bool:
    """Stop the nodes, and delete their folder when asked; True when one was running."""
    folder = _folder()
    if not folder.exists():
        return False
    with FileLock(settings.home() / f"{NAME}.lock", timeout=LOCK_S, mode=0o600):
        was_running = _stop(folder, signal.SIGTERM)
        if delete:
            shutil.rmtree(folder, ignore_errors=True)
    return was_running


def version(url: str) -> str:
    """The version that a node answers."""
    return redis.version(url)


def _folder() -> Path:
    return settings.home() / NAME


def _start(folder: Path) -> str:
    fresh = not (folder / READY).exists()
    if fresh:  # its first start never came to an end: nobody has put data there
        _stop(folder, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        ports = [(process.free_port(), process.free_port()) for _ in range(NODES)]
        process.write_private(folder / PORTS, json.dumps(ports))
    nodes = _nodes(folder)
    idle = [node for node in nodes if not node.running()]
    for node in idle:
        if process.free_port(node.port) != node.port:
            raise HelpersError(
                f"{NAME}: another program holds its port {node.port}; end that, or begin with new data by "
                "`python -m helpers down --delete`"
            )
    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(Node.start, idle))
    made = Cluster(nodes, MASTERS)
    if fresh:
        made.form()
        (folder / READY).touch(mode=0o600)
    else:
        made.settle()
    return made.masters()[0].url


def _nodes(folder: Path) -> list[Node]:
    secret = process.password(folder)
    ports = json.loads((folder / PORTS).read_text(encoding="utf-8"))
    return [
        Node(folder / str(i), secret, *settings_of(TIMEOUT_MS, bus), port=port)
        for i, (port, bus) in enumerate(ports)
    ]


def _stop(folder: Path, how: signal.Signals) -> bool:
    records = [process.read_record(path.parent) for path in folder.glob(f"*/{process.SERVER}")]
    alive = [record for record in records if record is not None and record.alive()]
    with ThreadPoolExecutor(NODES) as pool:
        list(pool.map(lambda record: process.stop(record, how=how), alive))
    return bool(alive)
