"""A primary with its replica, and a cluster, of real servers: losses, refusals and outages as documented."""

from pathlib import Path

import psutil
import pytest
import redis as redis_py

from helpers import results, settings
from helpers.errors import HelpersError
from helpers.scaling import nodes as measurement, redis_cluster, redis_replica
from helpers.scaling.nodes_schemas import NOT_MEASURED, PARTS
from helpers.scaling.writes import DETECTION_S
from helpers.servers import redis as server
from helpers.servers.redis_cluster import cluster
from helpers.servers.redis_nodes import pair

pytestmark = pytest.mark.skipif(server.missing() is not None, reason=str(server.missing()))


def running_under(folder: Path) -> list[str]:
    found = psutil.process_iter(["name", "cwd"])
    return [p.info["name"] for p in found if (p.info["cwd"] or "").startswith(str(folder))]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    return folder, measurement.run(profile="quick", folder=folder, progress=False)


def test_what_is_saved_is_what_was_measured_and_says_what_was_left_out(measured):
    folder, data = measured
    record = results.load(folder)["nodes"]
    assert record.data == data
    assert record.environment["servers"].keys() == {"redis"}
    assert [part for part in PARTS if NOT_MEASURED in data[part]] == ["mongodb_set", "cassandra_ring"]
    lines = measurement.describe(data)
    assert len(lines) == 5
    assert "the quick profile leaves it out" in lines[-1]


@pytest.mark.parametrize("part", ["redis_replica", "redis_cluster"])
def test_the_common_fields_agree_with_each_other(measured, part):
    found = measured[1][part]
    assert len(found["timeline"]) == min(found["writes"], 1500)
    for one in found["tiers"].values():
        assert one["writes"] - one["acknowledged"] == sum(one["errors"].values())
        assert one["lost"] <= one["acknowledged"]
    assert [second for second, _ in found["events"]] == sorted(second for second, _ in found["events"])


def test_without_wait_a_cut_link_loses_what_was_acknowledged_and_with_it_nothing(measured):
    cases = measured[1]["redis_replica"]["found"]["cases"]["cut off"]
    assert cases["no WAIT"]["lost"] > 0
    assert cases["WAIT 1"]["lost"] == 0
    assert cases["WAIT 1"]["errors"]["WAIT"] > 0
    found = measured[1]["redis_replica"]["found"]
    assert found["only_on_old_primary"]["cut off"]["no WAIT"] == cases["no WAIT"]["lost"]
    assert len(found["lost_at"]) == cases["no WAIT"]["lost"]
    assert found["refused_alone"].startswith("NOREPLICAS")


def test_slots_move_under_a_client_and_no_key_is_lost(measured):
    found = measured[1]["redis_cluster"]["found"]
    moved = found["cases"]["slots moved"]["full coverage required"]
    assert moved["lost"] == 0
    assert found["keys_before_lost"] == 0
    assert found["move"]["keys"] > 0
    assert found["move"]["MOVED"] + found["move"]["ASK"] > 0


def test_a_failover_takes_at_least_the_timeout_and_at_most_loses_what_was_not_copied(measured):
    data = measured[1]["redis_cluster"]
    (kill,) = data["found"]["kills"]
    assert data["settings"]["cluster-node-timeout"].startswith("2000 ms with full coverage")  # read back
    assert kill["took_over_s"] > DETECTION_S
    (way,) = data["failover"]
    assert (way["detection"], way["detect_s"], way["outages_s"]) == ("as set", 2.0, [kill["outage_s"]])
    told = measured[1]["redis_replica"]
    assert told["failover"][0]["detection"] == "by command" and told["second_node"]["value"] > 0
    assert measured[1]["costs"]["redis"]["second_node"] == told["second_node"]
    assert measured[1]["costs"]["redis"]["killed_node_s"] is None  # one kill has no interval
    assert kill["outage_s"] >= kill["others_outage_s"]


def test_an_order_over_slots_is_refused_by_driver_and_server(measured):
    ways = {way["way"]: way for way in measured[1]["redis_cluster"]["found"]["order"]}
    refused = ways["as in the model"]
    assert refused["server"].startswith("CROSSSLOT")
    assert "same slot" in refused["driver"]
    taken = ways["one hash tag for all"]
    assert (taken["driver"], taken["server"], taken["nodes"]) == ("", "", 1)


def test_nothing_of_it_stays(measured):
    assert not list(settings.home().glob("scratch-redis-*"))
    assert not running_under(settings.home() / "scratch-redis")


@pytest.mark.parametrize("module", [redis_replica, redis_cluster])
def test_an_unknown_profile_is_named_before_anything_starts(module):
    with pytest.raises(HelpersError, match="profile 'fast' is not one of quick, full"):
        module.measure("fast", print)
    with pytest.raises(HelpersError, match="profile 'fast'"):
        measurement.run(profile="fast")


def test_nodes_ask_for_their_password_and_go_when_interrupted():
    with pytest.raises(KeyboardInterrupt), pair() as nodes:
        place = redis_py.Redis(host="127.0.0.1", port=nodes.primary.port)
        with pytest.raises(redis_py.AuthenticationError):
            place.ping()
        place.close()
        folder = nodes.primary.folder
        assert running_under(folder)
        raise KeyboardInterrupt
    assert not running_under(folder)
    assert not folder.exists()


def test_a_cluster_covers_all_slots_once():
    with cluster() as nodes:
        covered = sorted(slot for node in nodes.masters() for owned in nodes.slots(node) for slot in owned)
        assert covered == list(range(16384))
