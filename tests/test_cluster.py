"""A Redis Cluster as target: the same content, the same refusals, the same exit codes as one server."""

import re

import bound
import pytest
from clustered import HOSTILE, empty, held
from following import prepare
from migrating import dump, migrate, run_sql

from helpers.errors import HelpersError
from helpers.migration import following, restoration, verification
from helpers.migration.tables import Tables
from helpers.servers import connections
from helpers.servers.redis_cluster import Cluster
from helpers.target import redo, rehearsal, routing

PREFIXES = ("", "shop:", "a{b}c:", "o{pen:", "{user}:")


@pytest.mark.parametrize("rows", [1000, 20_000])
def test_it_holds_what_one_server_holds(source: str, redis_url: str, nodes: Cluster, rows: int) -> None:
    run_sql(source, HOSTILE)
    url = nodes.urls[1]
    alone, result = migrate(source, redis_url), migrate(source, url, batch_rows=rows)
    for name in (
        "status",
        "rows_read",
        "rows_rejected",
        "rejects_by_reason",
        "rows_loaded_now",
        "differences",
    ):
        assert result[name] == alone[name], name
    assert result["status"] == "verified" and result["checkpoint"] == "migration:{state}"
    assert held(nodes) == dump(redis_url)
    assert verification.verify(source, nodes.urls[2], progress=False)["differences"] == 0
    assert all(node.ask("DBSIZE") for node in nodes.nodes)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_slot_that_keys_may_have_gets_a_mark(prefix: str) -> None:
    marks = redo.mark_keys(prefix)
    assert all(routing.slot(key) == slot for slot, key in marks.items())
    keys = [f"{prefix}user:{n}".encode() for n in range(20_000)]
    assert {routing.slot(key) for key in keys} <= marks.keys()
    assert len(marks) == (1 if routing.tagged(prefix) else routing.SLOTS)
    assert routing.slot(redo.log_key(prefix)) == routing.slot(f"{prefix}migration:{{state}}".encode())


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_and_options(source: str, redis_url: str, nodes: Cluster, prefix: str) -> None:
    url = nodes.urls[0]
    plan = migrate(source, url, prefix=prefix, dry_run=True)
    assert (plan["would"], held(nodes, b"\0")) == ("load", {}) and plan["memory_bytes"] > 1000
    with connections.redis(nodes.masters()[0].url) as client:
        theirs = "theirs"
        while nodes.masters()[0].ask("CLUSTER KEYSLOT", theirs) not in nodes.slots(nodes.masters()[0])[0]:
            theirs += "x"
        client.set(theirs, 1)
    for option in ({}, {"replace": True}, {"restart": True}):
        assert migrate(source, url, prefix=prefix, batch_rows=4, **option)["status"] == "verified"
    migrate(source, redis_url, prefix=prefix)
    assert held(nodes) == {**dump(redis_url), theirs.encode(): b"1"}
    assert migrate(source, url, prefix=prefix, dry_run=True, replace=True)["would_remove"] == 34
    migrate(source, url, prefix=prefix, flushdb=True)
    assert held(nodes) == dump(redis_url)


def test_an_empty_tag_in_the_prefix_is_refused(source: str, nodes: Cluster) -> None:
    with pytest.raises(HelpersError, match=r"--prefix 'a\{\}' has empty braces"):
        migrate(source, nodes.urls[0], prefix="a{}")
    assert held(nodes, b"\0") == {}


def test_what_differs_is_found_and_mended(source: str, nodes: Cluster) -> None:
    url = nodes.urls[0]
    migrate(source, url)
    before = held(nodes)
    with nodes.client() as client:
        client.hset("user:1", "email", "x")
        client.rpush("user:2:activities", "extra")
        client.lset("user:1:activities", 0, "wrong")
        client.zadd("user:1:orders", {"999": 1})
        client.delete("product:1", "user:3:orders")
        client.hset("order:777", "quantity", 1)
        client.set("product:3:orders", "string")
    found = verification.verify(source, url, progress=False)["by_problem"]
    assert found == {
        "altered field": 1, "extra element": 1, "wrong element": 1, "extra member": 1, "missing key": 2,
        "extra key": 1, "wrong type": 1,
    }  # fmt: skip
    result = migrate(source, url)
    assert (result["caught_up"], result["status"]) == (found, "verified")
    assert held(nodes) == before


def test_the_way_back(source: str, nodes: Cluster) -> None:
    run_sql(source, HOSTILE)
    migrate(source, nodes.urls[0])
    try:
        result = restoration.restore(nodes.urls[1], source, schema="cluster_again", progress=False)
        assert result["rows"] == {"users": 9, "products": 5, "activities": 12_032, "orders": 14}
        with connections.postgres(source) as connection, connection.cursor() as cursor:
            for table, more in (("users", " WHERE user_id <> 101"), ("products", ""), ("orders", "")):
                cursor.execute(f"SELECT * FROM {table}{more} EXCEPT SELECT * FROM cluster_again.{table}")
                assert cursor.fetchall() == [], table
        connection.close()
    finally:
        run_sql(source, "DROP SCHEMA IF EXISTS cluster_again CASCADE")


