"""What may be lost is read from settings, and the price of losing nothing turns with the medians."""

import pytest
from comparison_records import data, interval, results

from helpers.comparison import durability
from helpers.results import Missing

US = {"redis": 100.0, "mongodb": 300.0, "cassandra": 900.0}
RELAXED = {
    "postgres": {"fsync": "on", "synchronous_commit": "off", "wal_writer_delay": "200ms"},
    "redis": {"appendonly": "yes", "appendfsync": "everysec"},
    "mongodb": {"write concern received": "w:1 j:false", "journal flushed at least every": "100 ms"},
    "cassandra": {"commit log": "periodic", "commit log synced every": "10000ms"},
}
STRICT = {
    "postgres": {"fsync": "on", "synchronous_commit": "on", "wal_writer_delay": "200ms"},
    "redis": {"appendonly": "yes", "appendfsync": "always"},
    "mongodb": {"write concern received": "w:1 j:true", "journal flushed at least every": "100 ms"},
    "cassandra": {"commit log": "batch"},
}


def measured(*, strict=None):
    """A comparison with the settings above; in the strict tier the writes take so many times as long."""
    found = data(US)
    found["tiers"] = {"relaxed": {store: RELAXED[store] for store in US}}
    if strict is not None:
        found["tiers"]["strict"] = {
            store: STRICT[store] if store in strict else {"not measured": "no Java"} for store in US
        }
        for row in [row for row in found["latency"] if row["mix"] == "50/50" and row["store"] in strict]:
            p50 = interval(row["percentiles_us"]["p50"]["value"] * strict[row["store"]])
            found["latency"].append(
                {**row, "tier": "strict", "percentiles_us": {"p50": p50, "p99": None}, "mean_us": 1000.0}
            )
    return results(found)


@pytest.mark.parametrize(
    ("store", "seconds"), [("postgres", 0.6), ("redis", 1.0), ("mongodb", 0.1), ("cassandra", 10.0)]
)
def test_the_window_is_what_the_live_settings_say(store, seconds):
    assert durability.may_be_lost_s(store, RELAXED[store]) == pytest.approx(seconds)
    assert durability.may_be_lost_s(store, STRICT[store]) == 0
    assert durability.may_be_lost_s(store, {}) is None


def test_a_setting_that_is_changed_changes_the_window():
    slower = RELAXED["cassandra"] | {"commit log synced every": "2s"}
    assert durability.may_be_lost_s("cassandra", slower) == 2
    assert durability.may_be_lost_s("postgres", RELAXED["postgres"] | {"wal_writer_delay": "1s"}) == 3
    assert durability.may_be_lost_s("redis", {"appendonly": "no", "appendfsync": "always"}) is None
    assert durability.may_be_lost_s("redis", {"appendonly": "yes", "appendfsync": "no"}) is None
    assert durability.may_be_lost_s("postgres", STRICT["postgres"] | {"fsync": "off"}) is None


def test_the_table_has_a_row_for_each_tier_and_store():
    frame = durability.table(measured(strict={"redis": 4.0, "mongodb": 0.5}))
    assert list(frame["tier"]) == ["relaxed"] * 3 + ["strict"] * 3
    row = frame.set_index(["tier", "store"])
    assert row.loc[("relaxed", "Cassandra"), "may be lost"] == "the last 10 s"
    assert row.loc[("strict", "Redis"), "may be lost"] == "nothing"
    assert row.loc[("strict", "Redis"), "writes per second"] == "1,000"
    assert row.loc[("strict", "Redis"), "activity, p99"] == "n/a"
    assert "appendfsync everysec" in row.loc[("relaxed", "Redis"), "setting"]
    assert row.loc[("strict", "Cassandra"), "setting"] == "no Java"
    assert row.loc[("strict", "Cassandra"), "order, p50"] == "n/a"
    with pytest.raises(Missing):
        durability.table(results(None))


def test_promises_name_what_may_be_lost_and_what_is_absent():
    text = durability.promises(measured())
    assert (
        "In the relaxed tier the last 100 ms to 10 s of acknowledged writes may be lost, least on MongoDB "
        "and most on Cassandra." in text
    )
    text = durability.promises(measured(strict={"redis": 4.0, "mongodb": 0.5}))
    assert "In the strict tier nothing is lost on Redis and MongoDB." in text
    assert "Cassandra was not measured in the strict tier: no Java." in text
    unsure = measured()
    unsure["comparison"].data["tiers"]["relaxed"] = {
        "redis": {"appendonly": "no"}, "mongodb": STRICT["mongodb"], "cassandra": RELAXED["cassandra"],
    }  # fmt: skip
    text = durability.promises(unsure)
    assert "may be lost on Cassandra; nothing is lost on MongoDB; Redis does not say what may be" in text
    assert durability.promises(results(None)) == "Durability: not measured."


def test_the_price_rises_falls_and_is_missing():
    assert "not measured in this run" in durability.price(measured())
    text = durability.price(measured(strict={"redis": 4.0, "mongodb": 0.5}))
    assert (
        "0.500 to 4.00 times as long in the strict tier as in the relaxed one, least on MongoDB and" in text
    )
    assert text.endswith("most on Redis. It was not measured on Cassandra.")
    one = durability.price(measured(strict={"redis": 4.0}))
    assert "median is 4.00 times as long in the strict tier as in the relaxed one. It was" in one
    assert "not measured on Redis, MongoDB and Cassandra" in durability.price(measured(strict={}))


def test_the_summary_has_a_row_for_each_store():
    frame = durability.summary_table(measured(strict={"redis": 4.0, "mongodb": 0.5})).set_index("store")
    assert frame.loc["Redis"].tolist() == ["the last 1 s", "nothing", "4.00"]
    assert frame.loc["MongoDB"].tolist() == ["the last 100 ms", "nothing", "0.500"]
    assert frame.loc["Cassandra"].tolist() == ["the last 10 s", "n/a", "n/a"]
    assert list(durability.summary_table(measured()).columns)[1:-1] == ["may be lost, relaxed"]
    with pytest.raises(Missing):
        durability.summary_table(results(None))
    assert durability.price(results({})) == "Price of durability: not measured."


def test_heap_and_compiler_are_those_of_the_command_line():
    from helpers.comparison import cassandra

    told = cassandra._java(["-Xms256m", "-Xmx512m", "-Xmx1024m", "org.apache.Cassandra"])
    assert told == {"heap": "at most 1024m", "just-in-time compiler": "all levels"}
    assert cassandra._java(["-XX:TieredStopAtLevel=1"])["just-in-time compiler"] == "up to level 1"
    assert cassandra._java(["-Xint"])["just-in-time compiler"] == "off"
    assert set(cassandra._java([]).values()) == {"unknown"}
