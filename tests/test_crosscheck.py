"""Other programs beside ours, on real servers: what they ask, see and leave, and what is said without
them.
"""

import json
import shutil
import stat
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from typing import Any

import jsonschema
import psutil
import pytest
import redis as redis_py
from comparison_records import data

from helpers import results, settings
from helpers.comparison import crosscheck, programs
from helpers.comparison.schemas import CROSS_CHECK
from helpers.errors import HelpersError
from helpers.servers import connections, scratch

US = {"postgres": 200.0, "redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
SMALL: dict[str, Any] = {"rounds": 2, "requests": 160}
ALL = {name: [p.name for p in programs.PROGRAMS if name in p.sends] for name in US}


def needs(name):
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def server():
    with scratch.redis("appendonly no") as running:
        yield running


@pytest.fixture(scope="module")
def urls(server, postgres_server, mongodb_url, cassandra_url):
    found = {"redis": server.url, "postgres": postgres_server}
    return found | {"mongodb": mongodb_url, "cassandra": cassandra_url}


@pytest.fixture
def watched(monkeypatch):
    """What programs were started with, and who could read their files."""
    run, seen = programs.Program._run, []

    def look(self, *words, **variables):
        secrets = settings.secrets(self.store.url)
        assert max(map(len, secrets)) > 8
        assert stat.S_IMODE(self.folder.stat().st_mode) == 0o700
        for path in self.folder.rglob("*"):
            if any(secret in path.read_text("utf-8") for secret in secrets):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not [word for word in words if any(secret in word for secret in secrets)]
        seen.append((self.name, words))
        return run(self, *words, **variables)

    monkeypatch.setattr(programs.Program, "_run", look)
    return seen


def redis_only(url, **how):
    return crosscheck.run({"redis": url}, names=["redis"], **(SMALL | how))


def users(server):
    client = connections.redis(server.url, decode_responses=True)
    try:
        return client.acl_users()
    finally:
        client.close()


def left():
    """The programs' folders that are still there."""
    return list(settings.home().glob("cross-check-*"))


def tool(folder, name, body, monkeypatch, path="/usr/bin:/bin"):
    """A program of that name, first on PATH."""
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{path}")


def _schemas(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'user_activity_comparison'")
        return cursor.fetchall()


@contextmanager
def another(name, url):
    """Leaves something of somebody else; gives a question whether it is the only thing there."""
    with ExitStack() as stack:
        if name == "redis":
            client = stack.enter_context(connections.redis(url, decode_responses=True))
            client.set("another's", "1")
            yield lambda: client.keys("*") == ["another's"]
        elif name == "mongodb":
            client = stack.enter_context(connections.mongodb(url))
            client["ycsb"]["another"].replace_one({"_id": 1}, {}, upsert=True)
            stack.callback(client.drop_database, "ycsb")
            yield lambda: client["ycsb"].list_collection_names() == ["another"]
        elif name == "postgres":
            connection = stack.enter_context(closing(connections.postgres(url)))
            connection.autocommit = True
            yield lambda: not _schemas(connection)
        else:
            session = stack.enter_context(connections.cassandra_session(url))
            asked = "SELECT keyspace_name FROM system_schema.keyspaces"
            yield lambda: "user_activity_comparison" not in [row[0] for row in session.execute(asked)]


@pytest.mark.parametrize("name", list(US))
def test_both_sides_are_measured_in_turns_and_nothing_is_left(name, urls, watched):
    with another(name, urls[name]) as alone:
        found = crosscheck.run(urls, names=[name], **SMALL)
        assert alone() and not left()
    jsonschema.validate(found, CROSS_CHECK)
    assert json.loads(json.dumps(found)) == found
    assert sorted(one["program"] for one in found["programs"]) == sorted(ALL[name])
    there = [program for program in ALL[name] if shutil.which(program)]
    if not there:
        pytest.skip(f"none of {ALL[name]} is on PATH")
    assert {program for program, _ in watched} == set(there)
    for row in found["rows"]:
        ours, theirs = (row[side]["p50"]["value"] for side in ("ours_us", "theirs_us"))
        assert 1 < ours < 5e7 and 1 < theirs < 5e7
        assert row["ratio"]["p50"]["value"] == pytest.approx(ours / theirs, rel=1e-6)
        assert 1 < row["ours_per_s"]["value"] < 1e6 and 1 < row["theirs_per_s"]["value"] < 1e6
    for program in there:
        rows = [row for row in found["rows"] if row["program"] == program]
        assert {row["clients"] for row in rows} == {1, 4, 16}
        assert {"read", "insert"} <= {row["operation"] for row in rows}
    first = [turn["side"] for turn in found["turns"] if (turn["operation"], turn["clients"]) == ("read", 4)]
    assert first == ["ours", *there, *there[:1], *there[1:], "ours"]  # who begins changes
    assert len(crosscheck.describe(found)) == len(found["rows"]) + len(ALL[name]) - len(there)


@needs("redis-benchmark")
def test_redis_is_asked_for_what_is_there(server):
    client = connections.redis(server.url)
    client.config_resetstat()
    found = redis_only(server.url)
    assert client.info("stats")["keyspace_misses"] == 0
    calls = {name: of["calls"] for name, of in client.info("commandstats").items()}
    each = SMALL["rounds"] * 3 * SMALL["requests"]
    assert calls["cmdstat_hgetall"] == 2 * each
    if shutil.which("go-ycsb"):
        assert calls["cmdstat_hmget"] == each
    echo = next(row for row in found["rows"] if "echo_us" in row)
    assert (echo["operation"], echo["clients"]) == ("null", 1)
    assert echo["theirs_to_echo"]["value"] == pytest.approx(
        echo["theirs_us"]["p50"]["value"] / echo["echo_us"]["p50"]["value"], rel=1e-6
    )
    client.close()


@needs("redis-benchmark")
def test_the_temporary_user_may_do_nothing_else(server, monkeypatch):
    run, asked = programs.Program._run, []

    def look(self, *words, **variables):
        where = {name: self.store.client.get_connection_kwargs()[name] for name in ("host", "port")}
        user = words[words.index("--user") + 1] if "--user" in words else None
        if user is not None:
            other = redis_py.Redis(**where, username=user, password="any")
            assert other.ping() and other.hgetall("comparison:user:1") == {}
            for refused in (
                *(("GET", "comparison:user:1"), ("HGETALL", "user:1"), ("HSET", "user:1", "a", "b")),
                *(("SET", "key", "1"), ("INFO",), ("ACL", "LIST"), ("PUBLISH", "c", "m"), ("FLUSHDB",)),
            ):
                with pytest.raises(redis_py.exceptions.NoPermissionError):
                    other.execute_command(*refused)
            other.close()
            asked.append(user)
        return run(self, *words, **variables)

    with connections.redis(server.url) as killed:
        killed.execute_command("ACL", "SETUSER", "cross-check-left", "on", "nopass")
    monkeypatch.setattr(programs.Program, "_run", look)
    redis_only(server.url, rounds=1)
    assert len(asked) == 9 and len(set(asked)) == 1
    assert users(server) == ["default"]


def test_without_programs_it_says_so_and_asks_no_server(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = crosscheck.run(dict.fromkeys(US, "nobody://nowhere"), **SMALL)
    jsonschema.validate(found, CROSS_CHECK)
    assert not found["rows"]
    lines = crosscheck.describe(found)
    assert lines == [
        f"{one['store']} by {one['program']}: not compared: {one['not measured']}"
        for one in found["programs"]
    ]
    assert "redis by redis-benchmark: not compared: redis-benchmark is not on PATH (Debian" in "\n".join(
        lines
    )
    assert len(lines) == sum(map(len, ALL.values()))


@needs("redis-benchmark")
def test_no_load_is_sent_to_another_machine_or_by_tls(server, monkeypatch):
    monkeypatch.setattr(crosscheck, "LOOPBACK", ())
    (reason,) = {
        one["not measured"] for one in redis_only(server.url)["programs"] if "redis-" in one["program"]
    }
    assert reason.startswith("the server at 127.0.0.1:") and "not on this machine" in reason
    assert "TLS" in programs.RedisBenchmark.unfit("rediss://localhost:7000")
    assert programs.RedisBenchmark.unfit("redis://localhost:7000") is None
    assert "TLS" in programs.GoYcsb.unfit("rediss://localhost:7000")


def test_everything_is_removed_after_a_failure_and_an_interrupt(server, monkeypatch, tmp_path):
    tool(tmp_path, "redis-benchmark", "echo WARNING: nothing >&2; echo 'it broke' >&2; exit 1", monkeypatch)

    def interrupted(self, turn):
        raise KeyboardInterrupt

    with another("redis", server.url) as alone:
        found = redis_only(server.url)
        jsonschema.validate(found, CROSS_CHECK)
        (reason,) = [one["not measured"] for one in found["programs"] if one["program"] == "redis-benchmark"]
        assert reason == "redis-benchmark failed: it broke"
        assert not found["rows"] and "redis-benchmark" not in {turn["side"] for turn in found["turns"]}
        assert users(server) == ["default"] and alone() and not left()
        monkeypatch.setattr(programs.RedisBenchmark, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            redis_only(server.url)
        assert users(server) == ["default"] and alone() and not left()


def test_a_program_that_hangs_is_ended_with_all_it_started(server, monkeypatch, tmp_path):
    tool(tmp_path, "redis-benchmark", "sleep 98765 & wait", monkeypatch)
    monkeypatch.setattr(programs, "PATIENCE_S", 2)
    monkeypatch.setattr(programs.RedisBenchmark, "version", lambda self: "1")
    assert "redis-benchmark failed: not done after 2 s" in "".join(
        crosscheck.describe(redis_only(server.url))
    )
    time.sleep(0.2)
    assert not [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "98765"]]


def test_what_a_killed_process_left_is_removed_by_the_next(monkeypatch, tmp_path):
    stale, fresh = (settings.home() / f"cross-check-{pid}-x" for pid in (2**22 + 1, psutil.Process().pid))
    for folder in (stale, fresh):
        folder.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    crosscheck.run(**SMALL)
    assert left() == [fresh]
    fresh.rmdir()


def test_a_user_who_may_not_make_users_is_refused(server, monkeypatch, tmp_path):
    tool(tmp_path, "redis-benchmark", "exit 1", monkeypatch)
    admin = connections.redis(server.url)
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-acl")
    url = f"redis://reader:word@{server.url.rpartition('@')[2]}"
    try:
        with pytest.raises(HelpersError, match=r"no temporary user for redis-benchmark .*ACL SETUSER"):
            redis_only(url)
        assert set(users(server)) == {"default", "reader"}
        admin.execute_command("ACL", "SETUSER", "reader", "+acl|setuser")
        with pytest.raises(HelpersError, match=r"the temporary user cross-check-\w+ \(.*\) stays"):
            redis_only(url)
    finally:
        admin.execute_command("ACL", "DELUSER", *[name for name in users(server) if name != "default"])
        admin.close()


@needs("redis-benchmark")
def test_a_server_that_dies_ends_it(monkeypatch):
    with scratch.redis("appendonly no") as server:
        run = programs.Program._run

        def kill_first(self, *words, **variables):
            if self.name == "redis-benchmark":
                server.kill()
            return run(self, *words, **variables)

        monkeypatch.setattr(programs, "PATIENCE_S", 2)
        monkeypatch.setattr(programs.Program, "_run", kill_first)
        with pytest.raises(HelpersError, match=r"redis at 127\.0\.0\.1:\d+: .*see that the server runs"):
            redis_only(server.url)


def test_it_is_added_to_a_saved_comparison_and_nothing_else_changes(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HelpersError, match="not a readable result"):
        crosscheck.run(folder=tmp_path)
    results.save("comparison", data(US), profile="quick", folder=tmp_path)
    before = results.load(tmp_path)["comparison"]
    found = crosscheck.run(folder=tmp_path)
    after = results.load(tmp_path)["comparison"]
    assert after.data == {**json.loads(json.dumps(before.data)), "cross_check": found}
    assert {**asdict(after), "data": None} == {**asdict(before), "data": None}
    old = data(US)
    for row in old["open_loop"]:
        del row["latency_hdr"]
    results.save("comparison", old, profile="quick", folder=tmp_path)
    with pytest.raises(HelpersError, match=r"not a comparison of this version .*latency_hdr"):
        crosscheck.run(folder=tmp_path)
    assert "cross_check" not in results.load(tmp_path).require("comparison")
