"""Claims: functions that take results and give a sentence, and say so where nothing was measured."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from helpers.results import Missing, Results

Claim = Callable[[Results], str]
Found = Callable[[Any], str]


def from_result(kind: str, *lacking: type[Exception]) -> Callable[..., Callable[[Found], Claim]]:
    """What makes a claim of a function of one result's data.

    Args:
        kind: of the result.
        lacking: errors besides ``LookupError`` by which a function tells that something is not there.

    Returns:
        A decorator. It takes how the sentence begins where nothing was measured (``"The dry run was"``;
        " not measured" and the reason, if one was saved, are added), and the names of ``Results.part`` that
        lead to what the function is given.
    """
    lacks: tuple[type[Exception], ...] = (Missing, LookupError, *lacking)

    def sentence(opening: str, *names: str) -> Callable[[Found], Claim]:
        def make(found: Found) -> Claim:
            @wraps(found)
            def claim(results: Results) -> str:
                try:
                    return found(results.part(kind, *names))
                except lacks as lack:
                    reason = getattr(lack, "reason", "")
                    return f"{opening} not measured{f': {reason}' if reason else ''}."

            return claim

        return make

    return sentence
