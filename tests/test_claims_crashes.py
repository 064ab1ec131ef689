"""Claims on the kill campaign: clean, not clean, missing."""

import copy
from typing import Any

import pytest

from helpers.report import style
from helpers.results import Missing, Result, Results
from helpers.trials import crashes_claims as claims, figures
from helpers.trials.mover import CATCHING_UP, PHASES, VERIFYING

NONE = {"lost": 0, "doubled": 0, "altered": 0}
SENTENCES = [
    claims.kills, claims.general, claims.bound, claims.went_on, claims.corrected, claims.changed,
    claims.moments,
]  # fmt: skip


def part(kills: int, phase: str, after: dict[str, int], **more: Any) -> dict[str, Any]:
    return {
        "kills": kills, "trials": kills, "too_late": 1, "changed": 0, "behind": 0, "faults": 0,
        "phases": dict.fromkeys(PHASES, 0) | {phase: kills}, "after": after, "verify": NONE, "judge": NONE,
    } | more  # fmt: skip


def trial(victim: str, phase: str, faults: list[str]) -> dict[str, Any]:
    kill = {"at_s": 0.5, "phase": phase, "rows": 7, "changed": None}
    return {
        "victim": victim, "kills": [kill], "faults": faults, "verify": NONE, "judge": NONE,
        "older_load": False, "caught_up": {},
    }  # fmt: skip


CLEAN: dict[str, Any] = {
    "seed": 5, "batch_rows": 5, "rows": {"users": 1_000, "orders": 500}, "wanted": {},
    "undisturbed": {"ended_s": 1.25}, "appendfsync": "always",
    "trials": [trial("mover", VERIFYING, []), trial("redis", CATCHING_UP, ["gave up"])],
    "summary": {
        "mover": part(20, VERIFYING, {"resumed": 12, "anew": 3}, changed=8, behind=6),
        "redis": part(3, CATCHING_UP, {"waited": 2, "resumed": 1}),
        "postgres": part(1, VERIFYING, {"waited": 1}),
    },
}  # fmt: skip


def found(data: dict[str, Any] | None = None) -> Results:
    return Results({"crashes": Result("crashes", "quick", "", {}, CLEAN if data is None else data)})


@pytest.mark.parametrize("claim", SENTENCES)
def test_missing(claim: Any) -> None:
    assert "not measured" in claim(Results({}))


@pytest.mark.parametrize("function", [claims.kills_table, claims.phases_table, figures.kills])
def test_tables_and_figure_without_results(function: Any) -> None:
    with pytest.raises(Missing):
        function(Results({}))


def test_clean() -> None:
    text = claims.kills(found())
    assert "In 24 trials SIGKILL struck the migration, Redis and PostgreSQL 24 times at random" in text
    assert "neither the verification nor the second judge found a value lost" in text and "fault" not in text


def test_which_tables_it_was() -> None:
    assert "not measured" in claims.general(found()) and "general" not in claims.kills(found())
    both = copy.deepcopy(CLEAN)
    both["general"] = {**CLEAN, "model": "general", "rows": {"people": 5, "tags": 7}}
    text = claims.general(found(both))
    assert "on 2 other tables" in text and "In 24 trials SIGKILL struck" in text
    assert "neither the verification nor the second judge found a value lost" in text and "fault" not in text
    assert "At most" not in text, "one of its two trials gave up"
    many = {**both, "general": both["general"] | {"trials": [trial("mover", VERIFYING, [])] * 30}}
    assert claims.general(found(many)).endswith("At most 10.0 % of such trials go wrong (a 95 % bound).")
    both["general"] = copy.deepcopy(both["general"])
    both["general"]["summary"]["mover"]["judge"] = {"lost": 0, "doubled": 3, "altered": 0}
    assert "3 doubled" in claims.general(found(both)) and "fault" in claims.general(found(both))
    assert "fault" not in claims.kills(found(both))
    assert "24 times at random moments on general tables. After" in claims.kills(found(both["general"]))


