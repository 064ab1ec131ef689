"""Keys of the model that the source does not ask for."""

from collections.abc import Callable, Iterable, Mapping

from helpers import model
from helpers.migration.inspector import Inspector
from helpers.model import KEPT
from helpers.source import Source
from helpers.target import encode, keyspace, resp

ASKS = {
    "user": ("users", "user_id", ""),
    "product": ("products", "product_id", ""),
    "order": ("orders", "order_id", ""),
    "user_activities": ("activities", "user_id", ""),
    "user_activities_by_time": ("activities", "user_id", ""),
    "user_orders": ("orders", "user_id", " AND order_date IS NOT NULL"),
    "product_orders": ("orders", "product_id", " AND order_date IS NOT NULL"),
}
"""Of each kind of key: the table and column whose rows ask for it, and on what condition."""


def look(
    source: Source,
    connection: resp.Connection,
    prefix: str,
    wanted: Mapping[str, int],
    inspector: Inspector,
    idle: Callable[[], None],
) -> None:
    """Find the keys that are too many, after each that there should be was looked at.

    Where none was missing and the database holds as many keys as it should, there can be no other. Where it
    holds more, they may be another program's: then the model's keys are counted by kind, and where that does
    not agree, or keys were missing, those too many are found.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration.
        wanted: how many keys of each kind there should be.
        inspector: notes and mends.
        idle: called now and then.
    """
    if not inspector.missing:
        if keyspace.holds_only(connection, prefix, sum(wanted.values())):
            return
        found = keyspace.count(connection, prefix)
        if all(found[kind] == wanted[kind] for kind in model.KINDS):
            return
    seen: set[bytes] = set()
    for keys in keyspace.scan(connection, prefix):
        idle()
        by_kind: dict[str, dict[int, bytes]] = {}
        for kind, key in keys:
            by_kind.setdefault(kind, {})[model.key_id(key, prefix)] = key
        for kind, by_id in by_kind.items():
            for number in by_id.keys() - _existing(source, kind, by_id):
                key = by_id[number]
                if key not in seen:  # SCAN may give a key twice
                    seen.add(key)
                    held = connection.call("TYPE", key)
                    if held == b"none":  # gone since; or left behind on a node that its slot has left
                        continue
                    inspector.note(key, None, None, held, "extra key", encode("UNLINK", key))
        inspector.mend()


def _existing(source: Source, kind: str, ids: Iterable[int]) -> set[int]:
    """Those of the numbers for which the snapshot asks for a key of that kind."""
    table, column, more = ASKS[kind]
    rows = source.ask(
        f"SELECT n FROM unnest(%s::int8[]) n WHERE EXISTS (SELECT FROM {table} WHERE {column} = n AND "
        f"{KEPT[table]}{more})",
        ([number for number in ids if -(2**63) <= number < 2**63],),
    )
    return {row[0] for row in rows}
