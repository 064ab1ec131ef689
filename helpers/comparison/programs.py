"""Other people's load programs: what each is asked, how it is told where and with which secret, how it is
read.

None is installed by this project: one that is on PATH is used. Each works on the records that
``crosscheck`` has loaded under the comparison's own names, or on its own beside them, and writes nowhere
else. No password is on a command line, where every user of the machine could read it: it is in the
program's environment or in a file of mode 0600, or the program is a temporary user who needs none.
"""

import csv
import math
import os
import re
import secrets
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import redis as redis_py

from helpers import settings
from helpers.comparison import cassandra, mongodb
from helpers.comparison.redis import PREFIX
from helpers.comparison.store import CLIENTS, NAMESPACE, Store
from helpers.errors import HelpersError, first_line

POINTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
"""The percentiles that every program gives."""
PATIENCE_S = 60
"""Some programs go on asking when their server is gone; after so long one is ended."""
RECORDS = 1000
"""Users that are read, by us and by each program."""
FIRST: Mapping[str, int] = {"redis": 10**12}
"""The first user's number where it is not 1: ``redis-benchmark`` makes numbers of twelve digits."""
USER = "cross-check-"
VALUE_BYTES = 18
"""Length of each of the three values of go-ycsb's records: together as long as those of our users."""


class Failed(HelpersError):
    """A program failed, took too long, or printed what is not known of it."""


class Turn(NamedTuple):
    """What a program is asked to do once: ``null``, ``read`` or ``insert``, by so many clients,
    together so often.
    """

    operation: str
    clients: int
    requests: int


class Program(ABC):
    """A program on PATH that asks one store.

    Args:
        path: of the program.
        store: loaded; its URL tells where the server is and who asks.
        folder: only its owner's; for files of the program, secrets among them.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    """Where it is to be had."""
    sends: ClassVar[Mapping[str, Mapping[str, str]]]
    """What it sends, by store and operation."""

    def __init__(self, path: str, store: Any, folder: Path) -> None:
        self.path, self.store, self.folder = path, store, folder
        self._inserted = 0

    @classmethod
    def unfit(cls, url: str) -> str | None:
        """Why it cannot ask the server of a URL, None if it can."""
        return None

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Make what it needs at the server, and remove it at the end."""
        yield

    @abstractmethod
    def ask(self, turn: Turn) -> dict[str, float]:
        """Have it do one turn.

        Returns:
            ``p50``, ``p95`` and ``p99`` in microseconds, ``per_s``.

        Raises:
            Failed: it failed or took too long, or its output is not what is known of it.
        """

    @abstractmethod
    def version(self) -> str:
        """Its version, ``unknown`` where it does not say."""

    def _said_version(self, *words: str) -> str:
        done = subprocess.run([self.path, *words], capture_output=True, text=True, timeout=PATIENCE_S)
        found = re.search(r"\d+(?:\.\d+)+", done.stdout)
        return found[0] if found else "unknown"

    def _next(self, turn: Turn) -> int:
        """A number such that it and as many as there are requests after it were not given before."""
        self._inserted += turn.requests
        return self._inserted - turn.requests

    def _run(self, *words: str, **variables: str) -> str:
        """Run it once, in an environment with these variables too; gives what it printed."""
        child = subprocess.Popen(
            [self.path, *words],
            cwd=self.folder,
            env=os.environ | {"LC_ALL": "C"} | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # some are scripts that start another: all of it is ended together
        )
        try:
            output, errors = child.communicate(timeout=PATIENCE_S)
        except BaseException as error:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise self._failed(f"not done after {PATIENCE_S} s") from error
            raise
        if child.returncode:
            said = [line for line in errors.splitlines() if line.strip() and not line.startswith("WARNING")]
            raise self._failed(said[-1] if said else f"exit code {child.returncode}")
        return output

    def _failed(self, why: str) -> Failed:
        for secret in settings.secrets(self.store.url):
            why = why.replace(secret, "***")
        return Failed(f"{self.name} failed: {why}")

    def _checked(self, figures: Mapping[str, float]) -> dict[str, float]:
        if not all(0 < value < math.inf for value in figures.values()):
            raise Failed(f"{self.name}: a figure is below its resolution, so no ratio can be had")
        return {name: round(value, 3) for name, value in figures.items()}

    def _of_samples(self, ended_us: Sequence[float], latency_us: Sequence[float]) -> dict[str, float]:
        """The figures of single operations: when each ended, and how long it took."""
        ended, latency = np.asarray(ended_us, dtype=float), np.asarray(latency_us, dtype=float)
        wall_us = float(ended.max() - (ended - latency).min())
        found = {name: float(np.quantile(latency, share)) for name, share in POINTS.items()}
        return self._checked(found | {"per_s": len(latency) / wall_us * 1e6 if wall_us else math.inf})


