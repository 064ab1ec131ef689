"""The report reads well: no float that nobody cites, no sentence that says too much, not too many words."""

import re
from functools import cache
from pathlib import Path

import pytest
from pypdf import PdfReader

from helpers import report
from helpers.report import building, markdown, notebooks, reading

MOST_WORDS, MOST_PAGES, MAIN_PAGES = 5_500, 24, 14

FLOAT = """::::: {.float #tbl-x kind="table"}
A caption of five words.

```{=typst}
report-table(("a",), (left,), (("1", "2", "3"),))
```
:::::"""


def read(body: str, abstract: str = "") -> reading.Reading:
    return reading.read(markdown.Document(abstract=abstract, body=body))


def test_words_are_counted_by_section_with_captions_and_without_tables_and_code() -> None:
    text = (
        f"## One\n\nThree short words.\n\n- and two\n\n{FLOAT}\n\n```sql\nSELECT 1;\n```\n\n"
        "## Two {.x}\n\nA [link](#fig-y).\n"
    )
    assert read(text).words == {"One": 3 + 2 + 5, "Two": 2}
    assert read(
        text + "\n## References {.unnumbered}\n\nMore.\n\n## Raw {.appendix}\n\nMore.\n"
    ).words.keys() == {"One", "Two"}


def test_a_float_is_cited_by_a_link_anywhere() -> None:
    assert read(f"## One\n\nText.\n\n{FLOAT}").uncited == ("tbl-x",)
    assert read(f"## One\n\nText.\n\n{FLOAT}\n\n## Raw {{.appendix}}\n\nSee [it](#tbl-x).").uncited == ()


def test_a_sentence_may_have_forty_words_and_three_numbers() -> None:
    long = " ".join(["word"] * reading.MOST_WORDS)
    assert read(f"## One\n\n{long}.\n\n{long} more.\n").long == (f"{long} more.",)
    assert read(f"## One\n\nText.\n\n## Raw {{.appendix}}\n\n{long} more.").long == ()
    found = read("## One\n\nFrom 1 to 2 it takes 3.5 s. From 1,000 to 2 it takes 3 or 4 ms.\n")
    assert found.crowded == ("From 1,000 to 2 it takes 3 or 4 ms.",)
    named = "On 27 November 2026 Redis 8.2.3 and MongoDB 6.0.5 had the 95/5 mix, p99 of 3 s [@a2020]."
    assert read(f"## One\n\n{named}\n").crowded == ()
    assert read("## One\n\nText.\n", abstract="It has 1, 2, 3 and 4.").crowded == ("It has 1, 2, 3 and 4.",)


@pytest.mark.parametrize("text", ["4.00 cores are busy.", "It took 11.0\N{NO-BREAK SPACE}rows."])
def test_a_count_with_decimals_is_found(text: str) -> None:
    assert read(f"## One\n\n{text}\n").decimals == (text.replace("\N{NO-BREAK SPACE}", " "),)
    assert read(f"## One\n\n{text.replace('.00', '').replace('.0', '')} In 4.00 s.\n").decimals == ()


def test_a_link_is_the_number_of_a_figure_and_no_plural() -> None:
    assert read("## One\n\n[The rates](#fig-a) show it.\n").misread == ("](#fig-a) show",)
    assert (
        read("## One\n\n[The drawing](#fig-a) shows it, and the rates show more ([all](#tbl-b)).\n").misread
        == ()
    )


@cache
def published() -> markdown.Document:
    """The report of the published results."""
    with notebooks.environment(HELPERS_RESULTS=str(report.published_folder())):
        return markdown.from_notebook(notebooks.run_here(notebooks.folder() / "06_report.ipynb"))


@pytest.mark.slow
def test_the_published_report_holds_what_is_asked_of_it() -> None:
    found = reading.read(published())
    assert sum(found.words.values()) <= MOST_WORDS, found.words
    assert found.uncited == found.long == found.crowded == found.decimals == found.misread == ()


@pytest.mark.slow
def test_the_published_report_has_no_more_pages_than_wanted(tmp_path: Path) -> None:
    pages = PdfReader(building.write_document(published(), tmp_path)).pages
    assert len(pages) <= MOST_PAGES
    texts = [page.extract_text() for page in pages]
    (references,) = (
        number for number, text in enumerate(texts) if number and re.search(r"^References$", text, flags=re.M)
    )
    assert references + 1 <= MAIN_PAGES + 1, "the references begin after the main text's last page"
