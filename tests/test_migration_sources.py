"""Tables of every kind as a source: migrated whole, or refused by name."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from migrating import dump, make_course, migrate, run_sql, until
from psycopg2 import errors

from helpers.errors import HelpersError
from helpers.servers import connections, postgres, process, scratch
from helpers.source import snapshot as source_module
from helpers.source.snapshot import Source


def schema_of(source: str) -> str:
    return source.rpartition("%3D")[2]


@pytest.fixture
def reader(source: str) -> Iterator[str]:
    """The URL of a user with SELECT on the four tables, named after the schema, and no other right."""
    name = schema_of(source)
    run_sql(
        source,
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret'",
        f"GRANT USAGE ON SCHEMA {name} TO {name}",
        f"GRANT SELECT ON users, products, activities, orders TO {name}",
    )
    yield re.sub("//[^@]+@", f"//{name}:secret@", source)
    run_sql(source, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_select_on_the_four_tables_is_all_it_needs(reader: str, source: str, redis_url: str) -> None:
    assert migrate(reader, redis_url, dry_run=True)["rows_read"]["users"] == 6
    assert migrate(reader, redis_url)["status"] == "verified"
    assert migrate(source, redis_url)["caught_up"] == {}  # the same source to another user


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("REVOKE SELECT ON orders FROM {name}", "permission denied for table orders; this user needs SELECT"),
        ("REVOKE USAGE ON SCHEMA {name} FROM {name}", r"no table users.*\(no schema\).*USAGE"),
        (
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON users USING (user_id < 3)",
            'row-level security policy for table "users"; .*BYPASSRLS',
        ),
    ],
)
def test_missing_rights_are_named(
    reader: str, source: str, redis_url: str, statement: str, said: str
) -> None:
    run_sql(source, statement.format(name=schema_of(source)))
    with pytest.raises(HelpersError, match=said) as caught:
        migrate(reader, redis_url)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert dump(redis_url, b"\0") == {}


PARTITIONS = """
ALTER TABLE orders RENAME TO whole;
CREATE TABLE orders (order_id int PRIMARY KEY, user_id int, product_id int, order_date timestamp,
  quantity int) PARTITION BY HASH (order_id);
