"""Changes of rows in Redis: whatever the order, what is there is what the rows ask for."""

import contextlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from migrating import dump

from helpers import model
from helpers.errors import HelpersError
from helpers.migration import effects
from helpers.migration.effects import Effects, Forms, Row
from helpers.model import Column, Model, Plan, Table, format_of
from helpers.servers import connections
from helpers.target import resp

Rows = dict[tuple[str, str], Row]
KEY = b"migration:state"
TYPES = {
    "integer": "int4",
    "bigint": "int8",
    "numeric": "numeric",
    "double precision": "float8",
    "boolean": "bool",
    "uuid": "uuid",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "date": "date",
    "time without time zone": "time",
    "bytea": "bytea",
    "text": "text",
}


def table(name: str, columns: Mapping[str, str], *keys: str, nullable: bool = True) -> Table:
    """A table; its columns by type, a key as its columns with a space between."""
    told = {column for key in keys for column in key.split()}
    found = tuple(
        Column(one, type_, format_of(TYPES[type_], builtin=True), one not in told and nullable)
        for one, type_ in columns.items()
    )
    return Table(name, "public", name, found, tuple(tuple(key.split()) for key in keys))


MOMENT = "timestamp without time zone"
COURSE = [
    table(
        "users", {"user_id": "integer", "username": "text", "email": "text", "created_at": MOMENT}, "user_id"
    ),
    table("products", {"product_id": "integer", "product_name": "text", "price": "numeric"}, "product_id"),
    table(
        "activities",
        {"activity_id": "bigint", "user_id": "integer", "activity_type": "text", "activity_date": MOMENT},
        "activity_id",
    ),
    table(
        "orders",
        {
            "order_id": "bigint",
            "user_id": "integer",
            "product_id": "integer",
            "order_date": MOMENT,
            "quantity": "integer",
        },
        "order_id",
    ),
]


def plan_of(declared: Model | str | None, tables: list[Table], prefix: str = "") -> Plan:
    return Plan(model.load(declared), {one.name: one for one in tables}, prefix)


FORMS = Forms(plan_of(None, COURSE))


class Target:
    def __init__(self, url: str) -> None:
        self.connection, self.url = resp.Connection(url), url

    def apply(self, changes: Effects, **fields: str) -> Any:
        return self.replies(changes, **fields)[-1]

    def replies(self, changes: Effects, **fields: str) -> list[Any]:
        commands = changes.commands(KEY, {"n": "1", **fields})
        return [self.connection.call(*resp.parse(one)[0]) for one in commands]

    def bring(self, before: Rows, after: Rows, changes: Effects, chance: random.Random | None = None) -> None:
        """Note what leads from some rows to others, in any order where one is given."""
        keys = sorted(before.keys() | after.keys())
        if chance is not None:
            chance.shuffle(keys)
        for key in keys:
            if before.get(key) != after.get(key):
                changes.change(key[0], before.get(key), after.get(key))


@pytest.fixture
def target(redis_url: str) -> Iterator[Target]:
    found = Target(redis_url)
    yield found
    found.connection.close()


