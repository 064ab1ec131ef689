"""Claims on migration and model say what the results say: win, tie, reverse, missing."""

from typing import Any

import jsonschema
import numpy as np
import pytest

from helpers.relational import figures as modeling_figures, modeling_claims
from helpers.results import Missing, Result, Results
from helpers.trials import cutover, figures, migration_claims

CLAIMS = [
    migration_claims.course, migration_claims.plan, migration_claims.refused, migration_claims.damage,
    migration_claims.kill, migration_claims.rejects, migration_claims.again, migration_claims.back,
    migration_claims.persistence, migration_claims.followed, migration_claims.moved,
    modeling_claims.duplicates, modeling_claims.thresholds, modeling_claims.memory,
    modeling_claims.mongodb_embedding, modeling_claims.precision,
]  # fmt: skip
NEEDING = [
    migration_claims.faults_table,
    migration_claims.damage_table, migration_claims.rejects_table, modeling_claims.thresholds_table,
    modeling_claims.memory_table, modeling_figures.memory, figures.lag,
]  # fmt: skip


def having(kind: str, **data: Any) -> Results:
    return Results({kind: Result(kind, "quick", "", {}, data)})


@pytest.mark.parametrize("claim", CLAIMS)
def test_missing(claim: Any) -> None:
    assert "not measured" in claim(Results({}))


@pytest.mark.parametrize("function", NEEDING)
def test_tables_and_figures_without_results(function: Any) -> None:
    with pytest.raises(Missing):
        function(Results({}))


def test_course_and_kill_with_and_without_differences() -> None:
    rows = {"users": 2, "orders": 3}
    part = {"rows_read": rows, "keys_checked": {"user": 2}, "differences": 0}
    assert "course's 5 rows became 2 keys" in migration_claims.course(having("migration", course=part))
    assert "not a success" in migration_claims.course(having("migration", course={**part, "differences": 4}))
    part = {"rows_read": rows, "rows_at_kill": 4, "rows_loaded_now": 1, "differences": 0}
    text = migration_claims.kill(having("migration", kill=part))
    assert "4 of 5 rows" in text and "only the rest" in text and "nothing lost" in text
    text = migration_claims.kill(having("migration", kill={**part, "rows_loaded_now": 5, "differences": 2}))
    assert "read 5 rows where 1 were left" in text and "2 differences" in text


def test_again_with_counts_that_agree_and_that_do_not() -> None:
    rows = {"users": 2, "orders": 3}
    part = {"rows": rows, "counted": rows, "differences": 4, "caught_up": {"extra key": 1, "extra field": 2}}
    text = migration_claims.again(having("migration", again={**part, "differences_after": 0}))
    assert "counts of all 2 tables agreed (5 rows)" in text and "found 4 differences" in text
    assert "put right 1 × extra key and 2 × extra field; then" in text and "no difference any more" in text
    part |= {"counted": {"users": 2, "orders": 4}, "caught_up": {}, "differences_after": 1}
    text = migration_claims.again(having("migration", again=part))
    assert "did not agree (5 rows, 6 counted)" in text and "put right nothing" in text
    assert "still found 1 difference" in text


def test_back_with_nothing_rejected_with_rejects_and_with_a_fault() -> None:
    none = {"users": 0, "orders": 0}
    part = {"rows": {"users": 2, "orders": 3}, "only_before": none, "only_after": none, "rejected": none}
    text = migration_claims.back(having("migration", back=part))
    assert text == "From Redis alone 5 rows were made again; none differs, and none is missing."
    one = {"users": 0, "orders": 1}
    text = migration_claims.back(having("migration", back={**part, "only_before": one, "rejected": one}))
    assert "none is missing but the 1 row that could not be held" in text
    for fault in ({"only_before": one}, {"only_after": one}, {"rejected": one}):
        assert "that is a fault" in migration_claims.back(having("migration", back={**part, **fault}))
    swapped = {"only_before": one, "rejected": {"users": 1, "orders": 0}}
    assert "that is a fault" in migration_claims.back(having("migration", back={**part, **swapped}))


