"""Sentences and tables on the migration, computed from the result ``migration``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Missing, Results
from helpers.text import NOT_AVAILABLE, count, join, plural, size_bytes
from helpers.trials.crashes_claims import faulty

_claim = claim.from_result("migration")


@_claim("Whether the course's data was migrated was", "course")
def course(part: Mapping[str, Any]) -> str:
    """What was migrated, and what the verification said."""
    rows = plural(sum(part["rows_read"].values()), "row")
    keys = sum(part["keys_checked"].values())
    verdict = (
        "found no difference"
        if part["differences"] == 0
        else f"found {plural(part['differences'], 'difference')}, so the migration is not a success"
    )
    return (
        f"The course's {rows} became {plural(keys, 'key')} in Redis. The verification compared every field, "
        f"list element and score, looked for keys that should not be there, and {verdict}."
    )


@_claim("The dry run was", "dry_run")
def plan(part: Mapping[str, Any]) -> str:
    """What the dry run estimated, and what it left behind."""
    left = part["keys_after"] - part["keys_before"]
    return (
        f"The dry run estimated {size_bytes(part['memory_bytes'])} in Redis for "
        f"{plural(sum(part['rows_read'].values()), 'row')} and left {plural(left, 'key')} behind."
    )


@_claim("The refusal was", "refused")
def refused(part: Mapping[str, Any]) -> str:
    """Whether a target with foreign keys was refused before anything was written."""
    if part["before"] == part["after"]:
        return "The migration was refused, and the target held the same keys and values afterwards as before."
    return "The migration was refused, but the target had changed: that is a fault."


@_claim("Damage was", "damage")
def damage(cases: Sequence[Mapping[str, Any]]) -> str:
    """How much of the damage the verifier found, how much a count of keys would have shown, and the
    repair.
    """
    found = [case for case in cases if case["found"]]
    unseen = [case for case in cases if case["keys_before"] == case["keys_after"]]
    repaired = [case for case in cases if case["differences_after_repair"] == 0]
    verdict = (
        f"All {len(cases)} kinds of damage were found"
        if len(found) == len(cases)
        else f"Only {len(found)} of {len(cases)} kinds of damage were found"
    )
    repair = "all of them" if len(repaired) == len(cases) else f"{len(repaired)} of {len(cases)}"
    return (
        f"{verdict}, each with its key. In {plural(len(unseen), 'case')} the number of keys was the same "
        "as before, so "
        f"counting keys would have seen nothing. Running the same command again repaired {repair}."
    )


@_claim("Kill and resume was", "kill")
def kill(part: Mapping[str, Any]) -> str:
    """What was there after the kill, and after the resumption."""
    total = sum(part["rows_read"].values())
    rest = total - part["rows_at_kill"]
    went_on = (
        "The same command read only the rest"
        if part["rows_loaded_now"] == rest
        else f"The same command read {plural(part['rows_loaded_now'], 'row')} where {count(rest)} were left"
    )
    verdict = (
        "nothing lost, doubled or altered"
        if part["differences"] == 0
        else plural(part["differences"], "difference")
    )
    return (
        f"The process was killed when {count(part['rows_at_kill'])} of {plural(total, 'row')} were "
        "committed. "
        f"{went_on}; the verification found {verdict}."
    )


@_claim("Running again over an older load was", "again")
def again(part: Mapping[str, Any]) -> str:
    """What a count and the verification said after the source had changed, and what was caught up."""
    rows = sum(part["rows"].values())
    counts = (
        f"the counts of all {len(part['rows'])} tables agreed ({plural(rows, 'row')})"
        if part["rows"] == part["counted"]
        else f"the counts did not agree ({plural(rows, 'row')}, {sum(part['counted'].values()):,} counted)"
    )
    caught = join([f"{count(number)} × {problem}" for problem, number in part["caught_up"].items()])
    verdict = (
        "the verification found no difference any more"
        if part["differences_after"] == 0
        else f"the verification still found {plural(part['differences_after'], 'difference')}"
    )
    return (
        f"When the source had changed, {counts}, and the verification found "
        f"{plural(part['differences'], 'difference')}. The same command put right {caught or 'nothing'}; "
        f"then {verdict}."
    )


@_claim("Rejected rows were", "rejects")
def rejects(part: Mapping[str, Any]) -> str:
    """Which rows were rejected and why, and that the rest went on."""
    number = sum(part["rows_rejected"].values())
    if not number:
        return "No row was rejected."
    reasons = join([f"{count(n)} × `{name}`" for name, n in part["rejects_by_reason"].items()])
    rest = sum(part["rows_read"].values()) - number
    verdict = "agree with Redis" if part["differences"] == 0 else "do not agree with Redis"
    return (
        f"{plural(number, 'row')} of {count(rest + number)} could not be held and went to the reject file "
        f"({reasons}); "
        f"the other {count(rest)} {verdict}."
    )


@_claim("The way back was", "back")
def back(part: Mapping[str, Any]) -> str:
    """Whether the tables made from Redis alone are those that were migrated, rejected rows apart."""
    rows, rejected = sum(part["rows"].values()), sum(part["rejected"].values())
    gone, new = sum(part["only_before"].values()), sum(part["only_after"].values())
    if not new and part["only_before"] == part["rejected"]:
        verdict = (
            f"none differs, and none is missing but the {plural(rejected, 'row')} that could not be held"
            if rejected
            else "none differs, and none is missing"
        )
    else:
        verdict = (
            f"{plural(gone, 'row')} of the source are not among them, where {count(rejected)} could not be "
            f"held, and {count(new)} of them are not in the source: that is a fault"
        )
    return f"From Redis alone {plural(rows, 'row')} were made again; {verdict}."


@_claim("Persistence was", "persistence")
def persistence(part: Mapping[str, Any]) -> str:
    """What was left after a kill -9 of Redis."""
    kept = (
        "all keys were there again"
        if part["keys_before"] == part["keys_after"]
        else f"{count(part['keys_after'])} of {count(part['keys_before'])} keys were there"
    )
    verdict = "no difference" if part["differences"] == 0 else plural(part["differences"], "difference")
    return (
        f"With `appendonly yes` and `appendfsync {part['appendfsync']}`, after a SIGKILL of the server "
        "and a new start, "
        f"{kept}, and the verification found {verdict}."
    )


@_claim("A cut-over while users write was", "follow")
def followed(part: Mapping[str, Any]) -> str:
    """What was committed while the rows moved, how far Redis was behind, and what both sides said."""
    while_they_wrote = [sample for sample in part["lag"] if sample["at_s"] <= part["stopped_s"]]
    most = max((sample["bytes"] for sample in while_they_wrote), default=0)
    last = part["lag"][-1]
    end = (
        "the lag came to nothing"
        if last["bytes"] == 0
        else f"{size_bytes(last['bytes'])} of WAL were still not applied, so the cut-over was not complete"
    )
    before, after = part["reads_before"], part["reads_after"]
    reads = (
        f"all {count(after['asked'])} reads that were compared had the same answer on both sides"
        if after["equal"] == after["asked"]
        else f"only {count(after['equal'])} of {count(after['asked'])} reads that were compared had the same "
        "answer on both sides"
    )
    verdict = (
        "found no difference"
        if part["differences"] == 0
        else f"found {plural(part['differences'], 'difference')}, so the cut-over is not a success"
    )
    return (
        f"Users wrote over {plural(part['writers'], 'connection')} while "
        f"{plural(sum(part['rows'].values()), 'row')} were loaded, and committed "
        f"{plural(part['committed'], 'transaction')} in all. {_applied(part)} While they wrote, Redis was at "
        f"most {size_bytes(most)} of WAL behind, and {count(before['equal'])} of {count(before['asked'])} "
        f"reads had the same answer on both sides. When they stopped, {end}; {reads}, and the verification "
        f"{verdict}."
    )


def _applied(part: Mapping[str, Any]) -> str:
    """How many of the users' transactions following applied, and where the rest are."""
    applied = f"Following applied {count(part['transactions'])} of them"
    early = part["committed"] - part["transactions"]
    if early <= 0:
        return f"{applied}."
    return f"{applied}; the other {count(early)} had been committed before the snapshot, which holds them."