def test_what_had_to_be_put_right_counts_where_the_source_had_not_changed() -> None:
    assert "In 2 trials the source had not changed: there was nothing" in claims.corrected(found())
    data = copy.deepcopy(CLEAN)
    data["trials"][0]["caught_up"] = {"missing key": 1}
    assert "something to put right 1 time: that is a fault" in claims.corrected(found(data))
    data["trials"][0]["kills"][0]["changed"] = "behind"
    assert "In 1 trial the source had not changed: there was nothing" in claims.corrected(found(data))
    data["trials"][1]["older_load"] = True
    assert "In 0 trials" in claims.corrected(found(data))


@pytest.mark.parametrize("judge", ["verify", "judge"])
def test_a_difference_that_one_judge_found_is_a_fault(judge: str) -> None:
    data = copy.deepcopy(CLEAN)
    data["summary"]["redis"][judge] = {"lost": 2, "doubled": 0, "altered": 1}
    text = claims.kills(found(data))
    assert "2 lost, 0 doubled and 1 altered" in text and "that is a fault" in text and "neither" not in text


def test_a_run_that_did_not_do_what_it_should_is_a_fault() -> None:
    data = copy.deepcopy(CLEAN)
    data["summary"]["postgres"]["faults"] = 1
    text = claims.kills(found(data))
    assert "1 run did not do what it should: that is a fault" in text


def test_how_it_went_on() -> None:
    text = claims.went_on(found())
    assert "Of 16 runs that followed a kill undisturbed, 13 went on" in text
    assert "3 found nothing committed and began anew" in text and "found the load complete" not in text
    assert "went on by itself 3 times. It ended with exit code 2 and said why 1 time," in text


def test_changes_and_moments() -> None:
    text = claims.changed(found())
    assert "After 8 of the 20 kills" in text and "6 times behind" in text
    text = claims.moments(found())
    assert "1,500 rows works" in text and "batches of 5, seed 5" in text and "1.25 s" in text
    assert "3 kills more came too late" in text and f"hit 1 of its {len(PHASES)} phases" in text


def test_the_bound_is_of_trials_and_turns_with_a_fault() -> None:
    text = claims.bound(found(CLEAN | {"trials": [trial("mover", VERIFYING, [])] * 60}))
    assert text.startswith(
        "No fault was found in 60 trials with 24 kills. At most 5.0 % of such trials go wrong"
    )
    text = claims.bound(found())  # one of two trials gave up
    assert text == "A fault was found in 1 of 2 trials with 24 kills."
    altered = trial("mover", VERIFYING, []) | {"judge": NONE | {"altered": 1}}
    assert claims.bound(found(CLEAN | {"trials": [altered]})).startswith("A fault was found in 1 of 1 trial")
    assert claims.bound(found(CLEAN | {"trials": []})).endswith("not measured.")


def test_tables() -> None:
    table = claims.kills_table(found())
    assert list(table["Killed"]) == ["migration", "Redis", "PostgreSQL"]
    assert list(table["kills"]) == [20, 3, 1] and list(table["resumed"]) == [12, 1, 0]
    assert list(table["phases hit"]) == [f"1 of {len(PHASES)}"] * 3
    phases = claims.phases_table(found()).set_index("Phase")
    assert phases.loc[VERIFYING].to_dict() == {"migration": 20, "Redis": 0, "PostgreSQL": 1}


def test_the_figure_has_a_mark_for_each_kill_and_a_ring_for_each_fault() -> None:
    figure = figures.kills(found())
    marks = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert [line.get_marker() for line in marks] == ["v", "o", "o"]
    assert marks[-1].get_fillstyle() == "none"
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert f"{VERIFYING} (21)" in labels and len(labels) == len(PHASES)
    assert style.svg(figures.kills(found())) == style.svg(figures.kills(found()))
    assert figure.get_figwidth() == style.WIDTH_IN
