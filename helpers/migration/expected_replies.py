"""What to ask Redis about some rows, and the replies that must come, byte by byte.

Nothing here is the writer's: rows come from COPY's binary format, and dates are made from 64-bit numbers.
"""

from dataclasses import dataclass, field

import numpy as np

from helpers import model
from helpers.columns import (
    NOTHING,
    Mask,
    Numbers,
    Strings,
    bulk_string,
    column_of,
    decimal_piece,
    decimals,
    merged,
    spread,
    stacked,
    weave,
)
from helpers.model import IN_RANGE, KEPT
from helpers.source import copybinary
from helpers.target import encode


@dataclass(frozen=True)
class Expectations:
    """Commands that only read, and the replies that they must get.

    Attributes:
        commands: a column in RESP, each row one command or several on the same key.
        replies: a column in RESP: what the same row of ``commands`` gets.
        rows: how many rows of the source they are about; 0 where these were counted before.
    """

    commands: Strings = NOTHING
    replies: Strings = NOTHING
    rows: int = 0


HASH_QUERIES = {
    "users": f"SELECT user_id::int8, username, email, created_at FROM users WHERE {KEPT['users']}",
    "products": f"SELECT product_id::int8, product_name, price::text FROM products WHERE {KEPT['products']}",
    "orders": "SELECT order_id::int8, user_id::int8, product_id::int8, order_date, quantity::int8 "
    f"FROM orders WHERE {KEPT['orders']}",
}
NUMBERS: tuple[str, ...] = ("user_id", "product_id", "quantity")


def hashes(table: str, columns: list[Strings], prefix: bytes) -> Expectations:
    """HGETALL for some rows, with their fields in the order of ``model.FIELDS``; a NULL is an absent field.

    Args:
        table: ``users``, ``products`` or ``orders``.
        columns: what ``HASH_QUERIES[table]`` gives, as ``copybinary.Reader`` cuts it: the row's key first.
        prefix: the prefix of the migration.
    """
    names = model.FIELDS[table]
    ids, *values = columns
    pieces: list[bytes | Strings] = []
    words = np.full(len(ids), 2 * len(names))
    for name, value in zip(names, values, strict=True):
        text = value
        if name in model.DATES:
            text = copybinary.iso(copybinary.moments(value))
        elif name in NUMBERS:
            text = decimals(copybinary.integers(value))
        pair = [b"$%d\r\n%b\r\n" % (len(name), name.encode()), *bulk_string(text)]
        if value.present is not None:
            words -= 2 * ~value.present
            pair = [weave(*pair).only(value.present)]
        pieces += pair
    key = bulk_string(prefix + table[:-1].encode() + b":", decimals(copybinary.integers(ids)))
    return Expectations(
        weave(b"*2\r\n$7\r\nHGETALL\r\n", *key),
        weave(b"*", decimal_piece(words), b"\r\n", *pieces),
        len(ids),
    )


@dataclass
class Collections:
    """Lists and sorted sets of one kind of owner, asked for in windows while rows come in order.

    Attributes:
        query: the rows by owner, moment and number, in this order; activities have their type too.
        owner: ``user`` or ``product``.
        kinds: what ``model.KINDS`` calls them.
        prefix: the prefix of the migration.
        owners: how many had rows so far.
    """

    query: str
    owner: str
    kinds: tuple[str, ...]
    prefix: bytes
    owners: int = 0
    _open: int | None = None
    _length: int = 0
    _order: model.ScoreOrder = field(default_factory=model.ScoreOrder)

    @property
    def listed(self) -> bool:
        """Whether each owner has a list beside the sorted set."""
        return len(self.kinds) == 2

    def window(self, columns: list[Strings]) -> Expectations:
        """Ask for what the next rows should be: LRANGE and ZRANGE, LLEN and ZCARD at an owner's end.

        Args:
            columns: what ``query`` gives, as ``copybinary.Reader`` cuts it; at least one row.
        """
        owner, moment, number, *types = columns
        owners, moments, ids = (
            copybinary.integers(owner),
            copybinary.moments(moment),
            copybinary.integers(number),
        )
        if self.listed and max(-int(moments.min()), int(moments.max())) >= model.EXACT_SCORE:
            kept = np.flatnonzero(
                [
                    self._order.keeps(*row)
                    for row in zip(owners.tolist(), moments.tolist(), ids.tolist(), strict=True)
                ]
            )
            owners, moments, ids = owners[kept], moments[kept], ids[kept]
            types = [types[0][kept]]
            if not len(kept):
                return Expectations(rows=len(owner))
        n = len(owners)
        before = self.end() if owners[0] != self._open else Expectations()
        first = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
        sizes = np.diff(np.append(first, n))
        begin = np.zeros(len(first), dtype=np.int64)
        begin[0] = self._length
        self.owners += len(first) - (owners[0] == self._open)
        self._open, self._length = int(owners[-1]), int(begin[-1] + sizes[-1])
        # The last owner may have more rows: its end is asked for when another one comes.
        ended = np.arange(len(first)) < len(first) - 1
        groups = _Groups(n, first, sizes, begin, ended, decimals(owners[first]))
        found = [before]
        if self.listed:
            elements = bulk_string(types[0], b":", copybinary.iso(moments))
            found.append(groups.expect(self._key(b"activities"), b"LRANGE", b"LLEN", elements, 1))
        members, scores = [decimals(ids), *types], decimals(moments)
        rank = _ranks(owners, moments, members)
        if rank is not None:
            members, scores = [piece[rank] for piece in members], scores[rank]
        scored = [*bulk_string(*_colons(members)), *bulk_string(scores)]
        name = b"activities:by_time" if self.listed else b"orders"
        found.append(groups.expect(self._key(name), b"ZRANGE", b"ZCARD", scored, 2))
        return Expectations(
            stacked(*(one.commands for one in found)),
            stacked(*(one.replies for one in found)),
            len(owner) if self.listed else 0,
        )

    def end(self) -> Expectations:
        """Ask how long the collections of the last owner are; nothing when that was asked already."""
        if self._open is None:
            return Expectations()
        names = (b"activities", b"activities:by_time") if self.listed else (b"orders",)
        keys = [b"%b%d%b" % (start, self._open, end) for start, end in map(self._key, names)]
        asked = [encode("ZCARD" if key.endswith(names[-1]) else "LLEN", key) for key in keys]
        lengths = column_of(*[b":%d\r\n" % self._length] * len(names))
        self._open, self._length = None, 0
        return Expectations(column_of(*asked), lengths)

    def _key(self, name: bytes) -> tuple[bytes, bytes]:
        return self.prefix + self.owner.encode() + b":", b":" + name


