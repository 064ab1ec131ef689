"""Templates: names of keys, elements and members, made of a row's columns and split into them again.

``{column}`` stands for the canonical text of a column, ``{{`` and ``}}`` for braces themselves; a column
whose name has braces in it is quoted as PostgreSQL quotes: ``{"odd}name"}``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from helpers.model.formats import DIGITS, Format

ESCAPES: Mapping[str, str] = {"%": "%25", ":": "%3A", "{": "%7B", "}": "%7D"}
"""What stands in a template for the characters that would be taken for the template's own."""
_WRITTEN = {one.encode(): mark.encode() for one, mark in ESCAPES.items()}
_READ = {mark: one for one, mark in _WRITTEN.items()}
_RESERVED, _MARK = re.compile(b"[%b]" % b"".join(_WRITTEN)), re.compile(b"|".join(_READ))
_ESCAPED = f"(?:[^{''.join(ESCAPES)}]|{'|'.join(ESCAPES.values())})*"


@dataclass(frozen=True)
class Template:
    """A text with holes.

    Attributes:
        literals: what stands before the first hole, between holes, and behind the last.
        columns: the column in each hole.
    """

    literals: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """The template that a text says.

        Raises:
            ValueError: a brace has no partner, or a hole no name.
        """
        literals, columns, at = [""], [], 0
        while at < len(text):
            letter = text[at]
            if text[at : at + 2] in ("{{", "}}"):
                literals[-1] += letter
                at += 2
            elif letter == "{":
                quoted = re.compile(r'\{("(?:[^"]|"")+")\}').match(text, at)
                found = quoted or re.compile(r"\{([^{}]+)\}").match(text, at)
                if found is None:
                    raise ValueError(
                        f"the brace at {at + 1} opens no {{column}}; a brace itself is written {{{{"
                    )
                columns.append(found[1][1:-1].replace('""', '"') if quoted else found[1])
                literals.append("")
                at = found.end()
            elif letter == "}":
                raise ValueError(f"the brace at {at + 1} closes nothing; a brace itself is written }}}}")
            else:
                literals[-1] += letter
                at += 1
        return cls(tuple(literals), tuple(columns))

    def __str__(self) -> str:
        def literal(text: str) -> str:
            return text.replace("{", "{{").replace("}", "}}")

        holes = "".join(
            f"{{{hole(c)}}}{literal(text)}" for c, text in zip(self.columns, self.literals[1:], strict=True)
        )
        return literal(self.literals[0]) + holes


def hole(column: str) -> str:
    """How a column is named in a hole."""
    if column.startswith('"') or set("{}") & set(column):
        return '"' + column.replace('"', '""') + '"'
    return column


@dataclass(frozen=True)
class Pattern:
    """A template whose columns are known: it writes texts, and reads them.

    Attributes:
        template: as it was declared, with the table's names of columns.
        formats: of each hole.
        in_name: it is the name of a key, where every text is escaped; elsewhere only where the template could
            not be split otherwise.
    """

    template: Template
    formats: tuple[Format, ...]
    in_name: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The column in each hole."""
        return self.template.columns

    @cached_property
    def literals(self) -> tuple[bytes, ...]:
        """What stands around the holes."""
        return tuple(text.encode() for text in self.template.literals)

    @cached_property
    def raw(self) -> bool:
        """Whether it is nothing but one column, so that bytes stand in it as they are."""
        return not self.in_name and self.template.literals == ("", "")

    @cached_property
    def escaped(self) -> tuple[bool, ...]:
        """Of each hole, whether its text has ``ESCAPES`` in it."""
        free = [one.letters is None for one in self.formats]
        return tuple(one and (self.in_name or sum(free) > 1) for one in free)

    @cached_property
    def regexes(self) -> tuple[str, ...]:
        """What each hole may hold, as regular expressions."""
        return tuple(
            r"[\s\S]*" if self.raw and one.name == "bytes" else _ESCAPED if escaped else one.regex
            for one, escaped in zip(self.formats, self.escaped, strict=True)
        )

    @cached_property
    def _regex(self) -> "re.Pattern[bytes]":
        return re.compile(self.regex(groups=True).encode(), re.S)

    def regex(self, *, groups: bool = False) -> str:
        """A regular expression that texts of the template match as a whole.

        Args:
            groups: with a group for each hole.
        """
        mark = "(" if groups else "(?:"
        holes = (f"{mark}{regex})" for regex in self.regexes)
        literals = [re.escape(text) for text in self.template.literals]
        return literals[0] + "".join(h + text for h, text in zip(holes, literals[1:], strict=True))

    def text(self, values: Sequence[bytes]) -> bytes:
        """The text of some values.

        Args:
            values: the canonical text of each hole's column; none is NULL.
        """
        found = [self.literals[0]]
        for value, escaped, literal in zip(values, self.escaped, self.literals[1:], strict=True):
            found += (escape(value) if escaped else value, literal)
        return b"".join(found)

    def split(self, text: bytes) -> tuple[bytes, ...] | None:
        """The values of a text, as ``text`` takes them; None when it is none of this template."""
        found = self._regex.fullmatch(text)
        if found is None:
            return None
        return tuple(
            unescape(value) if escaped else value
            for value, escaped in zip(found.groups(), self.escaped, strict=True)
        )

    def fault(self) -> str | None:
        """Why its texts could not be split again, with the remedy; None when they can."""
        left, right = 0, len(self.formats)
        while left < right and self._ends(left, self.template.literals[left + 1][:1]):
            left += 1
        while right > left and self._begins(right - 1, self.template.literals[right - 1][-1:]):
            right -= 1
        if right - left <= 1:
            return None
        first, second = self.columns[left : left + 2]
        between = self.template.literals[left + 1]
        if not between:
            return f"nothing stands between {{{hole(first)}}} and {{{hole(second)}}}; put a colon there"
        return (
            f"{between!r} may be part of {{{hole(first)}}} or {{{hole(second)}}}, so that the text could not "
            "be split again; put a colon there"
        )

    def _ends(self, place: int, beside: str) -> bool:
        """Whether a hole's end is known by its width or by the character behind it."""
        if self.formats[place].name == "time":  # 10:00:00 may go on by a fraction alone
            return bool(beside) and beside not in "." + DIGITS
        return self._begins(place, beside)

    def _begins(self, place: int, beside: str) -> bool:
        """Whether a hole's beginning is known by its width or by the character before it."""
        one = self.formats[place]
        if one.width is not None or one.name == "time":  # its last three characters tell how long it is
            return True
        if not beside:
            return False
        if self.escaped[place]:
            return beside in ":{}"
        return one.letters is not None and beside not in one.letters


