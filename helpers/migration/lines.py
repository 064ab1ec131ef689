"""Rows in COPY's text format, and back from a line that PostgreSQL refuses to the value in it."""

import re

import psycopg2

from helpers import model
from helpers.migration.holdings import Piece
from helpers.source.shape import EXPECTED

NULL = rb"\N"
ESCAPES = ((b"\\", rb"\\"), (b"\t", rb"\t"), (b"\n", rb"\n"), (b"\r", rb"\r"))


def lines(piece: Piece) -> bytes:
    """The rows as COPY takes them, a line each; text alone can hold what needs an escape."""
    columns = [
        [NULL if v is None else _escape(v) for v in values]
        if EXPECTED.get(column) == "text"
        else [NULL if v is None else v for v in values]
        for column, values in zip(model.COLUMNS[piece.table], piece.columns, strict=True)
    ]
    return b"".join([b"\t".join(row) + b"\n" for row in zip(*columns, strict=True)])


def _escape(value: bytes) -> bytes:
    for raw, escaped in ESCAPES:
        if raw in value:
            value = value.replace(raw, escaped)
    return value


def refused(error: psycopg2.DataError, piece: Piece) -> tuple[int, str | None]:
    """(row, column) of the value that PostgreSQL refused; None for a column that it did not tell."""
    found = re.search(
        r"\D (\d+)(?:, \w+ (\w+))?", error.diag.context or ""
    )  # COPY users, line 3, column email
    row = min(int(found[1]), len(piece.keys)) - 1 if found else 0
    columns = dict(zip(model.COLUMNS[piece.table], piece.columns, strict=True))
    if found and found[2] in columns:
        return row, found[2]
    return row, next((name for name, values in columns.items() if not _is_text(values[row])), None)


def _is_text(value: bytes | None) -> bool:
    """Whether PostgreSQL can take a value as text in UTF-8."""
    try:
        return value is None or (b"\0" not in value and value.decode() is not None)
    except UnicodeDecodeError:
        return False