FOLLOW: dict[str, Any] = {
    "rows": {"users": 2, "products": 1, "activities": 3, "orders": 4},
    "writers": 3,
    "committed_during_load": 5,
    "committed": 40,
    "transactions": 38,
    "changes": {"users": 1, "products": 0, "activities": 40, "orders": 9},
    "stopped_s": 2.0,
    "lag": [
        {"at_s": 0.5, "bytes": 2048, "seconds": 0.5, "transactions": 3},
        {"at_s": 2.5, "bytes": 4096, "seconds": 0.1, "transactions": 30},
        {"at_s": 3.0, "bytes": 0, "seconds": 0.0, "transactions": 38},
    ],
    "reads_before": {"asked": 30, "equal": 29},
    "reads_after": {"asked": 30, "equal": 30},
    "differences": 0,
}


def test_followed_to_the_end_and_not() -> None:
    jsonschema.validate(FOLLOW, cutover.SCHEMA)
    text = migration_claims.followed(having("migration", follow=FOLLOW))
    assert text.startswith(
        "Users wrote over 3 connections while 10 rows were loaded, and committed 40 transactions in all. "
        "Following applied 38 of them; the other 2 had been committed before the snapshot, which holds them."
    )
    every = migration_claims.followed(having("migration", follow=FOLLOW | {"transactions": 40}))
    assert "Following applied 40 of them. While" in every
    assert "at most 2.00 KiB of WAL behind, and 29 of 30 reads" in text
    assert "the lag came to nothing; all 30 reads" in text and "found no difference." in text
    damage = {"lag": FOLLOW["lag"][:2], "reads_after": {"asked": 30, "equal": 7}, "differences": 2}
    text = migration_claims.followed(having("migration", follow=FOLLOW | damage))
    assert "4.00 KiB of WAL were still not applied, so the cut-over was not complete" in text
    assert "only 7 of 30 reads" in text and "found 2 differences, so the cut-over is not a success" in text


def test_the_lag_is_drawn() -> None:
    drawn = figures.lag(having("migration", follow=FOLLOW))
    above, below = drawn.axes
    assert np.asarray(above.lines[0].get_ydata()).tolist() == [2.0, 4.0, 0.0]
    assert np.asarray(below.lines[0].get_xdata()).tolist() == [0.5, 2.5, 3.0]
    with pytest.raises(Missing):
        figures.lag(having("migration", course={}))


def test_refused_rejects_persistence() -> None:
    assert "same keys" in migration_claims.refused(having("migration", refused={"before": 1, "after": 1}))
    assert "fault" in migration_claims.refused(having("migration", refused={"before": 1, "after": 2}))
    part = {
        "rows_read": {"users": 9},
        "rows_rejected": {"users": 1},
        "rejects_by_reason": {"no_field": 1},
        "differences": 0,
    }
    text = migration_claims.rejects(having("migration", rejects=part))
    assert "1 row of 9" in text and "`no_field`" in text and "other 8 agree" in text
    assert "do not agree" in migration_claims.rejects(having("migration", rejects={**part, "differences": 1}))
    assert "No row" in migration_claims.rejects(having("migration", rejects={**part, "rows_rejected": {}}))
    part = {"keys_before": 3, "keys_after": 3, "differences": 0, "appendfsync": "always"}
    assert "all keys were there again" in migration_claims.persistence(having("migration", persistence=part))
    assert "2 of 3 keys" in migration_claims.persistence(
        having("migration", persistence={**part, "keys_after": 2})
    )


def test_modeling_both_ways() -> None:
    def memory(list_bytes: int, set_bytes: int) -> str:
        of = {"list": {"bytes": list_bytes, "encoding": "a"}, "set": {"bytes": set_bytes, "encoding": "b"}}
        return modeling_claims.memory(having("modeling", memory=[{"length": 10, **of}]))

    assert "2.00 times the memory" in memory(100, 200)
    assert "about the same" in memory(100, 101)
    assert "less than the list" in memory(100, 50)
    part = {"events": 3, "list": 3, "set_with_id": 3, "set_without_id": 2}
    assert "lost 1 of them" in modeling_claims.duplicates(having("modeling", duplicates=part))
    assert "kept them all too" in modeling_claims.duplicates(
        having("modeling", duplicates={**part, "set_without_id": 3})
    )
    part = {"rows": 4, "redis": 4, "mongodb": 0, "cassandra": 4}
    text = modeling_claims.precision(having("modeling", precision=part))
    assert text.startswith("Redis (our text) and Cassandra") and text.endswith(
        "; MongoDB's date gave back none of them exactly."
    )


