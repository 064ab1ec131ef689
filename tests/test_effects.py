"""Changes of rows in Redis: whatever the order, what is there is what the rows ask for."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from migrating import dump

from helpers import model
from helpers.errors import HelpersError
from helpers.migration import effects
from helpers.migration.effects import Effects, Row
from helpers.servers import connections
from helpers.target import resp

Rows = dict[tuple[str, str], Row]
KEY = b"migration:state"


def expected(rows: Rows) -> dict[bytes, Any]:
    """What Redis should hold, built anew."""
    held: dict[bytes, Any] = {}
    timelines: dict[str, list[tuple[int, int, str, str]]] = {}
    for (table, number), row in rows.items():
        if model.reject_reason(table, row):
            continue
        named = dict(zip(model.COLUMNS[table], row, strict=True))
        dates = {name: effects.canonical(named[name] or "") for name in model.DATES if named.get(name)}
        if table == "activities":
            moment = model.microseconds(model.parse_timestamp(dates["activity_date"]))
            kind = named["activity_type"]
            one = (moment, int(number), f"{number}:{kind}", f"{kind}:{dates['activity_date']}")
            timelines.setdefault(str(named["user_id"]), []).append(one)
            continue
        fields = zip(model.FIELDS[table], model.COLUMNS[table][1:], strict=True)
        held[f"{table[:-1]}:{number}".encode()] = {
            field.encode(): (dates.get(column) or str(named[column])).encode()
            for field, column in fields
            if named[column] is not None
        }
        if table == "orders" and named["order_date"]:
            score = float(model.microseconds(model.parse_timestamp(dates["order_date"])))
            for owner in ("user", "product"):
                if named[f"{owner}_id"]:
                    of = held.setdefault(f"{owner}:{named[f'{owner}_id']}:orders".encode(), [])
                    of.append((number.encode(), score))
    for user, activities in timelines.items():
        activities.sort()
        held[f"user:{user}:activities".encode()] = [a[3].encode() for a in activities]
        held[f"user:{user}:activities:by_time".encode()] = [(a[2].encode(), float(a[0])) for a in activities]
    return {
        k: sorted(v, key=lambda m: (m[1], m[0]))
        if v and isinstance(v, list) and isinstance(v[0], tuple)
        else v
        for k, v in held.items()
    }


class Target:
    def __init__(self, url: str) -> None:
        self.connection, self.url = resp.Connection(url), url

    def apply(self, changes: Effects, **fields: str) -> Any:
        return self.connection.call(*resp.parse(changes.command(KEY, {"n": "1", **fields}))[0])

    def bring(self, before: Rows, after: Rows, changes: Effects) -> None:
        for key in before.keys() - after.keys():
            changes.change(key[0], before[key], None)
        for key in after:
            if before.get(key) != after[key]:
                changes.change(key[0], before.get(key), after[key])


@pytest.fixture
def target(redis_url: str) -> Iterator[Target]:
    found = Target(redis_url)
    yield found
    found.connection.close()


@pytest.fixture(params=["as it is", "small"])
def constants(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's ways for long lists are walked with short ones too."""
    if request.param == "small":
        script, found = re.subn(rb"CHUNK, FEW, NEAR = [\d, ]+", b"CHUNK, FEW, NEAR = 3, 2, 3", effects.SCRIPT)
        assert found == 1
        monkeypatch.setattr(effects, "SCRIPT", script)


