"""Tables of the relational part, as data frames; each raises ``Missing`` when its part was not measured."""

from statistics import median, quantiles
from typing import Any

import pandas as pd

from helpers.model import TABLES
from helpers.relational import diagrams
from helpers.results import Missing, Results
from helpers.text import count, duration_us, join, size_bytes, three


def tables_table(results: Results) -> pd.DataFrame:
    """One row a column of each table: ``table column type NULL key``."""
    rows = []
    for table in _tables(results):
        references = {
            key["columns"][0]: f"FK to {key['references']}"
            for key in table["foreign_keys"]
            if len(key["columns"]) == 1
        }
        for column in table["columns"]:
            name = column["name"]
            keys = ["PK"] * (name in (table["primary_key"] or [])) + ["UNIQUE"] * ([name] in table["unique"])
            keys += [references[name]] if name in references else []
            rows.append(
                (
                    table["name"],
                    name,
                    diagrams.short_type(column["type"]),
                    "yes" if column["nullable"] else "no",
                    join(keys),
                )
            )
    return pd.DataFrame(rows, columns=["table", "column", "type", "NULL", "key"])


def indexes_table(results: Results) -> pd.DataFrame:
    """One row an index: ``index table columns made for``."""
    rows = []
    for table in _tables(results):
        for index in table["indexes"]:
            reason = "primary key" if index["primary"] else "unique" if index["unique"] else "queries"
            rows.append((f"`{index['name']}`", table["name"], ", ".join(index["columns"]), reason))
    return pd.DataFrame(rows, columns=["index", "table", "columns", "made for"])


def constraints_table(results: Results) -> pd.DataFrame:
    """One row a rule broken on purpose: ``rule error SQLSTATE message``."""
    records = _require(results, "schema", "constraints")
    rows = [(r["rule"], f"`{r['error']}`", r["sqlstate"], r["message"]) for r in records]
    return pd.DataFrame(rows, columns=["rule", "error", "SQLSTATE", "message"])


def accepted_table(results: Results) -> pd.DataFrame:
    """One row a senseless row that the schema accepted: ``what statement``."""
    records = _require(results, "schema", "accepted")
    rows = [(r["what"], f"`{r['statement']}`") for r in records]
    return pd.DataFrame(rows, columns=["accepted although it makes no sense", "statement"])


def plans_table(results: Results) -> pd.DataFrame:
    """The query without and with its index: plan, cost, pages, and time as median and middle half."""
    index = _require(results, "schema", "index")
    rows = []
    for label, plan in (("without", index["without"]), ("with", index["with"])):
        low, middle, high = quantiles(plan["execution_ms"], n=4, method="inclusive")
        rows.append(
            (
                label,
                " > ".join(plan["nodes"]),
                three(median(plan["cost"])),
                count(median(plan["pages"])),
                duration_us(middle * 1e3),
                f"{duration_us(low * 1e3)} to {duration_us(high * 1e3)}",
            )
        )
    return pd.DataFrame(rows, columns=["index", "plan", "cost", "pages", "median time", "middle half"])


def population_table(results: Results) -> pd.DataFrame:
    """One row a table: ``table rows``, and its size on disk.

    Raises:
        Missing: no population was measured.
    """
    data = results.require("population")
    if "rows" not in data:
        raise Missing("population: not measured; run the notebook or command that saves it")
    sizes = data.get("bytes", {})
    rows = [
        (name, number, size_bytes(sizes[name]) if name in sizes else None)
        for name, number in data["rows"].items()
    ]
    return pd.DataFrame(rows, columns=["table", "rows", "size with indexes"])


def scale_table(results: Results) -> pd.DataFrame:
    """One row a size: ``rows activities seconds rows/s peak RSS (MB)``."""
    sizes = sorted(_require(results, "population", "scale"), key=lambda size: sum(size["rows"].values()))
    rows = [
        (
            sum(size["rows"].values()),
            size["rows"]["activities"],
            three(size["seconds"]),
            three(size["rows_per_second"]),
            three(size["peak_rss_mb"]),
        )
        for size in sizes
    ]
    return pd.DataFrame(rows, columns=["rows", "of them activities", "seconds", "rows/s", "peak RSS (MB)"])


def _tables(results: Results) -> list[dict[str, Any]]:
    """The tables of the catalogue: the course's in their order, then others by name."""
    tables: list[dict[str, Any]] = _require(results, "schema", "catalogue")["tables"]
    order = {name: place for place, name in enumerate(TABLES)}
    return sorted(tables, key=lambda table: (order.get(table["name"], len(order)), table["name"]))


def _require(results: Results, kind: str, name: str) -> Any:
    data = results.require(kind)
    if not data.get(name):
        raise Missing(f"{kind} {name}: not measured; run the notebook or command that saves it")
    return data[name]
