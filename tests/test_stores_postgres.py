"""PostgreSQL as a store: its connections, what it refuses, what of it is in memory, whose schema it is."""

import threading
import time
from datetime import datetime
from typing import Any

import psutil
import psycopg2
import pytest
from migrating import until
from psycopg2 import sql

from helpers.comparison import loops, postgres, stores
from helpers.comparison.postgres import SCHEMA, PostgresStore
from helpers.comparison.store import Traffic
from helpers.comparison.workload import Operation
from helpers.errors import HelpersError
from helpers.servers import connections, machine, scratch

DAY = datetime(2026, 3, 1)
USERS = [(number, f"user{number}", f"u{number}@example.org", DAY) for number in range(1, 50)]
ROWS: dict[str, list[Any]] = {
    "users": USERS,
    "products": [(1, "Chair", 1)],
    "activities": [(1, 1, "login", DAY)],
    "orders": [],
}


@pytest.fixture
def store(postgres_server):
    with stores.opened("postgres", postgres_server) as opened:
        assert isinstance(opened, PostgresStore)
        opened.create()
        for table, rows in ROWS.items():
            opened.load_rows(table, rows)
        yield opened


def test_each_client_has_a_connection_and_hands_it_on(store):
    reads = [[Operation("read_profile", (1,))] * 30] * 4
    assert loops.closed(store, reads).errors == 0
    # The main thread, which loaded, keeps its own; a thread that ended early may have handed its on.
    assert 2 <= len(store._opened) <= 5
    opened = len(store._opened)
    loops.closed(store, reads[:1])
    assert len(store._opened) == opened


def test_no_timed_operation_prepares_a_statement(store):
    seen = []

    def ask():
        store.null_op()
        seen.extend(store.do("SELECT count(*) FROM pg_prepared_statements"))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [(7,)]


def test_every_connection_has_the_tier(store):
    def shown():
        found = []
        thread = threading.Thread(target=lambda: found.append(store.settings()["synchronous_commit"]))
        thread.start()
        thread.join()
        return [store.settings()["synchronous_commit"], *found]

    assert shown() == ["off", "off"]
    store.set_durability("strict")
    assert shown() == ["on", "on"]


def test_a_lost_connection_is_an_error_and_then_replaced(store, postgres_server):
    pid = store._link().connection.info.backend_pid
    with connections.postgres(postgres_server) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(store.ERRORS):
        store.read_profile(1)
    assert store.read_profile(1).username == "user1"


@pytest.mark.slow
def test_a_server_that_hangs_is_an_error_and_not_a_wait_for_ever(monkeypatch):
    monkeypatch.setattr(postgres, "TIMEOUT_S", 1.0)
    with scratch.postgres() as server, stores.opened("postgres", server.url) as store:
        store.create()
        for table, rows in ROWS.items():
            store.load_rows(table, rows)
        family = machine.family(psutil.Process(server.pid))
        for one in family:
            one.suspend()
        began = time.monotonic()
        try:
            with pytest.raises(store.ERRORS):
                store.read_profile(1)
            assert time.monotonic() - began < 10
        finally:
            for one in family:
                one.resume()
        assert store.read_profile(1).username == "user1"


def test_what_the_keys_forbid_is_refused_and_leaves_nothing(store):
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        store.append_activity(2, 10**6, "login", DAY)
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        store.place_order(1, 1, 10**6, DAY, 1)
    assert (store.last_activities(10**6), store.read_order(1), store.orders_of_user(1)) == ([], None, [])


def test_statements_are_planned_once(store):
    for _ in range(20):
        store.last_activities(1)
    planned = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'last_activities'"
    [(generic, custom)] = store.do(planned)
    assert generic > custom == 5


def test_two_statements_are_counted_as_two(store, monkeypatch):
    assert store.traffic("read_profile", 1) == Traffic(1, 1)

    def twice(self, user_id):
        self._prepared().do("EXECUTE read_profile (1); EXECUTE read_profile (2)")
        self._prepared().do("EXECUTE read_profile (3)")

    monkeypatch.setattr(PostgresStore, "read_profile", twice)
    assert store.traffic("read_profile", 1) == Traffic(2, 3)


def test_memory_is_told_by_the_extension_which_goes_with_the_schema(store, postgres_server):
    size = store.size()
    assert 0 < size.memory_bytes <= size.disk_bytes
    extension = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_buffercache'"
    with connections.postgres(postgres_server) as connection, connection.cursor() as cursor:
        cursor.execute(extension)
        assert cursor.fetchone() == (1,)
        store.drop()
        cursor.execute(extension)
        assert cursor.fetchone() == (0,)


def test_without_the_right_to_look_the_reason_is_told(store, postgres_server):
    with connections.postgres(postgres_server) as admin, admin.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS just_a_user")
        cursor.execute("CREATE ROLE just_a_user")
        cursor.execute(f"GRANT ALL ON SCHEMA {SCHEMA} TO just_a_user")
    try:
        store.do("SET ROLE just_a_user")
        size = store.activity_size()
        assert size.memory_bytes is None
        assert "in memory not told: permission denied" in size.how
        assert size.disk_bytes > 0
    finally:
        store.do("RESET ROLE")
        store.do("DROP OWNED BY just_a_user")
        store.do("DROP ROLE just_a_user")


def test_a_schema_of_that_name_that_is_not_ours_is_left_alone(postgres_server):
    with connections.postgres(postgres_server) as admin, admin.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        cursor.execute(f"CREATE TABLE {SCHEMA}.users (mine text)")
    try:
        with stores.connect("postgres", postgres_server) as store:
            with pytest.raises(HelpersError, match=f"schema {SCHEMA} is not of this project"):
                store.create()
            assert store.do("SELECT count(*) FROM users") == [(0,)]
    finally:
        with connections.postgres(postgres_server) as admin, admin.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {SCHEMA} CASCADE")


def test_processor_time_counts_backends_that_have_ended(store, postgres_server):
    before = store.server_cpu_s()
    with connections.postgres(postgres_server) as busy, busy.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM generate_series(1, 3000000)")
    busy.close()
    until(lambda: store.server_cpu_s() > before + 0.1)


def test_shared_memory_is_counted_once(store):
    found = machine.listening(store.address, "postgres")
    assert found is not None
    each = [one.memory_info().rss / 1e6 for one in machine.family(found)]
    assert len(each) > 3
    assert 5 < store.server_rss_mb() < sum(each)
