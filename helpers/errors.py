"""The one error a user is meant to read."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONG = 200
"""Characters beyond which a server's answer is cut to its first sentence."""
FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR}
ELSEWHERE = "choose another place by --out, HELPERS_HOME, HELPERS_RESULTS or TMPDIR"


class HelpersError(Exception):
    """Something could not be done.

    The message is one line that says what, where (``host:port``), why, and the remedy. The command line
    prints it without a traceback and exits with 2; in a notebook it stops the cell, and IPython shows it
    alone. The cause stays in ``__cause__``.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def brief(text: str) -> str:
    """The text, or its first sentence where it is long, without a full stop."""
    return (text.split(". ")[0] if len(text) > LONG else text).rstrip(".")


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's text, or the name of its type when it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def os_refusal(error: OSError, place: Path | None = None, remedy: str = ELSEWHERE) -> str:
    """What the system refuses, as a message: where, why, and the remedy where a full disk or a missing right
    is the cause.

    Args:
        error: what was raised; it does not know its file when that was open already.
        place: the folder or file, where the error does not say.
        remedy: against both causes.
    """
    where = error.filename or place
    text = f"{where}: {error.strerror}" if where and error.strerror else error.strerror or first_line(error)
    if error.errno in FULL:
        return f"{text}; free space, or {remedy}"
    return f"{text}; {remedy}" if error.errno in DENIED else text


@contextmanager
def writing(place: Path, remedy: str) -> Iterator[None]:
    """Inside, a full disk or a missing right is told with the place and the remedy.

    Raises:
        HelpersError: the system refuses to write.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL | DENIED:
            raise
        raise HelpersError(os_refusal(error, place, remedy)) from error


def usable(folder: Path, remedy: str) -> Path:
    """The folder, made when missing, after a file could be written there: better known before long work.

    Raises:
        HelpersError: the system refuses; the remedy is in the message.
    """
    probe = folder / f".probe-{os.getpid()}"
    with writing(folder, remedy):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    return folder
