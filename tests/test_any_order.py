"""Cells in an order that a person may try: the result stays the same, or a line says what is missing."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell
from test_exercises import FEWER, read, section, tags, told

from helpers.errors import HelpersError
from helpers.relational import population, schema
from helpers.report import notebooks
from helpers.servers import connections

WITH = ("01_schema", "02_population", "03_comparison", "04_modeling", "05_migration")
ENDS = re.compile("## (What we saw|Exercises|Measuring)")
"""Headings behind the cells that are run again; 03 measures there, and reads what it saved."""
LEFT_OUT = re.compile(r"crashes|ladder|scaleout|trials\.pace|results\.begin|^PREFIX|^source, target")
"""Cells that measure for long, what shows these, and those that begin anew."""
AFRESH = re.compile(
    r"populate_apart|kill_at|EXERCISE, LAB|stores\.connect|do_damage\(\)|enter_context|CREATE KEYSPACE"
)
"""Cells that take long, and need nothing that was removed."""
OTHERWISE = re.compile(r"results\.stamp|r\.hgetall\(\"migration:state|^r\.delete")
"""Cells that tell of the moment."""
REMOVES = "servers.removed("
"""What a cell says that cleans up."""
GONE = re.compile(r'.* was removed; run the cells below the heading ".+" first, then this one')
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
    """All cells in order, then each again from the last to the first; then the one that cleans up, and each
    again, those of exercises too: it says what it said before, or which cells are to be run first.
    """
    population.populate(replace=True, progress=False)
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path / "results"))
    notebook = nbformat.from_dict(read(name))
    end = next(i for i, cell in enumerate(notebook.cells) if ENDS.match(cell.source))
    cleaning = [cell for cell in notebook.cells if cell.cell_type == "code" and REMOVES in cell.source]
    code = [cell for cell in notebook.cells[:end] if cell.cell_type == "code" and cell not in cleaning]
    body = [cell for cell in code if not re.search(r"crashes|ladder|scaleout|trials\.pace", cell.source)]
    for cell in body:
        if "parameters" in tags(cell):
            cell.source += "".join(f"\n{one} = {value!r}" for one, value in PARAMETERS.get(name, {}).items())
    measures = name == "03_comparison"  # behind these cells, which keep no part of a result
    solved = [cell for cell in section(notebook.cells) if cell.cell_type == "code" and not measures]
    again = [new_code_cell(cell.source) for cell in reversed(body[1:]) if not LEFT_OUT.search(cell.source)]
    after = [
        new_code_cell(cell.source, id=f"after-{cell.id}", metadata={"tags": ["raises-exception"]})
        for cell in reversed([*body[1:], *solved])
        if not LEFT_OUT.search(cell.source) and not AFRESH.search(cell.source)
    ]
    if measures:
        notebook.cells = [*body, *cleaning, *after]
    else:
        compared = new_code_cell(f"MEASURED = {MEASURED}\n{COMPARED}")
        notebook.cells = [*body, *solved, new_code_cell(KEPT), *again, *cleaning, *after, compared]
    with notebooks.this_kernel():
        here = {"metadata": {"path": str(notebooks.folder())}}
        NotebookClient(notebook, timeout=None, kernel_name="python3", resources=here).execute()
    first = {cell.id: cell for cell in (*body, *solved)}
    refused = 0
    for cell in after:
        raised = [output for output in cell.outputs if output.output_type == "error"]
        if raised:
            refused += 1
            assert GONE.fullmatch(raised[0].evalue) and len(raised[0].traceback) == 1, cell.source
        elif not OTHERWISE.search(cell.source):
            # Columns of a table are as wide as the numbers in them.
            again_, before = (told(one).split() for one in (cell, first[cell.id.removeprefix("after-")]))
            assert again_ == before, cell.source
    assert refused > 3


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