CREATE TABLE even PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE odd PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO orders SELECT * FROM whole
"""


def test_partitioned_tables_are_tables(source: str, redis_url: str) -> None:
    migrate(source, redis_url)
    whole = dump(redis_url)
    run_sql(source, PARTITIONS)
    result = migrate(source, redis_url)
    assert (result["status"], result["caught_up"]) == ("verified", {})
    assert migrate(source, redis_url, replace=True, batch_rows=3)["status"] == "verified"
    assert dump(redis_url) == whole


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE users RENAME TO u; CREATE VIEW users AS SELECT * FROM u", "users is a view"),
        (
            "ALTER TABLE users RENAME TO u; CREATE MATERIALIZED VIEW users AS SELECT * FROM u",
            "users is a materialized view",
        ),
        ("CREATE TABLE more () INHERITS (orders)", "other tables inherit from orders"),
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "table orders has no unique key over NOT NULL"),
        ("ALTER TABLE orders ALTER order_date TYPE text", "score order_date is of type text"),
        ("ALTER TABLE users DROP email", "table users has no column 'email'"),
        ("DROP TABLE activities", "no table activities"),
        ("TRUNCATE users, products, activities, orders", "all 4 tables are empty"),
    ],
)
def test_what_the_model_cannot_hold_is_named_before_anything_is_written(
    source: str, redis_url: str, statement: str, said: str
) -> None:
    run_sql(source, statement)
    for options in ({}, {"dry_run": True}):
        with pytest.raises(HelpersError, match=said):
            migrate(source, redis_url, **options)
    assert dump(redis_url, b"\0") == {}


@pytest.mark.parametrize(
    ("statement", "key", "field", "value"),
    [
        ("users ALTER created_at TYPE timestamptz", b"user:1", b"created_at", b"2026-01-02T00:00:00.000000Z"),
        ("products ALTER price TYPE money", b"product:2", b"price", b"$2.90"),
        ("orders ALTER quantity TYPE numeric", b"order:3", b"quantity", b"3"),
        ("orders ALTER order_date TYPE date", b"order:3", b"order_date", b"2026-03-01"),
        ("users ALTER username TYPE text[] USING ARRAY[username]", b"user:1", b"username", b'{"user 1"}'),
    ],
)
def test_columns_of_other_types_are_moved_as_they_are(
    source: str, redis_url: str, statement: str, key: bytes, field: bytes, value: bytes
) -> None:
    run_sql(source, f"SET timezone = 'UTC'; ALTER TABLE {statement}")
    for _ in range(2):
        result = migrate(source, redis_url)
        assert (result["status"], result["caught_up"]) == ("verified", {})
    assert dump(redis_url)[key][field] == value


def test_a_server_that_is_too_old_is_named(
    source: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "OLDEST", 99)
    with pytest.raises(HelpersError, match=r"PostgreSQL \d\d has no .*; 99 or newer is needed"):
        migrate(source, redis_url)


def test_nobody_can_empty_a_table_under_the_snapshot(source: str) -> None:
    """TRUNCATE and ALTER TABLE would show an older snapshot an empty table."""
    with Source(source) as snapshot:
        for statement in ("TRUNCATE activities", "ALTER TABLE orders ALTER quantity TYPE bigint"):
            with pytest.raises(errors.LockNotAvailable):
                run_sql(source, "SET lock_timeout = '100ms'", statement)
        assert snapshot.counts()["activities"] == 30


@pytest.mark.slow
def test_a_locked_table_is_waited_for_and_an_interrupt_is_heard(source: str, redis_url: str) -> None:
    holder = connections.postgres(source)
    holder.cursor().execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
    for wanted in (signal.SIGINT, signal.SIGTERM):
        command = [sys.executable, "-m", "helpers", "migrate", "--source", source, "--target", redis_url]
        mover = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        cursor = connections.postgres(source).cursor()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'products'::regclass"

        def waiting() -> int:
            cursor.execute(waits)  # noqa: B023
            return int(cursor.fetchone()[0])  # noqa: B023

        until(waiting)
        mover.send_signal(wanted)
        assert mover.communicate(timeout=120)[1] == (  # the table is locked still
            "helpers migrate: interrupted; nothing was written, the same command goes on from there\n"
        )
        assert mover.returncode == 130
        cursor.connection.close()
    release = Timer(0.5, holder.rollback)
    release.start()
    assert migrate(source, redis_url)["status"] == "verified"
    release.join()
    holder.close()


# -- encodings


def database(server: str, encoding: str) -> str:
    """The URL of a fresh database of an encoding, with the four tables."""
    connection = connections.postgres(server)
    connection.autocommit = True
    name = f"of_{encoding.lower()}"
    connection.cursor().execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    connection.close()
    return make_course(re.sub("/[^/]+$", f"/{name}", server))


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with scratch.postgres() as running:
        yield running


def insert(url: str, encoding: str, *values: bytes) -> None:
    connection = connections.postgres(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SET client_encoding = '{encoding}'")
        for number, value in enumerate(values, 100):
            cursor.execute(b"INSERT INTO users VALUES (%d, '%b')" % (number, value))
            cursor.execute(
                b"INSERT INTO activities VALUES (%d, 1, '%b', '2026-05-01')" % (number, value[:20])
            )
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "euro"), [("LATIN9", b"\xa4"), ("WIN1252", b"\x80"), ("EUC_JP", None)])
def test_text_of_other_encodings_becomes_utf8(
    server: Any, redis_url: str, encoding: str, euro: bytes | None
) -> None:
    url = database(server.url, encoding)
    values = [b"caf\xe9", b"5 " + euro] if euro else ["日本".encode("euc_jp")]
    insert(url, encoding, *values)
    assert migrate(url, redis_url)["status"] == "verified"
    client = connections.redis(redis_url, decode_responses=True)
    wanted = ["café", "5 €"] if euro else ["日本"]
    assert [client.hget(f"user:{100 + i}", "username") for i in range(len(wanted))] == wanted
    assert client.lrange("user:1:activities", -len(wanted), -1) == [
        f"{word}:2026-05-01T00:00:00.000000" for word in wanted
    ]


def test_a_character_without_utf8_is_named(server: Any, redis_url: str) -> None:
    url = database(server.url, "WIN1251")
    insert(url, "WIN1251", b"x\x98")
    with pytest.raises(HelpersError, match=r'0x98 in encoding "WIN1251".*; repair that value in the source'):
        migrate(url, redis_url)


def test_bytes_that_are_no_utf8_are_rejected_by_name(server: Any, redis_url: str) -> None:
    url = database(server.url, "SQL_ASCII")
    good = ["café", "🙂" * 12, "\x7f\x01", "\u0800\ud7ff\uffff", "\U00010000\U0010ffff"]
    bad = [b"\xff", b"caf\xe9", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80"]
    insert(url, "SQL_ASCII", *(text.encode() for text in good), *bad)
    result = migrate(url, redis_url)
    assert (result["status"], result["rejects_by_reason"]) == ("verified", {"not_utf8": 2 * len(bad)})
    client = connections.redis(redis_url)
    assert [client.hget(f"user:{100 + i}", "username") for i in range(len(good))] == [
        text.encode() for text in good
    ]
    run_sql(url, "UPDATE activities SET activity_type = 'x' WHERE activity_id = 101")
    client.zadd("user:1:activities:by_time", {"5:y": 1})
    assert migrate(url, redis_url)["status"] == "verified"


# -- servers


@pytest.fixture
def standby(server: Any) -> Iterator[str]:
    """The URL of a standby of the server."""
    folder = Path(server.folder).with_name(f"{Path(server.folder).name}-standby")
    data, port = folder / "data", process.free_port()
    folder.mkdir(mode=0o700)
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, postgres.NOBODY, postgres.NOBODY)
    record = None
    try:
        backup = [*postgres._program("pg_basebackup"), "-D", str(data), "-R", "-c", "fast", "-d", server.url]
        subprocess.run(backup, check=True, capture_output=True, cwd=folder)
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(f"port = {port}\n")
        record = process.start(postgres.command(folder), folder, port)
        url = server.url.replace(f":{server.port}/", f":{port}/")
        process.wait("standby", record, lambda: postgres.version(url), folder, timeout_s=30, cancel=Event())
        yield url
    finally:
        if record:
            process.stop(record, how=signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_standby_is_a_source_too(server: Any, standby: str, redis_url: str) -> None:
    make_course(server.url)
    deadline = time.monotonic() + 120
    while True:
        try:
            assert migrate(standby, redis_url)["status"] == "verified"
            break
        except HelpersError as error:  # the tables have not come over yet
            assert "no table" in str(error) and time.monotonic() < deadline
            time.sleep(0.05)
    assert migrate(server.url, redis_url)["caught_up"] == {}  # the same source
