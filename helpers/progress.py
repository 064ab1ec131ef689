"""One kind of progress bar for commands and notebooks."""

import contextlib
import html
import io
import sys
import time
from typing import Any

from tqdm import tqdm


def watched() -> bool:
    """Whether somebody can see a bar move: stderr is a terminal's, or this is a notebook."""
    return sys.stderr.isatty() or _in_notebook()


def pace() -> float:
    """Seconds between two drawings of a bar: where nobody watches it is not to fill a log."""
    return 0.2 if watched() else 5


class Stderr:
    """``sys.stderr`` as it is then; that nobody reads it any more ends no work.

    tqdm would raise, and its lock stay held: whoever closes the bar would wait for ever.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> None:
        """Write a text, if somebody reads.

        Args:
            text: any.
        """
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Hand on what was written, if somebody reads."""
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.flush()


STDERR: Any = Stderr()


def say(line: str) -> None:
    """Write a line on stderr at once, above any bar."""
    tqdm.write(line, file=STDERR)


def bar(total: int | None, desc: str, *, unit: str = "rows", enabled: bool = True) -> "tqdm[Any]":
    """A progress bar with rate and remaining time; a context manager; call ``update(n)``.

    It stands on stderr, or under the cell of a notebook. It is removed when done, so that notebooks and
    terminals keep results only. Where nobody watches (a file, a CI log), it speaks every few seconds at most.

    Args:
        total: how many units the whole has; without one, None, there is no remaining time.
        desc: what is done, before the bar.
        unit: what is counted, in the plural; ``rows`` are written with k and M for thousands and millions.
        enabled: show it.
    """
    inside = _in_notebook()
    kind: type[tqdm[Any]] = NotebookBar if inside else tqdm
    return kind(
        total=total,
        desc=desc,
        unit=f" {unit}",
        unit_scale=unit == "rows",
        disable=not enabled,
        file=io.StringIO() if inside else STDERR,
        leave=False,
        delay=0.5,
        mininterval=pace(),
        dynamic_ncols=not inside,
    )


class NotebookBar(tqdm):  # type: ignore[type-arg]  # only its stub is generic
    """A bar as HTML that is changed in place: no widgets to install, and nothing on stderr, which JupyterLab
    paints as an error. What stays of it is an output that shows nothing.
    """

    _handle: Any = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar as it is now, but not before its delay is over.

        Args:
            msg: tqdm's text for it; the empty one takes a bar away, and draws nothing here.
            pos: tqdm's line of a terminal; a notebook has none.
        """
        if msg != "" and time.time() >= getattr(self, "start_t", float("inf")) + (self.delay or 0):
            self._show({"text/html": self._html(), "text/plain": str(self)})

    def close(self) -> None:
        """Take the bar away."""
        super().close()
        if self._handle:
            self._show(NOTHING)
            self._handle = None

    def _show(self, data: dict[str, str]) -> None:
        from IPython.display import DisplayHandle

        if self._handle:
            self._handle.update(data, raw=True)
        else:
            self._handle = DisplayHandle()
            self._handle.display(data, raw=True)

    def _html(self) -> str:
        text = self.format_meter(**{**self.format_dict, "bar_format": "{l_bar}{r_bar}"})
        before, _, after = text.partition("||")
        done = f' value="{self.n}" max="{self.total}"' if self.total else ""
        drawn = f'<progress{done} style="vertical-align: middle"></progress>'
        return f"{html.escape(before)} {drawn} {html.escape(after)}"


NOTHING = {"text/html": "", "text/plain": ""}
"""The data of an output that shows nothing: what a bar in a notebook leaves behind."""


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
