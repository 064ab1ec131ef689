"""What more rows would need: the measured costs of a row, multiplied.

Nothing here is measured. It assumes that a row costs as much among very many as among those measured, that
rows spread evenly over processes and nodes, and that a stream of the source is read by each process at the
speed of one that is read alone; and it takes machines as they are named below.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from helpers.text import three

LINK_BYTES_S = 1.25e9
"""Network of each machine: 10 Gbit/s."""
NODE_BYTES = 64e9
"""Memory of a Redis node."""
FILLED = 0.6
"""Share of it that data may take: the rest is for what is written while a copy is saved, and for growth."""
HOST_CORES = 8
"""Cores of a machine that loads."""
ROWS = (10**9, 10**10)
MOVERS = (1, 8, 64)
"""Cores that load."""


@dataclass(frozen=True)
class Costs:
    """What a row costs: processor seconds of mover and Redis, seconds of a stream that reads it, bytes."""

    mover_s: float
    redis_s: float
    read_s: float
    source_bytes: float
    redis_bytes: float
    memory_bytes: float

    @classmethod
    def from_result(cls, data: Mapping[str, Any]) -> "Costs":
        """Medians over the rounds of the result ``scaleout`` with the most nodes.

        Raises:
            LookupError: a part of it is missing.
        """
        most = max(one["nodes"] for one in data["rounds"])
        rounds = [one for one in data["rounds"] if one["nodes"] == most]
        rows = sum(data["rows"].values())

        def middle(field: str) -> float:
            return float(median(one[field] / one["rows"] for one in rounds))

        return cls(
            mover_s=middle("mover_cpu_seconds"),
            redis_s=float(median(sum(one["redis_cpu_seconds"]) / one["rows"] for one in rounds)),
            read_s=float(median(one["seconds"] for one in data["reading"])) / rows,
            source_bytes=float(median(one["bytes"] for one in data["reading"])) / rows,
            redis_bytes=middle("redis_bytes"),
            memory_bytes=middle("memory_bytes"),
        )

    def nodes(self, rows: int) -> int:
        """How many Redis nodes hold so many rows."""
        return max(1, math.ceil(rows * self.memory_bytes / (NODE_BYTES * FILLED)))

    def seconds(self, rows: int, movers: int) -> dict[str, float]:
        """How long each side would need for a load, if it were the only one; the longest decides.

        Args:
            rows: in all.
            movers: cores that load, each with a stream of its own.

        Returns:
            ``movers`` (their processors), ``Redis`` (one core a node), ``reading`` and ``network`` (of the
            machines that load).
        """
        hosts = math.ceil(movers / HOST_CORES)
        return {
            "movers": rows * self.mover_s / movers,
            "Redis": rows * self.redis_s / self.nodes(rows),
            "reading": rows * self.read_s / movers,
            "network": rows * max(self.source_bytes, self.redis_bytes) / (hosts * LINK_BYTES_S),
        }


def hours(seconds: float) -> str:
    """A long duration in minutes, hours or days."""
    if seconds < 3600:
        return f"{three(seconds / 60)} minutes"
    return f"{three(seconds / 3600)} hours" if seconds < 48 * 3600 else f"{three(seconds / 86400)} days"
