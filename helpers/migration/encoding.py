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
    bulk_string,
    decimal_piece,
    decimals,
    merged,
    numbers,
    spread,
    stacked,
    weave,
)
from helpers.model import Part
from helpers.source import copytext

NOBODY = (0, 0)
"""Nothing was pushed yet, so that the first list begins empty."""


@dataclass(frozen=True)
class Batch:
    """Commands for some rows, and what the checkpoint says once they are written.

    Attributes:
        rows: how many rows it is made of.
        position: the key of the last of them, as text.
        commands: their commands in RESP, one a row, no two of them on the same key.
        rejected: rows left out because their score would put them in another place.
        score_order: what ``model.ScoreOrder`` has to go on from.
        pushed: the last owner of a list and how long its list is now; None without ``PUSH``.
    """

    rows: int
    position: tuple[str, ...]
    commands: Strings
    rejected: int = 0
    score_order: tuple[int | None, float, int] | None = None
    pushed: tuple[int, int] | None = None


class Encoder:
    """Turns the rows of one part into batches; made anew when a load goes on from a checkpoint.

    Args:
        part: which rows.
        prefix: stands before every key.
        score_order: ``Batch.score_order`` of the last batch; None where there was none.
        push_script: the name of ``PUSH`` in the target; elements are pushed by RPUSH where it is empty.
        pushed: ``Batch.pushed`` of the last batch.
    """

    def __init__(
        self,
        part: Part,
        prefix: str,
        score_order: tuple[int | None, float, int] | None = None,
        *,
        push_script: bytes = b"",
        pushed: tuple[int, int] = NOBODY,
    ) -> None:
        self._push_script, self._pushed = push_script, pushed
        self.part, self.prefix = part, prefix.encode()
        self._order = model.ScoreOrder(*(score_order or ()))
        self._where = [part.columns.index(name) for name in part.key]

    def batch(self, columns: list[Strings]) -> Batch:
        """The batch of some rows.

        Args:
            columns: the part's columns of at least one row, as ``copytext.columns`` gives them; rows of one
                owner follow each other, over batches too.
        """
        rows = len(columns[0])
        position = tuple((columns[i].at(rows - 1) or b"").decode() for i in self._where)
        if self.part.holds == "hash":
            return Batch(rows, position, self._hashes(columns))
        owners, dates, ids = columns[:3]
        text, moments = copytext.dates(dates)
        if self.part.holds == "references":
            groups = _grouped(owners)
            members = bulk_string(decimals(moments[::-1])) + bulk_string(ids[::-1])
            return Batch(rows, position, self._collections(b"ZADD", groups.reversed(), b":orders", members))
        types, rejected = columns[3], 0
        if len(moments) and max(-int(moments.min()), int(moments.max())) >= model.EXACT_SCORE:
            kept = self._in_order(owners, moments, ids)
            rejected = rows - len(kept)
            owners, ids, types, text = (x[kept] for x in (owners, ids, types, text))
            moments = moments[kept]
        order = (self._order.user_id, self._order.score, self._order.highest)
        if rejected == rows:
            return Batch(
                rows, position, NOTHING, rejected, order, self._pushed if self._push_script else None
            )
        groups = _grouped(owners)
        elements = bulk_string(types, b":", text)
        if self._push_script:
            listed = self._pushes(groups, b":activities", elements)
        else:
            listed = self._collections(b"RPUSH", groups, b":activities", elements)
        members = bulk_string(decimals(moments[::-1])) + bulk_string(ids[::-1], b":", types[::-1])
        scored = self._collections(b"ZADD", groups.reversed(), b":activities:by_time", members)
        pushed = self._pushed if self._push_script else None
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
            field = [b"$%d\r\n%b\r\n" % (len(name), name.encode()), *bulk_string(column)]
            if column.present is not None:
                words -= 2 * ~column.present
                field = [weave(*field).only(column.present)]
            pieces += field
        key = bulk_string(self.prefix + self.part.table[:-1].encode() + b":", columns[0])
        return weave(b"*", decimal_piece(words), b"\r\n$4\r\nHSET\r\n", *key, *pieces)

    def _collections(
        self, command: bytes, groups: "_Groups", name: bytes, items: list[bytes | Strings]
    ) -> Strings:
        """One command for each group of rows of the same owner.

        Args:
            command: ``RPUSH`` or ``ZADD``.
            groups: the rows.
            name: what stands behind the owner's number in the key.
            items: pieces of what each row adds.
        """
        words = 2 + groups.sizes * (2 if command == b"ZADD" else 1)
        key = bulk_string(self.prefix + self.part.owner.encode() + b":", groups.owners, name)
        heads = weave(b"*", decimal_piece(words), b"\r\n$%d\r\n%b\r\n" % (len(command), command), *key)
        return merged(weave(spread(heads, groups.first, groups.rows), *items), groups.first)

    def _pushes(self, groups: "_Groups", name: bytes, items: list[bytes | Strings]) -> Strings:
        """One call of ``PUSH`` for each group; the first list may go on from the last batch."""
        owners, before = numbers(groups.owners), np.zeros(len(groups.first), dtype=np.int64)
        if owners[0] == self._pushed[0]:
            before[0] = self._pushed[1]
        self._pushed = int(owners[-1]), int(before[-1] + groups.sizes[-1])
        key = bulk_string(self.prefix + self.part.owner.encode() + b":", groups.owners, name)
        script = b"\r\n$7\r\nEVALSHA\r\n$%d\r\n%b\r\n$1\r\n1\r\n" % (
            len(self._push_script),
            self._push_script,
        )
        heads = weave(b"*", decimal_piece(5 + groups.sizes), script, *key, *bulk_string(decimals(before)))
        return merged(weave(spread(heads, groups.first, groups.rows), *items), groups.first)

    def _in_order(self, owners: Strings, moments: Numbers, ids: Strings) -> Numbers:
        """The rows that list and sorted set can give back."""
        rows = zip(numbers(owners).tolist(), moments.tolist(), numbers(ids).tolist(), strict=True)
        return np.flatnonzero([self._order.keeps(*row) for row in rows])


@dataclass(frozen=True)
class _Groups:
    """Rows of the same owner that follow each other.

    Attributes:
        rows: how many rows there are, at least one.
        owners: the owner of each group.
        first: the first row of each group.
        sizes: how many rows each has.
    """

    rows: int
    owners: Strings
    first: Numbers
    sizes: Numbers

    def reversed(self) -> "_Groups":
        """The groups of the same rows from the last to the first.

        Redis searches a small sorted set from its lowest score on for the place of a new member (ZADD of
        what is encoded as a listpack). From the highest score down, that is the first place it looks at.
        """
        first = self.rows - self.first - self.sizes
        return _Groups(self.rows, self.owners[::-1], first[::-1], self.sizes[::-1])


def _grouped(owners: Strings) -> _Groups:
    """The groups of a column of owners, decimal numbers."""
    of_row = numbers(owners)
    first = np.flatnonzero(np.concatenate(([True], of_row[1:] != of_row[:-1])))
    return _Groups(len(of_row), owners[first], first, np.diff(np.append(first, len(of_row))))
