"""The same operations on real servers, with literal rows."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from helpers import settings
from helpers.comparison import (
    answers,
    cassandra as cassandra_store,
    mongodb as mongodb_store,
    postgres as postgres_store,
    stores,
)
from helpers.comparison.store import Traffic
from helpers.comparison.workload import OPERATIONS, Population
from helpers.errors import HelpersError
from helpers.servers import connections

DAY = datetime(2026, 3, 1, 12, 30, 15, 123457)  # microseconds that no millisecond holds
USERS = [(1, "ann", "ann@example.org", DAY), (2, "bob", "bob@example.org", DAY + timedelta(microseconds=1))]
PRODUCTS = [(1, "Chair", Decimal("19.90")), (2, "Lamp", Decimal("10.00"))]
ACTIVITIES = [
    (4, 1, "login", DAY),
    (9, 1, "a:b", DAY + timedelta(microseconds=1)),
    (10, 1, "logout", DAY + timedelta(microseconds=1)),  # the same date as 9: the higher id is newer
]
ORDERS = [
    (8, 1, 2, DAY, 3),
    (9, 1, 1, DAY + timedelta(seconds=1), 1),
    (10, 2, 1, DAY + timedelta(seconds=1), 2),
]


@pytest.fixture(scope="module", params=stores.NAMES)
def connected(request, urls):
    with stores.connect(request.param, urls[request.param]) as store:
        store.create()
        yield store
        store.drop()


@pytest.fixture
def store(connected):
    connected.create()
    connected.load(
        users=iter(USERS), products=iter(PRODUCTS), activities=iter(ACTIVITIES), orders=iter(ORDERS)
    )
    return connected


def test_verbs_give_back_what_was_stored(store):
    assert store.read_profile(2) == ("bob", "bob@example.org", DAY + timedelta(microseconds=1))
    assert store.last_activities(1) == [
        ("logout", DAY + timedelta(microseconds=1)),
        ("a:b", DAY + timedelta(microseconds=1)),
        ("login", DAY),
    ]
    assert store.last_activities(1, 2) == store.last_activities(1)[:2]
    assert store.read_order(9) == ORDERS[1]
    assert store.orders_of_user(1) == [9, 8]
    assert store.orders_of_product(1) == [10, 9]  # equal dates: the highest id first


@pytest.mark.parametrize("name", stores.NAMES)
def test_each_operation_that_is_timed_says_how_it_is_done(name):
    assert set(stores.STORES[name].IDIOMS) == set(OPERATIONS)
    assert stores.STORES[name].DEFINITIONS or name == "redis"


def test_what_is_not_there_is_missing(store):
    assert store.read_profile(3) is None
    assert store.last_activities(2) == store.last_activities(3) == []
    assert store.read_order(1) is None
    assert store.orders_of_user(3) == store.orders_of_product(3) == []


def test_writes_are_read_back(store):
    later = DAY + timedelta(days=1)
    store.append_activity(11, 2, "view_product", later)
    store.place_order(11, 2, 2, later, 5)
    assert store.last_activities(2) == [("view_product", later)]
    assert store.read_order(11) == (11, 2, 2, later, 5)
    assert store.orders_of_user(2) == [11, 10]
    assert store.orders_of_product(2) == [11, 8]


def test_each_operation_is_one_round_trip(store):
    one = {"postgres": (1, 1), "redis": (4, 5), "mongodb": (1, 1), "cassandra": (1, 3)}[store.name]
    assert store.traffic("read_profile", 1) == Traffic(1, 1)
    assert store.traffic("last_activities", 1, 20) == Traffic(1, 1)
    assert store.traffic("append_activity", 12, 1, "login", DAY) == Traffic(1, one[0])
    assert store.traffic("place_order", 12, 1, 1, DAY, 1) == Traffic(1, one[1])


def test_settings_are_read_back_from_the_server(store):
    for tier in store.tiers():
        store.set_durability(tier)
        shown = store.settings()
        assert shown["version"] == store.version()
        expected = {
            "postgres": ("synchronous_commit", {"relaxed": "off", "strict": "on"}),
            "redis": ("appendfsync", {"relaxed": "everysec", "strict": "always"}),
            "mongodb": ("write concern received", {"relaxed": "w:1 j:false", "strict": "w:1 j:true"}),
            "cassandra": ("commit log", {"relaxed": "periodic", "strict": "batch"}),
        }[store.name]
        assert shown[expected[0]] == expected[1][tier]
    with pytest.raises(HelpersError, match=r"loose|commitlog_sync"):
        store.set_durability("loose")


def test_sizes_and_processor_time_are_known_on_this_machine(store):
    before = store.server_cpu_s()
    for _ in range(300):
        store.null_op()
    assert store.server_cpu_s() > before
    assert 1 < store.server_rss_mb() < 4000
    size = store.size()
    assert size.how
    if store.name != "cassandra":
        assert size.memory_bytes > 0


def test_redis_settings_are_put_back(urls):
    client = connections.redis(urls["redis"], decode_responses=True)
    found = client.config_get("appendonly", "appendfsync")
    with stores.connect("redis", urls["redis"]) as store:
        store.set_durability("strict")
        assert client.config_get("appendfsync") == {"appendfsync": "always"}
    assert client.config_get("appendonly", "appendfsync") == found
    client.close()


def test_drop_takes_its_own_and_nothing_else(urls):
    client = connections.redis(urls["redis"])
    client.set("user:1", "not ours")
    opened = [stores.connect(name, urls[name]) for name in stores.NAMES]
    for store in opened:
        store.create()
        store.load(users=USERS, products=PRODUCTS, activities=ACTIVITIES, orders=ORDERS)
        store.drop()
    postgres, _redis, mongodb, cassandra = opened
    assert postgres.do("SELECT to_regnamespace(%s)", [postgres_store.SCHEMA]) == [(None,)]
    assert client.keys("*") == [b"user:1"]
    client.delete("user:1")
    assert mongodb_store.DATABASE not in mongodb.client.list_database_names()
    rows = cassandra.session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
    assert cassandra_store.KEYSPACE not in {row[0] for row in rows}
    assert not list((settings.home() / "cassandra" / "data").rglob("snapshots"))
    client.close()
    for store in opened:
        store.close()


def test_stores_that_are_not_there_are_not_compared():
    """A cell run again behind the one that closes them says so."""
    with pytest.raises(HelpersError, match="no two stores to compare: connect to them first"):
        answers.compare([], Population(1, 1, 1, 1, DAY), users=1, orders=1)


def test_comparing_answers_counts_them_and_sees_one_that_differs(urls):
    population = Population(users=2, products=2, activities=3, orders=10, latest=DAY)
    opened = [stores.connect(name, urls[name]) for name in stores.NAMES]
    try:
        for store in opened:
            store.create()
            store.load(users=USERS, products=PRODUCTS, activities=ACTIVITIES, orders=ORDERS)
        counts = answers.compare(opened, population, users=2, orders=10)
        assert counts["read_profile"] == 3
        assert counts["read_order"] == 11
        assert counts["misses"] == 3 + 8 + 1 + 1
        opened[2].append_activity(99, 2, "login", DAY)
        with pytest.raises(
            answers.Different, match=r"last_activities\(2, 20\): postgres answers \[\] and mongodb"
        ):
            answers.compare(opened, population, users=2, orders=10)
    finally:
        for store in opened:
            store.drop()
            store.close()


@pytest.mark.parametrize("name", stores.NAMES)
def test_unreachable_server_is_named(name, monkeypatch):
    monkeypatch.setattr(connections, "TIMEOUT_S", 1)  # MongoDB's driver asks again until its time is over
    scheme = settings.SCHEMES[name][0]
    with pytest.raises(HelpersError, match=r"127\.0\.0\.1:1\b"):
        stores.connect(name, f"{scheme}://127.0.0.1:1")


def test_unknown_store_is_refused():
    with pytest.raises(HelpersError, match="choose from postgres, redis, mongodb, cassandra"):
        stores.connect("oracle")


def test_a_write_that_a_busy_cassandra_had_no_time_for_is_sent_again_while_loading():
    from cassandra import WriteType
    from cassandra.policies import RetryPolicy

    from helpers.comparison import cassandra

    policy = cassandra.Again()
    late = {
        "consistency": 10,
        "write_type": WriteType.UNLOGGED_BATCH,
        "required_responses": 1,
        "received_responses": 0,
    }
    decided = [
        policy.on_write_timeout(None, **late, retry_num=number)[0] for number in range(policy.TRIES + 1)
    ]
    assert decided == [RetryPolicy.RETRY] * policy.TRIES + [RetryPolicy.RETHROW]
