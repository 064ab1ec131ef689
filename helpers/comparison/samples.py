"""Raw samples: every timed operation of a comparison, compressed; one line of JSON a run, the first says what
they are.
"""

import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.comparison.workload import OPERATIONS
from helpers.errors import HelpersError, first_line

if TYPE_CHECKING:  # claims read samples' summaries, and reach no store
    from helpers.comparison.loops import StoreRun

FILE = "comparison-samples.jsonl.gz"
FORMAT = "user-activity-samples"
VERSION = 2
"""Of the raw samples; those of version 1 do not say how many processes the clients had, nor how busy these
were.
"""
LETTERS = dict(zip(OPERATIONS, "plao", strict=True))


@dataclass(frozen=True)
class RunSamples:
    """One run: which, and its samples.

    Attributes:
        phase: ``warm-up``, ``closed``, ``concurrency`` or ``open``.
        tier: of durability.
        mix: of operations, by name.
        block: its number.
        position: of the store in the block's order.
        store: its name.
        clients: how many worked at once.
        processes: how many these were spread over.
        rate_per_s: at which operations were due; None in a closed loop.
        wall_s: from the start of all clients to the end of the last.
        client_cpu_s: processor time of all processes of clients.
        busiest_cpu_s: of the busiest of them.
        asking_cpu_s: of the threads that asked, without the driver's own.
        server_cpu_s: of the server, background work included; None where it does not say.
        machine_busy_share: of all cores, whoever used them; None where the system does not say.
        cores: of the machine on which the clients ran.
        verbs: of each operation the letter that ``LETTERS`` gives it; the file calls them so.
        latency_us, service_us: of each operation, in the same order.
    """

    phase: str
    tier: str
    mix: str
    block: int
    position: int
    store: str
    clients: int
    processes: int
    rate_per_s: float | None
    wall_s: float
    client_cpu_s: float
    busiest_cpu_s: float
    asking_cpu_s: float
    server_cpu_s: float | None
    machine_busy_share: float | None
    cores: int
    errors: int
    verbs: str
    latency_us: Sequence[float]
    service_us: Sequence[float]

    def of(self, operation: str) -> list[float]:
        """The latencies of one operation."""
        letter = LETTERS[operation]
        return [us for us, found in zip(self.latency_us, self.verbs, strict=True) if found == letter]


def of_run(run: "StoreRun", **place: Any) -> RunSamples:
    """A run as it is saved: letters for operations, tenths of microseconds.

    Args:
        run: what a loop gave.
        place: the first fields of ``RunSamples`` up to ``clients``, and ``rate_per_s`` of an open loop.
    """
    return RunSamples(
        **{"rate_per_s": None, **place},
        processes=run.processes,
        wall_s=run.wall_s,
        client_cpu_s=run.client_cpu_s,
        busiest_cpu_s=run.busiest_cpu_s,
        asking_cpu_s=run.asking_cpu_s,
        server_cpu_s=run.server_cpu_s,
        machine_busy_share=run.machine_busy_share,
        cores=run.cores,
        errors=run.errors,
        verbs="".join(LETTERS[name] for name in run.operations),
        latency_us=[round(us, 1) for us in run.latency_us],
        service_us=[round(us, 1) for us in run.service_us],
    )


def write(records: Iterable[RunSamples], folder: Path) -> Path:
    """Write records to ``comparison-samples.jsonl.gz``, whole or not at all; the same records give the
    same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        for line in ({"format": FORMAT, "version": VERSION}, *map(asdict, records)):
            packed.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    draft.replace(path)
    return path


def read(folder: Path) -> Iterator[RunSamples]:
    """The records of a results folder.

    Raises:
        HelpersError: the file is missing, damaged or of another version.
    """
    path = folder / FILE
    try:
        with gzip.open(path) as packed:
            lines = io.TextIOWrapper(packed, encoding="utf-8")
            first = json.loads(next(lines, "{}"))
            version = first["version"] if first.get("format") == FORMAT else 1
            if version != VERSION:
                raise HelpersError(
                    f"{path}: raw samples of version {version}, and this program reads version {VERSION}; "
                    "run `python -m helpers bench`"
                )
            for line in lines:
                yield RunSamples(**json.loads(line))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise HelpersError(
            f"{path.name}: not readable as raw samples ({first_line(error)}); run `python -m helpers bench`"
        ) from error
