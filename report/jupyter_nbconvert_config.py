"""Settings for `jupyter nbconvert`, installed with the requirements: cells hidden by tag, no Inkscape."""

import base64
import html
import os
from pathlib import Path

from nbconvert.preprocessors import Preprocessor, SVG2PDFPreprocessor
from nbformat.v4 import new_markdown_cell, new_raw_cell

try:
    from pypandoc import get_pandoc_path
except ImportError:  # the engine alone is installed: what is converted is not of the course
    get_pandoc_path = None


class TableCounter(Preprocessor):
    """Tables of pandoc 3.7 and later name a counter that nbconvert's own LaTeX template does not have."""

    def preprocess(self, nb, resources):
        """Define it before the first cell."""
        nb.cells.insert(0, new_raw_cell(r"\newcounter{none}"))
        return nb, resources


class AltText(Preprocessor):
    """Figures with the words that stand for them, and listings in letters of one width: nbconvert's own
    template has neither.
    """

    def preprocess(self, nb, resources):
        """Change each cell, and put the style before the first."""
        nb, resources = super().preprocess(nb, resources)
        style = "<style>.jp-RenderedMarkdown .highlight pre { font-family: monospace }</style>"
        nb.cells.insert(0, new_markdown_cell(style))
        return nb, resources

    def preprocess_cell(self, cell, resources, index):
        """Put an image with its text in the place of each drawing that has one."""
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("report", {}).get("alt")
            if alt and "image/svg+xml" in output.get("data", {}):
                drawing = base64.b64encode(output.data["image/svg+xml"].encode()).decode()
                image = f'<img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{drawing}">'
                output.data = {"text/html": f'<div class="jp-RenderedSVG">{image}</div>'}
        return cell, resources


def as_pdf(self, data_format, data):
    """A drawing as PDF by Typst, which comes with a requirement, in letters that a notebook can hold."""
    from helpers.report.pdf import to_pdf

    return base64.encodebytes(to_pdf(data.encode())).decode()


class FoldedSolutions(Preprocessor):
    """Each solution behind a line of its own that opens with a click, as in JupyterLab."""

    LINE = (
        "<style>.jp-Cell:has(.folded:not([open])) + :is(.celltag_solution, .jp-Cell:has(.celltag_solution))"
        " { display: none }</style>"
        '<details class="folded"><summary>Solution</summary></details>'
    )

    def preprocess(self, nb, resources):
        """Put the line before each cell tagged ``solution``."""
        cells = []
        for cell in nb.cells:
            if "solution" in cell.metadata.get("tags", []):
                cells.append(new_markdown_cell(self.LINE))
            cells.append(cell)
        nb.cells = cells
        return nb, resources


c = get_config()  # noqa: F821
if get_pandoc_path is not None:
    c.TagRemovePreprocessor.enabled = True
    c.TagRemovePreprocessor.remove_input_tags = {"remove-input", "hide-input"}
    c.TagRemovePreprocessor.remove_cell_tags = {"remove-cell", "notebook-only"}
    c.HTMLExporter.exclude_input_prompt = c.HTMLExporter.exclude_output_prompt = True
    c.LatexExporter.exclude_input_prompt = c.LatexExporter.exclude_output_prompt = True
    # On a busy machine the end of the page came too late to be printed.
    c.WebPDFExporter.page_render_timeout = 5000
    c.LatexExporter.preprocessors = [TableCounter]
    c.HTMLExporter.preprocessors = [AltText, FoldedSolutions]
    # LaTeX takes no SVG; nbconvert would start a program for each drawing.
    SVG2PDFPreprocessor.convert_figure = as_pdf
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), str(Path(get_pandoc_path()).parent)])
