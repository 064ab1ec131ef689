"""The report: notebook 06 from saved results, and its PDF."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import results
from helpers.errors import HelpersError, usable, writing
from helpers.report import markdown, notebooks, pdf
from helpers.settings import checkout

NAME = "report.pdf"
ELSEWHERE = "choose another --out (its temporary files go where TMPDIR says)"


def published_folder() -> Path:
    """The results of the published full run."""
    return checkout() / "report" / "results"


def saved_folder() -> Path:
    """The results that a report rests on when none are named: those of the current run, or the published
    ones.
    """
    own = results.current_folder()
    return own if own.is_dir() or "HELPERS_RESULTS" in os.environ else published_folder()


def build(
    *,
    results: Path | str | None = None,
    out: Path | str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Make the report again from saved results: no server, network, TeX or browser.

    Args:
        results: results folder; ``saved_folder()`` when None.
        out: folder of the PDF and its figures; the folder that holds the results of the current run when
            None.
        parameters: values that replace those of notebook 06 (title, authors, course, institution,
            repository, date).

    Returns:
        Path of ``report.pdf``.

    Raises:
        HelpersError: the folder does not exist, a result is old or broken, or a cell of the notebook fails.
    """
    source = Path(results).absolute() if results is not None else saved_folder()
    if not source.is_dir():
        raise HelpersError(f"results folder {source} does not exist; `python -m helpers run` makes one")
    target = usable(Path(out).absolute() if out is not None else default_out(), ELSEWHERE)
    with notebooks.environment(HELPERS_RESULTS=str(source)):
        executed = notebooks.run_here(notebooks.folder() / "06_report.ipynb", parameters)
    return write(executed, target)


def write(executed: Mapping[str, Any], out: Path) -> Path:
    """The PDF, and its figures as SVG in ``figures``, of an executed notebook 06.

    Returns:
        Path of ``report.pdf``.
    """
    return write_document(markdown.from_notebook(executed), out)


def write_document(document: markdown.Document, out: Path) -> Path:
    """The PDF, and its figures as SVG in ``figures``, of a document.

    Returns:
        Path of ``report.pdf``.
    """
    with writing(out, ELSEWHERE):
        (out / "figures").mkdir(parents=True, exist_ok=True)
        document.write_drawings(out / "figures")
        return pdf.write(document, out / NAME)


def default_out() -> Path:
    """Where a report goes when no folder is named: beside the current run's results."""
    return results.current_folder().parent
