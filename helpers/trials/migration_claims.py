"""Sentences and tables on the migration, computed from the result ``migration``."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from helpers.report import claim
from helpers.results import Results
from helpers.text import count, join, plural, rows_of, size_bytes

_claim = claim.from_result("migration")


@_claim("Whether the course's data was migrated was", "course")
def course(part: Mapping[str, Any]) -> str:
    """What was migrated, and what the verification said."""
    rows = rows_of(part["rows_read"])
    keys = sum(part["keys_checked"].values())
    verdict = (
        "found no difference"
        if part["differences"] == 0
        else f"found {plural(part['differences'], 'difference')}, so the migration is not a success"
    )
    return (
        f"{rows} became {plural(keys, 'key')} in Redis. The verification compared every field, list "
        "element and "
        f"score, looked for keys that should not be there, and {verdict}."
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
        f"{plural(part['differences'], 'difference')}. The same command caught up "
        f"{caught or 'nothing'}; then {verdict}."
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
        f"all {count(after['asked'])} reads that were compared then had the same answer on both sides"
        if after["equal"] == after["asked"]
        else f"only {count(after['equal'])} of {count(after['asked'])} reads that were compared then had the "
        "same answer on both sides"
    )
    verdict = (
        "found no difference"
        if part["differences"] == 0
        else f"found {plural(part['differences'], 'difference')}, so the cut-over is not a success"
    )
    return (
        f"While {plural(sum(part['rows'].values()), 'row')} were loaded, users went on writing over "
        f"{plural(part['writers'], 'connection')}, and committed "
        f"{plural(part['committed_during_load'], 'transaction')}; of "
        f"{count(part['committed'])} in the end, following applied {count(part['transactions'])} with "
        f"{plural(sum(part['changes'].values()), 'change')} of rows. While they wrote, Redis was at most "
        f"{size_bytes(most)} of WAL behind, and {count(before['equal'])} of {count(before['asked'])} reads "
        f"had the same answer on both sides. When they stopped, {end}; {reads}, and the verification "
        f"{verdict}."
    )


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
