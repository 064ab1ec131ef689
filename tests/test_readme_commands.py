"""The README's commands: each is run.

``run`` is run by test_course.py, the line of the tests by ``.ci/run``. Those of Docker are run
where there is an engine; elsewhere their files and names are checked.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import readme
import yaml

from helpers import settings
from helpers.servers import connections, process, urls

ROOT = settings.project_root()
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


TRIED = {
    readme.line("helpers run"),
    readme.line("tests/requirements.txt"),
    ".venv/bin/python -m helpers up",
    ".venv/bin/jupyter lab notebooks/00_index.ipynb",
    ".venv/bin/python -m helpers down",
    ".venv/bin/jupyter nbconvert --to html notebooks/06_report.ipynb",
    *readme.block("export POSTGRES_URL").splitlines(),
    *readme.block("--follow").splitlines(),
    *readme.block("docker").splitlines(),
    readme.line("not slow"),
}
"""Lines of commands for which there is a test below, in test_course.py or in ``.ci/run``."""


def test_every_command_is_run_by_a_test() -> None:
    assert {line for block in readme.blocks("sh") for line in block.splitlines()} == TRIED


def test_each_of_the_two_is_whole_by_itself(tmp_path: Path) -> None:
    for with_, does in ((" -r requirements.txt", "helpers run"), ("tests/requirements.txt", "pytest -n 3")):
        venv, install, last = readme.line(with_).split(" && ")
        assert install == f".venv/bin/pip install -q -r {with_.removeprefix(' -r ')}"
        assert last.startswith(f".venv/bin/python -m {does}")
    for _ in range(2):  # and may be given again
        made = readme.run(venv, "--without-pip", cwd=tmp_path)
        assert made.returncode == 0 and (tmp_path / ".venv" / "bin" / "python").exists(), made.stderr


def test_ci_runs_the_line_of_the_tests_as_it_stands() -> None:
    asked = re.search(r"^line=\$\((grep .*) README\.md\)$", CI, flags=re.M)
    assert asked and '\nbash -euc "$line' in CI
    found = subprocess.run(
        ["bash", "-c", f"{asked[1]} README.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == readme.line("tests/requirements.txt")


def test_a_first_look_leaves_out_what_is_slow() -> None:
    words = readme.line("not slow").removeprefix(".venv/bin/python -m pytest ")
    assert words == '-m "not slow"'


def test_run_is_what_the_course_is_tested_by() -> None:
    text = (ROOT / "tests" / "test_course.py").read_text(encoding="utf-8")
    assert 'last = readme.line("helpers run").rpartition(" && ")[2]' in text and "readme.run(last, " in text


def test_jupyterlab_opens_the_index() -> None:
    """As root with the word that the README gives, and without opening a browser."""
    up, lab = readme.block("jupyter lab").splitlines()
    started = readme.run(up)
    assert started.returncode == 0 and len(started.stdout.splitlines()) == len(settings.NAMES), started.stderr
    port, token = process.free_port(), secrets.token_hex()
    words = [word.replace(".venv/bin", str(Path(sys.executable).parent)) for word in lab.split()]
    words += ["--no-browser", f"--ServerApp.port={port}", *(["--allow-root"] if os.geteuid() == 0 else [])]
    with subprocess.Popen(words, cwd=ROOT, env={**os.environ, "JUPYTER_TOKEN": token}) as server:
        try:
            until = time.monotonic() + 60
            while not process.listening(port) and server.poll() is None and time.monotonic() < until:
                time.sleep(0.1)
            where = f"http://127.0.0.1:{port}/api/contents/{Path(words[2]).name}?token={token}&content=0"
            with urllib.request.urlopen(where) as reply:
                assert json.load(reply)["type"] == "notebook"
        finally:
            server.send_signal(signal.SIGTERM)


def test_down_stops_and_deletes(tmp_path: Path) -> None:
    own = {"HELPERS_HOME": str(tmp_path / "home")}
    assert readme.run(readme.line("helpers up"), "redis", variables=own).returncode == 0
    stopped = readme.run(readme.line("helpers down"), variables=own)
    assert (stopped.returncode, stopped.stdout) == (0, "stopped: redis\n")
    assert (tmp_path / "home" / "redis" / "data").exists(), "the data stay"
    assert readme.run(readme.line("helpers down"), "--delete", variables=own).returncode == 0
    assert not (tmp_path / "home" / "redis").exists()


def test_the_report_becomes_html(tmp_path: Path) -> None:
    made = readme.run(readme.line("nbconvert"), "--output-dir", str(tmp_path))
    assert made.returncode == 0 and (tmp_path / "06_report.html").stat().st_size > 100_000, made.stderr


def test_a_table_of_your_own(source: str, redis_url: str, tmp_path: Path) -> None:
    first, second, *lines = readme.block("export POSTGRES_URL").splitlines()
    assert re.fullmatch(r"export POSTGRES_URL='postgresql://[^']+'", first)
    assert re.fullmatch(r"export REDIS_URL='rediss://[^']+'", second)
    own = {"POSTGRES_URL": source, "REDIS_URL": redis_url}
    for line in lines:
        done = readme.run(line, variables=own)
        assert done.returncode == 0, done.stderr
    fresh = lines[-1].split()[-1]
    connection = connections.postgres(source)
    try:
        with connection, connection.cursor() as cursor:
            for table in ("users", "products", "activities", "orders"):
                cursor.execute(f"SELECT count(*) FROM {table} UNION SELECT count(*) FROM {fresh}.{table}")
                assert len(cursor.fetchall()) == 1, table
            cursor.execute(f"DROP SCHEMA {fresh} CASCADE")
    finally:
        connection.close()


def test_a_source_that_goes_on_changing(source: str, redis_url: str) -> None:
    own = {"POSTGRES_URL": source, "REDIS_URL": redis_url}
    connection = connections.postgres(source)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        for table in ("users", "products", "activities", "orders"):
            cursor.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        load, *rest = readme.block("--follow").splitlines()
        assert (done := readme.run(load, variables=own)).returncode == 0, done.stderr
        cursor.execute("UPDATE products SET product_name = product_name || ' again'")
        for line in rest:
            assert (done := readme.run(line, variables=own)).returncode == 0, done.stderr
        cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'helpers%'")
        assert cursor.fetchone() == (0,)


def test_the_same_from_python(source: str, redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = readme.blocks("python")
    assert code.count("postgresql://...") == code.count("redis://...") == 3
    exec(code.replace("postgresql://...", source).replace("redis://...", redis_url), {})
    assert capsys.readouterr().out.splitlines()[-1] == "0"
    connection = connections.postgres(source)
    (fresh,) = re.findall(r'schema="(\w+)"', code)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {fresh} CASCADE")
    connection.close()


def test_the_commands_for_compose(tmp_path: Path) -> None:
    copy, *ups = readme.block("docker").splitlines()
    for name in (".env.example", "docker-compose.yml"):
        shutil.copy(ROOT / name, tmp_path)
    assert readme.run(copy, cwd=tmp_path).returncode == 0
    env = (tmp_path / ".env").read_text(encoding="utf-8").replace("_PASSWORD=", "_PASSWORD=chosen")
    (tmp_path / ".env").write_text(env, encoding="utf-8")
    assert set(urls.read_passwords(tmp_path / ".env")) == set(settings.NAMES), "one on each of its lines"
    for up in ups:
        words = up.split()
        assert words[:5] == ["docker", "compose", "up", "--detach", "--wait"]
        assert set(words[5:]) <= set(COMPOSE["services"])
    if readme.run("docker compose version").returncode:
        pytest.skip("no Docker is here to run them: files, names of services and passwords were checked")
    assert readme.run("docker compose config --quiet", cwd=tmp_path).returncode == 0
