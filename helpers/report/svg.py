"""An SVG drawing as a PDF: ``python -m helpers.report.svg FROM TO``, for ``jupyter nbconvert --to pdf``."""

import sys
import tempfile
from pathlib import Path

from helpers.errors import HelpersError
from helpers.report import pdf

PAGE = '#set page(width: auto, height: auto, margin: 0pt)\n#image("drawing.svg")\n'


def to_pdf(svg: bytes) -> bytes:
    """A page of the size of the drawing, with its text as text.

    Raises:
        HelpersError: it is no SVG.
    """
    with tempfile.TemporaryDirectory() as folder:
        main = Path(folder) / "drawing.typ"
        main.with_suffix(".svg").write_bytes(svg)
        main.write_text(PAGE, encoding="utf-8")
        return pdf.compiled(main)


if __name__ == "__main__":
    try:
        Path(sys.argv[2]).write_bytes(to_pdf(Path(sys.argv[1]).read_bytes()))
    except HelpersError as error:
        sys.exit(f"svg: {error}")
