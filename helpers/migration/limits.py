"""What a load ran up against: the thread in which Redis executes commands, or the cores of this machine.

Where one of them was busy all the time, more processes could not have loaded faster.
"""

import time
from collections.abc import Mapping
from typing import Any

from helpers import text
from helpers.servers import machine
from helpers.target import keyspace, resp

FULL = 0.9
"""From this share on, what was busy is called the limit."""


class Limits:
    """How busy the target and this machine are from now on.

    Args:
        connection: of the target.
    """

    def __init__(self, connection: resp.Connection) -> None:
        self._connection, self._began = connection, time.perf_counter()
        self._before, self._cores = _threads_s(connection), machine.Cores()

    def read(self) -> dict[str, float | None]:
        """What was busy since then.

        Returns:
            ``redis_busy``, the share of the time in which the thread that executes commands was busy, of a
            cluster that of the busiest master; ``cores_busy``, the share of all cores of this machine. None
            where it is not known.
        """
        cores, now = self._cores.busy(), _threads_s(self._connection)
        seconds = time.perf_counter() - self._began
        # Who was started again counts from nothing; who came later was not there before.
        used = [now[node] - before for node, before in self._before.items() if now.get(node, 0.0) >= before]
        return {"redis_busy": min(1.0, max(used) / seconds) if used else None, "cores_busy": cores}


def _threads_s(connection: resp.Connection) -> dict[str, float]:
    """Processor seconds of the thread of each master, by address; none of a server that does not tell."""
    found = {}
    for node in connection.masters():
        used = keyspace.info_of(node, "cpu")
        if "used_cpu_user_main_thread" in used:
            found[node.address] = sum(float(used[f"used_cpu_{kind}_main_thread"]) for kind in ("user", "sys"))
    return found


def describe(result: Mapping[str, Any]) -> str | None:
    """A sentence on what ``Limits.read`` found, where it says that more processes could not help."""
    named = {
        "the thread in which Redis executes commands": result["redis_busy"],
        "the cores of this machine": result["cores_busy"],
    }
    full = [f"{what} {text.count(100 * share)} %" for what, share in named.items() if share and share >= FULL]
    if not full:
        return None
    return f"busy during the load: {text.join(full)}; more processes would not have loaded faster"
