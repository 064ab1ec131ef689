"""Models as TOML: written and read, and refused in one line that names file, key and remedy."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from helpers import model
from helpers.errors import HelpersError
from helpers.model import Column, Key, Model, Plan, Table
from helpers.model.declaration import TYPES
from helpers.model.formats import FORMATS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ODD = TEXT | st.sampled_from(
    ["{", "}", '"', "'", "\\", "\n", "\x7f", "user:{user_id}", "{{}}", '{"a}b"}', "é🙂", "", "\ud800"]
)
COLUMN = st.sampled_from(
    ["user_id", "username", "email", "created_at", "tags", "raw", 'odd"}name', "new\nline"]
)
TEMPLATE = st.sampled_from(
    [
        "user:{user_id}",
        "{user_id}",
        "{username}:{created_at}",
        "{email}{username}",
        "{raw}",
        "x",
        "{nothing}",
        "{{",
    ]
)
GOOD = model.course()
WORDS = [
    *(
        "name",
        "type",
        "table",
        "fields",
        "value",
        "score",
        "order",
        "dates",
        "key",
        "hash",
        "list",
        "set",
        "string",
    ),
    *(
        "sorted_set",
        "users",
        "{user_id}",
        "[[key]]",
        "[key]",
        "=",
        '"',
        "'",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\n",
        "1",
        "true",
    ),
    *("1979-05-27", "\\", "\x00", "#", ".", "é", "{}", "[]", "nan", '""', "[[[[", "\ufeff"),
]
USERS = Table(
    "users",
    "public",
    "users",
    (
        Column("user_id", "integer", FORMATS["integer"], nullable=False),
        Column("username", "text", FORMATS["text"], bounded=False),
        Column("email", "text", FORMATS["text"], nullable=False, bounded=False),
        Column("created_at", "timestamp without time zone", FORMATS["moment"]),
        Column("tags", "text[]", FORMATS["text"], bounded=False),
        Column("raw", "bytea", FORMATS["bytes"], bounded=False),
        Column('odd"}name', "real", FORMATS["float"]),
        Column("new\nline", "text", FORMATS["text"]),
    ),
    (("user_id",), ("email",)),
)


def refusal(error: HelpersError, where: str) -> None:
    """It is one line that begins with the file and ends with a remedy."""
    text = str(error)
    assert text.startswith(f"{where}: ") and ";" in text, text
    assert text.isprintable(), repr(text)


@st.composite
def keys(draw: Any, text: Any = ODD) -> Key:
    type_ = draw(st.sampled_from([*TYPES, *TYPES, *TYPES, draw(text)]))
    allowed = TYPES.get(type_, ())

    def maybe(option: str, what: Any) -> Any:
        odds = 9 if option in allowed else 1
        return draw(what) if draw(st.integers(0, 10)) < odds else None

    fields = maybe("fields", st.dictionaries(text | COLUMN, COLUMN, max_size=4))
    order = maybe("order", st.lists(COLUMN, max_size=3).map(tuple)) or ()
    value, score = maybe("value", TEMPLATE | text), maybe("score", COLUMN)
    return Key(draw(TEMPLATE | text), type_, draw(st.just("users") | text), fields, value, score, order)


@given(st.lists(keys(), min_size=1, max_size=4), st.sampled_from(["text", "iso"]))
def test_a_model_is_written_as_it_is_read(made: list[Key], dates: str) -> None:
    try:
        one = Model(made, dates)
    except HelpersError as error:
        refusal(error, "model")
        return
    again = model.parse(one.toml(), "again")
    assert again == one
    for key, other in zip(one.keys, again.keys, strict=True):
        assert list(key.fields or ()) == list(other.fields or ())
    assert model.load(one.toml()) == one and again.toml() == one.toml()


@pytest.mark.parametrize(
    "fields",
    [
        {"a.b": "x"},
        {"a-b": "x", "a_b": "y", "1": "z"},
        {"": "x", " ": "y"},
        {'"\n': "x", "it's": "x", 'say "so"': "y", 'it\'s "so"': "z"},
        {"\\": "\\", "\t\x00\x7f": "\n"},
        {f"column_{n}": f"column_{n}" for n in range(40)},
        {f"column_{n}": f"column_{n}" for n in range(9)},
        {"x" * 200: "x" * 200, "y": "y"},
        {"b": "b", "a": "a"},
    ],
)
def test_fields_of_odd_names_come_back(fields: dict[str, str]) -> None:
    name = 'it\'s "{user_id}"'
    one = Model(
        [
            Key(name, "hash", '"it\'s"', fields),
            Key("x", "list", '"a"', value="v", order=tuple(fields.values())),
        ]
    )
    again = model.parse(one.toml(), "again")
    assert again == one
    assert list((again.keys[0].fields or {}).items()) == list(fields.items())
    assert max(map(len, one.toml().splitlines())) < 250


@pytest.mark.slow
@settings(max_examples=300)
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_any_text_is_a_model_or_is_refused(text: str) -> None:
    try:
        model.parse(text, "any.toml")
    except HelpersError as error:
        refusal(error, "any.toml")


def mutated(seed: int, changes: int) -> str:
    """The course's model with some words and characters changed, added or taken out."""
    chance, text = random.Random(seed), GOOD
    for _ in range(changes):
        at = chance.randrange(len(text) + 1)
        end = at + chance.choice((0, 0, 1, 1, 5, 40))
        text = (
            text[:at] + chance.choice(("", chance.choice(WORDS), chr(chance.randrange(1, 1200)))) + text[end:]
        )
    return text


