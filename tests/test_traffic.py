"""Traffic changes every table in every way it names, and refused transactions are counted."""

import time

import pytest

from helpers.relational import population
from helpers.trials.traffic import ORDINARY, traffic


def test_every_operation_is_committed_by_several_writers(postgres_url: str) -> None:
    population.populate(postgres_url, users=30, products=5, activities=600, orders=80, progress=False)
    with traffic(postgres_url, per_s=600) as users:
        deadline = time.monotonic() + 60
        while set(users.done) < set(ORDINARY) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert set(users.done) == set(ORDINARY)
    assert len(users.writers) == 3 and all(any(w.acknowledged for w in o.writes) for o in users.writers)
    assert users.committed <= users.done.total()


def test_a_fault_is_not_swallowed(postgres_url: str) -> None:
    with pytest.raises(Exception, match="does not exist"), traffic(postgres_url, writers=1) as users:
        time.sleep(0.5)
    assert users.committed == 0


def test_what_the_tables_refuse_is_counted(postgres_url: str) -> None:
    population.populate(postgres_url, users=3, products=1, activities=1, orders=1, progress=False)
    refusing = {"twice": (1, lambda cursor, _: cursor.execute("INSERT INTO users VALUES (1)"))}
    with traffic(postgres_url, operations=refusing, writers=1) as users:
        while not users.refused():
            time.sleep(0.01)
    assert users.committed == 0 and "duplicate key" in next(iter(users.refused()))
