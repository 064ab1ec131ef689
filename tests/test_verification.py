"""The verifier finds damage of every kind, and nothing where there is none."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings, strategies as st
from migrating import dump, migrate, run_sql, swap

from helpers import migration
from helpers.errors import HelpersError
from helpers.migration import comparing, inspector, parallel, task, verification
from helpers.migration.task import CompareTask, Outcome
from helpers.servers import connections
from helpers.source import Source, partitions
from helpers.target import connect

Redis = redis.Redis

DAMAGE: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "missing hash": (lambda r: r.delete("user:5"), "user:5", "missing key"),
    "missing list": (lambda r: r.delete("user:1:activities"), "user:1:activities", "missing key"),
    "missing order reference": (lambda r: r.zrem("user:2:orders", "1"), "user:2:orders", "missing member"),
    "altered field": (lambda r: r.hset("product:2", "price", "2.91"), "product:2", "altered field"),
    "a zero less": (lambda r: r.hset("product:2", "price", "2.9"), "product:2", "altered field"),
    "missing field": (lambda r: r.hdel("order:3", "quantity"), "order:3", "missing field"),
    "extra field": (lambda r: r.hset("user:1", "phone", "1"), "user:1", "extra field"),
    "swapped list order": (lambda r: swap(r, "user:2:activities"), "user:2:activities", "wrong element"),
    "extra list element": (lambda r: r.rpush("user:1:activities", "x"), "user:1:activities", "extra element"),
    "list element in the middle": (
        lambda r: r.linsert("user:1:activities", "BEFORE", r.lindex("user:1:activities", 4), "x"),
        "user:1:activities",
        "extra element",
    ),
    "missing list element": (
        lambda r: r.lrem("user:1:activities", 1, r.lindex("user:1:activities", 4)),
        "user:1:activities",
        "missing element",
    ),
    "missing set": (
        lambda r: r.delete("user:1:activities:by_time"),
        "user:1:activities:by_time",
        "missing key",
    ),
    "shortened list": (lambda r: r.rpop("user:3:activities"), "user:3:activities", "missing element"),
    "wrong score": (
        lambda r: r.zincrby("user:1:activities:by_time", 1, "3:a:b"),
        "user:1:activities:by_time",
        "wrong score",
    ),
    "extra activity member": (
        lambda r: r.zadd("user:1:activities:by_time", {"99:login": 1}),
        "user:1:activities:by_time",
        "extra member",
    ),
    "extra order member": (
        lambda r: r.zadd("product:1:orders", {"999": 1}),
        "product:1:orders",
        "extra member",
    ),
    "renamed member": (
        lambda r: (r.zrem("user:2:orders", "1"), r.zadd("user:2:orders", {"x": 1})),
        "user:2:orders",
        "extra member",
    ),
    "extra hash": (lambda r: r.hset("user:77", "username", "x"), "user:77", "extra key"),
    "extra list": (lambda r: r.rpush("user:6:activities", "x"), "user:6:activities", "extra key"),
    "extra reference": (lambda r: r.zadd("user:6:orders", {"1": 1}), "user:6:orders", "extra key"),
    "hash as string": (lambda r: r.set("user:1", "x"), "user:1", "wrong type"),
    "list as string": (lambda r: r.set("user:1:activities", "x"), "user:1:activities", "wrong type"),
    "set as string": (
        lambda r: r.set("user:1:activities:by_time", "x"),
        "user:1:activities:by_time",
        "wrong type",
    ),
    "reference as string": (lambda r: r.set("user:1:orders", "x"), "user:1:orders", "wrong type"),
}


@pytest.fixture
def filled(source: str, redis_url: str) -> tuple[str, str, Redis]:
    result = migration.migrate(source, redis_url, progress=False)
    assert result["status"] == "verified"
    return source, redis_url, connections.redis(redis_url)


class Inline:
    """Does the tasks of workers in this process."""

    size, scheduler = 3, None

    def start(self) -> None:
        """Nothing has to start."""

    def work(
        self,
        tasks: list[CompareTask],
        idle: Callable[[], object],
        ended: Callable[[CompareTask, Outcome], object],
    ) -> list[Outcome]:
        outcomes = []
        for one in tasks:
            outcomes.append(task.do(one))
            outcomes[-1].check()
            ended(one, outcomes[-1])
        task._kept.pop().close()  # which ends with a worker's process
        return outcomes


def by_partitions(source: str, url: str) -> dict[str, Any]:
    with Source(source) as snapshot, contextlib.closing(connect(url)) as connection:
        cuts = partitions.cut(snapshot, Inline.size, parallel.WINDOW_ROWS)
        assert sum(len(some) for some in cuts.values()) > 15
        return verification.compare(snapshot, connection, progress=False, workers=Inline())  # type: ignore[arg-type]


def said(result: dict[str, Any]) -> Any:
    examples = {tuple(one.values()) for one in result["examples"]}
    return examples, *(result[name] for name in ("by_problem", "differences", "rows_checked", "keys_checked"))


@pytest.mark.parametrize("window_rows", [1, comparing.WINDOW_ROWS])
def test_every_damage_is_found_and_repaired_by_migrating_again(
    filled: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch, window_rows: int
) -> None:
    monkeypatch.setattr(comparing, "WINDOW_ROWS", window_rows)
    monkeypatch.setattr(parallel, "WINDOW_ROWS", 2)
    source, url, client = filled
    for name, (damage, key, problem) in DAMAGE.items():
        damage(client)
        found = verification.verify(source, url, progress=False)
        if window_rows > 1:
            assert said(by_partitions(source, url)) == said(found), name
        named = {(d["key"], d["problem"]) for d in found["examples"]}
        assert (key, problem) in named, name
        assert found["differences"] == len(Path(found["difference_file"]).read_text().splitlines()), name
        assert {k for k, _ in named} == {key}, name
        again = migration.migrate(source, url, progress=False)
        assert again["status"] == "verified", name
        assert again["caught_up"], name
    assert said(by_partitions(source, url)) == said(verification.verify(source, url, progress=False))


def test_differences_name_what_was_expected(filled: tuple[str, str, Redis]) -> None:
    source, url, client = filled
    client.hset("product:2", "price", "2.91")
    (found,) = verification.verify(source, url, progress=False)["examples"]
    assert found == {
        "key": "product:2",
        "field": "price",
        "expected": "2.90",
        "actual": "2.91",
        "problem": "altered field",
    }
    client.hset("product:2", "price", b"\xff\n")
    result = verification.verify(source, url, progress=False)
    assert result["examples"][0]["actual"] == "\\xff\n"
    assert "altered field: product:2 price" in "\n".join(verification.describe(result))
    assert Path(result["difference_file"]).stat().st_mode & 0o777 == 0o600


def test_counts_that_agree_prove_nothing(filled: tuple[str, str, Redis]) -> None:
    source, url, client = filled
    before = client.dbsize()
    client.lset("user:1:activities", 0, "login:2026-02-01T00:00:00.000000")
    assert client.dbsize() == before
    assert verification.verify(source, url, progress=False)["differences"] == 1


def test_nothing_migrated_is_every_key_missing(source: str, redis_url: str) -> None:
    result = verification.verify(source, redis_url, progress=False)
    assert result["by_problem"]["missing key"] >= 6 + 3 + 12 + 3
    assert result["rows_checked"] == {"users": 6, "products": 3, "activities": 30, "orders": 12}
    assert connections.redis(redis_url).dbsize() == 0


def test_foreign_keys_and_other_prefixes_are_not_looked_at(filled: tuple[str, str, Redis]) -> None:
    source, url, client = filled
    client.set("user:01", "x")
    client.set("session:1", "x")
    client.hset("copy:user:99", "username", "x")
    assert verification.verify(source, url, progress=False)["differences"] == 0


DAMAGES = st.sampled_from(
    [
        lambda r, key, n: r.delete(key),
        lambda r, key, n: r.rename(key, "user:9:activities"),
        lambda r, key, n: r.set(key, "x"),
        lambda r, key, n: r.lset(key, n % r.llen(key), "login:2026-02-01T00:00:00.000000"),
        lambda r, key, n: r.lmove(key, key, "LEFT", "RIGHT"),
        lambda r, key, n: r.lpush(key, r.lindex(key, -1)),
        lambda r, key, n: r.linsert(key, "AFTER", r.lindex(key, n % r.llen(key)), "x"),
        lambda r, key, n: r.lrem(key, 1, r.lindex(key, n % r.llen(key))),
        lambda r, key, n: r.ltrim(key, 1, -2),
        lambda r, key, n: r.zincrby(key, 1, r.zrange(key, n % 3, n % 3)[0]),
        lambda r, key, n: r.zpopmin(key),
        lambda r, key, n: (r.zpopmax(key), r.zadd(key, {f"{n}:login": n})),
        lambda r, key, n: r.zadd(key, {b"\xff": 1}),
        lambda r, key, n: r.hset(key, "email", f"{n}"),
        lambda r, key, n: r.hdel(key, *r.hkeys(key)[:1]),
    ]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(DAMAGES, st.integers(0, 99), st.integers(0, 30)), min_size=1, max_size=4),
    st.sampled_from([1, 3, 20_000]),
)
def test_any_damage_is_found_and_none_is_imagined(
    filled: tuple[str, str, Redis], damages: list[tuple[Callable[..., Any], int, int]], window_rows: int
) -> None:
    source, url, client = filled
    before = dump(url)
    for damage, which, number in damages:
        keys = sorted(client.keys("[upo]*"))
        with contextlib.suppress(redis.RedisError, ZeroDivisionError, IndexError, TypeError):
            damage(client, keys[which % len(keys)], number)
    after = dump(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "WINDOW_ROWS", window_rows)
        assert (verification.verify(source, url, progress=False)["differences"] == 0) == (before == after)
        again = migration.migrate(source, url, progress=False)
    assert again["status"] == "verified"
    assert dump(url) == before


def test_one_element_too_many_is_one_difference(filled: tuple[str, str, Redis]) -> None:
    source, url, client = filled
    client.lpush("user:1:activities", "x")
    (found,) = verification.verify(source, url, progress=False)["examples"]
    assert (found["field"], found["actual"], found["problem"]) == ("0", "x", "extra element")


@pytest.mark.parametrize("window_rows", [1, 20, comparing.WINDOW_ROWS])
def test_many_activities_in_one_microsecond(
    filled: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch, window_rows: int
) -> None:
    """Redis orders members of one score by their bytes, PostgreSQL by their number."""
    monkeypatch.setattr(comparing, "WINDOW_ROWS", window_rows)
    source, url, client = filled
    run_sql(
        source,
        "INSERT INTO activities SELECT n, 5, 'view', timestamp '2026-05-01' "
        "FROM generate_series(95, 1105) n;"
        "INSERT INTO activities SELECT n, 6, 'view', timestamp '9000-05-01' + n * interval '1 us' "
        "FROM generate_series(2000, 2040) n",
    )
    assert migration.migrate(source, url, progress=False)["status"] == "verified"
    client.zadd("user:5:activities:by_time", {"1000:view": 1})
    (found,) = verification.verify(source, url, progress=False)["examples"]
    assert (found["field"], found["problem"]) == ("1000:view", "wrong score")


def test_a_list_longer_than_a_window(filled: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "WINDOW_ROWS", 2000)
    source, url, client = filled
    run_sql(
        source,
        "INSERT INTO activities SELECT n, 4, 'view', timestamp '2026-05-01' + n * interval '1 s' "
        "FROM generate_series(1001, 13000) n",
    )
    assert migration.migrate(source, url, progress=False)["status"] == "verified"
    assert client.llen("user:4:activities") == 12_000
    client.lset("user:4:activities", 7000, "x")
    client.zrem("user:4:activities:by_time", "9001:view")
    found = verification.verify(source, url, progress=False)
    assert {(d["problem"], d["field"]) for d in found["examples"]} == {
        ("wrong element", "7000"),
        ("missing member", "9001:view"),
    }
    assert migration.migrate(source, url, progress=False)["status"] == "verified"


@pytest.mark.parametrize("beside", [{}, {"another:program": "x"}])
def test_extra_keys_are_found_where_the_number_of_keys_is_right(
    filled: tuple[str, str, Redis], beside: dict[str, str]
) -> None:
    source, url, client = filled
    for key, value in beside.items():
        client.set(key, value)
    assert not verification.verify(source, url, progress=False)["differences"]
    client.rename("user:1:orders", "user:99:orders")
    found = {(d["key"], d["problem"]) for d in verification.verify(source, url, progress=False)["examples"]}
    assert found == {("user:1:orders", "missing key"), ("user:99:orders", "extra key")}
    client.rename("user:99:orders", "user:1:orders")
    client.set("user:99:orders", "x")
    (extra,) = verification.verify(source, url, progress=False)["examples"]
    assert (extra["key"], extra["problem"]) == ("user:99:orders", "extra key")


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("user:6", "user:99"),
        ("product:3", "product:99"),
        ("order:5", "order:99"),
        ("user:2:activities", "user:99:activities"),
        ("user:2:activities:by_time", "user:99:activities:by_time"),
        ("user:2:orders", "user:99:orders"),
        ("product:2:orders", "product:99:orders"),
    ],
)
def test_a_key_by_another_name_is_one_missing_and_one_too_many(
    filled: tuple[str, str, Redis], key: str, other: str
) -> None:
    source, url, client = filled
    before = dump(url)
    client.rename(key, other)
    found = {(d["key"], d["problem"]) for d in verification.verify(source, url, progress=False)["examples"]}
    assert found == {(key, "missing key"), (other, "extra key")}
    assert migration.migrate(source, url, progress=False)["caught_up"] == {"missing key": 1, "extra key": 1}
    assert dump(url) == before


@pytest.mark.parametrize("window_rows", [3, comparing.WINDOW_ROWS])
def test_elements_that_lack_and_others_behind_the_end(
    filled: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch, window_rows: int
) -> None:
    """Fewer than should be there, as many as are named one by one, and one more."""
    monkeypatch.setattr(comparing, "WINDOW_ROWS", window_rows)
    source, url, client = filled
    before = dump(url)
    elements: Any = client.lrange("user:1:activities", 0, -1)
    for more in (1, inspector.NAMED, inspector.NAMED + 1):
        for place in (4, 7):
            client.lrem("user:1:activities", 1, elements[place])
        client.rpush("user:1:activities", *(f"x{n}" for n in range(more)))
        named = min(more, inspector.NAMED)
        found = {"missing element": 2, "extra element": named}
        found |= {"extra elements beyond those named": 1} if more > named else {}
        seen = verification.verify(source, url, progress=False)
        assert (seen["by_problem"], seen["differences"]) == (found, sum(found.values()))
        assert len(seen["examples"]) == min(sum(found.values()), 20)
        lines = Path(seen["difference_file"]).read_text().splitlines()
        assert len(lines) == sum(found.values()) and json.loads(lines[0]) == seen["examples"][0]
        assert migration.migrate(source, url, progress=False)["status"] == "verified"
        assert dump(url) == before


@pytest.mark.parametrize("window_rows", [1, 3, comparing.WINDOW_ROWS])
def test_a_list_that_is_written_anew_from_a_place_on_is_one_correction(
    filled: tuple[str, str, Redis], monkeypatch: pytest.MonkeyPatch, window_rows: int
) -> None:
    monkeypatch.setattr(comparing, "WINDOW_ROWS", window_rows)
    source, url, client = filled
    before = dump(url)
    for place in (0, 2, 9):
        client.lset("user:1:activities", place, "x")
        assert verification.verify(source, url, progress=False)["by_problem"] == {"wrong element": 1}
        assert migration.migrate(source, url, progress=False)["caught_up"] == {"wrong element": 1}
        assert dump(url) == before


DATELESS = """
UPDATE orders SET order_date = NULL WHERE product_id = 3;
INSERT INTO orders VALUES (90, 5, 2, NULL, 1), (91, NULL, 60, NULL, 1);
"""
"""Orders that are in no list: all of product 3, of product 60, and of user 5."""


@pytest.mark.parametrize(
    "key", [f"product:{n}:orders" for n in (3, 4, 60, 99)] + [f"user:{n}:orders" for n in (3, 5, 60, 99)]
)
def test_a_stray_list_of_orders_is_found(filled: tuple[str, str, Redis], key: str) -> None:
    """Of what is not there, of what has the number of another's, of what has only orders without a date."""
    source, url, client = filled
    run_sql(
        source,
        "INSERT INTO products VALUES (60, 'sixty', 60)",
        DATELESS + "DELETE FROM orders WHERE user_id = 3",
    )
    assert migration.migrate(source, url, progress=False)["status"] == "verified"
    before = dump(url)
    client.zadd(key, {"1": 1})
    (extra,) = verification.verify(source, url, progress=False)["examples"]
    assert (extra["key"], extra["problem"]) == (key, "extra key")
    assert migration.migrate(source, url, progress=False)["caught_up"] == {"extra key": 1}
    assert dump(url) == before


