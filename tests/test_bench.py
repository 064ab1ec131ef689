"""A whole comparison, as small as it can be, on four real servers."""

import itertools
import json
import re
import threading
from collections import Counter
from dataclasses import asdict, replace

import jsonschema
import pytest

from helpers import results
from helpers.comparison import bench, dataset, phases, samples, stores, summary
from helpers.comparison.schemas import COMPARISON
from helpers.errors import HelpersError
from helpers.servers import connections, scratch

SMALL = replace(
    phases.DESIGNS["quick"],
    users=40, products=5, activities=200, orders=40, warm_up_operations=60, blocks=2, block_operations=40,
    concurrency=(1, 4), concurrency_blocks=2, concurrency_operations=40, open_shares=(0.3,), open_seconds=0.2,
    floor_operations=40, fsyncs=10, client_processes=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def measured(urls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return bench.run(design=SMALL, folder=folder, progress=False, urls=urls), folder


def test_what_is_saved_is_what_was_measured_and_fits_the_schema(measured):
    data, folder = measured
    saved = results.load(folder).require("comparison")
    assert saved == json.loads(json.dumps(data))
    jsonschema.validate(saved, COMPARISON)
    assert set(results.load(folder)["comparison"].environment["servers"]) == set(stores.NAMES)
    for part, damage in (("latency", []), ("weights", {"performance": -1}), ("counts", {"redis": {}})):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**saved, part: damage}, COMPARISON)


def test_the_summary_follows_from_the_raw_samples(measured):
    data, folder = measured
    again = summary.summarise(list(samples.read(folder)))
    assert {part: data[part] for part in again} == again
    for part in ("counts", "cost", "errors", "warm_up"):
        assert list(data[part]) == list(stores.NAMES)
    assert list(dict.fromkeys(row["store"] for row in data["throughput"])) == list(stores.NAMES)


def test_every_store_got_the_same_operations(measured):
    _, folder = measured
    by_run: dict[tuple[object, ...], dict[str, list[str]]] = {}
    for run in samples.read(folder):
        key = (run.phase, run.mix, run.clients, run.rate_per_s, run.block)
        by_run.setdefault(key, {})[run.store] = sorted(run.verbs)
    assert len(by_run) == 1 + 2 * 2 + 2 * 2 + 1
    for done in by_run.values():
        assert set(done) == set(stores.NAMES)
        assert len({tuple(verbs) for verbs in done.values()}) == 1


def test_answers_were_compared_and_nothing_failed(measured):
    data, _ = measured
    assert data["answers"]["read_profile"] >= 3 * 40
    assert data["answers"]["misses"] > 0
    assert data["answers"]["while timing"] > 0
    assert set(data["errors"].values()) == {0}
    assert data["tiers"]["relaxed"]["redis"]["appendfsync"] == "everysec"
    assert data["counts"]["cassandra"]["sent"]["place_order"] == {"round_trips": 1, "statements": 3}


def test_it_is_described_in_lines(measured):
    lines = bench.describe(measured[0])
    assert len(lines) == 4 * 2 + 3
    assert lines[0].startswith("median of read_profile (95/5): postgres ")
    assert lines[-3].endswith("operations timed, 0 failed")
    times = re.fullmatch(
        r"measured in \S+ s; the full profile has ([\d.,]+) times as many operations", lines[-2]
    )
    assert times and float(times[1].replace(",", "")) > 100
    full = measured[0] | {"design": asdict(phases.DESIGNS["full"]), "seconds": 600}
    assert bench.time_taken(full) == "measured in 600 s"


def test_processor_time_is_split_between_client_and_server(measured):
    data, _ = measured
    for store, mixes in data["cost"].items():
        for found in (mixes["50/50"], data["floors"]["null_op_cost"][store]):
            assert found["client_cpu_us"] > 0 and found["asking_us"] > 0 and found["rest_us"] > 0
            assert found["asking_us"] + found["rest_us"] == pytest.approx(found["elapsed_us"], abs=0.02)
            assert found["server_cpu_us"] is not None
    for row in data["throughput"]:
        assert row["processes"] == min(row["clients"], 2)
        assert 0 < row["machine_busy_share"] <= 1 and row["server_busy_cores"] > 0
        assert row["others_busy_share"] < row["machine_busy_share"]
    assert {row["processes"] for row in data["open_loop"]} == {2}
    assert data["seconds"] > 0


def test_nothing_is_left_in_the_servers(measured, urls):
    client = connections.redis(urls["redis"])
    assert client.keys("comparison:*") == []
    client.close()
    mongo = connections.mongodb(urls["mongodb"])
    assert not [name for name in mongo.list_database_names() if "comparison" in name]
    mongo.close()
    session = connections.cassandra(urls["cassandra"])
    names = {
        row.keyspace_name for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
    }
    session.cluster.shutdown()
    assert not [name for name in names if "comparison" in name]
    assert schemas(urls["postgres"]) == 0


