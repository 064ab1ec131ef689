"""Data of a measurement of scale with latencies and sizes chosen by hand, summarised as a real run's are."""

import copy
import functools
from dataclasses import asdict

from comparison_records import interval

from helpers.comparison.workload import OPERATIONS
from helpers.results import Result, Results
from helpers.scaling import growth, summary
from helpers.scaling.summary import Block

SIZES = (1_000, 100_000)
STORES = ("postgres", "redis", "mongodb", "cassandra")


def blocks(us, *, number=6, count=400):
    """Blocks of each store; ``us`` gives the latency at the smallest and the largest size."""
    found = []
    for visit, size in enumerate(SIZES):
        for block in range(number):
            for store, ends in us.items():
                latency = [ends[visit] * (1 + 0.1 * (i % 13) / 13 + 0.01 * block) for i in range(count)]
                of_each = dict.fromkeys(OPERATIONS, latency)
                found.append(Block(visit, size, block, store, of_each))
    return found


def space(memory, disk):
    """Rows of space; ``memory`` and ``disk`` give bytes of one activity by store at both ends, or None."""
    return [
        {
            "activities": size,
            "store": store,
            "memory_bytes": None if memory[store] is None else memory[store][end] * size,
            "disk_bytes": None if disk[store] is None else disk[store][end] * size,
            "how": f"by hand from {store}",
            "memory_per_activity": None if memory[store] is None else memory[store][end],
            "disk_per_activity": None if disk[store] is None else disk[store][end],
            "rss_before_mb": 100.0 + end,
            "rss_after_mb": 150.0 + 10 * end,
            "load_s": size / 10_000,
        }
        for end, size in enumerate(SIZES)
        for store in STORES
    ]


def reading(us, *, cache=0, disk=0):
    percentiles = {"p50": interval(us), "p90": interval(us * 1.5), "p99": interval(us * 3)}
    return {"n": 600, "percentiles_us": percentiles, "into_cache_bytes": cache, "from_disk_bytes": disk}


def policy(*, acknowledged=600, refused=400, gone=0, evicted=0, torn=0, **more):
    return {
        "settings": {"maxmemory": "1000", "maxmemory-policy": "by hand"},
        "used_bytes": 1000,
        "written": acknowledged + refused,
        "acknowledged": acknowledged,
        "refused": refused,
        "words": "OOM command not allowed" if refused else "",
        "keys_evicted": evicted,
        "gone": gone,
        "gone_share_by_tenth": [1.0, *[gone / acknowledged] * 8, 0.0] if gone else [0.0] * 10,
        "users_torn": torn,
        **more,
    }


def outgrown():
    """Redis refuses 400 or drops 200 of 1,000, reads of PostgreSQL and MongoDB take 3 times as long outside
    their caches, Cassandra's the same.
    """
    on_disk = {"acknowledged": 10, "load_s": 1.0, "checked": 500, "lost": 0, "version": "1"}
    reads = {
        "inside": reading(100.0),
        "outside": reading(300.0, cache=2**20),
        "forgotten": reading(900.0, cache=2**20, disk=2**21),
    }
    ratios = {
        "outside": {"value": 3.0, "low": 2.5, "high": 3.5, "p": 0.001},
        "forgotten": {"value": 9.0, "low": 8.0, "high": 10.0, "p": 0.001},
    }
    cached = {"file_bytes": 2**30, "rss_mb": 400.0, "cache_bytes": 2**28, "cached_bytes": 2**27}
    return {
        "postgres": on_disk | cached | {"written_bytes": 2**29, "reads": reads, "ratios": ratios},
        "redis": {
            "version": "8",
            "room_bytes": 2**20,
            "policies": {
                "noeviction": policy(accepted_after_delete=True),
                "allkeys-lru": policy(acknowledged=1000, refused=0, gone=200, evicted=9, torn=3),
            },
        },
        "mongodb": on_disk
        | cached
        | {"written_bytes": 2**29, "stored_bytes": 2**30, "reads": copy.deepcopy(reads)}
        | {"ratios": copy.deepcopy(ratios)},
        "cassandra": on_disk
        | {
            "written_bytes": 2**28,
            "file_bytes": 2**28,
            "rss_mb": 1200.0,
            "heap_bytes": 2**30,
            "memtable_bytes": 2**24,
            "memtable_setting": "16MiB",
            "flushes": 70,
            "compactions": 1,
            "tables_written": 60,
            "reads": {"inside": reading(1000.0), "outside": reading(1010.0)},
            "ratios": {"outside": {"value": 1.01, "low": 0.9, "high": 1.1, "p": 0.8}},
        },
        "not_shown": ["Swap."],
    }


LEVEL = {
    "postgres": (200.0, 200.0),
    "redis": (100.0, 100.0),
    "mongodb": (300.0, 300.0),
    "cassandra": (900.0, 900.0),
}
MEMORY = {"postgres": (120, 100), "redis": (90, 80), "mongodb": (400, 200), "cassandra": None}
DISK = {"postgres": (130, 120), "redis": (45, 45), "mongodb": (90, 60), "cassandra": (20, 10)}


def data(us=LEVEL, *, memory=MEMORY, disk=DISK, **more):
    """The data of a measurement; nothing grows unless ``us`` says so."""
    return {
        "design": asdict(growth.DESIGNS["quick"]) | {"sizes": list(SIZES), "visits": list(SIZES)},
        "tables": {str(size): growth.DESIGNS["quick"].tables(size) for size in SIZES},
        "settings": {store: {"version": "1"} for store in STORES},
        "answers": {"read_profile": 10},
        "space": space(memory, disk),
        **copy.deepcopy(_summary(tuple(us.items()), tuple(more.items()))),
        "outgrown": outgrown(),
    }


@functools.cache
def _summary(us, more):
    """What takes a while."""
    return summary.summarise(blocks(dict(us), **dict(more)))


def results(found):
    """Results that hold only a measurement of scale with these data, or nothing for None."""
    if found is None:
        return Results({})
    return Results({"scale": Result("scale", "quick", "2026-01-01T00:00:00+00:00", {}, found)})