def test_moved_with_and_without_differences() -> None:
    sizes = [{"rows": rows, "differences": 0} for rows in (1_000, 100_000)]
    text = migration_claims.moved(having("ladder", growth=sizes))
    assert text.startswith("2 migrations moved up to 100,000 rows each, and no verification found a diff")
    sizes[0]["differences"] = 3
    assert "and 1 of 2 verifications found differences" in migration_claims.moved(
        having("ladder", growth=sizes)
    )


NOTHING = {"lost": 0, "doubled": 0, "altered": 0}
TRIAL: dict[str, Any] = {"faults": [], "verify": NOTHING, "judge": NOTHING}
CASE = {"keys_before": 9, "keys_after": 9, "found": True, "differences_after_repair": 0}
FAULTS: dict[str, Any] = {
    "refused": {"before": {"a": 1}, "after": {"a": 1}},
    "kill": {"rows_read": {"users": 9}, "rows_at_kill": 4, "rows_loaded_now": 5, "differences": 0},
    "again": {"rows": {"users": 9}, "counted": {"users": 9}, "differences": 4, "differences_after": 0},
    "follow": FOLLOW,
    "rejects": {"rows_rejected": {"users": 2}, "rejects_by_reason": {"no_field": 2}, "differences": 0},
    "damage": [CASE, {**CASE, "keys_after": 8}],
    "persistence": {"keys_before": 9, "keys_after": 9, "differences": 0},
    "back": {
        "rows": {"users": 9},
        "only_before": {"users": 1},
        "only_after": {"users": 0},
        "rejected": {"users": 1},
    },
}


def faults(crashes: Any = None, **changed: Any) -> Any:
    data = {"migration": FAULTS | changed, "crashes": crashes}
    table = migration_claims.faults_table(
        Results({kind: Result(kind, "quick", "", {}, of) for kind, of in data.items() if of})
    )
    return table.set_index("Fault")


def test_each_fault_has_a_row_with_what_happened_and_a_verdict() -> None:
    campaign = {"trials": [TRIAL, TRIAL], "summary": {"mover": {"kills": 3}, "redis": {"kills": 1}}}
    rows = faults({**campaign, "general": campaign})
    assert len(rows) == 10 and "not measured" not in rows.to_string()
    assert rows.loc["any process killed at random", "tried"] == "2 trials"
    assert rows.loc["any process killed at random", "what happened"].startswith("4 kills")
    assert rows.loc["any process killed at random", "verdict"].startswith("nothing lost")
    assert rows.loc["the same on general tables", "verdict"].startswith("nothing lost")
    damaged = rows.loc["values damaged in the target"]
    assert damaged["what happened"] == "2 of 2 found, each by its key; a count of keys misses 1"
    assert damaged["verdict"] == "2 of 2 repaired"
    assert rows.loc["all data needed back", "verdict"] == "none differs"
    assert rows.loc["keys of others in the target", "verdict"] == "unchanged"


def test_a_verdict_turns_with_the_results_and_a_part_that_is_missing_says_so() -> None:
    campaign = {"trials": [TRIAL, TRIAL | {"judge": NOTHING | {"lost": 1}}], "summary": {}}
    rows = faults(
        campaign,
        refused={"before": 1, "after": 2},
        kill={**FAULTS["kill"], "differences": 2},
        again={**FAULTS["again"], "counted": {"users": 8}, "differences_after": 1},
        follow={**FOLLOW, "differences": 5},
        rejects={**FAULTS["rejects"], "differences": 1},
        damage=[{**CASE, "found": False, "differences_after_repair": 1}],
        persistence={**FAULTS["persistence"], "keys_after": 8, "differences": 1},
        back={**FAULTS["back"], "only_after": {"users": 1}},
    )
    assert rows["verdict"].tolist() == [
        "changed: a fault", "2 differences", "a fault in 1 trial", "n/a", "1 difference",
        "30 of 30 reads equal, 5 differences", "the rest does not agree", "0 of 1 repaired", "1 difference",
        "rows differ: a fault",
    ]  # fmt: skip
    assert rows.loc["the same on general tables", "what happened"] == "not measured"
    assert "did not agree" in rows.loc["source changed after the load", "what happened"]
    assert rows.loc["Redis killed after the load", "what happened"] == "8 of 9 keys there again"
