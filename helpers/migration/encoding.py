"""The writer's way: rows as COPY writes them become Redis commands, a batch at a time.

Client objects per command are what makes a migration slow. Here no row becomes a Python object: the bytes of
a batch's commands are woven from the columns that COPY gave.
"""

from dataclasses import dataclass

import numpy as np

from helpers import model
from helpers.columns import (
    NOTHING,
    Numbers,
    Strings,
    bulk,
    decimals,
    merged,
    numbers,
    spread,
    stacked,
    told,
    weave,
)
from helpers.model import Part
from helpers.source import copytext


@dataclass(frozen=True)
class Batch:
    """Commands for some rows, and what the checkpoint says once they are written.

    Attributes:
        rows: how many rows it is made of.
        position: the key of the last of them, as text.
        commands: their commands in RESP, one a row, no two of them on the same key.
        rejected: rows left out because their score would put them in another place.
        score_order: what ``model.ScoreOrder`` has to go on from.
        pushed: the last owner of a list and how long its list is now; None where lists are not guarded.
    """

    rows: int
    position: tuple[str, ...]
    commands: Strings
    rejected: int = 0
    score_order: tuple[int | None, float, int] | None = None
    pushed: tuple[int, int] | None = None


NOBODY = (0, 0)
"""Nothing was pushed yet, so that the first list begins empty."""


class Encoder:
    """Turns the rows of one part into batches; made anew when a load goes on from a checkpoint.

    Args:
        part: which rows.
        prefix: stands before every key.
        score_order: that of the last batch.
        guard: the name of ``PUSH`` in the target; elements are pushed by RPUSH where it is empty.
        pushed: that of the last batch.
    """

    def __init__(
        self,
        part: Part,
        prefix: str,
        score_order: tuple[int | None, float, int] | None = None,
        *,
        guard: bytes = b"",
        pushed: tuple[int, int] = NOBODY,
    ) -> None:
        self._guard, self._pushed = guard, pushed
        self.part, self.prefix = part, prefix.encode()
        self._order = model.ScoreOrder(*(score_order or ()))
        self._where = [part.columns.index(name) for name in part.key]

    def batch(self, columns: list[Strings]) -> Batch:
        """The batch of some rows, given as the part's columns."""
        rows = len(columns[0])
        position = tuple((columns[i].at(rows - 1) or b"").decode() for i in self._where)
        if self.part.holds == "hash":
            return Batch(rows, position, self._hashes(columns))
        owners, dates, ids = columns[:3]
        text, moments = copytext.dates(dates)
        if self.part.holds == "references":
            runs = _Runs.of(owners)
            members = bulk(decimals(moments[::-1])) + bulk(ids[::-1])
            return Batch(rows, position, self._collections(b"ZADD", runs.reversed(), b":orders", members))
        types, rejected = columns[3], 0
        if len(moments) and max(-int(moments.min()), int(moments.max())) >= model.EXACT_SCORE:
            kept = self._in_order(owners, moments, ids)
            rejected = rows - len(kept)
            owners, ids, types, text = (x[kept] for x in (owners, ids, types, text))
            moments = moments[kept]
        order = (self._order.user_id, self._order.score, self._order.highest)
        if rejected == rows:
            return Batch(rows, position, NOTHING, rejected, order, self._pushed if self._guard else None)
        runs = _Runs.of(owners)
        elements = bulk(types, b":", text)
        if self._guard:
            listed = self._guarded(runs, b":activities", elements)
        else:
            listed = self._collections(b"RPUSH", runs, b":activities", elements)
        members = bulk(decimals(moments[::-1])) + bulk(ids[::-1], b":", types[::-1])
        scored = self._collections(b"ZADD", runs.reversed(), b":activities:by_time", members)
        pushed = self._pushed if self._guard else None
        return Batch(rows, position, stacked(listed, scored), rejected, order, pushed)

    def _hashes(self, columns: list[Strings]) -> Strings:
        """HSET for each row; a NULL is an absent field."""
        names = model.FIELDS[self.part.table]
        columns = [
            copytext.dates(column)[0] if name in model.DATES else column
            for name, column in zip(self.part.columns, columns, strict=True)
        ]
        words = np.full(len(columns[0]), 2 + 2 * len(names))
        pieces: list[bytes | Strings] = []
        for name, column in zip(names, columns[1:], strict=True):
            field = [b"$%d\r\n%b\r\n" % (len(name), name.encode()), *bulk(column)]
            if column.present is not None:
                words -= 2 * ~column.present
                field = [weave(*field).only(column.present)]
            pieces += field
        key = bulk(self.prefix + self.part.table[:-1].encode() + b":", columns[0])
        return weave(b"*", told(words), b"\r\n$4\r\nHSET\r\n", *key, *pieces)

    def _collections(
        self, command: bytes, runs: "_Runs", name: bytes, items: list[bytes | Strings]
    ) -> Strings:
        """One command for each run of rows of the same owner.

        Args:
            command: ``RPUSH`` or ``ZADD``.
            runs: the rows.
            name: what stands behind the owner's number in the key.
            items: pieces of what each row adds.
        """
        words = 2 + runs.sizes * (2 if command == b"ZADD" else 1)
        key = bulk(self.prefix + self.part.owner.encode() + b":", runs.owners, name)
        heads = weave(b"*", told(words), b"\r\n$%d\r\n%b\r\n" % (len(command), command), *key)
        return merged(weave(spread(heads, runs.first, runs.rows), *items), runs.first)

    def _guarded(self, runs: "_Runs", name: bytes, items: list[bytes | Strings]) -> Strings:
        """One call of ``PUSH`` for each run; the first list may go on from the last batch."""
        of, before = numbers(runs.owners), np.zeros(len(runs.first), dtype=np.int64)
        if of[0] == self._pushed[0]:
            before[0] = self._pushed[1]
        self._pushed = int(of[-1]), int(before[-1] + runs.sizes[-1])
        key = bulk(self.prefix + self.part.owner.encode() + b":", runs.owners, name)
        script = b"\r\n$7\r\nEVALSHA\r\n$%d\r\n%b\r\n$1\r\n1\r\n" % (len(self._guard), self._guard)
        heads = weave(b"*", told(5 + runs.sizes), script, *key, *bulk(decimals(before)))
        return merged(weave(spread(heads, runs.first, runs.rows), *items), runs.first)

    def _in_order(self, owners: Strings, moments: Numbers, ids: Strings) -> Numbers:
        """The rows that list and sorted set can give back."""
        rows = zip(numbers(owners).tolist(), moments.tolist(), numbers(ids).tolist(), strict=True)
        return np.flatnonzero([self._order.keeps(*row) for row in rows])


@dataclass(frozen=True)
class _Runs:
    """Runs of rows of the same owner.

    Attributes:
        rows: how many rows there are, at least one.
        owners: the owner of each run.
        first: the first row of each run.
        sizes: how many rows each has.
    """

    rows: int
    owners: Strings
    first: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, owners: Strings) -> "_Runs":
        """The runs of a column of owners."""
        of = numbers(owners)
        first = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))
        return cls(len(of), owners[first], first, np.diff(np.append(first, len(of))))

    def reversed(self) -> "_Runs":
        """The runs of the same rows from the last to the first.

        Redis searches a small sorted set from its lowest score on for the place of a new member (ZADD of
        what is encoded as a listpack). From the highest score down, that is the first place it looks at.
        """
        first = self.rows - self.first - self.sizes
        return _Runs(self.rows, self.owners[::-1], first[::-1], self.sizes[::-1])