@settings(max_examples=250)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_changed_model_is_a_model_or_is_refused(seed: int, changes: int) -> None:
    try:
        made = model.parse(mutated(seed, changes), "any.toml")
        assert model.parse(made.toml(), "again") == made
        Plan(made, {key.table: USERS for key in made.keys}).streams  # noqa: B018  # made when asked for
    except HelpersError as error:
        refusal(error, "any.toml")


@pytest.mark.slow
@settings(max_examples=250)
@given(st.lists(keys(), min_size=1, max_size=3), st.sampled_from(["text", "iso"]))
def test_any_keys_fit_or_are_refused(made: list[Key], dates: str) -> None:
    try:
        plan = Plan(Model(made, dates), {key.table: USERS for key in made}, "p:")
    except HelpersError as error:
        refusal(error, "model")
        return
    assert len({kind.name for kind in plan.kinds}) == len(plan.kinds) == len(made)
    assert len({stream.name for stream in plan.streams}) == len(plan.streams)
    assert sum(stream.counts for stream in plan.streams) == len(plan.tables) == 1
    assert sorted(k.name for s in plan.streams for k in s.kinds) == sorted(k.name for k in plan.kinds)
    again = Plan.recorded(json.loads(json.dumps(plan.record())), "p:")
    assert again is not None and again.streams == plan.streams and again.kinds == plan.kinds


