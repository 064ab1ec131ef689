"""Activities put together again from a user's list (exact type and date) and sorted set (exact id).

Both hold the same activities, so that each place of one belongs to that place of the other once both are in
the order of (score, activity_id); ``model.ScoreOrder`` sees to it that this is the order of the list. Redis
orders equal scores by the text of the member, so that members are sorted here; those of a user whose
activities do not fit into one window are sorted elsewhere, as many may share a score.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from helpers.errors import HelpersError
from helpers.migration.stored_rows import (
    ELEMENT,
    INT8,
    MEMBER,
    StoredRows,
    TableRows,
    date_microseconds,
    first_fault,
)
from helpers.target import encode
from helpers.text import show

BY_TIME = b":by_time"
Member = tuple[float, int, bytes]
"""(score, activity_id, activity_type)"""
Sort = Callable[[Iterable[list[Member]], Callable[[], int]], Iterator[list[Member]]]
"""Puts members in order: lists of any number of them in, lists of at most so many out."""
Stretch = tuple[bytes, int, int, list[bytes], list[Member]]
"""(key of the list, user, index of the first element, elements, as many members)"""


class Timelines:
    """The activities that Redis holds.

    Args:
        stored: the way to Redis.
        sort: the way to sort what does not fit into a window.
    """

    def __init__(self, stored: StoredRows, sort: Sort) -> None:
        self.stored, self._sort = stored, sort

    def rows_of(self, users: Sequence[int]) -> Iterator[TableRows]:
        """The activities of some users, a window at a time; rows of one user are in the order of the list.

        Args:
            users: their numbers.

        Raises:
            HelpersError: a list or sorted set does not hold what the migration wrote.
        """
        window = self.stored.window
        group: list[tuple[bytes, int, int]] = []
        rows = 0
        for key, user, size in self._sizes(users):
            if size > window.rows:
                yield from self._long(key, user, size)
                continue
            if rows + size > window.rows:
                yield self._short(group)
                group, rows = [], 0
            group.append((key, user, size))
            rows += size
        if group:
            yield self._short(group)

    def _sizes(self, users: Sequence[int]) -> list[tuple[bytes, int, int]]:
        """(key of the list, user, activities) of those users who have any."""
        keys = [b"%buser:%d:activities" % (self.stored.prefix, user) for user in users]
        lengths = self.stored.ask("list", {key: encode("LLEN", key) for key in keys})
        beside = [key + BY_TIME for key in keys]
        cardinalities = self.stored.ask("sorted set", {key: encode("ZCARD", key) for key in beside})
        for key, other, length, cardinality in zip(keys, beside, lengths, cardinalities, strict=True):
            if length != cardinality:
                raise self.stored.damaged(
                    key, f"holds {length:,} elements, and {show(other)} {cardinality:,} members"
                )
        return [found for found in zip(keys, users, lengths, strict=True) if found[2]]

    def _short(self, group: list[tuple[bytes, int, int]]) -> TableRows:
        """All activities of a few users."""
        rows = sum(size for _, _, size in group)
        listed = self.stored.ask("list", {key: _elements(key, 0, size) for key, _, size in group}, rows)
        scored = self.stored.ask(
            "sorted set", {key + BY_TIME: _scores(key, 0, size) for key, _, size in group}, rows
        )
        return self._put_together(
            [
                (key, user, 0, elements, sorted(self._members(key, members)))
                for (key, user, _), elements, members in zip(group, listed, scored, strict=True)
            ]
        )

    def _long(self, key: bytes, user: int, size: int) -> Iterator[TableRows]:
        """The activities of one user, in windows."""
        window = self.stored.window

        def members() -> Iterator[list[Member]]:
            start = 0
            while start < size:
                rows = min(window.rows, size - start)
                (scored,) = self.stored.ask("sorted set", {key + BY_TIME: _scores(key, start, rows)}, rows)
                yield self._members(key, scored)
                start += rows

        start = 0
        for some in self._sort(members(), lambda: window.rows):
            (listed,) = self.stored.ask("list", {key: _elements(key, start, len(some))}, len(some))
            yield self._put_together([(key, user, start, listed, some)])
            start += len(some)

    def _members(self, key: bytes, scored: list[bytes]) -> list[Member]:
        """Members as ZRANGE gives them beside their scores."""
        found = []
        for member, score in zip(scored[::2], scored[1::2], strict=True):
            match = MEMBER.fullmatch(member)
            if match is None or int(match[1]) not in INT8:
                raise self.stored.damaged(key + BY_TIME, "is no activity_id:type", member, "member")
            found.append((float(score), int(match[1]), match[2]))
        return found

    def _put_together(self, stretches: list[Stretch]) -> TableRows:
        """The rows of list elements and members in the same places."""
        rows, scores, places = [], [], []
        for key, user, start, listed, members in stretches:
            if len(listed) != len(members):
                raise self.stored.damaged(key, "became shorter while it was read")
            owner = b"%d" % user
            for i, (element, (score, number, kind)) in enumerate(zip(listed, members, strict=True), start):
                match = ELEMENT.fullmatch(element)
                if match is None:
                    raise self.stored.damaged(key, "is no type:date", element, f"element {i}")
                rows.append((b"%d" % number, owner, match[1], match[2]))
                scores.append(score)
                places.append((key, i))
                if match[1] != kind:
                    raise self._apart(places[-1], element, score, number, kind)
        columns = list(zip(*rows, strict=True))
        if fault := first_fault("timestamp", columns[3]):
            key, i = places[fault[0]]
            raise self.stored.damaged(key, fault[1], columns[3][fault[0]], f"element {i}")
        numbers = date_microseconds(columns[3]).astype("float64")
        for at in np.flatnonzero(numbers != np.array(scores)):
            activity, _, kind, date = rows[at]
            raise self._apart(places[at], kind + b":" + date, scores[at], int(activity), kind)
        return TableRows("activities", columns, [key for key, _ in places])

    def _apart(
        self, place: tuple[bytes, int], element: bytes, score: float, number: int, kind: bytes
    ) -> HelpersError:
        """The error for an element and a member that are not of the same activity."""
        member = show(b"%d:%b" % (number, kind))
        what = (
            f"does not fit {member!r} with the score {score:.0f}, the member in its place in the sorted set"
        )
        return self.stored.damaged(place[0], what, element, f"element {place[1]}")


def _elements(key: bytes, start: int, rows: int) -> bytes:
    return encode("LRANGE", key, start, start + rows - 1)


def _scores(key: bytes, start: int, rows: int) -> bytes:
    return encode("ZRANGE", key + BY_TIME, start, start + rows - 1, "WITHSCORES")
