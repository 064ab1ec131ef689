"""The pace of ``follow``: how fast a backlog is applied, and how long a commit waits under steady writing.

Three arms take turns: ``follow`` onto one Redis, ``follow`` onto a Redis Cluster of three nodes, and the
logical replication that PostgreSQL has itself, to a second server with the same tables and indexes. Only one
of them works at a time. None waits for its disk: Redis flushes its append-only file every second, and a
subscription commits with ``synchronous_commit = off``, which is its default.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psutil

from helpers import migration, results, settings
from helpers.errors import HelpersError
from helpers.migration import following, verification
from helpers.progress import bar
from helpers.relational import population, redis_model, schema
from helpers.servers import Writer, connections, redis_cluster, redis_nodes, scratch
from helpers.trials.mover import Mover
from helpers.trials.scaleout import PATIENCE_MS

NODES = 3
FLUSHED = ("appendonly yes", "appendfsync everysec", 'save ""')
"""How every Redis here saves what it is told."""
PER_S = 1_000
"""Transactions a second that the writers try to commit, all together."""
WRITERS = 8
POLL_S = 0.002
TAIL_S = 0.2
"""Writing goes on for so long after what counts, so that the last rows that count are looked for as often."""
IDLE_S = 1.0
"""A follower of steady writing ends when nothing came for so long."""
READ_S, PATIENCE_S = 60.0, 300.0
"""How long what was written steadily, and a backlog, may need at most."""
BEGINNING = datetime(2100, 1, 1)
"""The date of the first row of steady writing, a second before that of the next: later than all others."""
BACKLOGS = ("single", "large")
"""Transactions of one row, and one transaction of many."""
ARMS = ("one", "cluster", "postgres")
SUBSCRIPTION = "pace"


@dataclass(frozen=True)
class Design:
    """How much is measured.

    Attributes:
        rows: of each table, before anything is followed.
        transactions: of one row each, in the backlog of single rows.
        large_rows: of the one transaction in the other backlog.
        rounds: how often each arm applies each backlog.
        warm_s: seconds of steady writing that are not counted: what had waited for the start is gone then.
        writing_s: seconds of steady writing that are.
    """

    rows: Mapping[str, Any]
    transactions: int
    large_rows: int
    rounds: int
    warm_s: float
    writing_s: float


DESIGNS = {
    "quick": Design(
        {"users": 200, "products": 20, "activities": 1_000, "orders": 200}, 300, 5_000, 1, 0.3, 1.0
    ),
    "full": Design(
        {"users": 5_000, "products": 100, "activities": 50_000, "orders": 10_000},
        20_000,
        100_000,
        3,
        2.0,
        15.0,
    ),
}


class Arm(Protocol):
    """One that applies what a source commits."""

    def drain(self) -> None:
        """Apply all that waits, and return when it can be read."""

    def rest(self) -> None:
        """See that it does nothing until it is told to."""

    def at_work(self) -> Any:
        """A context manager that applies what comes, from its beginning on."""

    def newest(self, user: int) -> datetime | None:
        """The date of a user's last activity, as a reader sees it."""

    def differences(self) -> int:
        """In how much it differs from the source."""


class Follow:
    """``follow`` onto a Redis or a cluster, which a migration has filled.

    Args:
        source: PostgreSQL URL.
        url: of the target.
        client: of it; decodes responses.
    """

    def __init__(self, source: str, url: str, client: Any) -> None:
        self._source, self._url, self._client = source, url, client
        migration.migrate(source, url, follow=True, verify=False, progress=False)
        self._slot = self._applied()["slot"]  # modules that following needs are loaded now

    def _applied(self) -> dict[str, Any]:
        return following.follow(self._source, self._url, until_idle_s=0, shown=False)

    def drain(self) -> None:
        """Call ``follow`` in this process, from its connections to its end; no process is started."""
        self._applied()

    def rest(self) -> None:
        """Nothing to do: it works only while it is called."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """``python -m helpers follow`` in a process of its own, as a user starts it."""
        with Mover(self._source, self._url, "--until-idle", str(IDLE_S), command="follow") as mover:
            redis_nodes.until(
                lambda: not mover.running or active(self._source, self._slot), "pace: follow reads its slot"
            )
            yield
            ended = mover.wait(PATIENCE_S)
        if ended.code:
            raise HelpersError(f"pace: follow did not go on: {ended.said}")

    def newest(self, user: int) -> datetime | None:
        """The date in the last element of the user's list."""
        last = self._client.lindex(redis_model.activities_key(user), -1)
        return None if last is None else redis_model.decode_activity(last)[1]

    def differences(self) -> int:
        """What ``verify`` finds."""
        return int(verification.verify(self._source, self._url, progress=False)["differences"])