class RedisBenchmark(Program):
    """Redis's own, in C with one event loop: it reads the very hashes that we read."""

    name = "redis-benchmark"
    source = "Debian's package redis-tools has it"
    sends: ClassVar = {
        "redis": {"null": "PING", "read": "HGETALL of three fields", "insert": "HSET of three fields"}
    }
    COMMANDS: ClassVar = {
        "null": ("PING",),
        "read": ("HGETALL", f"{PREFIX}user:1__rand_int__"),
        "insert": (
            *("HSET", f"{PREFIX}user:2__rand_int__", "username", "user0000", "email", "user0000@example.org"),
            *("created_at", "2026-01-01T00:00:00.000000"),
        ),
    }
    KEYS: ClassVar = {"null": RECORDS, "read": RECORDS, "insert": 10**11}

    @classmethod
    def unfit(cls, url: str) -> str | None:
        """A TLS connection needs certificates."""
        return _tls(cls.name) if urlsplit(url).scheme == "rediss" else None

    @contextmanager
    def ready(self) -> Iterator[None]:
        """A user who may do the three commands."""
        with passing_user(self.store, self.name, "+ping", "+select", "+hgetall", "+hset") as self._user:
            yield

    def ask(self, turn: Turn) -> dict[str, float]:
        """With ``--csv``, which has percentiles since Redis 6.2."""
        words = [
            *where(self.store.url),
            "--dbnum",
            str(_number(self.store)),
            "--user",
            self._user,
            "-a",
            "any",
            "--csv",
        ]
        words += ["-c", str(turn.clients), "-n", str(turn.requests), "-r", str(self.KEYS[turn.operation])]
        return self._checked(self.parse(self._run(*words, *self.COMMANDS[turn.operation])))

    @classmethod
    def parse(cls, output: str) -> dict[str, float]:
        """The figures of one test in what it printed."""
        rows = list(csv.DictReader(output.splitlines()))
        try:
            row = rows[-1]
            found = {name: float(row[f"{name}_latency_ms"]) * 1000 for name in POINTS}
            return found | {"per_s": float(row["rps"])}
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise Failed(
                f"{cls.name}: no percentiles in what it printed; install redis-tools 6.2 or newer"
            ) from error

    def version(self) -> str:
        """As it says."""
        return self._said_version("--version")


