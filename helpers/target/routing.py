"""The hash slots of a Redis Cluster: which one a key, and so a command, belongs to.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (key distribution model).
"""

from binascii import crc_hqx
from collections.abc import Mapping, Sequence

SLOTS = 16384
KEY_AT: Mapping[bytes, int] = {b"EVAL": 3, b"EVALSHA": 3, b"MEMORY": 2}
"""Where the first key stands among the words, where that is not behind the command's name."""
AROUND = (b"MULTI", b"EXEC", b"DISCARD")
READS = frozenset(b"EXISTS GET HGETALL LLEN LRANGE MEMORY PTTL TYPE ZCARD ZMSCORE ZRANGE ZSCAN".split())
"""Commands that write nothing, so that their order does not matter."""


def slot(key: bytes) -> int:
    """The slot of a key: CRC16 (XMODEM) of what stands in its first braces, or of all of it."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def all_of(keys: Sequence[bytes]) -> list[int]:
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
