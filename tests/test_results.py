"""Saved results: whole, versioned, and refused with a clear word when they are not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from helpers import results
from helpers.errors import HelpersError
from helpers.report import building, claim


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    results.save("ladder", {"rows": 3}, profile="quick", servers={"redis": "8.2.3"}, folder=tmp_path)
    loaded = results.load(tmp_path)
    assert loaded.require("ladder") == {"rows": 3}
    assert loaded["ladder"].environment["servers"] == {"redis": "8.2.3"}
    assert loaded.profile == "quick"
    assert [p.name for p in tmp_path.iterdir()] == ["ladder.json"]


def test_one_quick_result_makes_the_whole_quick(tmp_path: Path) -> None:
    results.save("ladder", {}, profile="full", folder=tmp_path)
    assert results.load(tmp_path).profile == "full"
    results.save("schema", {}, profile="quick", folder=tmp_path)
    assert results.load(tmp_path).profile == "quick"


def test_a_missing_kind_is_said_to_be_missing(tmp_path: Path) -> None:
    loaded = results.load(tmp_path)
    assert loaded.get("schema") is None and loaded.profile is None
    with pytest.raises(results.Missing, match="schema: not measured"):
        loaded.require("schema")


def test_a_missing_part_is_said_to_be_missing(tmp_path: Path) -> None:
    results.save("ladder", {"rows": 3, "open_loop": []}, profile="quick", folder=tmp_path)
    loaded = results.load(tmp_path)
    assert loaded.part("ladder", "rows") == loaded.find("ladder", "rows") == 3
    assert loaded.require("ladder", "rows")["rows"] == 3
    assert loaded.find("ladder", "open_loop") == []
    assert loaded.find("ladder", "none") is loaded.find("schema", "rows") is None
    for name in ("open_loop", "none"):
        with pytest.raises(results.Missing, match=f"^ladder: {name.replace('_', ' ')} not measured$"):
            loaded.part("ladder", name)
    with pytest.raises(results.Missing, match="schema: not measured"):
        loaded.part("schema", "rows")


def test_a_part_of_a_part_is_missing_with_the_reason_that_was_saved(tmp_path: Path) -> None:
    data = {"beyond": {"redis": {"room": 1}, "mongodb": {"not measured": "no disk"}}}
    results.save("scale", data, profile="quick", folder=tmp_path)
    loaded = results.load(tmp_path)
    assert loaded.part("scale") == data
    assert loaded.part("scale", "beyond", "redis") == {"room": 1}
    for name, message, reason in (
        ("mongodb", "scale: mongodb not measured: no disk", "no disk"),
        ("cassandra", "scale: cassandra not measured", ""),
    ):
        with pytest.raises(results.Missing) as missing:
            loaded.part("scale", "beyond", name)
        assert (str(missing.value), missing.value.reason) == (message, reason)


def test_rows_are_picked_by_their_values() -> None:
    rows = [{"store": "redis", "n": 1}, {"store": "mongodb", "n": 1}, {"store": "redis", "n": 2}]
    assert results.having(rows, store="redis") == [rows[0], rows[2]]
    assert results.having(rows, store="redis", n=2) == [rows[2]]
    assert results.having(rows) == rows


def test_a_claim_says_what_was_not_measured_and_why() -> None:
    @claim.from_result("scale", ZeroDivisionError)("The room was", "beyond", "redis")
    def room(part: dict[str, int]) -> str:
        return f"The room is {6 // part['room']}."

    def said(data: dict[str, Any]) -> str:
        return room(results.Results({"scale": results.Result("scale", "quick", "", {}, data)}))

    assert said({"beyond": {"redis": {"room": 2}}}) == "The room is 3."
    assert said({}) == said({"beyond": {}}) == "The room was not measured."
    for part in ({}, {"rooms": 2}, {"room": 0}):
        assert said({"beyond": {"redis": part}}) == "The room was not measured."
    assert said({"beyond": {"redis": {"not measured": "no disk"}}}) == "The room was not measured: no disk."
    assert room(results.Results({})) == "The room was not measured."


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HelpersError, match="does not exist"):
        results.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("", "not a readable result"),
        ('{"format": "other"}', "without created, data"),
        (
            "version",
            "a ladder of version 0, and this program reads version 1; measure it again with `python -m",
        ),
        ("kind", "holds a result of kind schema"),
    ],
)
def test_a_broken_or_old_file_is_named(tmp_path: Path, damage: str, complaint: str) -> None:
    path = results.save("ladder", {"rows": 3}, profile="quick", folder=tmp_path)
    record = json.loads(path.read_text(encoding="utf-8"))
    if damage == "version":
        damage = json.dumps(record | {"version": 0})
    elif damage == "kind":
        damage = json.dumps(record | {"kind": "schema"})
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(HelpersError, match=complaint) as caught:
        results.load(tmp_path)
    assert "ladder.json" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "command"), [("comparison", "bench"), ("crashes", "crashes"), ("schema", "run")]
)
def test_an_old_result_is_named_with_its_version_and_the_command_that_makes_a_new_one(
    tmp_path: Path, kind: str, command: str
) -> None:
    version = results.VERSIONS[kind]
    path = results.save(
        kind, dict.fromkeys(results.REQUIRED.get(kind, ()), 0), profile="full", folder=tmp_path
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["version"] == version
    path.write_text(json.dumps(record | {"version": version - 1}), encoding="utf-8")
    for read in (lambda: results.load(tmp_path), lambda: results.read(path)):
        with pytest.raises(HelpersError) as caught:
            read()
        assert str(caught.value) == (
            f"{path}: a {kind} of version {version - 1}, and this program reads version {version}; "
            f"measure it again with `python -m helpers {command}`"
        )


def test_the_environment_names_no_host_user_or_path() -> None:
    import getpass
    import platform

    shown = json.dumps(results.environment())
    assert platform.node() not in shown
    assert "/home" not in shown and "/root" not in shown
    assert f'"{getpass.getuser()}"' not in shown
    assert results.stamp("quick").count("\n") == 0


def test_a_save_that_fails_leaves_the_old_result(tmp_path: Path) -> None:
    results.save("ladder", {"rows": 3}, profile="quick", folder=tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        results.save("ladder", {"rows": float("nan")}, profile="quick", folder=tmp_path)
    assert results.load(tmp_path).require("ladder") == {"rows": 3}


INTERVAL = {"value": 2, "low": 1, "high": 3}


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        (results.object_with({"n": results.COUNT}), [{"n": 0}], [{}, {"n": -1}, {"n": 1, "more": 1}]),
        (results.object_with({"n": results.COUNT}, more=True), [{"n": 1, "more": 1}], [{"more": 1}]),
        (results.object_with({}, optional={"t": results.WORDS}), [{}, {"t": "x"}], [{"t": ""}, {"u": "x"}]),
        (results.map_of(results.POSITIVE), [{}, {"a": 1}], [{"a": 0}]),
        (results.map_of(results.TEXT, least=1), [{"a": ""}], [{}, {"a": 1}]),
        (results.interval(), [None, INTERVAL], [{"value": 1}, INTERVAL | {"p": 1}]),
        (results.interval("p"), [INTERVAL, INTERVAL | {"p": 0.5}], [INTERVAL | {"q": 1}]),
    ],
)
def test_a_piece_takes_what_it_says(schema: dict[str, Any], taken: list[Any], refused: list[Any]) -> None:
    for value in taken:
        jsonschema.validate(value, schema)
    for value in refused:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)


def test_what_a_notebook_begins_is_read_part_by_part_and_saved_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELPERS_RESULTS", str(tmp_path / "results"))
    result = results.begin("schema", "quick", {"postgres": "18"})
    rules = [{"rule": "one"}]
    result.keep(constraints=rules)
    rules.append({"rule": "later"})
    assert result.part("schema", "constraints") == [{"rule": "one"}] and result.profile == "quick"
    with pytest.raises(HelpersError, match="not saved, for it lacks catalogue, accepted, dimes, index:"):
        result.save()
    assert not (tmp_path / "results").exists()
    result.keep(index={}, dimes={}, accepted=[], catalogue={})
    result.beside(ladder={"rounds": []})
    result.keep(constraints=[])
    result.save()
    saved = results.load()
    assert set(saved) == {"schema"} and tuple(saved["schema"].data) == results.PARTS["schema"]
    assert saved["schema"].environment["servers"] == {"postgres": "18"}
    with pytest.raises(ValueError, match="schema has no part skew; it has catalogue"):
        result.keep(skew={})


@pytest.mark.parametrize("kind", results.PARTS)
def test_the_published_results_have_the_parts_that_are_kept(kind: str) -> None:
    published = results.read(building.published_folder() / f"{kind}.json")
    assert set(published.data) == set(results.PARTS[kind])


NO_PARSER = """
import sys
from helpers import results
library = results.jsonschema()
import jsonschema, nbformat
assert library is jsonschema
assert not [name for name in sys.modules if name.startswith(("lark", "rfc3987"))]
try:
    library.validate({"rows": "many"}, {"properties": {"rows": {"type": "integer"}}})
except library.ValidationError as error:
    assert "is not of type 'integer'" in str(error)
else:
    raise AssertionError("anything fits")
import rfc3987_syntax  # whoever needs it has it
"""


def test_jsonschema_comes_without_the_parser_that_takes_long() -> None:
    pytest.importorskip("rfc3987_syntax")
    done = subprocess.run([sys.executable, "-c", NO_PARSER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