class GoYcsb(Program):
    """YCSB in Go: a driver of Go for each store, records of three fields of its own.

    Its settings are in a property file, the password among them.
    """

    name = "go-ycsb"
    source = "github.com/pingcap/go-ycsb, built by Go as the README says"
    sends: ClassVar = {
        "redis": {"read": "HMGET of three fields", "insert": "HSET of three fields"},
        "mongodb": {
            "read": "a document of three fields by its key",
            "insert": "a document of three fields, one more index",
        },
        "cassandra": {
            "read": "a row of three columns by its key",
            "insert": "a row of a key and three columns",
        },
    }
    DATABASE = "ycsb"
    """MongoDB's database; the program knows no other."""
    TABLE: ClassVar = {"redis": f"{PREFIX}ycsb", "mongodb": mongodb.DATABASE, "cassandra": "ycsb"}

    @classmethod
    def unfit(cls, url: str) -> str | None:
        """A TLS connection needs certificates, and its property files cannot hold every password."""
        parts = urlsplit(url)
        if parts.scheme == "rediss":
            return _tls(cls.name)
        if parts.scheme == "cassandra" and "${" in unquote(f"{parts.username}{parts.password}"):
            return f"{cls.name} takes no user or password that holds ${{"
        return None

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Its records; in Redis a user who may read and write them, in MongoDB their collection."""
        if self.store.name == "redis":
            with passing_user(self.store, self.name, "+ping", "+select", "+hmget", "+hset") as user:
                self._where = _redis_properties(self.store, user)
                self._load()
                yield
            return
        if self.store.name == "cassandra":
            self._where = _cassandra_properties(self.store.url)
            self._load()
            yield
            return
        self._where = {"mongodb.url": _mongodb_url(self.store.url)}
        collection = self.store.client[self.DATABASE][self.TABLE["mongodb"]]
        collection.drop()
        try:
            collection.create_index([("field0", -1), ("field1", -1), ("_id", -1)])  # as ours of activities
            self._load()
            yield
        finally:
            with suppress(*self.store.ERRORS):
                collection.drop()

    def _load(self) -> None:
        self.ask(Turn("insert", CLIENTS, RECORDS))

    def ask(self, turn: Turn) -> dict[str, float]:
        """With every operation in a file of its own line."""
        samples = self.folder / "samples.csv"
        insert = turn.operation == "insert"
        start = self._next(turn) if insert else 0
        lines = self._where | {
            "workload": "core",
            "table": self.TABLE[self.store.name],
            "recordcount": start + turn.requests if insert else RECORDS,
            "insertstart": start,
            "insertcount": turn.requests if insert else RECORDS,
            "operationcount": turn.requests,
            "threadcount": turn.clients,
            "fieldcount": 3,
            "fieldlength": VALUE_BYTES,
            "readproportion": 1,
            "updateproportion": 0,
            "requestdistribution": "uniform",
            "dropdata": "false",
            "silence": "false",
            "measurementtype": "csv",
            "measurement.output_file": samples,
            "debug.pprof": "none",  # else it opens a port on all interfaces
        }
        path = _private(self.folder / "go-ycsb.properties", _properties(lines))
        samples.unlink(missing_ok=True)
        try:
            said = self._run("load" if insert else "run", self.store.name, "-P", str(path))
        finally:
            path.unlink()
        if not samples.exists():
            raise self._failed(next((line for line in said.splitlines() if "err" in line), "no figures"))
        return self.parse(samples.read_text(encoding="utf-8"), turn)

    def parse(self, output: str, turn: Turn) -> dict[str, float]:
        """The figures in its file, once each operation is there and none failed."""
        rows = [row for row in csv.DictReader(output.splitlines()) if row["operation"] != "TOTAL"]
        failed = sum(row["operation"] != turn.operation.upper() for row in rows)
        if failed or len(rows) != turn.requests:
            raise self._failed(f"{failed} of {len(rows)} operations failed, {turn.requests} were asked for")
        latency = [float(row["latency_us"]) for row in rows]
        started = [float(row["timestamp_us"]) for row in rows]
        return self._of_samples([sum(pair) for pair in zip(started, latency, strict=True)], latency)

    def version(self) -> str:
        """As Go wrote it into the program, where Go is here to read it: the program does not say."""
        go = shutil.which("go")
        if go is None:
            return "unknown"
        done = subprocess.run(
            [go, "version", "-m", self.path], capture_output=True, text=True, timeout=PATIENCE_S
        )
        found = re.search(r"\bmod\s+\S+\s+v(\d\S*)", done.stdout)
        return found[1] if found else "unknown"


class PgBench(Program):
    """PostgreSQL's own, in C: prepared statements on the very tables that we use."""

    name = "pgbench"
    source = "PostgreSQL's own; Debian's package postgresql has it"
    sends: ClassVar = {"postgres": {"read": "SELECT of a row by its key", "insert": "INSERT of an activity"}}
    SCRIPTS: ClassVar = {
        "read": (
            f"\\set id random(1, {RECORDS})\n"
            "SELECT username, email, created_at FROM users WHERE user_id = :id;\n"
        ),
        "insert": (
            f"\\set turn :turn + 1\n\\set id :first + :turn * :clients + :client_id\n\\set user_id "
            f"random(1, {RECORDS})\n"
            "INSERT INTO activities (activity_id, user_id, activity_type, activity_date) "
            "VALUES (:id, :user_id, :kind, :moment);\n"
        ),
    }
    FIRST_ID = 10**9

    def ask(self, turn: Turn) -> dict[str, float]:
        """With every transaction in a log."""
        script = self.folder / f"{turn.operation}.sql"
        script.write_text(self.SCRIPTS[turn.operation], encoding="utf-8")
        each = turn.requests // turn.clients
        words = ["-n", "-M", "prepared", "-f", str(script), "-l", f"--log-prefix={self.folder / 'pgbench'}"]
        words += ["-c", str(turn.clients), "-j", str(min(turn.clients, 2)), "-t", str(each)]
        if turn.operation == "insert":
            first = self.FIRST_ID + self._next(turn)
            given = {"turn": -1, "first": first, "clients": turn.clients, "kind": "login"}
            for name, value in (given | {"moment": "2026-01-01 00:00:00"}).items():
                words += ["-D", f"{name}={value}"]
        try:
            self._run(*words, **self._where())
            lines = [
                line for log in self.folder.glob("pgbench.*") for line in log.read_text("ascii").splitlines()
            ]
        finally:
            for log in self.folder.glob("pgbench.*"):
                log.unlink()
        return self.parse(lines, each * turn.clients)

    def _where(self) -> dict[str, str]:
        """Where the server is, who asks and in which tier, as the program's environment has it."""
        from helpers.servers import connections

        connection = connections.postgres(self.store.url)
        try:
            at = connection.info
            found = {
                "HOST": at.host,
                "PORT": at.port,
                "USER": at.user,
                "PASSWORD": at.password,
                "DATABASE": at.dbname,
            }
        finally:
            connection.close()
        options = f"-c search_path=user_activity_{NAMESPACE} -c synchronous_commit=off"
        return {f"PG{name}": str(value) for name, value in found.items() if value} | {"PGOPTIONS": options}

    def parse(self, lines: Sequence[str], asked: int) -> dict[str, float]:
        """The figures in its log: client, transaction, time, script, and when it ended, in seconds and
        microseconds.
        """
        rows = [line.split() for line in lines]
        if len(rows) != asked or any(len(row) < 6 or not row[2].isdigit() for row in rows):
            raise self._failed(f"{len(rows)} transactions in its log, {asked} were asked for")
        return self._of_samples(
            [int(row[4]) * 1e6 + int(row[5]) for row in rows], [float(row[2]) for row in rows]
        )

    def version(self) -> str:
        """As it says."""
        return self._said_version("--version")