@pytest.fixture(params=["as it is", "small"])
def constants(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's ways for long lists are walked with short ones too, and many calls make one."""
    if request.param == "small":
        script, found = re.subn(rb"CHUNK, FEW, NEAR = [\d, ]+", b"CHUNK, FEW, NEAR = 3, 2, 3", effects.SCRIPT)
        assert found == 1
        monkeypatch.setattr(effects, "SCRIPT", script)
        monkeypatch.setattr(effects, "MOST_WORDS", 20)
        monkeypatch.setattr(effects, "AT_ONCE", 2)


# -- the course's tables


DATES: dict[str | None, tuple[str, int]] = {
    "2026-01-01 10:00:00": ("2026-01-01T10:00:00.000000", 1767261600000000),
    "2026-01-01 10:00:00.5": ("2026-01-01T10:00:00.500000", 1767261600500000),
    "2026-01-02 00:00:00": ("2026-01-02T00:00:00.000000", 1767312000000000),
    "0001-01-01 00:00:00.000256": ("0001-01-01T00:00:00.000256", -62135596799999744),
    "9999-12-31 23:59:59": ("9999-12-31T23:59:59.000000", 253402300799000000),
}


def moment(second: int, of: str = "2026-01-01") -> tuple[str, str, int]:
    """(as PostgreSQL writes it, as it stands in Redis, its score) of a second of a day."""
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{of} {clock}", f"{of}T{clock}.000000", 1767225600000000 + second * 1_000_000


for _second in range(4_002):
    _text, _canonical, _number = moment(_second)
    DATES[_text] = (_canonical, _number)


def expected(rows: Rows) -> dict[bytes, Any]:
    """What Redis should hold of the course's tables, built anew."""
    held: dict[bytes, Any] = {}
    timelines: dict[str, list[tuple[int, int, str, str]]] = {}
    for (of, number), row in rows.items():
        if of == "activities":
            _, user, kind, date = row
            if user is not None and kind is not None and date in DATES:
                canonical, score = DATES[date]
                one = (score, int(number), f"{number}:{kind}", f"{kind}:{canonical}")
                timelines.setdefault(user, []).append(one)
        else:
            _, user, product, date, quantity = row
            if any(row[1:]) and (date is None or date in DATES):
                fields = {"user_id": user, "product_id": product, "quantity": quantity}
                fields["order_date"] = DATES[date][0] if date else None
                held[f"order:{number}".encode()] = {
                    name.encode(): value.encode() for name, value in fields.items() if value is not None
                }
                for owner, value in (("user", user), ("product", product)):
                    if value is not None and date is not None:
                        members = held.setdefault(f"{owner}:{value}:orders".encode(), [])
                        members.append((number.encode(), float(DATES[date][1])))
    for user, activities in timelines.items():
        activities.sort()
        held[f"user:{user}:activities".encode()] = [a[3].encode() for a in activities]
        held[f"user:{user}:activities:by_time".encode()] = [(a[2].encode(), float(a[0])) for a in activities]
    return {k: in_order(v) for k, v in held.items()}


def in_order(value: Any) -> Any:
    """Members of a sorted set as Redis gives them."""
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return sorted(value, key=lambda m: (m[1], m[0]))
    return value


ACTIVITY = st.tuples(
    st.sampled_from(["1", "2"]),
    st.sampled_from(["login", "a:b", "é", None]),
    st.none() | st.sampled_from([*list(DATES)[:5], "infinity"]),
)
IDS = st.sampled_from(
    ["1", "2", "3", "9", "10", "11", "-5", "-6", "-40", "-41", str(2**63 - 1), str(2**63 - 2)]
)
ORDER = st.tuples(
    st.none() | IDS,
    st.none() | IDS,
    st.none() | st.sampled_from([*list(DATES)[:5], "infinity"]),
    st.none() | st.just("3"),
)
ROWS = st.dictionaries(IDS, ACTIVITY, max_size=10).flatmap(
    lambda activities: st.dictionaries(IDS, ORDER, max_size=3).map(
        lambda orders: (
            {("activities", n): (n, *v) for n, v in activities.items()}
            | {("orders", n): (n, *v) for n, v in orders.items()}
        )
    )
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_any_changes(target: Target, constants: None, states: list[Rows]) -> None:
    walk(target, FORMS, states, expected)


def walk(
    target: Target,
    forms: Forms,
    states: list[Rows],
    expected: Callable[[Rows], dict[bytes, Any]],
    chance: random.Random | None = None,
) -> None:
    """From state to state, then all at once."""
    connections.redis(target.url).flushdb()
    before: Rows = {}
    for after in states:
        changes = Effects(forms)
        target.bring(before, after, changes, chance)
        target.apply(changes)
        assert dump(target.url) == expected(after)
        before = after
    changes = Effects(forms)
    target.bring({}, states[0], changes)
    for one, other in itertools.pairwise(states):  # several changes of one row in one batch
        target.bring(one, other, changes, chance)
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
        changes, before = Effects(FORMS), rows
        rows = {**rows, ("activities", str(number)): activity(number, f"of {number}")}
        target.bring(before, rows, changes)
        target.apply(changes)
        assert dump(target.url) == expected(rows)
    for number in way[::3]:
        changes, before = Effects(FORMS), rows
        rows = {key: row for key, row in rows.items() if key[1] != str(number)}
        target.bring(before, rows, changes)
        target.apply(changes)
        assert dump(target.url) == expected(rows)


def activity(number: int, kind: str = "login", second: int = 0, user: int = 1) -> Row:
    return (str(number), str(user), kind, moment(second)[0])


@pytest.mark.parametrize("few", [1, 2, 5, 50])
def test_some_far_from_the_end_and_some_behind_it_at_once(target: Target, constants: None, few: int) -> None:
    rows: Rows = {("activities", str(n)): activity(n, second=n) for n in range(1_200)}
    changes = Effects(FORMS)
    target.bring({}, rows, changes)
    target.apply(changes)
    more = {("activities", str(9_000 + n)): activity(9_000 + n, "new", 10 + n) for n in range(few)}
    more |= {("activities", str(9_100 + n)): activity(9_100 + n, "new", 1_200 + n) for n in range(few)}
    changes = Effects(FORMS)
    target.bring(rows, rows | more, changes)
    target.apply(changes)
    assert dump(target.url) == expected(rows | more)
    changes = Effects(FORMS)
    target.bring(rows | more, rows, changes)
    target.apply(changes)
    assert dump(target.url) == expected(rows)


def test_a_changed_key_takes_its_references_along(target: Target) -> None:
    order: Row = ("1", "5", "6", "2026-01-01 00:00:00", "3")
    renamed: Row = ("2", *order[1:])
    changes = Effects(FORMS)
    changes.change("orders", None, order)
    target.apply(changes)
    changes = Effects(FORMS)
    changes.change("orders", order, renamed)
    target.apply(changes)
    assert dump(target.url) == expected({("orders", "2"): renamed})
    changes = Effects(FORMS)
    changes.change("orders", renamed, order)
    changes.change("orders", order, renamed)
    target.apply(changes)
    assert dump(target.url) == expected({("orders", "2"): renamed})


@pytest.mark.parametrize("few", [1, 5, 50])
@pytest.mark.parametrize("second", [0, 2_000, 3_990, 4_001])
def test_a_long_list_in_every_way(target: Target, few: int, second: int) -> None:
    """At the head, in the middle, near the end and behind it; few and many: what is read back is in order."""
    rows: Rows = {("activities", str(n)): activity(n, second=n) for n in range(4_000)}
    changes = Effects(FORMS)
    target.bring({}, rows, changes)
    target.apply(changes)
    more = {("activities", str(9_000 + n)): activity(9_000 + n, "new", second) for n in range(few)}
    changes = Effects(FORMS)
    target.bring(rows, rows | more, changes)
    target.apply(changes)
    assert dump(target.url) == expected(rows | more)
    kept = {key: row for key, row in (rows | more).items() if not second <= int(key[1]) < second + few}
    changes = Effects(FORMS)
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
        changes = Effects(FORMS)
        row = activity(number, kind=f"of {number}")
        changes.change("activities", None, row)
        target.apply(changes)
        rows[("activities", str(number))] = row
        assert dump(target.url) == expected(rows)
    for number in order[::2]:
        changes = Effects(FORMS)
        changes.change("activities", rows.pop(("activities", str(number))), None)
        target.apply(changes)
        assert dump(target.url) == expected(rows)


def test_keys_that_change_places(target: Target) -> None:
    one, two = activity(1, "one", 1), activity(2, "two", 2)
    changes = Effects(FORMS)
    target.bring({}, {("activities", "1"): one, ("activities", "2"): two}, changes)
    target.apply(changes)
    changes = Effects(FORMS)
    changes.change("activities", one, ("3", *one[1:]))
    changes.change("activities", two, ("1", *two[1:]))
    changes.change("activities", ("3", *one[1:]), ("2", *one[1:]))
    target.apply(changes)
    swapped = {("activities", "1"): ("1", *two[1:]), ("activities", "2"): ("2", *one[1:])}
    assert dump(target.url) == expected(swapped)
    assert changes.held["activities"] == 0 and changes.changes["activities"] == 3


def test_rows_and_rejects_are_counted() -> None:
    changes = Effects(FORMS)
    changes.change("activities", None, activity(1))
    changes.change("activities", activity(1), ("1", None, "login", None))
    changes.change("activities", None, activity(2))
    changes.change("users", ("1", None, None, None), ("1", "name", None, None))
    assert changes.held == {"activities": 1, "users": 1}
    assert changes.rejected == {"activities": 1, "users": -1}
    assert changes.rejects == [("activities", "null_user_id", ("1", None, "login", None))]


def test_a_far_date_that_no_score_holds_is_refused() -> None:
    changes = Effects(FORMS)
    changes.change("activities", None, ("5", "1", "login", "9999-12-31 23:59:59.999999"))
    with pytest.raises(HelpersError, match=r"row 5 of activities has .* \(beyond 2255"):
        changes.commands(KEY, {})


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
        (("EVAL", RENAMED, 1, "user:1:activities:by_time"), "has not 1:login"),
    ],
)
def test_what_is_not_as_it_was_left_stops_it_with_the_position_unchanged(
    target: Target, damage: tuple[Any, ...], said: str
) -> None:
    changes = Effects(FORMS)
    for number in (1, 2):
        changes.change("activities", None, activity(number, second=number))
    target.apply(changes, position="1")
    client = connections.redis(target.url, decode_responses=True)
    client.execute_command(*damage)
    changes = Effects(FORMS)
    changes.change("activities", activity(1, second=1), activity(1, second=5))
    with pytest.raises(resp.Refused, match=said):
        target.apply(changes, position="2")
    state = client.hgetall("migration:state")
    assert state["position"] == "1" and said.split()[-1] in state["follow:fault"]
    client.close()


