"""The command line: exit codes, one clear line, JSON alone on stdout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import cli, settings
from helpers.servers import connections, process

COMMANDS = (
    "up",
    "status",
    "down",
    "run",
    "populate",
    "model",
    "migrate",
    "follow",
    "verify",
    "restore",
    "bench",
    "ladder",
    "crashes",
    "report",
)


def call(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "helpers", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **variables},
        check=False,
    )


def here(capsys: pytest.CaptureFixture[str], *words: str) -> subprocess.CompletedProcess[str]:
    """As ``call``, in this process, which is quicker."""
    try:
        code: Any = cli.main(words)
    except SystemExit as ended:
        code = ended.code
    return subprocess.CompletedProcess(words, code, *capsys.readouterr())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frobnicate",),
        ("up", "oracle"),
        ("migrate", "--batch-rows", "many"),
        ("migrate", "--batch-rows", "0"),
        ("migrate", "--workers", "-1"),
        ("populate", "--users", "-1"),
        ("populate", "--activities", "0"),
        ("populate", "--source", "nonsense"),
        ("model", "--source", "nonsense"),
        ("model", "--check", "no/such/file"),
        *((command, "--model", "no/such/file") for command in ("migrate", "verify", "follow")),
        ("restore", "--schema", "x", "--model", "no/such/file"),
        ("restore",),
        ("run", "--publish"),
        ("report", "--results", "no/such/folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    done = here(capsys, *words)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not done.stdout


@pytest.mark.parametrize("command", ["migrate", "verify", "populate"])
def test_an_unreachable_source_is_named_without_its_password(command: str, redis_server: str) -> None:
    port = process.free_port()
    done = call(command, "--source", f"postgresql://u:hidden@127.0.0.1:{port}/d", "--json")
    assert done.returncode == 2 and not done.stdout
    assert f"127.0.0.1:{port}" in done.stderr and "hidden" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_json_is_alone_on_stdout_and_without_passwords(redis_server: str) -> None:
    done = call("up", "redis", "--json")
    shown = json.loads(done.stdout)
    assert set(shown["redis"]) == {"url", "version", "source", "running"}
    secret = (settings.home() / "redis" / "password").read_text(encoding="utf-8")
    assert secret not in done.stdout + done.stderr
    assert secret in call("up", "redis", "--json", "--show-secrets").stdout
    status = json.loads(call("status", "--json").stdout)
    assert set(status) == set(settings.NAMES)


def test_populate_migrate_verify(postgres_url: str, redis_url: str) -> None:
    ways = ("--source", postgres_url, "--target", redis_url)
    made = call("populate", "--source", postgres_url, "--json")
    assert made.returncode == 0, made.stderr
    again = call("populate", "--source", postgres_url)
    assert again.returncode == 2 and "--replace" in again.stderr, "rows are never doubled or dropped unasked"
    moved = call("migrate", *ways, "--json")
    assert moved.returncode == 0, moved.stderr
    result = json.loads(moved.stdout)
    assert result["rows_read"] == {"users": 20, "products": 15, "activities": 20, "orders": 20}
    assert sum(result["rows_rejected"].values()) == 0
    checked = call("verify", *ways, "--json")
    assert checked.returncode == 0 and json.loads(checked.stdout)["differences"] == 0


def test_a_difference_is_exit_1(postgres_url: str, redis_url: str) -> None:
    ways = ("--source", postgres_url, "--target", redis_url)
    assert call("populate", "--source", postgres_url).returncode == 0
    assert call("migrate", *ways).returncode == 0
    client = connections.redis(redis_url)
    client.hset("user:1", "email", "someone@else")
    client.close()
    checked = call("verify", *ways)
    assert checked.returncode == 1 and "user:1" in checked.stdout + checked.stderr


def test_a_rejected_row_is_exit_1(postgres_url: str, redis_url: str) -> None:
    assert call("populate", "--source", postgres_url).returncode == 0
    connection = connections.postgres(postgres_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO activities (user_id, activity_type, activity_date) VALUES (1, NULL, now())"
        )
    connection.close()
    moved = call("migrate", "--source", postgres_url, "--target", redis_url, "--json")
    assert moved.returncode == 1, moved.stderr
    result = json.loads(moved.stdout)
    assert result["rows_rejected"]["activities"] == 1 and sum(result["rejects_by_reason"].values()) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no key"),
        ("[[key]", "no TOML"),
        (
            '[[key]]\nname = "u:{user_id}"\ntype = "hash"\ntable = "users"\ncolumns = 1',
            "unknown option 'columns'",
        ),
        ('[[key]]\nname = "u:{id}"\ntype = "hash"\ntable = "users"', "table users has no column 'id'"),
        ('[[key]]\nname = "u:{username}"\ntype = "hash"\ntable = "users"', "name does not hold a unique key"),
        ('[[key]]\nname = "u"\ntype = "list"\ntable = "people"\nvalue = "x"', "no table people"),
    ],
)
def test_a_bad_model_is_one_line_and_nothing_is_written(
    source: str, redis_url: str, tmp_path: Path, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    ways = ("--source", source, "--target", redis_url)
    for words in (("migrate", *ways), ("migrate", *ways, "--dry-run"), ("model", "--source", source)):
        model = "--check" if words[0] == "model" else "--model"
        done = here(capsys, *words, model, str(path))
        assert done.returncode == 2 and not done.stdout and len(done.stderr.splitlines()) == 1, done.stderr
        assert why in done.stderr and str(path) in done.stderr
    client = connections.redis(redis_url)
    assert client.dbsize() == 0
    client.close()


def test_the_model_is_that_of_the_migration(source: str, redis_url: str, tmp_path: Path) -> None:
    """Another one is refused by name; none need be given."""
    own, other = tmp_path / "own.toml", tmp_path / "other.toml"
    text = '[[key]]\nname = "u:{user_id}"\ntype = "hash"\ntable = "users"\n'
    own.write_text(text, encoding="utf-8")
    other.write_text(text.replace("u:", "v:"), encoding="utf-8")
    ways = ("--source", source, "--target", redis_url)
    moved = call("migrate", *ways, "--model", str(own), "--json")
    assert moved.returncode == 0 and json.loads(moved.stdout)["rows_read"] == {"users": 6}
    back = ("--source", redis_url, "--target", source, "--schema", "cli_again")
    for words in (("verify", *ways), ("migrate", *ways), ("restore", *back)):
        done = call(*words, "--model", str(other))
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        assert "model" in done.stderr
    assert call("verify", *ways).returncode == 0
    assert call("verify", *ways, "--model", str(own)).returncode == 0
    assert call("restore", *back).returncode == 0
    with connections.postgres(source) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cli_again.users; ")
        assert cursor.fetchall() == [(6,)]
        cursor.execute("DROP SCHEMA cli_again CASCADE")
