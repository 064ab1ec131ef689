"""The picture of the README: of the published results, and readable wherever it is shown."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from helpers.report import publication

NUMBER = re.compile(r"-?\d+\.\d+")
TOLERANCE = 0.01
"""Hundredths of a point: nobody sees them, and another processor may round so."""


@pytest.mark.slow
def test_it_is_what_the_published_results_give() -> None:
    committed, made = publication.picture().read_text(encoding="utf-8"), publication.published_picture()
    told = f"make it again by `python -m {publication.__name__}`"
    assert NUMBER.sub("0", committed) == NUMBER.sub("0", made), told
    theirs = [float(number) for number in NUMBER.findall(made)]
    assert [float(number) for number in NUMBER.findall(committed)] == pytest.approx(theirs, abs=TOLERANCE), (
        told
    )


def test_it_is_readable_on_dark_ground_and_without_its_font() -> None:
    text = publication.picture().read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    ground = next(root.iter("{http://www.w3.org/2000/svg}path"))
    assert "fill: #ffffff" in ground.attrib["style"]
    families = re.findall(r"font-family: ([^;]+);", text)
    assert families and all(family.endswith("sans-serif") for family in families)
    assert not re.search(r"(?:href=\"|url\()(?!#)", text.replace('rdf:resource="http', "")), (
        "it loads nothing"
    )
    assert len(text) < 40_000