@pytest.mark.parametrize(
    ("key", "member"),
    [
        *(("user:2:orders", member) for member in ("2", "90", "01", "1:x", "9223372036854775808", "-")),
        *(("product:2:orders", member) for member in ("2", "90", "91")),
        *(("user:1:activities:by_time", member) for member in ("1:a:b", "3:login", "3", "95:x", "96:x")),
    ],
)
def test_a_stray_member_that_names_a_row_is_found(
    filled: tuple[str, str, Redis], key: str, member: str
) -> None:
    """Of another owner, without a date, rejected, of another type."""
    source, url, client = filled
    run_sql(
        source,
        "INSERT INTO orders VALUES (90, 2, 2, NULL, 1), (91, 2, 2, 'infinity', 1)",
        "INSERT INTO activities VALUES (95, 1, 'x', 'infinity'), (96, 1, 'x', NULL)",
    )
    assert migration.migrate(source, url, progress=False)["status"] == "verified"
    before = dump(url)
    client.zadd(key, {member: 1})
    (extra,) = verification.verify(source, url, progress=False)["examples"]
    assert (extra["key"], extra["field"], extra["problem"]) == (key, member, "extra member")
    assert migration.migrate(source, url, progress=False)["caught_up"] == {"extra member": 1}
    assert dump(url) == before


