"""Another program beside ours, on a real server: what it may see, what it leaves, what is said without it."""

import json
import shutil
from dataclasses import asdict
from typing import Any

import jsonschema
import pytest
import redis as redis_py
from comparison_records import data

from helpers import results
from helpers.comparison import crosscheck
from helpers.comparison.schemas import CROSS_CHECK
from helpers.errors import HelpersError
from helpers.servers import connections, scratch

US = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
HEADER = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",'
    '"max_latency_ms"\n'
)
SMALL: dict[str, Any] = {"rounds": 3, "requests": 160}
there = pytest.mark.skipif(shutil.which(crosscheck.TOOL) is None, reason="redis-benchmark is not installed")


@pytest.fixture(scope="module")
def server():
    with scratch.redis("appendonly no") as running:
        yield running


def users(server):
    client = connections.redis(server.url, decode_responses=True)
    try:
        return client.acl_users()
    finally:
        client.close()


def tool(folder, body, monkeypatch):
    """A program of the tool's name, first on PATH."""
    path = folder / crosscheck.TOOL
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@there
def test_both_sides_are_measured_in_turns(server):
    found = crosscheck.run(server.url, **SMALL)
    part = found["redis"]
    jsonschema.validate(part, CROSS_CHECK)
    assert json.loads(json.dumps(found)) == found
    assert part["server_version"] == server.version
    assert len(part["turns"]) == part["rounds"] == 3
    for which in ("one_client", "many_clients"):
        for side in ("ours_us", "theirs_us"):
            p50, p99 = (part[which][side][name]["value"] for name in ("p50", "p99"))
            assert 1 < p50 <= p99 < 5e6
        ours, theirs = part[which]["ours_us"]["p50"]["value"], part[which]["theirs_us"]["p50"]["value"]
        ratio = part[which]["ratio"]["p50"]
        assert ratio["low"] <= ratio["value"] <= ratio["high"]
        assert ratio["value"] == pytest.approx(ours / theirs, rel=1e-6)
    echo = part["one_client"]["echo_us"]["p50"]["value"]
    assert part["one_client"]["theirs_to_echo"]["value"] == pytest.approx(
        part["one_client"]["theirs_us"]["p50"]["value"] / echo, rel=1e-6
    )
    assert users(server) == ["default"]
    lines = crosscheck.describe(found)
    assert lines[0].startswith("redis, one client: median of PING ") and "3 rounds" in lines[0]
    assert lines[1].startswith("redis, 16 clients: ")
    assert [line.split(":")[0] for line in lines[2:]] == ["mongodb", "cassandra"]


@there
def test_no_password_is_on_the_command_line_and_the_user_may_only_ping(server, monkeypatch):
    benchmark, seen = crosscheck._benchmark, []

    def watched(store, command):
        seen.append(command)
        user = command[command.index("--user") + 1]
        other = redis_py.Redis(
            **{name: store.client.get_connection_kwargs()[name] for name in ("host", "port")},
            username=user,
            password="any",
        )
        assert other.ping()
        for refused in (
            ("GET", "key"),
            ("SET", "key", "1"),
            ("INFO",),
            ("ACL", "LIST"),
            ("PUBLISH", "c", "m"),
        ):
            with pytest.raises(redis_py.exceptions.NoPermissionError):
                other.execute_command(*refused)
        other.close()
        return benchmark(store, command)

    monkeypatch.setattr(crosscheck, "_benchmark", watched)
    crosscheck.run(server.url, rounds=2, requests=1600)
    secret = server.url.split("@")[0].rpartition(":")[2]
    assert len(secret) > 10
    assert len(seen) == 4
    assert not any(secret in word for command in seen for word in command)


