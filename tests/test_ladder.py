"""The ladder: every rung does the same work, and the summary says what the rounds say."""

from pathlib import Path
from typing import Any

import pytest

from helpers import results, servers
from helpers.errors import HelpersError
from helpers.trials import ladder, rungs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    servers.up(["postgres"], progress=False)
    folder: Path = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ladder.SIZES, "quick", {"users": 20, "products": 10, "activities": 300, "orders": 60})
        patch.setitem(ladder.SAMPLE_ROWS, "quick", 39)
        patch.setitem(ladder.GROWN, "quick", {100: 2, 500: 1})
        measured = ladder.run(profile="quick", folder=folder, progress=False)
    saved = results.load(folder).require("ladder")
    assert saved == measured
    return measured


@pytest.mark.slow
def test_every_rung_is_measured_in_every_round(data: dict[str, Any]) -> None:
    rungs = set(data["labels"])
    assert rungs >= {"row", "pipeline", "pipeline_hiredis", "streamed"}
    assert ("redis_cli" in rungs) != (ladder.LABELS["redis_cli"] in data["absent"])
    assert len(data["rounds"]) == ladder.ROUNDS["quick"] * len(rungs)
    for record in data["rounds"]:
        assert record["rows"] == (39 if record["rung"] == "row" else 390)
    assert data["rounds"][0]["rung"] != data["rounds"][len(rungs)]["rung"]


def test_every_rung_did_the_same_work(data: dict[str, dict[str, int]]) -> None:
    assert set(data["checked"]) == set(data["labels"]) - {"row"}
    assert set(data["checked"].values()) == {0}


def test_summary() -> None:
    rounds = [
        {
            "rung": rung,
            "rows": 10,
            "seconds": 10 / rate,
            "rows_per_second": rate,
            "redis_cpu_seconds": 1e-5,
            "client_cpu_seconds": 2e-5,
        }
        for rung, rates in {"row": (1, 3, 2), "streamed": (20, 40, 90)}.items()
        for rate in rates
    ]
    found = ladder.summarise(rounds)["streamed"]
    assert (found["min"], found["median"], found["max"], found["ratio"]) == (20, 40, 90, 20)
    assert (found["redis_cpu_us"], found["client_cpu_us"]) == pytest.approx((1, 2))


def test_against_compares_within_a_round() -> None:
    rounds = [
        {"rung": rung, "round": number, "rows_per_second": rate}
        for rung, rates in {"row": (1, 2, 4), "streamed": (20, 10, 40)}.items()
        for number, rate in enumerate(rates)
    ]
    assert ladder.against(rounds) == {"row": {"min": 5, "median": 10, "max": 20}}


def test_growth_migrates_each_size_in_a_process_of_its_own(data: dict[str, list[dict[str, float]]]) -> None:
    found = data["growth"]
    assert [(record["rows"], record["round"]) for record in found] == [(100, 1), (100, 2), (500, 1)]
    for record in found:
        assert record["differences"] == 0
        assert 30 < record["peak_rss_mb"] < 200
        assert record["load_seconds"] > 0 < record["verify_seconds"]


def test_description_names_every_rung_and_size(data: dict[str, dict[str, str]]) -> None:
    text = "\n".join(ladder.describe(data))
    assert all(label in text for label in data["labels"].values())
    assert "500" in text and "MB" in text


def test_the_tools_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert rungs.absent() == "psql and redis-cli and cc not on PATH"


def test_unknown_profile() -> None:
    with pytest.raises(HelpersError, match="nothing"):
        ladder.run(profile="nothing")