def escape(value: bytes) -> bytes:
    """A text with ``ESCAPES``."""
    return _RESERVED.sub(lambda found: _WRITTEN[found[0]], value)


def unescape(value: bytes) -> bytes:
    """The text that ``escape`` was given."""
    return _MARK.sub(lambda found: _READ[found[0]], value)


def overlap(one: Pattern, other: Pattern) -> bool:
    """Whether a text might be of both templates; True also in doubt.

    Args:
        one: a template.
        other: another, or one that stands for names to be left alone.
    """
    (head, *_), (begin, *_) = one.template.literals, other.template.literals
    (*_, tail), (*_, end) = one.template.literals, other.template.literals
    if not (head.startswith(begin) or begin.startswith(head)) or not (
        tail.endswith(end) or end.endswith(tail)
    ):
        return False  # so it is mostly, and models of many keys compare each with each
    a, b = _elements(one), _elements(other)
    reached, waiting = {(0, 0)}, [(0, 0)]

    def go(i: int, j: int) -> None:
        if (i, j) not in reached:
            reached.add((i, j))
            waiting.append((i, j))

    while waiting:
        i, j = waiting.pop()
        if i == len(a) and j == len(b):
            return True
        if i < len(a) and isinstance(a[i], _Many):
            go(i + 1, j)
        if j < len(b) and isinstance(b[j], _Many):
            go(i, j + 1)
        if i < len(a) and j < len(b) and _meet(a[i], b[j]):
            go(i if isinstance(a[i], _Many) else i + 1, j if isinstance(b[j], _Many) else j + 1)
    return False


@dataclass(frozen=True)
class _Many:
    """Any number of some letters; of any, but for those left out, when ``letters`` is None."""

    letters: frozenset[str] | None
    without: frozenset[str] = frozenset()

    def has(self, letter: str) -> bool:
        return letter in self.letters if self.letters is not None else letter not in self.without


_Element = str | _Many


def _elements(pattern: Pattern) -> list[_Element]:
    found: list[_Element] = list(pattern.template.literals[0])
    for one, escaped, literal in zip(
        pattern.formats, pattern.escaped, pattern.template.literals[1:], strict=True
    ):
        if escaped:
            found.append(_Many(None, frozenset(":{}")))
        elif one.letters is None or (pattern.raw and one.name == "bytes"):
            found.append(_Many(None))
        else:
            found.append(_Many(frozenset(one.letters)))
        found += list(literal)
    return found


def _meet(one: _Element, other: _Element) -> bool:
    if isinstance(one, str):
        return one == other if isinstance(other, str) else other.has(one)
    return isinstance(other, str) and one.has(other)  # of two of any number, none is enough