def test_after_a_fault_in_one_call_those_behind_it_do_nothing(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "MOST_WORDS", 1)
    client = connections.redis(target.url, decode_responses=True)
    client.set("user:1:orders", "theirs")
    changes = Effects(FORMS)
    changes.change("orders", None, ("1", "1", None, moment(1)[0], None))
    changes.change("activities", None, activity(1))
    commands = changes.commands(KEY, {"position": "2"})
    told = [b"position" in resp.parse(one)[0][3:] for one in commands]
    assert told == [False, False, True]
    for one in commands:
        with contextlib.suppress(resp.Refused):
            target.connection.call(*resp.parse(one)[0])
    assert not client.exists("user:1:activities")
    assert client.hget("migration:state", "position") is None
    client.close()


# -- tables of any shape

THINGS = table(
    "things",
    {
        "id": "integer",
        "code": "text",
        "owner": "text",
        "name": "text",
        "flag": "boolean",
        "at": MOMENT,
        "seen": "timestamp with time zone",
        "day": "date",
        "clock": "time without time zone",
        "price": "numeric",
        "ratio": "double precision",
        "uid": "uuid",
        "raw": "bytea",
        "since": "timestamp with time zone",
        "other": "text",
    },
    "id",
    "code",
)
GENERAL = """
[[key]]
name = "thing:{id}"
type = "hash"
table = "things"
fields = [{ n = "name" }, "flag", "at", "seen", "day", "clock", "raw", "since"]

[[key]]
name = "code:{code}"
type = "string"
table = "things"
fields = ["name", "raw", "flag", "seen"]

[[key]]
name = "raw:{id}"
type = "string"
table = "things"
value = "{raw}"

[[key]]
name = "line:{code}"
type = "string"
table = "things"
value = "{flag} {raw} {seen} {name}"

[[key]]
name = "codes:{owner}"
type = "set"
table = "things"
value = "{code}"

[[key]]
name = "by_price:{owner}"
type = "sorted_set"
table = "things"
value = "{id}"
score = "price"

[[key]]
name = "by_ratio:{flag}"
type = "sorted_set"
table = "things"
value = "{code}"
score = "ratio"

[[key]]
name = "by_clock"
type = "sorted_set"
table = "things"
value = "{id}"
score = "clock"

[[key]]
name = "by_seen:{owner}"
type = "sorted_set"
table = "things"
value = "{id}"
score = "seen"

[[key]]
name = "only:{id}"
type = "list"
table = "things"
value = "{owner}"
order = ["id"]
"""
HOSTILE = ["a", "a:b", "%3A", "{x}", "é\n", "", "*?[", "A", " "]
CODES = {
    "a": "a",
    "a:b": "a%3Ab",
    "%3A": "%253A",
    "{x}": "%7Bx%7D",
    "é\n": "é\n",
    "": "",
    "*?[": "*?[",
    "A": "A",
    " ": " ",
}
SEEN: dict[str, tuple[str, int | None]] = {
    "2026-01-01 10:00:00+00": ("2026-01-01T10:00:00.000000Z", 1767261600000000),
    "2026-01-01 10:00:00.000001+00": ("2026-01-01T10:00:00.000001Z", 1767261600000001),
    "1969-12-31 23:59:59.25+00": ("1969-12-31T23:59:59.250000Z", -750000),
    "infinity": ("infinity", None),
    "0044-03-15 00:00:00+00 BC": ("0044-03-15 00:00:00+00 BC", None),
}
AT = {
    "2026-01-01 10:00:00.5": "2026-01-01T10:00:00.500000",
    "12026-01-01 10:00:00": "12026-01-01 10:00:00",
    "-infinity": "-infinity",
    "0044-03-15 00:00:00 BC": "0044-03-15 00:00:00 BC",
}
CLOCK = {"10:00:00": 36000000000, "10:00:00.5": 36000500000, "24:00:00": 86400000000, "00:00:00.000001": 1}
PRICE = {"19.90": 19.9, "-0.00": 0.0, "123456789012345678901234567890.5": 1.2345678901234568e29, "NaN": None}
RATIO = {"0.1": 0.1, "-0": 0.0, "1e+22": 1e22, "-5e-324": -5e-324}
BYTES = {"\\x": b"", "\\x00ff0d0a": b"\x00\xff\r\n", "\\x78": b"x"}
FLAGS = {"t": "true", "f": "false"}
UIDS = ("00000000-0000-0000-0000-000000000001", "ffffffff-0000-0000-0000-00000000000a")


