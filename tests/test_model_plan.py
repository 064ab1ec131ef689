"""The plan of a model: kinds, streams, conditions and names; those of the course as literals."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from helpers import model
from helpers.errors import HelpersError
from helpers.model import FORMATS, Column, Key, Model, Partition, Plan, Table

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)


def table(name: str, key: str | Sequence[str], *columns: str, schema: str = "public") -> Table:
    """A table of columns such as ``a:integer``, ``b:text?`` (may be NULL), ``c:text!`` (may be long)."""
    made = []
    for one in columns:
        of, _, type_ = one.partition(":")
        format_ = FORMATS[type_.rstrip("?!")]
        made.append(Column(of, type_.rstrip("?!"), format_, "?" in type_, bounded="!" not in type_))
    keys = [key] if isinstance(key, str) else key
    return Table(name, schema, name, tuple(made), tuple(tuple(one.split()) for one in keys))


COURSE = {
    "users": table(
        "users", "user_id", "user_id:integer", "username:text?", "email:text?", "created_at:moment?"
    ),
    "products": table("products", "product_id", "product_id:integer", "product_name:text?", "price:numeric?"),
    "orders": table(
        *("orders", "order_id", "order_id:integer", "user_id:integer?", "product_id:integer?"),
        *("order_date:moment?", "quantity:integer?"),
    ),
    "activities": table(
        *("activities", "activity_id", "activity_id:integer", "user_id:integer?"),
        *("activity_type:text?", "activity_date:moment?"),
    ),
}


def course(prefix: str = "") -> Plan:
    return Plan(model.load(), COURSE, prefix)


def plan(*keys: Key, tables: Sequence[Table] = tuple(COURSE.values()), **options: Any) -> Plan:
    return Plan(Model(keys, options.pop("dates", "text")), {one.name: one for one in tables}, **options)


# -- the course's, as it was before models were data

_IN_RANGE = """isfinite("{0}") AND "{0}" >= '0001-01-01' AND "{0}" < '10000-01-01'"""
HELD = {
    "users": f'("created_at" IS NULL OR {_IN_RANGE.format("created_at")}) AND '
    '("username" IS DISTINCT FROM NULL OR "email" IS DISTINCT FROM NULL OR "created_at" IS NOT NULL)',
    "products": '("product_name" IS DISTINCT FROM NULL OR "price" IS NOT NULL)',
    "orders": f'("order_date" IS NULL OR {_IN_RANGE.format("order_date")}) AND ("user_id" IS NOT NULL OR '
    '"product_id" IS NOT NULL OR "order_date" IS NOT NULL OR "quantity" IS NOT NULL)',
    "activities": f'{_IN_RANGE.format("activity_date")} AND "user_id" IS NOT NULL '
    'AND "activity_type" IS DISTINCT FROM NULL',
}
STREAMS = [
    ("users", ["user"], ["user_id", "username", "email", "created_at"], ["user_id"], 0, HELD["users"]),
    ("products", ["product"], ["product_id", "product_name", "price"], ["product_id"], 0, HELD["products"]),
    (
        *("orders", ["order"], ["order_id", "user_id", "product_id", "order_date", "quantity"]),
        *(["order_id"], 0, HELD["orders"]),
    ),
    (
        *("user_orders", ["user_orders"], ["user_id", "order_date", "order_id"]),
        *(["user_id", "order_date", "order_id"], 1),
        f'{_IN_RANGE.format("order_date")} AND "user_id" IS NOT NULL',
    ),
    (
        *("product_orders", ["product_orders"], ["product_id", "order_date", "order_id"]),
        *(["product_id", "order_date", "order_id"], 1),
        f'{_IN_RANGE.format("order_date")} AND "product_id" IS NOT NULL',
    ),
    (
        *("activities", ["user_activities", "user_activities_by_time"]),
        ["user_id", "activity_date", "activity_id", "activity_type"],
        ["user_id", "activity_date", "activity_id"],
        *(1, HELD["activities"]),
    ),
]  # fmt: skip
ID = "(?:0|-?[1-9][0-9]{0,18})"


def test_kinds_of_the_course() -> None:
    assert [(kind.name, kind.type, kind.table.name) for kind in course().kinds] == [
        ("user", "hash", "users"),
        ("product", "hash", "products"),
        ("order", "hash", "orders"),
        ("user_activities", "list", "activities"),
        ("user_activities_by_time", "zset", "activities"),
        ("user_orders", "zset", "orders"),
        ("product_orders", "zset", "orders"),
    ]


def test_streams_of_the_course() -> None:
    """Names and orders are those of loads begun by an older version, which go on."""
    found = [
        (s.name, [k.name for k in s.kinds], list(s.columns), list(s.order), s.owner, s.where)
        for s in course().streams
    ]
    assert found == STREAMS
    assert [s.name for s in course().streams if s.counts] == list(COURSE)
    assert [s.name for s in course().streams if s.single] == ["users", "products", "orders"]


def test_conditions_of_the_course() -> None:
    assert {name: course().held_sql(name) for name in COURSE} == HELD


def test_what_holds_the_rows_of_the_course() -> None:
    assert {name: [k.name for k in one.kinds] for name, one in course().holders.items()} == {
        "users": ["user"],
        "products": ["product"],
        "orders": ["order"],
        "activities": ["user_activities", "user_activities_by_time"],
    }
    pair = course().pairs["activities"]
    assert (pair.list.name, pair.scored.name, pair.moment.name, pair.tie.name) == (
        *("user_activities", "user_activities_by_time", "activity_date", "activity_id"),
    )
    assert [bool(stream.pair) for stream in course().streams] == [False] * 5 + [True]


def test_names_of_the_course() -> None:
    names = [f"user:{ID}", f"product:{ID}", f"order:{ID}", f"user:{ID}:activities"]
    names += [f"user:{ID}:activities:by_time", f"user:{ID}:orders", f"product:{ID}:orders"]
    alternatives = [name.replace(ID, f"(?:{ID})") for name in names]
    assert [kind.key.regex() for kind in course("a.b:").kinds] == alternatives
    assert course("a*[b]?").glob == r"a\*\[b\]\?[opu][rs][deo]*"
    assert course().heads == ("order:", "product:", "user:")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (b"user:1", "user"),
        (b"user:-7:activities", "user_activities"),
        (b"user:1:activities:by_time", "user_activities_by_time"),
        (b"product:0:orders", "product_orders"),
        (b"user:9223372036854775807:orders", "user_orders"),
        *(
            (one, None)
            for one in (b"user:01", b"user:+1", b"user:", b"user:1:x", b"order:1:orders", b"user:1\n")
        ),
        (b"user:12345678901234567890", None),
        (b"xuser:1", None),
    ],
)
def test_a_key_is_known_by_its_name(key: bytes, kind: str | None) -> None:
    for prefix in ("", "a.b:", "{x}*"):
        found = course(prefix).kind_of(prefix.encode() + key)
        assert (found and found.name) == kind
    assert course("a.b:").kind_of(b"aXb:" + key) is None


# -- any model's


@given(TEXTS, TEXTS, TEXTS)
def test_keys_of_any_text_are_told_apart(one: str, other: str, prefix: str) -> None:
    both = table("t", ["a b"], "a:text", "b:text", "c:text?")
    made = plan(
        Key("t:{a}:{b}", "hash", "t"), Key("t:{a}", "set", "t", value="{b}"), tables=[both], prefix=prefix
    )
    row, owner = made.kinds
    values = (one.encode(), other.encode())
    key = made.key_of(row, values)
    assert made.kind_of(key) is row and made.split(row, key) == values and made.split(owner, key) is None
    collection = made.key_of(owner, values[:1])
    assert made.kind_of(collection) is owner and made.split(owner, collection) == values[:1]


def test_kinds_and_streams_have_names_of_their_own() -> None:
    tables = [table("a_b", "id", "id:integer", "n:text?"), table("c", "id", "id:integer", "n:text?")]
    made = plan(
        Key("a:{id}:b", "hash", "a_b"),
        Key("a-b:{id}", "hash", "c"),
        Key("{id}", "set", "c", value="x{id}"),
        Key("a.b", "set", "a_b", value="{id}:{n}"),
        tables=tables,
    )
    assert [kind.name for kind in made.kinds] == ["a_b", "a_b_2", "c", "a_b_3"]
    assert [stream.name for stream in made.streams] == ["a_b", "c", "c_2", "a_b_3"]


def test_collections_of_one_owner_and_order_are_read_together() -> None:
    made = plan(
        Key("u:{user_id}:a", "sorted_set", "orders", value="{order_id}", score="order_date"),
        Key("u:{user_id}:b", "sorted_set", "orders", value="x{order_id}", score="order_date"),
        Key("u:{user_id}:c", "sorted_set", "orders", value="{order_id}", score="quantity"),
        Key("u:{product_id}:d", "sorted_set", "orders", value="{order_id}", score="order_date"),
    )
    assert [[kind.name for kind in stream.kinds] for stream in made.streams] == [
        ["u_a", "u_b"],
        ["u_c"],
        ["u_d"],
    ]
    assert [stream.counts for stream in made.streams] == [True, False, False]


LOST = ("product_id", "order_date", "quantity")
WHOLE = "{order_id}:{user_id}:{product_id}:{order_date}:{quantity}"


@pytest.mark.parametrize(
    ("key", "whole", "lost"),
    [
        (Key("o:{order_id}", "hash", "orders"), True, ()),
        (Key("o:{order_id}", "string", "orders"), True, ()),
        (Key("o:{order_id}", "string", "orders", value=WHOLE), True, ()),
        (Key("o:{order_id}", "hash", "orders", {"u": "user_id"}), False, LOST),
        (Key("o", "set", "orders", value=WHOLE), True, ()),
        (Key("o", "list", "orders", value=WHOLE, order=("user_id",)), True, ()),
        (Key("o", "sorted_set", "orders", value=WHOLE, score="order_date"), True, ()),
        (
            Key("o:{user_id}:{product_id}", "sorted_set", "orders", value="{order_id}", score="quantity"),
            *(False, LOST[1:]),
        ),
    ],
)  # fmt: skip
def test_which_key_gives_rows_back(key: Key, whole: bool, lost: tuple[str, ...]) -> None:
    (found,) = plan(key).holders.values()
    assert ([kind.name for kind in found.kinds], found.lost) == (["o"] if whole else [], lost)
    assert found.restorable == whole


def test_a_hash_is_preferred() -> None:
    keys = [Key("o", "list", "orders", value=WHOLE), Key("h:{order_id}", "hash", "orders")]
    assert [kind.name for kind in plan(*keys).holders["orders"].kinds] == ["h"]


@pytest.mark.parametrize(
    ("change", "together"),
    [
        ({}, True),
        ({"score": "activity_type"}, None),
        ({"order": ("activity_date",)}, True),  # the unique key is appended
        ({"order": ("activity_id", "activity_date")}, False),
        ({"order": ("activity_date", "user_id", "activity_id")}, False),
        ({"list": "{activity_type}"}, False),
        ({"list": "{activity_type}:{activity_id}"}, False),
        ({"member": "{activity_type}:{activity_id}"}, True),
        ({"member": "{activity_id}"}, True),
        ({"list": "{activity_date}"}, True),
        ({"list": "{activity_date}", "member": "{activity_id}"}, False),
        ({"scored": "b:{user_id}:{activity_type}"}, False),
        ({"scored": "b"}, False),
    ],
)
def test_a_list_and_a_sorted_set_may_hold_rows_together(
    change: dict[str, Any], together: bool | None
) -> None:
    value = change.get("list", "{activity_type}:{activity_date}")
    order = change.get("order", ("activity_date", "activity_id"))
    keys = [
        Key("a:{user_id}", "list", "activities", value=value, order=order),
        Key(
            *(change.get("scored", "b:{user_id}"), "sorted_set", "activities"),
            value=change.get("member", "{activity_id}:{activity_type}"),
            score=change.get("score", "activity_date"),
        ),
    ]
    if together is None:
        with pytest.raises(HelpersError, match="a score is a number, a date or a time of day"):
            plan(*keys)
        return
    made = plan(*keys)
    assert (list(made.pairs) == ["activities"]) == made.holders["activities"].restorable == together
    assert sum(stream.pair is not None for stream in made.streams) == together


def test_a_tie_is_a_unique_whole_number() -> None:
    for tie, key, together in (("integer", "id", True), ("uuid", "id", False), ("integer", "id at", False)):
        one = table("t", key, f"id:{tie}", "at:moment", "who:integer?")
        keys = [
            Key("a:{who}", "list", "t", value="{at}", order=("at", "id")),
            Key("b:{who}", "sorted_set", "t", value="{id}", score="at"),
        ]
        if key == "id at":
            keys[1] = Key("b:{who}", "sorted_set", "t", value="{id}:{at}", score="at")
        made = plan(*keys, tables=[one])
        assert ("t" in made.pairs) == together, (tie, key)


def test_what_a_stream_reads_and_is_ordered_by() -> None:
    one = table("t", ["id"], "id:integer", "who:text?!", "at:zoned?", "n:numeric?", "rest:text?")
    made = plan(
        Key("a:{who}", "sorted_set", "t", value="{id}", score="at"),
        Key("b:{n}", "list", "t", value="{rest}", order=("at",)),
        Key("t:{id}", "hash", "t", {"rest": "rest"}),
        tables=[one],
    )
    rows, by_who, by_number = made.streams
    assert (rows.columns, rows.order_sql, rows.owner) == (("id", "rest"), ('"t"."id"',), 0)
    assert by_who.columns == ("who", "at", "id") and by_who.owner == 1
    assert by_who.order_sql == ('"t"."who" COLLATE "C"', '"t"."at"', '"t"."id"')
    assert by_number.columns == ("n", "at", "id", "rest")
    assert by_number.order_sql == ('format(\'%s\', "t"."n") COLLATE "C"', '"t"."at"', '"t"."id"')
    assert by_number.kinds[0].order == ("at", "id")
    assert '"rest" IS DISTINCT FROM NULL' in by_number.where and '"rest"' not in by_who.where


def test_partitions_cut_a_stream_by_its_first_column() -> None:
    made = course()
    (only, *_) = made.partitions({})
    assert only == Partition(made.streams[0]) and only.name == "users" and only.where == f"({HELD['users']})"
    cut = made.partitions({"partitions": '{"orders": [5, "it\'s"]}'})
    assert [one.name for one in cut[2:5]] == ["orders.0", "orders.1", "orders.2"] and len(cut) == 8
    assert [one.where.removeprefix(f"({HELD['orders']})") for one in cut[2:5]] == [
        ' AND "orders"."order_id" < \'5\'',
        ' AND "orders"."order_id" >= \'5\' AND "orders"."order_id" < \'it\'\'s\'',
        " AND \"orders\".\"order_id\" >= 'it''s'",
    ]


def test_a_position_is_of_the_types_of_its_columns() -> None:
    own = Column("p", "sales.pair", FORMATS["text"], nullable=False)
    one = Table("t", "s", "t", (own, Column("n", "integer", FORMATS["integer"])), (("p",),))
    single, by_number, by_pair = plan(
        Key("t:{p}", "hash", "t"),
        Key("n:{n}", "set", "t", value="{p}"),
        Key("p:{p}", "list", "t", value="{n}"),
        tables=[one],
    ).streams
    assert single.after_sql(["(1,a)"]) == '("t"."p") > (\'(1,a)\'::sales.pair)'
    assert by_number.after_sql(["1", "it's"]) == '("t"."n", "t"."p") > (\'1\', \'it\'\'s\'::sales.pair)'
    assert by_pair.after_sql(["(,)"]) == '(format(\'%s\', "t"."p") COLLATE "C") > (\'(,)\')'
    assert Partition(single, 1, "(,)", "(1,)").where.endswith(
        ' AND "t"."p" >= \'(,)\'::sales.pair AND "t"."p" < \'(1,)\'::sales.pair'
    )


def test_a_glob_and_heads_take_every_key() -> None:
    one = table("t", ["id"], "id:text", "n:text?")
    for names, glob, heads in (
        (["user:{id}", "us[er]:{id}"], "p:[u][s][e[]*", ("us[er]:", "user:")),
        (["{id}", "u:{id}:x"], "p:*", ("",)),
        (["é:{id}"], "p:*", ("é:",)),
        (["u:{id}:x", "u:{id}:y", "up:{id}"], "p:[u][:p]*", ("u:", "up:")),
    ):
        keys = [Key(name, "hash", "t") for name in names]
        if names[0] == "{id}":
            keys = keys[:1]
        made = plan(*keys, tables=[one], prefix="p:")
        assert made.heads == heads
        assert made.glob in (glob, "p:*")
        for kind in made.kinds:
            assert redis_matches(made.glob, made.key_of(kind, [b"x"]).decode())


def redis_matches(glob: str, key: str) -> bool:
    """Whether a key is one of a SCAN MATCH pattern of letters, classes and a star at the end."""
    assert re.fullmatch(r"p:(\[[^\]]*\])*\*", glob)
    return re.fullmatch(glob.replace("*", ".*"), key, re.S) is not None


def test_dates_in_fields_may_have_any_form_but_where_iso_is_asked_for() -> None:
    one = table("t", ["id"], "id:integer", "at:date?")
    far, near = ["1", "infinity"], ["1", "2026-01-01"]
    for dates, reason in (("text", None), ("iso", "infinite_date")):
        made = plan(Key("t:{id}", "hash", "t"), tables=[one], dates=dates)
        assert (made.reject_reason("t", far), made.reject_reason("t", near)) == (reason, None)
        assert ("isfinite" in made.held_sql("t")) == (dates == "iso")
    for key in (
        Key("d:{at}", "list", "t", value="{id}"),
        Key("d", "list", "t", value="{at}"),
        Key("d", "sorted_set", "t", value="{id}", score="at"),
    ):
        made = plan(Key("t:{id}", "hash", "t"), key, tables=[one])
        assert made.reject_reason("t", far) == "infinite_date" and made.reject_reason("t", near) is None
        assert made.reject_reason("t", ["1", None]) is None, "the hash holds it"
        assert set(made.kinds[1].needs) <= {"id", "at"}


def test_a_record_gives_the_same_plan() -> None:
    made = plan(
        Key("x:{user_id}", "list", "activities", value="{activity_type}"), prefix="p:", encoding="UTF8"
    )
    again = Plan.recorded(made.record(), "p:")
    assert again is not None and again.kinds == made.kinds and again.streams == made.streams
    assert again.prefix == made.prefix and again.record() == made.record()
    assert Plan.recorded({"model": "x"}, "") is None and Plan.recorded({}, "") is None
