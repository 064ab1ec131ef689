"""What is read of the four tables: which rows the model holds, and the parts and partitions of a load.

A *part* is one of the queries that a load streams. A *partition* is a range of it, where several processes
load, or all of it. A *batch* is as many of its rows as are written at once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from helpers.model.keys import COLUMNS, LONGEST_BYTES

PARTITIONS = "partitions"
"""Field of the state: where the parts are cut."""
IN_RANGE = "isfinite({0}) AND {0} >= '0001-01-01' AND {0} < '10000-01-01'"
UTF8 = (
    r"^(?:[\u0001-\u007F]|[\u00C2-\u00DF][\u0080-\u00BF]|\u00E0[\u00A0-\u00BF][\u0080-\u00BF]"
    r"|[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]{2}|\u00ED[\u0080-\u009F][\u0080-\u00BF]"
    r"|\u00F0[\u0090-\u00BF][\u0080-\u00BF]{2}|[\u00F1-\u00F3][\u0080-\u00BF]{3}"
    r"|\u00F4[\u0080-\u008F][\u0080-\u00BF]{2})*$"
)
"""Well-formed UTF-8 where a character is a byte (Unicode 16.0, table 3-7)."""
TEXT = (
    f"octet_length({{0}}) <= {LONGEST_BYTES} AND ((SELECT getdatabaseencoding() <> 'SQL_ASCII') "
    f"OR {{0}} ~ '{UTF8.replace('{', '{{').replace('}', '}}')}')"
)
KEPT: Mapping[str, str] = {
    "users": "(username IS NOT NULL OR email IS NOT NULL OR created_at IS NOT NULL) "
    f"AND (created_at IS NULL OR {IN_RANGE.format('created_at')}) "
    f"AND (username IS NULL OR {TEXT.format('username')}) AND (email IS NULL OR {TEXT.format('email')})",
    "products": "(product_name IS NOT NULL OR price IS NOT NULL) "
    f"AND (product_name IS NULL OR {TEXT.format('product_name')})",
    "activities": f"user_id IS NOT NULL AND {TEXT.format('activity_type')} "
    f"AND {IN_RANGE.format('activity_date')}",
    "orders": "(user_id IS NOT NULL OR product_id IS NOT NULL OR order_date IS NOT NULL "
    "OR quantity IS NOT NULL) "
    f"AND (order_date IS NULL OR {IN_RANGE.format('order_date')})",
}
"""Rows that the model can hold, as SQL (``model.reject_reason`` says the same of one row; a test compares
them)."""

HASHED: tuple[str, ...] = ("users", "products", "orders")
"""Tables whose rows become hashes."""
FAR_DATES = "activity_date >= '2255-06-05' OR activity_date < '1684-07-29'"
"""Activities near or beyond the limit where a score is no longer exact to the microsecond, as SQL."""


@dataclass(frozen=True)
class Part:
    """One of the queries that a load streams.

    Attributes:
        name: its name in the checkpoint.
        table: the table it reads.
        columns: the columns it is read with.
        key: the columns that order it and mark a position.
        where: which rows the model holds in this part, as SQL.
        holds: ``hash``, ``references`` or ``activities``.
        owner: whose collection its rows go to, ``user`` or ``product``; empty for a hash.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    where: str
    holds: str = "hash"
    owner: str = ""


def _references(owner: str) -> Part:
    key = (f"{owner}_id", "order_date", "order_id")
    where = f"{owner}_id IS NOT NULL AND order_date IS NOT NULL AND {IN_RANGE.format('order_date')}"
    return Part(f"{owner}_orders", "orders", key, key, where, "references", owner)


PARTS = (
    *(Part(table, table, COLUMNS[table], COLUMNS[table][:1], KEPT[table]) for table in HASHED),
    _references("user"),
    _references("product"),
    Part(
        "activities",
        "activities",
        ("user_id", "activity_date", "activity_id", "activity_type"),
        ("user_id", "activity_date", "activity_id"),
        KEPT["activities"],
        "activities",
        "user",
    ),
)


@dataclass(frozen=True)
class Partition:
    """A part, or the rows of it whose first column of the key lies in a range.

    So all rows of one owner are in the same partition.

    Attributes:
        part: what it is cut from.
        number: which of the part's partitions, from 0; None where the part is whole.
        low: where it begins; None where it is open below.
        high: where the next one begins; None where it is open above.
    """

    part: Part
    number: int | None = None
    low: int | None = None
    high: int | None = None

    @property
    def name(self) -> str:
        """Its name in the state."""
        return self.part.name if self.number is None else f"{self.part.name}.{self.number}"

    @property
    def where(self) -> str:
        """Which rows are in it, as SQL."""
        first = self.part.key[0]
        low = [] if self.low is None else [f"{first} >= {self.low}"]
        high = [] if self.high is None else [f"{first} < {self.high}"]
        return " AND ".join([f"({self.part.where})", *low, *high])


def partitions(state: Mapping[str, str]) -> list[Partition]:
    """The partitions of a load, in the order of ``PARTS``; a part that is not cut is one partition.

    Args:
        state: fields of the migration's state.
    """
    cuts = json.loads(state.get(PARTITIONS, "{}"))
    return [one for part in PARTS for one in _ranges(part, cuts.get(part.name, []))]


def _ranges(part: Part, keys: list[int]) -> list[Partition]:
    if not keys:
        return [Partition(part)]
    ends = [None, *(int(key) for key in keys), None]
    return [Partition(part, n, ends[n], ends[n + 1]) for n in range(len(ends) - 1)]