CASES = {
    "": "it has no key; a model has at least one [[key]]",
    "keys = 1": "unknown option 'keys'; a model has [[key]] and dates",
    "key = 1": "key is no list of tables; begin each key with a line [[key]]",
    "[[key]]": 'key 1: it has no name; add name = "..."',
    '[[key]]\nname = "a"': "key 'a': it has no type; add type = \"...\"",
    '[[key]]\nname = "a"\ntype = "hash"': "key 'a': it has no table; add table = \"...\"",
    '[[key]]\nname = "a"\ntype = "zset"\ntable = "t"': (
        "key 'a': unknown type 'zset'; it is one of hash, string, list, set, sorted_set"
    ),
    '[[key]]\nname = "a"\ntype = "hash"\ntable = "t"\nttl = 1': (
        "key 'a': unknown option 'ttl'; a hash has name, type, table, fields"
    ),
    '[[key]]\nname = "a"\ntype = "hash"\ntable = "t"\nvalue = "x"': (
        "key 'a': a hash has no value; take it out, or change the type"
    ),
    '[[key]]\nname = 1\ntype = "hash"\ntable = "t"': "key 1: name is no text; put it in quotes",
    '[[key]]\nname = "a"\ntype = "list"\ntable = "t"': "key 'a': a list needs value; add it",
    '[[key]]\nname = "a"\ntype = "set"\ntable = "t"': "key 'a': a set needs value; add it",
    '[[key]]\nname = "a"\ntype = "sorted_set"\ntable = "t"\nvalue = "x"': (
        "key 'a': a sorted_set needs score; add it"
    ),
    '[[key]]\nname = "a"\ntype = "string"\ntable = "t"\nvalue = "x"\nfields = ["y"]': (
        "key 'a': a string has value or fields, not both; take one out"
    ),
    '[[key]]\nname = "a"\ntype = "hash"\ntable = "t"\nfields = []': (
        "key 'a': fields is empty; name a column, or leave fields out for every column"
    ),
    '[[key]]\nname = "a"\ntype = "hash"\ntable = "t"\nfields = ["x", "x"]': (
        "key 'a': field 'x' is there twice; leave one out"
    ),
    '[[key]]\nname = "a"\ntype = "hash"\ntable = "t"\nfields = [1]': (
        "key 'a': fields are no columns; write fields = [\"column\"], or fields = { name = \"column\" }"
    ),
    '[[key]]\nname = "a"\ntype = "list"\ntable = "t"\nvalue = "x"\norder = "y"': (
        "key 'a': order is no list of columns; write order = [\"column\", \"column\"]"
    ),
    '[[key]]\nname = "a{"\ntype = "hash"\ntable = "t"': (
        "key 'a{': name 'a{': the brace at 2 opens no {column}; a brace itself is written {{"
    ),
    '[[key]]\nname = ""\ntype = "hash"\ntable = "t"': "key '': name is empty; give the key a name",
    'dates = "any"\n[[key]]\nname = "a"\ntype = "hash"\ntable = "t"': (
        'dates is \'any\'; it is "text" or "iso"'
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_a_bad_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HelpersError) as caught:
        model.load(path)
    assert str(caught.value) == f"{path}: {CASES[text]}"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, content, why in (
        (tmp_path / "none.toml", None, "No such file or directory; give the path of a model"),
        (tmp_path, None, "Is a directory; give the path"),
        (tmp_path / "a.toml", b"\xff", "byte 1 is no UTF-8; save the file in that encoding"),
        (tmp_path / "b.toml", b"[" * 10**5, "no TOML: "),
        (tmp_path / "c.toml", b"a = ", "no TOML: Invalid value"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(HelpersError) as caught:
            model.load(path)
        assert str(caught.value).startswith(f"{path}: {why}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (Key("a:{id}", "hash", "users"), "table users has no column 'id'; it has user_id, "),
        (Key("a:{username}", "hash", "users"), "name does not hold a unique key of users, so that "),
        (Key("a", "set", "users", value="{username}"), "name and value together do not hold a unique key"),
        (
            Key("a", "sorted_set", "users", value="{user_id}", score="username"),
            "score username is of type text; ",
        ),
        (
            Key("a:{username}-{email}:{user_id}", "hash", "users"),
            "name 'a:{username}-{email}:{user_id}': '-' m",
        ),
        (Key("migration:{user_id}", "hash", "users"), "it could be named as the migration's own "),
        (Key("{email}", "hash", "users"), None),
        (Key("{email}:{user_id}", "hash", "users"), "it could be named as the migration's own "),
        (Key("a:{user_id}", "hash", "users", {"x": "y"}), "table users has no column 'y'; it has user_id, "),
        (
            Key("a", "list", "users", value="{email}", order=("y",)),
            "table users has no column 'y'; it has user_id, ",
        ),
        (Key("a:{email}", "string", "users"), None),
        (Key("a:{user_id}", "string", "users", value="{email}"), None),
    ],
)
def test_a_key_that_does_not_fit_is_refused(key: Key, why: str | None) -> None:
    try:
        Plan(Model([key]), {"users": USERS})
    except HelpersError as error:
        refusal(error, "model")
        assert why is not None and f"model: key {key.name!r}: {why}" in str(error)
    else:
        assert why is None


def test_two_keys_of_the_same_name_are_refused() -> None:
    keys = [Key("a:{email}", "hash", "users"), Key("a:{user_id}", "string", "users", value="x")]
    with pytest.raises(HelpersError) as caught:
        Plan(Model(keys), {"users": USERS})
    assert str(caught.value) == (
        "model: key 'a:{user_id}': it and key 'a:{email}' could have the same name; let another word stand "
        "in one of them"
    )


def test_what_a_model_says_is_told_apart() -> None:
    """Each attribute of a key changes what is recorded."""
    one = Key("a:{user_id}", "list", "users", value="{email}", order=("created_at",))
    others = [
        Key("b:{user_id}", "list", "users", value="{email}", order=("created_at",)),
        Key("a:{user_id}", "set", "users", value="{email}"),
        Key("a:{user_id}", "list", '"users"', value="{email}", order=("created_at",)),
        Key("a:{user_id}", "list", "users", value="{username}", order=("created_at",)),
        Key("a:{user_id}", "list", "users", value="{email}", order=("tags",)),
        Key("a:{user_id}", "hash", "users", {"email": "email"}),
        Key("a:{user_id}", "hash", "users", {"mail": "email"}),
    ]
    texts = {Model([key]).toml() for key in (one, *others)} | {Model([one], "iso").toml()}
    assert len(texts) == len(others) + 2
