"""What a notebook has removed: whoever asks for it reads which cells make it again."""

from typing import Any

from helpers.errors import HelpersError


class Gone(HelpersError, NameError):
    """A name stands for nothing any more."""


def removed(what: str, heading: str) -> Any:
    """What a name stands for when its thing is removed: each use raises ``Gone``; it shows as the message.

    Args:
        what: the thing, as the message names it.
        heading: of the notebook, below which the cells begin that make it again.
    """
    return _Removed(f'{what} was removed; run the cells below the heading "{heading}" first, then this one')


class _Removed:
    def __init__(self, told: str) -> None:
        self.told = told

    def __repr__(self) -> str:
        return str(object.__getattribute__(self, "told"))

    def _used(self, *_: Any) -> Any:
        raise Gone(repr(self))

    __getattribute__ = _used  # isinstance asks for an attribute, too, and by it the drivers
    __bool__ = _used  # or `given or default` would go on with the default
    __str__ = __format__ = __iter__ = __len__ = __contains__ = __getitem__ = _used
    __call__ = __enter__ = __exit__ = _used
