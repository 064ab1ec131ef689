"""Cross-checks as they are saved, made of the figures that a test gives."""

from itertools import product


def around(value, spread=0.1):
    return {"value": value, "low": value * (1 - spread), "high": value * (1 + spread)}


def ratio(value, spread=0.1):
    return around(value, spread) | {"p": 0.01}


def row(store, program, operation, clients, *, us, per_s, spread=0.1, echo=None):
    """One row: ``us`` and ``per_s`` are pairs of ours and theirs; intervals reach ``spread`` to both
    sides.
    """
    (ours_us, theirs_us), (ours, theirs) = us, per_s
    names = ("p50", "p95", "p99")
    found = {
        "store": store, "program": program, "operation": operation, "clients": clients,
        "ours": "what we send", "theirs": "what it sends",
        "ours_us": {name: around(ours_us, spread) for name in names},
        "theirs_us": {name: around(theirs_us, spread) for name in names},
        "ours_per_s": around(ours, spread), "theirs_per_s": around(theirs, spread),
        "ratio": {name: ratio(ours_us / theirs_us, spread) for name in names}
        | {"per_s": ratio(ours / theirs, spread)},
    }  # fmt: skip
    if echo is not None:
        found["echo_us"] = {name: around(echo, spread) for name in names}
        found["theirs_to_echo"] = ratio(theirs_us / echo, spread)
    if clients > 1:
        found["gain"] = {"ours": ratio(2.0), "theirs": ratio(4.0)}
    return found


def check(rows, absent=(), rounds=10):
    """A whole one, with the programs that the rows name; ``absent`` are (store, program, reason)."""
    there = dict.fromkeys((one["store"], one["program"]) for one in rows)
    programs = [
        {"store": store, "program": program, "version": "7.0.15", "server_version": "8.2.3"}
        for store, program in there
    ]
    programs += [
        {"store": store, "program": program, "not measured": reason} for store, program, reason in absent
    ]
    return {
        "rounds": rounds, "requests": 2000, "records": 1000, "programs": programs, "rows": list(rows),
        "turns": [],
    }  # fmt: skip


def pings(*, ours=90.0, theirs=30.0, echo=20.0, ours_per_s=8000.0, theirs_per_s=32000.0, spread=0.1):
    """``redis-benchmark`` beside our null operation, with one client and with sixteen."""
    us, per_s = (ours, theirs), (ours_per_s, theirs_per_s)
    return [
        row("redis", "redis-benchmark", "null", clients, us=us, per_s=per_s, spread=spread, echo=at)
        for clients, at in ((1, echo), (16, None))
    ]


def several(ours, theirs, *, us=(100.0, 100.0), spread=0.1, operations=("read",)):
    """``go-ycsb`` on several stores: rates by store with one client and with sixteen."""
    return [
        row(store, "go-ycsb", operation, clients, us=us, per_s=(ours[store], theirs[store]), spread=spread)
        for operation, store, clients in product(operations, ours, (1, 16))
    ]
