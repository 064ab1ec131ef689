"""A document as PDF: Markdown through pandoc to Typst, both from wheels; no network, TeX or browser."""

import io
import json
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from helpers.errors import HelpersError, first_line
from helpers.report.markdown import Document
from helpers.settings import checkout

STANDARD = "ua-1"
# Plain prose: a dollar sign, a tilde or a caret in it is itself.
READER = (
    "markdown-tex_math_dollars-subscript-superscript-strikeout-raw_html-raw_tex-example_lists+pipe_tables"
)
NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)


def write(document: Document, path: Path) -> Path:
    """Write a document as a tagged PDF (PDF/UA-1); the same document gives the same bytes.

    The date inside is that of the newest result. Fonts are those that Typst holds and matplotlib's
    DejaVu Sans.

    Args:
        document: what to print.
        path: of the PDF; replaced whole or not at all.

    Returns:
        The path.

    Raises:
        HelpersError: the title page has a letter that no font of the report has; pandoc or Typst refuses
            the document, and the message holds the first thing they say.
    """
    see_letters(document.title)
    template = checkout() / "report"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        document.write_drawings(folder)
        for name in ("references.bib", "style.typ"):
            (folder / name).write_bytes((template / name).read_bytes())
        (folder / "report.typ").write_text(_typst(document, template), encoding="utf-8")
        created = document.title.get("created")
        when = datetime.fromisoformat(created) if created else NO_DATE
        pdf = compiled(folder / "report.typ", pdf_standards=STANDARD, timestamp=when)
    draft = path.with_suffix(".pdf.tmp")
    try:
        draft.write_bytes(pdf)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def see_letters(title: Mapping[str, Any]) -> None:
    """See that a title page can be printed: a letter without a font would be a box.

    Only fonts that come with the wheels are used, so that the same report is the same file everywhere.

    Args:
        title: ``title``, ``subtitle``, ``authors``, ``course`` and ``date``, as far as they are there.

    Raises:
        HelpersError: no font has one of its letters.
    """
    letters = _letters()
    for name in ("title", "subtitle", "authors", "course", "date"):
        value = title.get(name) or ""
        for text in [value] if isinstance(value, str) else value:
            strange = [letter for letter in text if letter.isprintable() and ord(letter) not in letters]
            if strange:
                raise HelpersError(
                    f"the report's fonts have no {strange[0]} (in {name}: {text}); "
                    "write it in Latin, Greek or Cyrillic letters"
                )


@cache
def _letters() -> frozenset[int]:
    """The code points that the font of the charts and titles has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_charts_fonts() / "DejaVuSans.ttf")).get_charmap())


def _typst(document: Document, template: Path) -> str:
    """The document in Typst's language."""
    import pypandoc

    title = json.dumps(document.title, ensure_ascii=False)
    text = f"::: {{.abstract}}\n{document.abstract}\n:::\n\n{document.body}"
    command = [
        pypandoc.get_pandoc_path(),
        f"--from={READER}",
        "--to=typst",
        "--wrap=none",
        "--standalone",
        f"--template={template / 'report.template.typ'}",
        f"--lua-filter={template / 'report.lua'}",
    ]
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise HelpersError(f"pandoc refuses the report: {done.stderr.strip()}")
    return f"#let about = json(bytes({json.dumps(title, ensure_ascii=False)}))\n{done.stdout}"


def compiled(main: Path, **options: Any) -> bytes:
    """A Typst file, with what lies beside it, as PDF.

    Args:
        main: the file.
        options: passed to Typst (pdf_standards, timestamp).

    Raises:
        HelpersError: Typst refuses it, or warns of something.
    """
    import typst

    fonts = typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=True,
        font_paths=[_charts_fonts()],
    )
    compiler = typst.Compiler(main, root=main.parent, font_paths=fonts)
    try:
        pdf, warnings = compiler.compile_with_warnings(format="pdf", **options)
    except typst.TypstError as error:
        raise HelpersError(f"Typst refuses {main.stem}: {first_line(error)}") from error
    if warnings:
        raise HelpersError(f"Typst warns about {main.stem}: {warnings[0].message}")
    assert isinstance(pdf, bytes)  # of one document in this format
    return pdf


PAGE_SIZE = "#set page(width: auto, height: auto, margin: 0pt)\n"
PAGE = f'{PAGE_SIZE}#image("drawing.svg")\n'
PIXELS_PER_INCH = 110
COLOURS = 64
"""Of a PNG; a drawing has few, and their edges."""


def to_pdf(svg: bytes) -> bytes:
    """A page of the size of the drawing, with its text as text.

    Raises:
        HelpersError: it is no SVG.
    """
    with tempfile.TemporaryDirectory() as folder:
        main = Path(folder) / "drawing.typ"
        main.with_suffix(".svg").write_bytes(svg)
        main.write_text(PAGE, encoding="utf-8")
        return compiled(main)


def to_png(svg: str) -> bytes:
    """The drawing as a small PNG, for what shows no SVG: JupyterLab, of a notebook that is not trusted.

    The same drawing gives the same bytes. The palette is the drawing's own, so its flat colours stay.
    """
    import typst
    from PIL import Image

    page = f'{PAGE_SIZE}#image(bytes({json.dumps(svg, ensure_ascii=False)}), format: "svg")'
    png = typst.compile(page.encode(), font_paths=_drawing_fonts(), format="png", ppi=PIXELS_PER_INCH)
    small = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


@cache
def _drawing_fonts() -> Any:
    """Those of the charts; found once, because looking takes longer than drawing."""
    import typst

    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[_charts_fonts()])


def _charts_fonts() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"
