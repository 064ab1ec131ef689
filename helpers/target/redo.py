"""The redo log of a migration that is followed onto a cluster: each batch once, whoever dies in between.

No transaction spans slots, and most of what following does may not be done twice. So every slot has a mark: a
key of the migration's own with the number of the last batch that was applied there. What a batch does in a
slot is one call of a script, which sets the mark to the number of the batch, and does nothing where it has
that number already. Replicas get both in one, and while a slot moves to another node it is waited for.

1. The batch, with what the state is to say behind it, goes into the log, which has the slot of the state.
2. Every slot gets its part.
3. When all have answered, the state says so.

Who goes on after an interruption first applies what is in the log, in its order. A batch stays there until
the replicas have it, and for some seconds, so that a node which forgot the last ones gets them again. What is
lost beyond that is noticed: each slot must have a mark, none above the number in the state, and the sum of
all marks stands in the state, too. Then nothing but a comparison of all rows puts it right.
"""

import json
import time
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from helpers.columns import column_of
from helpers.errors import HelpersError
from helpers.target import resp, routing
from helpers.target.checkpoint import state_key
from helpers.target.cluster_checkpoint import ClusterCheckpoint
from helpers.target.resp import encode

NUMBER, SUM = "redo:number", "redo:sum"
FIELDS = (NUMBER, SUM)
"""Fields of the state: the number of the last batch that was applied whole, and the sum of all marks."""
Word = bytes | str | int
Operation = Sequence[Word]
"""Words of the script that concern one key, which is the fourth of them."""
KEY_AT = 3
MOST_WORDS = 400_000
"""Words of a call: Redis takes no more than a million in a command."""
KEPT_S = 4.0
"""Age up to which a batch stays in the log: ``appendfsync everysec`` may forget up to two seconds."""
KEPT_BYTES = 64 << 20
"""What the log may hold, even where a replica is late."""
REPLICA_MS = 100
"""How long a replica is waited for before a batch stays in the log a little longer."""
FAULT = "FAULT"
"""The first word of the script's error when a slot is not as it should be."""


class Fault(HelpersError):
    """A slot is not as it was left, so that nothing can be applied there any more."""


@dataclass(frozen=True)
class _Part:
    """What a batch does in one slot.

    Attributes:
        slot: its number.
        before: the mark that it must have.
        number: the mark that it gets.
        keys: that are touched.
        words: the operations.
    """

    slot: int
    before: int
    number: int
    keys: tuple[bytes, ...]
    words: tuple[Word, ...]

    def packed(self) -> bytes:
        """As it stands in the log."""
        return encode(self.slot, self.before, self.number, len(self.keys), *self.keys, *self.words)

    @classmethod
    def unpacked(cls, words: Sequence[bytes]) -> "_Part":
        """What ``packed`` made."""
        slot, before, number, keys = map(int, words[:4])
        return cls(slot, before, number, tuple(words[4 : 4 + keys]), tuple(words[4 + keys :]))


def log_key(prefix: str) -> bytes:
    """The hash of the log, in the slot of the state.

    Args:
        prefix: of the migration.
    """
    return f"{state_key(prefix, clustered=True)}:redo".encode()


def mark_key(prefix: str, number: int) -> bytes:
    """A key that may be a mark; which slot it has is seen from it.

    Args:
        prefix: of the migration.
        number: any.
    """
    return f"{prefix}migration:applied:{{{number}}}".encode()


@lru_cache(maxsize=4)
def mark_keys(prefix: str) -> Mapping[int, bytes]:
    """The key of the mark of each slot in which there may be keys under a prefix, by the number of the slot.

    Args:
        prefix: of the migration.
    """
    found: dict[int, bytes] = {}
    for number in count():
        key = mark_key(prefix, number)
        found.setdefault(routing.slot(key), key)
        if routing.tagged(prefix) or len(found) == routing.SLOTS:
            break
    return found


