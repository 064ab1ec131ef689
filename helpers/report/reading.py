"""How a report reads: words of its sections, floats that no sentence cites, sentences that say too much."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from helpers.report.markdown import Document

MOST_WORDS, MOST_NUMBERS = 40, 3
"""A sentence of more words, or more numbers, is for a table."""
COUNTED = (
    "rows|keys|cores|users|clients|activities|orders|nodes|kills|trials|processes|tests|blocks|questions"
)
"""What comes in whole numbers."""
FLOAT = re.compile(
    r"^:{3,} \{\.float[^}]*#(?P<label>[\w-]+)[^}]*\}\n(?P<caption>.*?)\n\n.*?^:{3,}$", re.S | re.M
)
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.S | re.M)
HEADING = re.compile(r"^## +(?P<title>[^{\n]*?)(?: \{(?P<classes>[^}]*)\})?$", re.M)
LINK = re.compile(r"\[([^\]]*)\]\(#([\w-]+)\)")
MISREAD = re.compile(r"\]\(#(?:fig|tbl|lst)-[\w-]+\)\s+(?:and|are|draw|have|list|say|show|tell)\b")
"""What a number that stands for a plural would be followed by: the PDF has `Figure 1` there."""
CITATION = re.compile(r"\s*\[@[^\]]*\]")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9*`\"(])")
NAMES = re.compile(
    r"\d{1,2} (?:January|February|March|April|May|June|July|August|September|October|November|December)"
    r"(?: \d{4})?|\d+(?:\.\d+){2,}|\d+/\d+"
)
"""Dates, versions and mixes: they name something and count nothing."""
NUMBER = re.compile(r"(?<![\w:/.,-])\d[\d,]*(?:\.\d+)?(?![\w/])")


@dataclass(frozen=True)
class Reading:
    """What a reader of the main text meets.

    Attributes:
        words: of each section, captions included, cells of tables not.
        uncited: labels of figures, tables and listings of the whole document to which no link leads.
        long: sentences of more than ``MOST_WORDS`` words.
        crowded: sentences with more than ``MOST_NUMBERS`` numbers.
        decimals: counts that are written with decimals, as ``4.00 cores``.
        misread: links that the PDF would make a faulty sentence of, as ``Figure 1 show``.
    """

    words: Mapping[str, int]
    uncited: tuple[str, ...]
    long: tuple[str, ...]
    crowded: tuple[str, ...]
    decimals: tuple[str, ...]
    misread: tuple[str, ...]


def read(document: Document) -> Reading:
    """Read a document from its first section to its references; what follows counts for citations alone.

    Args:
        document: as ``markdown.from_notebook`` gives it.
    """
    sections = dict(_sections(document.body))
    told = [sentence for text in (document.abstract, *sections.values()) for sentence in sentences(text)]
    cited = {label for _, label in LINK.findall(document.body)}
    return Reading(
        words={title: sum(map(_length, sentences(text))) for title, text in sections.items()},
        uncited=tuple(label for label in _labels(document.body) if label not in cited),
        long=tuple(one for one in told if _length(one) > MOST_WORDS),
        crowded=tuple(one for one in told if len(NUMBER.findall(NAMES.sub("", one))) > MOST_NUMBERS),
        decimals=tuple(
            one for one in told if re.search(rf"\d\.\d+[ \N{{NO-BREAK SPACE}}](?:{COUNTED})\b", one)
        ),
        misread=tuple(" ".join(found.group().split()) for found in MISREAD.finditer(document.body)),
    )


def sentences(text: str) -> list[str]:
    """The sentences of Markdown prose and captions, without marks, citations and what is fenced."""
    prose = FLOAT.sub(lambda found: f"\n\n{found['caption']}\n\n", text)
    prose = CITATION.sub("", LINK.sub(r"\1", FENCED.sub("", prose)))
    blocks = re.split(
        r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", re.sub(r"^(?:#+ .*|:{3,}.*)$", "\n", prose, flags=re.M)
    )
    plain = (re.sub(r"^\s*(?:[-*]|\d+\.) |[*_`\\]", "", " ".join(block.split())) for block in blocks)
    return [one for block in plain for one in SENTENCE.split(block) if one]


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """The text of each section by its title, up to the references."""
    found = list(HEADING.finditer(body))
    for heading, after in zip(found, [*found[1:], None], strict=True):
        if heading["title"] == "References" or ".appendix" in (heading["classes"] or ""):
            return
        yield heading["title"], body[heading.end() : after.start() if after else len(body)]


def _labels(body: str) -> list[str]:
    return [found["label"] for found in FLOAT.finditer(body)]


def _length(sentence: str) -> int:
    return len(sentence.split())
