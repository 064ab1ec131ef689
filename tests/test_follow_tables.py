"""Following tables of any shape: whatever is committed is in Redis exactly once, or it stops by name."""
# ruff: noqa: E501  # lines of SQL

import json
import random
import re
import signal
import threading
import time
from typing import Any

import pytest
from following import Scramble, follow, start, tell_all, verified
from migrating import dump, interrupted, migrate, run_sql

from helpers import model, source as sources
from helpers.columns import NOTHING
from helpers.errors import HelpersError
from helpers.migration import follower, following, verification
from helpers.model import Plan, rows
from helpers.servers import connections
from helpers.source import Upstream, publication, tables
from helpers.target import Checkpoint, rehearsal, resp
from helpers.trials import judge


def plan_of(source: str, text: str) -> Plan:
    with Upstream(source) as upstream:
        return Plan(model.load(text), tables.bind(upstream.ask, upstream.where, model.load(text)))


def proposed(source: str) -> str:
    with sources.LiveTables(source) as live:
        return model.propose(live)


def as_if_migrated(source: str, target: str, text: str) -> bool:
    """Whether a migration of today would leave the same, and the counts are its own."""
    held, client = dump(target), connections.redis(target, decode_responses=True)
    counts = [client.hget("migration:state", name) for name in ("rows_held", "rows_rejected")]
    following.drop_slot(source, target)
    client.flushdb()
    migrate(source, target, model=text, verify=False)
    assert dump(target) == held
    assert [client.hget("migration:state", name) for name in ("rows_held", "rows_rejected")] == counts
    client.close()
    return True


