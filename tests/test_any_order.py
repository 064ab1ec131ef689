"""Cells in an order that a person may try: the result stays the same, or a line says what is missing."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from test_exercises import FEWER, read

from helpers.errors import HelpersError
from helpers.relational import population, schema
from helpers.report import notebooks
from helpers.servers import connections

WITH = ("01_schema", "02_population", "04_modeling", "05_migration")
LEFT_OUT = re.compile(r"crashes|ladder|scaleout|results\.begin|^PREFIX|^source, target")
"""Cells that measure for long, what shows these, and those that begin anew."""
PARAMETERS: dict[str, dict[str, Any]] = {**FEWER, "05_migration": {"bigger": {"quick": 3_000}}}
KEPT = """
from copy import deepcopy

kept_first = deepcopy(next(iter(result.values())).data)"""
COMPARED = """
import json

def known(value):
    '''The value without what a measurement changes: decimals, bytes, how many other keys there are.'''
    if isinstance(value, dict):
        if "keys_before" in value:
            value = {**value, "keys_before": 0, "keys_after": value["keys_after"] - value["keys_before"]}
        return {name: "#" if "bytes" in name else known(each) for name, each in value.items()}
    if isinstance(value, list):
        return [known(each) for each in value]
    return "#" if isinstance(value, float) else value

second = next(iter(result.values())).data
assert kept_first.keys() == second.keys(), (sorted(kept_first), sorted(second))
for name in kept_first:
    if name not in MEASURED:
        one, two = (json.dumps(known(each[name]), default=str) for each in (kept_first, second))
        assert one == two, f"{name}: {one} became {two}"
result.save()"""
MEASURED = {"index", "scale", "kill", "follow", "bytes", "dry_run"}
"""Parts that are other numbers each time."""


@pytest.mark.usefixtures("postgres_server", "redis_server", "mongodb_url", "cassandra_url")
@pytest.mark.parametrize("name", WITH)
def test_a_result_stays_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells in order, then each again from the last to the first."""
    population.populate(replace=True, progress=False)
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path / "results"))
    notebook = nbformat.from_dict(read(name))
    end = next(
        i for i, cell in enumerate(notebook.cells) if re.match("## (What we saw|Exercises)", cell.source)
    )
    code = [cell for cell in notebook.cells[:end] if cell.cell_type == "code"]
    long = [cell for cell in code if re.search("crashes|ladder|scaleout", cell.source)]
    body = [cell for cell in code if cell not in long]
    again = [new_code_cell(cell.source) for cell in reversed(body) if not LEFT_OUT.search(cell.source)][:-1]
    notebook.cells = [
        *body,
        new_code_cell(KEPT),
        *again,
        new_code_cell(f"MEASURED = {MEASURED}\n{COMPARED}"),
    ]
    nbformat.write(notebook, tmp_path / "again.ipynb")
    parameters = {"profile": "quick", **PARAMETERS.get(name, {})}
    notebooks.run_kernel(
        tmp_path / "again.ipynb", tmp_path / "done.ipynb", parameters, title=name, progress=False
    )


@pytest.mark.usefixtures("redis_server", "mongodb_url", "cassandra_url")
@pytest.mark.parametrize("name", ["04_modeling", "05_migration"])
@pytest.mark.parametrize("tables", ["missing", "empty"])
def test_without_the_rows_of_notebook_02_the_remedy_is_named(
    name: str, tables: str, tmp_path: Path, postgres_server: str
) -> None:
    with connections.postgres() as connection:
        schema.drop(connection)
        if tables == "empty":
            schema.create(connection)
    connection.close()
    with pytest.raises(HelpersError, match=r"users lacks rows that this notebook needs .*: run notebook 02"):
        notebooks.run_kernel(
            notebooks.folder() / f"{name}.ipynb", tmp_path / "done.ipynb", {}, title=name, progress=False
        )