def general(rows: Rows) -> dict[bytes, Any]:
    """What Redis should hold of the general model, said once more, key by key."""
    held: dict[bytes, Any] = {}
    for row in rows.values():
        id_, code, owner, name, flag, at, seen, day, clock, price, ratio, _, raw, since, _ = row
        assert id_ is not None and code is not None
        if seen is not None and SEEN[seen][1] is None:
            continue  # it stands in a template, and is a score
        if price == "NaN":
            continue
        canonical = {
            "n": name,
            "flag": FLAGS[flag] if flag else None,
            "at": AT[at] if at else None,
            "seen": SEEN[seen][0] if seen else None,
            "day": day,
            "clock": clock,
            "since": SEEN[since][0] if since else None,
        }
        fields = {key.encode(): value.encode() for key, value in canonical.items() if value is not None}
        if raw is not None:
            fields[b"raw"] = BYTES[raw]
        if fields:
            held[f"thing:{id_}".encode()] = fields
        of_code = {"name": name, "raw": raw, "flag": canonical["flag"], "seen": canonical["seen"]}
        found = {key: value for key, value in of_code.items() if value is not None}
        held[f"code:{CODES[code]}".encode()] = json.dumps(
            found, ensure_ascii=False, separators=(",", ":")
        ).encode()
        if raw is not None:
            held[f"raw:{id_}".encode()] = BYTES[raw]
        if None not in (flag, raw, seen, name):
            held[f"line:{CODES[code]}".encode()] = (
                f"{canonical['flag']} {raw} {canonical['seen']} {name}".encode()
            )
        if owner is not None:
            held.setdefault(f"codes:{CODES[owner]}".encode(), set()).add(code.encode())
            held[f"only:{id_}".encode()] = [owner.encode()]
            if price is not None:
                held.setdefault(f"by_price:{CODES[owner]}".encode(), []).append((id_.encode(), PRICE[price]))
            if seen is not None:
                member = (id_.encode(), float(SEEN[seen][1] or 0))
                held.setdefault(f"by_seen:{CODES[owner]}".encode(), []).append(member)
        if flag is not None and ratio is not None:
            held.setdefault(f"by_ratio:{FLAGS[flag]}".encode(), []).append((code.encode(), RATIO[ratio]))
        if clock is not None:
            held.setdefault(b"by_clock", []).append((id_.encode(), float(CLOCK[clock])))
    return {k: in_order(v) for k, v in held.items()}


