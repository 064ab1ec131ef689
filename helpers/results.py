"""Saved results: one JSON file a kind, with a version and a record of where it was measured.

A results folder holds ``<kind>.json`` files and, beside them, raw samples. The folder of the current run
is named by the environment variable ``HELPERS_RESULTS``; without it, it is ``report/build/results`` in
the project.
"""

import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from helpers.errors import HelpersError, first_line, os_refusal, usable, writing
from helpers.settings import checkout

FORMAT = "user-activity-results"
KINDS = (
    "schema",
    "population",
    "comparison",
    "scale",
    "nodes",
    "modeling",
    "migration",
    "crashes",
    "ladder",
    "scaleout",
    "pace",
    "largest",
)
APART = ("largest",)
"""Kinds that no run of the course measures, but a command of their own; a publication keeps them."""
VERSIONS: Mapping[str, int] = dict.fromkeys(KINDS, 1) | {"comparison": 2, "scale": 2, "nodes": 2}
"""Of the data of each kind: one more whenever what reads them could not read the old ones."""
AGAIN: Mapping[str, str] = (
    dict.fromkeys(KINDS, "python -m helpers run")
    | dict.fromkeys(("comparison", "scale", "nodes"), "python -m helpers bench")
    | {kind: f"python -m helpers {kind}" for kind in ("ladder", "crashes")}
    | {"largest": "python -m helpers ladder --rows N"}
)
"""The command that measures each kind again."""
PROFILES = ("quick", "full")
ELSEWHERE = "set HELPERS_RESULTS to a folder you can write to"
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "crashes": ("seed", "rows", "wanted", "appendfsync", "undisturbed", "trials", "summary"),
    "scaleout": ("rows", "cores", "rounds", "reading", "differences"),
    "pace": ("rows", "cores", "nodes", "durability", "rounds", "steady", "differences"),
    "largest": ("rows", "filled", "forecast", "killed", "resumed", "verified", "redis", "timeline", "ended"),
}
"""What the data of a kind must hold at least."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "schema": ("catalogue", "constraints", "accepted", "dimes", "index"),
    "population": (
        *("seed", "reference", "rows", "bytes", "distinct", "early", "timeline"),
        *("activity_types", "products", "checksums", "scale", "skew"),
    ),
    "modeling": ("duplicates", "thresholds", "memory", "mongodb", "precision"),
    "migration": (
        *("dry_run", "refused", "course", "damage", "kill", "again", "rejects", "back", "follow"),
        "persistence",
    ),
}
"""What a notebook keeps of the kinds that are made part by part, in the order of its cells."""
LIBRARIES = (
    "psycopg2-binary",
    "redis",
    "hiredis",
    "pymongo",
    "cassandra-driver",
    "Faker",
    "pandas",
    "matplotlib",
)

NOT_MEASURED = "not measured"
"""The key under which a part of a kind's data says why it was not measured."""

ENVIRONMENT = ("processor", "cores", "memory_mb", "kernel", "python", "libraries", "servers")
"""What the environment record of every result holds."""


