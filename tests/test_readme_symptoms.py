"""The README's symptoms: each is brought about, and what is quoted must be what is said."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jupyter_server
import nbformat
import pip
import pytest
import readme
from filelock import FileLock

from helpers import servers, settings
from helpers.errors import HelpersError
from helpers.report import notebooks
from helpers.servers import connections, embedded, jars, mongodb, process, urls


def jars_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", f"http://127.0.0.1:{process.free_port()}")
    jars.ensure(tmp_path / "jars")


def no_avx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t: fpu sse4_2\n", encoding="utf-8")
    monkeypatch.setattr(mongodb, "PROCESSOR", tmp_path / "cpuinfo")
    servers.up(["mongodb"], progress=False)


def no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.redis, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    servers.up(["redis"], progress=False)


def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(embedded.redis, "command", lambda folder: code)
    servers.up(["redis"], progress=False)


def kernel_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = nbformat.v4.new_code_cell("import os; os.kill(os.getpid(), 9)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    notebooks.run_kernel(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {}, title="a", progress=False)


def port_of_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setitem(urls.PORTS, "redis", other.getsockname()[1])
        monkeypatch.setattr(urls, "read_passwords", lambda path=None: {"redis": "a"})
        monkeypatch.setattr(connections, "TIMEOUT_S", 0.2)
        servers.up(["redis"], progress=False)


def no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.redis, "CONFIGURATION", "port {port}\nno-such-setting 1\n")
    servers.up(["redis"], progress=False)


def hanging_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOCK_S", 0.1)
    with FileLock(settings.home() / "redis.lock"):
        servers.up(["redis"], progress=False)


def password_in_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections.redis("redis://:a/b@127.0.0.1:1")


def no_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HELPERS_HOME", str(tmp_path / "file" / "home"))
    servers.up(["redis"], progress=False)


OURS: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "cassandra: … cannot be fetched": jars_without_a_network,
    "this processor has no AVX": no_avx,
    "cannot be started here: the package … is not installed": no_package,
    "the server was killed while starting": killed,
    "Kernel died": kernel_killed,
    "another program holds its port": port_of_compose,
    "the server ended while starting": no_start,
    "another process has been starting it": hanging_start,
    "the URL is malformed": password_in_a_url,
    "state folder … set HELPERS_HOME to a folder you can write to": no_state_folder,
}
THEIRS = ("requires a different Python", "No module named 'helpers'", "Running as root is not recommended")
UNSEEN = {"Killed", "Exited (137)", "docker compose ps", "port is already allocated"}
"""What a shell and Docker say: there is no Docker here to hear it from."""


def test_every_symptom_is_brought_about() -> None:
    quoted = {code for row in readme.rows("When something goes wrong", "you see") for code in codes(row[0])}
    assert quoted == {*OURS, *THEIRS, *UNSEEN}


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("HELPERS_HOME", str(tmp_path / "home"))
        yield
        servers.down(delete=True)


@pytest.mark.slow
@pytest.mark.parametrize("symptom", OURS)
def test_a_symptom_is_quoted_as_it_is_told(
    symptom: str, own_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(HelpersError) as caught:
        OURS[symptom](tmp_path, patched)
    assert re.search(re.escape(symptom).replace("…", ".*"), str(caught.value)), str(caught.value)


def test_what_is_written_for_a_password_is_understood(redis_server: str) -> None:
    """With every character that the README has written otherwise in its password."""
    row = next(row for row in readme.rows("When something goes wrong", "you see") if "URL is" in row[0])
    plain, written = (code.split() for code in codes(row[1]))
    password, escaped = "".join(plain), "".join(written)
    client = connections.redis(redis_server)
    client.acl_setuser("escaped", enabled=True, passwords=[f"+{password}"], commands=["+@all"], keys=["*"])
    try:
        place = redis_server.rpartition("@")[2]
        assert connections.redis(f"redis://escaped:{escaped}@{place}").acl_whoami() == "escaped"
    finally:
        client.acl_deluser("escaped")
        client.close()


def test_other_programs_say_what_is_quoted(tmp_path: Path) -> None:
    for package, symptom in ((pip, THEIRS[0]), (jupyter_server, THEIRS[2])):
        (folder,) = map(Path, package.__path__)
        texts = (path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
        assert any(symptom in text for text in texts), package.__name__
    elsewhere = [sys.executable, "-I", "-S", "-c", "import helpers"]  # as from a Python without the package
    done = subprocess.run(elsewhere, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert THEIRS[1] in done.stderr
