"""A throw-away replica set of ``mongod`` processes, whose members can be killed and started again."""

import contextlib
import secrets
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import bson
import pymongo
import pymongo.errors
import yaml

from helpers import settings
from helpers.errors import HelpersError, first_line
from helpers.servers import mongodb as server, process

SET = "course"
CACHE_GB = 0.25
"""Cache of each member, the smallest that MongoDB takes."""
START_S = 60
POLL_S = 0.05
PATIENCE_S = 10
PASSING = (211, 11600, 11602)
"""Codes of errors that pass by themselves: no keys yet in a young set, interrupted by a change of state."""

USER_IS_THERE = (13, 51003)
"""Codes of the errors of making the first user twice: not without a password any more, exists already."""

Client = pymongo.MongoClient[dict[str, Any]]


def passing(error: BaseException | None) -> bool:
    """Whether the error of a command passes by itself: the connection was lost, or the state changes."""
    return isinstance(error, pymongo.errors.AutoReconnect) or getattr(error, "code", 0) in PASSING


class Member:
    """One ``mongod`` of the set: ``port``, ``folder``, and ``client``, which speaks to it alone."""

    def __init__(self, folder: Path, password: str, key: str) -> None:
        self.folder = folder
        self.port = process.free_port()
        self.client: Client = pymongo.MongoClient(
            process.HOST,
            self.port,
            directConnection=True,
            username=server.USER,
            password=password,
            serverSelectionTimeoutMS=1000,
            socketTimeoutMS=10_000,
            retryReads=False,
        )
        folder.mkdir(mode=0o700)
        process.write_private(folder / "key", key)
        server.prepare(folder, self.port, password)
        path = folder / "mongod.yaml"
        configuration = yaml.safe_load(path.read_text(encoding="utf-8"))
        configuration["replication"] = {"replSetName": SET, "oplogSizeMB": 64}
        configuration["security"]["keyFile"] = str(folder / "key")
        configuration["storage"]["wiredTiger"]["engineConfig"]["cacheSizeGB"] = CACHE_GB
        process.write_private(path, yaml.safe_dump(configuration))

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{process.HOST}:{self.port}"

    def start(self) -> None:
        """Start it on its data, and wait until it answers, whatever its state in the set."""
        record = process.start(
            server.command(self.folder), self.folder, self.port, variables=server.variables()
        )
        process.wait(
            f"mongodb {self.address}",
            record,
            lambda: str(self.hello()),
            self.folder,
            timeout_s=START_S,
            cancel=Event(),
        )

    def hello(self) -> dict[str, Any]:
        """What the member says of itself and of the primary.

        Raises:
            HelpersError: it does not answer.
        """
        return self.without_password("hello", wait_ms=1000, silence_ms=2000)

    def without_password(
        self,
        command: str,
        value: Any = 1,
        *,
        wait_ms: int = 5000,
        silence_ms: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """The answer to a command of ``admin`` that anybody may give, or whoever is on the machine of a young
        server, which has no user yet.

        Args:
            command: its name.
            value: of the command's name.
            wait_ms: how long the member may not be reached.
            silence_ms: how long it may keep silent; for ever when None.
            options: what else belongs to the command.

        Raises:
            HelpersError: it does not answer, or refuses.
        """
        client: Client = pymongo.MongoClient(
            process.HOST,
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=wait_ms,
            socketTimeoutMS=silence_ms,
        )
        try:
            return dict(client.admin.command(command, value, **options))
        except pymongo.errors.PyMongoError as error:
            raise HelpersError(f"mongodb at {self.address}: {first_line(error)}") from error
        finally:
            client.close()

    def ask(self, command: str | dict[str, Any]) -> dict[str, Any]:
        """The answer to a command of the database ``admin``.

        Asked again for a few seconds where the connection is one of before a restart, or the error passes.

        Raises:
            HelpersError: it does not answer, or refuses.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return dict(self.client.admin.command(command))
            except pymongo.errors.PyMongoError as error:
                if not passing(error) or time.monotonic() > deadline:
                    raise HelpersError(f"mongodb at {self.address}: {first_line(error)}") from error
                time.sleep(POLL_S)

    def alive(self) -> bool:
        """Whether its process runs."""
        return process.running(self.folder) is not None

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        process.kill(self.folder)

    def rolled_back(self) -> int:
        """Documents that it took back and laid aside in its folder ``rollback``."""
        files = (self.folder / "data" / "rollback").rglob("*.bson")
        return sum(len(bson.decode_all(path.read_bytes())) for path in files)


class ReplicaSet:
    """The members of a set, and ways to ask it."""

    def __init__(self, folder: Path, members: int) -> None:
        self.folder = folder
        self._password = secrets.token_urlsafe(24)
        key = b64encode(secrets.token_bytes(96)).decode()
        self.members = [Member(folder / str(number), self._password, key) for number in range(1, members + 1)]
        self.version = ""

    @property
    def url(self) -> str:
        """The URL of the whole set."""
        hosts = ",".join(member.address for member in self.members)
        return f"mongodb://{server.USER}:{self._password}@{hosts}/?authSource=admin&replicaSet={SET}"

    def configuration(self) -> dict[str, Any]:
        """What ``replSetInitiate`` is told."""
        members = [{"_id": i, "host": member.address} for i, member in enumerate(self.members)]
        return {"_id": SET, "members": members}

    def initiate(self) -> None:
        """Start all members, make a set of them, and make the user.

        Raises:
            HelpersError: a member does not start, or none becomes primary.
        """
        for member in self.members:
            member.start()
        self.members[0].without_password("replSetInitiate", self.configuration())
        self._make_user()
        self.settle()
        self.version = str(self.primary().ask("buildInfo")["version"])
        concern = {"w": "majority", "wtimeout": START_S * 1000}
        self.primary().ask({"appendOplogNote": 1, "data": {"set": "ready"}, "writeConcern": concern})

    def _make_user(self) -> None:
        """Make the user on the primary, which may be another one by the time that it is asked."""
        concern = {"w": len(self.members), "wtimeout": START_S * 1000}
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.primary(timeout_s=START_S).without_password(
                    "createUser", server.USER, pwd=self._password, roles=["root"], writeConcern=concern
                )
                return
            except HelpersError as error:
                if getattr(error.__cause__, "code", 0) in USER_IS_THERE:
                    return
                if not passing(error.__cause__) or time.monotonic() > deadline:
                    raise
            time.sleep(POLL_S)

    def primary(self, *, timeout_s: float = 60) -> Member:
        """The member that takes writes, once there is one.

        Raises:
            HelpersError: there is none within the time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for member in self.members:
                with contextlib.suppress(HelpersError):
                    if member.alive() and member.hello().get("isWritablePrimary"):
                        return member
            time.sleep(POLL_S)
        raise HelpersError(f"mongodb: no member of {self._addresses} became primary in {timeout_s:.0f} s")

    def settle(self, *, timeout_s: float = 60) -> None:
        """Wait until every member is primary or secondary, and holds all that the primary holds.

        Raises:
            HelpersError: they are not within the time.
        """
        deadline, seen = time.monotonic() + timeout_s, "no answer"
        while time.monotonic() < deadline:
            try:
                status = self.status()["members"]
            except HelpersError as error:
                seen = str(error)
            else:
                states = [member["stateStr"] for member in status]
                seen = ", ".join(states)
                healthy = sorted(states) == ["PRIMARY", *["SECONDARY"] * (len(states) - 1)]
                if healthy and all(lag < 1000 for lag in lags_ms(status)):
                    return
            time.sleep(POLL_S)
        raise HelpersError(f"mongodb: the set {self._addresses} was not whole in {timeout_s:.0f} s: {seen}")

    def status(self) -> dict[str, Any]:
        """``replSetGetStatus`` as the primary gives it.

        Raises:
            HelpersError: it does not answer, or there is no primary.
        """
        return self.primary().ask("replSetGetStatus")

    def stop(self) -> None:
        """Kill all members and close their clients."""
        for member in self.members:
            member.kill()
            member.client.close()

    @property
    def _addresses(self) -> str:
        return ", ".join(member.address for member in self.members)


def lags_ms(members: list[dict[str, Any]]) -> list[float]:
    """How far each secondary is behind the primary, by the wall clock of the last write that it applied.

    Args:
        members: of ``replSetGetStatus``.

    Returns:
        Milliseconds, one for each secondary, not below 0; infinite where it has applied nothing yet, none
        at all where there is no primary.
    """
    newest = next((m["lastAppliedWallTime"] for m in members if m["stateStr"] == "PRIMARY"), None)
    if newest is None:
        return []
    return [
        max((newest - m["lastAppliedWallTime"]).total_seconds() * 1000, 0.0)
        if "lastAppliedWallTime" in m
        else float("inf")
        for m in members
        if m["stateStr"] != "PRIMARY"
    ]


@contextmanager
def replica_set(members: int = 3) -> Iterator[ReplicaSet]:
    """A throw-away replica set on free loopback ports, with a key file and a user; all of it goes at the end.

    Raises:
        HelpersError: MongoDB cannot run here, or the set did not come up.
    """
    process.need("mongodb", server.missing())
    with process.throw_away("mongodb-set", settings.home()) as folder:
        made = ReplicaSet(folder, members)
        try:
            made.initiate()
            yield made
        finally:
            made.stop()