class Missing(HelpersError):
    """A kind of result, or a part of it, that was not measured; ``reason`` as the measurement gave it."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Result:
    """One saved result: its kind and profile, when (ISO 8601, UTC) and where it was measured, and its
    data.
    """

    kind: str
    profile: str
    created: str
    environment: dict[str, Any]
    data: dict[str, Any]


class Results(Mapping[str, Result]):
    """The records of one results folder, by kind."""

    def __init__(self, records: Mapping[str, Result], folder: Path | None = None) -> None:
        self._records = dict(records)
        self.folder = folder

    def __getitem__(self, kind: str) -> Result:
        return self._records[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def require(self, kind: str, *parts: str) -> dict[str, Any]:
        """The data of a kind, which hold these parts at least.

        Raises:
            Missing: that kind, or one of these parts, was not measured.
        """
        if kind not in self._records:
            raise Missing(f"{kind}: not measured; run the notebook or command that saves it")
        data = self._records[kind].data
        for part in parts:
            if not data.get(part):
                raise Missing(f"{kind}: {part.replace('_', ' ')} not measured")
        return data

    def part(self, kind: str, *names: str) -> Any:
        """A part of the data of a kind.

        Args:
            kind: of the result.
            names: that lead to the part, from the outside inwards; all of the data without any.

        Raises:
            Missing: that kind, or that part of it, was not measured; with the reason where one was saved.
        """
        found: Any = self.require(kind)
        for name in names:
            found = found.get(name)
            if not found or (isinstance(found, dict) and NOT_MEASURED in found):
                reason = found[NOT_MEASURED] if found else ""
                what = f"{kind}: {name.replace('_', ' ')} not measured"
                raise Missing(f"{what}: {reason}" if reason else what, reason)
        return found

    def find(self, kind: str, name: str) -> Any:
        """A part of the data of a kind, None where it was not measured."""
        return self._records[kind].data.get(name) if kind in self._records else None

    @property
    def profile(self) -> str | None:
        """``full`` when every record is of a full run, ``quick`` when any is not, None without records."""
        profiles = {record.profile for record in self._records.values()}
        return None if not profiles else "full" if profiles == {"full"} else "quick"


class Begun(Results):
    """A result that a notebook makes: ``keep`` adds a part, whatever reads results can show it, and ``save``
    saves it.
    """

    def __init__(self, kind: str, profile: str, servers: Mapping[str, str]) -> None:
        super().__init__({kind: Result(kind, profile, "", {}, {})})
        self._kind = kind
        self._profile = profile
        self._servers = servers

    def keep(self, **parts: Any) -> None:
        """Add parts, as they are now; one that is there already is replaced.

        Raises:
            ValueError: a name that is no part of this kind.
        """
        if unknown := [name for name in parts if name not in PARTS[self._kind]]:
            raise ValueError(f"{self._kind} has no part {unknown[0]}; it has {', '.join(PARTS[self._kind])}")
        self._records[self._kind].data.update(deepcopy(parts))

    def beside(self, **measured: Mapping[str, Any]) -> None:
        """Read the data of other kinds with this one; whoever measured them has saved them.

        Args:
            measured: the data by kind.
        """
        for kind, data in measured.items():
            self._records[kind] = Result(kind, self._profile, "", {}, dict(data))

    def save(self) -> Path:
        """Save the result in the folder of the current run; the path written.

        Raises:
            HelpersError: a part of it is missing, because a cell was left out. What was saved before stays.
        """
        data = self._records[self._kind].data
        if missing := [name.replace("_", " ") for name in PARTS[self._kind] if name not in data]:
            raise HelpersError(
                f"the result {self._kind} is not saved, for it lacks {', '.join(missing)}: "
                "run this notebook's cells from the top"
            )
        ordered = {name: data[name] for name in PARTS[self._kind]}
        return save(self._kind, ordered, profile=self._profile, servers=self._servers)


def begin(kind: str, profile: str, servers: Mapping[str, str]) -> Begun:
    """The result that a notebook is going to make, empty at first.

    Args:
        kind: one of ``PARTS``.
        profile: ``quick`` or ``full``.
        servers: version of each server that takes part, by name.
    """
    return Begun(kind, profile, servers)


def having(rows: Iterable[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    """The rows of a part that have these values, in their order.

    Args:
        rows: as they were saved.
        values: by the name of a field that each row has.
    """
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def current_folder() -> Path:
    """The results folder of the current run.

    Raises:
        HelpersError: none is named, and the package was installed without the project's folders.
    """
    chosen = os.environ.get("HELPERS_RESULTS")
    if chosen:
        return Path(chosen).absolute()
    try:
        return checkout() / "report" / "build" / "results"
    except HelpersError as error:
        raise HelpersError(f"{error}, or {ELSEWHERE}") from error


def ready() -> None:
    """See that the results folder of the current run takes a file; one that is missing stays so.

    Raises:
        HelpersError: it cannot be written to, which a measurement would notice only at its end.
    """
    folder = current_folder()
    missing = not folder.exists()
    usable(folder, ELSEWHERE)
    if missing:
        folder.rmdir()


def environment(servers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Where a measurement is made: processor, cores, memory, kernel, whether a hypervisor lies beneath it,
    versions; no host name, user or path.

    Args:
        servers: version of each server that took part, by name.
    """
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "virtual": _virtual(),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "servers": dict(servers or {}),
    }


