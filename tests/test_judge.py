"""The second judge finds what the verifier is tested with, and nothing where there is none."""

from typing import Any

import pytest
from test_verification import DAMAGE, ROWS

from helpers import migration
from helpers.relational import schema
from helpers.servers import connections
from helpers.trials import judge

CLEAN = {"lost": 0, "doubled": 0, "altered": 0}


@pytest.fixture
def moved(postgres_url: str, redis_url: str) -> tuple[str, str]:
    """A source and its copy under a prefix."""
    connection = connections.postgres(postgres_url)
    with connection:
        schema.create(connection)
        connection.cursor().execute(ROWS)
    connection.close()
    migration.migrate(postgres_url, redis_url, progress=False)
    return postgres_url, redis_url


def test_nothing_to_find(moved: tuple[str, str]) -> None:
    assert judge.compare(*moved) == CLEAN


@pytest.mark.parametrize("name", DAMAGE)
def test_every_damage_that_the_verifier_is_tested_with(moved: tuple[str, str], name: str) -> None:
    client = connections.redis(moved[1], decode_responses=True)
    DAMAGE[name][0](client)
    assert judge.compare(*moved) != CLEAN
    client.close()


@pytest.mark.parametrize(
    ("command", "verdict", "number"),
    [
        (("DEL", "order:3"), "lost", 1),
        (("HSET", "user:99", "username", "x"), "doubled", 1),
        (("HSET", "user:1", "username", "x"), "altered", 1),
        (("RPOP", "user:1:activities"), "lost", 1),
        (("RPUSH", "user:1:activities", "login:2026-02-01T00:00:00.000000"), "doubled", 1),
        (("LMOVE", "user:1:activities", "user:1:activities", "LEFT", "RIGHT"), "altered", 10),
        (("ZADD", "user:1:orders", 5, "77"), "doubled", 1),
        (("ZINCRBY", "user:2:orders", 1, "1"), "altered", 1),
        (("ZREM", "product:2:orders", "1"), "lost", 1),
    ],
)
def test_the_verdict_says_what_it_was(
    moved: tuple[str, str], command: tuple[Any, ...], verdict: str, number: int
) -> None:
    client = connections.redis(moved[1])
    client.execute_command(*command)
    client.close()
    assert judge.compare(*moved) == CLEAN | {verdict: number}


def test_keys_of_others_are_not_its_business(moved: tuple[str, str]) -> None:
    client = connections.redis(moved[1])
    client.set("session:1", "x")
    client.set("copy:user:1", "x")
    client.close()
    assert judge.compare(*moved) == CLEAN