class Subscriber:
    """PostgreSQL's own logical replication with its defaults, its tables copied already.

    Args:
        source: PostgreSQL URL.
        url: of the second server, which is empty.
    """

    def __init__(self, source: str, url: str) -> None:
        self._source, self._url = source, url
        connection = connections.postgres(url)
        with closing(connection), connection:
            schema.create(connection)
        ask(source, f"CREATE PUBLICATION {SUBSCRIPTION} FOR TABLE {', '.join(schema.TABLES)}")
        ask(url, f"CREATE SUBSCRIPTION {SUBSCRIPTION} CONNECTION %s PUBLICATION {SUBSCRIPTION}", source)
        copied = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"
        redis_nodes.until(
            lambda: ask(url, copied) == [(True,)], "pace: a subscription has copied its tables", PATIENCE_S
        )
        self.rest()
        self._reader = connections.postgres(url)
        self._reader.autocommit = True

    def drain(self) -> None:
        """Enable the subscription, and wait until the last row is there; the start of its worker counts."""
        last = "SELECT max(activity_id) FROM activities"
        wanted, end = ask(self._source, last), time.monotonic() + PATIENCE_S
        ask(self._url, f"ALTER SUBSCRIPTION {SUBSCRIPTION} ENABLE")
        while self._ask(last) != wanted:
            if time.monotonic() > end:
                raise HelpersError(f"pace: a subscription applied no backlog within {PATIENCE_S:.0f} s")
            time.sleep(POLL_S)

    def rest(self) -> None:
        """Disable the subscription, and wait until nobody reads its slot."""
        ask(self._url, f"ALTER SUBSCRIPTION {SUBSCRIPTION} DISABLE")
        redis_nodes.until(lambda: not active(self._source, SUBSCRIPTION), "pace: a subscription rests")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The subscription, enabled."""
        ask(self._url, f"ALTER SUBSCRIPTION {SUBSCRIPTION} ENABLE")
        redis_nodes.until(lambda: active(self._source, SUBSCRIPTION), "pace: a subscription reads its slot")
        yield
        self.rest()

    def newest(self, user: int) -> datetime | None:
        """The date in the user's last row, by the index."""
        found = self._ask(
            "SELECT activity_date FROM activities WHERE user_id = %s ORDER BY activity_date DESC LIMIT 1",
            user,
        )
        return found[0][0] if found else None

    def differences(self) -> int:
        """How many tables have other rows than the source, by their number and a sum over hashes of them."""
        return sum(
            ask(self._source, query) != ask(self._url, query)
            for query in (
                f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t"
                for table in schema.TABLES
            )
        )

    def _ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._reader.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def close(self) -> None:
        """Close its connection; the subscription goes with its server."""
        self._reader.close()


def run(*, profile: str = "quick", folder: Path | None = None, progress: bool = True) -> dict[str, Any]:
    """Measure every arm, and save the result ``pace``.

    A rate is of a backlog that was committed while nobody applied anything. ``follow`` is called in this
    process, so that the start of one does not count: its connections, its lease and its look at the slot do.
    For PostgreSQL the start of its own worker counts.

    Args:
        profile: ``quick`` or ``full``.
        folder: results folder; that of the current run when None.
        progress: show a progress bar.

    Returns:
        ``rows`` per table at the beginning; ``cores`` of the machine; ``nodes`` of the cluster;
        ``durability``, as each server tells it: ``redis`` (appendfsync) and ``postgres`` (synchronous_commit
        of the subscription); ``rounds``: one record a backlog that was applied, with ``backlog`` (one of
        ``BACKLOGS``), ``arm`` (one of ``ARMS``), ``round``, ``changes``, ``seconds``, ``per_second``
        (changes; of single rows as many as transactions); ``steady``: one record an arm with ``arm``,
        ``wanted_per_s`` and ``committed_per_s`` (transactions), ``delays_ms``: of every counted row of one
        writer in eight, from its acknowledgement by the source until a reader of the target saw it, found
        within about 2 ms, never too short; ``differences`` per arm at the end.

    Raises:
        HelpersError: no such profile, or an arm that did not do its work.
    """
    design = settings.of_profile(DESIGNS, profile)
    with ExitStack() as stack:
        source = stack.enter_context(scratch.postgres())
        second = stack.enter_context(scratch.postgres())
        alone = stack.enter_context(scratch.redis(*FLUSHED))
        nodes = stack.enter_context(redis_cluster.cluster(NODES, 0, *FLUSHED, timeout_ms=PATIENCE_MS))
        population.populate(source.url, **design.rows, progress=False)
        for table in schema.TABLES:
            ask(source.url, f"ALTER TABLE {table} REPLICA IDENTITY FULL")
        client = stack.enter_context(closing(connections.redis(alone.url, decode_responses=True)))
        subscriber = stack.enter_context(closing(Subscriber(source.url, second.url)))
        arms: dict[str, Arm] = {
            "one": Follow(source.url, alone.url, client),
            "cluster": Follow(source.url, nodes.urls[0], stack.enter_context(closing(nodes.client()))),
            "postgres": subscriber,
        }
        data = _measure(source.url, arms, design, progress)
        data["durability"] = {
            "redis": client.config_get("appendfsync")["appendfsync"],
            "postgres": ask(second.url, "SELECT subsynccommit FROM pg_subscription")[0][0],
        }
    data |= {"rows": dict(design.rows), "cores": psutil.cpu_count(), "nodes": NODES}
    versions = {"postgres": source.version, "redis": alone.version}
    results.save("pace", data, profile=profile, servers=versions, folder=folder)
    return data


