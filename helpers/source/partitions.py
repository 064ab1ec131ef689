"""Where to cut the parts of a load, so that several processes have about as much to do each."""

from helpers.model import parts
from helpers.source.snapshot import Source

SHARES = 4
"""Partitions for each process, so that none has to wait long for the last one."""
SAMPLE_ROWS = 100_000
"""About so many rows of a table tell where to cut."""


def cut(source: Source, processes: int, batch_rows: int) -> dict[str, list[int]]:
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
    for part in parts.PARTS:
        table, key = part.table, part.key[0]
        rows = source.counts()[table]
        number = min(SHARES * processes, rows // batch_rows)
        if number > 1:
            shares = [n / number for n in range(1, number)]
            percent = min(100.0, 100 * SAMPLE_ROWS / rows)
            ((keys,),) = source.ask(
                f"SELECT percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY {key}) "
                f"FROM {table} TABLESAMPLE SYSTEM (%s)",
                (shares, percent),
            )
            # A key that has the rows of several shares is there once. A sample may be empty.
            found[part.name] = sorted({int(one) for one in keys or () if one is not None})
    return {name: keys for name, keys in found.items() if keys}
