"""Published figures are well formed, and sentences beside them turn with our results."""

import copy
import json

import jsonschema
import pytest
from comparison_records import data, interval, percentiles, results
from crosscheck_records import check, pings

from helpers.comparison import published, published_claims as claims
from helpers.errors import HelpersError
from helpers.results import Missing

MONGODB_FAST = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
CASSANDRA_FAST = {"redis": 100.0, "mongodb": 900.0, "cassandra": 300.0}
CLAIMS = ("directions", "durability", "redis", "network")
SOURCE = {
    "key": "one", "author": "A", "title": "T", "url": "https://example.org/", "read": "2026-01-01",
    "measured": "once", "versions": {"mongodb": "1"}, "workload": "reads", "durability": {"mongodb": "none"},
    "differs": ["in all"],
}  # fmt: skip


def document(*settings):
    """Settings as {figure: (MongoDB's, Cassandra's)}: medians of times, rates."""
    return {
        "sources": [
            SOURCE
            | {
                "settings": [
                    {
                        "name": f"setting {number}",
                        "nodes": 1,
                        "clients": 50,
                        "files": {},
                        "figures": [
                            {
                                "store": store,
                                "figure": figure,
                                "statistic": "mean" if figure == "throughput" else "p50",
                                "value": value,
                                "unit": "µs",
                            }
                            for figure, pair in setting.items()
                            for store, value in zip(("mongodb", "cassandra"), pair, strict=True)
                        ],
                    }
                    for number, setting in enumerate(settings)
                ]
            }
        ]
    }


@pytest.fixture
def theirs(monkeypatch, tmp_path):
    """A way to replace what was published."""

    def write(*settings):
        path = tmp_path / "published.json"
        path.write_text(json.dumps(document(*settings)))
        monkeypatch.setattr(published, "default_path", lambda: path)

    return write


def test_the_file_of_the_project_is_whole():
    whole = json.loads(published.default_path().read_text(encoding="utf-8"))
    published.check(whole)
    assert published.load() == whole["sources"]
    assert {"benchant2022", "redis-benchmark"} <= {source["key"] for source in whole["sources"]}
    for source in whole["sources"]:
        for setting in source["settings"]:
            measured = {one["store"] for one in setting["figures"]}
            assert measured == set(setting["files"])
            assert measured <= set(source["durability"])
    by_unit = {one.figure: one.unit for one in published.figures(whole["sources"])}
    assert by_unit == {"throughput": "1/s", "read": "µs", "insert": "µs", "round trip": "µs"}


def test_percentiles_of_a_published_distribution_rise():
    for source in published.load():
        for setting in source["settings"]:
            for store in published.STORES:
                for figure in ("read", "insert"):
                    found = {
                        one["statistic"]: one["value"]
                        for one in setting["figures"]
                        if (one["store"], one["figure"]) == (store, figure)
                    }
                    ordered = [found[name] for name in ("p50", "p95", "p99") if name in found]
                    assert ordered == sorted(ordered)
                    assert not found or found["mean"] < found["p99"]


def test_what_does_not_fit_is_refused():
    whole = document({"read": (1.0, 2.0)})
    published.check(whole)
    damages = (
        lambda source: source.pop("read"),
        lambda source: source.update(url="http://example.org"),
        lambda source: source["settings"][0]["figures"][0].update(value=0),
        lambda source: source["settings"][0]["figures"][0].update(unit="ms"),
        lambda source: source["settings"][0]["figures"][0].update(store="oracle"),
    )
    for damage in damages:
        damaged = copy.deepcopy(whole)
        damage(damaged["sources"][0])
        with pytest.raises(jsonschema.ValidationError):
            published.check(damaged)
    twice = copy.deepcopy(whole)
    twice["sources"].append(twice["sources"][0])
    with pytest.raises(ValueError, match="there twice: \\['one'\\]"):
        published.check(twice)


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "published.json"
    for text in (None, "{", "[]", '{"sources": []}', '{"sources": [{}]}'):
        if text is not None:
            path.write_text(text)
        with pytest.raises(HelpersError, match=r"published\.json: not readable as published results"):
            published.load(path)


