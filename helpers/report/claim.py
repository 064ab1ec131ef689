"""Claims: functions that take results and give a sentence, and say so where nothing was measured."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from helpers.results import Missing, Results

Claim = Callable[[Results], str]
Found = Callable[..., str]


def from_results(
    opening: str, read: Callable[[Results], Sequence[Any]], *lacking: type[Exception]
) -> Callable[[Found], Claim]:
    """What makes a claim of a function of what is read from results.

    Args:
        opening: how the sentence begins where nothing was measured (``"The dry run was"``; " not
            measured" and the reason, if one was saved, are added).
        read: gives what the function is called with.
        lacking: errors besides ``LookupError`` by which either tells that something is not there.
    """
    lacks: tuple[type[Exception], ...] = (Missing, LookupError, *lacking)

    def make(found: Found) -> Claim:
        @wraps(found)
        def claim(results: Results) -> str:
            try:
                return found(*read(results))
            except lacks as lack:
                reason = getattr(lack, "reason", "")
                return f"{opening} not measured{f': {reason}' if reason else ''}."

        return claim

    return make


def from_result(kind: str, *lacking: type[Exception]) -> Callable[..., Callable[[Found], Claim]]:
    """What makes a claim of a function of one result's data.

    Args:
        kind: of the result.
        lacking: as for ``from_results``.

    Returns:
        A decorator. It takes how the sentence begins, and the names of ``Results.part`` that lead to what the
        function is given.
    """

    def sentence(opening: str, *names: str) -> Callable[[Found], Claim]:
        return from_results(opening, lambda results: (results.part(kind, *names),), *lacking)

    return sentence
