"""``up --cluster``: a cluster that is found again, outlives its processes, and goes with ``down``."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from migrating import migrate

from helpers import servers
from helpers.servers import connections, process, redis_cluster


def cli(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "helpers", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "HELPERS_HOME": str(home)},
    )


def told(home: Path, *words: str) -> dict[str, Any]:
    done = cli(home, *words, "--json", "--show-secrets")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_found_again_mended_and_stopped(source: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert redis_cluster.NAME not in told(home, "status")
    try:
        up = told(home, "up", "redis", "--cluster")
        assert list(up) == ["redis", "redis-cluster"] and up["redis"]["url"] != up["redis-cluster"]["url"]
        made = up["redis-cluster"]
        assert made == told(home, "status")["redis-cluster"] and made["running"]
        assert "CLUSTER" not in cli(home, "status").stderr and made["url"] not in cli(home, "status").stdout
        assert migrate(source, made["url"])["status"] == "verified"
        with connections.redis(made["url"]) as client:
            nodes = client.execute_command("CLUSTER NODES").values()
            assert sorted("master" in node["flags"] for node in nodes) == [False] * 3 + [True] * 3
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
        folder = home / "redis-cluster"
        assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.glob("*/password")))
        records = [process.read_started(path) for path in sorted(folder.glob("?"))]
        pids = [record.pid for record in records if record]
        assert len(pids) == 6
        for pid in pids[1:]:  # the machine was switched off, as far as they know
            os.kill(pid, signal.SIGKILL)
        again = told(home, "up", "redis", "--cluster")["redis-cluster"]
        assert migrate(source, again["url"])["caught_up"] == {}
        stopped = cli(home, "down")
        assert (stopped.returncode, stopped.stdout) == (0, "stopped: redis, redis-cluster\n")
        assert re.search(r"^redis-cluster not running +embedded$", cli(home, "status").stdout, flags=re.M)
        url = told(home, "up", "redis", "--cluster")["redis-cluster"]["url"]
        assert migrate(source, url)["caught_up"] == {}
    finally:
        assert cli(home, "down", "--delete").returncode == 0
    assert not (home / "redis-cluster").exists()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_a_start_that_was_killed_begins_anew(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HELPERS_HOME", str(tmp_path))
    folder = tmp_path / redis_cluster.NAME
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "password").write_text("x")
    try:
        assert servers.up_cluster().running
    finally:
        assert redis_cluster.stop(delete=True)
    assert servers.cluster_status() is None
