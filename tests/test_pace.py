"""The pace of following, as small as it can be: every arm applies every backlog, and all that users write."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from leftovers import leftovers

from helpers import results, settings
from helpers.errors import HelpersError
from helpers.trials import pace, pace_claims

SMALL = replace(
    pace.DESIGNS["quick"],
    rows={"users": 40, "products": 5, "activities": 200, "orders": 40},
    transactions=50, large_rows=6_000, rounds=2, warm_s=0.2, writing_s=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def refused() -> list[str]:
    """What is said of arms that were damaged when all was measured."""
    return []


@pytest.fixture(scope="module")
def data(folder: Path, refused: list[str]) -> dict[str, Any]:
    measure = pace._measure

    def and_damage(source: str, arms: Any, design: pace.Design, progress: bool) -> dict[str, Any]:
        found = measure(source, arms, design, progress)
        arms["one"]._client.delete("product:1")
        arms["cluster"]._client.hset("product:2", "price", "0.01")
        pace.ask(arms["postgres"]._url, "DELETE FROM orders WHERE order_id = 1")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(HelpersError) as caught:
            patch.setattr(pace, "_steady", lambda *_: {})
            measure(source, arms, replace(design, rounds=0), progress)
        refused.append(str(caught.value))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pace.DESIGNS, "quick", SMALL)
        patch.setattr(pace, "_measure", and_damage)
        measured = pace.run(profile="quick", folder=folder, progress=False)
    assert results.load(folder).require("pace") == measured
    return measured


def test_every_arm_applies_every_backlog_in_another_order(data: dict[str, Any]) -> None:
    for backlog, changes in (("single", 50), ("large", 6_000)):
        found = results.having(data["rounds"], backlog=backlog)
        assert [one["arm"] for one in found] == [*pace.ARMS, *pace.ARMS[1:], pace.ARMS[0]]
        assert {one["changes"] for one in found} == {changes}
        assert all(one["per_second"] == changes / one["seconds"] for one in found)


def test_every_arm_ends_with_what_the_source_has(data: dict[str, Any]) -> None:
    assert data["differences"] == dict.fromkeys(pace.ARMS, 0)
    assert data["durability"] == {"redis": "everysec", "postgres": "off"}


@pytest.mark.usefixtures("data")
def test_an_arm_that_lacks_something_is_an_error(refused: list[str]) -> None:
    assert refused == ["pace: not every arm did its work: {'one': 1, 'cluster': 1, 'postgres': 1}"]


def test_delays_are_of_rows_that_were_written_while_it_was_counted(data: dict[str, Any]) -> None:
    assert [one["arm"] for one in data["steady"]] == list(pace.ARMS)
    for one in data["steady"]:
        most = pace.PER_S * SMALL.writing_s
        assert 0 < one["committed_per_s"] <= pace.PER_S * 1.1
        assert 0 < len(one["delays_ms"]) <= 1.1 * most / pace.WRITERS
        assert min(one["delays_ms"]) >= 0 and max(one["delays_ms"]) > 0


def test_it_is_told(data: dict[str, Any], folder: Path) -> None:
    saved = results.load(folder)
    for claim in (pace_claims.rates, pace_claims.delays, pace_claims.terms):
        assert "not measured" not in claim(saved)
    assert len(pace_claims.table(saved)) == len(pace.ARMS)


def test_nothing_of_it_stays(data: dict[str, Any]) -> None:
    assert leftovers(settings.home()) == []


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(HelpersError, match="quick, full"):
        pace.run(profile="small")
