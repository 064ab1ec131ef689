"""Cells of a notebook twice in a row, as when a student runs a cell again."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

AGAIN = "-again"
"""The end of the id of a cell's copy."""


def twice(cells: Iterable[Any], again: Callable[[Any], bool] = lambda cell: True) -> list[Any]:
    """The cells, and behind each code cell that is wanted again a copy of it.

    Args:
        cells: of a notebook.
        again: whether a code cell stands twice.
    """
    found = []
    for cell in cells:
        found.append(cell)
        if cell["cell_type"] == "code" and again(cell):
            found.append(copy.deepcopy(cell))
            found[-1]["id"] = f"{cell['id'][:56]}{AGAIN}"
    return found


def pairs(cells: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Each cell that stands twice, with its copy."""
    by_id = {cell["id"]: cell for cell in cells}
    return [
        (cell, by_id[copied]) for cell in by_id.values() if (copied := f"{cell['id'][:56]}{AGAIN}") in by_id
    ]
