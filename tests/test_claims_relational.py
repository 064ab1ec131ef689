import copy
from typing import Any

import pytest

from helpers.relational import claims, tables
from helpers.results import Missing, Result, Results

RECORD = {
    "rule": "a username is taken once",
    "error": "UniqueViolation",
    "sqlstate": "23505",
    "constraint": "users_username_key",
    "message": "duplicate key",
    "statement": "INSERT",
}
INDEX: dict[str, Any] = {
    "name": "by_date",
    "rows": 20_000,
    "users": 200,
    "index_bytes": 1_048_576,
    "table_bytes": 2_097_152,
    "without": {
        "execution_ms": [10.0, 11.0, 12.0],
        "pages": [170, 176, 180],
        "cost": [400.0, 433.0, 440.0],
        "nodes": ["Limit", "Sort", "Seq Scan"],
        "indexes": [],
    },
    "with": {
        "execution_ms": [0.04, 0.05, 0.06],
        "pages": [22, 22, 23],
        "cost": [40.0, 47.0, 48.0],
        "nodes": ["Limit", "Index Scan"],
        "indexes": ["by_date"],
    },
}


def size(activities, rows_per_second, peak_rss_mb):
    rows = {"users": activities // 20, "products": 10, "activities": activities, "orders": activities // 4}
    return {
        "rows": rows,
        "seconds": sum(rows.values()) / rows_per_second,
        "table_seconds": {"users": 0.1, "products": 0.1, "activities": 3.0, "orders": 1.0},
        "rows_per_second": rows_per_second,
        "peak_rss_mb": peak_rss_mb,
    }


SUMS = {"users": "a", "orders": "b"}
POPULATION: dict[str, Any] = {
    "seed": 42,
    "reference": "2026-01-01T00:00:00",
    "rows": {"users": 20, "products": 1, "activities": 20, "orders": 20},
    "bytes": {"users": 65_536},
    "distinct": {"users": 20, "usernames": 20, "emails": 20},
    "early": {"activities": 0, "orders": 0},
    "checksums": {"first": SUMS, "again": SUMS, "other_seed": {"users": "c", "orders": "d"}},
    "scale": [size(100_000, 60_000.0, 75.2), size(1_000, 9_000.0, 75.0), size(1_000_000, 123_456.0, 76.0)],
    "skew": {"users": 100, "activities": 1_000, "top_tenth": 0.4, "ranks": [{"rank": 1, "activities": 90}]},
}
SCHEMA = {
    "catalogue": {
        "schema": "public",
        "tables": [
            {
                "name": "orders",
                "primary_key": ["order_id"],
                "unique": [],
                "columns": [
                    {"name": "order_id", "type": "integer", "nullable": False, "default": None},
                    {"name": "user_id", "type": "integer", "nullable": True, "default": None},
                ],
                "foreign_keys": [
                    {"columns": ["user_id"], "references": "users", "referenced_columns": ["user_id"]}
                ],
                "indexes": [
                    {"name": "orders_pkey", "columns": ["order_id"], "unique": True, "primary": True},
                    {"name": "by_user", "columns": ["user_id"], "unique": False, "primary": False},
                ],
            },
            {
                "name": "users",
                "primary_key": ["user_id"],
                "unique": [["email"]],
                "columns": [
                    {"name": "user_id", "type": "integer", "nullable": False, "default": None},
                    {"name": "email", "type": "character varying(100)", "nullable": True, "default": None},
                ],
                "foreign_keys": [],
                "indexes": [{"name": "u", "columns": ["email"], "unique": True, "primary": False}],
            },
        ],
    },
    "constraints": [RECORD, {**RECORD, "error": "NotNullViolation"}],
    "accepted": [{"what": "an order of minus three", "statement": "INSERT 1"}],
    "index": INDEX,
}


def found(schema=SCHEMA, population=POPULATION):
    data = {"schema": schema, "population": population}
    return Results(
        {kind: Result(kind, "quick", "", {}, value) for kind, value in data.items() if value is not None}
    )


def with_index(**changes):
    index = copy.deepcopy(INDEX)
    for side, times in changes.items():
        index[side]["execution_ms"] = times
    return found(schema={**SCHEMA, "index": index})


SENTENCES = [
    claims.constraints,
    claims.accepted,
    claims.index_effect,
    claims.index_price,
    claims.population_counts,
    claims.sense,
    claims.same_seed,
    claims.skew,
    claims.population_speed,
    claims.memory_flat,
]
TABLES = [
    tables.columns_table,
    tables.indexes_table,
    tables.constraints_table,
    tables.accepted_table,
    tables.plans_table,
    tables.population_table,
    tables.scale_table,
]


@pytest.mark.parametrize("claim", SENTENCES)
@pytest.mark.parametrize("empty", [None, {}])
def test_what_was_not_measured_says_so(claim, empty):
    assert "not measured" in claim(found(schema=empty, population=empty))
    assert "not measured" not in claim(found())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("empty", [None, {}])
def test_a_table_without_its_results_is_missing(table, empty):
    with pytest.raises(Missing, match="not measured"):
        table(found(schema=empty, population=empty))
    assert len(table(found())) > 0


def test_an_index_that_helps():
    text = claims.index_effect(found())
    assert text.startswith("The index helps: the query took 50.0 µs with it and 11.0 ms without")
    assert "With the index it touched 22 pages instead of 176." in text
    assert "200 users with 20,000 activities" in text


def test_an_index_that_hurts():
    text = claims.index_effect(with_index(**{"with": [30.0, 33.0, 36.0]}))
    assert text.startswith("The index does not help")
    assert "took 33.0 ms with it and 11.0 ms without" in text


def test_an_index_that_changes_nothing():
    text = claims.index_effect(with_index(**{"with": [9.0, 10.6, 13.0]}))
    assert text.startswith("No difference in time is shown")
    assert "helps" not in text


def test_swapped_results_turn_the_sentence():
    swapped = {**INDEX, "with": {**INDEX["without"], "indexes": ["by_date"]}, "without": INDEX["with"]}
    assert claims.index_effect(found(schema={**SCHEMA, "index": swapped})).startswith(
        "The index does not help"
    )


def test_an_index_that_is_not_used():
    unused = {**INDEX, "with": {**INDEX["with"], "indexes": ["another"]}}
    text = claims.index_effect(found(schema={**SCHEMA, "index": unused}))
    assert text.startswith("The planner did not use the index `by_date`")
    assert "helps" not in text


def test_the_price_of_an_index():
    assert claims.index_price(found()).startswith("The index takes 1.00 MiB, 50.0 % of the 2.00 MiB")


def test_constraints_are_counted():
    assert claims.constraints(found()).startswith(
        "2 rules of the schema were broken on purpose. Each was refused, by 2"
    )
    one = claims.constraints(found(schema={"constraints": [RECORD]}))
    assert one == ("1 rule of the schema was broken on purpose. It was refused, by 1 kind of error.")


def test_senseless_rows_are_named():
    assert claims.accepted(found()) == "The schema accepted 1 senseless row: an order of minus three."
    assert claims.accepted(found(schema={"accepted": []})).startswith("None of the senseless rows")


def test_counts_are_written_with_their_nouns():
    text = claims.population_counts(found())
    assert "The tables hold 20 users and 1 product. Beside them are 20 activities and 20 orders." in text
    assert "seed 42" in text
    assert "1 January 2026" in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "All 20 usernames and email addresses are unique, and no activity and no order"),
        ({"early": {"activities": 2, "orders": 1}}, "but 3 activities and orders came before"),
        ({"early": {"activities": 1, "orders": 0}}, "but 1 activity or order came before"),
        (
            {"distinct": {"users": 20, "usernames": 19, "emails": 20}},
            "Of 20 users, 19 usernames and 20 email addresses are distinct, but no activity",
        ),
    ],
)
def test_sense_and_nonsense(change, expected):
    assert expected in claims.sense(found(population={**POPULATION, **change}))