def things(chance: random.Random, most: int = 6) -> Rows:
    """Some rows, no two of which have the same id or code."""
    number = chance.randint(0, most)
    ids, codes = chance.sample(["1", "2", "3", "-4", "50", "600"], number), chance.sample(HOSTILE, number)

    def one(*values: str | None) -> str | None:
        return chance.choice([*values, None])

    return {
        ("things", id_): (
            id_,
            code,
            one("a", "a:b", ""),
            one("x", 'é"\\\n\x01', ""),
            one(*FLAGS),
            one(*AT),
            one(*list(SEEN)[:3]) if chance.random() < 0.8 else one(*SEEN),
            one("2026-01-01", "infinity", "12026-01-01"),
            one(*CLOCK),
            one(*list(PRICE)[:3]) if chance.random() < 0.8 else one(*PRICE),
            one(*RATIO),
            one(*UIDS),
            one(*BYTES),
            one(*SEEN),
            one("1", "2"),
        )
        for id_, code in zip(ids, codes, strict=True)
    }


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("prefix", ["", "p*:"])
def test_any_changes_of_any_keys(target: Target, constants: None, seed: int, prefix: str) -> None:
    """Codes and ids go from row to row, owners change, rows are rejected and held again."""
    chance = random.Random(seed)
    forms = Forms(plan_of(GENERAL, [THINGS], prefix))

    def prefixed(rows: Rows) -> dict[bytes, Any]:
        return {prefix.encode() + key: value for key, value in general(rows).items()}

    walk(target, forms, [things(chance) for _ in range(5)], prefixed, chance)


