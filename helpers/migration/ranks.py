"""Where rows stand in the lists beside a sorted set: asked of the set, where no script sees both."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from helpers.errors import HelpersError
from helpers.migration.effects import Ranked, score_text
from helpers.source import publication
from helpers.target import encode, resp
from helpers.text import show


def ranks(connection: resp.Connection, asked: Sequence[Ranked]) -> tuple[list[int], dict[bytes, int]]:
    """How many members stand before each of some entries, in the order of the lists.

    Args:
        connection: the target, whose lease is held.
        asked: the entries.

    Returns:
        (the number for each entry; how many members each sorted set has).

    Raises:
        resp.Lost: a server went away.
        HelpersError: a member is not there that should be, or one is none of the model's.
    """
    sizes = dict.fromkeys(one.key for one in asked)
    equal = {(one.key, score_text(one.entry.score)): one.order_of for one in asked}
    there = [one for one in asked if one.there]
    replies = iter(
        connection.ask(
            *(encode("ZCARD", key) for key in sizes),
            *(encode("ZCOUNT", key, "-inf", f"({score}") for key, score in equal),
            *(encode("ZRANGEBYSCORE", key, score, score) for (key, score), order in equal.items() if order),
            *(encode("ZSCORE", one.key, one.entry.member) for one in there),
            doing="follow",
        )
    )
    lengths = {key: next(replies) for key in sizes}
    lower = {place: next(replies) for place in equal}
    within: Mapping[tuple[bytes, str], list[Any]] = defaultdict(
        list, {place: sorted(map(order, next(replies))) for place, order in equal.items() if order}
    )
    for one in there:
        if next(replies) is None:
            raise HelpersError(
                f"redis at {connection.address}: {show(one.key)} has not {show(one.entry.member)}; "
                f"{publication.AGAIN}"
            )
    places = [(one, (one.key, score_text(one.entry.score))) for one in asked]
    return [lower[at] + bisect_left(within[at], one.entry.order) for one, at in places], lengths