def test_ratios_are_of_settings_that_have_both_stores():
    whole = document({"read": (1.0, 2.0)}, {"read": (3.0, 1.0)})
    del whole["sources"][0]["settings"][1]["figures"][1]
    assert published.ratios(whole["sources"], "read", "p50", "mongodb", "cassandra") == [0.5]
    assert published.ratios(whole["sources"], "read", "p50", "cassandra", "mongodb") == [2.0]
    assert published.ratios(whole["sources"], "read", "mean", "cassandra", "mongodb") == []


BOTH = {"read": (1.0, 2.0), "insert": (8.0, 2.0), "throughput": (50.0, 100.0)}


def served(us):
    """A comparison in which each server was the limit."""
    found = data(us)
    for row in found["throughput"]:
        row["limit"] = "server"
    return found


def test_the_same_and_the_opposite_direction_are_told(theirs):
    theirs(BOTH)
    text = claims.directions(results(served(MONGODB_FAST)))
    assert (
        "the median of a read is 0.500 times Cassandra's there, in 1 pair of runs, and 0.333 (0.333" in text
    )
    assert text.count("(the same direction)") == 1  # read; inserts and throughput are turned round there
    assert text.count("(the opposite direction)") == 2
    text = claims.directions(results(served(CASSANDRA_FAST)))
    assert "and 3.00 (3.00 to 3.00) here (the opposite direction). On MongoDB the median of" in text
    assert text.count("(the same direction)") == 2


def test_a_tie_here_or_no_one_direction_there(theirs):
    theirs(BOTH)
    text = claims.directions(results(served(dict.fromkeys(MONGODB_FAST, 100.0))))
    assert text.count("(no difference shown here)") == 3
    theirs(BOTH, {"read": (2.0, 1.0), "insert": (8.0, 2.0), "throughput": (50.0, 100.0)})
    text = claims.directions(results(served(MONGODB_FAST)))
    assert "a read is 0.500 to 2.00 times Cassandra's there, in 2 pairs of runs" in text
    assert text.count("(no one direction there)") == 1


@pytest.mark.parametrize("limit", ["client", "machine", "waiting"])
def test_no_rate_is_compared_where_a_server_was_not_the_limit(theirs, limit):
    theirs(BOTH)
    found = served(MONGODB_FAST)
    for row in found["throughput"]:
        row["limit"] = limit if row["store"] == "cassandra" else "server"
    text = claims.directions(results(found))
    assert f"not compared, because the limit here was: server on MongoDB and {limit} on Cassandra." in text
    assert "the rate is" not in text
    frame = claims.beside_table(results(found))
    own = frame[(frame["source"] == "this run") & (frame["figure"] == "rate")].iloc[0]
    assert own["Cassandra"].endswith(f" /s, limit: {limit}") and own["MongoDB"].endswith(" /s, limit: server")


def test_medians_that_nobody_published_are_not_compared(theirs):
    theirs({"throughput": (50.0, 100.0)})
    assert "the median" not in claims.directions(results(data(MONGODB_FAST)))
    assert claims.durability(results(data(MONGODB_FAST))).endswith(": not measured.")


def test_the_interval_of_a_turned_test_is_turned_too(theirs):
    theirs(BOTH)
    found = data(MONGODB_FAST)
    straight = claims.directions(results(found))
    for row in found["ratios"]:
        row["low"], row["high"] = row["ratio"] * 0.5, row["ratio"] * 4
    assert "0.333 (0.167 to 1.33) here (no difference" in claims.directions(results(found))
    for row in found["ratios"]:
        if {row["store"], row["against"]} == {"mongodb", "cassandra"}:
            row["store"], row["against"] = row["against"], row["store"]
            row["ratio"], row["low"], row["high"] = 1 / row["ratio"], 1 / row["high"], 1 / row["low"]
    assert "0.333 (0.167 to 1.33) here (no difference" in claims.directions(results(found))
    assert "0.333 (0.333 to 0.333)" in straight


def strict(found, value):
    """MongoDB's appends in the strict tier."""
    row = next(
        row
        for row in found["latency"]
        if (row["store"], row["mix"], row["operation"]) == ("mongodb", "50/50", "append_activity")
    )
    found["latency"].append({**row, "tier": "strict", "percentiles_us": {"p50": interval(value)}})
    return found


