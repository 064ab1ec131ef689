"""Units of a stream of commands: what a cluster's node takes as one, and how its replies are put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis
import numpy as np

from helpers.columns import Bytes, Numbers, Strings, joined, pieces
from helpers.target import resp, routing

END, ZERO = ord("\r"), ord("0")
ELSEWHERE = frozenset((*routing.KEY_AT, *routing.AROUND))
"""Commands whose key is not their first word, or that have none."""


@dataclass
class Units:
    """Commands and transactions, each of which is sent to one node.

    Attributes:
        slots: to the node of which slot each is sent.
        packed: what is sent.
        replies: how many replies come to each.
        rounds: when each is sent: after the writes before it on the same key.
    """

    slots: list[int] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)
    replies: list[int] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.slots)


def of(commands: Strings) -> Units:
    """The units of a column of commands, which are looked at no further than to their keys.

    Args:
        commands: in RESP, each row one command.

    Raises:
        ValueError: a command has no key.
    """
    found, n = keys(commands), len(commands)
    if len(set(found)) < n:  # their order matters
        return taken_apart(joined(commands))
    return Units(routing.all_of(found), pieces(commands), [1] * n, [0] * n)


def keys(commands: Strings) -> list[bytes]:
    """The key of each row of commands, read where it stands.

    Args:
        commands: in RESP, each row one or several on the same key.

    Raises:
        ValueError: a command has no key.
    """
    counts, at = _numbers(commands.data, commands.starts)
    if counts.min(initial=2) < 2:
        raise ValueError("a command without words has no key")
    lengths, starts = _numbers(commands.data, at)
    names = pieces(Strings(commands.data, starts, lengths))
    lengths, starts = _numbers(commands.data, starts + lengths + 2)
    found = pieces(Strings(commands.data, starts, lengths))
    if not ELSEWHERE.isdisjoint(names):
        for i in (i for i, name in enumerate(names) if name in ELSEWHERE):
            found[i] = _key(resp.parse(commands.at(i) or b"")[0])
    return found


def _numbers(data: Bytes, at: Numbers) -> tuple[Numbers, Numbers]:
    """The numbers behind the first byte at each place, and where what follows them begins."""
    numbers, at = np.zeros(len(at), dtype=np.int64), at + 1
    while (digits := (more := data[at]) != END).any():
        numbers = np.where(digits, numbers * 10 + more - ZERO, numbers)
        at = at + digits
    return numbers, at + 2


def taken_apart(stream: bytes) -> Units:
    """The units of a stream."""
    units = Units()
    writes: dict[bytes, int] = {}
    transaction: list[list[bytes]] = []

    def add(inner: list[list[bytes]], keys: list[bytes], *, write: bool) -> None:
        units.slots.append(routing.slot(keys[0]))
        units.replies.append(len(inner))
        units.rounds.append(max((writes.get(key, 0) for key in keys), default=0))
        units.packed.append(b"".join(map(_pack, inner)))
        if write:
            writes.update(dict.fromkeys(keys, units.rounds[-1] + 1))

    for words in resp.parse(stream):
        if transaction or words[0] == b"MULTI":
            transaction.append(words)
            if words[0] in (b"EXEC", b"DISCARD"):
                add(
                    transaction,
                    [key for inner in transaction if (key := routing.key_of(inner)) is not None],
                    write=True,
                )
                transaction = []
            continue
        add([words], [_key(words)], write=words[0] not in routing.READS)
    return units


def _key(words: Sequence[bytes]) -> bytes:
    key = routing.key_of(words)
    if key is None:
        raise ValueError(f"{words[0].decode()} outside of a transaction")
    return key


def _pack(words: Sequence[bytes]) -> bytes:
    """A command in RESP, which is also how an array of strings is answered; in C."""
    return bytes(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]


def packed(reply: Any) -> bytes:
    """A reply in RESP again."""
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return resp.bulk(reply)
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, hiredis.ReplyError):
        return b"-%b\r\n" % str(reply).encode()
    if set(map(type, reply)) <= {bytes}:
        return _pack(reply)
    return b"*%d\r\n%b" % (len(reply), b"".join(map(packed, reply)))
