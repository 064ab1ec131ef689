"""Raw records with latencies chosen by hand, summarised as a real run's are."""

import copy
import functools
from dataclasses import asdict

from helpers.comparison import stores, summary
from helpers.comparison.bench import CONSTANTS
from helpers.comparison.decision import EQUAL_WEIGHTS
from helpers.comparison.phases import DESIGNS
from helpers.comparison.samples import RunSamples
from helpers.results import Result, Results

LETTERS = "plao"


def record(
    store,
    *,
    us,
    phase="closed",
    tier="relaxed",
    mix="50/50",
    block=0,
    clients=1,
    rate=None,
    count=400,
    **more,
):
    """A run of ``count`` operations around ``us`` microseconds, a little different for each operation
    and block.
    """
    latency = [us * (1 + 0.1 * ((i * 7) % 13) / 13 + 0.02 * block) for i in range(count)]
    return RunSamples(
        phase=phase, tier=tier, mix=mix, block=block, position=0, store=store, clients=clients,
        processes=more.pop("processes", min(clients, 4)),
        busiest_cpu_s=more.pop("busiest_cpu_s", count * 1e-5),
        asking_cpu_s=more.pop("asking_cpu_s", count * 3e-5), cores=2,
        machine_busy_share=more.pop("machine_busy_share", 0.5),
        rate_per_s=rate, wall_s=more.pop("wall_s", sum(latency) / 1e6 / clients),
        client_cpu_s=more.pop("client_cpu_s", count * 4e-5),
        server_cpu_s=more.pop("server_cpu_s", count * 2e-5), errors=0, verbs=(LETTERS * count)[:count],
        latency_us=latency, service_us=[us * 0.9] * count if phase == "open" else [], **more,
    )  # fmt: skip


def records(us, *, blocks=6, at16=None):
    """A whole relaxed run; ``us`` is the latency of each store, ``at16`` its operations per second with
    16 clients.
    """
    at16 = at16 or {store: 2e6 / latency for store, latency in us.items()}
    found = []
    for store, latency in us.items():
        found.append(record(store, us=latency * 3, phase="warm-up"))
        for mix in ("95/5", "50/50"):
            found += [record(store, us=latency, mix=mix, block=block) for block in range(blocks)]
        for clients, rate in ((1, 1e6 / latency), (4, 1.5e6 / latency), (16, at16[store])):
            found += [
                record(
                    store, us=latency, phase="concurrency", clients=clients, block=block, wall_s=400 / rate
                )
                for block in range(3)
            ]
        found += [
            record(store, us=latency * 2, phase="open", clients=16, rate=rate, wall_s=1.0)
            for rate in (100, 400)
        ]
    return found


def interval(value):
    return {"value": value, "low": value * 0.98, "high": value * 1.02}


def percentiles(value):
    return {"p50": interval(value), "p90": interval(value * 1.5), "p99": interval(value * 3), "p99.9": None}


def data(us, *, blocks=6, at16=None, rss=None):
    """A copy of what ``_data`` makes, which takes a while."""
    return copy.deepcopy(
        _data(*(None if one is None else tuple(one.items()) for one in (us, at16, rss)), blocks)
    )


@functools.cache
def _data(us, at16, rss, blocks):
    """The data of a comparison in which everything but the latencies is alike."""
    us, at16 = dict(us), at16 and dict(at16)
    rss = dict(rss) if rss else dict.fromkeys(us, 100.0)
    counts = {
        store: {
            "idle_rss_mb": rss[store],
            "definitions": 3,
            "sent": {name: {"round_trips": 1, "statements": 1} for name in stores.STORES[store].IDIOMS},
            "records_written": {name: i.records_written for name, i in stores.STORES[store].IDIOMS.items()},
            "commands": {name: i.commands for name, i in stores.STORES[store].IDIOMS.items()},
            "atomic": {name: i.atomic for name, i in stores.STORES[store].IDIOMS.items()},
            "size": {"memory_bytes": 1000, "disk_bytes": None, "how": "by hand"},
        }
        for store in us
    }
    return {
        "design": asdict(DESIGNS["quick"]) | CONSTANTS,
        "weights": dict(EQUAL_WEIGHTS),
        "tiers": {"relaxed": {store: {"version": "1", "setting": "on"} for store in us}},
        "answers": {"read_profile": 10, "last_activities": 10, "misses": 3, "while timing": 50},
        "floors": {
            "echo_us": percentiles(20.0),
            "fsync_us": percentiles(200.0),
            "null_op_us": {store: percentiles(latency / 2) for store, latency in us.items()},
            "null_op_cost": {
                store: {
                    "asks": "nothing",
                    "elapsed_us": latency / 2,
                    "asking_us": latency / 4,
                    "rest_us": latency / 4,
                    "client_cpu_us": latency / 4,
                    "server_cpu_us": latency / 8,
                }
                for store, latency in us.items()
            },
        },
        "seconds": 40.0,
        "counts": counts,
        **summary.summarise(records(us, blocks=blocks, at16=at16)),
    }


def results(found):
    """Results that hold only a comparison with these data, or nothing for None."""
    if found is None:
        return Results({})
    environment = {"cores": 2, "servers": {}}
    return Results(
        {"comparison": Result("comparison", "quick", "2026-01-01T00:00:00+00:00", environment, found)}
    )
