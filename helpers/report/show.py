"""What the notebooks display: sentences, figures, tables and excerpts, each with what the PDF needs to
know about it; and in exercises, whether an answer holds.

Every display works twice. JupyterLab and nbconvert show it as it is; the PDF is made from the output's
metadata (key ``report``), which holds label, caption and content, so nothing has to be read back out of HTML.
"""

import ast
import base64
import html
import re
import reprlib
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.errors import HelpersError, first_line
from helpers.results import Missing, Results
from helpers.settings import checkout
from helpers.text import three

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NOT_MEASURED = "*not measured*"
NUMBER = re.compile(r"^[<>≥≤±+−-]?\d[\d,. ]*( ?(%|[a-zµ/]{1,8}|[KMG]i?B))?$|^n/a$")


KINDS: Mapping[str, Callable[[Any], bool]] = {
    "a text": lambda answer: isinstance(answer, str) and bool(answer.strip()),
    "a number": lambda answer: isinstance(answer, Real) and not isinstance(answer, bool),
    "a list": lambda answer: _holds_some(answer) and not isinstance(answer, str | Mapping),
    "a dictionary": lambda answer: _holds_some(answer) and isinstance(answer, Mapping),
    "a function": callable,
    "a path": lambda answer: isinstance(answer, str | PathLike),
    "a value": lambda answer: answer is not None and not callable(answer),
}
"""What an answer has to be: in these words ``check`` asks for it."""


@contextmanager
def check(**kinds: str) -> Iterator[None]:
    """Inside, asserts with a message ask what an answer must do. One line says whether it does: on stdout if
    so; if not, on stderr, by which nbgrader gives no points, and the notebook goes on.

    Any other error inside tells, too, that an answer is missing or of another kind. It is raised as it is
    only where it comes from a function of the answer, or from a name that is no answer.

    Args:
        kinds: what each name that the answer makes has to be, in words that begin with those of ``KINDS``.
    """
    try:
        yield
    except Exception as error:
        told = _not_yet(error, kinds)
        if not told:
            raise
        line = f"Not yet: {told}{'' if told.endswith(('.', '?', '!')) else '.'}"
    else:
        line = ""
    # In one piece: print writes two, which a kernel may send apart.
    (sys.stderr if line else sys.stdout).write(f"{line or 'The answer holds.'}\n")


def _not_yet(error: Exception, kinds: Mapping[str, str]) -> str:
    """What an answer lacks, by the error that its check ended with; nothing if the error is to be raised."""
    _, body, *within = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = body.f_globals
    for name, kind in kinds.items():
        if name not in names:
            return f"`{name}` is missing. Write it in the answer's cell, run that, then this one"
        if not next(holds for words, holds in KINDS.items() if kind.startswith(words))(names[name]):
            return f"`{name}` must be {kind}, and is {_brief(names[name])}"
    if isinstance(error, AssertionError):
        return str(error) or "an assertion of the answer fails"
    if isinstance(error, NameError):
        return ""
    if isinstance(error, HelpersError):
        return str(error)
    of_cells = [frame.f_code.co_filename for frame in (body, *within) if frame.f_globals is names]
    if of_cells[-1] != body.f_code.co_filename:
        return ""
    asked = "; ".join(f"`{name}`, {kind}" for name, kind in kinds.items())
    return f"the check stops at {type(error).__name__}: {first_line(error)}. It asks for {asked}"


def _holds_some(answer: Any) -> bool:
    return isinstance(answer, Collection) and len(answer) > 0


def _brief(answer: Any) -> str:
    return "a function" if callable(answer) else " ".join(reprlib.repr(answer).split())


def title(
    results: Results,
    *,
    title: str,
    subtitle: str,
    authors: Sequence[str] | str,
    course: str,
    institution: str = "",
    repository: str = "",
    date: str = "",
) -> None:
    """The title page.

    Args:
        results: what the report rests on; its profile is marked here unless it is ``full``.
        title: of the report.
        subtitle: one line under it.
        authors: names in order; or one name.
        course: the course it is handed in for.
        institution: where; left out when empty.
        repository: where the project is to be had; left out when empty.
        date: as it is to be printed; the day of the newest result when empty.
    """
    authors = [authors] if isinstance(authors, str) else list(authors)
    created = max((record.created for record in results.values()), default="")
    day = date or (f"{datetime.fromisoformat(created):%d %B %Y}".lstrip("0") if created else "no date")
    mark = profile_mark(results)
    lines = [f"# {title}", f"*{subtitle}*", ", ".join(authors), institution, repository, f"{course} · {day}"]
    lines += [f"**{mark}**"] * bool(mark)
    about = {"title": title, "subtitle": subtitle, "authors": authors, "course": course, "date": day}
    about |= {"institution": institution, "repository": repository}
    _display(
        {"text/markdown": "\n\n".join(filter(None, lines))}, part="title", created=created, mark=mark, **about
    )


