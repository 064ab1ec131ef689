"""The one error a user is meant to read."""

LONG = 200
"""Characters beyond which a server's answer is cut to its first sentence."""


class HelpersError(Exception):
    """Something could not be done.

    The message is one line that says what, where (``host:port``), why, and the remedy. The command line
    prints it without a traceback and exits with 2; in a notebook it stops the cell. The cause stays in
    ``__cause__``.
    """


def brief(text: str) -> str:
    """The text, or its first sentence where it is long, without a full stop."""
    return (text.split(". ")[0] if len(text) > LONG else text).rstrip(".")


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's text, or the name of its type when it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
