"""Pieces of JSON Schema, of which the schemas of saved results are made."""

from collections.abc import Mapping
from typing import Any

NUMBER = {"type": "number"}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
OPTIONAL = {"type": ["number", "null"]}
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
TEXT = {"type": "string"}
WORDS = {"type": "string", "minLength": 1}


def record(
    properties: Mapping[str, Any], *, more: bool = False, optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An object that has these properties.

    Args:
        properties: a schema by name; all must be there.
        more: others may be there too.
        optional: a schema by name; these may be there.
    """
    return {
        "type": "object",
        "required": list(properties),
        "properties": dict(properties) | dict(optional or {}),
        "additionalProperties": more,
    }


def mapping(value: Mapping[str, Any], *, least: int = 0) -> dict[str, Any]:
    """An object with any names, at least so many, whose values are of one schema."""
    return {"type": "object", "additionalProperties": dict(value)} | (
        {"minProperties": least} if least else {}
    )


def interval(*more: str) -> dict[str, Any]:
    """A value with the ends of its interval, and perhaps ``more`` numbers; null with too few samples."""
    return {
        "type": ["object", "null"],
        "required": ["value", "low", "high"],
        "additionalProperties": False,
        "properties": dict.fromkeys(("value", "low", "high", *more), NUMBER),
    }
