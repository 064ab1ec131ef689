"""What is proposed is migrated, verified and restored without an edit, on schemas as hostile as can be."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import hostile
import pytest
from migrating import migrate

from helpers import migration, model, source
from helpers.servers import connections


@pytest.fixture(scope="module")
def url(postgres_server: str) -> Iterator[str]:
    with hostile.schemas(postgres_server, f"whole {os.getpid()}") as made:
        yield made


@pytest.fixture(scope="module")
def proposed(url: str) -> str:
    with source.LiveTables(url) as live:
        return model.propose(live)


def different(url: str, proposed: str, restored: Mapping[str, str]) -> dict[str, int]:
    """How many rows of each table are not the same in another schema; none where there are none.

    Args:
        url: of both.
        proposed: the model.
        restored: the name of each table there, as SQL takes it.
    """
    found = {}
    with source.LiveTables(url) as live:
        tables = live.bind(model.load(proposed))
    with connections.postgres(url) as connection, connection.cursor() as cursor:
        for name, table in tables.items():
            columns = ", ".join(f'{column.sql}::text COLLATE "C" AS {column.sql}' for column in table.columns)
            only = "ONLY" if table.only else ""
            one, other = (
                f"SELECT {columns} FROM {table.sql}",
                f"SELECT {columns} FROM {only} {restored[name]}",
            )
            cursor.execute(
                f"SELECT count(*) FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one})) d"
            )
            ((count,),) = cursor.fetchall()
            if count:
                found[name] = count
    return found


def names(proposed: str, schema: str, renamed: Mapping[str, str]) -> dict[str, str]:
    """The name of each restored table."""
    found = {}
    for key in model.load(proposed).keys:
        relation = renamed.get(key.table, model.parse_name(key.table)[1])
        found[key.table] = f"{model.quoted(schema)}.{model.quoted(relation)}"
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_proposed_is_migrated_verified_and_restored(
    url: str, proposed: str, redis_url: str, workers: int
) -> None:
    moved = migrate(url, redis_url, model=proposed, workers=workers, batch_rows=17, prefix="p*:")
    assert (moved["status"], moved["differences"], moved["rejects_by_reason"]) == ("verified", 0, {})
    assert moved["warnings"] == []
    assert sum(moved["rows_read"].values()) > 800
    back = f"again {os.getpid()} {workers}"
    restored: dict[str, Any] = migration.restore(
        redis_url, url, schema=back, model=proposed, prefix="p*:", progress=False
    )
    try:
        assert restored["rows"] == moved["rows_read"]
        a, b = (name for name in moved["rows_read"] if name.endswith("migration"))
        with source.LiveTables(url) as live:
            schemas = live.schemas
        renamed = {a: f"{schemas[0]}.migration", b: f"{schemas[1]}.migration"}
        assert different(url, proposed, names(proposed, back, renamed)) == {}
    finally:
        with connections.postgres(url) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {model.quoted(back)} CASCADE")
