"""A model as it is declared: which keys there are, of which type, and what of which table each holds.

It is TOML, or built in Python and written as TOML::

    >>> users = Key("user:{user_id}", "hash", "users", fields={"username": "username", "mail": "email"})
    >>> print(Model([users]).toml())
    [[key]]
    name = "user:{user_id}"
    type = "hash"
    table = "users"
    fields = { username = "username", mail = "email" }
    <BLANKLINE>

What the tables must be for it is looked at elsewhere (``binding``): here nothing is known of them.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from helpers.errors import HelpersError, first_line
from helpers.model.templates import Template
from helpers.text import one_line

TYPES: Mapping[str, tuple[str, ...]] = {
    "hash": ("fields",),
    "string": ("value", "fields"),
    "list": ("value", "order"),
    "set": ("value",),
    "sorted_set": ("value", "score"),
}
"""The types of keys, with the options of each beside ``name``, ``type`` and ``table``."""
DATES = ("text", "iso")
"""What becomes of a moment or date without a form in ISO 8601 that stands in a field: PostgreSQL's own text,
or the row is rejected, so that readers find no other form."""
_LONG = 100


@dataclass(frozen=True)
class Key:
    """One kind of key.

    Attributes:
        name: template of its name.
        type: one of ``TYPES``.
        table: whose rows it holds, as PostgreSQL quotes: ``users``, ``sales.orders``, ``"Odd name"``.
        fields: of a hash, or of a string that is a JSON object: the column in each field; None for every
            column.
        value: template of an element, a member or a string.
        score: of a sorted set: the column.
        order: of a list: the columns by which its elements stand.
    """

    name: str
    type: str
    table: str
    fields: Mapping[str, str] | None = None
    value: str | None = None
    score: str | None = None
    order: Sequence[str] = ()


@dataclass(frozen=True)
class Model:
    """Which keys Redis holds.

    Attributes:
        keys: at least one.
        dates: one of ``DATES``.
        where: where it was read, for messages.

    Raises:
        HelpersError: a key is not what its type asks for.
    """

    keys: Sequence[Key]
    dates: str = "text"
    where: str = field(default="model", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(self.keys))
        if not self.keys:
            raise HelpersError(f"{self.where}: it has no key; a model has at least one [[key]]")
        if self.dates not in DATES:
            raise HelpersError(f'{self.where}: dates is {self.dates!r}; it is "text" or "iso"')
        for number, key in enumerate(self.keys, 1):
            if fault := _fault(key):
                raise HelpersError(one_line(f"{self.where}: {_called(key.name, number)}: {fault}"))

    def toml(self) -> str:
        """The same as TOML, which ``load`` reads."""
        head = f"dates = {_quoted(self.dates)}\n\n" if self.dates != "text" else ""
        return head + "\n".join(map(_toml, self.keys))


def load(model: "Model | str | Path | None" = None) -> Model:
    """The model that is meant.

    Args:
        model: a model; a path to a file; the text of one (it has a line break); the course's when None.

    Raises:
        HelpersError: it cannot be read, or is none: one line that names the file, the key and the remedy.
    """
    if isinstance(model, Model):
        return model
    if model is None:
        return parse(course(), "the course's model")
    if isinstance(model, str) and "\n" in model:
        return parse(model, "model")
    where = one_line(str(model))
    try:
        text = Path(model).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise HelpersError(
            f"{where}: byte {error.start + 1} is no UTF-8; save the file in that encoding"
        ) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise HelpersError(f"{where}: {why}; give the path of a model, which `model` proposes") from error
    return parse(text, where)


def course() -> str:
    """The course's model as TOML."""
    return Path(__file__).with_name("course.toml").read_text(encoding="utf-8")


def parse(text: str, where: str) -> Model:
    """The model of a TOML text.

    Args:
        text: TOML.
        where: the file, for messages.

    Raises:
        HelpersError: it is none.
    """
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise HelpersError(f"{where}: no TOML: {first_line(error)}; mend it there") from error
    if more := sorted(found.keys() - {"key", "dates"}):
        raise HelpersError(f"{where}: unknown option {more[0]!r}; a model has [[key]] and dates")
    keys = found.get("key", [])
    if not isinstance(keys, list) or not all(isinstance(one, dict) for one in keys):
        raise HelpersError(f"{where}: key is no list of tables; begin each key with a line [[key]]")
    return Model([_key(one, where, i) for i, one in enumerate(keys, 1)], found.get("dates", "text"), where)