def profile_mark(results: Results) -> str:
    """What the title page has to say about the kind of run, or an empty string for a complete full run."""
    if not results:
        return "Nothing was measured for this copy."
    if results.profile != "full":
        return (
            "Quick profile: small data and few repetitions, made to try the course out. "
            "The figures of this copy are not results."
        )
    return ""


def claim(results: Results, *functions: Callable[[Results], str]) -> None:
    """Sentences computed from results, as one paragraph; a claim without its results says so."""
    _display({"text/markdown": " ".join(_sentence(function, results) for function in functions)})


def box(results: Results, claims: "Mapping[str, Callable[[Results], str]]") -> None:
    """Sentences in a box, a line for each, with what it is about before it.

    Args:
        results: passed to each function.
        claims: functions of results that return a sentence, by what their line is about.
    """
    told = {about: _sentence(function, results) for about, function in claims.items()}
    lines = [f"- **{about}:** {sentence}" for about, sentence in told.items()]
    _display({"text/markdown": "\n".join(lines)}, part="box")


def figure(
    results: Results,
    function: "Callable[[Results], Figure | str]",
    *,
    label: str,
    caption: str,
    alt: "str | Callable[[Results], str]",
    width: str = "100%",
) -> None:
    """A chart or drawing with its caption.

    Args:
        results: passed to ``function``.
        function: gives a matplotlib figure, or SVG text.
        label: name for cross references, beginning with ``fig-``.
        caption: Markdown, one or two sentences that say what is drawn.
        alt: the same for those who cannot see it; text, or a function that gives it.
        width: of the text width.
    """
    from helpers.report import style

    try:
        drawn = style.shared(function)(results)
    except Missing:
        _missing("figure", label, caption)
        return
    words = alt if isinstance(alt, str) else alt(results)
    about = {"label": label, "caption": caption, "alt": words, "width": width}
    _display(_pictures(drawn, words), part="figure", **about)
    _display({"text/markdown": f"<a id='{label}'></a>*Figure: {caption}*"}, part="screen")


def drawing(drawn: "Figure | str") -> None:
    """A chart or drawing on its own, for a notebook's reader alone.

    Args:
        drawn: a matplotlib figure, or SVG text.
    """
    _display(_pictures(drawn, "a drawing"))


