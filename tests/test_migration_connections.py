"""Servers are found as users of libpq and redis-py expect: TLS, users, sockets, services, password files."""

import asyncio
import re
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from migrating import dump, make_course, migrate
from proxy import proxy
from psycopg2.extensions import parse_dsn

from helpers.errors import HelpersError
from helpers.migration import verification
from helpers.servers import connections, scratch


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the authority's certificate."""
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server at 127.0.0.1 shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def everything(source: str, target: str) -> None:
    """Plan, migrate and verify."""
    assert migrate(source, target, dry_run=True)["would"] == "load"
    assert migrate(source, target)["status"] == "verified"
    assert verification.verify(source, target, progress=False)["differences"] == 0


# -- Redis


@pytest.fixture
def encrypted(redis_url: str, tls: ssl.SSLContext) -> Iterator[str]:
    """The URL of the same database over TLS."""
    with proxy(redis_url, tls=tls) as port:
        yield re.sub(r":\d+/", f":{port}/", redis_url).replace("redis://", "rediss://")


def test_tls_and_users(source: str, redis_url: str, encrypted: str, trusted: Path) -> None:
    client = connections.redis(redis_url)
    client.acl_setuser("mover", enabled=True, passwords=["+p@ss:w/rd"], keys=["*"], commands=["+@all"])
    try:
        url = re.sub("//:[^@]+@", "//mover:p%40ss%3Aw%2Frd@", encrypted)
        everything(source, f"{url}?ssl_ca_certs={trusted}")
        assert b"user:1" in dump(redis_url)
        with pytest.raises(HelpersError) as caught:
            migrate(source, url.replace("w%2Frd", "wrong") + f"?ssl_ca_certs={trusted}")
        assert "wrong" not in str(caught.value)
    finally:
        client.acl_deluser("mover")


def test_a_certificate_that_is_not_trusted_is_named(source: str, encrypted: str, trusted: Path) -> None:
    with pytest.raises(HelpersError, match=r"CERTIFICATE_VERIFY_FAILED.*ssl_ca_certs=FILE"):
        migrate(source, encrypted)
    elsewhere = f"{encrypted.replace('127.0.0.1', 'localhost')}?ssl_ca_certs={trusted}"
    with pytest.raises(HelpersError, match=r"CERTIFICATE_VERIFY_FAILED.*localhost"):
        migrate(source, elsewhere)
    assert migrate(source, f"{elsewhere}&ssl_check_hostname=False")["status"] == "verified"


@pytest.mark.parametrize("style", ["?password={0}&db=3", None])
def test_a_unix_socket_of_redis(source: str, style: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "redis.sock"
        with scratch.redis(f"unixsocket {path}", "unixsocketperm 700") as server:
            secret = connections.redis(server.url).connection_pool.connection_kwargs["password"]
            url = f"unix://{path}{style.format(secret)}" if style else f"unix://:{secret}@{path}?db=3"
            everything(source, url)
            assert b"user:1" in dump(re.sub(r"/\d+$", "/3", server.url))
            with pytest.raises(HelpersError) as caught:
                migrate(source, url.replace(secret, "wrong-secret"))
            assert str(caught.value).startswith(f"redis at {path}: ")
            assert "wrong-secret" not in str(caught.value)


# -- PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL with the four tables that also listens at a unix socket in ``server.sockets``."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        with scratch.postgres(f"unix_socket_directories = '{folder}'") as running:
            make_course(running.url)
            running.sockets = folder
            yield running


URL = "postgresql://{user}:{password}@{host}:{port}/{dbname}"
FORMS = {
    "url": URL,
    "url of several hosts": "postgresql://{user}:{password}@127.0.0.1:1,{host}:{port}/{dbname}",
    "words": "host={host} port={port} dbname={dbname} user={user} password='{password}'",
    "url of a socket": "postgresql://{user}:{password}@/{dbname}?host={sockets}&port={port}",
    "words of a socket": "host={sockets} port={port} dbname={dbname} user={user} password={password}",
    "word service": "service=shop",
    "url service": "postgresql://?service=shop",
    "service and more": "postgresql:///{dbname}?service=shop&application_name=mine",
    "password file": "postgresql://{user}@{host}:{port}/{dbname}",
    "password file in words": "host={host} port={port} dbname={dbname} user={user} passfile={passfile}",
    "environment": "dbname={dbname}",
    "options": URL + "?options=-cwork_mem%3D8MB&sslmode=prefer&connect_timeout=3",
}


@pytest.mark.parametrize("form", FORMS)
def test_postgres_is_found_in_every_form(
    server: Any, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    parts = {**parse_dsn(server.url), "sockets": server.sockets, "passfile": str(tmp_path / "passwords")}
    service = "".join(f"{name}={parts[name]}\n" for name in ("host", "port", "user", "dbname", "password"))
    (tmp_path / "services").write_text(f"[shop]\n{service}", encoding="utf-8")
    (tmp_path / "passwords").write_text("*:*:*:*:{password}\n".format(**parts), encoding="utf-8")
    (tmp_path / "passwords").chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    if form == "password file":
        monkeypatch.setenv("PGPASSFILE", parts["passfile"])
    if form == "environment":
        for name in ("host", "port", "user", "password"):
            monkeypatch.setenv(f"PG{name.upper()}", parts[name])
    everything(FORMS[form].format(**parts), redis_url)


def test_messages_say_where_and_hide_the_password(
    server: Any, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").write_text("[shop]\nhost=127.0.0.1\nport=1\npassword=hidden\n", encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    for url, place in {
        "service=shop": "service shop",
        "postgresql:///x?service=none": "service none",
        f"postgresql:///x?host={server.sockets}&user=a&password=hidden": f"{server.sockets}:5432",
        "host=127.0.0.1 port=1 password=hidden": "127.0.0.1:1",
    }.items():
        with pytest.raises(HelpersError) as caught:
            migrate(url, redis_url)
        assert str(caught.value).startswith(f"postgres at {place}: ")
        assert "hidden" not in str(caught.value) and "\n" not in str(caught.value)


class Postgres:
    """Answers libpq's wish for TLS as a PostgreSQL with TLS does, then passes everything on."""

    WISH = bytes.fromhex("0000000804d2162f")  # SSLRequest, in the protocol's "Message Formats"

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    async def greet(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        assert await source.readexactly(8) == self.WISH
        sink.write(b"S")
        await sink.start_tls(self.context)


def test_tls_of_postgres(server: Any, redis_url: str, trusted: Path, tls: ssl.SSLContext) -> None:
    with proxy(server.url, greet=Postgres(tls).greet) as port:
        url = re.sub(r":\d+/", f":{port}/", server.url)
        everything(f"{url}?sslmode=verify-full&sslrootcert={trusted}", redis_url)
        with pytest.raises(HelpersError, match="certificate"):
            elsewhere = url.replace("127.0.0.1", "localhost")
            migrate(f"{elsewhere}?sslmode=verify-full&sslrootcert={trusted}", redis_url)
        with pytest.raises(HelpersError, match="root certificate file"):
            migrate(f"{url}?sslmode=verify-full&sslrootcert={trusted}.none", redis_url)
    with pytest.raises(HelpersError, match="server does not support SSL"):
        migrate(f"{server.url}?sslmode=require", redis_url)
