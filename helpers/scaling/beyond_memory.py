"""What each store does when its data outgrow its memory, shown on throw-away servers.

Redis keeps everything in memory: at ``maxmemory`` it refuses writes or drops keys. The others keep the data
in files and a part of them in memory: there it is reading that changes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from helpers import text
from helpers.comparison import stores
from helpers.results import NOT_MEASURED
from helpers.scaling.beyond_cache import cassandra, mongodb, postgres
from helpers.scaling.beyond_maxmemory import ROOM_BYTES, redis

STEPS = {"quick": 2, "full": 8}
"""How often ``measure`` calls ``step``."""

NOT_SHOWN = (
    "The kernel's page cache: what a server reads from a file may come from there and not from the disk. For "
    "PostgreSQL and MongoDB the kernel is asked to forget the files in a third row; for Cassandra, which "
    "maps its files into memory, that cannot be asked from outside.",
    "Swap: with memory for all servers together nothing is moved there.",
    "A machine whose memory is full: there the kernel ends processes, which no setting of a store prevents.",
)


def measure(profile: str, step: Callable[[str], object] = lambda what: None) -> dict[str, Any]:
    """Fill throw-away servers beyond their memory.

    Args:
        profile: ``quick`` (Redis only) or ``full``.
        step: called with what was done, ``STEPS`` times.

    Returns:
        By store what was found, or ``{"not measured": reason}``; under ``not_shown`` what this cannot tell.

    Raises:
        HelpersError: a server stopped answering.
    """
    found: dict[str, Any] = {"redis": redis(step, room_bytes=ROOM_BYTES[profile])}
    for name, fill in (("postgres", postgres), ("mongodb", mongodb), ("cassandra", cassandra)):
        if profile == "full":
            found[name] = fill(step)
        else:
            found[name] = {NOT_MEASURED: "the quick profile leaves it out"}
    return found | {"not_shown": list(NOT_SHOWN)}


def describe(found: Mapping[str, Any]) -> list[str]:
    """What was found, as lines for people."""
    lines = []
    for name in stores.NAMES:
        part = found[name]
        if NOT_MEASURED in part:
            lines.append(f"{name} beyond its memory: not measured, {part[NOT_MEASURED]}")
        elif name == "redis":
            for policy, row in part["policies"].items():
                lines.append(
                    f"redis at its memory's limit, {policy}: of {text.count(row['written'])} activities "
                    f"{text.count(row['refused'])} refused, of the others {text.count(row['gone'])} gone"
                )
        else:
            medians = [
                f"{kind} {text.duration_us(row['percentiles_us']['p50']['value'])}"
                for kind, row in part["reads"].items()
            ]
            lines.append(
                f"{name} beyond its memory: median read {', '.join(medians)}; of "
                f"{text.count(part['checked'])} activities asked for {text.count(part['lost'])} lost"
            )
    return lines
