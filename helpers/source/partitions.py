"""Where to cut the streams of a load, so that several processes have about as much to do each."""

from helpers.source.snapshot import Source

SHARES = 4
"""Partitions for each process, so that none has to wait long for the last one."""
SAMPLE_ROWS = 100_000
"""About so many rows of a table tell where to cut."""


def cut(source: Source, processes: int, batch_rows: int) -> dict[str, list[str]]:
    """Where to cut the streams so that so many processes have about as much to do each.

    Args:
        source: the snapshot, of which a sample is looked at.
        processes: that will load.
        batch_rows: a partition is not to be smaller than a batch.

    Returns:
        Where the second and each further partition of each stream begins, as text; nothing of one that stays
        whole.
    """
    found: dict[str, list[str]] = {stream.name: [] for stream in source.plan.streams}
    for stream in source.plan.streams if processes > 1 else ():
        if not stream.single and not stream.owner:  # one key holds all rows
            continue
        first, rows = stream.order_sql[0], source.counts()[stream.table.name]
        number = min(SHARES * processes, rows // batch_rows)
        if number > 1:
            shares = [n / number for n in range(1, number)]
            percent = min(100.0, 100 * SAMPLE_ROWS / rows)
            query = (
                f"SELECT (percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY {_values(first)}))::text[] "
                f"FROM {_values(stream.table.sql)} TABLESAMPLE SYSTEM (%s) WHERE {_values(first)} IS NOT NULL"
            )
            ((keys,),) = source.ask(query, (shares, percent))
            # A key that has the rows of several shares is there once. A sample may be empty.
            found[stream.name] = list(dict.fromkeys(keys or ()))
    return found


def _values(sql: str) -> str:
    """SQL as a part of a query that is given with values, in which a percent sign means one."""
    return sql.replace("%", "%%")