def save(
    kind: str,
    data: Mapping[str, Any],
    *,
    profile: str,
    servers: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Path:
    """Save a result as ``<kind>.json``, replacing an older one whole or not at all.

    Args:
        kind: one of ``KINDS``.
        data: what was measured, JSON-able.
        profile: ``quick`` or ``full``.
        servers: version of each server that took part, by name.
        folder: results folder; that of the current run when None.

    Returns:
        The path written.
    """
    target = folder or current_folder()
    record = {
        "format": FORMAT,
        "version": VERSIONS[kind],
        "kind": kind,
        "profile": profile,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment(servers),
        "data": dict(data),
    }
    if complaint := fault(record):
        raise ValueError(f"{kind}: {complaint}")
    path = target / f"{kind}.json"
    write(path, record)
    return path


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a whole record, or nothing; its folder is made when missing.

    Raises:
        HelpersError: it cannot be written.
    """
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    with writing(path, ELSEWHERE):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def load(folder: Path | str | None = None) -> Results:
    """All results of a folder; kinds without a file are absent.

    Args:
        folder: results folder; that of the current run when None.

    Raises:
        HelpersError: the folder does not exist, or a file is not a result of this format and version.
    """
    source = Path(folder) if folder is not None else current_folder()
    if not source.is_dir():
        raise HelpersError(f"results folder {source} does not exist; `python -m helpers run` makes one")
    try:
        names = {path.name for path in source.iterdir()}
    except OSError as error:
        raise HelpersError(
            f"results folder {os_refusal(error, source, 'name one that you can read')}"
        ) from error
    return Results({kind: read(source / f"{kind}.json") for kind in KINDS if f"{kind}.json" in names}, source)


def read(path: Path) -> Result:
    """One result file.

    Raises:
        HelpersError: naming the file and what is wrong with it.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HelpersError(
            f"{path}: not a readable result ({first_line(error)}); measure it again"
        ) from error
    if complaint := fault(record):
        command = AGAIN.get(path.stem, AGAIN["schema"])
        raise HelpersError(f"{path}: {complaint}; measure it again with `{command}`")
    if record["kind"] != path.stem:
        raise HelpersError(f"{path}: holds a result of kind {record['kind']}; measure {path.stem} again")
    return Result(**{name: record[name] for name in ("kind", "profile", "created", "environment", "data")})


def fault(record: Any) -> str | None:
    """What keeps a JSON value from being a result of this format and version; None when it is one.

    Checked by hand, which takes no longer than importing jsonschema would.
    """
    if not isinstance(record, dict):
        return "not a JSON object"
    expected = {"format", "version", "kind", "profile", "created", "environment", "data"}
    kind, version = record.get("kind"), record.get("version")
    if isinstance(kind, str) and version != VERSIONS.get(kind, version):  # it may have had other fields
        return f"a {kind} of version {version}, and this program reads version {VERSIONS[kind]}"
    if missing := sorted(expected - record.keys()):
        return f"without {', '.join(missing)}"
    if further := sorted(record.keys() - expected):
        return f"with {', '.join(further)}"
    for name, choices in {
        "format": (FORMAT,),
        "kind": KINDS,
        "profile": PROFILES,
    }.items():
        if record[name] not in choices:
            return f"{name} is {record[name]!r}, not {' or '.join(map(repr, choices))}"
    for name in ("environment", "data"):
        if not isinstance(record[name], dict):
            return f"{name} is not a JSON object"
    if missing := [name for name in ENVIRONMENT if name not in record["environment"]]:
        return f"environment without {', '.join(missing)}"
    if missing := [name for name in REQUIRED.get(record["kind"], ()) if name not in record["data"]]:
        return f"data without {', '.join(missing)}"
    try:
        datetime.fromisoformat(record["created"])
    except (TypeError, ValueError):
        return f"created is {record['created']!r}, not a date and time"
    return None


def jsonschema() -> ModuleType:
    """The library ``jsonschema``, imported without the format of international addresses.

    No schema here uses it, and its parser is built at import, which takes five times as long as all the rest.
    What is imported later and stands on the library, as nbformat and papermill, is spared that too.
    """
    parser = "rfc3987_syntax"
    absent = parser not in sys.modules
    if absent:
        sys.modules[parser] = None  # type: ignore[assignment]  # how Python notes that there is none
    try:
        import jsonschema
    finally:
        if absent:
            sys.modules.pop(parser, None)
    return jsonschema


def stamp(profile: str, servers: Mapping[str, str] | None = None) -> str:
    """When, how and where a notebook's outputs were made; the versions of servers on a line of their own."""
    here = environment(servers)
    versions = ", ".join(f"{name} {version}" for name, version in here["servers"].items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · profile {profile} · {here['processor']}, "
        f"{here['cores']} cores, "
        f"{here['memory_mb'] / 1e3:.0f} GB · {here['system']} {here['kernel']} · Python {here['python']}"
        + (f"\n{versions}" if versions else "")
    )


def _processor() -> str:
    """The processor's name as the kernel gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _virtual() -> bool | None:
    """Whether the processor says that a hypervisor runs it (the flag ``hypervisor``); None where the kernel
    tells no flags.
    """
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("flags"):
                return "hypervisor" in line.split()
    except OSError:
        pass
    return None


# Pieces of JSON Schema, of which the schemas of saved results are made.

NUMBER = {"type": "number"}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
OPTIONAL = {"type": ["number", "null"]}
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
TEXT = {"type": "string"}
WORDS = {"type": "string", "minLength": 1}


def object_with(
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


def map_of(value: Mapping[str, Any], *, least: int = 0) -> dict[str, Any]:
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
