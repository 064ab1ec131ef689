"""Throw-away servers that are filled: the disk they need, and what is said when one fails."""

import contextlib
import shutil
from collections.abc import Iterator

from helpers import settings
from helpers.errors import HelpersError, first_line

FREE_GB = 6
"""Disk space without which MongoDB and Cassandra are left out."""


def need_disk() -> None:
    """Return if there is room for data that outgrow a cache.

    Raises:
        HelpersError: there is not.
    """
    free = shutil.disk_usage(settings.home()).free
    if free < FREE_GB * 1e9:
        raise HelpersError(
            f"{free / 1e9:.1f} GB of disk are free where servers keep their data, {FREE_GB} are needed"
        )


@contextlib.contextmanager
def told(name: str, url: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Tell what a driver raises in one line.

    Args:
        name: of the store.
        url: of the server; only its address is told.
        errors: what the driver raises.

    Raises:
        HelpersError: in place of one of them.
    """
    try:
        yield
    except errors as error:
        raise HelpersError(
            f"{name} at {settings.address(url)}: the throw-away server failed ({first_line(error)}); nothing "
            "was saved, measure again"
        ) from error
