"""What the data of a saved kill campaign must look like, as JSON Schema."""

from helpers.shapes import COUNT, SECONDS, mapping, record
from helpers.trials.judge import VERDICTS
from helpers.trials.mover import PHASES

VICTIMS = ("mover", "redis", "postgres")
COUNTS = mapping(COUNT)
TEXTS = {"type": "array", "items": {"type": "string"}}


VERDICT = record(dict.fromkeys(VERDICTS, COUNT))
KILL = record(
    {
        "at_s": SECONDS,
        "phase": {"enum": list(PHASES)},
        "rows": COUNT,
        "changed": {"enum": [None, "behind", "ahead"]},
    }
)
TRIAL = record(
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
SUMMARY = record(
    dict.fromkeys(("kills", "trials", "too_late", "changed", "behind", "faults"), COUNT)
    | {"phases": COUNTS, "after": COUNTS, "verify": VERDICT, "judge": VERDICT}
)
SCHEMA = record(
    {
        "seed": {"type": "integer"},
        "batch_rows": COUNT,
        "rows": COUNTS,
        "wanted": record(dict.fromkeys(VICTIMS, COUNT)),
        "appendfsync": {"const": "always"},
        "undisturbed": record(
            dict.fromkeys(("begun_s", "loaded_s", "verified_s", "ended_s"), SECONDS) | {"runs": COUNT}
        ),
        "seconds": SECONDS,
        "trials": {"type": "array", "items": TRIAL},
        "summary": record(dict.fromkeys(VICTIMS, SUMMARY)),
    },
    optional={"workers": COUNT},
)
