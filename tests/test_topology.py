"""What nodes of a cluster tell of themselves is read as it stands, whatever they leave out."""

import pytest

from helpers.target import topology
from helpers.target.routing import SLOTS

HOST = b"10.0.0.9"
A, B, C, D = b"a" * 40, b"b" * 40, b"c" * 40, b"d" * 40
SLOTS_REPLY = [
    [0, 100, [b"10.0.0.1", 7000, A, []], [b"10.0.0.3", 7002, C, []]],
    [102, SLOTS - 1, [b"", 7001, B, []]],
]
NODES_REPLY = b"""\
%b 10.0.0.1:7000@17000,one myself,master - 0 0 1 connected 0-100 5 [101->-%b]
%b :7001@17001 master - 0 0 2 connected 102-16383
%b other:7002@17002 slave %b 0 0 1 connected
%b ::1:7003@17003 master,fail - 0 0 3 disconnected
%b 10.0.0.5:7004@17004 master - 0 0 4 connected
%b :0@0 master,noaddr - 0 0 5 disconnected
%b 10.0.0.7:7006@17006 handshake - 0 0 0 connected
""" % (A, B, B, C, A, D, b"e" * 40, b"f" * 40, b"0" * 40)


def test_the_first_node_of_a_range_has_its_slots() -> None:
    owners, addresses = topology.slot_owners(SLOTS_REPLY, HOST)
    assert (owners[0], owners[100], owners[101], owners[102]) == (
        "10.0.0.1:7000", "10.0.0.1:7000", "", "10.0.0.9:7001"
    )  # fmt: skip
    assert len(owners) == SLOTS and owners.count("") == 1
    assert addresses == {A: "10.0.0.1:7000", B: "10.0.0.9:7001", C: "10.0.0.3:7002"}


def test_nodes_without_slots_and_lost_ones_are_known_too() -> None:
    _, addresses = topology.slot_owners(SLOTS_REPLY, HOST)
    found = topology.roles(NODES_REPLY, addresses, HOST)
    assert found.masters == {"10.0.0.1:7000", "10.0.0.9:7001", "10.0.0.5:7004"}
    assert found.failed == {"[::1]:7003"}
    assert found.addresses == addresses | {D: "[::1]:7003", b"e" * 40: "10.0.0.5:7004"}


def test_slots_that_go_or_come_are_told_but_not_counted() -> None:
    ranges = topology.own_slots(NODES_REPLY)
    assert ranges == ["0-100", "5", f"[101->-{B.decode()}]"]
    assert list(topology.numbers(ranges)) == [*range(101), 5]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381"),
        ("ASK 3999 :6381", "10.0.0.1:6381"),
        ("MOVED 3999 ::1:6381", "[::1]:6381"),
        ("MOVED 3999 [::1]:6381", "[::1]:6381"),
    ],
)
def test_a_redirection_names_a_node(text: str, address: str) -> None:
    assert topology.redirection(text, "10.0.0.1:6379") == address


def test_the_url_of_another_node_keeps_user_and_options() -> None:
    assert (
        topology.node_url("rediss://user:p%40ss@a:1/0?ssl_cert_reqs=none", "[::1]:2")
        == "rediss://user:p%40ss@[::1]:2/0?ssl_cert_reqs=none"
    )