PROGRAMS: Sequence[type[Program]] = (RedisBenchmark, GoYcsb, PgBench)
"""Every program that is known, in the order in which they are shown."""


def where(url: str) -> list[str]:
    """Where the server is, as options of ``redis-benchmark``, without what is secret."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return ["-s", parts.path]
    return ["-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 6379)]


@contextmanager
def passing_user(store: Store, program: str, *commands: str) -> Iterator[str]:
    """A temporary user of Redis who may do these commands on the comparison's keys and nothing else.

    No password is needed, so none is on a command line or in a file; the user is removed again.

    Raises:
        HelpersError: the server refuses the temporary user.
    """
    name = USER + secrets.token_hex(6)
    client: Any = store.client  # type: ignore[attr-defined]
    rules = ("on", "nopass", "resetkeys", f"~{PREFIX}*", "resetchannels", "-@all", *commands)
    try:
        client.execute_command("ACL", "SETUSER", name, *rules)
    except redis_py.ResponseError as error:
        raise HelpersError(
            f"redis at {store.address}: no temporary user for {program} ({first_line(error)}); use a "
            f"user who may "
            "ACL SETUSER and ACL DELUSER, or a server of your own: `python -m helpers up redis`"
        ) from error
    try:
        yield name
    finally:
        try:
            client.execute_command("ACL", "DELUSER", name)
        except redis_py.ResponseError as error:
            raise HelpersError(
                f"redis at {store.address}: the temporary user {name} ({' '.join(commands)}) stays "
                f"({first_line(error)}); remove it: ACL DELUSER {name}"
            ) from error
        except store.ERRORS:
            pass  # the server is gone, and the user with it: users are kept in memory


def sweep(store: Store) -> None:
    """Remove the temporary users of Redis that a killed process left, where we may."""
    if store.name == "redis":
        client: Any = store.client  # type: ignore[attr-defined]
        with suppress(redis_py.ResponseError):
            left = [name for name in client.acl_users() if name.startswith(USER)]
            if left:
                client.execute_command("ACL", "DELUSER", *left)


def _tls(program: str) -> str:
    return f"{program} is not given the certificates of a TLS connection"


def _number(store: Any) -> int:
    """Of the database of a Redis store."""
    return int(store.client.get_connection_kwargs().get("db") or 0)


def _redis_properties(store: Store, user: str) -> dict[str, object]:
    parts = urlsplit(store.url)
    unix = parts.scheme == "unix"
    return {
        "redis.network": "unix" if unix else "tcp",
        "redis.addr": parts.path if unix else f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}",
        "redis.db": _number(store),
        "redis.username": user,
        "redis.password": "any",
        "redis.max_retries": -1,
    }


def _cassandra_properties(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "cassandra.cluster": f"{parts.hostname or '127.0.0.1'}:{parts.port or 9042}",
        "cassandra.keyspace": cassandra.KEYSPACE,
        "cassandra.username": unquote(parts.username or ""),
        "cassandra.password": unquote(parts.password or ""),
    }


def _mongodb_url(url: str) -> str:
    """The URL with the relaxed tier, and with no retries behind the clock's back."""
    more = "w=1&journal=false&retryWrites=false&retryReads=false"
    head, separator, query = url.partition("?")
    if not separator and urlsplit(url).path == "":
        head += "/"
    return f"{head}?{query}&{more}" if query else f"{head}?{more}"


def _properties(values: Mapping[str, object]) -> str:
    """A property file; whatever could mean something in it is written as an escape."""

    def escaped(value: object) -> str:
        return "".join(
            one if re.match(r"[\w./-]", one, re.ASCII) or one > "\uffff" else f"\\u{ord(one):04x}"
            for one in str(value)
        )

    return "".join(f"{name} = {escaped(value)}\n" for name, value in values.items())


def _private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path
