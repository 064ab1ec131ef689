"""Places in lists with registers: whatever puts rows in order, each stands where PostgreSQL would put it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import random_schemas
from migrating import migrate, run_sql

from helpers import migration, model
from helpers.errors import HelpersError
from helpers.migration import places
from helpers.migration.effects import Effects, Forms, Row
from helpers.model import Plan
from helpers.servers import connections
from helpers.source import Upstream, publication, tables
from helpers.target import resp

KEY = b"migration:state"
TEXTS = [
    "",
    "a",
    "A",
    "b",
    "B",
    "é",
    "e",
    "E",
    "z",
    "-a",
    " a",
    "a b",
    "a10",
    "a9",
    "%:{}",
    "Z",
    "ä",
    "🙂",
    "\\x",
]
ORDERS: dict[str, list[str]] = {
    **{one: values for one, values in random_schemas.TYPES.items() if one not in random_schemas.UNSORTED},
    "text": TEXTS,
    "varchar(30)": TEXTS,
    'text COLLATE "C"': TEXTS,
    "random_label": TEXTS,
}
"""Types by which lists stand, and values of each; those that are equal are put in order by number."""
LINGUISTIC: dict[str, list[str]] = {
    'text COLLATE "en-x-icu"': TEXTS,
    "text COLLATE numbers": TEXTS,
    "text COLLATE same": TEXTS,
    'text[] COLLATE "en-x-icu"': ["{}", "{a,B}", "{B,a}", "{é}", "{E}", '{"",NULL}'],
}
"""The same, of a server that was built with ICU; the embedded one was not."""
COLLATIONS = """
CREATE COLLATION numbers (provider = icu, locale = 'en-u-kn-true');
CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
"""
MODEL = """
[[key]]
name = "of{0}:{{of}}"
type = "list"
table = "t{0}"
value = "{{said}}"
order = ["v"]
"""
SMALL = {"FEW": 2, "MANY": 3, "MOST_BYTES": 200}


class Lists:
    """Tables with a value of each type, in a target lists by these; what changes goes to both."""

    def __init__(self, upstream: Upstream, connection: resp.Connection, types: list[str]) -> None:
        self.upstream, self.connection, self.types = upstream, connection, types
        text = "".join(MODEL.format(n) for n in range(len(types)))
        plan = Plan(model.load(text), tables.bind(upstream.ask, "here", model.load(text)))
        self.plan = plan.registering([kind.name for kind in model.unguided(plan)])
        assert len(self.plan.registers) == len(types)
        self.seen = publication.seen(upstream.ask, self.plan)
        self.finder = places.Finder(connection, upstream, self.seen)
        self.forms = Forms(self.plan)

    def rows(self, n: int) -> dict[str, Row]:
        """The rows of a table by their key, as they are told."""
        return {
            row[0]: row
            for row in self.upstream.ask(f"SELECT id::text, of::text, said, format('%s', v) FROM t{n}")
        }

    def change(self, n: int, *statements: str, most: int = 100) -> None:
        """Run some statements on a table and bring what they did to the target."""
        before = self.rows(n)
        for statement in statements:
            self.upstream.ask(statement)
        after, changes = self.rows(n), Effects(self.forms)
        for number, key in enumerate(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                changes.change(f"t{n}", before.get(key), after.get(key))
            if number % most == most - 1:
                self.apply(changes)
                changes = Effects(self.forms)
        self.apply(changes)

    def apply(self, changes: Effects) -> None:
        for command in changes.commands(KEY, {"n": "1"}, self.finder.find):
            self.connection.call(*resp.parse(command)[0])

    def check(self, n: int) -> None:
        """The lists are in PostgreSQL's order, and the registers as long."""
        wanted: dict[str, list[bytes]] = {}
        for of, said in self.upstream.ask(f"SELECT of::text, said FROM t{n} ORDER BY of, v, id"):
            wanted.setdefault(of, []).append(said.encode())
        for of in ("0", "1"):
            held = self.connection.call("LRANGE", f"of{n}:{of}", 0, -1)
            assert held == wanted.get(of, []), self.types[n]
            assert self.connection.call("LLEN", f"migration:register:of{n}:{of}") == len(held)


@contextlib.contextmanager
def opened(source: str, target: str, types: list[str]) -> Iterator[Lists]:
    statements = [
        f"CREATE TABLE t{n} (id int PRIMARY KEY, of int NOT NULL, said text NOT NULL, v {type_} NOT NULL)"
        for n, type_ in enumerate(types)
    ]
    run_sql(source, random_schemas.MADE, *([COLLATIONS] if LINGUISTIC.keys() & types else ()), *statements)
    with Upstream(source) as upstream, contextlib.closing(resp.Connection(target)) as connection:
        yield Lists(upstream, connection, types)


