"""A migration that the version before began or ended: it is taken over, or refused by name."""

import json
from typing import Any

import pytest
from migrating import dump, interrupted, migrate, run_sql

from helpers.errors import HelpersError
from helpers.migration import restoration, verification
from helpers.servers import connections

STATE = "migration:state"
ONE = '[[key]]\nname = "only:{user_id}"\ntype = "hash"\ntable = "users"\n'


def aged(target: str, **fields: str) -> Any:
    """Make the state what the version before wrote: it knew no models, and named only what it cut."""
    client: Any = connections.redis(target, decode_responses=True)
    for name in ("model", "tables", "definitions"):
        client.hdel(STATE, name)
    cuts = json.loads(client.hget(STATE, "partitions"))
    old = {name: [int(key) for key in keys] for name, keys in cuts.items() if keys}
    client.hset(STATE, mapping={"format": "3", "partitions": json.dumps(old), **fields})
    return client


@pytest.mark.parametrize("stream", ["users", "orders", "user_orders", "activities"])
def test_an_unfinished_load_goes_on(source: str, redis_url: str, stream: str) -> None:
    interrupted(source, redis_url, lambda state: state.get(f"rows:{stream}") == 4, batch_rows=2)
    client = aged(redis_url)
    result = migrate(source, redis_url, batch_rows=2)
    assert (result["status"], result["resumed"], result["caught_up"]) == ("verified", True, {})
    assert result["rows_loaded_now"] < 51
    state = client.hgetall(STATE)
    assert state["format"] == "4" and "model" in state and "definitions" in state
    held = dump(redis_url)
    migrate(source, redis_url, replace=True)
    assert dump(redis_url) == held


def test_a_finished_one_is_brought_up_to_date(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    aged(redis_url)
    run_sql(source, "UPDATE users SET username = 'new' WHERE user_id = 1")
    assert verification.verify(source, redis_url, progress=False)["differences"] == 1
    with pytest.raises(HelpersError, match="written by the version before"):
        restoration.restore(redis_url, source, schema="early", progress=False)
    result = migrate(source, redis_url)
    assert (result["status"], result["caught_up"]) == ("verified", {"altered field": 1})
    again = restoration.restore(redis_url, source, schema=f"again_{id(result)}", progress=False)
    run_sql(source, f"DROP SCHEMA {again['schema']} CASCADE")
    assert again["warnings"] == [] and again["rows"]["activities"] == 30


def test_one_of_several_processes_is_refused(source: str, redis_url: str) -> None:
    interrupted(source, redis_url, lambda state: state.get("rows:users") == 4, batch_rows=2)
    aged(redis_url, claimed="1")
    before = dump(redis_url, b"\0")
    with pytest.raises(HelpersError, match="a load by several processes was begun"):
        migrate(source, redis_url)
    assert dump(redis_url, b"\0") == before


def test_another_model_is_refused(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    aged(redis_url)
    before = dump(redis_url, b"\0")
    with pytest.raises(HelpersError, match="holds a migration of another model"):
        migrate(source, redis_url, model=ONE)
    with pytest.raises(HelpersError, match="made by the version before, of the course's model"):
        migrate(source, redis_url, model=ONE, replace=True)
    with pytest.raises(HelpersError, match="holds a migration of another model"):
        verification.verify(source, redis_url, model=ONE, progress=False)
    assert dump(redis_url, b"\0") == before


def test_the_keys_of_another_model_are_removed_with_it(source: str, redis_url: str) -> None:
    assert migrate(source, redis_url, model=ONE)["status"] == "verified"
    assert verification.verify(source, redis_url, progress=False)["rows_checked"] == {"users": 6}
    with pytest.raises(HelpersError, match="holds a migration of another model"):
        migrate(source, redis_url)
    assert set(dump(redis_url)) == {b"only:%d" % number for number in range(1, 7)}
    assert migrate(source, redis_url, replace=True)["status"] == "verified"
    assert len(dump(redis_url)) == 34 and not [key for key in dump(redis_url) if key.startswith(b"only:")]
