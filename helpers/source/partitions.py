"""Partitions: each part of the load, cut into ranges of keys that several processes may load."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers import model
from helpers.source import streams
from helpers.source.streams import Part

if TYPE_CHECKING:  # the source reads partitions
    from helpers.source.snapshot import Source

FIELD = "partitions"
"""Of the state: where the parts are cut."""
SHARES = 4
"""Partitions for each process, so that none has to wait long for the last one."""
SAMPLE_ROWS = 100_000
"""About so many rows of a table tell where to cut."""


@dataclass(frozen=True)
class Partition:
    """A part, or the rows of it whose first column of the key lies in a range.

    So all rows of one owner are in the same partition.

    Attributes:
        part: what it is cut from.
        number: which of the part's partitions, from 0; None where the part is whole.
        low: where it begins; None where it is open below.
        high: where the next one begins; None where it is open above.
    """

    part: Part
    number: int | None = None
    low: int | None = None
    high: int | None = None

    @property
    def name(self) -> str:
        """Its name in the state."""
        return self.part.name if self.number is None else f"{self.part.name}.{self.number}"

    @property
    def where(self) -> str:
        """Which rows are in it, as SQL."""
        first = self.part.key[0]
        low = [] if self.low is None else [f"{first} >= {self.low}"]
        high = [] if self.high is None else [f"{first} < {self.high}"]
        return " AND ".join([f"({self.part.where})", *low, *high])


def cut(source: "Source", processes: int, batch_rows: int) -> dict[str, list[int]]:
    """Where to cut the parts so that so many processes have about as much to do each.

    Args:
        source: the snapshot, of which a sample is looked at.
        processes: that will load.
        batch_rows: a partition is not to be smaller than a batch.

    Returns:
        The first keys of the second and each further partition, by the name of the part; a part that stays
        whole is not in it.
    """
    if processes < 2:
        return {}
    found = {}
    for part in streams.PARTS:
        table, key = part.table, part.key[0]
        rows = source.counts()[table]
        pieces = min(SHARES * processes, rows // batch_rows)
        if pieces > 1:
            shares = [number / pieces for number in range(1, pieces)]
            percent = min(100.0, 100 * SAMPLE_ROWS / rows)
            ((keys,),) = source.ask(
                f"SELECT percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY {key}) "
                f"FROM {table} TABLESAMPLE SYSTEM (%s)",
                (shares, percent),
            )
            # A key that has the rows of several shares is there once. A sample may be empty.
            found[part.name] = sorted({int(one) for one in keys or () if one is not None})
    return {name: keys for name, keys in found.items() if keys}


def of(state: Mapping[str, str]) -> list[Partition]:
    """The partitions of the load that a state tells of, in the order of the parts."""
    cuts = json.loads(state.get(FIELD, "{}"))
    return [one for part in streams.PARTS for one in _ranges(part, cuts.get(part.name, []))]


def _ranges(part: Part, keys: list[int]) -> list[Partition]:
    if not keys:
        return [Partition(part)]
    ends = [None, *(int(key) for key in keys), None]
    return [Partition(part, n, ends[n], ends[n + 1]) for n in range(len(ends) - 1)]


def claims(state: Mapping[str, str], prefix: str, *, clustered: bool = False) -> list[str]:
    """The keys by which processes claim the partitions of a state."""
    return [model.claim_key(one.name, prefix, clustered=clustered) for one in of(state)]
