"""Templates: texts that are made of columns, and split into them again."""

import re
from typing import Any

import pytest
from hypothesis import assume, given, settings, strategies as st

from helpers.model.formats import FORMATS
from helpers.model.templates import Pattern, Template, escape, overlap, unescape

ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
ODD = st.text(":%{}-.0aeT\u00e9 25", max_size=8)
LITERAL = st.sampled_from(
    ["", ":", "-", "/", ".", ".:", ":.", "T", "{", "}", "%", "0", "a:", "x", "e", "::", "\u00e9", "%3A"]
)
VALUES: dict[str, Any] = {
    "integer": st.integers(-(2**63), 2**63 - 1).map(str),
    "numeric": st.from_regex(r"\A-?(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,3})?\Z")
    | st.sampled_from(["NaN", "-Infinity"]),
    "float": st.sampled_from(
        ["0.1", "-0", "1e+20", "1e-05", "-1.5e-300", "NaN", "Infinity", "-Infinity", "7"]
    ),
    "boolean": st.sampled_from(["true", "false"]),
    "uuid": st.uuids().map(str),
    "moment": st.datetimes().map(lambda one: one.isoformat(timespec="microseconds")),
    "zoned": st.datetimes().map(lambda one: one.isoformat(timespec="microseconds") + "Z"),
    "date": st.dates().map(str),
    "time": st.times().map(str) | st.just("24:00:00") | st.just("10:00:00.5"),
    "bytes": st.binary(max_size=3).map(lambda one: "\\x" + one.hex()),
    "text": ANY | ODD,
}
"""Canonical texts of each format."""


def pattern(literals: tuple[str, ...], formats: tuple[str, ...], *, in_name: bool) -> Pattern:
    columns = tuple(f"c{n}" for n in range(len(formats)))
    return Pattern(Template(literals, columns), tuple(FORMATS[name] for name in formats), in_name=in_name)


@st.composite
def patterns(draw: Any, most: int = 3) -> Pattern:
    formats = tuple(draw(st.lists(st.sampled_from(sorted(FORMATS)), max_size=most)))
    literals = tuple(draw(LITERAL) for _ in range(len(formats) + 1))
    return pattern(literals, formats, in_name=draw(st.booleans()))


def values(draw: Any, one: Pattern) -> tuple[bytes, ...]:
    return tuple(draw(VALUES[of.name]).encode() for of in one.formats)


# -- as text


@pytest.mark.parametrize(
    ("text", "literals", "columns"),
    [
        ("user:{user_id}", ("user:", ""), ("user_id",)),
        ("{a}{b}", ("", "", ""), ("a", "b")),
        ("{{{a}}}", ("{", "}"), ("a",)),
        ("plain", ("plain",), ()),
        ('{"odd}name"}:x', ("", ":x"), ("odd}name",)),
        ('{"say ""so"""}', ("", ""), ('say "so"',)),
        ("{with space}", ("", ""), ("with space",)),
        ("", ("",), ()),
    ],
)
def test_a_text_is_parsed(text: str, literals: tuple[str, ...], columns: tuple[str, ...]) -> None:
    assert Template.parse(text) == Template(literals, columns)


@pytest.mark.parametrize("text", ["{", "}", "a{b", "{}", "a}b", "{a}}", "{{a}", "{{}", "{a{b}}"])
def test_a_brace_without_a_partner_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"the brace at \d .* is written [{}]{2}$"):
        Template.parse(text)


@given(
    st.lists(
        st.tuples(ODD, st.text(min_size=1, max_size=5) | st.sampled_from(['a"b', "{", "}", '"', "{a}"]))
    ),
    ODD,
)
def test_a_template_is_written_as_it_is_parsed(holes: list[tuple[str, str]], last: str) -> None:
    """Columns come back by their names, in quotes or not."""
    one = Template((*(literal for literal, _ in holes), last), tuple(name for _, name in holes))
    assert Template.parse(str(one)) == one


@given(ANY | ODD)
def test_escapes_come_back(text: str) -> None:
    raw = text.encode()
    assert unescape(escape(raw)) == raw
    assert not re.search(rb"[:{}]", escape(raw))


def test_escapes_are_as_is_told() -> None:
    assert escape(b"a:b%{c}") == b"a%3Ab%25%7Bc%7D"
    assert unescape(b"%253A%3A") == b"%3A:"
    assert unescape(b"%41%3a%") == b"%41%3a%", "what escape never writes stays as it is"


# -- written and read


@given(st.data(), st.sampled_from(sorted(FORMATS)), st.booleans())
def test_each_format_is_what_its_expression_matches(data: Any, name: str, in_name: bool) -> None:
    one = pattern(("k:", ""), (name,), in_name=in_name)
    of = FORMATS[name]
    value = data.draw(VALUES[name])
    assert one.split(one.text([value.encode()])) == (value.encode(),)
    assert re.fullmatch(of.regex, value)
    assert of.letters is None or set(value) <= set(of.letters)
    assert of.width is None or len(value) == of.width


