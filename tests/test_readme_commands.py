"""The README's commands: each is run.

``run`` is run by test_course.py, ``nbconvert`` by test_nbconvert.py, ``handout`` by test_handout.py, the line
of the tests by ``.ci/run``.
Those of Docker are run where there is an engine; elsewhere their files and names are checked.
"""

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
from migrating import run_sql

from helpers import settings
from helpers.model import declaration as model
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
    ".venv/bin/python -m helpers handout --out handout",
    *readme.block("export POSTGRES_URL").splitlines(),
    *readme.block("--check").splitlines(),
    *readme.block("--follow").splitlines(),
    *readme.block("docker").splitlines(),
    readme.line("not slow"),
}
"""Lines of commands for which there is a test below, or in the files named above."""


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
    assert words == '-n 3 --dist loadfile -m "not slow"'


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
            until = time.monotonic() + 300
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


@pytest.fixture
def shop(postgres_url: str, tmp_path: Path) -> Path:
    """A folder with the model of the shop, whose tables are there with a few rows."""
    (tables,) = readme.blocks("sql")
    (model,) = readme.blocks("toml")
    run_sql(
        postgres_url,
        tables,
        "INSERT INTO customers (name) SELECT 'c' || n FROM generate_series(1, 5) n",
        "INSERT INTO orders (customer_id, placed_at, total, note) SELECT 1 + n % 5, "
        "'2026-01-01'::timestamptz + n * interval '1 hour', n / 7.0, CASE n % 2 WHEN 0 THEN 'note' END "
        "FROM generate_series(1, 40) n",
    )
    (tmp_path / "shop.toml").write_text(model, encoding="utf-8")
    return tmp_path


def in_shop(line: str, shop: Path, source: str, target: str) -> "subprocess.CompletedProcess[str]":
    own = {"POSTGRES_URL": source, "REDIS_URL": target, "PYTHONPATH": str(ROOT)}
    return readme.run(line, variables=own, cwd=shop)


def count(url: str, *tables: str) -> list[int]:
    with connections.postgres(url) as connection, connection.cursor() as cursor:
        found = []
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            found += [number for (number,) in cursor.fetchall()]
    return found


def test_tables_of_your_own(shop: Path, postgres_url: str, redis_url: str) -> None:
    first, second, propose = readme.block("export POSTGRES_URL").splitlines()
    assert re.fullmatch(r"export POSTGRES_URL='postgresql://[^']+'", first)
    assert re.fullmatch(r"export REDIS_URL='rediss://[^']+'", second)
    shown = (shop / "shop.toml").read_text(encoding="utf-8")
    assert (done := in_shop(propose, shop, postgres_url, redis_url)).returncode == 0, done.stderr
    made = (shop / "shop.toml").read_text(encoding="utf-8")
    assert made.partition("\n\n")[2] == shown, "what the page shows is what is proposed"
    check, dry, *lines = readme.block("--check").splitlines()
    done = in_shop(check, shop, postgres_url, redis_url)
    (becomes,) = readme.blocks("text")
    assert (done.returncode, done.stdout.strip()) == (0, becomes.strip()), done.stderr
    assert in_shop(dry, shop, postgres_url, redis_url).returncode == 0
    assert connections.redis(redis_url).dbsize() == 0
    for line in lines:
        done = in_shop(line, shop, postgres_url, redis_url)
        assert done.returncode == 0, done.stderr
    fresh = lines[-1].split()[-1]
    try:
        assert count(postgres_url, f"{fresh}.customers", f"{fresh}.orders") == [5, 40]
    finally:
        run_sql(postgres_url, f"DROP SCHEMA {fresh} CASCADE")


def test_a_source_that_goes_on_changing(shop: Path, postgres_url: str, redis_url: str) -> None:
    for table in ("customers", "orders"):
        run_sql(postgres_url, f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    load, *rest = readme.block("--follow").splitlines()
    assert (done := in_shop(load, shop, postgres_url, redis_url)).returncode == 0, done.stderr
    run_sql(postgres_url, "UPDATE orders SET note = note || ' again', customer_id = 1 WHERE order_id > 30")
    for line in rest:
        assert (done := in_shop(line, shop, postgres_url, redis_url)).returncode == 0, done.stderr
    slots = count(postgres_url, "pg_replication_slots WHERE slot_name LIKE 'helpers%'")
    assert slots == [0]


def test_the_same_from_python(
    shop: Path, postgres_url: str, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = readme.blocks("python")
    assert code.count("postgresql://...") == 4 and code.count("redis://...") == 3
    exec(code.replace("postgresql://...", postgres_url).replace("redis://...", redis_url), {})
    restorable, differences = capsys.readouterr().out.splitlines()
    assert (restorable, differences) == ("True", "0")
    (fresh,) = re.findall(r'schema="(\w+)"', code)
    try:
        assert count(postgres_url, f"{fresh}.customers", f"{fresh}.orders") == [5, 40]
    finally:
        run_sql(postgres_url, f"DROP SCHEMA {fresh} CASCADE")


def test_the_page_tells_every_option_of_a_model() -> None:
    told = {name.strip("`") for name, _ in readme.rows("Tables of your own", "in a model")}
    assert told == {"name", "type", "table"}.union(*model.TYPES.values())


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