@claim.from_result("ladder")("Whether large tables were migrated was", "growth")
def moved(migrations: Sequence[Mapping[str, Any]]) -> str:
    """How many rows the largest migration moved, and whether the verifications of all sizes agreed."""
    most = max(one["rows"] for one in migrations)
    differing = [one for one in migrations if one["differences"]]
    verdict = (
        "no verification found a difference"
        if not differing
        else f"{len(differing)} of {plural(len(migrations), 'verification')} found differences"
    )
    return (
        f"{plural(len(migrations), 'migration')} moved up to {count(most)} rows each, and {verdict} in any "
        "field, list element or score."
    )


def faults_table(results: Results) -> pd.DataFrame:
    """A row for each fault that was made on purpose: how often, what happened, and the verdict; a row says so
    where it was not measured.
    """
    rows = []
    for fault, kind, names, told in FAULTS:
        try:
            often, happened, verdict = told(results.part(kind, *names))
        except (Missing, LookupError):
            often, happened, verdict = NOT_AVAILABLE, "not measured", NOT_AVAILABLE
        rows.append({"Fault": fault, "tried": often, "what happened": happened, "verdict": verdict})
    if all(row["what happened"] == "not measured" for row in rows):
        raise Missing("migration: no fault was measured")
    return pd.DataFrame(rows)