def _key(found: Mapping[str, Any], where: str, number: int) -> Key:
    called = f"{where}: {_called(found.get('name'), number)}"
    for option in ("name", "type", "table"):
        if option not in found:
            raise HelpersError(f'{called}: it has no {option}; add {option} = "..."')
    for option, value in found.items():
        if option not in ("name", "type", "table", "fields", "value", "score", "order"):
            of_type = TYPES.get(str(found["type"]), ())
            raise HelpersError(
                f"{called}: unknown option {option!r}; a {found['type']} has "
                f"{', '.join(('name', 'type', 'table', *of_type))}"
            )
        if option not in ("fields", "order") and not isinstance(value, str):
            raise HelpersError(f"{called}: {option} is no text; put it in quotes")
    order = found.get("order", [])
    if not isinstance(order, list) or not all(isinstance(column, str) for column in order):
        raise HelpersError(f'{called}: order is no list of columns; write order = ["column", "column"]')
    fields = _fields(found["fields"], called) if "fields" in found else None
    return Key(
        found["name"],
        found["type"],
        found["table"],
        fields,
        found.get("value"),
        found.get("score"),
        tuple(order),
    )


def _fields(found: Any, called: str) -> dict[str, str]:
    """The column of each field."""
    pairs: list[tuple[str, Any]] = []
    for one in found if isinstance(found, list) else [found]:
        pairs += one.items() if isinstance(one, dict) else [(one, one)]
    names = [name for name, _ in pairs]
    if not all(isinstance(name, str) and isinstance(column, str) for name, column in pairs):
        raise HelpersError(
            f'{called}: fields are no columns; write fields = ["column"], or fields = {{ name = "column" }}'
        )
    for name in names:
        if names.count(name) > 1:
            raise HelpersError(f"{called}: field {name!r} is there twice; leave one out")
    return dict(pairs)


def _called(name: Any, number: int) -> str:
    return f"key {name!r}" if isinstance(name, str) else f"key {number}"


def _fault(key: Key) -> str | None:
    """What is wrong with a key, with the remedy; None when nothing is."""
    if key.type not in TYPES:
        return f"unknown type {key.type!r}; it is one of {', '.join(TYPES)}"
    allowed = TYPES[key.type]
    given = {"fields": key.fields is not None, "value": key.value is not None, "score": key.score is not None}
    given["order"] = bool(key.order)
    for option, there in given.items():
        if there and option not in allowed:
            return f"a {key.type} has no {option}; take it out, or change the type"
    if key.type == "string" and given["value"] and given["fields"]:
        return "a string has value or fields, not both; take one out"
    for option in ("value", "score"):
        if option in allowed and not given[option] and key.type != "string":
            return f"a {key.type} needs {option}; add it"
    if key.fields is not None and not key.fields:
        return "fields is empty; name a column, or leave fields out for every column"
    for option, text in (("name", key.name), ("value", key.value)):
        if text is not None:
            try:
                Template.parse(text)
            except ValueError as error:
                return f"{option} {text!r}: {error}"
    texts = [
        key.name,
        key.table,
        key.value or "",
        key.score or "",
        *key.order,
        *chain(*(key.fields or {}).items()),
    ]
    if any("\ud800" <= letter <= "\udfff" for letter in "".join(map(str, texts))):
        return "it has a lone surrogate, which is no text in UTF-8; take it out"
    return "name is empty; give the key a name" if not key.name else None


def _quoted(text: str) -> str:
    """A string of TOML: one without escapes where it has quotes in it and that can be."""
    if '"' in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _bare(name: str) -> str:
    """A key of TOML."""
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _quoted(name)


def _toml(key: Key) -> str:
    lines = [
        "[[key]]",
        f"name = {_quoted(key.name)}",
        f"type = {_quoted(key.type)}",
        f"table = {_quoted(key.table)}",
    ]
    if key.fields is not None:
        pairs = key.fields.items()
        if all(name == column for name, column in pairs):
            lines.append(_array("fields", list(key.fields)))
        else:
            lines.append(f"fields = {{ {', '.join(f'{_bare(n)} = {_quoted(c)}' for n, c in pairs)} }}")
    for option in ("value", "score"):
        if (value := getattr(key, option)) is not None:
            lines.append(f"{option} = {_quoted(value)}")
    if key.order:
        lines.append(_array("order", key.order))
    return "\n".join(lines) + "\n"


def _array(option: str, texts: Sequence[str]) -> str:
    """An option that is a list, in several lines where one would be long."""
    lines = [""]
    for text in map(_quoted, texts):
        if len(lines[-1]) + len(text) > _LONG:
            lines.append("")
        lines[-1] += f"{text}, "
    if len(lines) == 1:
        return f"{option} = [{lines[0][:-2]}]"
    return f"{option} = [\n" + "".join(f"  {line.rstrip()}\n" for line in lines if line) + "]"
