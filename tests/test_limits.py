"""``migration.limits``: what a load ran up against."""

import time

import pytest
from migrating import migrate

from helpers.migration.limits import Limits, describe
from helpers.relational import population
from helpers.target import connect

LOOP = "local n = 0 for i = 1, 30000000 do n = n + i % 7 end return n"


def test_a_busy_redis_is_told_from_an_idle_one(redis_url: str) -> None:
    connection = connect(redis_url)
    idle = Limits(connection)
    time.sleep(0.3)
    rested = idle.read()["redis_busy"]
    busy = Limits(connection)
    connection.call("EVAL", LOOP, "0")
    worked = busy.read()["redis_busy"]
    connection.close()
    assert rested is not None and worked is not None
    assert 0 <= rested < 0.2 < worked <= 1


def test_a_migration_says_what_was_busy(postgres_url: str, redis_url: str) -> None:
    population.populate(postgres_url, activities=5_000, progress=False)
    result = migrate(postgres_url, redis_url)
    assert 0 < result["redis_busy"] <= 1 and 0 < result["cores_busy"] <= 1
    again = migrate(postgres_url, redis_url)
    assert again["redis_busy"] is again["cores_busy"] is None  # nothing was loaded


@pytest.mark.parametrize(
    ("redis", "cores", "told"),
    [
        (0.95, 0.5, "the thread in which Redis executes commands 95 %;"),
        (0.5, 0.99, "the cores of this machine 99 %;"),
        (0.9, 0.97, "the thread in which Redis executes commands 90 % and the cores of this machine 97 %;"),
        (0.89, 0.5, None),
        (None, None, None),
    ],
)
def test_it_is_said_that_more_processes_could_not_help(
    redis: float | None, cores: float | None, told: str | None
) -> None:
    said = describe({"redis_busy": redis, "cores_busy": cores})
    whole = f"busy during the load: {told} more processes would not have loaded faster"
    assert said == (told and whole)
