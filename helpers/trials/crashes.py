"""The kill campaign: mover, Redis and PostgreSQL are killed at random moments, then the same command again.

Two cases: the course's tables and model, and general ones. Everything is thrown away: a PostgreSQL and a
Redis of its own, killed by SIGKILL and started again on the same port and data. A *trial* begins with an
empty target, or with an older load whose source has changed since, and ends with a migration that nobody
disturbed; then two judges compare every value: ``verify`` and ``judge.compare``. Rows are few and batches
tiny, so that a load has hundreds of moments to be hit at.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import results, settings
from helpers.errors import HelpersError
from helpers.progress import bar
from helpers.results import COUNT, SECONDS, map_of, object_with
from helpers.servers import connections, scratch
from helpers.text import count, join, plural
from helpers.trials import mover
from helpers.trials.campaign import BATCH_ROWS, CASES, Campaign, Case
from helpers.trials.judge import VERDICTS
from helpers.trials.mover import PHASES

VICTIMS = ("mover", "redis", "postgres")
COUNTS = map_of(COUNT)
TEXTS = {"type": "array", "items": {"type": "string"}}
VERDICT = object_with(dict.fromkeys(VERDICTS, COUNT))
KILL = object_with(
    {
        "at_s": SECONDS,
        "phase": {"enum": list(PHASES)},
        "rows": COUNT,
        "changed": {"enum": [None, "behind", "ahead"]},
    }
)
TRIAL = object_with(
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
SUMMARY = object_with(
    dict.fromkeys(("kills", "trials", "too_late", "changed", "behind", "faults"), COUNT)
    | {"phases": COUNTS, "after": COUNTS, "verify": VERDICT, "judge": VERDICT}
)
FIELDS = {
    "seed": {"type": "integer"},
    "batch_rows": COUNT,
    "rows": COUNTS,
    "wanted": object_with(dict.fromkeys(VICTIMS, COUNT)),
    "appendfsync": {"const": "always"},
    "undisturbed": object_with(
        dict.fromkeys(("begun_s", "loaded_s", "verified_s", "ended_s"), SECONDS) | {"runs": COUNT}
    ),
    "seconds": SECONDS,
    "trials": {"type": "array", "items": TRIAL},
    "summary": object_with(dict.fromkeys(VICTIMS, SUMMARY)),
}
OPTIONAL = {"workers": COUNT, "model": {"enum": list(CASES)}}
"""What older results lack."""
SCHEMA = object_with(FIELDS, optional=OPTIONAL | {"general": object_with(FIELDS, optional=OPTIONAL)})
REDIS = ("appendonly yes", "appendfsync always")


@dataclass(frozen=True)
class CrashDesign:
    """How many kills of each, on how many rows, and how many undisturbed runs to learn the moments from."""

    kills: Mapping[str, int]
    rows: Mapping[str, Any]
    undisturbed: int


DESIGNS: dict[str, dict[str, CrashDesign]] = {
    "course": {
        "quick": CrashDesign(
            {"mover": 4, "redis": 1, "postgres": 1},
            {"users": 40, "products": 15, "activities": 1_000, "orders": 200},
            undisturbed=1,
        ),
        "full": CrashDesign(
            {"mover": 200, "redis": 30, "postgres": 30},
            {"users": 100, "products": 40, "activities": 3_200, "orders": 800},
            undisturbed=5,
        ),
    },
    "general": {
        "quick": CrashDesign(
            {"mover": 3, "redis": 1, "postgres": 1},
            {"people": 40, "readings": 200, "tags": 120, "steps": 300, "words": 100},
            undisturbed=1,
        ),
        "full": CrashDesign(
            {"mover": 100, "redis": 15, "postgres": 15},
            {"people": 120, "readings": 800, "tags": 400, "steps": 1_200, "words": 400},
            undisturbed=5,
        ),
    },
}
"""By case and profile."""
MODELS = (*CASES, "both")


def run(
    *,
    profile: str = "quick",
    folder: Path | None = None,
    seed: int = 42,
    workers: int = 1,
    model: str = "course",
    progress: bool = True,
) -> dict[str, Any]:
    """Kill, run again and compare, until enough kills have struck; save the result ``crashes``.

    Args:
        profile: ``quick`` or ``full`` (see ``DESIGNS``).
        folder: results folder; that of the current run when None.
        seed: of the rows, the moments and the changes; what a moment hits depends on the machine too.
        workers: processes that load.
        model: ``course``, ``general`` (tables and a model of the campaign's own), or ``both``.
        progress: show a progress bar.

    Returns:
        ``model``, ``seed``, ``batch_rows``, ``workers``, ``rows`` per table, ``appendfsync``, ``wanted``
        (kills of each), ``seconds``; ``undisturbed``: a run that nobody disturbs, medians in seconds after
        its start; ``trials``: one record each, with its ``kills`` (moment, phase, rows committed), what the
        last run did, and what the two judges found; ``summary`` per victim; of both models, ``general`` holds
        the same of the general one.

    Raises:
        HelpersError: no such profile or model, or a server cannot be started here.
    """
    if model not in MODELS:
        raise HelpersError(f"model: {model!r} is not one of {', '.join(MODELS)}")
    names = list(CASES) if model == "both" else [model]
    designs = [settings.of_profile(DESIGNS[name], profile) for name in names]
    data: dict[str, Any] = {}
    for name, design in zip(names, designs, strict=True):
        found, versions = _campaign(CASES[name], design, seed, workers, progress)
        data = data | {name: found} if data else found
    results.jsonschema().validate(data, SCHEMA)
    results.save("crashes", data, profile=profile, servers=versions, folder=folder)
    return data


def _campaign(
    case: Case, design: CrashDesign, seed: int, workers: int, progress: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """(what ``run`` gives of one model, versions of the servers)."""
    began = time.monotonic()
    trials: list[dict[str, Any]] = []
    with scratch.postgres() as source, scratch.redis(*REDIS) as target:
        rows = case.populate(source.url, seed=seed, **design.rows)
        campaign = Campaign(source, target, rows=sum(rows.values()), seed=seed, workers=workers, case=case)
        campaign.learn(design.undisturbed)
        with bar(sum(design.kills.values()), f"kills, {case.name}", unit="kills", enabled=progress) as shown:
            for victim in VICTIMS:
                for trial in campaign.trials(victim, design.kills[victim]):
                    trials.append(trial)
                    shown.update(len(trial["kills"]))
        client = connections.redis(target.url, decode_responses=True)
        appendfsync = client.config_get("appendfsync")["appendfsync"]
        client.close()
        versions = {"postgres": source.version, "redis": target.version}
    data = {
        "model": case.name,
        "seed": seed,
        "batch_rows": BATCH_ROWS,
        "workers": workers,
        "rows": rows,
        "wanted": dict(design.kills),
        "appendfsync": appendfsync,
        "undisturbed": mover.medians(campaign.watched) | {"runs": len(campaign.watched)},
        "seconds": time.monotonic() - began,
        "trials": trials,
        "summary": {victim: summarise(t for t in trials if t["victim"] == victim) for victim in VICTIMS},
    }
    return data, versions


def summarise(trials: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Kills, trials, kills that came too late, phases hit, how it went on, and what the judges found."""
    trials = list(trials)
    kills = [kill for trial in trials for kill in trial["kills"]]
    phases = Counter(kill["phase"] for kill in kills)
    return {
        "kills": len(kills),
        "trials": len(trials),
        "too_late": sum(trial["too_late"] for trial in trials),
        "changed": sum(kill["changed"] is not None for kill in kills),
        "behind": sum(kill["changed"] == "behind" for kill in kills),
        "faults": sum(len(trial["faults"]) for trial in trials),
        "phases": {phase: phases[phase] for phase in PHASES},
        "after": dict(Counter(trial["after"] for trial in trials if trial["kills"])),
        **{who: {v: sum(trial[who][v] for trial in trials) for v in VERDICTS} for who in ("verify", "judge")},
    }


def parts(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The campaigns of a result, one a model."""
    return [data, data["general"]] if "general" in data else [data]


def clean(data: Mapping[str, Any]) -> bool:
    """Whether nothing was lost, doubled or altered, and every migration came to its end."""
    return not any(
        part["faults"] or any(part["verify"].values()) or any(part["judge"].values())
        for campaign in parts(data)
        for part in campaign["summary"].values()
    )


def describe(data: Mapping[str, Any]) -> list[str]:
    """What a campaign found, as lines for people."""
    lines = []
    for campaign in parts(data):
        about = "general model, " if campaign.get("model") == "general" else ""
        for victim, part in campaign["summary"].items():
            found = join([f"{count(number)} {verdict}" for verdict, number in part["verify"].items()])
            second = join([f"{count(number)} {verdict}" for verdict, number in part["judge"].items()])
            lines.append(
                f"{about}{victim}: {plural(part['kills'], 'kill')} ({count(part['too_late'])} more came too "
                f"late); verify: {found}; second judge: {second}"
            )
        for trial in campaign["trials"]:
            lines += [f"{about}{trial['victim']}, trial {trial['number']}: {f}" for f in trial["faults"]]
    verdict = "nothing was lost, doubled or altered" if clean(data) else "NOT CLEAN"
    seconds = sum(campaign["seconds"] for campaign in parts(data))
    return [*lines, f"{verdict}; seed {data['seed']}, {seconds:.0f} s"]