def test_durability_as_uneven_as_theirs(theirs):
    theirs(BOTH)
    text = claims.durability(results(data(MONGODB_FAST)))
    assert "the median of MongoDB's was 4.00 times Cassandra's" in text
    assert text.endswith("MongoDB's strict tier was not measured in this run.")
    found = data(MONGODB_FAST)
    other = next(
        row["percentiles_us"]["p50"]["value"]
        for row in found["latency"]
        if (row["store"], row["mix"], row["operation"]) == ("cassandra", "50/50", "append_activity")
    )
    text = claims.durability(results(strict(data(MONGODB_FAST), other * 3)))
    assert "it is 0.333 (0.333 to 0.333) times; with MongoDB in the strict tier" in text
    assert "nearest to theirs, 3.00 (" in text and text.endswith("times (the same direction).")
    assert "(the opposite direction)" in claims.durability(results(strict(data(MONGODB_FAST), other / 3)))
    assert "(no difference shown here)" in claims.durability(results(strict(data(MONGODB_FAST), other)))


def test_redis_beside_its_documentation():
    found = data(MONGODB_FAST)
    for row in found["throughput"]:
        row["per_s"] = 72144.87 / 2
    text = claims.redis(results(found))
    assert "at 72,145 SET per second with 50 clients; the same program was not run here (no cross" in text
    assert (
        "Our client does 36,072 operations of the 50/50 mix with 16 clients, 0.500 times as many (lim" in text
    )
    found["cross_check"] = check(pings(theirs_per_s=2 * 72144.87))
    assert "sends 144,290 PING per second here with 16 clients, 2.00 times as many" in claims.redis(
        results(found)
    )
    found["cross_check"] = check([], [("redis", "redis-benchmark", "it is not on PATH")])
    assert "was not run here (it is not on PATH)" in claims.redis(results(found))


def test_the_network_is_counted_in_our_round_trips():
    found = data(MONGODB_FAST)
    found["floors"]["echo_us"] = percentiles(20.0)
    text = claims.network(results(found))
    assert text.startswith("A bare round trip by TCP on this machine takes 20.0 µs;")
    assert "200 µs for a network of 1 Gbit/s (10.0 times ours)" in text


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_says_that_it_was_not_measured(name):
    claim = getattr(claims, name)
    assert claim(results(None)).endswith(": not measured.")
    assert claim(results({})).endswith(": not measured.")
    assert not claim(results(data(MONGODB_FAST))).endswith(": not measured.")


def test_the_table_puts_our_row_under_theirs():
    frame = claims.beside_table(results(data(MONGODB_FAST)))
    assert list(frame.columns) == ["figure", "source", "setting", "Redis", "MongoDB", "Cassandra"]
    assert list(dict.fromkeys(frame["figure"])) == [
        "rate",
        "read, p50",
        "read, p99",
        "insert, p50",
        "insert, p99",
    ]
    for _, rows in frame.groupby("figure"):
        assert list(rows["source"])[-1] == "this run"
        assert list(rows["source"]).count("this run") == 1
    assert not frame.isna().any().any()
    first = frame.iloc[0]
    assert (first["source"], first["Redis"], first["MongoDB"]) == ("benchant2022", "n/a", "7,564 /s")
    own = frame[(frame["source"] == "this run") & (frame["figure"] == "read, p50")].iloc[0]
    assert own["setting"] == "one machine, 1 client, read profile"
    assert own["MongoDB"].endswith(" µs")
    with pytest.raises(Missing):
        claims.beside_table(results(None))
    with pytest.raises(Missing):
        claims.beside_table(results({}))


def test_the_table_of_sources_says_what_differs():
    frame = claims.sources_table(results(None))
    assert list(frame["source"]) == [source["key"] for source in published.load()]
    assert all(frame["differs from ours"].str.len() > 20)
    assert frame.iloc[0]["versions"] == "MongoDB 5.0.0 and Cassandra 4.0.0"
    assert frame.iloc[-1]["versions"] == "not stated"
