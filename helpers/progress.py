"""One kind of progress bar for commands and notebooks."""

import builtins
import sys
from typing import Any

from tqdm import tqdm


def watched() -> bool:
    """Whether somebody can see a bar move: stderr is a terminal's or a notebook's."""
    return sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")


def say(line: str) -> None:
    """Write a line on stderr at once, above any bar."""
    tqdm.write(line, file=sys.stderr)


def bar(total: int | None, desc: str, *, unit: str = "rows", enabled: bool = True) -> "tqdm[Any]":
    """A progress bar on stderr with rate and remaining time; a context manager; call ``update(n)``.

    It is removed when done, so that notebooks and terminals keep results only. Where nobody watches (a
    file, a CI log), it speaks every few seconds at most.
    """
    return tqdm(
        total=total,
        desc=desc,
        unit=f" {unit}",
        unit_scale=unit == "rows",
        disable=not enabled,
        file=sys.stderr,
        leave=False,
        delay=0.5,
        mininterval=0.2 if watched() else 5,
        dynamic_ncols=True,
    )
