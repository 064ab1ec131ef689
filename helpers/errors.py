"""The one error a user is meant to read."""


class HelpersError(Exception):
    """Something could not be done.

    The message is one line that says what, where (``host:port``), why, and the remedy. The command line
    prints it without a traceback and exits with 2; in a notebook it stops the cell. The cause stays in
    ``__cause__``.
    """


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's text, or the name of its type when it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