@pytest.mark.parametrize("low", [-(2**63), -(10**18)])
def test_what_has_the_lowest_numbers_is_not_taken_for_stray(filled: tuple[str, str, Redis], low: int) -> None:
    source, url, client = filled
    run_sql(
        source,
        "ALTER TABLE orders ALTER order_id TYPE bigint",
        "ALTER TABLE activities ALTER activity_id TYPE bigint",
        f"INSERT INTO orders VALUES ({low}, 1, 1, '2026-01-01', 1)",
        f"INSERT INTO activities VALUES ({low}, 1, 'x', '2026-01-01')",
    )
    assert migration.migrate(source, url, progress=False)["status"] == "verified"
    before = dump(url)
    for key in ("user:1:orders", "product:1:orders", "user:1:activities:by_time"):
        client.zadd(key, {"999": 1})
    found = verification.verify(source, url, progress=False)
    assert {(d["field"], d["problem"]) for d in found["examples"]} == {("999", "extra member")}
    assert migration.migrate(source, url, progress=False)["caught_up"] == {"extra member": 3}
    assert dump(url) == before


def test_a_database_that_holds_nothing_else_is_not_scanned(filled: tuple[str, str, Redis]) -> None:
    source, url, client = filled
    calls = client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"]
    verification.verify(source, url, progress=False)
    assert client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"] == calls