@dataclass(frozen=True)
class _Groups:
    """Rows of the same owner in a window.

    Attributes:
        n: how many rows the window has.
        first: the first row of each group.
        sizes: how many rows each has.
        begin: the place of its first row in the owner's collections.
        ended: whether its last row is the owner's last.
        owners: the owner of each group.
    """

    n: int
    first: Numbers
    sizes: Numbers
    begin: Numbers
    ended: Mask
    owners: Strings

    def expect(
        self,
        key: tuple[bytes, bytes],
        command: bytes,
        length: bytes,
        items: "list[bytes | Strings]",
        words: int,
    ) -> Expectations:
        """A range for each group, and the length at the end of a collection.

        Args:
            key: what stands in it before and behind the owner's number.
            command: ``LRANGE`` or ``ZRANGE``.
            length: ``LLEN`` or ``ZCARD``.
            items: pieces of what a row gets, in bulk strings.
            words: how many bulk strings these are; 2 with a score.
        """
        named = bulk_string(key[0], self.owners, key[1])
        scores = b"$10\r\nWITHSCORES\r\n" if words == 2 else b""
        last = self.begin + self.sizes - 1
        asked = weave(
            b"*%d\r\n$%d\r\n%b\r\n" % (4 + (words == 2), len(command), command),
            *named,
            *bulk_string(decimals(self.begin)),
            *bulk_string(decimals(last)),
            scores,
        )
        ends = weave(b"*2\r\n$%d\r\n%b\r\n" % (len(length), length), *named).only(self.ended)
        heads = weave(b"*", decimals(self.sizes * words), b"\r\n")
        totals = weave(b":", decimals(last + 1), b"\r\n").only(self.ended)
        at_end = spread(totals, self.first + self.sizes - 1, self.n)
        return Expectations(
            weave(asked, ends), merged(weave(spread(heads, self.first, self.n), *items, at_end), self.first)
        )


def _colons(pieces: list[Strings]) -> list[bytes | Strings]:
    """The pieces of a member, with a colon between them."""
    found: list[bytes | Strings] = [pieces[0]]
    for piece in pieces[1:]:
        found += [b":", piece]
    return found


def _ranks(owners: Numbers, moments: Numbers, members: list[Strings]) -> Numbers | None:
    """The order of a sorted set, where members of the same score stand in the order of their bytes.

    Args:
        owners: of each row, shape (n,), in order.
        moments: microseconds since 1970 of each row, in the order of each owner's.
        members: what a member is made of, with colons between.

    Returns:
        The row in each place of the sorted sets, shape (n,); None when that is the order of the rows.
    """
    scores = moments.astype(np.float64)
    same = (owners[1:] == owners[:-1]) & (scores[1:] == scores[:-1])
    if not same.any():
        return None
    rank = np.arange(len(owners))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    for start, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        rank[start : last + 1] = sorted(
            range(start, last + 1), key=lambda row: b":".join(piece.at(row) or b"" for piece in members)
        )
    return rank


def collections(prefix: bytes) -> list[Collections]:
    """The three kinds of owners' collections, each to be walked in this order."""
    references = [
        Collections(
            f"SELECT {owner}_id::int8, order_date, order_id::int8 FROM orders WHERE {owner}_id IS NOT NULL "
            f"AND order_date IS NOT NULL AND {IN_RANGE.format('order_date')} "
            f"ORDER BY {owner}_id, order_date, order_id",
            owner,
            (f"{owner}_orders",),
            prefix,
        )
        for owner in ("user", "product")
    ]
    activities = (
        "SELECT user_id::int8, activity_date, activity_id::int8, activity_type FROM activities "
        f"WHERE {KEPT['activities']} ORDER BY user_id, activity_date, activity_id"
    )
    return [
        *references,
        Collections(activities, "user", ("user_activities", "user_activities_by_time"), prefix),
    ]
