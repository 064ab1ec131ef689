"""The picture at the head of the README: a figure of the published report.

``python -m helpers.report.picture`` makes it again from the published results; publishing a run replaces it.
"""

import tempfile
from pathlib import Path

from helpers import settings
from helpers.report import building

NAME = "fig-cost.svg"


def path() -> Path:
    """Where the committed picture is."""
    return settings.checkout() / "report" / NAME


def drawn(figures: Path) -> str:
    """The picture as SVG text, from the folder of a report's figures."""
    return (figures / NAME).read_text(encoding="utf-8")


def published() -> str:
    """The picture that the published results give."""
    with tempfile.TemporaryDirectory() as folder:
        building.build(results=building.published_folder(), out=folder)
        return drawn(Path(folder) / "figures")


if __name__ == "__main__":
    path().write_text(published(), encoding="utf-8")
