"""What is known before any server is asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import settings
from helpers.errors import HelpersError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@127.0.0.1:5/d", "postgresql://u:***@127.0.0.1:5/d"),
        ("redis://:secret@127.0.0.1:6/0", "redis://:***@127.0.0.1:6/0"),
        ("redis://127.0.0.1:6/0", "redis://127.0.0.1:6/0"),
        ("redis://:se@cret@127.0.0.1:6/0", "redis://:***@127.0.0.1:6/0"),
        ("redis://:se/cret@127.0.0.1:6/0", "redis://:***@127.0.0.1:6/0"),
        ("redis://:se?cret@127.0.0.1:6/0", "redis://:***@127.0.0.1:6/0"),
        ("mongodb://h:1,[::1]:2/d?user=u@x", "mongodb://h:1,[::1]:2/d?user=u@x"),
        ("unix:///run/redis.sock?password=secret&db=1", "unix:///run/redis.sock?password=***&db=1"),
        ("unix://u:secret@/run/redis.sock", "unix://u:***@/run/redis.sock"),
        ("postgresql://?service=x&password=secret", "postgresql://?service=x&password=***"),
        ("host=127.0.0.1 port=5 password=secret", "host=127.0.0.1 port=5 password=***"),
        (r"password='s e\'cret' host=h", "password=*** host=h"),
    ],
)
def test_redact_hides_the_password_and_nothing_else(url: str, shown: str) -> None:
    assert settings.redact(url) == shown


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:secret@127.0.0.1:5/d", "127.0.0.1:5"),
        ("host=127.0.0.1 port=5 password=secret", "127.0.0.1:5"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("unix://u:secret@/run/redis.sock?db=1", "/run/redis.sock"),
        ("rediss://u:secret@cache.example:6380/1?ssl_cert_reqs=none", "cache.example:6380"),
        ("redis://:sec/ret@[::1]:6379", "[::1]:6379"),
        ("mongodb://u:secret@a:1,b:2/?x=y", "a:1,b:2"),
        ("postgresql:///d?host=/run/postgresql", "/run/postgresql:5432"),
        ("postgresql://?service=shop", "service shop"),
        ("service=shop", "service shop"),
        ("dbname=d", "local:5432"),
        ("postgresql://u@a:1,b:2/d", "a:1,b:2"),
    ],
)
def test_address_is_for_messages(url: str, place: str) -> None:
    assert settings.address(url) == place


def test_address_follows_the_environment_as_libpq_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGPORT", "5433")
    assert settings.address("postgresql:///d") == settings.address("dbname=d") == "db.example:5433"
    monkeypatch.setenv("PGSERVICE", "shop")
    assert settings.address("dbname=d") == "service shop"


@pytest.mark.parametrize("url", ["redis://:a%2Fb@h", "unix:///s?password=a%2Fb", "host=h password='a/b'"])
def test_secrets_are_known_as_they_stand_and_as_they_are_meant(url: str) -> None:
    assert "a/b" in settings.secrets(url)


def test_home_is_private_and_may_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELPERS_HOME", str(tmp_path / "a" / "b"))
    assert settings.home() == tmp_path / "a" / "b"
    assert settings.home().stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HELPERS_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(HelpersError, match="HELPERS_HOME"):
        settings.home()


def test_importing_the_command_line_does_no_work(tmp_path: Path) -> None:
    heavy = "{'psycopg2', 'pandas', 'cassandra', 'redis'}"
    code = f"import sys, helpers.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HELPERS_HOME": str(tmp_path / "none")},
    )
    assert done.stdout.strip() == "[]" and not (tmp_path / "none").exists()


def test_a_profile_that_is_none_is_named_with_those_there_are() -> None:
    assert settings.of_profile({"quick": 1, "full": 2}, "full") == 2
    with pytest.raises(HelpersError, match=r"^profile 'slow' is not one of quick, full$"):
        settings.of_profile({"quick": 1, "full": 2}, "slow")