def test_what_no_key_holds_changes_nothing() -> None:
    changes = Effects(Forms(plan_of(GENERAL, [THINGS])))
    row: Row = ("1", "a", "o", "name", "t", None, None, None, "24:00:00", "1.0", "0.1", None, "\\x00", None)
    changes.change("things", (*row, "1"), (*row, "2"))
    (command,) = changes.commands(KEY, {"n": "1"})
    assert resp.parse(command)[0][3:] == [KEY, b"2", b"n", b"1"]
    assert changes.changes["things"] == 1 and changes.held["things"] == 0


def test_a_row_without_a_field_has_no_hash(target: Target) -> None:
    forms, nothing = Forms(plan_of(GENERAL, [THINGS])), (None,) * 9
    row: Row = ("1", "a", *nothing, UIDS[0], None, None, None)
    for old, new in ((None, row), (row, ("2", *row[1:])), (("2", *row[1:]), None)):
        changes = Effects(forms)
        changes.change("things", old, new)
        target.apply(changes)
        assert changes.held["things"] == (new is not None) - (old is not None)
        assert dump(target.url) == ({b"code:a": b"{}"} if new else {})


def test_two_rows_that_share_a_key_for_a_moment(target: Target) -> None:
    """A deferrable unique key may be broken within a transaction, in either order."""
    forms = Forms(plan_of(GENERAL, [THINGS]))
    chance = random.Random(3)
    rest = next(iter(things(chance).values()))[2:]
    other = next(iter(things(chance).values()))[2:]
    one, two = ("1", "a", *rest), ("2", "A", *other)
    before: Rows = {("things", "1"): one, ("things", "2"): two}
    after: Rows = {("things", "1"): ("1", "A", *other), ("things", "2"): ("2", "a", *rest)}
    for order in (1, -1):
        connections.redis(target.url).flushdb()
        changes = Effects(forms)
        target.bring({}, before, changes)
        target.apply(changes)
        changes = Effects(forms)
        for old, new in [(one, after["things", "2"]), (two, after["things", "1"])][::order]:
            changes.change("things", old, new)
        target.apply(changes)
        assert dump(target.url) == general(after) != general(before)


