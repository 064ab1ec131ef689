"""A Redis Cluster, spoken to as if it were one server: each command goes to the node that has its slot.

``Cluster`` has the interface of ``resp.Connection``. It takes commands apart, sends each node its own as one
write, all nodes at the same time, and gives the replies back in the order of the commands. Of the many
commands of a batch no more is looked at than where their keys stand.

What a node refuses because a key is elsewhere or no longer there (MOVED, ASK), or because it cannot answer
now (TRYAGAIN, CLUSTERDOWN, LOADING), it has not executed: that command is sent again, and nothing else is.
So that this changes no order, a command on a key waits for the replies to the writes before it on the same
key. A connection that breaks is never opened again here: what became of its commands is not known, and a
replica that takes over may lack what its master had acknowledged. Then everything is given up (``Lost``),
and the caller begins anew and compares.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (redirection, failover).
"""

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import hiredis

from helpers.columns import Strings, to_list
from helpers.errors import HelpersError
from helpers.target import resp, routing, topology
from helpers.target.resp import encode
from helpers.target.routing import Requests, packed

WAIT_S = 10.0
"""How long a command is sent again that no node executes; less than the lease of a migration lasts."""
PAUSE_S = 0.05
REPLICA_S = 5.0
"""How long a node without slots may keep silent."""
WAITS = ("TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN")
NOT_EXECUTED = ("MOVED", "ASK", "NOSCRIPT", *WAITS)
ASKING = encode("ASKING")
known: dict[str, list[str]] = {}
"""The nodes that a cluster had when it was last asked, by the URL that led to it: one may be gone."""


@dataclass(frozen=True)
class _Refusal:
    """A request that a node did not execute, and what it answered, whose first word is the code."""

    request: int
    address: str
    code: str
    text: str


def replaced(node: resp.Connection) -> resp.Lost:
    """The error for a node that was a master, and is none any more."""
    return resp.Lost(
        f"redis at {node.address}: it is a master no more, so that what it acknowledged last may be lost; "
        "the same command goes on, and compares all"
    )


class Node(resp.Connection):
    """One node of a cluster."""

    def error_of(self, error: hiredis.ReplyError, doing: str = "") -> HelpersError:
        """``resp.Connection.error_of``; a master that became a replica is lost.

        Args:
            error: the reply.
            doing: what was being done, for the message; empty to leave it out.
        """
        return replaced(self) if str(error).startswith("READONLY") else super().error_of(error, doing)


