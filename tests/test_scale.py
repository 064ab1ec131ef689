"""A measurement of scale, as small as it can be, on four real servers."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

import jsonschema
import numpy as np
import pytest
from scale_records import STORES, blocks

from helpers import results
from helpers.comparison import statistics, stores
from helpers.comparison.workload import OPERATIONS
from helpers.errors import HelpersError
from helpers.scaling import beyond_memory, growth, summary
from helpers.scaling.growth_schemas import SCALE
from helpers.servers import scratch

SMALL = growth.GrowthDesign((50, 500), 4, 60, 20, 10)
DAY = datetime(2026, 3, 1)
USERS = [(number, f"user{number}", f"u{number}@example.org", DAY) for number in (1, 2)]


@pytest.fixture(scope="module")
def measured(urls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return growth.run(design=SMALL, folder=folder, progress=False, urls=urls), folder


def test_what_is_saved_is_what_was_measured_and_fits_the_schema(measured):
    data, folder = measured
    saved = results.load(folder)["scale"]
    assert saved.data == json.loads(json.dumps(data))
    assert set(saved.environment["servers"]) == set(stores.NAMES)
    jsonschema.validate(saved.data, SCALE)
    for part, damage in (("latency", []), ("space", [{}]), ("outgrown", {"redis": {}}), ("answers", {})):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**saved.data, part: damage}, SCALE)


def test_sizes_are_visited_up_and_down_with_the_same_blocks(measured):
    data, _ = measured
    assert data["design"]["visits"] == [50, 500, 50]
    seen = {(row["visit"], row["activities"], row["block"]) for row in data["medians"]}
    assert sorted(seen) == [
        *((0, 50, block) for block in (0, 1)),
        *((1, 500, block) for block in range(4)),
        *((2, 50, block) for block in (2, 3)),
    ]
    assert data["tables"]["500"] == {"users": 20, "products": 2, "activities": 500, "orders": 20}


def test_every_store_did_the_same_operations_and_none_failed(measured):
    data, _ = measured
    assert data["operations"] == dict.fromkeys(STORES, 8 * 60)
    assert set(data["errors"].values()) == {0}
    assert data["answers"]["while timing"] > 0
    counts: dict[tuple[int, str], set[int]] = {}
    for row in data["latency"]:
        counts.setdefault((row["activities"], row["operation"]), set()).add(row["n"])
        assert row["percentiles_us"]["p50"]["low"] <= row["percentiles_us"]["p50"]["value"]
    assert len(counts) == 2 * len(OPERATIONS)
    assert all(len(found) == 1 for found in counts.values())


def test_growth_compares_the_ends(measured):
    data, _ = measured
    assert len(data["growth"]) == len(STORES) * len(OPERATIONS)
    for row in data["growth"]:
        assert (row["smallest"], row["largest"]) == (50, 500)
        assert (row["blocks_smallest"], row["blocks_largest"]) == (4, 4)
        assert row["low"] < row["ratio"] < row["high"]


def test_space_is_known_once_a_size_and_says_how(measured):
    data, _ = measured
    assert [(row["activities"], row["store"]) for row in data["space"]] == [
        (size, store) for size in SMALL.sizes for store in STORES
    ]
    for row in data["space"]:
        assert row["how"]
        assert 1 < row["rss_after_mb"] < 4000
        assert row["disk_per_activity"] == round(row["disk_bytes"] / row["activities"], 2) > 0
        assert (row["memory_bytes"] is None) == (row["store"] == "cassandra")


def test_it_is_described_in_lines(measured):
    lines = growth.describe(measured[0])
    assert len(lines) == 16 + 4 + 5 + 1
    assert lines[0].startswith("read_profile on postgres: ")
    assert "not told" not in "\n".join(lines)


def test_nothing_is_left_in_the_servers(measured, urls):
    for name in stores.NAMES:
        with stores.connect(name, urls[name]) as store:
            if name == "redis":
                assert store.client.keys("comparison:*") == []
            elif name == "mongodb":
                assert not [n for n in store.client.list_database_names() if "comparison" in n]
            elif name == "postgres":
                assert not store.do("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%comparison%'")
            else:
                rows = store.session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
                assert not [row for row in rows if "comparison" in row[0]]


def test_a_server_killed_on_the_way_is_told_in_one_line_and_saves_nothing(urls, tmp_path, monkeypatch):
    with scratch.redis("appendonly no") as server:
        loaded = growth.Session._loaded

        def load_then_kill(self, name, store, made):
            found = loaded(self, name, store, made)
            if name == "cassandra":
                server.kill()
            return found

        monkeypatch.setattr(growth.Session, "_loaded", load_then_kill)
        with pytest.raises(HelpersError, match=r"^redis at 127\.0\.0\.1:\d+: .*nothing was saved") as told:
            growth.run(design=SMALL, folder=tmp_path, progress=False, urls={**urls, "redis": server.url})
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_profile_is_refused():
    with pytest.raises(HelpersError, match="is not one of quick, full"):
        growth.run(profile="slow")


def test_plans_keep_the_proportion_and_halve_what_is_visited_twice():
    design = growth.GrowthDesign((100, 1_000, 10_000), 6, 10, 10, 10)
    assert design.visits() == [(100, 3), (1_000, 3), (10_000, 6), (1_000, 3), (100, 3)]
    assert {design.tables(size)["users"] * 25 == size for size in design.sizes} == {True}
    full = growth.DESIGNS["full"]
    assert full.sizes == (1_000, 10_000, 100_000, 1_000_000)
    # each of four operations needs 368 samples for an interval of p99
    assert full.blocks * full.block_operations / 4 > 368 * 1.2
    assert set(beyond_memory.STEPS) == set(growth.DESIGNS) == set(beyond_memory.ROOM_BYTES)


@pytest.mark.parametrize("name", stores.NAMES)
def test_the_size_of_activities_counts_them_and_nothing_else(name, urls):
    def rows(first, last):
        numbers = (*range(first, last, 2), *range(first + 1, last, 2))
        return [(n, 1 + n % 2, "view_product", DAY + timedelta(seconds=n)) for n in numbers]

    with stores.connect(name, urls[name]) as store:
        store.create()
        try:
            products = [(n, "x" * 100, Decimal("1.00")) for n in range(1, 200)]
            orders = [(n, 1, 1, DAY + timedelta(seconds=n), 1) for n in range(1, 200)]
            store.load(users=USERS, products=products, activities=rows(0, 40), orders=orders)
            small = store.activity_size()
            store.load_rows("activities", rows(40, 20_000))
            large = store.activity_size()
            assert 10 < large.disk_bytes / 20_000 < 200
            assert small.disk_bytes < large.disk_bytes / 3
            if name == "redis":
                client = store.client
                keys = [
                    f"comparison:user:{user}:activities{end}" for user in (1, 2) for end in ("", ":by_time")
                ]
                assert large.memory_bytes == sum(client.memory_usage(key, samples=0) for key in keys)
                assert large.memory_bytes < store.size().memory_bytes
            elif name == "mongodb":
                stats = store.database.command("collStats", "activities")
                assert large.disk_bytes == stats["storageSize"] + stats["totalIndexSize"]
            elif name == "postgres":
                assert store.do("SELECT pg_total_relation_size('activities')") == [(large.disk_bytes,)]
                assert large.memory_bytes < store.size().memory_bytes
            else:
                assert large.how.startswith("files of activities_by_user after a flush")
                setting = store.session.execute(
                    "SELECT memtable_flush_period_in_ms FROM system_schema.tables "
                    "WHERE keyspace_name = 'user_activity_comparison' AND table_name = 'activities_by_user'"
                ).one()
                assert setting[0] == 0
        finally:
            store.drop()


def test_cassandra_elsewhere_is_asked_for_whole_mebibytes(urls, monkeypatch):
    with stores.connect("cassandra", urls["cassandra"]) as store:
        store.create()
        try:
            activities = [(n, 1, "view_product" * 9, DAY + timedelta(seconds=n)) for n in range(1, 40_000)]
            store.load_rows("activities", activities)
            seen = store.activity_size()
            monkeypatch.setattr(type(store), "_table_folder", lambda self, table: None)
            told = store.activity_size()
            assert told.how.startswith("system_views.disk_usage after a flush")
            assert told.disk_bytes % 2**20 == 0
            assert abs(told.disk_bytes - seen.disk_bytes) <= 2**20
        finally:
            store.drop()


def test_an_unpaired_ratio_is_welchs_test_on_logarithms():
    from scipy import stats  # which takes a second

    these, others = [2.0, 2.2, 1.9, 2.4], [1.0, 1.3, 0.9]
    ratio = statistics.unpaired_log_ratio(these, others)
    expected = stats.ttest_ind(np.log(these), np.log(others), equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert ratio.p == pytest.approx(expected.pvalue)
    assert (ratio.low, ratio.high) == pytest.approx(tuple(np.exp([interval.low, interval.high])))
    assert statistics.unpaired_log_ratio([1.0], [1.0, 2.0]) is None
    assert statistics.unpaired_log_ratio([2.0, 2.0], [1.0, 1.0]).p == 0
    assert statistics.unpaired_log_ratio([1.0, 1.0], [1.0, 1.0]).p == 1


def test_stores_are_shown_in_one_order_whoever_was_measured_first():
    us = dict.fromkeys(("cassandra", "redis", "postgres"), (100.0, 100.0))
    found = summary.summarise(blocks(us, count=20))
    assert list(found["errors"]) == ["postgres", "redis", "cassandra"]
    assert [row["store"] for row in found["latency"][:3]] == ["postgres", "redis", "cassandra"]


def test_growth_is_shown_only_where_it_is():
    us = {"redis": (100.0, 100.0), "mongodb": (300.0, 600.0)}
    rows = summary.summarise(blocks(us))["growth"]
    assert {row["store"] for row in rows if row["shown"]} == {"mongodb"}
    for row in rows:
        assert row["ratio"] == pytest.approx(2 if row["store"] == "mongodb" else 1, rel=1e-6)


def test_percentiles_without_enough_samples_are_absent():
    rows = summary.summarise(blocks({"redis": (100.0, 100.0)}, number=2, count=20))["latency"]
    assert {row["percentiles_us"]["p99"] for row in rows} == {None}
    assert all(row["percentiles_us"]["p50"]["value"] > 100 for row in rows)
