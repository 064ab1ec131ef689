"""What helpers/CONTRIBUTING.md promises: a fifth table, a fifth store, paths and names that exist."""

import importlib
import re
from typing import Any

import fifth_table
import pytest
from fifth_store import PostgresStore

from helpers import settings
from helpers.comparison import answers, loops, stores
from helpers.comparison.workload import OPERATIONS, Population, Workload
from helpers.relational import schema
from helpers.relational.rows import Rows
from helpers.servers import connections

ROOT = settings.project_root()
PAGE = (ROOT / "helpers" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_a_fifth_table_is_migrated_verified_and_restored(postgres_url: str, redis_url: str) -> None:
    assert len(fifth_table.REVIEWS.splitlines()) == 6
    back = "fifth_again"
    try:
        found = fifth_table.round_trip(postgres_url, redis_url, back)
    finally:
        with connections.postgres(postgres_url) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {back} CASCADE")
    assert found["migrated"]["status"] == "verified"
    assert found["migrated"]["rows_read"] == {
        "users": 6, "products": 3, "activities": 30, "orders": 12, "reviews": 202
    }  # fmt: skip
    assert found["migrated"]["rows_rejected"]["reviews"] == 2
    assert found["migrated"]["rejects_by_reason"] == {"infinite_date": 1, "no_field": 1}
    assert found["hash"] == {
        "user_id": "4", "stars": "3", "body": "a\tb:\u00e9", "written_at": "2026-04-01T00:00:03.000003"
    }  # fmt: skip
    assert found["damaged"] == {"altered field": 1, "missing key": 1, "extra key": 1} == found["caught_up"]
    assert found["restored"]["rows"]["reviews"] == 200
    assert found["again"] == found["rows"][:200]
    assert found["next"] == 201
    assert "reviews" not in schema.TABLES


def test_a_further_store_answers_as_the_others_do(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores.STORES, "postgres", PostgresStore)
    made = Rows(users=30, products=7, activities=400, orders=60, seed=3)
    tables: dict[str, Any] = {table: list(made.table(table)) for table in schema.TABLES}
    tables["activities"].sort(key=lambda row: (row[1], row[3], row[0]))
    latest = max(row[3] for table in ("activities", "orders") for row in tables[table])
    population = Population(**made.counts, latest=latest)
    stream = Workload(population, seed=3).stream(300, "50/50")
    with stores.connect("redis", redis_url) as redis, stores.connect("postgres", postgres_url) as store:
        for one in (redis, store):
            one.create()
            one.load(**tables)
        assert answers.compare([redis, store], population, users=30, orders=60)["misses"] > 0
        runs = {one.name: loops.closed(one, [stream]) for one in (redis, store)}
        assert [run.errors for run in runs.values()] == [0, 0]
        assert answers.compare_runs(runs) > 0
        assert answers.compare([redis, store], population, users=30, orders=60)["last_activities"] > 30
        assert set(store.IDIOMS) == set(OPERATIONS)
        store.append_activity(10**6, 1, "only here", latest)
        with pytest.raises(
            answers.Different, match=r"^last_activities\(1, 20\): redis answers .* and postgres"
        ):
            answers.compare([redis, store], population, users=30, orders=60)
        for one in (redis, store):
            one.drop()


def test_every_path_and_name_on_the_page_exists() -> None:
    paths = {one for one in re.findall(r"`([\w./]+)`", PAGE) if "/" in one}
    assert len(paths) > 30
    assert not [one for one in paths if not (ROOT / one).exists()]
    named = re.findall(r"`helpers/([\w/]+)\.py`: ((?:`\w+`,? ?)+)", PAGE)
    assert len(named) > 12
    for module, names in named:
        loaded = importlib.import_module(f"helpers.{module.removesuffix('/__init__').replace('/', '.')}")
        assert not [name for name in re.findall(r"\w+", names) if not hasattr(loaded, name)]
