"""Failures as a user meets them: one clear line with the remedy; the next command mends what is left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import psutil
import pymongo
import pytest
from migrating import ask, dump, run_sql, until, without_bars

from helpers import cli, servers, settings
from helpers.errors import HelpersError, os_refusal, usable
from helpers.migration import verification
from helpers.relational import population, schema
from helpers.report import course, notebooks
from helpers.servers import connections, process, scratch, urls

MANY = ("--activities", "400000")
"""Rows that take long enough to be disturbed."""
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root may mount a file system of its own"
)


def start(*words: str, **variables: str) -> "subprocess.Popen[str]":
    """A command in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "helpers", *words],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(command: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Exit code and lines on stderr, without what progress bars leave there."""
    _, errors = command.communicate(timeout=120)
    return command.returncode, without_bars(errors).splitlines()


def call(*words: str, **variables: str) -> tuple[int, list[str]]:
    return ended(start(*words, **variables))


def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, **variables: str
) -> tuple[int, list[str]]:
    """As ``call``, in this process, which is quicker."""
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        code = cli.main(words)
    return code, capsys.readouterr().err.splitlines()


def fails(told: tuple[int, list[str]], *words: str) -> None:
    """It ended with 2 and one line that holds the words."""
    code, lines = told
    assert (code, len(lines)) == (2, 1), lines
    for word in words:
        assert word in lines[0], lines


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB, which is full."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("root may not mount here (a container without CAP_SYS_ADMIN)")
    try:
        fill(place)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> None:
    with contextlib.suppress(OSError), (place / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@as_root
@pytest.mark.parametrize("name", settings.NAMES)
def test_a_full_disk_under_the_servers(name: str, small_disk: Path) -> None:
    fails(call("up", name, HELPERS_HOME=str(small_disk)), "No space left", str(small_disk), "HELPERS_HOME")
    assert servers.status([name])[name] is not None
    (small_disk / "ballast").unlink()
    if name == "redis":  # small enough
        code, _ = call("up", name, HELPERS_HOME=str(small_disk))
        assert code == 0, "what a full disk left half made is made anew"
        assert call("down", "--delete", HELPERS_HOME=str(small_disk))[0] == 0


@as_root
def test_a_full_disk_is_known_before_anything_is_measured(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, results = partial(here, monkeypatch, capsys), str(small_disk / "results")
    for command in ("bench", "ladder", "crashes"):
        fails(run(command, HELPERS_RESULTS=results), "No space left", results, "set HELPERS_RESULTS")
    fails(run("report", "--out", str(small_disk / "out")), "No space left", "choose another --out")


@as_root
def test_a_disk_that_fills_up_under_postgres(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=120m,mode=0755", str(small_disk)], check=True)
    home = {"HELPERS_HOME": str(small_disk)}
    assert call("up", "postgres", **home)[0] == 0
    try:
        fill(small_disk)
        told = call("populate", **home)
        fails(told, "populate stopped", "No space left on device", "nothing was written")
        (small_disk / "ballast").unlink()
        assert call("populate", **home)[0] == 0
    finally:
        call("down", "--delete", **home)


def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below a file not even root can make a folder."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    run, place = partial(here, monkeypatch, capsys), str(tmp_path / "file" / "folder")
    for command in ("bench", "ladder", "crashes"):
        fails(run(command, HELPERS_RESULTS=place), place, "set HELPERS_RESULTS")
    for command in ("report", "run"):
        fails(run(command, "--out", place), place, "choose another --out")
    for command in ("up", "status", "down", "populate", "migrate", "verify"):
        told = run(command, HELPERS_HOME=place)
        fails(told, place, "set HELPERS_HOME")
        assert told[1][0].count(place) == 1, "said once, not once a server"


def test_what_the_system_refuses_is_told_with_the_remedy(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device")
    assert os_refusal(full, tmp_path, "move") == f"{tmp_path}: No space left on device; free space, or move"
    denied = PermissionError(13, "Permission denied", "/x")
    assert os_refusal(denied, tmp_path, "move") == "/x: Permission denied; move"
    assert os_refusal(ConnectionResetError(104, "Connection reset by peer")) == "Connection reset by peer"
    assert not list(usable(tmp_path / "new", "move").iterdir())


STRANGERS = [
    ("postgres", "cassandra"),
    ("postgres", "redis"),
    ("redis", "postgres"),
    ("redis", "cassandra"),
    ("mongodb", "redis"),
    ("mongodb", "cassandra"),
    ("cassandra", "postgres"),
]
SCHEMES = {"postgres": "postgresql", "redis": "redis", "mongodb": "mongodb", "cassandra": "cassandra"}


@pytest.mark.parametrize(("own", "other"), STRANGERS)
def test_a_url_that_leads_to_another_kind_of_server(
    own: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TIMEOUT_S", 1)
    monkeypatch.setitem(connections.KEEP_ALIVE, "connect_timeout", 2)  # the least that libpq takes
    port = urlsplit(servers.up([other], progress=False)[other].url or "").port
    monkeypatch.setenv(f"{own.upper()}_URL", f"{SCHEMES[own]}://u:hidden@127.0.0.1:{port}/")
    with pytest.raises(HelpersError) as caught:
        servers.up([own], progress=False)
    message = str(caught.value)
    assert message.startswith(f"{own} at 127.0.0.1:{port}: ") and "\n" not in message
    assert "check host and port of the URL" in message and "hidden" not in message


def test_an_older_server_is_refused_by_its_version(postgres_url: str) -> None:
    """The oldest that is taken is 13; this one calls itself 12."""
    from helpers.source import snapshot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "OLDEST", 19)
        with pytest.raises(HelpersError, match=r"PostgreSQL 18 has no .*; 19 or newer is needed"):
            snapshot.Source(postgres_url)


def test_without_a_network_the_proxy_is_named_and_its_password_is_not(tmp_path: Path) -> None:
    port = process.free_port()
    told = call(
        "up",
        "cassandra",
        HELPERS_HOME=str(tmp_path),
        https_proxy=f"http://user:hidden@127.0.0.1:{port}",
        MAVEN_REPOSITORY_URL="https://u:secret@maven.invalid/maven2",
    )
    fails(told, f"through the proxy http://user:***@127.0.0.1:{port} (Connection refused)", "CASSANDRA_URL")
    assert "hidden" not in told[1][0] and "secret" not in told[1][0]


@pytest.fixture
def filled(postgres_url: str) -> str:
    population.populate(postgres_url, users=300, activities=60_000, progress=False)
    return postgres_url


def interrupt(command: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Ctrl-C: the terminal sends it to the whole group."""
    os.killpg(command.pid, signal.SIGINT)
    return ended(command)


def struck(
    words: Sequence[str], begun: Callable[[], Any], undo: Callable[[], object] = lambda: None
) -> tuple[int, list[str]]:
    """What a command says when it is interrupted after something has begun, which may be over in a moment.

    Args:
        words: of the command.
        begun: whether it has.
        undo: takes away what a command left that was quicker; then it is tried again.
    """
    for _ in range(20):
        command = start(*words)
        until(lambda command=command: begun() or command.poll() is not None)  # type: ignore[misc]
        code, lines = interrupt(command) if command.poll() is None else ended(command)
        if code:
            return code, lines
        undo()
    raise AssertionError(f"it was always quicker: {words}")


def busy(url: str) -> bool:
    return bool(ask(url, "SELECT 1 FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"))


def test_ctrl_c_while_populating_leaves_the_tables_as_they_were(postgres_url: str) -> None:
    population.populate(postgres_url, progress=False)
    words = ("populate", "--source", postgres_url, "--replace", *MANY)
    code, lines = struck(words, lambda: copying(postgres_url))
    assert (code, len(lines)) == (130, 1), lines
    assert "interrupted; all of it is there or nothing" in lines[0]
    assert ask(postgres_url, "SELECT count(*) FROM activities") == [(20,)]


def copying(url: str) -> bool:
    return bool(ask(url, "SELECT 1 FROM pg_stat_progress_copy"))


def test_postgres_ends_while_rows_come_in(postgres_url: str) -> None:
    """psycopg2 prints a traceback then, and knows only that its connection is closed."""
    command = start("populate", "--source", postgres_url, *MANY)
    until(lambda: copying(postgres_url))
    run_sql(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_copy WHERE pid <> pg_backend_pid()",
    )
    fails(ended(command), "populate stopped (terminating connection", "nothing was written", "helpers up")
    assert call("populate", "--source", postgres_url)[0] == 0


def test_ctrl_c_in_commands_that_write_nothing(filled: str, redis_url: str, tmp_path: Path) -> None:
    ways = ("--source", filled, "--target", redis_url)
    assert call("migrate", *ways)[0] == 0
    before = dump(redis_url)
    watched = {
        ("verify", *ways): lambda: busy(filled),
        ("report", "--out", str(tmp_path / "out")): (tmp_path / "out").exists,
    }
    for words, begun in watched.items():
        code, lines = struck(words, begun)
        assert (code, len(lines)) == (130, 1), lines
        assert lines[0].startswith(f"helpers {words[0]}: interrupted; ")
    assert dump(redis_url) == before
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_ctrl_c_while_restoring_leaves_no_schema(filled: str, redis_url: str) -> None:
    assert call("migrate", "--source", filled, "--target", redis_url)[0] == 0
    name = f"back_{os.getpid()}"
    words = ("restore", "--source", redis_url, "--target", filled, "--schema", name)
    code, lines = struck(
        words, lambda: copying(filled), lambda: run_sql(filled, f'DROP SCHEMA "{name}" CASCADE')
    )
    assert (code, len(lines)) == (130, 1) and "the schema is there whole or not at all" in lines[0], lines
    connection = connections.postgres(filled)
    try:
        assert schema._marked(connection, name) is None
    finally:
        connection.close()


def test_ctrl_c_while_servers_start(tmp_path: Path) -> None:
    home = {"HELPERS_HOME": str(tmp_path)}
    command = start("up", "postgres", "redis", **home)
    until((tmp_path / "postgres" / "data").exists)
    code, lines = interrupt(command)
    assert (code, len(lines)) == (130, 1) and "the same command starts the others" in lines[0], lines
    try:
        assert call("up", "postgres", "redis", **home)[0] == 0
    finally:
        assert call("down", "--delete", **home)[0] == 0
    assert not [
        one for one in psutil.process_iter(["cwd"]) if (one.info["cwd"] or "").startswith(str(tmp_path))
    ]


def scratch_record(owner: int) -> process.Started | None:
    """The throw-away server of a process, once it has one."""
    for path in settings.home().glob("scratch-*"):
        found = process.read_started(path, process.OWNER)
        if found and found.pid == owner:
            return process.read_started(path)
    return None


def test_throw_away_servers_of_a_killed_command_go_with_the_next(
    postgres_server: str, tmp_path: Path
) -> None:
    command = start("ladder", HELPERS_RESULTS=str(tmp_path))
    record = until(partial(scratch_record, command.pid))
    command.kill()
    command.communicate()
    assert record.alive()
    with scratch.redis() as other:
        process.sweep(settings.home())
        assert psutil.pid_exists(other.pid), "what belongs to a living process stays"
    assert not record.alive() and scratch_record(command.pid) is None


def test_ctrl_c_while_measuring_leaves_no_server_behind(postgres_server: str, tmp_path: Path) -> None:
    command = start("ladder", HELPERS_RESULTS=str(tmp_path))
    record = until(partial(scratch_record, command.pid))
    code, lines = interrupt(command)
    assert (code, len(lines)) == (130, 1) and "what was being measured is not saved" in lines[0], lines
    assert (
        not record.alive()
        and not list(tmp_path.iterdir())
        and servers.status(["postgres"])["postgres"].running
    )


def write_notebook(path: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, path)
    return path


def test_a_killed_kernel_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bad = write_notebook(tmp_path / "bad.ipynb", "1", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(HelpersError) as caught:
        notebooks.run_kernel(bad, tmp_path / "out.ipynb", {}, title="bad", progress=False)
    message = str(caught.value)
    assert message.startswith("bad.ipynb: its kernel did not start, or was killed") and "\n" not in message
    assert "memory" in message and str(tmp_path / "out.ipynb") in message
    assert not capfd.readouterr().err, "the kernel's own words are kept apart"
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].execution_count == 1


def test_two_runs_on_one_database_are_kept_apart(
    postgres_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders, but one set of servers: each would take the other's rows away."""
    monkeypatch.setattr(servers, "up", lambda **options: {})
    (tmp_path / "results").mkdir()
    (tmp_path / course.LOCK).touch()
    (tmp_path / "results" / "earlier.json").write_text("{}", encoding="utf-8")
    with (
        course.alone_there(),
        pytest.raises(HelpersError, match=r"another run uses this database; .*HELPERS_HOME"),
    ):
        course.run(out=tmp_path, progress=False)
    assert (tmp_path / "results" / "earlier.json").exists()
    with course.alone_there():
        pass


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--users", "0"), "--users 0: give a whole number from 1"),
        (("--orders", "some"), "--orders: invalid int value: 'some'"),
        (("--seed", "3", "--publish", "--profile", "full"), "leave out --seed"),
    ],
)
def test_rows_that_a_run_cannot_make_are_refused(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    fails(call("run", "--out", str(tmp_path / "out"), *words), told)
    assert not (tmp_path / "out").exists()


def test_a_run_passes_the_rows_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: str
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    given: dict[str, Any] = {}
    monkeypatch.setattr(servers, "up", lambda **options: {})
    monkeypatch.setattr(course.building, "write", lambda *_: tmp_path / "report.pdf")

    def run_kernel(source: Path, target: Path, parameters: dict[str, Any], **_: Any) -> None:
        given[source.stem] = parameters
        write_notebook(target, "1")

    monkeypatch.setattr(notebooks, "run_kernel", run_kernel)
    course.run(out=tmp_path / "out", rows={"users": 300, "seed": 7}, progress=False)
    assert given["02_population"] == {"profile": "quick", "users": 300, "seed": 7}
    assert given["05_migration"] == {"profile": "quick"}


def test_compose_servers_and_embedded_ones_give_the_same_result(
    redis_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers on the ports and with the passwords of Compose: nothing tells here who started them."""
    found = {}
    moved = {}
    with scratch.postgres() as postgres, scratch.redis() as redis:
        run_sql(postgres.url.rpartition("/")[0] + "/postgres", "SELECT 1")
        for source in ("embedded", "compose"):
            if source == "compose":
                secrets = {one.name: urlsplit(one.url).password for one in (postgres, redis)}
                monkeypatch.setattr(urls, "read_passwords", partial(dict, secrets))
                for one in (postgres, redis):
                    monkeypatch.setitem(urls.PORTS, one.name, one.port)
                ways = {
                    name: server.url for name, server in servers.up(list(secrets), progress=False).items()
                }
                assert {server.source for server in servers.status(list(secrets)).values()} == {"compose"}
            else:
                ways = {"postgres": postgres_url, "redis": redis_url}
            population.populate(ways["postgres"], progress=False)
            result = json.loads(migrated(ways["postgres"] or "", ways["redis"] or ""))
            found[source] = {
                key: result[key] for key in ("status", "rows_read", "rows_checked", "differences")
            }
            moved[source] = dump(ways["redis"] or "")
    assert found["compose"] == found["embedded"] and found["compose"]["status"] == "verified"
    assert moved["compose"] == moved["embedded"]


def migrated(source: str, target: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "migrate", "--json"],
        env={**os.environ, "POSTGRES_URL": source, "REDIS_URL": target},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_server_that_sleeps_and_wakes_is_waited_for(name: str) -> None:
    """A laptop's lid is closed while rows move, and opened again."""
    with scratch.postgres() as source, scratch.redis() as target:
        population.populate(source.url, activities=15_000, progress=False)
        command = start(
            "migrate", "--json", "--batch-rows", "20", POSTGRES_URL=source.url, REDIS_URL=target.url
        )
        client = connections.redis(target.url)
        until(lambda: client.exists("migration:state"))
        sleeper = psutil.Process((source if name == "postgres" else target).pid)
        family = [sleeper, *sleeper.children(recursive=True)]
        for member in family:
            member.suspend()
        time.sleep(2)
        assert command.poll() is None
        for member in family:
            member.resume()
        output, errors = command.communicate(timeout=120)
        assert command.returncode == 0, errors
        assert json.loads(output)["differences"] == 0


def test_a_server_that_sleeps_is_told_to_a_new_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TIMEOUT_S", 1)
    with scratch.redis() as server:
        psutil.Process(server.pid).suspend()
        try:
            with pytest.raises(HelpersError, match="whether that server hangs or is asleep"):
                connections.redis(server.url, socket_timeout=1)
        finally:
            psutil.Process(server.pid).resume()
        connections.redis(server.url).close()


@pytest.mark.parametrize("words", [("migrate", "--prefix"), ("verify", "--prefix"), ("restore", "--schema")])
def test_a_name_that_is_no_text_is_refused(words: tuple[str, ...], redis_server: str) -> None:
    fails(call(*words, os.fsdecode(b"\xff")), "UTF-8")


def test_an_interrupt_before_anything_began() -> None:
    """Even imports take a moment."""
    code = """
import builtins, runpy
true = builtins.__import__
def interrupted(name, *more, **named):
    if name == "helpers.cli":
        raise KeyboardInterrupt
    return true(name, *more, **named)
builtins.__import__ = interrupted
runpy.run_module("helpers", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "helpers: interrupted; nothing had begun\n")


def test_a_driver_s_error_that_nobody_expected_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = process.free_port()
    client: Any = pymongo.MongoClient(f"mongodb://127.0.0.1:{port}", serverSelectionTimeoutMS=100)
    monkeypatch.setattr(verification, "verify", lambda *_, **__: client.admin.command("ping"))
    fails(here(monkeypatch, capsys, "verify"), f"mongodb: 127.0.0.1:{port}: ", "helpers status", "helpers up")
    client.close()
    assert connections.unexpected(ValueError("a fault of our own, which keeps its traceback")) is None