class Redo:
    """Writes batches to a cluster whose lease is held.

    Args:
        checkpoint: of the migration.
        script: does operations: its keys are the mark, and the others that it touches; its words begin with
            the mark that must be there and the one that is to be.
    """

    def __init__(self, checkpoint: ClusterCheckpoint, script: str) -> None:
        self._checkpoint, self._connection, self._script = checkpoint, checkpoint.connection, script
        self._log = log_key(checkpoint.prefix)
        self._keys = mark_keys(checkpoint.prefix)
        self._marks: dict[int, int] = {}
        self._number = self._sum = 0
        self._name = b""
        self._kept: deque[tuple[float, int, int]] = deque()

    def begin(self) -> dict[str, str]:
        """Mark every slot behind what was written there before; what the state is to say of it."""
        marks = (encode("SET", key, 0) for key in self._keys.values())
        self._checkpoint.commit(column_of(encode("DEL", self._log), *marks))
        return {NUMBER: "0", SUM: "0"}

    def end(self) -> None:
        """Remove the log and all marks."""
        keys = (self._log, *self._keys.values())
        self._checkpoint.commit(column_of(*(encode("UNLINK", key) for key in keys)))

    def recover(self, state: Mapping[str, str]) -> None:
        """Apply what is in the log, and make sure that nothing was lost; the state is then as it should be.

        Args:
            state: as the checkpoint reads it.

        Raises:
            resp.Lost: a node went away.
            Fault: a node has lost what it had acknowledged, or stopped in the middle of a batch.
        """
        at, expected = int(state[NUMBER]), int(state[SUM])
        self._marks = self._read_marks()
        numbers = sorted(map(int, self._connection.call("HKEYS", self._log)))
        highest = max(at, *numbers, 0)
        if (ahead := max(self._marks.values())) > highest:
            raise self._fault(f"it has batch {ahead}, the state {highest}")
        now = time.monotonic()
        for number in numbers:
            packed = self._connection.call("HGET", self._log, number)
            fields, parts = _unpacked(packed)
            self._apply([part for part in parts if self._marks[part.slot] < part.number])
            self._kept.append((now, number, len(packed)))
            if number > at:
                self._checkpoint.commit(state=fields)
                expected = int(fields[SUM])
        if sum(self._marks.values()) != expected:
            raise self._fault("batches are missing in some slots")
        self._number, self._sum = highest, expected

    def write(self, operations: Iterable[Operation], fields: Mapping[str, str], doing: str) -> None:
        """Apply a batch once.

        Args:
            operations: of the script; those on one key in their order.
            fields: of the state to set behind it.
            doing: what this is, for messages.

        Raises:
            resp.Lost: a node went away; ``recover`` goes on.
            LeaseLost: the lease is not ours any more; who has it goes on.
            resp.Refused: a node refuses; ``recover`` tries again.
            Fault: a slot is not as it was left.
        """
        parts = list(self._parts(operations))
        if not parts:
            self._checkpoint.commit(state=fields)
            return
        number = max(part.number for part in parts)
        total = self._sum + sum(part.number - part.before for part in parts)
        fields = {**fields, NUMBER: str(number), SUM: str(total)}
        packed = _packed(fields, parts)
        self._checkpoint.record(self._log, {str(number): packed})
        self._checkpoint.replicate()
        self._kept.append((time.monotonic(), number, len(packed)))
        self._apply(parts, doing)
        self._number, self._sum = number, total
        self._checkpoint.commit(state=fields)
        self._drop(lambda: sum(size for *_, size in self._kept) > KEPT_BYTES)

    def forget(self) -> None:
        """Take out of the log what all replicas have and no node will forget any more."""
        if not self._kept or time.monotonic() - self._kept[0][0] < KEPT_S:
            return
        for node in self._connection.masters():
            replicas = len(node.call("ROLE")[2])
            if replicas and node.call("WAIT", replicas, REPLICA_MS) < replicas:
                return
        self._drop(lambda: time.monotonic() - self._kept[0][0] >= KEPT_S)

    def _drop(self, due: Callable[[], bool]) -> None:
        """Take the oldest batches but the last out of the log, as long as they are due."""
        numbers = []
        while len(self._kept) > 1 and due():
            numbers.append(self._kept.popleft()[1])
        if numbers:
            self._checkpoint.commit(column_of(encode("HDEL", self._log, *numbers)))

    def _parts(self, operations: Iterable[Operation]) -> Iterator[_Part]:
        """A batch, cut into what each slot gets at once."""
        found: dict[int, list[list[Operation]]] = defaultdict(lambda: [[]])
        words: dict[int, int] = defaultdict(int)
        for operation in operations:
            key = operation[KEY_AT]
            assert isinstance(key, bytes)
            slot = routing.slot(key)
            if words[slot] and words[slot] + len(operation) > MOST_WORDS:
                found[slot].append([])
                words[slot] = 0
            found[slot][-1].append(operation)
            words[slot] += len(operation)
        for slot, calls in found.items():
            before = self._marks[slot]
            for number, call in enumerate(calls, self._number + 1):
                keys = dict.fromkeys(one[KEY_AT] for one in call)
                yield _Part(
                    slot,
                    before,
                    number,
                    tuple(key for key in keys if isinstance(key, bytes)),
                    tuple(word for one in call for word in one),
                )
                before = number

    def _apply(self, parts: Sequence[_Part], doing: str = "") -> None:
        """Give every slot its part."""
        if not parts:
            return
        self._name = self._name or self._connection.script(self._script)
        calls = column_of(*(self._call(part) for part in parts))
        for error in resp.errors(self._connection.replies(calls)):
            code, _, said = str(error).partition(" ")
            raise self._fault(said) if code == FAULT else self._connection.error_of(error, doing)
        self._marks |= {part.slot: part.number for part in parts}

    def _call(self, part: _Part) -> bytes:
        mark = self._keys[part.slot]
        # A key that is never there makes a node answer TRYAGAIN while the slot moves: in the middle of the
        # script a key that was removed could not be written again.
        keys = (mark, mark + b":absent", *part.keys)
        return encode("EVALSHA", self._name, len(keys), *keys, part.before, part.number, *part.words)

    def _read_marks(self) -> dict[int, int]:
        """The number in each slot.

        Raises:
            Fault: one has none, or what went wrong there.
        """
        replies = self._connection.ask(*(encode("GET", key) for key in self._keys.values()))
        found = dict(zip(self._keys, replies, strict=True))
        missing = sum(mark is None for mark in found.values())
        if missing:
            raise self._fault(f"what was in {missing} of its slots is gone")
        wrong = [mark for mark in found.values() if not mark.isdigit()]
        if wrong:
            raise self._fault(wrong[0].decode("utf-8", "replace"))
        return {slot: int(mark) for slot, mark in found.items()}

    def _fault(self, what: str) -> Fault:
        return Fault(
            f"redis at {self._connection.address}: the cluster is not as it was left ({what}); run `migrate "
            "--follow` again, which compares all rows"
        )


def _packed(fields: Mapping[str, str], parts: Iterable[_Part]) -> bytes:
    """A batch as it stands in the log."""
    return zlib.compress(b"".join((encode(json.dumps(fields)), *(part.packed() for part in parts))), 1)


def _unpacked(packed: bytes) -> tuple[dict[str, str], list[_Part]]:
    """(fields of the state, parts) of a batch in the log."""
    (told,), *parts = resp.parse(zlib.decompress(packed))
    return json.loads(told), [_Part.unpacked(words) for words in parts]
