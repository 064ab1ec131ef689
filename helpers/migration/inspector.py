"""The closer look at replies that are not what they should be: what differs, and what puts it right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hiredis

from helpers import model
from helpers.migration.findings import Differences
from helpers.model import KEPT
from helpers.source import Source
from helpers.target import encode, resp

FAR = 50
"""How many elements further on a list is searched for the one that should stand here."""
NAMED = 100
"""How many elements beyond the end of a list are named one by one."""

Words = list[bytes]


@dataclass
class _Collection:
    """What is known of the list or sorted set that was looked at last.

    Attributes:
        shift: how many more elements it holds than it should, so far.
        absent: it is not there, or was cut: what follows is only to be written.
        searched: members that should not be there were looked for.
    """

    key: bytes = b""
    shift: int = 0
    absent: bool = False
    searched: bool = False


class Inspector:
    """Compares single replies, notes differences, and mends them when there is a mender.

    Replies must come in the order in which ``expected_replies`` asks: windows of one list or sorted set
    follow each other, and what is known of it is carried on.

    Args:
        source: the snapshot, asked which members belong to a sorted set.
        connection: the target.
        prefix: the prefix of the migration.
        differences: where each difference is noted.
        mender: runs a list of commands in RESP that put differences right; None to look only.

    Attributes:
        missing: how many keys were not there.
    """

    def __init__(
        self,
        source: Source,
        connection: resp.Connection,
        prefix: str,
        differences: Differences,
        mender: Callable[[list[bytes]], object] | None = None,
    ) -> None:
        self._source, self._connection, self._prefix = source, connection, prefix
        self._differences, self._mender = differences, mender
        self._mending: list[bytes] = []
        self._list = _Collection()
        self._sets: dict[bytes, _Collection] = {}
        self.missing = 0
        self._looks: dict[bytes, Callable[..., None]] = {
            b"HGETALL": self._hash,
            b"LRANGE": self._elements,
            b"LLEN": self._length,
            b"ZRANGE": self._members,
            b"ZCARD": self._cardinality,
        }

    def inspect(self, commands: bytes, expected: bytes, replies: bytes) -> None:
        """Look at each reply that is not what it should be, then mend.

        Args:
            commands: what was asked, in RESP.
            expected: what should have come, in RESP.
            replies: what came, in RESP, a reply for each command.

        Raises:
            HelpersError: a reply is an error other than that of a key of another type.
        """
        asked, wanted, came = resp.parse(commands), resp.parse(expected), resp.parse(replies)
        for words, due, reply in zip(asked, wanted, came, strict=True):
            if isinstance(reply, hiredis.ReplyError) and not str(reply).startswith("WRONGTYPE"):
                raise self._connection.refused(reply, "verify")
            if reply != due:
                self._looks[words[0]](words, due, reply)
        self.mend()

    def note(self, key: bytes, field: Any, expected: Any, actual: Any, problem: str, *mending: bytes) -> None:
        """Note a difference, and the commands that put it right, which ``mend`` runs.

        Args:
            key: the Redis key.
            field: the hash field, list index or member; None for the key itself.
            expected: value that the source asks for, text or bytes; None for nothing.
            actual: value in the target, text or bytes; None for nothing.
            problem: a few words, the same for each difference of that sort.
            mending: commands in RESP, in the order in which they are to run.
        """
        self._differences.add(key, field, expected, actual, problem)
        self._repair(*mending)

    def mend(self) -> None:
        """Run the commands noted so far, when there is a mender."""
        if self._mender is not None and self._mending:
            self._mender(self._mending)
        self._mending = []

    def _repair(self, *commands: bytes) -> None:
        if self._mender is not None:
            self._mending += commands

    def _wrong_type(self, key: bytes, expected: str, reply: Any) -> bool:
        """Whether the reply says that the key is of another type; notes it."""
        if not isinstance(reply, hiredis.ReplyError):
            return False
        self.note(key, None, expected, self._connection.call("TYPE", key), "wrong type", encode("DEL", key))
        return True

    def _absent(self, state: _Collection, expected: str, start: int, reply: Any) -> bool:
        """Whether a list or sorted set is only to be written; notes why, the first time."""
        if state.absent:
            return True
        state.absent = self._wrong_type(state.key, expected, reply)
        if not state.absent and not reply and not start:
            self.missing += 1
            state.absent = True
            self.note(state.key, None, expected, None, "missing key")
        return state.absent

    # -- hashes

    def _hash(self, words: Words, due: Words, reply: Any) -> None:
        key, wanted = words[1], dict(zip(due[::2], due[1::2], strict=True))
        rewrite = encode("DEL", key), encode("HSET", key, *due)
        if self._wrong_type(key, "hash", reply):
            self._repair(*rewrite)
            return
        actual = dict(zip(reply[::2], reply[1::2], strict=True))
        if actual == wanted:  # fields may stand in another order
            return
        if not actual:
            self.missing += 1
            self.note(key, None, "hash", None, "missing key")
        for name in {**wanted, **actual} if actual else ():
            if wanted.get(name) != actual.get(name):
                problem = "altered field" if name in wanted else "extra field"
                problem = problem if name in actual else "missing field"
                self.note(key, name, wanted.get(name), actual.get(name), problem)
        self._repair(*rewrite)

    # -- lists

    def _elements(self, words: Words, wanted: Words, reply: Any) -> None:
        key, start = words[1], int(words[2])
        state = self._list = self._list if self._list.key == key else _Collection(key)
        if self._absent(state, "list", start, reply):
            self._repair(encode("RPUSH", key, *wanted))
            return
        first = start + state.shift
        actual = self._connection.call("LRANGE", key, first, first + len(wanted) + FAR - 1)
        differing = None
        for problem, i, j in _align(wanted, actual):
            differing = i if differing is None else differing
            expected = wanted[i] if problem != "extra element" else None
            found = actual[j] if problem != "missing element" else None
            self.note(key, str(first + j), expected, found, problem)
            state.shift += {"extra element": 1, "missing element": -1}.get(problem, 0)
        if differing is not None and self._mender is not None:
            keep = start + differing
            cut = encode("LTRIM", key, 0, keep - 1) if keep else encode("DEL", key)
            self._repair(cut, encode("RPUSH", key, *wanted[differing:]))
            state.absent = True

    def _length(self, words: Words, wanted: int, reply: Any) -> None:
        key = words[1]
        state = self._list if self._list.key == key else _Collection(key)
        if state.absent or self._wrong_type(key, "list", reply):
            return
        end = wanted + state.shift
        if reply > end:
            for i, element in enumerate(self._connection.call("LRANGE", key, end, end + NAMED - 1)):
                self.note(key, str(end + i), None, element, "extra element")
            if reply > end + NAMED:
                self.note(key, None, str(end), str(reply), "extra elements beyond those named")
            self._repair(encode("LTRIM", key, 0, wanted - 1))

    # -- sorted sets

    def _members(self, words: Words, due: Words, reply: Any) -> None:
        key, start = words[1], int(words[2])
        wanted = dict(zip(due[::2], due[1::2], strict=True))
        state = self._set(key)
        if self._absent(state, "zset", start, reply):
            self._repair(_zadd(key, wanted))
            return
        wrong, lacking = {}, False
        scores = self._connection.call("ZMSCORE", key, *wanted)
        for (member, score), actual in zip(wanted.items(), scores, strict=True):
            if actual is None or float(actual) != float(score):
                wrong[member] = score
                lacking = lacking or actual is None
                self.note(key, member, score, actual, "wrong score" if actual else "missing member")
        if wrong:
            self._repair(_zadd(key, wrong))
        if lacking:  # as many may be there instead, so that their number shows nothing
            self._extra_members(key, state)

    def _set(self, key: bytes) -> _Collection:
        """What is known of a sorted set; of each kind, windows of one follow each other."""
        kind = key.rpartition(b":")[2]
        if kind not in self._sets or self._sets[kind].key != key:
            self._sets[kind] = _Collection(key)
        return self._sets[kind]

    def _cardinality(self, words: Words, wanted: int, reply: Any) -> None:
        key = words[1]
        state = self._set(key)
        if isinstance(reply, int) and reply > wanted and not state.absent:
            self._extra_members(key, state)

    def _extra_members(self, key: bytes, state: _Collection) -> None:
        """Find the members that the source has not, by ZSCAN and questions to the snapshot."""
        if state.searched:
            return
        state.searched = True
        for members in self._scan(key):
            right = self._rightful(key, members)
            for member in members:
                if member not in right:
                    self.note(key, member, None, members[member], "extra member", encode("ZREM", key, member))

    def _scan(self, key: bytes) -> Iterator[dict[bytes, bytes]]:
        cursor, seen = b"0", False
        while cursor != b"0" or not seen:
            seen = True
            cursor, flat = self._connection.call("ZSCAN", key, cursor, "COUNT", 1000)
            yield dict(zip(flat[::2], flat[1::2], strict=True))

    def _rightful(self, key: bytes, members: dict[bytes, bytes]) -> set[bytes]:
        """Those of the members of a sorted set that the source asks for."""
        found = model.key_pattern(self._prefix).fullmatch(key)
        kind = found.lastgroup if found else None
        owner = "product_id" if kind == "product_orders" else "user_id"
        heads = {member.split(b":", 1)[0] for member in members}
        ids = [int(head) for head in heads if head.lstrip(b"-").isdigit() and len(head) <= 20]
        ids = [number for number in ids if -(2**63) <= number < 2**63]
        if kind == "user_activities_by_time":
            query = f"SELECT activity_id, activity_type FROM activities WHERE {KEPT['activities']}"
            column = "activity_id"
        else:
            query = f"SELECT order_id FROM orders WHERE order_date IS NOT NULL AND {KEPT['orders']}"
            column = "order_id"
        rows = self._source.ask(
            f"{query} AND {owner} = %s AND {column} = ANY(%s::int8[])",
            (model.key_id(key, self._prefix), ids),
        )
        return {":".join(str(value) for value in row).encode() for row in rows}


def _zadd(key: bytes, members: dict[bytes, bytes]) -> bytes:
    return encode("ZADD", key, *(word for member, score in members.items() for word in (score, member)))


def _align(wanted: Words, actual: Words) -> Iterator[tuple[str, int, int]]:
    """(problem, place in wanted, place in actual) of each difference between two lists.

    Where they differ, one of them is searched a little further on for what the other has here, so that one
    element too many is one difference and not as many as follow it.

    Args:
        wanted: how the list should go on.
        actual: how it goes on; it may be longer.
    """
    i = j = 0
    while i < len(wanted):
        if j >= len(actual):
            yield "missing element", i, j
            i += 1
        elif wanted[i] == actual[j]:
            i, j = i + 1, j + 1
        else:
            extra = _find(wanted[i], actual, j)
            lacking = _find(actual[j], wanted, i)
            altered = wanted[i + 1 : i + 2] == actual[j + 1 : j + 2]
            swapped = wanted[i : i + 2] == actual[j : j + 2][::-1]
            if altered or swapped or extra == lacking == FAR:
                yield "wrong element", i, j
                i, j = i + 1, j + 1
            elif extra < lacking:
                yield from (("extra element", i, j + step) for step in range(extra))
                j += extra
            else:
                yield from (("missing element", i + step, j) for step in range(lacking))
                i += lacking


def _find(element: bytes, elements: Words, after: int) -> int:
    """How many places behind a place an element stands; ``FAR`` when it is further away or not there."""
    return next(
        (step for step in range(1, FAR) if elements[after + step : after + step + 1] == [element]), FAR
    )