@pytest.mark.parametrize(("seed", "most"), [(1, 5_000), (2, 3)])
def test_a_hostile_schema_as_it_is_proposed(
    hostile_url: str, redis_url: str, seed: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table at random, in transactions that go whole and in parts."""
    monkeypatch.setattr(follower, "MOST_CHANGES", most)
    text = proposed(hostile_url)
    assert migrate(hostile_url, redis_url, model=text, follow=True)["status"] == "verified"
    plan = plan_of(hostile_url, text)
    with Scramble(hostile_url, plan.tables.values(), seed) as writer:
        for _ in range(4):
            for _ in range(40):
                writer.transaction()
            follow(hostile_url, redis_url)
            assert verified(hostile_url, redis_url)
        assert min(writer.done.values()) > 0 and writer.done["value"] > 100, writer.done
    assert as_if_migrated(hostile_url, redis_url, text)


def test_equal_scores_are_settled_by_bytes_that_are_a_whole_member(postgres_url: str, redis_url: str) -> None:
    """No text stands there by which a script could compare them, so that the list has a register."""
    run_sql(
        postgres_url,
        "CREATE TABLE ties (owner int, at int, b bytea, t text NOT NULL, PRIMARY KEY (owner, at, b), UNIQUE (owner, b))",
        "INSERT INTO ties SELECT 1, 5, decode(lpad(to_hex(n), 2, '0'), 'hex'), n FROM generate_series(0, 255, 5) n",
    )
    tell_all(postgres_url)
    text = """
    key = [
      {name = "owner:{owner}:l", type = "list", table = "ties", value = "{t}", order = ["at", "b"]},
      {name = "owner:{owner}:z", type = "sorted_set", table = "ties", value = "{b}", score = "at"},
    ]"""
    migrate(postgres_url, redis_url, model=text, follow=True)
    run_sql(
        postgres_url,
        "INSERT INTO ties SELECT 1, 5, decode(lpad(to_hex(n), 2, '0'), 'hex'), n FROM generate_series(1, 255, 5) n",
        r"DELETE FROM ties WHERE b IN ('\x5c', '\x30', '\x0a')",
    )
    follow(postgres_url, redis_url)
    assert verified(postgres_url, redis_url)


def test_a_hostile_schema_with_followers_that_are_killed(hostile_url: str, redis_url: str) -> None:
    text = proposed(hostile_url)
    migrate(hostile_url, redis_url, model=text, follow=True)
    plan, over, chance = plan_of(hostile_url, text), threading.Event(), random.Random(5)

    def write() -> None:
        with Scramble(hostile_url, plan.tables.values(), 5) as writer:
            while not over.is_set():
                writer.transaction(6)
                time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    ends, client = [], connections.redis(redis_url, decode_responses=True)
    for _ in range(8):
        before, process = (
            client.hget("migration:state", "follow:position"),
            start(hostile_url, redis_url, "follow"),
        )
        while process.poll() is None and client.hget("migration:state", "follow:position") == before:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ends.append(process.returncode)
        over.set() if len(ends) == 7 else None
    thread.join()
    assert ends == [-signal.SIGKILL] * 8
    follow(hostile_url, redis_url)
    assert verified(hostile_url, redis_url)
    assert as_if_migrated(hostile_url, redis_url, text)
    client.close()


# -- every type of key

TABLES = """
CREATE TABLE things (id int PRIMARY KEY, code text NOT NULL UNIQUE DEFERRABLE, owner text, name text, flag boolean,
  at timestamp, seen timestamptz, day date NOT NULL, clock time, price numeric, ratio real, uid uuid NOT NULL UNIQUE,
  raw bytea, unheld text, twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE things ALTER name SET STORAGE EXTERNAL;
CREATE TABLE "Lines" (doc int, "No" bigint, day date NOT NULL, at timestamptz NOT NULL, part uuid NOT NULL, what text,
  PRIMARY KEY (doc, "No"));
INSERT INTO things SELECT n, (ARRAY['a', 'a:b', '%3A', '{x}', '', E'\\n', '*', 'é', ' ', '-'])[n], 'o' || n % 3,
  repeat(chr(64 + n), n * 700), n % 2 = 0, '2026-01-01'::timestamp + n * interval '1.5 s',
  CASE n WHEN 1 THEN 'infinity' ELSE '2026-01-01'::timestamptz + n % 4 * interval '1 h' END,
  CASE n WHEN 2 THEN 'infinity' WHEN 3 THEN '0044-03-15 BC' ELSE '2026-01-01'::date + n END,
  CASE n WHEN 4 THEN '24:00' ELSE '10:00:00.5'::time END, CASE n WHEN 5 THEN 'NaN' ELSE n / 7.0 END, n / 3.0,
  md5(n::text)::uuid, ('\\x00ff' || to_hex(n + 16))::bytea, 'x' FROM generate_series(1, 10) n;
INSERT INTO "Lines" SELECT n % 3, n * (-1) ^ n, '2026-01-01'::date + n % 5, '2026-01-01'::timestamptz + n % 4 *
  interval '1 h', md5(n::text)::uuid, 'what ' || n % 3 FROM generate_series(1, 40) n;
"""
MODEL = """
[[key]]
name = "thing:{id}"
type = "hash"
table = "things"
fields = { n = "name", flag = "flag", at = "at", day = "day", clock = "clock", raw = "raw", price = "price" }
[[key]]
name = "code:{code}"
type = "string"
table = "things"
fields = ["name", "raw", "flag", "seen", "ratio"]
[[key]]
name = "raw:{uid}"
type = "string"
table = "things"
value = "{raw}"
[[key]]
name = "codes:{owner}"
type = "set"
table = "things"
value = "{code}"
[[key]]
name = "uids:{flag}:{clock}"
type = "set"
table = "things"
value = "{uid}{owner}"
[[key]]
name = "by_price:{owner}"
type = "sorted_set"
table = "things"
value = "{id}"
score = "price"
[[key]]
name = "by_ratio"
type = "sorted_set"
table = "things"
value = "{code}"
score = "ratio"
[[key]]
name = "by_seen:{owner}"
type = "sorted_set"
table = "things"
value = "{uid}"
score = "seen"
[[key]]
name = "own:{id}"
type = "list"
table = "things"
value = "{owner}"
order = ["id"]
[[key]]
name = "lines:{doc}"
type = "list"
table = "Lines"
value = "{day} {what}"
order = ["day", "No"]
[[key]]
name = "lines:{doc}:what"
type = "list"
table = "Lines"
value = "{what}"
order = ["day", "No"]
[[key]]
name = "lines:{doc}:by_day"
type = "sorted_set"
table = "Lines"
value = "{what}:{No}"
score = "day"
[[key]]
name = "at:{doc}"
type = "list"
table = "Lines"
value = "{No}"
order = ["at", "No"]
[[key]]
name = "at:{doc}:by"
type = "sorted_set"
table = "Lines"
value = "{No}"
score = "at"
[[key]]
name = "numbers:{doc}"
type = "list"
table = "Lines"
value = "{part}"
order = ["No"]
[[key]]
name = "numbers:{doc}:by"
type = "sorted_set"
table = "Lines"
value = "{No}"
score = "No"
""".replace('"Lines"', "'\"Lines\"'")


@pytest.fixture
def shaped(postgres_url: str) -> str:
    """A source with tables for keys of every type."""
    run_sql(postgres_url, TABLES)
    tell_all(postgres_url)
    return postgres_url


@pytest.mark.parametrize(("seed", "most"), [(1, 5_000), (2, 5_000), (3, 4)])
def test_keys_of_every_type(
    shaped: str, redis_url: str, seed: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values go from row to row: codes that are swapped, owners that change, places in lists."""
    monkeypatch.setattr(follower, "MOST_CHANGES", most)
    assert migrate(shaped, redis_url, model=MODEL, follow=True)["status"] == "verified"
    with Scramble(shaped, plan_of(shaped, MODEL).tables.values(), seed) as writer:
        for round_ in range(6):
            for _ in range(30):
                writer.transaction(truncate=round_ == 4)
            run_sql(
                shaped,
                "WITH two AS (SELECT id, lead(code) OVER (ORDER BY id) AS up, lag(code) OVER (ORDER BY id) AS down "
                "FROM (SELECT id, code FROM things ORDER BY id LIMIT 2) s) UPDATE things SET code = coalesce(up, down) "
                "FROM two WHERE things.id = two.id AND coalesce(up, down) IS NOT NULL",
            )
            follow(shaped, redis_url)
            assert verified(shaped, redis_url)
    assert judge.compare(shaped, redis_url, model=MODEL) == {"lost": 0, "doubled": 0, "altered": 0}
    assert as_if_migrated(shaped, redis_url, MODEL)


def test_what_no_key_holds_may_change(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    before, client = dump(redis_url), connections.redis(redis_url, decode_responses=True)
    commands = client.info("commandstats")["cmdstat_hset"]["calls"]
    run_sql(shaped, "UPDATE things SET unheld = 'another', id = id")
    assert follow(shaped, redis_url)["changes"]["things"] == 10
    assert dump(redis_url) == before
    assert (
        client.info("commandstats")["cmdstat_hset"]["calls"] - commands < 10
    )  # no more than the state's own
    client.close()


def test_a_value_stored_apart_goes_where_its_key_goes(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    run_sql(
        shaped,
        "UPDATE things SET id = id + 100, code = 'new' || code, owner = 'a'",
        "UPDATE things SET flag = NULL",
    )
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)
    assert connections.redis(redis_url).hget("thing:110", "n") == b"J" * 7_000


def test_rows_become_rejected_and_held_again(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    first = follow(shaped, redis_url)
    assert first["rows_rejected"]["things"] == 2  # a score that is infinity, or no number
    run_sql(
        shaped, "UPDATE things SET price = 'NaN' WHERE id > 7", "UPDATE things SET seen = NULL WHERE id = 1"
    )
    result = follow(shaped, redis_url)
    assert (result["rows_held"]["things"], result["rows_rejected"]["things"]) == (6, 4)
    assert result["rejects_by_reason"] == {"no_score": 3}
    assert verified(shaped, redis_url)
    run_sql(shaped, "UPDATE things SET price = 1, seen = NULL")
    assert follow(shaped, redis_url)["rows_held"]["things"] == 10
    assert verified(shaped, redis_url)


SWAP = "UPDATE things SET code = CASE id WHEN 6 THEN 'é' WHEN 8 THEN E'\\n' END WHERE id IN (6, 8)"


def test_rows_that_share_a_key_for_a_moment_wait_for_their_commit(
    shaped: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deferrable key may come twice within a transaction, so that its parts cannot be written."""
    migrate(shaped, redis_url, model=MODEL, follow=True)
    monkeypatch.setattr(follower, "MOST_CHANGES", 1)
    run_sql(shaped, SWAP, 'UPDATE "Lines" SET what = what')
    assert follow(shaped, redis_url)["parts"] == 0
    assert verified(shaped, redis_url)
    run_sql(shaped, 'UPDATE "Lines" SET what = what || 1', SWAP.replace("id IN", "id + 0 IN"))
    assert follow(shaped, redis_url)["parts"] == 40
    assert verified(shaped, redis_url)
    monkeypatch.setattr(follower, "MOST_HELD_BYTES", 10)
    run_sql(shaped, SWAP.replace("é", "E").replace("\\n", "é"))
    with pytest.raises(
        HelpersError, match=r"its rows of things may share a key .* make it NOT DEFERRABLE, then"
    ):
        follow(shaped, redis_url)


def test_a_unique_key_that_goes_stops_it(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    run_sql(shaped, "ALTER TABLE things DROP CONSTRAINT things_uid_key")
    with pytest.raises(HelpersError, match=r"things has no unique key \(uid\) any more"):
        follow(shaped, redis_url)
    run_sql(shaped, "ALTER TABLE things ADD UNIQUE (uid)")
    follow(shaped, redis_url)


def test_a_slot_is_dropped_also_when_its_tables_are_gone(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    run_sql(shaped, "DROP TABLE things")
    with pytest.raises(HelpersError, match="no table things where this user looks"):
        follow(shaped, redis_url)
    assert following.drop_slot(shaped, redis_url)["dropped"]


def test_a_publication_of_somebody_that_leaves_something_out(partitioned: str, redis_url: str) -> None:
    """Changes by way of the root would not tell what happens to a single partition."""
    name = publication.name_of(plan_of(partitioned, EVENTS))
    for more in ("WITH (publish_via_partition_root = true)", "WITH (publish = 'insert, update, delete')"):
        run_sql(partitioned, f"CREATE PUBLICATION {name} FOR TABLE e {more}")
        with pytest.raises(
            HelpersError, match=f"publication {name} does not tell every change of e; `DROP PUB"
        ):
            migrate(partitioned, redis_url, model=EVENTS, follow=True)
        run_sql(partitioned, f"DROP PUBLICATION {name}")
    assert dump(redis_url, b"\0") == {}


def test_a_value_of_an_enum_that_is_renamed_stops_it(postgres_url: str, redis_url: str) -> None:
    """Also deep in a type; one that comes is no matter."""
    name = postgres_url.rpartition("%3D")[2]
    run_sql(
        postgres_url,
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TYPE other AS ENUM ('x')",
        "CREATE DOMAIN feeling AS mood",
        "CREATE TYPE two AS (a feeling[], b int)",
        "CREATE TABLE t (id int PRIMARY KEY, v two[])",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, ARRAY[ROW(ARRAY['sad'::feeling], 1)::two])",
    )
    text = '[[key]]\nname = "t:{id}"\ntype = "hash"\ntable = "t"\n'
    migrate(postgres_url, redis_url, model=text, follow=True)
    run_sql(
        postgres_url,
        "ALTER TYPE mood ADD VALUE 'new' BEFORE 'sad'",
        "ALTER TYPE other RENAME VALUE 'x' TO 'y'",
    )
    run_sql(postgres_url, "UPDATE t SET v[1].a[1] = 'new'")
    follow(postgres_url, redis_url)
    assert verified(postgres_url, redis_url)
    run_sql(postgres_url, f"ALTER TYPE {name}.mood RENAME VALUE 'sad' TO 'sadder'")
    with pytest.raises(
        HelpersError, match=r"value 'sad' of an enum in t was renamed since the migration, .* run `migrate"
    ):
        follow(postgres_url, redis_url)
    following.drop_slot(postgres_url, redis_url)


def test_another_model_is_refused(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    with pytest.raises(HelpersError, match=r"another model than the course's model; leave --model out"):
        follow(shaped, redis_url, model=model.load())
    other = MODEL.replace('score = "price"', 'score = "ratio"')
    with pytest.raises(HelpersError, match=r"another model than model; leave --model out"):
        follow(shaped, redis_url, model=other)
    assert follow(shaped, redis_url, model=MODEL)["transactions"] == 0


ALONE = "".join(f"[[key]]{one}" for one in MODEL.split("[[key]]")[1:] if "sorted_set" not in one)
"""The same without sorted sets, which could tell the places in lists."""
REGISTERS = {"lines", "lines_what", "at", "numbers"}


def registers(target: str) -> set[str]:
    """The lists that have one, by the keys that are there; the state says the same."""
    client = connections.redis(target, decode_responses=True)
    keys = {key for key in client.scan_iter() if key.startswith("migration:register:")}
    said = set(json.loads(client.hget("migration:state", "registers") or "[]"))
    client.close()
    found = {re.sub(r"\W+", "_", re.sub(r":\d+", "", key.split(":", 2)[2])) for key in keys}
    assert said == found
    return found


@pytest.mark.parametrize(("seed", "most"), [(1, 5_000), (2, 4)])
def test_lists_without_sorted_sets_beside_them(
    shaped: str, redis_url: str, seed: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration keeps their places; when the slot goes, nothing of that is left."""
    monkeypatch.setattr(follower, "MOST_CHANGES", most)
    followed, alone = (
        migrate(shaped, redis_url, model=ALONE, follow=follow, dry_run=True) for follow in (True, False)
    )
    assert followed["memory_bytes"] > alone["memory_bytes"]
    assert dump(redis_url, b"\0") == {}
    assert migrate(shaped, redis_url, model=ALONE, follow=True, batch_rows=7)["status"] == "verified"
    assert registers(redis_url) == REGISTERS
    with Scramble(shaped, plan_of(shaped, ALONE).tables.values(), seed) as writer:
        for round_ in range(3):
            for _ in range(30):
                writer.transaction(truncate=round_ == 1)
            follow(shaped, redis_url)
            assert verified(shaped, redis_url)
    line = "INSERT INTO \"Lines\" VALUES (1, 2, '2026-01-01', '2026-01-01', md5('')::uuid, 'x')"
    run_sql(shaped, f'TRUNCATE "Lines"; {line}')
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)
    assert judge.compare(shaped, redis_url, model=ALONE) == {"lost": 0, "doubled": 0, "altered": 0}
    following.drop_slot(shaped, redis_url)
    assert registers(redis_url) == set()
    assert verified(shaped, redis_url)


def test_a_list_is_followed_that_was_migrated_before(
    shaped: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its register is made while all is compared, which is no difference; and is looked at once it is there."""
    migrate(shaped, redis_url, model=ALONE)
    before = dump(redis_url)
    compare, mended = verification.compare, list[bool]()

    def counted(*arguments: Any, **options: Any) -> Any:
        mended.append(options.get("mender") is not None)
        return compare(*arguments, **options)

    monkeypatch.setattr(verification, "compare", counted)
    result = migrate(shaped, redis_url, model=ALONE, follow=True)
    assert (result["status"], result["caught_up"], result["differences"]) == ("verified", {}, 0)
    assert mended == [True, False]
    assert dump(redis_url) == before and registers(redis_url) == REGISTERS
    run_sql(shaped, 'UPDATE "Lines" SET "No" = -"No", at = at + interval \'90 min\' WHERE part::text < \'8\'')
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)
    following.drop_slot(shaped, redis_url)
    assert migrate(shaped, redis_url, model=ALONE)["caught_up"] == {}


@pytest.mark.parametrize("when", ["registers", "status"])
def test_registers_that_were_begun_come_to_an_end(shaped: str, redis_url: str, when: str) -> None:
    migrate(shaped, redis_url, model=ALONE)
    with pytest.raises(HelpersError, match="made no replication slot"):
        follow(shaped, redis_url)
    interrupted(shaped, redis_url, lambda state: when in state, model=ALONE, follow=True)
    client = connections.redis(redis_url)
    assert (
        set(json.loads(client.hget("migration:state", "registers") or b"[]")) == REGISTERS
    )  # before any is there
    assert not [key for key in client.scan_iter() if key.startswith(b"migration:register:")]
    client.close()
    assert migrate(shaped, redis_url, model=ALONE, follow=True)["status"] == "verified"
    assert registers(redis_url) == REGISTERS
    run_sql(shaped, 'DELETE FROM "Lines" WHERE "No" > 0')
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)


def test_a_load_that_began_without_them(shaped: str, redis_url: str) -> None:
    interrupted(shaped, redis_url, lambda state: "position:at" in state, model=ALONE, batch_rows=7)
    assert migrate(shaped, redis_url, model=ALONE, follow=True)["status"] == "verified"
    assert registers(redis_url) == REGISTERS
    run_sql(shaped, "UPDATE \"Lines\" SET at = at - interval '30 min'")
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)
    migrate(shaped, redis_url, model=ALONE, follow=True, replace=True)
    assert verified(shaped, redis_url)


def test_a_lost_target_leaves_the_registers(
    shaped: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, left = Checkpoint.send, [True]

    def lose(
        self: Checkpoint, commands: Any = NOTHING, state: Any = None, *arguments: Any, **more: Any
    ) -> None:
        send(self, commands, state, *arguments, **more)
        if left and "position:at" in (state or {}):
            left.clear()
            self.settle()
            raise resp.Lost("redis at somewhere: gone")

    monkeypatch.setattr(Checkpoint, "send", lose)
    assert migrate(shaped, redis_url, model=ALONE, follow=True, batch_rows=7)["status"] == "verified"
    assert not left and registers(redis_url) == REGISTERS
    run_sql(shaped, "UPDATE \"Lines\" SET at = at - interval '30 min'")
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)


def test_a_target_that_refuses_registers_is_known_before_the_first_write(shaped: str) -> None:
    plan = plan_of(shaped, ALONE)
    rehearsed = [{str(words[1]) for words in rehearsal.commands(one, follow=True) if len(words) > 1} for one in
                 (plan, plan.registering([kind.name for kind in model.unguided(plan)]))]  # fmt: skip
    more = rehearsed[1] - rehearsed[0]
    assert more == {f"migration:register:{one}" for one in ("lines:1", "lines:1:what", "at:1", "numbers:1")}


def test_a_register_is_verified_and_mended(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=ALONE, follow=True)
    client, register = connections.redis(redis_url), "migration:register:lines:0"
    client.lset(register, 3, "2026-01-01:77")
    client.rpush("migration:register:lines:9", "2026-01-01:1")
    client.expire("migration:register:lines:1", 1000)
    seen = verification.verify(shaped, redis_url, progress=False)
    assert seen["by_problem"] == {"wrong element": 1, "extra key": 1, "expiring key": 1}
    assert migrate(shaped, redis_url, model=ALONE, follow=True)["caught_up"] == seen["by_problem"]
    assert verified(shaped, redis_url)
    client.delete(register)
    run_sql(shaped, 'DELETE FROM "Lines" WHERE doc = 0')
    with pytest.raises(HelpersError, match="is not of the length of"):
        follow(shaped, redis_url)
    with pytest.raises(HelpersError, match="stopped in the middle of a transaction; run `migrate --follow`"):
        follow(shaped, redis_url)
    migrate(shaped, redis_url, model=ALONE, follow=True)
    assert verified(shaped, redis_url)
    client.close()


def test_a_score_that_is_too_far_stops_it_until_the_list_has_a_register(shaped: str, redis_url: str) -> None:
    migrate(shaped, redis_url, model=MODEL, follow=True)
    assert registers(redis_url) == set()
    run_sql(shaped, 'UPDATE "Lines" SET "No" = 9007199254740993 WHERE "No" = 2')
    with pytest.raises(HelpersError, match=r'row \d, 9007199254740993 of "Lines" has .* `migrate --follow`'):
        follow(shaped, redis_url)
    assert migrate(shaped, redis_url, model=MODEL, follow=True)["status"] == "verified"
    assert registers(redis_url) == {"numbers"}
    run_sql(
        shaped,
        'INSERT INTO "Lines" SELECT 2, n, day, at, md5(n::text)::uuid, what FROM "Lines", '
        'generate_series(9007199254740990, 9007199254740999) n WHERE "No" = 4 AND n % 10 <> 3',
        'UPDATE "Lines" SET "No" = "No" + 1 WHERE "No" = 9007199254740999',
    )
    follow(shaped, redis_url)
    assert verified(shaped, redis_url)
    run_sql(shaped, 'DELETE FROM "Lines" WHERE "No" > 100')
    assert migrate(shaped, redis_url, model=MODEL, follow=True)["status"] == "verified"
    assert registers(redis_url) == set()  # nobody needs it any more


BY_TEXT = """
[[key]]
name = "names"
type = "list"
table = "t"
value = "{id}"
order = ["name"]
"""


def test_another_order_of_texts_stops_it(postgres_url: str, redis_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, name text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, 'a'), (2, 'B')",
    )
    migrate(postgres_url, redis_url, model=BY_TEXT, follow=True)
    run_sql(postgres_url, 'ALTER TABLE t ALTER name TYPE text COLLATE "POSIX"')
    with pytest.raises(HelpersError, match=r"column name of t had the collation .*default.* run `migrate"):
        follow(postgres_url, redis_url)
    assert migrate(postgres_url, redis_url, model=BY_TEXT, follow=True)["status"] == "verified"
    run_sql(postgres_url, "INSERT INTO t VALUES (3, 'C')")
    follow(postgres_url, redis_url)
    assert verified(postgres_url, redis_url)


@pytest.mark.parametrize("type_", ["regclass", "regtype[]", "of_names"])
def test_names_of_the_catalogue_that_order_a_list_are_refused(
    postgres_url: str, redis_url: str, type_: str
) -> None:
    """What they name may be called otherwise later, or be gone."""
    run_sql(postgres_url, "CREATE TYPE of_names AS (a int, b regclass)")
    run_sql(
        postgres_url,
        f"CREATE TABLE t (id int PRIMARY KEY, name {type_})",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t (id) VALUES (1)",
    )
    for options in ({}, {"dry_run": True}):
        with pytest.raises(HelpersError, match=r"key 'names': it is ordered by name, of type reg\w+, whose"):
            migrate(postgres_url, redis_url, model=BY_TEXT, follow=True, **options)
    assert dump(redis_url, b"\0") == {}
    assert migrate(postgres_url, redis_url, model=BY_TEXT)["status"] == "verified"


def test_what_is_too_long_for_a_register(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list holds a row that is put in its place by a text longer than what Redis holds; a register cannot."""
    monkeypatch.setattr(rows, "LONGEST_BYTES", 1_000)
    monkeypatch.setattr(rows, "COMPRESSED_BYTES", 1)
    run_sql(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, name text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES (1, 'a'), (2, repeat('b', 1000))",
    )
    migrate(postgres_url, redis_url, model=BY_TEXT, follow=True)
    run_sql(
        postgres_url, "UPDATE t SET name = 'c' WHERE id = 1", "UPDATE t SET name = name || 'c' WHERE id = 2"
    )
    with pytest.raises(
        HelpersError, match=r"row 2 of t is put in its place in a list by name and id, which is "
    ):
        follow(postgres_url, redis_url)
    with pytest.raises(
        HelpersError, match=r"row 2 of t is put in its place in a list by name and id, which is "
    ):
        migrate(postgres_url, redis_url, model=BY_TEXT, follow=True)


@pytest.mark.parametrize("whole", ["int2", "int4", "int8", "oid"])
def test_a_list_by_a_whole_number_of_any_width(postgres_url: str, redis_url: str, whole: str) -> None:
    """The limit of an exact score is no value of the narrow ones."""
    run_sql(postgres_url, f"CREATE TABLE t (id int PRIMARY KEY, line {whole} NOT NULL, sku text NOT NULL)")
    run_sql(
        postgres_url, "INSERT INTO t VALUES (1, 7, 'a'), (2, 3, 'b')", "ALTER TABLE t REPLICA IDENTITY FULL"
    )
    text = """
[[key]]
name = "lines"
type = "list"
table = "t"
value = "{sku}"
order = ["line"]
[[key]]
name = "lines:by_line"
type = "sorted_set"
table = "t"
value = "{id}:{sku}"
score = "line"
"""
    migrate(postgres_url, redis_url, model=text, follow=True)
    run_sql(postgres_url, "INSERT INTO t VALUES (3, 5, 'c')")
    follow(postgres_url, redis_url)
    assert verified(postgres_url, redis_url)
    assert as_if_migrated(postgres_url, redis_url, text)


# -- generated columns, schemas, inheritance


@pytest.mark.parametrize("how", ["", "STORED"])
def test_a_generated_column_that_a_key_holds(postgres_url: str, redis_url: str, how: str) -> None:
    """Since PostgreSQL 18 those that are stored can be told; others are refused by name."""
    run_sql(
        postgres_url, f"CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) {how})"
    )
    run_sql(postgres_url, "INSERT INTO t VALUES (1, 1), (2, NULL)", "ALTER TABLE t REPLICA IDENTITY FULL")
    text = '[[key]]\nname = "t:{id}"\ntype = "hash"\ntable = "t"\n'
    with Upstream(postgres_url) as upstream:
        ((version,),) = upstream.ask("SELECT current_setting('server_version_num')::int")
    if not how:
        with pytest.raises(
            HelpersError, match=r"column b of t is generated and not stored, .* make it STORED, or"
        ):
            migrate(postgres_url, redis_url, model=text, follow=True)
        return
    if version < 18_00_00:
        with pytest.raises(
            HelpersError, match="column b of t is generated, which is not told before PostgreSQL 18"
        ):
            migrate(postgres_url, redis_url, model=text, follow=True)
        return
    migrate(postgres_url, redis_url, model=text, follow=True)
    run_sql(
        postgres_url,
        "UPDATE t SET a = 5 WHERE id = 1",
        "INSERT INTO t VALUES (3, 4)",
        "DELETE FROM t WHERE id = 2",
    )
    follow(postgres_url, redis_url)
    assert verified(postgres_url, redis_url)
    assert connections.redis(redis_url).hget("t:1", "b") == b"10"
    run_sql(postgres_url, "ALTER TABLE t DROP b", "UPDATE t SET a = 6 WHERE id = 1")
    with pytest.raises(HelpersError, match=r"t was altered \(b\)"):
        follow(postgres_url, redis_url)
    following.drop_slot(postgres_url, redis_url)


def test_tables_of_one_name_in_two_schemas(postgres_url: str, redis_url: str) -> None:
    """One is emptied, one is changed; what a table inherits is not its own."""
    other = "two_" + postgres_url.rpartition("%3D")[2]
    text = "".join(
        f'[[key]]\nname = "{name}:{{id}}"\ntype = "hash"\ntable = \'{table}\'\nfields = ["v"]\n'
        for name, table in (("one", "t"), ("two", f'{other}."t"'), ("child", "child"))
    )
    try:
        run_sql(
            postgres_url,
            f"CREATE SCHEMA {other}",
            *(f"CREATE TABLE {name} (id int PRIMARY KEY, v text)" for name in ("t", f"{other}.t")),
            "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (t)",
            *(
                f"INSERT INTO {name} SELECT n, '{name}' FROM generate_series(1, 5) n"
                for name in ("t", f"{other}.t", "child")
            ),
            *(f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name in ("t", f"{other}.t", "child")),
        )
        assert migrate(postgres_url, redis_url, model=text, follow=True)["status"] == "verified"
        run_sql(postgres_url, "UPDATE t SET v = 'x' WHERE id = 3", f"TRUNCATE {other}.t")
        assert follow(postgres_url, redis_url)["truncated"] == 1
        assert verified(postgres_url, redis_url)
        client = connections.redis(redis_url, decode_responses=True)
        assert client.hget("one:3", "v") == client.hget("child:3", "v") == "x"
        assert len(list(client.scan_iter("two:*"))) == 0
        run_sql(postgres_url, f"INSERT INTO {other}.t VALUES (1, 'y')", "TRUNCATE ONLY t")
        follow(postgres_url, redis_url)
        assert verified(postgres_url, redis_url)
        assert sorted(client.scan_iter("[ot]*:*")) == ["two:1"] and client.exists("child:3")
        run_sql(postgres_url, "INSERT INTO t VALUES (9, 'z')", "TRUNCATE t")
        follow(postgres_url, redis_url)
        assert verified(postgres_url, redis_url)
        assert dump(redis_url) == {b"two:1": {b"v": b"y"}}
        following.drop_slot(postgres_url, redis_url)
    finally:
        run_sql(postgres_url, f"DROP SCHEMA IF EXISTS {other} CASCADE")


# -- partitions

PARTITIONS = """
CREATE TABLE e (at date NOT NULL, n int, v text, PRIMARY KEY (n, at)) PARTITION BY RANGE (at);
CREATE TABLE e_old (v text, gone int, n int NOT NULL, at date NOT NULL, PRIMARY KEY (n, at));
ALTER TABLE e_old DROP gone;
ALTER TABLE e ATTACH PARTITION e_old FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE e_new PARTITION OF e FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY HASH (n);
CREATE TABLE "e new 0" PARTITION OF e_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE "e new 1" PARTITION OF e_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO e SELECT '2025-12-20'::date + n, n, 'v' || n FROM generate_series(1, 30) n;
CREATE TABLE later (at date NOT NULL, n int, v text, PRIMARY KEY (n, at));
INSERT INTO later VALUES ('2027-05-01', 100, 'later');
"""
EVENTS = """
[[key]]
name = "e:{n}:{at}"
type = "hash"
table = "e"
[[key]]
name = "days:{at}"
type = "set"
table = "e"
value = "{n}"
[[key]]
name = "all:{v}"
type = "list"
table = "e"
value = "{n}"
order = ["at", "n"]
[[key]]
name = "all:{v}:by"
type = "sorted_set"
table = "e"
value = "{n}"
score = "at"
""".replace('value = "{n}"\nscore', 'value = "{at}:{n}"\nscore')
ATTACH = "ALTER TABLE e ATTACH PARTITION later FOR VALUES FROM ('2027-01-01') TO (MAXVALUE)"


@pytest.fixture
def partitioned(postgres_url: str) -> str:
    run_sql(postgres_url, PARTITIONS)
    tell_all(postgres_url)
    return postgres_url


@pytest.fixture
def events(partitioned: str, redis_url: str) -> str:
    """A source with a partitioned table that is followed."""
    assert migrate(partitioned, redis_url, model=EVENTS, follow=True)["status"] == "verified"
    return partitioned


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_of_partitions(events: str, redis_url: str, seed: int) -> None:
    """They also go from one partition to another, and the table is emptied as a whole."""
    with Scramble(events, plan_of(events, EVENTS).tables.values(), seed) as writer:
        for round_ in range(4):
            for _ in range(20):
                writer.transaction(truncate=round_ > 1)
            follow(events, redis_url)
            assert verified(events, redis_url)
    run_sql(
        events,
        "INSERT INTO e VALUES ('2026-02-02', 77, 'x')",
        "TRUNCATE e",
        "INSERT INTO e VALUES ('2026-02-03', 77, 'x')",
    )
    assert follow(events, redis_url)["truncated"] == 1
    assert verified(events, redis_url)
    assert as_if_migrated(events, redis_url, EVENTS)


STOPS = {
    "TRUNCATE": (["TRUNCATE e_old"], "e_old of e was emptied alone"),
    "TRUNCATE of what is partitioned itself": (
        ["TRUNCATE e_new"],
        r'"e new 0" and \S*"e new 1" of e was emptied alone',
    ),
    "ATTACH": ([ATTACH], r"later came to e as a partition"),
    "ATTACH, with changes": (
        [ATTACH, "ALTER TABLE later REPLICA IDENTITY FULL", "UPDATE e SET v = 'w'"],
        "later came to e",
    ),
    "DETACH": (["ALTER TABLE e DETACH PARTITION e_old"], "e_old went from e as a partition"),
    "DETACH of one below": (['ALTER TABLE e_new DETACH PARTITION "e new 1"'], '"e new 1" went from e'),
    "DROP": (["DROP TABLE e_old"], "e_old went from e as a partition"),
    "a new one": (
        ["CREATE TABLE more PARTITION OF e FOR VALUES FROM ('2028-01-01') TO ('2029-01-01')"],
        "more came to e",
    ),
    "DETACH, changes, ATTACH": (
        [
            "ALTER TABLE e DETACH PARTITION e_old",
            "DELETE FROM e_old WHERE n = 3",
            "ALTER TABLE e ATTACH PARTITION e_old FOR VALUES FROM (MINVALUE) TO ('2026-01-01')",
        ],
        "e_old came to e and .*e_old went from e",
    ),
}


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("what", STOPS)
def test_what_happens_to_one_partition_stops_it_by_name(
    events: str, redis_url: str, what: str, running: bool
) -> None:
    statements, said = STOPS[what]
    if running:
        process = start(events, redis_url, "follow")
        while not connections.redis(redis_url).exists("migration:lease") and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.3)
        run_sql(events, "UPDATE e SET v = 'before'")
        for statement in statements:
            run_sql(events, statement)
        _, message = process.communicate(timeout=120)
        assert process.returncode == 2
    else:
        run_sql(events, "UPDATE e SET v = 'before'", *statements)
        with pytest.raises(HelpersError) as caught:
            follow(events, redis_url)
        message = str(caught.value)
    assert re.search(said, message), message
    assert "run `migrate --follow` again, which compares all rows" in message
    tell_all(events)
    assert migrate(events, redis_url, model=EVENTS, follow=True)["status"] == "verified"
    run_sql(events, "UPDATE e SET v = 'after'")
    assert follow(events, redis_url)["changes"]["e"] > 0
    assert verified(events, redis_url)
    following.drop_slot(events, redis_url)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            'ALTER TABLE "e new 0" REPLICA IDENTITY DEFAULT',
            r'"e new 0" would not tell the old values .*ALTER TABLE \S+."e new 0" ',
        ),
        ("ALTER TABLE e_old SET UNLOGGED", "e_old is unlogged"),
    ],
)
def test_partitions_that_cannot_be_followed(
    partitioned: str, redis_url: str, statement: str, said: str
) -> None:
    run_sql(partitioned, statement)
    with pytest.raises(HelpersError, match=said):
        migrate(partitioned, redis_url, model=EVENTS, follow=True)
    assert dump(redis_url, b"\0") == {}


def test_a_partition_that_is_a_table_of_the_model_too(partitioned: str, redis_url: str) -> None:
    text = EVENTS + '[[key]]\nname = "old:{n}:{at}"\ntype = "hash"\ntable = "e_old"\n'
    migrate(partitioned, redis_url, model=text, follow=True)
    run_sql(
        partitioned,
        "UPDATE e SET v = v || 1, at = at - 5",
        "INSERT INTO e_old (at, n, v) VALUES ('2020-01-01', 5, 'x')",
    )
    follow(partitioned, redis_url)
    assert verified(partitioned, redis_url)
    run_sql(partitioned, "TRUNCATE e")
    assert follow(partitioned, redis_url)["truncated"] == 2
    assert verified(partitioned, redis_url) and dump(redis_url) == {}
    following.drop_slot(partitioned, redis_url)


def test_models_of_other_tables_share_no_publication(partitioned: str, shaped: str, redis_url: str) -> None:
    migrate(partitioned, redis_url, model=EVENTS, follow=True, prefix="e:")
    migrate(partitioned, redis_url, model=MODEL, follow=True, prefix="t:")
    run_sql(partitioned, "UPDATE e SET v = 'w'", 'UPDATE "Lines" SET what = NULL WHERE doc = 1')
    assert follow(partitioned, redis_url, prefix="e:")["changes"] == {"e": 30}
    following.drop_slot(partitioned, redis_url, prefix="e:")
    assert follow(partitioned, redis_url, prefix="t:")["changes"]['"Lines"'] == 14
    for prefix in ("e:", "t:"):
        assert verification.verify(partitioned, redis_url, prefix=prefix, progress=False)["by_problem"] == {}
    following.drop_slot(partitioned, redis_url, prefix="t:")
