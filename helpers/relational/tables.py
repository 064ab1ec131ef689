"""Tables of the relational part, as data frames; each raises ``Missing`` when its part was not measured."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import pandas as pd

from helpers import model
from helpers.relational import diagrams, model_diagram
from helpers.relational.redis_model import TABLES
from helpers.results import Results
from helpers.text import count, duration_us, join, size_bytes, three


def columns_table(results: Results) -> pd.DataFrame:
    """One row a column of each table: its type and keys."""
    return pd.DataFrame(
        {
            "table": table["name"],
            "column": column["name"],
            "type": diagrams.short_type(column["type"]),
            "NULL": "yes" if column["nullable"] else "no",
            "key": join(_keys(table, column["name"])),
        }
        for table in _tables(results)
        for column in table["columns"]
    )


def _keys(table: Mapping[str, Any], column: str) -> list[str]:
    """What a column is by itself: primary key, unique, foreign key."""
    keys = ["PK"] * (column in (table["primary_key"] or [])) + ["UNIQUE"] * ([column] in table["unique"])
    foreign = [f"FK to {key['references']}" for key in table["foreign_keys"] if key["columns"] == [column]]
    return keys + foreign[-1:]


def keys_table(declared: "model.Model | None" = None) -> pd.DataFrame:
    """One row a key of a Redis model: its name, its type, and what it holds.

    Args:
        declared: the model, as ``helpers.model.load`` gives it; the course's when None.
    """
    return pd.DataFrame(
        {"key": f"`{key.name}`", "type": model_diagram.type_words(key), "holds": _holds(key)}
        for key in model_diagram.shown(declared)
    )


def _holds(key: "model.Key") -> str:
    if key.value is None:
        return "every column" if key.fields is None else ", ".join(key.fields)
    value = f"`{model_diagram.plain(key.value)}`"
    if key.score is not None:
        return f"{value}, by {key.score}"
    return f"{value}, {model_diagram.order_words(key)}" if key.type == "list" else value


def indexes_table(results: Results) -> pd.DataFrame:
    """One row an index: its table and columns, and what it is there for."""
    return pd.DataFrame(
        {
            "index": f"`{index['name']}`",
            "table": table["name"],
            "columns": ", ".join(index["columns"]),
            "made for": "primary key" if index["primary"] else "unique" if index["unique"] else "queries",
        }
        for table in _tables(results)
        for index in table["indexes"]
    )


def constraints_table(results: Results) -> pd.DataFrame:
    """One row a rule broken on purpose, and the error that answered."""
    return pd.DataFrame(
        {
            "rule": broken["rule"],
            "error": f"`{broken['error']}`",
            "SQLSTATE": broken["sqlstate"],
            "message": broken["message"],
        }
        for broken in results.part("schema", "constraints")
    )


def accepted_table(results: Results) -> pd.DataFrame:
    """One row a senseless row that the schema accepted."""
    return pd.DataFrame(
        {"accepted although it makes no sense": row["what"], "statement": f"`{row['statement']}`"}
        for row in results.part("schema", "accepted")
    )


def plans_table(results: Results) -> pd.DataFrame:
    """The query without and with its index: plan, cost, pages, and time as median and middle half."""
    index = results.part("schema", "index")
    rows = []
    for label in ("without", "with"):
        plan = index[label]
        low, middle, high = (duration_us(ms * 1e3) for ms in quartiles(plan["execution_ms"]))
        rows.append(
            {
                "index": label,
                "plan": " > ".join(plan["nodes"]),
                "cost": three(median(plan["cost"])),
                "pages": count(median(plan["pages"])),
                "median time": middle,
                "middle half": f"{low} to {high}",
            }
        )
    return pd.DataFrame(rows)


def population_table(results: Results) -> pd.DataFrame:
    """One row a table: its rows, and its size on disk.

    Raises:
        Missing: no population was measured.
    """
    data = results.require("population", "rows")
    sizes = data.get("bytes", {})
    return pd.DataFrame(
        {
            "table": name,
            "rows": number,
            "size with indexes": size_bytes(sizes[name]) if name in sizes else None,
        }
        for name, number in data["rows"].items()
    )


def scale_table(results: Results) -> pd.DataFrame:
    """One row a load of the population: rows, time, rate and memory."""
    return pd.DataFrame(
        {
            "rows": sum(load["rows"].values()),
            "of them activities": load["rows"]["activities"],
            "seconds": three(load["seconds"]),
            "rows/s": three(load["rows_per_second"]),
            "peak RSS (MB)": three(load["peak_rss_mb"]),
        }
        for load in by_size(results.part("population", "scale"))
    )


def _tables(results: Results) -> list[dict[str, Any]]:
    """The tables of the catalogue: the course's in their order, then others by name."""
    tables: list[dict[str, Any]] = results.part("schema", "catalogue")["tables"]
    order = {name: place for place, name in enumerate(TABLES)}
    return sorted(tables, key=lambda table: (order.get(table["name"], len(order)), table["name"]))


def by_size(loads: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The measured loads of the population, that of the fewest rows first."""
    return sorted(loads, key=lambda load: sum(load["rows"].values()))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The ends of the middle half and the median, as (low, median, high)."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high
