"""One kind of progress bar for commands and notebooks."""

import sys
from typing import Any

from tqdm import tqdm


def bar(total: int | None, desc: str, *, unit: str = "rows", enabled: bool = True) -> "tqdm[Any]":
    """A progress bar on stderr with rate and remaining time; use as a context manager and call ``update(n)``.

    It is removed when done, so that notebooks and logs keep results only.
    """
    return tqdm(
        total=total,
        desc=desc,
        unit=f" {unit}",
        unit_scale=unit == "rows",
        disable=not enabled,
        file=sys.stderr,
        leave=False,
        mininterval=0.2,
        dynamic_ncols=True,
    )
