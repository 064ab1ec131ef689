"""Pieces of JSON Schema: what they take, and what they refuse."""

from typing import Any

import jsonschema
import pytest

from helpers import results

INTERVAL = {"value": 2, "low": 1, "high": 3}


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        (results.object_with({"n": results.COUNT}), [{"n": 0}], [{}, {"n": -1}, {"n": 1, "more": 1}]),
        (results.object_with({"n": results.COUNT}, more=True), [{"n": 1, "more": 1}], [{"more": 1}]),
        (results.object_with({}, optional={"t": results.WORDS}), [{}, {"t": "x"}], [{"t": ""}, {"u": "x"}]),
        (results.map_of(results.POSITIVE), [{}, {"a": 1}], [{"a": 0}]),
        (results.map_of(results.TEXT, least=1), [{"a": ""}], [{}, {"a": 1}]),
        (results.interval(), [None, INTERVAL], [{"value": 1}, INTERVAL | {"p": 1}]),
        (results.interval("p"), [INTERVAL, INTERVAL | {"p": 0.5}], [INTERVAL | {"q": 1}]),
    ],
)
def test_a_piece_takes_what_it_says(schema: dict[str, Any], taken: list[Any], refused: list[Any]) -> None:
    for value in taken:
        jsonschema.validate(value, schema)
    for value in refused:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)
