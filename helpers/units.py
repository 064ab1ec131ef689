"""Units of a stream of commands: what a cluster's node takes as one, and how its replies are put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from helpers import resp, slots


@dataclass
class Unit:
    """One command, or a transaction: what is sent, to the node of which slot, and how many replies come."""

    slot: int
    packed: bytes
    replies: int = 1


def taken_apart(stream: bytes) -> tuple[list[Unit], list[int]]:
    """The units of a stream, and in which round each is sent: after the writes before it on the same key."""
    units: list[Unit] = []
    rounds: list[int] = []
    writes: dict[bytes, int] = {}
    transaction: list[list[bytes]] = []
    for words in resp.parse(stream):
        if transaction or words[0] == b"MULTI":
            transaction.append(words)
            if words[0] in (b"EXEC", b"DISCARD"):
                keys = [key for inner in transaction if (key := slots.key_of(inner)) is not None]
                joined = b"".join(map(_pack, transaction))
                units.append(Unit(slots.slot(keys[0]), joined, len(transaction)))
                rounds.append(max((writes.get(key, 0) for key in keys), default=0))
                writes.update(dict.fromkeys(keys, rounds[-1] + 1))
                transaction = []
            continue
        key = slots.key_of(words)
        if key is None:
            raise ValueError(f"{words[0].decode()} outside of a transaction")
        units.append(Unit(slots.slot(key), _pack(words)))
        at = writes.get(key, 0)
        rounds.append(at)
        if words[0] not in slots.READS:
            writes[key] = at + 1
    return units, rounds


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