def test_a_server_killed_on_the_way_saves_nothing(urls, tmp_path, monkeypatch):
    with scratch.redis("appendonly no") as server:
        from helpers.comparison.phases import Session

        floors = Session._floors

        def kill_then_measure(self, opened):
            floors(self, opened)
            server.kill()

        monkeypatch.setattr(Session, "_floors", kill_then_measure)
        with pytest.raises(HelpersError, match=r"redis at 127\.0\.0\.1:\d+: Error \d+ connecting"):
            bench.run(design=SMALL, folder=tmp_path, progress=False, urls={**urls, "redis": server.url})
    assert list(tmp_path.iterdir()) == []


def schemas(url):
    """How many schemas of a comparison PostgreSQL holds."""
    connection = connections.postgres(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", (dataset.PG_SCHEMA,))
        ((count,),) = cursor.fetchall()
    connection.close()
    return count


def test_a_failure_while_loading_is_told_in_one_line_and_the_schema_goes(urls, monkeypatch):
    counts = {"users": 20, "products": 2, "activities": 20_000, "orders": 2}
    with (
        pytest.raises(HelpersError, match=r"^cassandra at \S+: .*activities_by_user.*; nothing was saved"),
        stores.opened("cassandra", urls["cassandra"]) as store,
        dataset.made(urls["postgres"], **counts, seed=1) as made,
    ):
        create = store.create

        def spoiled():
            create()
            store.session.execute("DROP TABLE activities_by_user", timeout=60)

        monkeypatch.setattr(store, "create", spoiled)
        made.load_into(store)
    assert schemas(urls["postgres"]) == 0


def test_what_ended_a_comparison_is_told_although_its_postgres_is_gone():
    counts = {"users": 2, "products": 2, "activities": 2, "orders": 2}
    with (
        scratch.postgres() as server,
        pytest.raises(HelpersError, match="why it ended"),
        dataset.made(server.url, **counts, seed=1),
    ):
        server.kill()
        raise HelpersError("why it ended")


def test_two_comparisons_on_one_server_are_kept_apart(urls):
    counts = {"users": 2, "products": 2, "activities": 2, "orders": 2}
    with dataset.made(urls["postgres"], **counts, seed=1) as made:
        assert [row[0] for row in made.rows("users")] == [1, 2]
        with (
            pytest.raises(HelpersError, match="another comparison is under way"),
            dataset.made(urls["postgres"], **counts, seed=1),
        ):
            pass


def test_a_comparison_waits_for_the_connection_of_one_that_has_just_ended(urls):
    counts = {"users": 2, "products": 2, "activities": 2, "orders": 2}
    before = connections.postgres(urls["postgres"])
    assert connections.held(before, dataset.LOCK)
    threading.Timer(0.5, before.close).start()
    with dataset.made(urls["postgres"], **counts, seed=1) as made:
        assert before.closed and made.population.users == 2


def test_unknown_profile_and_weights_are_refused():
    with pytest.raises(HelpersError, match="is not one of quick, full"):
        bench.run(profile="slow")
    with pytest.raises(ValueError, match="weights"):
        bench.run(weights={"beauty": 1.0})


@pytest.mark.parametrize(("names", "blocks"), [("ab", 2), ("abc", 6), ("abcd", 4), ("abcde", 10)])
def test_each_store_is_in_each_place_and_after_each_other_equally_often(names, blocks):
    turns = phases.orders(names, 2 * blocks)
    assert len(set(turns)) == blocks and turns[0] == turns[blocks]
    places = Counter((place, name) for turn in turns for place, name in enumerate(turn))
    assert len(places) == len(names) ** 2 and len(set(places.values())) == 1
    pairs = Counter(pair for turn in turns for pair in itertools.pairwise(turn))
    assert len(pairs) == len(names) * (len(names) - 1) and len(set(pairs.values())) == 1


def test_profiles_say_what_they_do():
    quick, full = phases.DESIGNS["quick"], phases.DESIGNS["full"]
    turns = len(set(phases.orders(stores.NAMES, 100)))
    for name in ("blocks", "concurrency_blocks", "open_blocks", "strict_blocks"):
        assert getattr(full, name) % turns == 0, name
    assert full.strict_blocks and not quick.strict_blocks
    assert all(asdict(full)[name] >= asdict(quick)[name] for name in ("users", "activities", "blocks"))
    # p99.9 has an interval for every operation of the even mix
    assert full.blocks * full.block_operations / 4 > 3688 * 1.05