def test_a_slot_that_moves_stops_the_way_back(
    source: str, nodes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(source, nodes.urls[0])
    make, slot = Tables.make, routing.slot(b"user:1:activities")
    (giver,) = (node for node in nodes.masters() if any(slot in part for part in nodes.slots(node)))
    taker = nodes.nodes[nodes.nodes.index(giver) - 1]

    def move(self: Tables) -> None:
        make(self)
        nodes.move(range(slot, slot + 1), giver, taker, lambda what: None)

    monkeypatch.setattr(Tables, "make", move)
    with pytest.raises(HelpersError, match=r"user:1:activities changed while it was read"):
        restoration.restore(nodes.urls[0], source, schema="cluster_moved", progress=False)
    with connections.postgres(source) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('cluster_moved')")
        assert cursor.fetchone() == (None,)
    connection.close()


def test_foreign_keys_stop_it_wherever_they_are(source: str, nodes: Cluster) -> None:
    for number in (1, 2, 3, 4):
        empty(nodes)
        with nodes.client() as client:
            client.hset(f"order:{number}", "quantity", 1)
        before = held(nodes, b"\0")
        for options in ({}, {"replace": True}, {"dry_run": True}):
            with pytest.raises(HelpersError, match=f"no migration wrote .such as order:{number}"):
                migrate(source, nodes.urls[0], **options)
        assert held(nodes, b"\0") == before


def test_what_is_wrong_is_one_line(source: str, nodes: Cluster) -> None:
    url = nodes.urls[0]
    secret = url.split(":")[2].split("@")[0]
    cases = {
        url.replace("/0", "/1"): r"SELECT is not allowed in cluster mode; a cluster has only database 0",
        url.replace(secret, "wrong"): r"invalid username-password pair",
        re.sub(r"@.*", "@127.0.0.1:1/0", url): r"redis at 127\.0\.0\.1:1: .*refused",
    }
    for target, said in cases.items():
        with pytest.raises(HelpersError, match=said) as caught:
            migrate(source, target)
        assert "\n" not in str(caught.value) and secret not in str(caught.value)
    assert held(nodes, b"\0") == {}


def test_rights_that_lack_are_named_together(source: str, nodes: Cluster) -> None:
    for node in nodes.nodes:
        node.ask("ACL", "SETUSER", "mover", "on", ">pw", "~*", "+@all", "-client|kill", "-evalsha", "-zadd")
    url = re.sub(r"//:[^@]*@", "//mover:pw@", nodes.urls[0])
    with pytest.raises(HelpersError) as caught:
        migrate(source, url)
    lacks = "may not run EVALSHA, CLIENT|KILL and ZADD; nothing was written; allow it by `ACL SETUSER mover "
    assert f"{lacks}+evalsha +client|kill +zadd`" in str(caught.value)
    assert held(nodes, b"\0") == {}


@pytest.mark.parametrize("follow", [False, True])
def test_no_other_rights_are_needed_than_are_tried(source: str, nodes: Cluster, follow: bool) -> None:
    sent = rehearsal.commands(bound.course("p:"), flushdb=True, clustered=True, follow=follow)
    tried = {rehearsal.right(words) for words in sent}
    keys = [f"~p:{name}:*" for name in ("user", "product", "order", "migration")]
    for node in nodes.nodes:
        rights = [f"+{name.lower()}" for name in (tried | {*rehearsal.AROUND, "MEMORY|USAGE"})]
        node.ask("ACL", "SETUSER", "least", "reset", "on", ">pw", *keys, "-@all", *rights)
    url = re.sub(r"//:[^@]*@", "//least:pw@", nodes.urls[0])
    assert migrate(source, url, prefix="p:", dry_run=True)["would"] == "load"
    for options in ({}, {"replace": True}, {"flushdb": True}):
        assert migrate(source, url, prefix="p:", batch_rows=4, **options)["status"] == "verified"
    if follow:
        prepare(source)
        assert migrate(source, url, prefix="p:", follow=True)["status"] == "verified"
        run_sql(source, "UPDATE activities SET user_id = 3; DELETE FROM users WHERE user_id = 2")
        assert following.follow(source, url, prefix="p:", until_idle_s=0, shown=False)["transactions"] == 1
        following.drop_slot(source, url, prefix="p:")


def test_memory_is_judged_node_by_node(source: str, nodes: Cluster) -> None:
    run_sql(source, HOSTILE)
    slot = routing.slot(b"user:-7:activities:by_time")
    (full,) = (node for node in nodes.masters() if any(slot in part for part in nodes.slots(node)))
    used = int(full.ask("INFO", "memory")["used_memory"])
    full.ask("CONFIG", "SET", "maxmemory", used + 600_000)
    try:
        said = migrate(source, nodes.urls[0], dry_run=True)["warnings"]
        assert any(f"are left below maxmemory of redis at {full.address}" in line for line in said), said
        with pytest.raises(HelpersError, match=f"redis at {full.address}.*OOM.*raise maxmemory"):
            migrate(source, nodes.urls[0], batch_rows=500)
    finally:
        full.ask("CONFIG", "SET", "maxmemory", 0)
    assert migrate(source, nodes.urls[0])["status"] == "verified"