# -- lists

LINES = table(
    "lines",
    {
        "doc": "integer",
        "part": "uuid",
        "line": "bigint",
        "day": "date",
        "what": "text",
        "weight": "double precision",
        "clock": "time without time zone",
        "flag": "boolean",
        "raw": "bytea",
    },
    "doc part line",
    nullable=False,
)
WAYS = {
    "day, uuid, number": ("day", '["day", "part", "line"]', "{part}|{line}|{what}"),
    "day, number, uuid": ("day", '["day", "line", "part"]', "{line}:{what}:{part}"),
    "day, time, number, uuid": ("day", '["day", "clock", "line", "part"]', "{clock}/{part}{line}"),
    "number, uuid": ("line", '["line", "part"]', "{line}/{what}.{part}"),
    "double, uuid, number": ("weight", '["weight", "part", "line"]', "({line}) {what} {part}"),
    "time, boolean, number, uuid": ("clock", '["clock", "flag", "line", "part"]', "{flag}:{part}{line}"),
}
PLACES = ("doc", "part", "line", "day", "what", "weight", "clock", "flag", "raw")
NUMBER: dict[str, Callable[[str], Any]] = {
    "line": int,
    "weight": float,
    "doc": int,
    "day": lambda text: {"2026-01-01": 20454.0, "1969-12-31": -1.0, "2026-03-01": 20513.0}[text],
    "clock": lambda text: float(CLOCK[text]),
}


def lines(chance: random.Random) -> Rows:
    keys = {
        (
            chance.choice("12"),
            chance.choice(UIDS),
            chance.choice(["-2", "-10", "3", "20", "9007199254740992"]),
        )
        for _ in range(chance.randint(0, 12))
    }
    return {
        ("lines", " ".join(key)): (
            *key,
            chance.choice(["2026-01-01", "1969-12-31", "2026-03-01"]),
            chance.choice(["a", "-", "a:b", "", "é.x"]),
            chance.choice(["0.5", "-0", "1e+22"]),
            chance.choice(list(CLOCK)),
            chance.choice("tf"),
            chance.choice(["\\xff", "\\x2d", "\\x"]),
        )
        for key in keys
    }


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("way", WAYS)
def test_lists_in_any_order(target: Target, constants: None, way: str, seed: int) -> None:
    """One or two lists beside a sorted set, one of bytes; equal scores, equal elements, elements as marks."""
    score, order, member = WAYS[way]
    text = f"""
[[key]]
name = "of:{{doc}}"
type = "list"
table = "lines"
value = "{{what}}"
order = {order}

[[key]]
name = "raw:{{doc}}"
type = "list"
table = "lines"
value = "{{raw}}"
order = {order}

[[key]]
name = "of:{{doc}}:by"
type = "sorted_set"
table = "lines"
value = "{member}"
score = "{score}"
"""
    if seed % 2:  # what marks an element is another one where there may be any bytes
        text = "".join(f"[[key]]{one}" for one in text.split("[[key]]")[1:] if "raw" not in one)
    columns = json.loads(order)

    def told(row: Row) -> dict[str, str]:
        return {name: str(value) for name, value in zip(PLACES, row, strict=True)}

    def by(row: dict[str, str]) -> list[Any]:
        return [NUMBER.get(name, str)(row[name]) for name in columns]

    def wanted(rows: Rows) -> dict[bytes, Any]:
        found: dict[bytes, Any] = {}
        for one in sorted((told(row) for row in rows.values()), key=by):
            found.setdefault(f"of:{one['doc']}".encode(), []).append(one["what"].encode())
            if not seed % 2:
                found.setdefault(f"raw:{one['doc']}".encode(), []).append(bytes.fromhex(one["raw"][2:]))
            text = member.format(**(one | {"flag": FLAGS[one["flag"]]}))
            if way == "day, number, uuid":
                text = f"{one['line']}:{one['what']}:{one['part']}"
            of = found.setdefault(f"of:{one['doc']}:by".encode(), [])
            of.append((text.encode(), float(NUMBER[score](one[score]))))
        return {k: in_order(v) for k, v in found.items()}

    chance = random.Random(seed)
    forms = Forms(plan_of(text, [LINES]))
    walk(target, forms, [lines(chance) for _ in range(4)], wanted, chance)


