"""Data of a measurement of several nodes, made by hand."""

import copy

from helpers.results import Result, Results
from helpers.scaling.nodes import costs

NAMES = ("redis_replica", "redis_cluster", "mongodb_set", "cassandra_ring")
LEFT_OUT = {"not measured": "no room"}


def tier(*, writes=100, acknowledged=98, lost=0, unasked=0, outage_s=0.5, errors=None):
    failed = writes - acknowledged
    return {
        "writes": writes,
        "acknowledged": acknowledged,
        "lost": lost,
        "unasked": unasked,
        "outage_s": outage_s,
        "errors": {"ConnectionError": failed} if errors is None and failed else errors or {},
    }


def way(detection, detect_s, outages_s, by="the others"):
    return {"detection": detection, "detect_s": detect_s, "promoted_by": by, "outages_s": outages_s}


def times(value):
    return {"value": value, "low": value * 0.9, "high": value * 1.1}


def part(tiers, found, *, nodes=3, shown=None, failover=None, second_node=None):
    points = [[0.1 * i, 1.0 + i % 3, 0 if i in (10, 11) else 1] for i in range(30)]
    whole = next(iter(tiers.values())) if shown is None else tiers[shown]
    return {
        "nodes": nodes,
        "version": "1.0",
        **{name: whole[name] for name in ("writes", "acknowledged", "lost", "unasked", "outage_s")},
        "timeline": points,
        "events": [[1.0, "killed"], [1.001, "promoted"], [2.0, "killed"]],
        "settings": {"timeline": "every write", "retries": "off"} | ({"shown": shown} if shown else {}),
        "tiers": tiers,
        "failover": failover or [],
        "second_node": second_node,
        "found": found,
    }


def _replica():
    cases = {
        "killed": {"no WAIT": tier(), "WAIT 1": tier(outage_s=0.25)},
        "cut off": {"no WAIT": tier(lost=40), "WAIT 1": tier(acknowledged=97)},
    }
    found = {
        "cases": cases,
        "outages_s": {"no WAIT": [0.5, 0.75], "WAIT 1": [0.25, 0.25]},
        "lost_at": [[1.5, 1.0, 1], [1.6, 2.0, 1]],
        "only_on_old_primary": {
            "killed": {"no WAIT": 0, "WAIT 1": 0},
            "cut off": {"no WAIT": 40, "WAIT 1": 3},
        },
        "lag_bytes": {"median": 0.0, "max": 85},
        "latency_ms": {"no WAIT": {"median": 0.2, "max": 1.0}, "WAIT 1": {"median": 0.4, "max": 1.5}},
        "cut_s": 4.0,
        "refused_alone": "NOREPLICAS Not enough good replicas.",
    }
    tiers = {"no WAIT": tier(lost=40), "WAIT 1": tier(acknowledged=97)}
    ways = [way("by command", None, [0.5, 0.75], "a command")]
    return part(tiers, found, nodes=2, shown="no WAIT", failover=ways, second_node=times(1.3))


def _cluster():
    kill = {"took_over_s": 1.5, "outage_s": 2.0, "others": 60, "others_failed": 0, "others_outage_s": 0.01}
    keys = {"order:1": 14374, "user:1:orders": 13944, "product:1:orders": 7359}
    words = "CROSSSLOT Keys in request don't hash to the same slot"
    found = {
        "cases": {"slots moved": {"whole": tier(acknowledged=100)}, "master killed": {"whole": tier()}},
        "move": {"slots": 1000, "keys": 308, "seconds": 0.6, "MOVED": 5, "ASK": 1, "TRYAGAIN": 0},
        "kills": [kill | {"tier": "whole"}, kill | {"tier": "partial", "others_failed": 3, "outage_s": 2.5}],
        "keys_before": 5000,
        "keys_before_lost": 0,
        "lost_at": [],
        "order": [
            {"way": "as in the model", "keys": keys, "nodes": 2, "driver": "one slot", "server": words},
            {"way": "one hash tag", "keys": {"{a}b": 7}, "nodes": 1, "driver": "", "server": ""},
        ],
    }
    ways = [way("as set", 2.0, [2.5, 2.6, 2.7]), way("as shipped", 15.0, [16.0, 18.0])]
    return part({"whole": tier(), "partial": tier(acknowledged=90)}, found, nodes=6, failover=ways)


def _mongodb():
    both = {"w:majority": tier(outage_s=3.0), "w:1": tier(lost=1, outage_s=2.5)}
    found = {"cases": {"killed": both, "behind": copy.deepcopy(both)}, "rolled_back": 12, "lost_at": []}
    ways = [way("as set", 2.0, [3.0, 3.1, 3.2]), way("as shipped", 10.0, [12.0])]
    tiers = copy.deepcopy(both)
    return part(tiers, found, shown="w:majority", failover=ways, second_node=times(2.0))


def _cassandra():
    levels = {"ONE": tier(acknowledged=100), "QUORUM": tier(acknowledged=60, errors={"Unavailable": 40})}
    returned = {
        "node": 2, "away_s": 10.0, "missed": 30, "still_missed": 10, "missed_later": 0, "handed_over_s": 5.0,
    }  # fmt: skip
    found = {
        "returned": [returned],
        "lacking": {"before_reading_at_all": [0, 10, 4], "after_reading_at_all": [0, 0, 0]},
        "refused_after_s": 2.0,
        "cases": [{"from": "node 3 killed"} | levels],
    }
    ways = [way("as shipped", None, [0.05, 0.06, 0.07], "nobody")]
    return part(levels, found, shown="QUORUM", failover=ways, second_node=times(1.4))


def data():
    """A full measurement: every part, to be changed at will."""
    made = (_replica(), _cluster(), _mongodb(), _cassandra())
    found = dict(zip(NAMES, made, strict=True))
    return found | {"costs": costs(found), "not_told": ["what a network adds", "what power does"]}


def results(found):
    """Results that hold it; without any when None."""
    if found is None:
        return Results({})
    record = Result(
        kind="nodes", created="2026-01-01T00:00:00+00:00", profile="full", environment={}, data=found
    )
    return Results({"nodes": record})