@pytest.mark.parametrize(
    ("again", "other", "expected"),
    [
        (
            SUMS,
            {"users": "c", "orders": "d"},
            "The same seed gave the same rows in all 2 tables, and another seed gave other rows.",
        ),
        ({**SUMS, "orders": "x"}, {}, "The same seed did not give the same rows: orders differ."),
        (SUMS, {"users": "c", "orders": "b"}, "but another seed changed nothing in orders"),
    ],
)
def test_seeds(again, other, expected):
    sums = {"first": SUMS, "again": again, "other_seed": other}
    assert expected in claims.same_seed(found(population={"checksums": sums}))


def peaks(*values):
    scale = [size(10**power, 1_000.0, peak) for power, peak in enumerate(values, 3)]
    return claims.memory_flat(found(population={"scale": scale}))


def test_memory():
    text = claims.memory_flat(found())
    assert text.startswith(
        "Memory hardly changed: with 1,300,010 rows the loading process peaked at 76.0 MB, "
    )
    assert text.endswith(" % more than with the fewest.")
    assert peaks(75.0, 80.0, 160.0).startswith("Memory grew: with ")
    assert peaks(160.0, 80.0, 75.0).startswith("Memory did not grow with the rows, but varied")
    assert "not measured" in peaks(75.0)


def test_speed_is_of_the_largest_size():
    text = claims.population_speed(found())
    assert "1,300,010 rows" in text
    assert "123,000 rows a second" in text
    assert "Most of the time went into activities" in text


def test_tables_hold_what_was_found():
    columns = tables.columns_table(found())
    assert [tuple(row) for row in columns.itertuples(index=False)] == [
        ("users", "user_id", "integer", "no", "PK"),
        ("users", "email", "varchar(100)", "yes", "UNIQUE"),
        ("orders", "order_id", "integer", "no", "PK"),
        ("orders", "user_id", "integer", "yes", "FK to users"),
    ]
    assert list(tables.indexes_table(found())["made for"]) == ["unique", "primary key", "queries"]
    assert list(tables.plans_table(found())["median time"]) == ["11.0 ms", "50.0 µs"]
    assert list(tables.scale_table(found())["of them activities"]) == [1_000, 100_000, 1_000_000]
    assert tables.population_table(found())["size with indexes"].tolist()[0] == "64.0 KiB"
    assert tables.constraints_table(found())["SQLSTATE"].tolist() == ["23505", "23505"]
