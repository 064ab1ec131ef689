"""The Compose file: valid by the Compose specification, and in agreement with the embedded servers."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import servers, settings
from helpers.errors import HelpersError
from helpers.servers import connections, urls

FILE = settings.project_root() / "docker-compose.yml"
DEFAULT_PORTS = {5432, 6379, 27017, 9042}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return found


@pytest.mark.slow
def test_valid_by_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_same_four_servers_on_loopback_ports_of_their_own(services: dict[str, Any]) -> None:
    assert tuple(services) == settings.NAMES
    for name, service in services.items():
        (published,) = service["ports"]
        host, port, _ = published.split(":")
        assert host == "127.0.0.1" and int(port) == urls.PORTS[name] and int(port) not in DEFAULT_PORTS


@pytest.mark.parametrize(
    "name", ["postgres", "redis", "mongodb", pytest.param("cassandra", marks=pytest.mark.slow)]
)
def test_the_same_version_as_the_embedded_server(name: str, services: dict[str, Any]) -> None:
    running = servers.up([name], progress=False)[name].version
    assert services[name]["image"].rpartition(":")[2] == running


def test_each_is_limited_checked_and_guarded(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["mem_limit"] and service["volumes"]
        assert service["healthcheck"]["test"]
        password = str(service["environment"])
        assert f"${{{urls.VARIABLES[name]}:?" in password, "a password from .env, and no default"


def test_the_example_names_every_password_and_holds_none() -> None:
    lines = (settings.project_root() / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert set(pairs) == set(urls.VARIABLES.values()) and not any(pairs.values())


def test_passwords_are_read_as_compose_reads_them(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# a word\nREDIS_PASSWORD='a-b_c'\nPOSTGRES_PASSWORD=\"x\"\nMONGODB_PASSWORD=\n", encoding="utf-8"
    )
    assert urls.read_passwords(path) == {"redis": "a-b_c", "postgres": "x"}


@pytest.mark.slow
def test_a_port_that_another_program_holds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setitem(urls.PORTS, "redis", port)
        monkeypatch.setattr(urls, "read_passwords", lambda path=None: {"redis": "a"})
        monkeypatch.setattr(connections, "TIMEOUT_S", 0.2)
        with pytest.raises(
            HelpersError, match=rf"redis at 127.0.0.1:{port}: .*another program holds its port"
        ):
            servers.up(["redis"], progress=False)


def test_a_running_stack_is_found_by_its_port_and_password(
    monkeypatch: pytest.MonkeyPatch, redis_server: str
) -> None:
    secret, place = redis_server.removeprefix("redis://:").split("@")
    monkeypatch.setitem(urls.PORTS, "redis", int(place.split(":")[1].split("/")[0]))
    monkeypatch.setattr(urls, "read_passwords", lambda path=None: {"redis": secret})
    server = servers.up(["redis"], progress=False)["redis"]
    assert (server.source, server.running) == ("compose", True)
    monkeypatch.setattr(urls, "read_passwords", dict)
    assert servers.status(["redis"])["redis"].source == "embedded"
