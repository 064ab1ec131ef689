"""Schemas and models made at random: migrated, verified, migrated again, restored, followed: nothing differs.

``RANDOM_SEEDS=40`` tries so many schemas.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import random_schemas
from following import Scramble, start, tell_all
from migrating import migrate, until

from helpers import migration, model, source
from helpers.errors import HelpersError
from helpers.model import SETTINGS, Key, Model, Plan
from helpers.servers import connections
from helpers.servers.redis_cluster import Cluster
from helpers.trials import judge

SEEDS = range(int(os.environ.get("RANDOM_SEEDS", "6")))


def models(url: str, seed: int) -> Iterator[tuple[str, str]]:
    """What is proposed of a schema, and keys at random, where any fit and can be sorted."""
    schema = random_schemas.Schema(url, seed)
    with source.LiveTables(url) as live:
        yield "proposed", model.propose(live)
        names = random_schemas.names_of(schema)
        made = schema.model(live.bind(Model([Key("x", "set", name, value="x") for name in names])))
        if made is not None:
            try:
                model.check(made, live)
            except HelpersError as error:
                assert "cannot be sorted" in str(error)
            else:
                yield "random", made.toml()


def different(url: str, plan: Plan, schema: str) -> dict[str, list[Any]]:
    """Rows that are held and not the same in another schema, by table; none where there are none."""
    found = {}
    with connections.postgres(url) as connection, connection.cursor() as cursor:
        for setting, value in SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, true)", (setting, value))
        for name, table in plan.tables.items():
            columns = ", ".join(
                f'{column.sql}::text COLLATE "C" AS c{n}' for n, column in enumerate(table.columns)
            )
            one = f"SELECT {columns} FROM {table.sql} WHERE {plan.held_sql(name)}"
            other = f"SELECT {columns} FROM {model.quoted(schema)}.{model.quoted(table.relation)}"
            cursor.execute(f"({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one})")
            if rows := cursor.fetchall():
                found[name] = rows
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_different(postgres_url: str, redis_url: str, seed: int) -> None:
    for kind, text in models(postgres_url, seed):
        options = {"model": text, "prefix": f"{kind}:"}
        assert migrate(postgres_url, redis_url, dry_run=True, **options)["memory_bytes"] > 0
        moved = migrate(postgres_url, redis_url, batch_rows=7, **options)
        assert (moved["status"], moved["differences"]) == ("verified", 0), moved["examples"]
        again = migrate(postgres_url, redis_url, **options)
        assert (again["differences"], again["caught_up"]) == (0, {})
        with source.LiveTables(postgres_url) as live:
            declared = model.load(text)
            plan = Plan(declared, live.bind(declared))
        held = {name: moved["rows_read"][name] - moved["rows_rejected"][name] for name in plan.tables}
        if kind == "proposed":
            assert all(holder.restorable for holder in plan.holders.values())
        if all(holder.restorable for holder in plan.holders.values()):
            back = f"random_{seed}_{kind}"
            restored = migration.restore(
                redis_url, postgres_url, schema=back, prefix=f"{kind}:", progress=False
            )
            try:
                assert restored["rows"] == held
                assert different(postgres_url, plan, back) == {}
            finally:
                with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
                    cursor.execute(f"DROP SCHEMA {back} CASCADE")


def follow(url: str, target: str, prefix: str) -> None:
    """Apply all that was committed."""
    migration.follow(url, target, prefix=prefix, until_idle_s=0.0, shown=False)


def killed(url: str, target: str, prefix: str, seconds: float) -> bool:
    """A follower that is killed so long after it applied something, if it did; whether it was."""
    client, state = connections.redis(target), f"{prefix}migration:state"
    before, process = client.hget(state, "follow:position"), start(url, target, "follow", "--prefix", prefix)
    until(lambda: process.poll() is not None or client.hget(state, "follow:position") != before)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    client.close()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_written_is_followed(postgres_url: str, redis_url: str, seed: int) -> None:
    """Rows come, change, move to other owners and go, tables are emptied; a follower in between is killed."""
    chance = random.Random(seed)
    for kind, text in models(postgres_url, seed):
        if kind == "proposed" and seed % 3:  # which has no lists
            continue
        tell_all(postgres_url)
        prefix = f"{kind}:"
        moved = migrate(postgres_url, redis_url, model=text, prefix=prefix, follow=True)
        assert moved["status"] == "verified", moved["examples"]
        with source.LiveTables(postgres_url) as live:
            tables = live.bind(model.load(text)).values()
        with Scramble(postgres_url, tables, seed) as writer:
            for round_ in range(3):
                for _ in range(25):
                    writer.transaction(truncate=round_ == 1)
                if kind == "random" and round_ == seed % 3:
                    assert killed(postgres_url, redis_url, prefix, chance.uniform(0, 0.05))
                follow(postgres_url, redis_url, prefix)
                seen = migration.verify(postgres_url, redis_url, prefix=prefix, progress=False)
                assert seen["by_problem"] == {}, seen["examples"]
            assert writer.done["value"] > 20, writer.done
        found = judge.compare(postgres_url, redis_url, prefix=prefix, model=text)
        assert found == {"lost": 0, "doubled": 0, "altered": 0}
        migration.drop_slot(postgres_url, redis_url, prefix=prefix)


def test_a_cluster_holds_the_same(postgres_url: str, nodes: Cluster) -> None:
    """Names of any letters, braces among them, in the slots of three masters."""
    for kind, text in models(postgres_url, 3):
        options = {"model": text, "prefix": f"{kind}:"}
        moved = migrate(postgres_url, nodes.urls[0], batch_rows=7, **options)
        assert (moved["status"], moved["differences"]) == ("verified", 0), moved["examples"]
        again = migrate(postgres_url, nodes.urls[0], **options)
        assert (again["differences"], again["caught_up"]) == (0, {})
        with pytest.raises(HelpersError, match="--follow"):
            migrate(postgres_url, nodes.urls[0], follow=True, **options)