def test_without_the_tool_it_says_so(server, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = crosscheck.run(server.url)
    assert found["redis"] == {
        "not measured": "redis-benchmark is not on PATH (Debian's package redis-tools has it)"
    }
    assert found["mongodb"] == {"not measured": "mongoperf is not on PATH"}
    assert crosscheck.describe(found)[2] == "cassandra: not compared: cassandra-stress is not on PATH"
    for name in ("mongoperf", "cassandra-stress"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    found = crosscheck.run(server.url)
    assert found["mongodb"]["not measured"].startswith("mongoperf is not run: ")
    assert found["cassandra"]["not measured"].startswith("cassandra-stress is not run: ")


def test_the_temporary_user_is_removed_after_a_failure(server, monkeypatch, tmp_path):
    tool(tmp_path, "echo WARNING: nothing >&2; echo 'it broke' >&2; exit 1", monkeypatch)
    with pytest.raises(HelpersError, match="redis-benchmark: it broke"):
        crosscheck.run(server.url, **SMALL)
    assert users(server) == ["default"]


def test_a_user_who_may_not_make_users_is_refused(server, monkeypatch, tmp_path):
    tool(tmp_path, "exit 1", monkeypatch)
    admin = connections.redis(server.url)
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-acl")
    host = server.url.rpartition("@")[2]
    try:
        with pytest.raises(HelpersError, match=r"no temporary user for redis-benchmark .*ACL SETUSER"):
            crosscheck.run(f"redis://reader:word@{host}", **SMALL)
        assert set(users(server)) == {"default", "reader"}
        admin.execute_command("ACL", "SETUSER", "reader", "+acl|setuser")
        with pytest.raises(HelpersError, match=r"the temporary user cross-check-\w+ \(PING only\) stays"):
            crosscheck.run(f"redis://reader:word@{host}", **SMALL)
    finally:
        admin.execute_command("ACL", "DELUSER", *[name for name in users(server) if name != "default"])
        admin.close()


@there
def test_a_server_that_dies_ends_it(monkeypatch):
    monkeypatch.setattr(crosscheck, "PATIENCE_S", 2)
    with scratch.redis("appendonly no") as server:
        benchmark = crosscheck._benchmark

        def kill_first(store, command):
            server.kill()
            return benchmark(store, command)

        monkeypatch.setattr(crosscheck, "_benchmark", kill_first)
        with pytest.raises(HelpersError, match=r"redis at 127\.0\.0\.1:\d+: stopped answering"):
            crosscheck.run(server.url, **SMALL)


def test_the_tool_is_told_where_the_server_is_and_no_secret():
    assert crosscheck.options("redis://user:word@localhost:7000/3") == ["-h", "localhost", "-p", "7000"]
    assert crosscheck.options("redis://[::1]") == ["-h", "::1", "-p", "6379"]
    assert crosscheck.options("unix://user:word@/run/redis.sock?db=1") == ["-s", "/run/redis.sock"]
    assert crosscheck.options("rediss://user:word@localhost:7000") is None


def test_the_figures_are_read_from_the_columns_by_name():
    found = crosscheck.parse(HEADER + '"PING","12738.85","0.071","0.016","0.079","0.119","0.207","0.503"\n')
    assert found == {"p50": 79.0, "p95": 119.0, "p99": 207.0, "per_s": 12738.85}
    for old in ("", '"PING","12738.85"\n', HEADER):
        with pytest.raises(HelpersError, match=r"redis-tools 6\.2"):
            crosscheck.parse(old)
    with pytest.raises(HelpersError, match="resolution"):
        crosscheck.parse(HEADER + '"PING","12738.85","0.071","0.000","0.000","0.119","0.207","0.503"\n')
    with pytest.raises(HelpersError, match="resolution"):  # so few requests that they took no time
        crosscheck.parse(HEADER + '"PING","inf","0.071","0.016","0.079","0.119","0.207","0.503"\n')


def test_it_is_added_to_a_saved_comparison_and_nothing_else_changes(server, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HelpersError, match="not a readable result"):
        crosscheck.run(server.url, tmp_path)
    results.save("comparison", data(US), profile="quick", folder=tmp_path)
    before = results.load(tmp_path)["comparison"]
    found = crosscheck.run(server.url, tmp_path)
    after = results.load(tmp_path)["comparison"]
    assert after.data == {**json.loads(json.dumps(before.data)), "cross_check": found}
    assert {**asdict(after), "data": None} == {**asdict(before), "data": None}
    old = data(US)
    for row in old["open_loop"]:
        del row["latency_hdr"]
    results.save("comparison", old, profile="quick", folder=tmp_path)
    with pytest.raises(HelpersError, match=r"not a comparison of this version .*latency_hdr"):
        crosscheck.run(server.url, tmp_path)
    assert "cross_check" not in results.load(tmp_path).require("comparison")
