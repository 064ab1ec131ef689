"""What the data of a saved kill campaign must look like, as JSON Schema."""

from typing import Any

from helpers.judge import VERDICTS
from helpers.mover import PHASES

VICTIMS = ("mover", "redis", "postgres")
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
TEXTS = {"type": "array", "items": {"type": "string"}}
COUNTS = {"type": "object", "additionalProperties": COUNT}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


VERDICT = _object(dict.fromkeys(VERDICTS, COUNT))
KILL = _object(
    {
        "at_s": SECONDS,
        "phase": {"enum": list(PHASES)},
        "rows": COUNT,
        "changed": {"enum": [None, "behind", "ahead"]},
    }
)
TRIAL = _object(
    {
        "victim": {"enum": list(VICTIMS)},
        "number": COUNT,
        "older_load": {"type": "boolean"},
        "kills": {"type": "array", "items": KILL},
        "too_late": COUNT,
        "exits": {"type": "array", "items": {"type": "integer"}},
        "said": TEXTS,
        "faults": TEXTS,
        "after": {"enum": ["anew", "resumed", "caught up", "waited"]},
        "rows_loaded_now": {"type": ["integer", "null"]},
        "caught_up": COUNTS,
        "verify": VERDICT,
        "judge": VERDICT,
        "examples": {"type": "array"},
        "seconds": SECONDS,
    }
)
SUMMARY = _object(
    dict.fromkeys(("kills", "trials", "too_late", "changed", "behind", "faults"), COUNT)
    | {"phases": COUNTS, "after": COUNTS, "verify": VERDICT, "judge": VERDICT}
)
SCHEMA = _object(
    {
        "seed": {"type": "integer"},
        "batch_rows": COUNT,
        "rows": COUNTS,
        "wanted": _object(dict.fromkeys(VICTIMS, COUNT)),
        "appendfsync": {"const": "always"},
        "undisturbed": _object(
            dict.fromkeys(("begun_s", "loaded_s", "verified_s", "ended_s"), SECONDS) | {"runs": COUNT}
        ),
        "seconds": SECONDS,
        "trials": {"type": "array", "items": TRIAL},
        "summary": _object(dict.fromkeys(VICTIMS, SUMMARY)),
    }
)
