"""What helpers/CONTRIBUTING.md promises: a fifth table, paths and names that exist."""

import importlib
import re

import fifth_table

from helpers import settings
from helpers.relational import schema
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


def test_every_path_and_name_on_the_page_exists() -> None:
    paths = {one for one in re.findall(r"`([\w./]+)`", PAGE) if "/" in one}
    assert len(paths) > 30
    assert not [one for one in paths if not (ROOT / one).exists()]
    named = re.findall(r"`helpers/([\w/]+)\.py`: ((?:`\w+`,? ?)+)", PAGE)
    assert len(named) > 12
    for module, names in named:
        loaded = importlib.import_module(f"helpers.{module.removesuffix('/__init__').replace('/', '.')}")
        assert not [name for name in re.findall(r"\w+", names) if not hasattr(loaded, name)]
