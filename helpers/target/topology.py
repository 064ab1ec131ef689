"""What the nodes of a cluster tell of themselves: addresses, which slot is where, who is a master; pure.

Source: https://redis.io/docs/latest/commands/cluster-slots/ and cluster-nodes/.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from helpers.target.routing import SLOTS


@dataclass(frozen=True)
class Roles:
    """The nodes of a cluster.

    Attributes:
        addresses: of each node, by its name.
        masters: addresses of the masters, also of those without slots.
        failed: addresses of nodes that the others take for lost.
    """

    addresses: Mapping[bytes, str]
    masters: set[str]
    failed: set[str]


def node_url(url: str, address: str) -> str:
    """The URL with the host and port of another node.

    Args:
        url: by which a node of the cluster was reached.
        address: ``host:port`` of the other one.
    """
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{address}").geturl()


def slot_owners(reply: Sequence[Any], host: bytes) -> tuple[list[str], dict[bytes, str]]:
    """Which node has which slot.

    Args:
        reply: to CLUSTER SLOTS, as ``resp.parse`` gives it.
        host: of the node that gave it, which may leave it out.

    Returns:
        The address of the master of each slot, empty where it has none; and that of each node by its name.
    """
    owners = [""] * SLOTS
    addresses: dict[bytes, str] = {}
    for first, last, *nodes in reply:
        found = {node[2]: _address((node[0] or host).decode(), node[1]) for node in nodes}
        master = next(iter(found.values()))  # the first is the master
        owners[first : last + 1] = [master] * (last + 1 - first)
        addresses |= found
    return owners, addresses


def roles(reply: bytes, addresses: Mapping[bytes, str], host: bytes) -> Roles:
    """Which nodes there are, also those without slots.

    Args:
        reply: to CLUSTER NODES.
        addresses: of nodes by name, as ``slot_owners`` gives them: they are taken before those in the reply.
        host: of the node that gave it, which may leave it out.
    """
    known, masters, failed = dict(addresses), set(), set()
    for line in reply.splitlines():
        name, place, flags = line.split(b" ")[:3]
        at, _, port = place.partition(b"@")[0].rpartition(b":")
        if port == b"0" or b"noaddr" in flags or b"handshake" in flags:
            continue
        address = known.setdefault(name, _address((at or host).decode(), int(port)))
        if b"fail" in flags.split(b","):
            failed.add(address)
        elif b"master" in flags:
            masters.add(address)
    return Roles(known, masters, failed)


def own_slots(reply: bytes) -> list[str]:
    """The slots of the node that gave a reply to CLUSTER NODES: ranges, in brackets those that go or come."""
    lines = reply.decode().splitlines()
    (mine,) = (line.split(" ") for line in lines if "myself" in line.split(" ")[2].split(","))
    return mine[8:]


def numbers(ranges: Sequence[str]) -> Iterator[int]:
    """The slots in what ``own_slots`` gave, without those that go or come."""
    for word in ranges:
        if not word.startswith("["):
            first, _, last = word.partition("-")
            yield from range(int(first), int(last or first) + 1)


def redirection(text: str, address: str) -> str:
    """The node that MOVED or ASK names: without a host it is that of the node that answered.

    Args:
        text: of the error reply.
        address: of the node that answered.
    """
    host, _, port = text.split(" ")[2].rpartition(":")
    return _address(host.strip("[]"), int(port)) if host else f"{address.rpartition(':')[0]}:{port}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