@settings(max_examples=400)
@given(st.data(), patterns())
def test_what_is_not_refused_can_be_split(data: Any, one: Pattern) -> None:
    assume(one.fault() is None)
    given_ = values(data.draw, one)
    assert one.split(one.text(given_)) == given_
    assert re.fullmatch(one.regex().encode(), one.text(given_), re.S)


@given(st.data(), patterns())
def test_two_rows_never_have_the_same_text(data: Any, one: Pattern) -> None:
    assume(one.fault() is None)
    first, second = values(data.draw, one), values(data.draw, one)
    assert (one.text(first) == one.text(second)) == (first == second)


@given(st.binary(max_size=12), patterns(most=2))
def test_what_is_split_is_written_the_same(text: bytes, one: Pattern) -> None:
    found = one.split(text)
    assert found is None or one.text(found) == text


@pytest.mark.parametrize(
    ("literals", "formats", "in_name", "good"),
    [
        (("user:", ":activities"), ("integer",), True, True),
        (("", ":", ""), ("text", "moment"), False, True),
        (("", ":", ""), ("integer", "text"), False, True),
        (("", ":", ""), ("text", "text"), False, True),
        (("", ":", ""), ("text", "text"), True, True),
        (("", "-", ""), ("text", "text"), True, False),
        (("", "", ""), ("text", "moment"), False, True),
        (("", "", ""), ("integer", "integer"), True, False),
        (("", "-", ""), ("integer", "integer"), True, False),
        (("", "/", ""), ("integer", "integer"), True, True),
        (("", "a", ""), ("float", "float"), True, False),
        (("", ":", ""), ("time", "time"), True, True),
        (("", ":", ""), ("time", "text"), False, True),
        (("", ":", ""), ("text", "time"), False, True),
        (("", "", ""), ("time", "time"), True, True),
        (("", ".", ""), ("time", "text"), True, False),
        (("", "", ":"), ("text", "uuid"), True, True),
        (("", "", "", ""), ("date", "text", "uuid"), False, True),
    ],
)
def test_what_can_be_split(
    literals: tuple[str, ...], formats: tuple[str, ...], in_name: bool, good: bool
) -> None:
    fault = pattern(literals, formats, in_name=in_name).fault()
    assert (fault is None) == good, fault
    assert good or ("{c0}" in str(fault) and "put " in str(fault))


# -- names that could be the same


@pytest.mark.slow
@settings(max_examples=400)
@given(st.data(), patterns(), patterns())
def test_two_that_can_make_the_same_text_overlap(data: Any, one: Pattern, other: Pattern) -> None:
    text = one.text(values(data.draw, one))
    if other.split(text) is not None or text == other.text(values(data.draw, other)):
        assert overlap(one, other) and overlap(other, one)


def test_bytes_that_stand_as_they_are_may_be_any_text() -> None:
    raw, hex_ = (pattern(("", ""), ("bytes",), in_name=in_name) for in_name in (False, True))
    for text, in_hex in (":", False), ("\\x3a", True):
        literal = pattern((text,), (), in_name=True)
        assert overlap(raw, literal) and overlap(literal, raw)
        assert overlap(hex_, literal) is in_hex


@given(st.data(), patterns())
def test_a_template_overlaps_itself_with_a_hole_filled(data: Any, one: Pattern) -> None:
    """Of the one, the literal is what the other's hole has as text."""
    text = one.text(values(data.draw, one)).decode()
    assert overlap(one, pattern((text,), (), in_name=True))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("user:{integer}", "user:{integer}:orders", False),
        ("user:{integer}", "user:{text}", True),
        ("user:{text}", "user:{text}:orders", False),
        ("user:{integer}", "users:{integer}", False),
        ("a:{integer}", "a:{uuid}", True),  # in doubt
        ("a:{boolean}", "a:{integer}", True),  # in doubt
        ("a:{integer}", "a:-7", True),
        ("a:{integer}", "a:x", False),
        ("{text}:a", "b:{text}", True),
        ("{text}", "a", True),
        ("{text}", ":", False),
        ("{integer}{text}", "{text}", True),
        ("a:{text}:b", "a:{integer}:{text}", True),
        ("a:{time}", "a:{integer}:{integer}", True),
    ],
)
def test_names_that_could_be_the_same(one: str, other: str, same: bool) -> None:
    def named(text: str) -> Pattern:
        template = Template.parse(text)
        return Pattern(template, tuple(FORMATS[name] for name in template.columns), in_name=True)

    assert overlap(named(one), named(other)) == overlap(named(other), named(one)) == same