def table(
    results: Results,
    function: "Callable[[Results], pd.DataFrame]",
    *,
    label: str,
    caption: str,
) -> None:
    """A data frame as a table with its caption; the index is shown when it has a name.

    Args:
        results: passed to ``function``.
        function: gives the data frame; cells are shown as ``str`` gives them, text in backticks as code.
        label: name for cross references, beginning with ``tbl-``.
        caption: Markdown, one or two sentences that say what the table holds.
    """
    try:
        frame = function(results)
    except Missing:
        _missing("table", label, caption)
        return
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    columns = [_heading(str(name)) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    align = [_alignment([row[i] for row in rows]) for i in range(len(columns))]
    about = {
        "label": label,
        "caption": caption,
        "columns": columns,
        "rows": rows,
        "align": align,
    }
    data = {
        "text/html": _html(label, caption, columns, rows, align),
        "text/markdown": _pipes(caption, columns, rows, align),
        "text/plain": caption,
    }
    _display(data, part="table", **about)


def listing(code: str, *, label: str, caption: str, language: str = "python") -> None:
    """A code excerpt, highlighted, with its caption.

    Args:
        code: shown without the empty lines around it.
        label: name for cross references, beginning with ``lst-``.
        caption: Markdown.
        language: whose syntax is highlighted, as Pandoc names it.
    """
    text = code.strip("\n")
    about = {"label": label, "caption": caption, "code": text, "language": language}
    screen = f"<a id='{label}'></a>*Listing: {caption}*\n\n```{language}\n{text}\n```"
    _display({"text/markdown": screen}, part="listing", **about)


def source(module: str, name: str, *, label: str, caption: str) -> None:
    """A function of this project as it is in the file, without its docstring.

    Args:
        module: path in the project, for example ``helpers/relational/redis_model.py``.
        name: of the function.
        label: name for cross references, beginning with ``lst-``.
        caption: Markdown.
    """
    listing(excerpt(checkout() / module, name), label=label, caption=caption)


def excerpt(path: Path, name: str) -> str:
    """The text of one top-level function, class or assignment of a Python file, without its docstring.

    Args:
        path: of the file.
        name: of the function or class, or a name that is assigned.

    Raises:
        KeyError: the file has nothing of that name.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if name not in {getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)}:
            continue
        keep = set(range(node.lineno - 1, node.end_lineno or node.lineno))
        body = getattr(node, "body", None)
        if body and ast.get_docstring(node) is not None:  # type: ignore[arg-type]
            keep -= set(range(body[0].lineno - 1, body[0].end_lineno))
        return "\n".join(lines[i] for i in sorted(keep))
    raise KeyError(f"{path.name} has no {name}")


def references(path: Path | None = None) -> None:
    """The bibliography; the PDF holds those of its entries that the text cites."""
    text = (path or checkout() / "report" / "references.bib").read_text(encoding="utf-8")
    lines = []
    for key, body in re.findall(r"@\w+\{([^,]+),(.*?)\n\}", text, flags=re.S):
        fields = dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", body, flags=re.M))
        who = fields.get("author", "").replace("{", "").replace("}", "").replace(" and ", ", ")
        name, url = fields["title"].replace("{", "").replace("}", ""), fields.get("url")
        lines.append(f"- `@{key}` {who}: " + (f"[{name}]({url})" if url else name))
    _display({"text/markdown": "\n".join(lines)}, part="references")


def _pictures(drawn: "Figure | str", words: str) -> dict[str, str]:
    """A drawing as SVG, and as PNG beside it in a notebook: JupyterLab shows no SVG of one that it does not
    trust. A report that is built needs the SVG alone.
    """
    from helpers.report import notebooks, pdf, style

    text = drawn if isinstance(drawn, str) else style.svg(drawn)
    svg = re.sub(r"^\s*(<\?xml.*?\?>)?\s*(<!DOCTYPE.*?>)?\s*", "", text, flags=re.S)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(words)}"', 1)
    data = {"image/svg+xml": svg, "text/plain": words}
    if not notebooks.runs_here():
        data["image/png"] = base64.b64encode(pdf.to_png(svg)).decode("ascii")
    return data


def _sentence(function: Callable[[Results], str], results: Results) -> str:
    try:
        return function(results)
    except Missing as missing:
        return f"*{missing.args[0].partition(':')[0].capitalize()}: not measured.*"


def _missing(what: str, label: str, caption: str) -> None:
    screen = f"<a id='{label}'></a>{NOT_MEASURED} ({caption})"
    _display({"text/markdown": screen}, part="missing", what=what, label=label, caption=caption)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return three(value)
    return str(value)


def _heading(name: str) -> str:
    """A column's name with a capital, but for symbols such as n or p99."""
    return name if re.match(r"(?:n|p[\d(]?[\d.]*)\b|`", name) else name[:1].upper() + name[1:]


def _alignment(cells: Sequence[str]) -> str:
    filled = [cell for cell in cells if cell not in ("", "–")]
    return "right" if filled and all(NUMBER.match(cell) for cell in filled) else "left"


def _code(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False)).replace("\n", "<br>")


def _html(label: str, caption: str, columns: list[str], rows: list[list[str]], align: list[str]) -> str:
    def row(tag: str, cells: list[str]) -> str:
        styled = (
            f'<{tag} style="text-align:{side}">{_code(c)}</{tag}>'
            for c, side in zip(cells, align, strict=True)
        )
        return f"<tr>{''.join(styled)}</tr>"

    body = "\n".join(row("td", cells) for cells in rows)
    return (
        f'<table id="{label}"><caption style="text-align:left"><em>Table: {_code(caption)}</em></caption>\n'
        f"<thead>{row('th', columns)}</thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def _pipes(caption: str, columns: list[str], rows: list[list[str]], align: list[str]) -> str:
    """The table in Markdown, for what shows no HTML: LaTeX."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"

    rule = ["--:" if side == "right" else ":--" for side in align]
    return "\n".join([f"*Table: {caption}*", "", line(columns), line(rule), *map(line, rows)])


def _display(data: dict[str, str], **about: Any) -> None:
    from IPython.display import display

    data.setdefault("text/plain", next(iter(data.values())))
    display(data, raw=True, metadata={"report": about} if about else {})