def value(type_: str, some: list[str]) -> str:
    """One of some values of a type, as SQL."""
    array = ", ".join("'" + one.replace("'", "''") + "'" for one in some)
    return f"(ARRAY[{array}]::text[])[1 + floor(random() * {len(some)})]::{type_.partition(' COLLATE')[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("orders", [ORDERS, LINGUISTIC])
def test_every_type_in_its_own_order(
    postgres_url: str,
    redis_url: str,
    orders: dict[str, list[str]],
    small: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows come between others, change their values and owners, and go; several elements are equal."""
    for name, number in SMALL.items() if small else ():
        monkeypatch.setattr(places, name, number)
    if orders is LINGUISTIC:
        try:
            run_sql(postgres_url, COLLATIONS, "DROP COLLATION numbers, same")
        except psycopg2.errors.FeatureNotSupported as error:
            pytest.skip(str(error))
    with opened(postgres_url, redis_url, list(orders)) as lists:
        lists.upstream.ask("SELECT setseed(0.5)")
        for n, (type_, some) in enumerate(orders.items()):
            new = f"floor(random() * 2), 'said ' || floor(random() * 3), {value(type_, some)}"
            lists.change(n, f"INSERT INTO t{n} SELECT i, {new} FROM generate_series(1, 30) i", most=7)
            lists.check(n)
            lists.change(
                n,
                f"DELETE FROM t{n} WHERE random() < 0.2",
                f"UPDATE t{n} SET of = 1 - of WHERE random() < 0.2",
                f"UPDATE t{n} SET v = {value(type_, some)}, said = said || 'x' WHERE random() < 0.3",
                f"UPDATE t{n} SET id = -id WHERE random() < 0.3",
                f"INSERT INTO t{n} SELECT i, {new} FROM generate_series(31, 45) i",
            )
            lists.check(n)


@pytest.mark.parametrize("type_", ["bytea", "text", "boolean"])
def test_a_key_of_one_column_that_orders_its_list(postgres_url: str, redis_url: str, type_: str) -> None:
    """Then nothing else stands in the register, where bytes stand as they are."""
    run_sql(
        postgres_url,
        f"CREATE TABLE t0 (v {type_} PRIMARY KEY, said text NOT NULL)",
        "ALTER TABLE t0 REPLICA IDENTITY FULL",
    )
    some = ORDERS[type_]
    for n, one in enumerate(some[::2]):
        run_sql(postgres_url, f"INSERT INTO t0 VALUES ({value(type_, [one])}, '{n}')")
    text = MODEL.format(0).replace(":{of}", "")
    assert migrate(postgres_url, redis_url, model=text, follow=True)["status"] == "verified"
    for n, one in enumerate(some[1::2]):
        run_sql(postgres_url, f"INSERT INTO t0 VALUES ({value(type_, [one])}, 'new {n}')")
    run_sql(postgres_url, "UPDATE t0 SET said = said || 'x'", "DELETE FROM t0 WHERE said = '0x'")
    migration.follow(postgres_url, redis_url, until_idle_s=0.0, shown=False)
    seen = migration.verify(postgres_url, redis_url, progress=False)
    assert seen["by_problem"] == {}, seen["examples"]
    assert connections.redis(redis_url).llen("of0") == len(some) - 1


def test_a_few_elements_are_read_of_a_long_list(postgres_url: str, redis_url: str) -> None:
    with opened(postgres_url, redis_url, ["text"]) as lists:
        lists.change(
            0,
            "INSERT INTO t0 SELECT i, 0, 'x', md5(i::text) FROM generate_series(1, 5000) i",
            most=10_000,
        )
        client = connections.redis(redis_url)

        def read() -> int:
            found: dict[str, Any] = client.info("commandstats").get("cmdstat_lindex", {"calls": 0})
            return int(found["calls"])

        before = read()
        lists.change(0, "INSERT INTO t0 VALUES (0, 0, 'new', '8')")
        assert read() - before < 5 * places.FEW  # a sixteenth of what is left each time, and the middle
        before = read()
        lists.change(0, "INSERT INTO t0 VALUES (-1, 0, 'last', 'z')")
        assert read() - before <= places.FEW + 3
        lists.check(0)
        client.close()


def test_texts_are_compared_by_the_collation_of_their_column(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All collations of a server without ICU agree, so that only the question tells."""
    with opened(postgres_url, redis_url, ['text COLLATE "POSIX"', "uuid"]) as lists:
        asked, ask = list[str](), lists.upstream.ask

        def heard(sql: str, *values: Any) -> Any:
            asked.append(sql)
            return ask(sql, *values)

        monkeypatch.setattr(lists.upstream, "ask", heard)
        for n, one in enumerate(("'a', 'b'", f"'{'0' * 32}', '{'1' * 32}'")):
            first, second = one.split(", ")
            lists.change(n, f"INSERT INTO t{n} VALUES (1, 0, 'x', {first}), (2, 0, 'x', {second})")
        ordered = [sql.partition("ORDER BY ")[2] for sql in asked if "unnest" in sql]
        assert list(dict.fromkeys(ordered)) == [
            'belongs, v0::text COLLATE pg_catalog."POSIX", v1::integer, stands, n',
            "belongs, v0::uuid, v1::integer, stands, n",
        ]


@pytest.mark.slow
def test_long_values_are_read_one_by_one(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they are, about so many bytes are held at once."""
    monkeypatch.setattr(places, "MOST_BYTES", 50_000)
    with opened(postgres_url, redis_url, ["text"]) as lists:
        row = "0, 'x', repeat(md5(i::text), 1000)"
        lists.change(0, f"INSERT INTO t0 SELECT i, {row} FROM generate_series(1, 60) i", most=7)
        sizes, sort = [], lists.finder._sorted

        def kept(columns: Any, register: Any, items: Any) -> Any:
            sizes.append(sum(len(value[0]) for _, stands, value in items if stands))
            return sort(columns, register, items)

        monkeypatch.setattr(lists.finder, "_sorted", kept)
        lists.change(0, "INSERT INTO t0 SELECT i, " + row + " FROM generate_series(61, 70) i", most=3)
        assert max(sizes) < 50_000
        lists.check(0)


def test_an_order_that_leaves_rows_equal_is_refused(postgres_url: str, redis_url: str) -> None:
    """An index may tell texts apart that are equal by the collation of their column."""
    try:
        run_sql(postgres_url, COLLATIONS)
    except psycopg2.errors.FeatureNotSupported as error:
        pytest.skip(str(error))
    run_sql(
        postgres_url,
        "CREATE TABLE t0 (id int, v text COLLATE same NOT NULL, said text)",
        'CREATE UNIQUE INDEX ON t0 (v COLLATE "C")',
        "ALTER TABLE t0 REPLICA IDENTITY FULL",
        "INSERT INTO t0 VALUES (1, 'a', 'x'), (2, 'A', 'y')",
    )
    text = MODEL.format(0).replace(":{of}", "")
    with pytest.raises(HelpersError, match="key 'of0': rows that v tell apart are equal by the collations"):
        migrate(postgres_url, redis_url, model=text, follow=True)
    run_sql(postgres_url, "ALTER TABLE t0 ADD PRIMARY KEY (id)")
    text = text.replace('["v"]', '["v", "id"]')
    assert migrate(postgres_url, redis_url, model=text, follow=True)["status"] == "verified"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("LPOP", "of0:0"), "migration:register:of0:0 is not of the length|of0:0 is not of the length"),
        (("LSET", "migration:register:of0:0", -1, "no element"), "register:of0:0 is not as it was left"),
        (("LSET", "migration:register:of0:0", -1, "2027-01-01:7"), "has not .* where it should be"),
        (("SET", "migration:register:of0:0", "x"), "WRONGTYPE"),
        (("DEL", "migration:register:of0:0"), "is not of the length"),
    ],
)
def test_a_register_that_is_not_as_it_was_left(
    postgres_url: str, redis_url: str, damage: tuple[Any, ...], said: str
) -> None:
    with opened(postgres_url, redis_url, ["date"]) as lists:
        lists.change(0, "INSERT INTO t0 SELECT i, 0, 'x', date '2026-01-01' + i FROM generate_series(1, 9) i")
        lists.connection.call(*damage)
        with pytest.raises(HelpersError, match=said):
            lists.change(0, "DELETE FROM t0 WHERE id = 9")


def test_values_that_cannot_be_compared_any_more(postgres_url: str, redis_url: str) -> None:
    with opened(postgres_url, redis_url, ["random_mood"]) as lists:
        lists.change(0, "INSERT INTO t0 VALUES (1, 0, 'x', 'sad'), (2, 0, 'y', 'so:so')")
        lists.upstream.ask("ALTER TYPE random_mood RENAME VALUE 'sad' TO 'glad'")
        with pytest.raises(
            HelpersError, match=r"rows of t0 stand in a list cannot be compared any more: .* `mi"
        ):
            lists.change(0, "INSERT INTO t0 VALUES (3, 0, 'x', '')")
