"""Results that others published, as they were read in the sources: ``report/published.json``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import results
from helpers.errors import HelpersError, first_line
from helpers.results import WORDS, object_with
from helpers.settings import checkout

STORES = ("redis", "mongodb", "cassandra")
FIGURES = ("throughput", "read", "insert", "round trip")
COMPARED: Mapping[str, tuple[str, ...]] = {
    "throughput": ("mean",),
    "read": ("p50", "p99"),
    "insert": ("p50", "p99"),
}
"""The statistics of each figure that ours have too: of times percentiles, of a run its rate."""
STATISTICS = ("mean", "p50", "p95", "p99", "typical")
UNITS = ("1/s", "µs")
TEXTS = {
    "type": "object",
    "propertyNames": {"enum": list(STORES)},
    "additionalProperties": {"type": "string"},
}


FIGURE = object_with(
    {
        "store": {"enum": list(STORES)},
        "figure": {"enum": list(FIGURES)},
        "statistic": {"enum": list(STATISTICS)},
        "value": {"type": "number", "exclusiveMinimum": 0},
        "unit": {"enum": list(UNITS)},
    }
)
SETTING = object_with(
    {
        "name": WORDS,
        "nodes": {"type": "integer", "minimum": 1},
        "clients": {"type": "integer", "minimum": 1},
        "files": TEXTS,
        "figures": {"type": "array", "items": FIGURE, "minItems": 1},
    }
)
SOURCE = object_with(
    {
        "key": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "author": WORDS,
        "title": WORDS,
        "url": {"type": "string", "pattern": "^https://"},
        "read": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "measured": WORDS,
        "versions": TEXTS,
        "workload": WORDS,
        "durability": TEXTS,
        "differs": {"type": "array", "items": WORDS, "minItems": 1},
        "settings": {"type": "array", "items": SETTING, "minItems": 1},
    }
)
PUBLISHED: Mapping[str, Any] = object_with({"sources": {"type": "array", "items": SOURCE, "minItems": 1}})


@dataclass(frozen=True)
class Figure:
    """One published number, with its source and the setting it was measured in."""

    source: str
    setting: str
    clients: int
    store: str
    figure: str
    statistic: str
    value: float
    unit: str


def default_path() -> Path:
    """The file of the project."""
    return checkout() / "report" / "published.json"


def load(path: Path | None = None) -> list[dict[str, Any]]:
    """The sources, checked by hand for what claims need, because importing jsonschema takes longer.

    Args:
        path: the project's file when None.

    Returns:
        What ``PUBLISHED`` describes, source by source.

    Raises:
        HelpersError: the file is missing, or not of this form.
    """
    path = path or default_path()
    try:
        sources = json.loads(path.read_text(encoding="utf-8"))["sources"]
        if not list(figures(sources)):
            raise ValueError("no figures")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HelpersError(
            f"{path.name}: not readable as published results ({first_line(error)}); take it from the project"
        ) from error
    return list(sources)


def check(document: Mapping[str, Any]) -> None:
    """Compare with ``PUBLISHED``, and see that no figure is there twice.

    Raises:
        jsonschema.ValidationError: it does not fit.
        ValueError: a key or a figure is there twice.
    """
    results.jsonschema().validate(document, PUBLISHED)
    keys = [source["key"] for source in document["sources"]]
    found = [(f.source, f.setting, f.store, f.figure, f.statistic) for f in figures(document["sources"])]
    for names in (keys, found):
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"there twice: {sorted(twice)}")


def figures(sources: list[dict[str, Any]]) -> Iterator[Figure]:
    """Every figure of every source."""
    for source in sources:
        for setting in source["settings"]:
            for one in setting["figures"]:
                yield Figure(source["key"], setting["name"], setting["clients"], **one)


def ratios(sources: list[dict[str, Any]], figure: str, statistic: str, over: str, under: str) -> list[float]:
    """How many times larger a figure is for one store than for another, by setting that has both.

    Args:
        sources: as ``load`` gives them.
        figure: one of ``FIGURES``.
        statistic: one of ``STATISTICS``.
        over, under: names of the stores.
    """
    by_setting: dict[tuple[str, str], dict[str, float]] = {}
    for one in figures(sources):
        if (one.figure, one.statistic) == (figure, statistic):
            by_setting.setdefault((one.source, one.setting), {})[one.store] = one.value
    return [
        values[over] / values[under] for values in by_setting.values() if over in values and under in values
    ]