class Cluster(resp.Connection):
    """The masters of a cluster as one connection.

    Args:
        url: by which it was reached.
        first: a connection to one of its nodes, which is closed.

    Attributes:
        met: how often each redirection or wait was met, by the first word of the reply.
        on_connect: called when a node was connected to after the first ones, before anything is sent to it.
    """

    clustered = True

    def __init__(self, url: str, first: resp.Connection) -> None:
        self.url, self.address = url, first.address
        self.met: Counter[str] = Counter()
        self.on_connect: Callable[[resp.Connection], None] | None = None
        self._user = first.user
        self._nodes: dict[str, resp.Connection] = {}
        self._owners: list[str] = []
        self._masters: list[str] = []
        self._replicas: list[str] = []
        self._scripts: list[str] = []
        self._error_from: dict[str, str] = {}
        try:
            self._learn(first)
            self.masters()
            first.close()  # it may be a replica, or a master by another name
        except BaseException:
            self.close()
            raise

    # -- what a connection is

    @property
    def user(self) -> str:
        """The name of the ACL user."""
        return self._user

    def close(self) -> None:
        """Close all connections."""
        for node in self.nodes():
            node.close()

    def exchange(self, *commands: bytes) -> bytes:
        """The replies to some commands, each of which is on a key, in RESP; a status comes as a string.

        Raises:
            Lost: a connection broke, a node is no longer what it was, or nothing was executed for long.
        """
        return b"".join(map(packed, self._replies(routing.parse_requests(b"".join(commands)))))

    def replies(self, commands: Strings) -> list[Any]:
        """The parsed replies to some commands, each of which is on a key; errors are among them.

        Raises:
            Lost: as ``exchange``.
        """
        return self._replies(routing.requests(commands))

    def unexpected_replies(self, commands: Strings, expected: Strings) -> bytes | None:
        """``resp.Connection.unexpected_replies``; its arguments and errors.

        What each node should say is compared as a whole; only where one says something else, which may be
        that a key has moved, all are asked again, one by one.
        """
        slots = routing.slots(routing.keys(commands))
        groups = _grouped(range(len(slots)), [self._owners[slot] for slot in slots])
        asked, wanted = to_list(commands), to_list(expected)
        came = self._at_once({address: [asked[i] for i in some] for address, some in groups.items()})
        if all(came[address] == b"".join([wanted[i] for i in some]) for address, some in groups.items()):
            return None
        for address, raw in came.items():
            for error in resp.errors(resp.parse(raw)):
                if str(error).split(" ", 1)[0] not in (*NOT_EXECUTED, "WRONGTYPE"):
                    raise self._nodes[address].error_of(error)
        replies = self.exchange(*asked)
        return None if replies == b"".join(wanted) else replies

    def error_of(self, error: hiredis.ReplyError, doing: str = "") -> HelpersError:
        """``resp.Connection.error_of``, with the node that gave the reply.

        Args:
            error: the reply.
            doing: what was being done, for the message; empty to leave it out.
        """
        node = self._nodes.get(self._error_from.get(str(error), ""))
        return node.error_of(error, doing) if node else super().error_of(error, doing)

    # -- what a cluster is besides

    def masters(self) -> list[resp.Connection]:
        """A connection to each master, also to one without slots: the first may be on their way to it."""
        return [self._node(address) for address in self._masters]

    def share(self, node: resp.Connection, prefix: str) -> float:
        """``resp.Connection.share``: that of the slots which the node has."""
        if routing.tagged(prefix):
            return float(self._owners[routing.slot(prefix.encode())] == node.address)
        return self._owners.count(node.address) / routing.SLOTS

    def nodes(self) -> list[resp.Connection]:
        """All connections that are open, also those to nodes that were masters."""
        return list(self._nodes.values())

    def owner(self, key: bytes) -> resp.Connection:
        """The connection to the node that a key belongs to."""
        return self._node(self._owners[routing.slot(key)])

    def layout(self) -> tuple[str, ...]:
        """Of each master its slots, and in brackets those that go or come now; asked anew.

        Raises:
            Lost: some slots have no node for long, as far as the nodes tell of themselves.
        """
        deadline, passes = time.monotonic() + WAIT_S, 0
        while True:
            nodes = self.nodes()
            self._learn(nodes[passes % len(nodes)])  # one may know more than another
            found = [
                (node.address, topology.own_slots(node.call("CLUSTER", "NODES"))) for node in self.masters()
            ]
            covered = {slot for _, ranges in found for slot in topology.numbers(ranges)}
            if len(covered) == routing.SLOTS:
                return tuple(" ".join((address, *ranges)) for address, ranges in found)
            if time.monotonic() > deadline:
                raise self._not_whole(routing.SLOTS - len(covered))
            time.sleep(PAUSE_S)
            passes += 1

    def check(self) -> None:
        """Return if every node that was spoken to is still there and a master.

        Raises:
            Lost: one is not: what it acknowledged may be lost.
        """
        for node in self.nodes():
            self._check(node)

    def all_nodes(self) -> list[resp.Connection]:
        """A connection to every node that can be reached, replicas too, to be closed by ``close_extra``.

        Raises:
            Lost: a master cannot be reached.
        """
        self._learn(self.nodes()[0])
        found = self.masters()
        for address in self._replicas:
            with contextlib.suppress(resp.Lost):  # it is down: nobody writes through it
                found.append(
                    self._nodes.get(address)
                    or resp.Connection(topology.node_url(self.url, address), silence_s=REPLICA_S)
                )
        return found

    def close_extra(self, nodes: Iterable[resp.Connection]) -> None:
        """Close those of some nodes that are not spoken to otherwise."""
        for node in nodes:
            if self._nodes.get(node.address) is not node:
                node.close()

    def script(self, text: str) -> bytes:
        """The name of a script for EVALSHA, on every node."""
        name = b""
        for node in self.nodes():
            name = node.call("SCRIPT", "LOAD", text)
        if text not in self._scripts:
            self._scripts.append(text)
        return name

    # -- the nodes

    def _learn(self, node: resp.Connection) -> None:
        """Ask a node which slot is where, and which nodes there are besides.

        Raises:
            Lost: some slots have no node.
        """
        host = (urlsplit(topology.node_url(self.url, node.address)).hostname or "").encode()
        owners, addresses = topology.slot_owners(node.call("CLUSTER", "SLOTS"), host)
        if "" in owners:
            raise self._not_whole(owners.count(""))
        roles = topology.roles(node.call("CLUSTER", "NODES"), addresses, host)
        self._owners, self._masters = owners, sorted(roles.masters | set(owners))
        self._replicas = sorted(set(roles.addresses.values()) - set(self._masters) - roles.failed)
        known[self.url] = list(roles.addresses.values())

    def _not_whole(self, lacking: int) -> resp.Lost:
        return resp.Lost(
            f"redis at {self.address}: {lacking} of the cluster's {routing.SLOTS} slots have no node; wait "
            "until it is whole (`CLUSTER INFO`), then the same command goes on"
        )

    def _node(self, address: str) -> resp.Connection:
        """The connection to a node, opened where it is the first time."""
        if address not in self._nodes:
            node = Node(topology.node_url(self.url, address))
            for text in self._scripts:
                node.call("SCRIPT", "LOAD", text)
            self._nodes[address] = node
            if self.on_connect is not None:
                self.on_connect(node)
        return self._nodes[address]

    def _check(self, node: resp.Connection) -> None:
        if node.call("ROLE")[0] != b"master":
            raise replaced(node)

    # -- commands and replies

    def _replies(self, requests: Requests) -> list[Any]:
        """The parsed replies to some requests, in order."""
        self._error_from.clear()
        replies: list[list[Any]] = [[]] * len(requests)
        for number in range(max(requests.rounds, default=-1) + 1):
            self._round([i for i, at in enumerate(requests.rounds) if at == number], requests, replies)
        return [reply for some in replies for reply in some]

    def _round(self, pending: Sequence[int], requests: Requests, replies: list[list[Any]]) -> None:
        """Send some requests, and again those that were not executed, until all are."""
        asked: dict[int, str] = {}
        deadline, passes = time.monotonic() + WAIT_S, 0
        while pending:
            groups = _grouped(pending, [asked.get(i) or self._owners[requests.slots[i]] for i in pending])
            came = self._at_once(
                {
                    address: [ASKING + requests.packed[i] if i in asked else requests.packed[i] for i in some]
                    for address, some in groups.items()
                }
            )
            refusals: list[_Refusal] = []
            for address, some in groups.items():
                refusals += self._keep(
                    address, some, resp.parse(came[address]), asked.keys(), requests, replies
                )
            if refusals and time.monotonic() > deadline:
                raise resp.Lost(
                    f"redis at {refusals[0].address}: {refusals[0].text}; wait until the cluster is whole "
                    "(`CLUSTER INFO`), then the same command goes on"
                )
            asked = self._heed(refusals, requests, passes)
            pending = sorted(refusal.request for refusal in refusals)
            passes += 1

    def _at_once(self, commands: Mapping[str, Sequence[bytes]]) -> dict[str, bytes]:
        """The raw replies of some nodes to the commands for each; what was not read would come later: so all
        connections end where one fails.
        """
        # All are connected to before the first is sent to: each may have to be allowed to write first.
        nodes = {address: self._node(address) for address in commands}
        try:
            sent = {address: nodes[address].send(*some) for address, some in commands.items()}
            return {address: node.receive(sent[address]) for address, node in nodes.items()}
        except BaseException:
            self.close()
            raise

    def _keep(
        self,
        address: str,
        some: Sequence[int],
        came: Sequence[Any],
        asked: Container[int],
        requests: Requests,
        replies: list[list[Any]],
    ) -> "Iterator[_Refusal]":
        """Keep the replies of a node to some requests; those that it did not execute are given back.

        Args:
            address: of the node.
            some: numbers of the requests that it was sent.
            came: its replies, parsed.
            asked: numbers of those before which ``ASKING`` was sent, to which there is a reply too.
            requests: all requests.
            replies: where those to each request are kept.
        """
        if len(came) == len(some) and hiredis.ReplyError not in map(type, came):  # most of the time
            for i, reply in zip(some, came, strict=True):
                replies[i] = [reply]
            return
        at = 0
        for i in some:
            at += i in asked
            found = list(came[at : at + requests.replies[i]])
            at += requests.replies[i]
            error = next((one for one in found if isinstance(one, hiredis.ReplyError)), None)
            code = str(error).split(" ", 1)[0]
            if code in NOT_EXECUTED:
                yield _Refusal(i, address, code, str(error))
                continue
            replies[i] = found
            if error is not None:
                self._error_from[str(error)] = address

    def _heed(self, refusals: "Sequence[_Refusal]", requests: Requests, passes: int) -> dict[int, str]:
        """Learn from what was refused, or wait.

        Args:
            refusals: what was not executed.
            requests: all requests.
            passes: how often some were sent again already.

        Returns:
            The node that a request is to be sent to once, by the request's number.
        """
        asked: dict[int, str] = {}
        self.met.update(refusal.code for refusal in refusals)
        for refusal in refusals:
            if refusal.code == "ASK":
                asked[refusal.request] = topology.redirection(refusal.text, refusal.address)
            elif refusal.code == "MOVED":
                self._owners[requests.slots[refusal.request]] = topology.redirection(
                    refusal.text, refusal.address
                )
        for address in {refusal.address for refusal in refusals if refusal.code == "NOSCRIPT"}:
            for text in self._scripts:
                self._nodes[address].call("SCRIPT", "LOAD", text)
        moved = {refusal.address for refusal in refusals if refusal.code == "MOVED"}
        for address in moved:
            self._check(self._nodes[address])  # it gave the slot away; or it lost it, with what was in it
        if passes > 3 or any(refusal.code in WAITS for refusal in refusals):
            time.sleep(PAUSE_S)
        if moved and passes % 4 == 3:  # the nodes do not agree yet
            self._learn(self._nodes[moved.pop()])
        return asked


def _grouped(numbers: Sequence[int], addresses: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of requests by the node that each is for, in order.

    Args:
        numbers: of the requests.
        addresses: of the node for each.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, address in zip(numbers, addresses, strict=True):
        groups[address].append(number)
    return groups
