"""Activities put together again from a user's list (exact type and date) and sorted set (exact id).

Both hold the same activities, so that each place of one belongs to that place of the other once both are in
the order of (score, activity_id); ``model.ScoreOrder`` sees to it that this is the order of the list. Redis
orders equal scores by the text of the member, so that members are sorted here; those of a user whose
activities do not fit into one window are sorted elsewhere, as many may share a score.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from helpers.errors import HelpersError
from helpers.migration import forms
from helpers.migration.holdings import Holdings, Piece
from helpers.target import encode
from helpers.text import show

BY_TIME = b":by_time"
Member = tuple[float, int, bytes]
"""(score, activity_id, activity_type)"""
Sort = Callable[[Iterable[list[Member]], Callable[[], int]], Iterator[list[Member]]]
"""Puts members in order: lists of any number of them in, lists of at most so many out."""
Part = tuple[bytes, int, int, list[bytes], list[Member]]
"""(key of the list, user, index of the first element, elements, as many members)"""


class Timelines:
    """The activities that Redis holds.

    Args:
        holdings: the way to Redis.
        sort: the way to sort what does not fit into a window.
    """

    def __init__(self, holdings: Holdings, sort: Sort) -> None:
        self.holdings, self._sort = holdings, sort

    def pieces(self, users: Sequence[int]) -> Iterator[Piece]:
        """The activities of some users, a window at a time.

        Raises:
            HelpersError: a list or sorted set does not hold what the migration wrote.
        """
        window = self.holdings.window
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
        keys = [b"%buser:%d:activities" % (self.holdings.prefix, user) for user in users]
        lengths = self.holdings.ask("list", {key: encode("LLEN", key) for key in keys})
        beside = [key + BY_TIME for key in keys]
        cardinalities = self.holdings.ask("sorted set", {key: encode("ZCARD", key) for key in beside})
        for key, other, length, cardinality in zip(keys, beside, lengths, cardinalities, strict=True):
            if length != cardinality:
                raise self.holdings.damaged(
                    key, f"holds {length:,} elements, and {show(other)} {cardinality:,} members"
                )
        return [found for found in zip(keys, users, lengths, strict=True) if found[2]]

    def _short(self, group: list[tuple[bytes, int, int]]) -> Piece:
        """All activities of a few users."""
        rows = sum(size for _, _, size in group)
        listed = self.holdings.ask("list", {key: _elements(key, 0, size) for key, _, size in group}, rows)
        scored = self.holdings.ask(
            "sorted set", {key + BY_TIME: _scores(key, 0, size) for key, _, size in group}, rows
        )
        return self._put_together(
            [
                (key, user, 0, elements, sorted(self._members(key, members)))
                for (key, user, _), elements, members in zip(group, listed, scored, strict=True)
            ]
        )

    def _long(self, key: bytes, user: int, size: int) -> Iterator[Piece]:
        """The activities of one user, in windows."""
        window = self.holdings.window

        def members() -> Iterator[list[Member]]:
            start = 0
            while start < size:
                rows = min(window.rows, size - start)
                (scored,) = self.holdings.ask("sorted set", {key + BY_TIME: _scores(key, start, rows)}, rows)
                yield self._members(key, scored)
                start += rows

        start = 0
        for some in self._sort(members(), lambda: window.rows):
            (listed,) = self.holdings.ask("list", {key: _elements(key, start, len(some))}, len(some))
            yield self._put_together([(key, user, start, listed, some)])
            start += len(some)

    def _members(self, key: bytes, scored: list[bytes]) -> list[Member]:
        """Members as ZRANGE gives them beside their scores."""
        found = []
        for member, score in zip(scored[::2], scored[1::2], strict=True):
            match = forms.MEMBER.fullmatch(member)
            if match is None or int(match[1]) not in forms.INT8:
                raise self.holdings.damaged(key + BY_TIME, "is no activity_id:type", member, "member")
            found.append((float(score), int(match[1]), match[2]))
        return found

    def _put_together(self, parts: list[Part]) -> Piece:
        """The rows of list elements and members in the same places."""
        rows, scores, places = [], [], []
        for key, user, start, listed, members in parts:
            if len(listed) != len(members):
                raise self.holdings.damaged(key, "became shorter while it was read")
            owner = b"%d" % user
            for i, (element, (score, number, kind)) in enumerate(zip(listed, members, strict=True), start):
                match = forms.ELEMENT.fullmatch(element)
                if match is None:
                    raise self.holdings.damaged(key, "is no type:date", element, f"element {i}")
                rows.append((b"%d" % number, owner, match[1], match[2]))
                scores.append(score)
                places.append((key, i))
                if match[1] != kind:
                    raise self._apart(places[-1], element, score, number, kind)
        columns = list(zip(*rows, strict=True))
        if fault := forms.fault("timestamp", columns[3]):
            key, i = places[fault[0]]
            raise self.holdings.damaged(key, fault[1], columns[3][fault[0]], f"element {i}")
        numbers = forms.microseconds(columns[3]).astype("float64")
        for at in np.flatnonzero(numbers != np.array(scores)):
            activity, _, kind, date = rows[at]
            raise self._apart(places[at], kind + b":" + date, scores[at], int(activity), kind)
        return Piece("activities", columns, [key for key, _ in places])

    def _apart(
        self, place: tuple[bytes, int], element: bytes, score: float, number: int, kind: bytes
    ) -> HelpersError:
        """The error for an element and a member that are not of the same activity."""
        member = show(b"%d:%b" % (number, kind))
        what = (
            f"does not fit {member!r} with the score {score:.0f}, the member in its place in the sorted set"
        )
        return self.holdings.damaged(place[0], what, element, f"element {place[1]}")


def _elements(key: bytes, start: int, rows: int) -> bytes:
    return encode("LRANGE", key, start, start + rows - 1)


def _scores(key: bytes, start: int, rows: int) -> bytes:
    return encode("ZRANGE", key + BY_TIME, start, start + rows - 1, "WITHSCORES")
