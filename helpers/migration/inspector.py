"""The closer look at replies that are not what they should be: what differs, and what puts it right."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import hiredis

from helpers.migration.findings import Differences
from helpers.migration.required import required_members
from helpers.model import KeyKind, Plan
from helpers.source import Source
from helpers.target import encode, resp

FAR = 50
"""How many elements further on a list is searched for the one that should stand here."""
NAMED = 100
"""How many elements beyond the end of a list are named one by one."""

Words = list[bytes]


@dataclass
class _Collection:
    """What is known of the list, set or sorted set of one kind that was looked at last.

    Attributes:
        kind: of the key.
        shift: how many more elements it holds than it should, so far.
        absent: it is not there, or was cut: what follows is only to be written.
        searched: members that should not be there were looked for.
        extra: those that were found.
    """

    kind: KeyKind
    key: bytes
    shift: int = 0
    absent: bool = False
    searched: bool = False
    extra: set[bytes] = field(default_factory=set)


class Inspector:
    """Compares single replies, notes differences, and mends them when there is a mender.

    Replies must come in the order in which ``expected_replies`` asks: windows of one list, set or sorted set
    follow each other among those of its kind, and what is known of it is carried on.

    Args:
        source: the snapshot, asked which members belong to a set.
        connection: the target.
        plan: of the migration.
        differences: where each difference is noted.
        mender: runs a list of commands in RESP that put differences right; None to look only.
        made: names of kinds that are made by mending: what they lack is no difference.

    Attributes:
        missing: how many keys were not there.
    """

    def __init__(
        self,
        source: Source,
        connection: resp.Connection,
        plan: Plan,
        differences: Differences,
        mender: Callable[[list[bytes]], object] | None = None,
        made: Collection[str] = (),
    ) -> None:
        self._made = frozenset(made)
        self._source, self._connection, self._plan = source, connection, plan
        self._differences, self._mender = differences, mender
        self._mending: list[bytes] = []
        self._collections: dict[str, _Collection] = {}
        self._fetched: tuple[Words, list[bytes | None]] = ([], [])
        self._looked_at = b""
        self.missing = 0
        self._looks: dict[bytes, Callable[..., None]] = {
            b"HGETALL": self._hash,
            b"HMGET": self._fields,
            b"HLEN": self._fields_too_many,
            b"GET": self._string,
            b"LRANGE": self._elements,
            b"LLEN": self._length,
            b"SMISMEMBER": self._members,
            b"SCARD": self._cardinality,
            b"ZRANGE": self._ranks,
            b"ZMSCORE": self._scores,
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
                raise self._connection.error_of(reply, "verify")
            if words[0] == b"HMGET":
                self._fetched = words, due
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
        kind = self._plan.kind_of(key) if self._made else None
        if kind is None or kind.name not in self._made:
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

    def _collection(self, key: bytes) -> _Collection:
        """What is known of a list, set or sorted set; of each kind, windows of one follow each other."""
        kind = self._plan.kind_of(key)
        assert kind is not None
        if kind.name not in self._collections or self._collections[kind.name].key != key:
            self._collections[kind.name] = _Collection(kind, key)
        return self._collections[kind.name]

    def _absent(self, state: _Collection, reply: Any, empty: Callable[[], bool]) -> bool:
        """Whether a list, set or sorted set is only to be written; notes why, the first time.

        Args:
            state: what is known of it.
            reply: to a question about its first elements, or about some members.
            empty: whether that says that it is not there.
        """
        if state.absent:
            return True
        type_ = state.kind.type
        state.absent = self._wrong_type(state.key, type_, reply)
        if not state.absent and empty():
            self.missing += 1
            state.absent = True
            self.note(state.key, None, type_, None, "missing key")
        return state.absent

    def _gone(self, key: bytes) -> bool:
        return not self._connection.call("EXISTS", key)

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

    def _fields(self, words: Words, due: list[bytes | None], reply: Any) -> None:
        """Some fields differ: look at all."""
        key = self._looked_at = words[1]
        pairs = [(name, value) for name, value in zip(words[2:], due, strict=True) if value is not None]
        whole = reply if isinstance(reply, hiredis.ReplyError) else self._connection.call("HGETALL", key)
        self._hash(words, [word for pair in pairs for word in pair], whole)

    def _fields_too_many(self, words: Words, wanted: int, reply: Any) -> None:
        fetched, due = self._fetched
        if self._looked_at != words[1] and fetched[1] == words[1]:
            self._fields(fetched, due, reply)

    # -- strings

    def _string(self, words: Words, due: bytes, reply: Any) -> None:
        key = words[1]
        self._repair(encode("SET", key, due))
        if isinstance(reply, hiredis.ReplyError):
            self.note(key, None, "string", self._connection.call("TYPE", key), "wrong type")
        elif reply is None:
            self.missing += 1
            self.note(key, None, "string", None, "missing key")
        else:
            self.note(key, None, due, reply, "altered value")

    # -- lists

    def _elements(self, words: Words, wanted: Words, reply: Any) -> None:
        key, start = words[1], int(words[2])
        state = self._collection(key)
        if self._absent(state, reply, lambda: not reply and not start):
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
        state = self._collection(key)
        if state.absent or self._wrong_type(key, "list", reply):
            return
        end = wanted + state.shift
        if reply > end:
            for i, element in enumerate(self._connection.call("LRANGE", key, end, end + NAMED - 1)):
                self.note(key, str(end + i), None, element, "extra element")
            if reply > end + NAMED:
                self.note(key, None, str(end), str(reply), "extra elements beyond those named")
            self._repair(encode("LTRIM", key, 0, wanted - 1))

    # -- sets

    def _members(self, words: Words, due: list[int], reply: Any) -> None:
        key, members = words[1], words[2:]
        state = self._collection(key)
        if self._absent(state, reply, lambda: not any(reply) and self._gone(key)):
            self._repair(encode("SADD", key, *members))
            return
        lacking = [member for member, there in zip(members, reply, strict=True) if not there]
        for member in lacking:
            self.note(key, member, member, None, "missing member")
        if lacking:  # as many may be there instead, so that their number shows nothing
            self._repair(encode("SADD", key, *lacking))
            self._extra_members(state)

    # -- sorted sets

    def _ranks(self, words: Words, due: Words, reply: Any) -> None:
        key, start = words[1], int(words[2])
        same = isinstance(reply, list) and reply[::2] == due[::2]
        if same and all(map(_same_score, due[1::2], reply[1::2])):  # a number may be written in several ways
            return
        state, wanted = self._collection(key), dict(zip(due[::2], due[1::2], strict=True))
        if self._absent(state, reply, lambda: not reply and not start):
            self._repair(_zadd(key, wanted))
        else:
            self._scored(state, wanted, self._connection.call("ZMSCORE", key, *wanted))

    def _scores(self, words: Words, due: Words, reply: Any) -> None:
        key, wanted = words[1], dict(zip(words[2:], due, strict=True))
        state = self._collection(key)
        if self._absent(state, reply, lambda: not any(reply) and self._gone(key)):
            self._repair(_zadd(key, wanted))
        else:
            self._scored(state, wanted, reply)

    def _scored(self, state: _Collection, wanted: dict[bytes, bytes], scores: list[bytes | None]) -> None:
        """Compare the scores of some members."""
        wrong, lacking = {}, False
        for (member, score), actual in zip(wanted.items(), scores, strict=True):
            if actual is None or not _same_score(score, actual):
                wrong[member] = score
                lacking = lacking or actual is None
                self.note(state.key, member, score, actual, "wrong score" if actual else "missing member")
        if wrong:
            self._repair(_zadd(state.key, wrong))
        if lacking:  # as many may be there instead, so that their number shows nothing
            self._extra_members(state)

    # -- both

    def _cardinality(self, words: Words, wanted: int, reply: Any) -> None:
        state = self._collection(words[1])
        if isinstance(reply, int) and reply > wanted and not state.absent:
            self._extra_members(state)
            if not state.extra:  # whatever it is, it is no success
                self.note(state.key, None, str(wanted), str(reply), "more members than rows")

    def _extra_members(self, state: _Collection) -> None:
        """Find the members that the source has not, by SSCAN or ZSCAN and questions to the snapshot."""
        if state.searched:
            return
        state.searched = True
        remove = "SREM" if state.kind.type == "set" else "ZREM"
        for members in self._scan(state):
            right = required_members(self._source, self._plan, state.kind, state.key, list(members))
            for member, held in members.items():
                if member not in right and member not in state.extra:  # a scan may give one twice
                    state.extra.add(member)
                    self.note(
                        state.key, member, None, held, "extra member", encode(remove, state.key, member)
                    )

    def _scan(self, state: _Collection) -> Iterator[dict[bytes, bytes]]:
        """Members and what is held of each: its score, or itself."""
        cursor, begun, scored = b"0", False, state.kind.type == "zset"
        while cursor != b"0" or not begun:
            begun = True
            cursor, found = self._connection.call(
                "ZSCAN" if scored else "SSCAN", state.key, cursor, "COUNT", 1000
            )
            yield dict(
                zip(found[::2], found[1::2], strict=True) if scored else zip(found, found, strict=True)
            )


def _same_score(one: bytes, other: bytes) -> bool:
    return one == other or float(one) == float(other)


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