Told = tuple[str, str, str]


def _differences(number: int) -> str:
    return "no difference" if number == 0 else plural(number, "difference")


def _refused(part: Mapping[str, Any]) -> Told:
    same = part["before"] == part["after"]
    return "once", "refused before anything was written", "unchanged" if same else "changed: a fault"


def _killed(part: Mapping[str, Any]) -> Told:
    total = sum(part["rows_read"].values())
    happened = (
        f"killed at {count(part['rows_at_kill'])} of {count(total)} rows; the same command read "
        f"{count(part['rows_loaded_now'])}"
    )
    return "once", happened, _differences(part["differences"])


def _campaign(data: Mapping[str, Any]) -> Told:
    kills = sum(part["kills"] for part in data["summary"].values())
    faults = faulty(data)
    verdict = (
        "nothing lost, doubled or altered, by two judges"
        if not faults
        else f"a fault in {plural(faults, 'trial')}"
    )
    return (
        plural(len(data["trials"]), "trial"),
        f"{plural(kills, 'kill')}; the same command ended it",
        verdict,
    )


def _moved_on(part: Mapping[str, Any]) -> Told:
    counts = "row counts agreed" if part["rows"] == part["counted"] else "row counts did not agree"
    found = f"{counts}; the verification found {plural(part['differences'], 'difference')}"
    return "once", f"{found}; the same command caught up", _differences(part["differences_after"])


def _followed(part: Mapping[str, Any]) -> Told:
    happened = f"{count(part['transactions'])} transactions applied from the log"
    equal, asked = part["reads_after"]["equal"], part["reads_after"]["asked"]
    reads = f"{count(equal)} of {plural(asked, 'read')} equal"
    return "once", happened, f"{reads}, {_differences(part['differences'])}"


def _rejected(part: Mapping[str, Any]) -> Told:
    number = sum(part["rows_rejected"].values())
    rest = "the rest agrees" if part["differences"] == 0 else "the rest does not agree"
    reasons = plural(len(part["rejects_by_reason"]), "reason")
    return "once", f"{plural(number, 'row')} rejected by name, for {reasons}", rest


def _damaged(cases: Sequence[Mapping[str, Any]]) -> Told:
    found = sum(case["found"] for case in cases)
    unseen = sum(case["keys_before"] == case["keys_after"] for case in cases)
    repaired = sum(case["differences_after_repair"] == 0 for case in cases)
    happened = f"{found} of {len(cases)} found, each by its key; a count of keys misses {unseen}"
    return plural(len(cases), "kind"), happened, f"{repaired} of {len(cases)} repaired"


def _restarted(part: Mapping[str, Any]) -> Told:
    kept = f"{count(part['keys_after'])} of {plural(part['keys_before'], 'key')} there again"
    return "once", kept, _differences(part["differences"])


def _made_again(part: Mapping[str, Any]) -> Told:
    rows, rejected = sum(part["rows"].values()), sum(part["rejected"].values())
    clean = part["only_before"] == part["rejected"] and not sum(part["only_after"].values())
    happened = f"{plural(rows, 'row')} made again from Redis alone, {count(rejected)} rejected before"
    return "once", happened, "none differs" if clean else "rows differ: a fault"


FAULTS: Sequence[tuple[str, str, tuple[str, ...], Callable[[Any], Told]]] = (
    ("keys of others in the target", "migration", ("refused",), _refused),
    ("migration killed in its load", "migration", ("kill",), _killed),
    ("any process killed at random", "crashes", (), _campaign),
    ("the same on general tables", "crashes", ("general",), _campaign),
    ("source changed after the load", "migration", ("again",), _moved_on),
    ("source written to meanwhile", "migration", ("follow",), _followed),
    ("rows that no key can hold", "migration", ("rejects",), _rejected),
    ("values damaged in the target", "migration", ("damage",), _damaged),
    ("Redis killed after the load", "migration", ("persistence",), _restarted),
    ("all data needed back", "migration", ("back",), _made_again),
)
"""What was done on purpose, the result and the part that tell of it, and how the part is told."""


def damage_table(results: Results) -> pd.DataFrame:
    """Kinds of damage with what the verifier said of each."""
    return pd.DataFrame(
        {
            "Damage": case["damage"],
            "keys": f"{count(case['keys_before'])} → {count(case['keys_after'])}",
            "differences": count(case["differences"]),
            "named": case["problem"],
            "key": f"`{case['key']}`",
        }
        for case in results.part("migration", "damage")
    )


def rejects_table(results: Results) -> pd.DataFrame:
    """Rejected rows with table, key and reason."""
    return pd.DataFrame(
        {"Table": row["table"], "key": row["key"], "reason": f"`{row['reason']}`", "why": row["why"]}
        for row in results.part("migration", "rejects")["examples"]
    )