@pytest.mark.parametrize(
    ("order", "beside", "unguided"),
    [
        ('["day"]', "", True),
        ('["what"]', "", True),
        ('["day"]', 'value = "{part}:{line}"\nscore = "line"', True),
        ('["day", "what"]', 'value = "{part}:{line}:{what}"\nscore = "day"', True),
        ('["day"]', 'value = "{part}:{line}"\nscore = "day"', False),
    ],
)
def test_a_list_whose_places_nothing_tells(order: str, beside: str, unguided: bool) -> None:
    """It needs a register; without one nothing is applied."""
    more = (
        f'[[key]]\nname = "of:{{doc}}:by"\ntype = "sorted_set"\ntable = "lines"\n{beside}\n' if beside else ""
    )
    head = '[[key]]\nname = "of:{doc}"\ntype = "list"\ntable = "lines"\nvalue = "{what}"\n'
    plan = plan_of(f"{head}order = {order}\n{more}", [LINES])
    assert [kind.name for kind in model.unguided(plan)] == ["of"] * unguided
    assert Forms(plan.registering(["of"])).registered["lines"]
    if unguided:
        with pytest.raises(HelpersError, match=r"key 'of:{doc}': nothing tells .* run `migrate --follow`"):
            Forms(plan)


def test_a_list_whose_owner_has_one_row_needs_no_places() -> None:
    text = '[[key]]\nname = "of:{doc}:{part}:{line}"\ntype = "list"\ntable = "lines"\nvalue = "{what}"\n'
    assert model.unguided(plan_of(f'{text}order = ["what"]\n', [LINES])) == ()


@pytest.mark.parametrize("column", ["raw", "what"])
@pytest.mark.parametrize("place", range(1, 9))
def test_elements_that_are_as_a_mark(target: Target, constants: None, place: int, column: str) -> None:
    """A row in the middle leaves and comes back, while elements around it are what might be a mark."""
    text = f"""
[[key]]
name = "of:{{doc}}"
type = "list"
table = "lines"
value = "{{{column}}}"
order = ["line"]

[[key]]
name = "of:{{doc}}:by"
type = "sorted_set"
table = "lines"
value = "{{part}}{{line}}"
score = "line"
"""
    table = Table(LINES.name, "public", LINES.name, LINES.columns, (("doc", "line"), *LINES.keys))
    forms = Forms(plan_of(text, [table]))
    what = ["-", "a", "-", "b", "c", "--", "d", "-", "e", "f"]
    rows = [
        (
            "1",
            UIDS[0],
            str(n),
            "2026-01-01",
            one,
            "0.5",
            "10:00:00",
            "t",
            "\\xff" if one == "-" else f"\\x{n:02x}",
        )
        for n, one in enumerate(what)
    ]
    changes = Effects(forms)
    for row in rows:
        changes.change("lines", None, row)
    target.apply(changes)
    before, client = dump(target.url), connections.redis(target.url)
    wanted = [
        one.encode() if column == "what" else bytes.fromhex(row[-1][2:])
        for one, row in zip(what, rows, strict=True)
    ]
    assert before[b"of:1"] == wanted
    changes = Effects(forms)
    changes.change("lines", rows[place], None)
    target.apply(changes)
    assert client.lrange("of:1", 0, -1) == wanted[:place] + wanted[place + 1 :]
    changes = Effects(forms)
    changes.change("lines", None, rows[place])
    target.apply(changes)
    assert dump(target.url) == before
    client.close()
