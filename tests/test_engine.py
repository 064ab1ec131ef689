"""The engine knows no table: no name of the course's tables and columns stands in its code."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import model, settings

HELPERS = settings.project_root() / "helpers"
ROOMS = ("model", "source", "target", "migration")
FILES = sorted(
    path for room in ROOMS for path in (HELPERS / room).rglob("*") if path.suffix in (".py", ".lua")
)
COURSE = {
    *("users", "products", "activities", "orders"),
    *("user_id", "username", "email", "created_at", "product_id", "product_name", "price"),
    *("activity_id", "activity_type", "activity_date", "order_id", "order_date", "quantity"),
    *("user_activities", "user_orders", "product_orders", "by_time"),
}
"""Names of its tables, columns and kinds of keys."""
OTHERS = {("target/resp.py", "username")}
"""Words that mean something else: here an argument of redis-py."""


def words(text: str) -> set[str]:
    return set(re.findall(r"(?<!\w)[A-Za-z]\w*", text))


def code(path: Path) -> Iterator[tuple[int, str]]:
    """(line, word) of all code, strings and comments of a file; in docstrings, names may be examples."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from (
            (number, word) for number, line in enumerate(text.splitlines(), 1) for word in words(line)
        )
        return
    told = {
        (node.lineno, node.col_offset)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.start not in told:
            yield from ((token.start[0], word) for word in words(token.string))


def test_the_course_is_what_its_model_says() -> None:
    """So that no name is forgotten above."""
    named = set()
    for key in model.load().keys:
        named |= {key.table, *(key.fields or {}).values(), *key.order, *([key.score] if key.score else [])}
        named |= {
            column for text in (key.name, key.value or "") for column in model.Template.parse(text).columns
        }
    assert named <= COURSE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HELPERS).as_posix())
def test_no_name_of_the_course_is_in_the_engine(path: Path) -> None:
    name = path.relative_to(HELPERS).as_posix()
    assert [(line, word) for line, word in code(path) if word in COURSE and (name, word) not in OTHERS] == []
