"""The ladder: every rung does the same work, and the summary says what the rounds say."""

from pathlib import Path

import pytest

from helpers import ladder, results, servers
from helpers.errors import HelpersError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    servers.up(["postgres"], progress=False)
    sizes, samples = dict(ladder.SIZES), dict(ladder.SAMPLE_ROWS)
    ladder.SIZES["quick"] = {"users": 20, "products": 10, "activities": 300, "orders": 60}
    ladder.SAMPLE_ROWS["quick"] = 39
    folder: Path = tmp_path_factory.mktemp("results")
    try:
        measured = ladder.run(profile="quick", folder=folder, progress=False)
    finally:
        ladder.SIZES.update(sizes)
        ladder.SAMPLE_ROWS.update(samples)
    assert results.load(folder).require("ladder") == measured
    return measured


def test_every_rung_is_measured_in_every_round(data: dict[str, list[dict[str, object]]]) -> None:
    rungs = set(data["labels"])
    assert rungs >= {"row", "pipeline", "pipeline_hiredis", "streamed"}
    assert ("redis_cli" in rungs) != (ladder.LABELS["redis_cli"] in data["absent"])
    assert len(data["rounds"]) == ladder.ROUNDS * len(rungs)
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


def test_unknown_profile() -> None:
    with pytest.raises(HelpersError, match="nothing"):
        ladder.run(profile="nothing")
