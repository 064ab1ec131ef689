"""The follower: transactions of the source's log, one after the other, become what Redis holds.

A transaction is applied whole, with the place behind it in the same ``EXEC``; those that came in the
meantime go together. So a reader of Redis sees only states that the source had (in a cluster, slot by slot).
A transaction of more than ``MOST_CHANGES`` changes is the exception: it goes in parts, each with its number
of changes in the state, so that neither this process nor Redis has to hold all of it at once; a follower that
begins again skips the parts that are done. A ``TRUNCATE`` is such a part too: it removes keys batch by batch,
and may be repeated.

What is confirmed to the server is never newer than the target's state, and some seconds older: a Redis that
writes its file every second may forget the last ones, and must find them in the slot again.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from helpers import text
from helpers.errors import HelpersError
from helpers.migration.effects import Effects, Forms, Row
from helpers.migration.findings import Rejects
from helpers.migration.places import Finder
from helpers.migration.writing import Writer
from helpers.model import Plan
from helpers.source import BEAT, Stream, Upstream, pgoutput, publication, slot
from helpers.target import Checkpoint, keyspace, record, resp

MOST_CHANGES, MOST_BYTES = 5_000, 4 << 20
"""A transaction that is larger goes in parts; this is what one part, and all that waits, may hold."""
MOST_HELD_BYTES = 64 << 20
"""What may wait for the end of a transaction in which two rows may share a key, which cannot go in parts."""
LOOK_S = 0.5
"""How often lag is asked for."""
CONFIRM_AFTER_S = 4.0
"""Age of what is confirmed: ``appendfsync everysec`` may forget up to two seconds."""
BEAT_BYTES = 1 << 20
"""So much log of others, and a beat follows, behind which the server may throw it away."""
WAIT_S = 0.1


@dataclass(frozen=True)
class Lag:
    """How far the target is behind.

    Attributes:
        at_s: seconds since this run began.
        bytes: of the source's log that is not looked at yet.
        seconds: since the commit of the last transaction that was applied; 0 when caught up.
        transactions: applied by this run so far.
    """

    at_s: float
    bytes: int
    seconds: float
    transactions: int


@dataclass
class Tally:
    """What a run of ``follow`` did, over all its attempts.

    Attributes:
        transactions: that were applied as a whole.
        parts: parts of large transactions among them.
        changes: rows inserted, updated or deleted, of each table.
        truncated: tables emptied.
        lag: the last that was seen.
    """

    transactions: int = 0
    parts: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    lag: Lag | None = None
    began: float = field(default_factory=time.monotonic)

    def add(self, other: "Tally") -> None:
        """Count what another tally did as well."""
        self.transactions += other.transactions
        self.parts += other.parts
        self.changes.update(other.changes)
        self.truncated += other.truncated


@dataclass
class _Transaction:
    """A transaction that is being read.

    Attributes:
        commit_lsn: where its commit stands.
        done: how many of its changes are applied already.
        seen: how many of its changes were read.
    """

    commit_lsn: int
    done: int
    seen: int = 0


class _Told:
    """A table, or a partition of one, whose changes are told.

    Attributes:
        tables: the plan's tables whose rows its rows are: a partition may be one of them itself.
        seen: what ``publication.seen`` gave of it.
        name: as messages say it.
        places: of each of these tables, where its columns stand in a row that is told, None where one is
            not; empty before the first row.
    """

    def __init__(self, seen: Mapping[str, Any], name: str) -> None:
        self.tables: list[str] = []
        self.seen, self.name = seen, name
        self.places: dict[str, list[int | None]] = {}


class Follower:
    """Applies a stream to a target whose lease is held.

    Args:
        stream: from the position in the state on.
        upstream: the same server, to ask how far its log is.
        connection: the target.
        checkpoint: its state.
        writer: to it.
        state: as the checkpoint reads it.
        plan: of the migration.
        tally: what is counted.
        rejects: where rejected rows go.
        report: given the lag whenever it was asked for.
    """

    def __init__(
        self,
        stream: Stream,
        upstream: Upstream,
        connection: resp.Connection,
        checkpoint: Checkpoint,
        writer: Writer,
        state: dict[str, str],
        *,
        plan: Plan,
        tally: Tally,
        rejects: Rejects,
        report: Callable[[Lag], object] = lambda lag: None,
    ) -> None:
        self._stream, self._upstream, self._connection = stream, upstream, connection
        self._checkpoint, self._plan, self._forms = checkpoint, plan, Forms(plan)
        self._writer = writer
        self._tally, self._rejects, self._report = tally, rejects, report
        self._name = state[slot.SLOT]
        self._state = state
        # Up to where the log is read, sent to the target, and known to be written there.
        self._position = self._sent = self._saved = pgoutput.parse_lsn(state[slot.POSITION])
        part = state.get(slot.PART, "").split()
        self._part = (pgoutput.parse_lsn(part[0]), int(part[1])) if part else (0, 0)
        self._committed_us = int(state[slot.COMMITTED])
        self._held, self._rejected = (record.recorded(state, name) for name in ("rows_held", "rows_rejected"))
        self._seen = json.loads(state[slot.TABLES_SEEN])
        self._finder = Finder(connection, upstream, self._seen, checkpoint.renew_when_due)
        self._told: dict[int, _Told] = {}
        for table in plan.tables:
            own = self._seen[table]
            for one, name in [(own, table), *((leaf, leaf["name"]) for leaf in own.get("leaves", ()))]:
                self._told.setdefault(one["oid"], _Told(one, name)).tables.append(table)
        self._partitioned = [table for table in plan.tables if "leaves" in self._seen[table]]
        self._deferrable = publication.deferrable(plan, self._seen)
        self._transaction: _Transaction | None = None
        self._effects, self._bytes = Effects(self._forms), 0
        self._pending: list[tuple[str, Row | None, Row | None]] = []
        self._pending_bytes = 0
        self._whole = 0
        self._looked = time.monotonic()
        self._beat_at = 0
        self._durable: deque[tuple[float, int]] = deque()
        self._mark: tuple[int, float] | None = None
        self._changed_at = time.monotonic()

    def run(self, until_idle_s: float | None) -> None:
        """Apply what comes, for ever or until nothing came for so long and everything before is applied.

        Raises:
            resp.Lost, SourceLost, LeaseLost: another attempt may help.
            HelpersError: no other attempt would help.
        """
        self._look()
        while True:
            message = self._stream.read()
            if message is not None:
                self._take(message)
            elif self._transaction is None:
                self._flush()
                self._checkpoint.settle()
                if until_idle_s is not None and self._idle(until_idle_s):
                    self._look()
                    return
                if not self._stream.wait(WAIT_S) and self._mark is None:
                    self._look()
            else:
                self._checkpoint.settle()
                self._stream.wait(WAIT_S)
            if time.monotonic() - self._looked > LOOK_S:
                self._look()

    # -- messages

    def _take(self, message: bytes) -> None:
        try:
            found = pgoutput.decode(message)
        except pgoutput.Incomplete as error:
            raise HelpersError(
                f"{self._upstream.where}: a change came without the old row; set REPLICA IDENTITY FULL on "
                f"{text.join(list(self._plan.tables))} and their partitions, then {publication.AGAIN}"
            ) from error
        except ValueError as error:
            raise HelpersError(f"{self._upstream.where}: slot {self._name}: {error}") from error
        if isinstance(found, pgoutput.Change):
            self._change(found, len(message))
        elif isinstance(found, pgoutput.Begin):
            done = self._part[1] if self._part[0] == found.commit_lsn else 0
            self._transaction = _Transaction(found.commit_lsn, done)
        elif isinstance(found, pgoutput.Commit):
            self._commit(found)
        elif isinstance(found, pgoutput.Truncate):
            self._truncate(found)
        elif isinstance(found, pgoutput.Relation):
            self._relation(found)

    def _relation(self, found: pgoutput.Relation) -> None:
        told, where = self._told.get(found.oid), self._upstream.where
        if told is None:  # a partition that came, or a table of nobody's
            publication.check(self._upstream, self._plan, self._seen)
            return
        names = [name for name, *_ in found.columns]
        now = [list(column) for column in found.columns]
        computed = [name for name, *_ in told.seen.get("generated", ())]
        renamed = (found.schema, found.name) not in [
            (self._plan.tables[table].schema, self._plan.tables[table].relation) for table in told.tables
        ]
        if [one for one in now if one[0] not in computed] != told.seen["columns"] or (
            renamed and told.seen.get("holds") is None
        ):
            of, then = self._plan.tables[told.tables[0]], {**told.seen, "generated": []}
            raise HelpersError(f"{where}: {publication.alteration(of, then, {'columns': now})}")
        if found.identity != pgoutput.FULL:
            raise HelpersError(
                f"{where}: {told.name} has no REPLICA IDENTITY FULL any more; `ALTER TABLE "
                f"{told.name} REPLICA IDENTITY FULL`, then {publication.AGAIN}"
            )
        for table in told.tables:
            columns = [column.name for column in self._plan.tables[table].columns]
            told.places[table] = [names.index(name) if name in names else None for name in columns]

    def _next(self) -> _Transaction | None:
        """The transaction whose next change is to be applied; None when that is done already."""
        transaction = self._transaction
        if transaction is None:
            raise HelpersError(f"{self._upstream.where}: slot {self._name}: a change outside a transaction")
        transaction.seen += 1
        applied = transaction.commit_lsn < self._position or transaction.seen <= transaction.done
        return None if applied else transaction

    def _change(self, found: pgoutput.Change, size: int) -> None:
        told = self._told.get(found.oid)
        if told is None or self._next() is None:
            return
        old, new = (None if values is None else texts(values) for values in (found.old, found.new))
        for table, places in told.places.items():
            self._pending.append((table, _placed(old, places), _placed(new, places)))
        self._pending_bytes += size
        full = len(self._pending) >= MOST_CHANGES or self._pending_bytes >= MOST_BYTES
        if full and (self._pending_bytes >= MOST_HELD_BYTES or not self._sharing()):
            self._flush_part()

    def _sharing(self) -> str | None:
        """A table among the pending changes of which two rows may share a key until the commit."""
        if not self._deferrable:
            return None
        return next((table for table, *_ in self._pending if table in self._deferrable), None)

    def _commit(self, found: pgoutput.Commit) -> None:
        if found.commit_lsn >= self._position:
            self._merge()
            self._whole += bool(self._transaction and self._transaction.seen)
            self._position, self._committed_us = found.end_lsn, found.committed_us
        self._transaction = None
        if self._effects.changes.total() >= MOST_CHANGES or self._bytes >= MOST_BYTES:
            self._flush()

    def _truncate(self, found: pgoutput.Truncate) -> None:
        touched = {table for oid in found.oids if oid in self._told for table in self._told[oid].tables}
        transaction = self._next() if touched else None
        if transaction is None:
            return
        tables = [table for table in self._plan.tables if table in touched and self._emptied(table, found)]
        transaction.seen -= 1
        self._flush_part()
        self._checkpoint.settle()
        transaction.seen += 1
        kinds = {kind.name for kind in self._plan.written if kind.table.name in tables}
        for keys in keyspace.scan(self._connection, self._plan):
            names = [key for kind, key in keys if kind in kinds]
            if names:
                self._writer.remove(names, "TRUNCATE")
            self._checkpoint.renew_when_due()
            self._confirm(None)
        for table in tables:
            self._held[table] = self._rejected[table] = 0
        self._write(transaction, truncated=len(tables))

    def _emptied(self, table: str, found: pgoutput.Truncate) -> bool:
        """Whether a table was emptied as a whole.

        Raises:
            HelpersError: some of its partitions were, and others not.
        """
        seen = self._seen[table]
        parts = [leaf for leaf in seen.get("leaves", ()) if leaf["holds"]]
        left = [leaf["name"] for leaf in parts if leaf["oid"] not in found.oids]
        if "leaves" not in seen or not left:
            return True
        emptied = [leaf["name"] for leaf in parts if leaf["oid"] in found.oids]
        if emptied:
            raise HelpersError(
                f"{self._upstream.where}: {text.join(emptied)} of {table} was emptied alone, and which of "
                f"its rows were there is not told; nothing was applied from there on; {publication.AGAIN}"
            )
        return False

    # -- writing

    def _merge(self) -> None:
        """Put what was read of the transaction to what waits to be written."""
        for change in self._pending:
            self._effects.change(*change)
        self._bytes += self._pending_bytes
        self._pending, self._pending_bytes = [], 0

    def _flush_part(self) -> None:
        """Write the whole transactions that wait, then what was read of this one.

        Raises:
            HelpersError: two rows may share a key meanwhile.
        """
        if table := self._sharing():
            raise HelpersError(
                f"{self._upstream.where}: a transaction is too large to wait for its end, and its rows of "
                f"{table} may share a key until then, which is DEFERRABLE; nothing was applied from there "
                f"on; make it NOT DEFERRABLE, then {publication.AGAIN}"
            )
        self._flush()
        self._merge()
        self._write(self._transaction, parts=1)

    def _flush(self) -> None:
        """Write the whole transactions that wait."""
        if self._position != self._sent:
            self._write(None)

    def _write(self, transaction: _Transaction | None, *, parts: int = 0, truncated: int = 0) -> None:
        """Write what waits.

        Args:
            transaction: one that is not whole, of which it is written how many changes are done.
            parts: how many parts of it this is.
            truncated: how many tables were emptied before.
        """
        effects = self._effects
        for table in self._plan.tables:
            self._held[table] += effects.held[table]
            self._rejected[table] += effects.rejected[table]
        for reject in effects.rejects:
            self._rejects.add(*reject)
        part = (
            "" if transaction is None else f"{pgoutput.lsn_text(transaction.commit_lsn)} {transaction.seen}"
        )
        fields = {
            slot.POSITION: pgoutput.lsn_text(self._position),
            slot.PART: part,
            slot.COMMITTED: str(self._committed_us),
            "rows_held": json.dumps(self._held),
            "rows_rejected": json.dumps(self._rejected),
        }
        doing = f"transactions up to {pgoutput.lsn_text(self._position)}"
        done = Tally(self._whole, parts, effects.changes, truncated)
        written = partial(self._written, self._position, done)
        self._writer.write(effects, fields, self._finder.find, doing, written)
        self._effects, self._bytes, self._whole = Effects(self._forms), 0, 0
        self._sent = self._position
        if effects.changes or transaction is not None:
            self._changed_at, self._mark = time.monotonic(), None

    def _written(self, position: int, done: Tally) -> None:
        """Take note that a batch is written.

        Args:
            position: the place in the log behind it.
            done: what it was.
        """
        self._tally.add(done)
        self._saved = position

    def _confirm(self, lsn: int | None) -> None:
        """Confirm a place; never one that the target has not written down."""
        if self._stream.acknowledged > self._position:
            self._position = self._stream.acknowledged
            if self._transaction is not None:
                self._checkpoint.commit(state={slot.POSITION: pgoutput.lsn_text(self._position)})
                self._sent = self._saved = self._position
        if self._stream.acknowledged > self._saved:
            self._flush()
            self._checkpoint.settle()
        self._stream.confirm(lsn)

    # -- lag

    def _look(self) -> None:
        """Ask how far the log is, tell the lag, confirm what is safe."""
        ((now_lsn, now_us),) = self._upstream.ask(
            "SELECT pg_current_wal_lsn()::text, (extract(epoch FROM clock_timestamp()) * 1000000)::int8"
        )
        self._looked = time.monotonic()
        self._checkpoint.renew_when_due()
        self._writer.look()
        self._check_leaves()
        end = pgoutput.parse_lsn(now_lsn)
        if not self._beat_at or end - max(self._beat_at, self._saved) > BEAT_BYTES:
            self._upstream.ask(BEAT)
            self._beat_at = end
        self._durable.append((self._looked, self._saved))
        safe = None
        while self._durable and self._durable[0][0] < self._looked - CONFIRM_AFTER_S:
            safe = self._durable.popleft()[1]
        self._confirm(safe)
        if self._mark is None:
            self._mark = (end, self._looked)
        behind = max(end - self._through(), 0)
        seconds = max(now_us - self._committed_us, 0) / 1e6 if behind else 0.0
        self._tally.lag = Lag(self._looked - self._tally.began, behind, seconds, self._tally.transactions)
        self._report(self._tally.lag)

    def _check_leaves(self) -> None:
        """Stop when a partition came or went: the log says nothing of it."""
        if not self._partitioned:
            return
        now = publication.leaves(self._upstream.ask, self._plan)
        for table in self._partitioned:
            since = [{"oid": leaf.oid, "made": leaf.made, "name": leaf.name} for leaf in now.get(table, ())]
            publication.check_leaves(table, self._seen[table]["leaves"], since, self._upstream.where)

    def _through(self) -> int:
        """Up to where the log is applied: what was sent to us, when nothing of it waits."""
        if self._transaction is None and not self._whole and self._sent == self._saved:
            return max(self._saved, self._stream.sent_lsn)
        return self._saved

    def _idle(self, seconds: float) -> bool:
        """Whether nothing came for so long, and the log is applied up to where it was then."""
        if self._mark is None or self._through() < self._mark[0]:
            return False
        return time.monotonic() - max(self._mark[1], self._changed_at) >= seconds


def texts(values: pgoutput.Values) -> Row:
    """The values as text; bytes that are no UTF-8 stay as surrogates."""
    return tuple(None if value is None else value.decode("utf-8", "surrogateescape") for value in values)


def _placed(row: Row | None, places: Sequence[int | None]) -> Row | None:
    """A row in the order of its table's columns; what is not told is as NULL."""
    return None if row is None else tuple(None if at is None else row[at] for at in places)
