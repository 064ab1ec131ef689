"""Limits of the target are told before the load, and stop it cleanly."""

import pytest
from migrating import migrate

from helpers import connections, migration, population
from helpers.errors import HelpersError
from helpers.servers import scratch


def test_memory_that_ends_stops_it_and_more_lets_it_go_on(postgres_url: str) -> None:
    population.populate(postgres_url, users=300, products=50, activities=40_000, orders=4_000, progress=False)
    with scratch.redis("appendonly no", "maxmemory-policy noeviction") as server:
        client = connections.redis(server.url)
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", used + 2_500_000)
        plan = migrate(postgres_url, server.url, dry_run=True)
        assert any("below maxmemory" in warning for warning in plan["warnings"])
        assert client.dbsize() == 0
        with pytest.raises(HelpersError, match=r"OOM.*rows are in the target"):
            migrate(postgres_url, server.url, batch_rows=500)
        client.config_set("maxmemory", 0)
        result = migrate(postgres_url, server.url, batch_rows=500)
        assert (result["status"], result["resumed"], result["differences"]) == ("verified", True, 0)
        assert any("appendonly" in warning for warning in result["warnings"])
        held = sum(client.memory_usage(key, samples=0) for key in client.scan_iter("[upo]*", count=1000))
        assert 0.5 < plan["memory_bytes"] / held < 2


def test_a_read_only_replica_is_refused(source: str, redis_url: str) -> None:
    primary = connections.redis(redis_url).connection_pool.connection_kwargs
    with (
        scratch.redis(
            f"masterauth {primary['password']}", f"replicaof 127.0.0.1 {primary['port']}"
        ) as replica,
        pytest.raises(HelpersError, match="replica"),
    ):
        migrate(source, replica.url)


def test_dry_run_writes_nothing(source: str, redis_url: str) -> None:
    result = migrate(source, redis_url, dry_run=True)
    assert result["rows_read"]["activities"] == 30
    assert result["memory_bytes"] > 1000
    assert connections.redis(redis_url).dbsize() == 0
    assert "would load" in "\n".join(migration.describe(result))
