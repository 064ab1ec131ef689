"""A cut-over in short: what it says is what happened, and reads that differ are seen."""

from typing import Any

import pytest
from following import FULL
from migrating import run_sql

from helpers import migration
from helpers.migration import following
from helpers.relational import population
from helpers.servers import connections
from helpers.trials import cutover


@pytest.fixture
def live(postgres_url: str) -> str:
    population.populate(postgres_url, users=30, products=5, activities=600, orders=80, progress=False)
    run_sql(postgres_url, *FULL)
    return postgres_url


@pytest.mark.slow
def test_users_write_on_and_nothing_is_lost(live: str, redis_url: str) -> None:
    found = cutover.run(live, redis_url, prefix="c:", writing_s=1.0, per_s=60, progress=False)
    following.drop_slot(live, redis_url, prefix="c:")
    assert found["differences"] == 0 and found["lag"][-1]["bytes"] == 0
    assert found["reads_after"]["asked"] == found["reads_after"]["equal"] >= 90
    assert found["committed"] > found["committed_during_load"] > 0
    assert 0 < found["transactions"] <= found["committed"]
    assert found["lag"][0]["at_s"] < found["stopped_s"]


@pytest.mark.parametrize(
    ("command", "unequal"),
    [
        (("HSET", "user:1", "email", "x"), 1),
        (("RPOP", "user:1:activities"), 1),
        (("ZADD", "user:1:orders", 1, "99"), 1),
        (("DEL", "user:2"), 1),
    ],
)
def test_reads_that_differ_are_counted(
    live: str, redis_url: str, command: tuple[Any, ...], unequal: int
) -> None:
    migration.migrate(live, redis_url, progress=False)
    assert cutover.compare_reads(live, redis_url) == {"asked": 90, "equal": 90}
    connections.redis(redis_url).execute_command(*command)
    assert cutover.compare_reads(live, redis_url, users=30) == {"asked": 90, "equal": 90 - unequal}
