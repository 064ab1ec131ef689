"""Pieces of JSON Schema: what they take, and what they refuse."""

from typing import Any

import jsonschema
import pytest

from helpers import shapes

INTERVAL = {"value": 2, "low": 1, "high": 3}


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        (shapes.record({"n": shapes.COUNT}), [{"n": 0}], [{}, {"n": -1}, {"n": 1, "more": 1}]),
        (shapes.record({"n": shapes.COUNT}, more=True), [{"n": 1, "more": 1}], [{"more": 1}]),
        (shapes.record({}, optional={"t": shapes.WORDS}), [{}, {"t": "x"}], [{"t": ""}, {"u": "x"}]),
        (shapes.mapping(shapes.POSITIVE), [{}, {"a": 1}], [{"a": 0}]),
        (shapes.mapping(shapes.TEXT, least=1), [{"a": ""}], [{}, {"a": 1}]),
        (shapes.interval(), [None, INTERVAL], [{"value": 1}, INTERVAL | {"p": 1}]),
        (shapes.interval("p"), [INTERVAL, INTERVAL | {"p": 0.5}], [INTERVAL | {"q": 1}]),
    ],
)
def test_a_piece_takes_what_it_says(schema: dict[str, Any], taken: list[Any], refused: list[Any]) -> None:
    for value in taken:
        jsonschema.validate(value, schema)
    for value in refused:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)