DATES = st.sampled_from(
    ["2026-01-01 10:00:00", "2026-01-01 10:00:00.5", "2026-01-02 00:00:00", "9999-12-31 23:59:59", "infinity"]
)
ACTIVITY = st.tuples(
    st.sampled_from(["1", "2"]), st.sampled_from(["login", "a:b", "é", None]), st.none() | DATES
)
IDS = st.sampled_from(
    ["1", "2", "3", "9", "10", "11", "-5", "-6", "-40", "-41", str(2**63 - 1), str(2**63 - 2)]
)
ORDER = st.tuples(st.none() | IDS, st.none() | IDS, st.none() | DATES, st.none() | st.just("3"))
ROWS = st.dictionaries(IDS, ACTIVITY, max_size=10).flatmap(
    lambda activities: st.dictionaries(IDS, ORDER, max_size=3).map(
        lambda orders: (
            {("activities", n): (n, *v) for n, v in activities.items()}
            | {("orders", n): (n, *v) for n, v in orders.items()}
        )
    )
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_any_changes(target: Target, constants: None, states: list[Rows]) -> None:
    connections.redis(target.url).flushdb()
    before: Rows = {}
    for after in states:
        changes = Effects("")
        target.bring(before, after, changes)
        target.apply(changes)
        assert dump(target.url) == expected(after)
        before = after
    changes = Effects("")
    target.bring({}, states[0], changes)
    target.bring(states[0], before, changes)  # several changes of one row in one batch
    connections.redis(target.url).flushdb()
    target.apply(changes)
    assert dump(target.url) == expected(before)


NUMBERS: tuple[int, ...] = (
    -1,
    -100,
    100,
    -9,
    -10,
    -11,
    -2,
    -99,
    -(2**63),
    2**63 - 1,
    99,
    -101,
    0,
    -(2**63) + 1,
)


@pytest.mark.parametrize("way", [NUMBERS, NUMBERS[::-1]])
def test_of_one_moment_the_lowest_number_comes_first(target: Target, way: tuple[int, ...]) -> None:
    """Whichever is there before, and whichever goes."""
    rows: Rows = {}
    for number in way:
        changes, before = Effects(""), rows
        rows = {**rows, ("activities", str(number)): activity(number, f"of {number}")}
        target.bring(before, rows, changes)
        target.apply(changes)
        assert dump(target.url) == expected(rows)
    for number in way[::3]:
        changes, before = Effects(""), rows
        rows = {key: row for key, row in rows.items() if key[1] != str(number)}
        target.bring(before, rows, changes)
        target.apply(changes)
        assert dump(target.url) == expected(rows)


def activity(number: int, kind: str = "login", second: int = 0, user: int = 1) -> Row:
    return (
        str(number),
        str(user),
        kind,
        f"2026-01-01 {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}",
    )


@pytest.mark.parametrize("few", [1, 2, 5, 50])
def test_some_far_from_the_end_and_some_behind_it_at_once(target: Target, constants: None, few: int) -> None:
    rows: Rows = {("activities", str(n)): activity(n, second=n) for n in range(1_200)}
    changes = Effects("")
    target.bring({}, rows, changes)
    target.apply(changes)
    more = {("activities", str(9_000 + n)): activity(9_000 + n, "new", 10 + n) for n in range(few)}
    more |= {("activities", str(9_100 + n)): activity(9_100 + n, "new", 1_200 + n) for n in range(few)}
    changes = Effects("")
    target.bring(rows, rows | more, changes)
    target.apply(changes)
    assert dump(target.url) == expected(rows | more)
    changes = Effects("")
    target.bring(rows | more, rows, changes)
    target.apply(changes)
    assert dump(target.url) == expected(rows)


def test_a_changed_key_takes_its_references_along(target: Target) -> None:
    order: Row = ("1", "5", "6", "2026-01-01 00:00:00", "3")
    renamed: Row = ("2", *order[1:])
    changes = Effects("")
    changes.change("orders", None, order)
    target.apply(changes)
    changes = Effects("")
    changes.change("orders", order, renamed)
    target.apply(changes)
    assert dump(target.url) == expected({("orders", "2"): renamed})
    changes = Effects("")
    changes.change("orders", renamed, order)
    changes.change("orders", order, renamed)
    target.apply(changes)
    assert dump(target.url) == expected({("orders", "2"): renamed})


@pytest.mark.parametrize("few", [1, 5, 50])
@pytest.mark.parametrize("second", [0, 2_000, 3_990, 4_001])
def test_a_long_list_in_every_way(target: Target, few: int, second: int) -> None:
    """At the head, in the middle, near the end and behind it; few and many: what is read back is in order."""
    rows: Rows = {("activities", str(n)): activity(n, second=n) for n in range(4_000)}
    changes = Effects("")
    target.bring({}, rows, changes)
    target.apply(changes)
    more = {("activities", str(9_000 + n)): activity(9_000 + n, "new", second) for n in range(few)}
    changes = Effects("")
    target.bring(rows, rows | more, changes)
    target.apply(changes)
    assert dump(target.url) == expected(rows | more)
    kept = {key: row for key, row in (rows | more).items() if not second <= int(key[1]) < second + few}
    changes = Effects("")
    target.bring(rows | more, kept, changes)
    target.apply(changes)
    assert dump(target.url) == expected(kept)


NUMBERS = (-(2**63), -40, -5, 0, 9, 10, 99, 100, 2**53 + 1, 2**53 + 2, 2**63 - 1)


@pytest.mark.parametrize("step", [1, 3, 4, 7, 10])
def test_activities_of_the_same_moment_stand_by_number(target: Target, step: int) -> None:
    """They come and go one by one, in several orders; numbers are no text, and no doubles."""
    order = [NUMBERS[i * step % len(NUMBERS)] for i in range(len(NUMBERS))]
    rows: Rows = {}
    for number in order:
        changes = Effects("")
        row = activity(number, kind=f"of {number}")
        changes.change("activities", None, row)
        target.apply(changes)
        rows[("activities", str(number))] = row
        assert dump(target.url) == expected(rows)
    for number in order[::2]:
        changes = Effects("")
        changes.change("activities", rows.pop(("activities", str(number))), None)
        target.apply(changes)
        assert dump(target.url) == expected(rows)


def test_keys_that_change_places(target: Target) -> None:
    one, two = activity(1, "one", 1), activity(2, "two", 2)
    changes = Effects("")
    target.bring({}, {("activities", "1"): one, ("activities", "2"): two}, changes)
    target.apply(changes)
    changes = Effects("")
    changes.change("activities", one, ("3", *one[1:]))
    changes.change("activities", two, ("1", *two[1:]))
    changes.change("activities", ("3", *one[1:]), ("2", *one[1:]))
    target.apply(changes)
    swapped = {("activities", "1"): ("1", *two[1:]), ("activities", "2"): ("2", *one[1:])}
    assert dump(target.url) == expected(swapped)
    assert changes.held["activities"] == 0 and changes.changes["activities"] == 3


def test_rows_and_rejects_are_counted() -> None:
    changes = Effects("")
    changes.change("activities", None, activity(1))
    changes.change("activities", activity(1), ("1", None, "login", None))
    changes.change("activities", None, activity(2))
    changes.change("users", ("1", None, None, None), ("1", "name", None, None))
    assert changes.held == {"activities": 1, "users": 1}
    assert changes.rejected == {"activities": 1, "users": -1}
    assert changes.rejects == [("activities", "null_user_id", ("1", None, "login", None))]


def test_a_far_date_that_no_score_holds_is_refused() -> None:
    changes = Effects("")
    changes.change("activities", None, ("5", "1", "login", "9999-12-31 23:59:59.999999"))
    with pytest.raises(HelpersError, match="activity 5 has a date beyond 2255"):
        changes.command(KEY, {})


RENAMED = (
    "redis.call('ZADD', KEYS[1], redis.call('ZSCORE', KEYS[1], '1:login'), '3:login') "
    "redis.call('ZREM', KEYS[1], '1:login')"
)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("SET", "user:1:activities", "x"), "WRONGTYPE"),
        (("RPUSH", "user:1:activities", "x"), "not of the same length"),
        (("LSET", "user:1:activities", 0, "x"), "has not login:2026"),
        (("ZREM", "user:1:activities:by_time", "2:login"), "not of the same length"),
        (("EVAL", RENAMED, 1, "user:1:activities:by_time"), "has not login:2026"),
    ],
)
def test_what_is_not_as_it_was_left_stops_it_with_the_position_unchanged(
    target: Target, damage: tuple[Any, ...], said: str
) -> None:
    changes = Effects("")
    for number in (1, 2):
        changes.change("activities", None, activity(number, second=number))
    target.apply(changes, position="1")
    client = connections.redis(target.url, decode_responses=True)
    client.execute_command(*damage)
    changes = Effects("")
    changes.change("activities", activity(1, second=1), activity(1, second=5))
    with pytest.raises(resp.Refused, match=said):
        target.apply(changes, position="2")
    state = client.hgetall("migration:state")
    assert state["position"] == "1" and said.split()[-1] in state["follow:fault"]
    client.close()