def _measure(source: str, arms: Mapping[str, Arm], design: Design, progress: bool) -> dict[str, Any]:
    rounds, steady, names = [], [], list(arms)
    turns = [(backlog, number) for backlog in BACKLOGS for number in range(design.rounds)]
    with bar((len(turns) + 1) * len(arms), "pace", unit="measurements", enabled=progress) as shown:
        for backlog, number in turns:
            changes = _commit(source, backlog, design)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                seconds = _timed(arms[name].drain)
                arms[name].rest()
                rounds.append(
                    {"backlog": backlog, "arm": name, "round": number + 1}
                    | {"changes": changes, "seconds": seconds, "per_second": changes / seconds}
                )
                shown.update()
        for number, (name, arm) in enumerate(arms.items()):
            steady.append({"arm": name} | _steady(source, arm, number + 1, design))
            shown.update()
    for arm in arms.values():
        arm.drain()
        arm.rest()
    differences = {name: arm.differences() for name, arm in arms.items()}
    if any(differences.values()):
        raise HelpersError(f"pace: not every arm did its work: {differences}")
    return {"rounds": rounds, "steady": steady, "differences": differences}


def _commit(source: str, backlog: str, design: Design) -> int:
    """Commit a backlog of activities; how many rows it has."""
    number = design.transactions if backlog == "single" else design.large_rows
    user = f"1 + n % {design.rows['users']}"  # each row is later than all before it, as in steady use
    row = f"(user_id, activity_type, activity_date) SELECT {user}, 'login', clock_timestamp()"
    if backlog == "single":
        # Who commits it is not measured, and need not wait for the disk either.
        ask(
            source,
            "DO $$ BEGIN PERFORM set_config('synchronous_commit', 'off', false); FOR n IN 1.."
            f"{number} LOOP INSERT INTO activities {row}; COMMIT; END LOOP; END $$",
        )
    else:
        ask(source, f"INSERT INTO activities {row} FROM generate_series(1, {number}) n")
    ask(source, "CHECKPOINT")  # all of its log is on disk, and can be read
    return number


def _steady(source: str, arm: Arm, user: int, design: Design) -> dict[str, Any]:
    """Let users write while an arm works, and see when the rows of one of them come."""
    delays: list[float] = []
    begun, end = design.warm_s, design.warm_s + design.writing_s
    with ExitStack() as stack:
        writers = [_writer(source, user + number * len(ARMS), stack) for number in range(WRITERS)]
        first = writers[0]
        stack.enter_context(arm.at_work())
        with ExitStack() as writing:
            for writer in writers:
                writing.enter_context(writer)
            while first.now_s() < end + TAIL_S:
                _look(arm, user, first, delays)
        redis_nodes.until(
            lambda: _look(arm, user, first, delays), "pace: all that was written is read", READ_S
        )
    return {
        "wanted_per_s": PER_S,
        "committed_per_s": sum(begun <= one.ended_s < end for of in writers for one in of.writes)
        / design.writing_s,
        "delays_ms": [
            round(delay * 1e3, 2)
            for one, delay in zip(first.writes, delays, strict=True)
            if begun <= one.ended_s < end
        ],
    }


def _writer(source: str, user: int, stack: ExitStack) -> Writer:
    connection = connections.postgres(source)
    stack.callback(connection.close)
    connection.autocommit = True
    cursor = connection.cursor()

    def act(number: int) -> None:
        cursor.execute(
            "INSERT INTO activities (user_id, activity_type, activity_date) VALUES (%s, 'login', %s)",
            (user, BEGINNING + timedelta(seconds=number)),
        )

    return Writer(act, (), per_s=PER_S / WRITERS)


def _look(arm: Arm, user: int, writer: Writer, delays: list[float]) -> bool:
    """Note the delays of rows that a reader sees by now; whether it sees all that the writer wrote."""
    newest = arm.newest(user)
    now = writer.now_s()
    there = 0 if newest is None else int((newest - BEGINNING).total_seconds()) + 1
    for one in writer.writes[len(delays) : max(there, 0)]:  # less than what is there, if the writer slept
        delays.append(max(now - one.ended_s, 0.0))
    time.sleep(POLL_S)
    return len(delays) == len(writer.writes)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def active(source: str, slot: str) -> bool:
    """Whether somebody reads a replication slot."""
    return ask(source, "SELECT active FROM pg_replication_slots WHERE slot_name = %s", slot) == [(True,)]


def ask(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What PostgreSQL answers to a statement, which is committed at once."""
    connection = connections.postgres(url)
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []
