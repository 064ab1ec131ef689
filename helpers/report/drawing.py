"""Figures drawn by two processes: each runs the whole notebook and draws every second figure.

Most of a report's time is matplotlib's, which uses one core. The second process draws ahead, and its figures
are taken where the notebook shows them. What it does not give, for whatever reason, is drawn here after all,
so nothing depends on it but time.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from helpers.report import notebooks

Draw = Callable[[], str]
"""Gives a figure as SVG text, or raises what makes it impossible."""


class _Ours:
    """Every other figure is drawn here, the rest is read from the second process."""

    def __init__(self, theirs: IO[bytes]) -> None:
        self._theirs, self._shown = theirs, 0

    def __call__(self, draw: Draw) -> str:
        self._shown += 1
        return draw() if self._shown % 2 else self._taken() or draw()

    def _taken(self) -> str | None:
        line = self._theirs.readline()
        # It may have ended, also in the middle of a line.
        return json.loads(line) if line.endswith(b"\n") else None


class _Theirs:
    """The figures that the first process leaves out; those that it draws are empty here."""

    def __init__(self, answers: IO[bytes]) -> None:
        self._answers, self._shown = answers, 0

    def __call__(self, draw: Draw) -> str:
        self._shown += 1
        if self._shown % 2:
            return ""
        text = None
        try:
            text = draw()
        finally:
            self._answers.write(json.dumps(text).encode() + b"\n")
            self._answers.flush()
        return text


_way: Callable[[Draw], str] = lambda draw: draw()  # noqa: E731


def svg(draw: Draw) -> str:
    """What a function draws, by whichever process draws this figure."""
    return _way(draw)


@contextlib.contextmanager
def _by(way: Callable[[Draw], str]) -> Iterator[None]:
    global _way
    before, _way = _way, way
    try:
        yield
    finally:
        _way = before


@contextlib.contextmanager
def shared(notebook: Path, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Inside, a second process draws every second figure of a notebook, where there is a core for it.

    Args:
        notebook: which is to be run inside, once, in this process.
        parameters: values that replace those of its ``parameters`` cell.
    """
    if os.cpu_count() == 1:
        yield
        return
    other = subprocess.Popen(
        [sys.executable, "-c", "from helpers.report import drawing; drawing.ahead()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what fails there is done here again, and told here
    )
    assert other.stdin and other.stdout
    try:
        with contextlib.suppress(BrokenPipeError), other.stdin as asked:
            asked.write(json.dumps([str(notebook), dict(parameters)]).encode())
        with _by(_Ours(other.stdout)):
            yield
    finally:
        other.kill()
        other.stdout.close()
        other.wait()


def ahead() -> None:
    """What the second process does: it is told of the notebook on stdin, and gives its figures on stdout."""
    notebook, parameters = json.load(sys.stdin)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers, _by(_Theirs(answers)):
        notebooks.run_here(Path(notebook), parameters)