def test_what_redis_would_remove_by_itself_is_found_and_kept(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    client: Any = connections.redis(redis_url)
    client.set("theirs", 1, ex=1000)
    assert verification.verify(source, redis_url, progress=False)["differences"] == 0
    for key in ("user:1", "user:2:activities", "user:2:activities:by_time"):
        client.expire(key, 1000)
    client.execute_command("HEXPIRE", "order:1", 1000, "FIELDS", 1, "quantity")
    found = verification.verify(source, redis_url, progress=False)
    assert found["by_problem"] == {"expiring key": 3, "expiring field": 1}
    assert {one["key"] for one in found["examples"]} == {
        "user:1", "user:2:activities", "user:2:activities:by_time", "order:1",
    }  # fmt: skip
    assert migrate(source, redis_url)["caught_up"] == found["by_problem"]
    assert [client.pttl(key) for key in ("user:1", "user:2:activities", "theirs")][:2] == [-1, -1]
    assert client.execute_command("HPTTL", "order:1", "FIELDS", 1, "quantity") == [-1]
    assert client.pttl("theirs") > 0
    assert verification.verify(source, redis_url, progress=False)["differences"] == 0


def test_where_nothing_was_migrated_the_prefix_is_named(postgres_url: str, redis_url: str) -> None:
    with pytest.raises(HelpersError, match=r"no migration was recorded there \(nothing:migration:state\)"):
        verification.verify(postgres_url, redis_url, prefix="nothing:", progress=False)
