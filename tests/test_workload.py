from collections import Counter
from datetime import datetime

import numpy as np
import pytest

from helpers.comparison import workload
from helpers.comparison.workload import Population, Workload

POPULATION = Population(users=100, products=7, activities=1000, orders=300, latest=datetime(2026, 11, 1, 12))


def user_of(operation):
    return operation.arguments[1 if operation.name in ("append_activity", "place_order") else 0]


def test_same_seed_same_stream_and_another_seed_another():
    one, same, other = (Workload(POPULATION, seed=seed).stream(500, "50/50") for seed in (3, 3, 4))
    assert one == same
    assert one != other


@pytest.mark.parametrize(("mix", "writes"), [("95/5", 0.05), ("50/50", 0.5)])
def test_mix_holds_the_share_of_writes_it_names(mix, writes):
    counts = Counter(operation.name for operation in Workload(POPULATION, seed=1).stream(20_000, mix))
    assert (counts["append_activity"] + counts["place_order"]) / 20_000 == pytest.approx(writes, abs=0.01)
    assert min(counts.values()) > 0


def test_new_rows_get_fresh_ids_and_dates_that_grow_over_all_streams():
    source = Workload(POPULATION, seed=1)
    stream = source.stream(400, "50/50") + source.stream(400, "95/5")
    appended = [o.arguments for o in stream if o.name == "append_activity"]
    placed = [o.arguments for o in stream if o.name == "place_order"]
    assert [a[0] for a in appended] == list(range(1001, 1001 + len(appended)))
    assert [p[0] for p in placed] == list(range(301, 301 + len(placed)))
    dates = [o.arguments[3] for o in stream if o.name in ("append_activity", "place_order")]
    assert dates == sorted(set(dates))
    assert dates[0] > POPULATION.latest
    assert {p[2] for p in placed} == set(range(1, 8))
    assert {p[4] for p in placed} == {1, 2, 3, 4, 5}


def test_some_reads_miss_and_no_write_does():
    stream = Workload(POPULATION, seed=1).stream(10_000, "50/50")
    reads = [user_of(o) for o in stream if o.name in workload.READS]
    assert sum(user > 100 for user in reads) / len(reads) == pytest.approx(workload.MISS_SHARE, abs=0.005)
    assert all(1 <= user_of(o) <= 100 for o in stream if o.name not in workload.READS)


def test_clients_share_no_user():
    streams = Workload(POPULATION, seed=1).streams(4000, "50/50", clients=16)
    assert [len(stream) for stream in streams] == [250] * 16
    users = [{user_of(o) for o in stream if user_of(o) <= 100} for stream in streams]
    assert sum(len(each) for each in users) == len(set.union(*users))


def test_zipfian_ranks_follow_the_law():
    drawn = workload.zipfian(np.random.default_rng(1), 1000, 200_000)
    counts = np.bincount(drawn, minlength=1000)
    assert counts[0] / counts[9] == pytest.approx(10**workload.ZIPF_EXPONENT, rel=0.05)
    assert drawn.min() == 0
    assert drawn.max() == 999


def test_arrivals_have_the_rate_and_the_spread_of_a_poisson_process():
    times = workload.arrivals(np.random.default_rng(1), 500, 40)
    gaps = np.diff(times)
    assert len(times) / times[-1] == pytest.approx(500, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.03)
    assert (gaps >= 0).all()
