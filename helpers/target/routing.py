"""The hash slots of a Redis Cluster: which one a key, and so a command, belongs to.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (key distribution model).
"""

from binascii import crc_hqx
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis
import numpy as np

from helpers.columns import Bytes, Numbers, Strings, joined, to_list
from helpers.target import resp

SLOTS = 16384
KEY_AT: Mapping[bytes, int] = {b"EVAL": 3, b"EVALSHA": 3, b"MEMORY": 2}
"""Where the first key stands among the words, where that is not behind the command's name."""
AROUND = (b"MULTI", b"EXEC", b"DISCARD")
READS = frozenset(
    b"EXISTS GET HGETALL HLEN HMGET HPTTL LINDEX LLEN LRANGE MEMORY PTTL SCARD SMEMBERS SMISMEMBER SSCAN "
    b"TYPE ZCARD ZCOUNT ZMSCORE ZRANGE ZRANGEBYSCORE ZSCAN ZSCORE".split()
)
"""Commands that write nothing, so that their order does not matter."""
END, ZERO = ord("\r"), ord("0")
ELSEWHERE = frozenset((*KEY_AT, *AROUND))
"""Commands whose key is not their first word, or that have none."""


def slot(key: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of what stands in its first braces, or of all of it."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def slots(keys: Sequence[bytes]) -> list[int]:
    """The slot of each key."""
    if any(b"{" in key for key in keys):
        return [slot(key) for key in keys]
    return [crc_hqx(key, 0) % SLOTS for key in keys]


def key_of(words: Sequence[bytes]) -> bytes | None:
    """The first key of a command that is on keys; None of one around a transaction.

    Raises:
        ValueError: the command has no key.
    """
    if words[0] in AROUND:
        return None
    at = KEY_AT.get(words[0], 1)
    if len(words) <= at or (at == 3 and words[2] == b"0"):
        raise ValueError(f"{words[0].decode()} has no key, so that no node of a cluster is the one to ask")
    return words[at]


def tagged(prefix: str) -> bool:
    """Whether a prefix has braces that bring all keys behind it to one slot."""
    start = prefix.find("{")
    return start >= 0 and prefix.find("}", start + 1) > start + 1


@dataclass
class Requests:
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


def requests(commands: Strings) -> Requests:
    """The requests of a column of commands, which are looked at no further than to their keys.

    Args:
        commands: in RESP, each row one command.

    Raises:
        ValueError: a command has no key.
    """
    found, n = keys(commands), len(commands)
    if len(set(found)) < n:  # their order matters
        return parse_requests(joined(commands))
    return Requests(slots(found), to_list(commands), [1] * n, [0] * n)


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
    names = to_list(Strings(commands.data, starts, lengths))
    lengths, starts = _numbers(commands.data, starts + lengths + 2)
    found = to_list(Strings(commands.data, starts, lengths))
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


def parse_requests(commands: bytes) -> Requests:
    """The requests of some commands, among which there may be transactions.

    Args:
        commands: whole commands in RESP, any number.

    Raises:
        ValueError: a command outside of a transaction has no key.
    """
    found = Requests()
    writes: dict[bytes, int] = {}
    transaction: list[list[bytes]] = []

    def add(inner: list[list[bytes]], keys: list[bytes], *, write: bool) -> None:
        found.slots.append(slot(keys[0]))
        found.replies.append(len(inner))
        found.rounds.append(max((writes.get(key, 0) for key in keys), default=0))
        found.packed.append(b"".join(map(_pack, inner)))
        if write:
            writes.update(dict.fromkeys(keys, found.rounds[-1] + 1))

    for words in resp.parse(commands):
        if transaction or words[0] == b"MULTI":
            transaction.append(words)
            if words[0] in (b"EXEC", b"DISCARD"):
                add(
                    transaction,
                    [key for inner in transaction if (key := key_of(inner)) is not None],
                    write=True,
                )
                transaction = []
            continue
        add([words], [_key(words)], write=words[0] not in READS)
    return found


def _key(words: Sequence[bytes]) -> bytes:
    key = key_of(words)
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
        return resp.bulk_string(reply)
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, hiredis.ReplyError):
        return b"-%b\r\n" % str(reply).encode()
    if set(map(type, reply)) <= {bytes}:
        return _pack(reply)
    return b"*%d\r\n%b" % (len(reply), b"".join(map(packed, reply)))
