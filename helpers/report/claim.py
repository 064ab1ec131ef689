"""Claims: functions that take results and give a sentence, and say so where nothing was measured."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from helpers.results import Missing, Results

Claim = Callable[[Results], str]
Found = Callable[[Mapping[str, Any]], str]


def of(kind: str, missing: str, *lacking: type[Exception]) -> Callable[[str], Callable[[Found], Claim]]:
    """What makes a claim of a function of one result's data.

    Args:
        kind: of the result.
        missing: what is said without the result, or the part of it that the function needs; ``{}`` stands
            for the topic.
        lacking: errors besides ``LookupError`` by which a function tells that a part is not there.

    Returns:
        A decorator that takes the topic.
    """
    lacks: tuple[type[Exception], ...] = (Missing, LookupError, *lacking)

    def about(topic: str) -> Callable[[Found], Claim]:
        def make(found: Found) -> Claim:
            @wraps(found)
            def claim(results: Results) -> str:
                try:
                    return found(results.require(kind))
                except lacks:
                    return missing.format(topic)

            return claim

        return make

    return about
