"""Commands for a cluster: keys are found where they stand, and only the same key has to wait."""

import hiredis
import pytest
from hypothesis import given, strategies as st

from helpers.columns import column_of, joined
from helpers.target import resp, routing

WORD = st.binary(max_size=40) | st.sampled_from([b"*2\r\n$3\r\nGET\r\n", b"{a}b", b"\r\n", b"0" * 1200])
COMMAND = st.one_of(
    st.tuples(st.sampled_from([b"HSET", b"ZADD", b"GET", b"LRANGE"]), WORD, WORD),
    st.tuples(st.sampled_from([b"EVAL", b"EVALSHA"]), WORD, st.just(b"1"), WORD, WORD),
    st.tuples(st.just(b"MEMORY"), st.just(b"USAGE"), WORD),
)


@given(st.lists(COMMAND))
def test_keys_and_slots_are_those_of_the_words(commands: list[tuple[bytes, ...]]) -> None:
    column = column_of(*(resp.encode(*words) for words in commands))
    keys = [routing.key_of(words) or b"" for words in commands]
    assert routing.keys(column) == keys
    found, apart = routing.requests(column), routing.parse_requests(joined(column))
    assert (
        (found.slots, found.replies)
        == (apart.slots, apart.replies)
        == ([*map(routing.slot, keys)], [1] * len(keys))
    )
    assert b"".join(found.packed) == joined(column) == b"".join(apart.packed)
    assert found.rounds == apart.rounds or len(set(keys)) == len(keys)


def test_several_commands_on_one_key_are_one_row() -> None:
    both = resp.encode("LRANGE", "user:1:activities", 0, -1) + resp.encode("LLEN", "user:1:activities")
    assert routing.keys(column_of(both, resp.encode("TYPE", "x"))) == [b"user:1:activities", b"x"]


@pytest.mark.parametrize("words", [("DBSIZE",), ("EVAL", "return 1", 0), ("MULTI",), ("EXEC", "x")])
def test_a_command_without_a_key_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"key|transaction"):
        routing.keys(column_of(resp.encode("GET", "x"), resp.encode(*words)))


def test_a_command_waits_for_the_writes_before_it_on_its_key() -> None:
    commands = [("SET", "a", 1), ("GET", "a"), ("GET", "a"), ("SET", "b", 1), ("SET", "a", 2), ("GET", "a")]
    assert routing.requests(column_of(*(resp.encode(*words) for words in commands))).rounds == [
        0,
        1,
        1,
        0,
        1,
        2,
    ]


REPLY = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=40) | st.none(),
    lambda inner: st.lists(inner, max_size=5),
)


@given(REPLY)
def test_a_reply_put_together_again_is_the_same(reply: object) -> None:
    assert resp.parse(routing.packed(reply)) == [reply]


def test_an_error_reply_stays_one() -> None:
    (found,) = resp.parse(routing.packed(hiredis.ReplyError("WRONGTYPE of a key")))
    assert isinstance(found, hiredis.ReplyError) and str(found) == "WRONGTYPE of a key"
