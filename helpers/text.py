"""Numbers, lists and names as people read them."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

NOT_AVAILABLE = "n/a"


def count(number: float) -> str:
    """A whole number with thousands separators: ``12,345``."""
    return f"{round(number):,}"


def three(number: float) -> str:
    """Three significant digits, without an exponent: ``0.0123``, ``1.23``, ``123``, ``12,300``."""
    if number == 0 or number != number or number in (float("inf"), float("-inf")):
        return f"{number:.0f}"
    rounded = float(f"{number:.3g}")
    size = abs(rounded)
    if size >= 100:
        return f"{rounded:,.0f}"
    decimals = 2
    while size < 1:
        size *= 10
        decimals += 1
    return f"{rounded:.{decimals - (1 if size >= 10 else 0)}f}"


def rows_of(numbers: Mapping[str, int]) -> str:
    """How many rows of each table: ``20 users, 15 products and 1,000 orders``."""
    return join([f"{count(number)} {table}" for table, number in numbers.items()])


def duration_us(microseconds: float) -> str:
    """A duration in the unit that suits it: ``123 µs``, ``1.23 ms``, ``4.56 s``."""
    if abs(microseconds) < 1e3:
        return f"{three(microseconds)} µs"
    if abs(microseconds) < 1e6:
        return f"{three(microseconds / 1e3)} ms"
    return f"{three(microseconds / 1e6)} s"


def duration_s(seconds: float) -> str:
    """``duration_us`` of seconds."""
    return duration_us(seconds * 1e6)


def size_bytes(number: float) -> str:
    """A size in B, KiB, MiB or GiB with three significant digits."""
    for unit in ("B", "KiB", "MiB"):
        if abs(number) < 1024:
            return f"{count(number) if unit == 'B' else three(number)} {unit}"
        number /= 1024
    return f"{three(number)} GiB"


def exact(text: str) -> str:
    """What was counted or set, without the decimals that a measured number has: ``1 s`` of ``1.00 s``,
    ``1.5 GiB`` of ``1.50 GiB``.
    """
    return re.sub(r"(?<=\d)\.(\d*?)0+(?!\d)", lambda found: f".{found[1]}" if found[1] else "", text)


def span(values: Collection[float], write: Callable[[float], str] = three) -> str:
    """The lowest and the highest, ``1.20 to 3.40``, or the one that both are as written.

    Args:
        values: one or more.
        write: makes a number text.
    """
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"


def known(value: Any, write: Callable[[Any], str]) -> str:
    """A value as ``write`` makes it, ``n/a`` where it is None."""
    return NOT_AVAILABLE if value is None else write(value)


def join(words: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``.

    Args:
        words: any number of them.
        last: stands before the last.
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """``1 row``, ``1,234 rows``.

    Args:
        number: how many.
        noun: for one.
        nouns: for any other number; the noun with an s when None.
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def show(value: Any) -> Any:
    """A value as text for people; bytes that are not UTF-8 are shown as escapes."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def one_line(text: str) -> str:
    """A text in which line breaks, and what else is not to be seen, are escaped as in Python."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
