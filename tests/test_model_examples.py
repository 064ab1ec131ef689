"""Examples in the docstrings of the model's room: each is run."""

import doctest
import importlib

import pytest
from migrating import run_sql

TABLES = """
CREATE TABLE customers (customer_id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (order_id bigint PRIMARY KEY, customer_id int NOT NULL REFERENCES customers,
  placed_at timestamptz NOT NULL, total numeric(10, 2));
"""


@pytest.mark.parametrize(
    ("module", "examples"),
    [
        ("helpers.model", 3),
        ("helpers.model.declaration", 2),
        ("helpers.model.proposing", 3),
        ("helpers.model.checking", 5),
    ],
)
def test_examples_say_what_is(postgres_url: str, module: str, examples: int) -> None:
    run_sql(postgres_url, TABLES)
    loaded = importlib.import_module(module)
    found = doctest.testmod(loaded, extraglobs={"url": postgres_url})
    assert (found.failed, found.attempted) == (0, examples)
