"""Scaling out, as small as it can be: every arm is measured in every round, and does its work."""

from pathlib import Path
from typing import Any

import pytest
from leftovers import leftovers

from helpers import results, servers, settings
from helpers.errors import HelpersError
from helpers.trials import scaleout
from helpers.trials.outlook import Costs

ROUNDS = 2
ROWS = {"users": 40, "products": 10, "activities": 1_500, "orders": 450}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    servers.up(["postgres"], progress=False)
    folder: Path = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scaleout.SIZES, "quick", ROWS)
        patch.setitem(scaleout.ROUNDS, "quick", ROUNDS)
        measured = scaleout.run(profile="quick", folder=folder, progress=False)
    assert results.load(folder).require("scaleout") == measured
    return measured


def test_every_arm_is_measured_in_every_round_in_another_order(data: dict[str, Any]) -> None:
    arms = [(one["nodes"], one["workers"]) for one in data["rounds"]]
    first, second = arms[: len(scaleout.ARMS)], arms[len(scaleout.ARMS) :]
    assert set(first) == set(second) == set(scaleout.ARMS) and first != second
    assert all(one["rows"] == sum(ROWS.values()) for one in data["rounds"])
    assert data["differences"] == {f"{nodes}x{workers}": 0 for nodes, workers in scaleout.ARMS}


def test_every_node_had_a_share_of_the_work(data: dict[str, Any]) -> None:
    for one in data["rounds"]:
        assert len(one["redis_cpu_seconds"]) == one["nodes"]
        assert min(one["redis_cpu_seconds"]) > 0
        assert one["mover_cpu_seconds"] > 0
        assert one["redis_bytes"] > 20 * one["rows"] < one["memory_bytes"]
        assert 0 < one["busy"] <= 1.05
    sizes = [one["bytes"] for one in data["reading"]]
    assert len(sizes) == ROUNDS and len(set(sizes)) == 1


def test_costs_come_out_of_it(data: dict[str, Any]) -> None:
    one = Costs.from_result(data)
    assert min(one.mover_s, one.redis_s, one.read_s, one.source_bytes, one.redis_bytes) > 0
    assert one.nodes(10**9) >= 1


def test_nothing_of_it_stays(data: dict[str, Any]) -> None:
    assert leftovers(settings.home()) == []


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(HelpersError, match="quick, full"):
        scaleout.run(profile="small")
