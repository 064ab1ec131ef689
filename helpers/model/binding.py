"""A declared key bound to its table: what does not fit is refused, with the file, the key and the remedy."""

import re
from collections.abc import Iterator, Sequence

from helpers.errors import HelpersError
from helpers.model.declaration import Key, Model
from helpers.model.kinds import SINGLE, KeyKind
from helpers.model.tables import Column, Table
from helpers.model.templates import Pattern, Template
from helpers.text import one_line


def numbered(name: str) -> Iterator[str]:
    """A name, and then the same with numbers from 2 on."""
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def misfit(model: Model, key: Key, why: str) -> HelpersError:
    """The error for a key that does not fit.

    Args:
        model: which it is of, for its file.
        key: as it is declared.
        why: what is wrong with it, and the remedy.
    """
    return HelpersError(one_line(f"{model.where}: key {key.name!r}: {why}"))


def bind(key: Key, table: Table, model: Model, taken: Sequence[str]) -> KeyKind:
    """The kind of key that a declared one is, once its table is known.

    Args:
        key: as it is declared.
        table: its table.
        model: which it is of, for messages.
        taken: names of kinds that are there already.

    Raises:
        HelpersError: it does not fit.
    """

    def column(name: str) -> Column:
        found = table.column(name)
        if found is None:
            names = ", ".join(one.name for one in table.columns)
            raise misfit(model, key, f"table {table.name} has no column {name!r}; it has {names}")
        return found

    def pattern(text: str, option: str) -> Pattern:
        template = Template.parse(text)
        columns = [column(name) for name in template.columns]
        bound = Template(template.literals, tuple(one.name for one in columns))
        found = Pattern(bound, tuple(one.format for one in columns), in_name=option == "name")
        if fault := found.fault():
            raise misfit(model, key, f"{option} {text!r}: {fault}")
        return found

    if not table.keys:
        raise misfit(
            model,
            key,
            f"table {table.name} has no unique key over NOT NULL columns, so that its rows could not be told "
            "apart; give it a primary key, or leave it out",
        )
    name = pattern(key.name, "name")
    value = None if key.value is None else pattern(key.value, "value")
    fields: tuple[tuple[str, Column], ...] = ()
    if value is None:
        pairs = (
            key.fields.items() if key.fields is not None else ((one.name, one.name) for one in table.columns)
        )
        fields = tuple((field_, column(of)) for field_, of in pairs)
    score = None if key.score is None else column(key.score)
    if score is not None and not score.format.scored:
        raise misfit(
            model,
            key,
            f"score {score.name} is of type {score.type}; a score is a number, a date or a time of day",
        )
    order = [column(one).name for one in key.order]
    if key.type == "list" and not any(set(one) <= set(order) for one in table.keys):
        order += [one for one in table.key if one not in order]
    told = set(name.columns) if key.type in SINGLE else {*name.columns, *(value.columns if value else ())}
    if key.type != "list" and not any(set(one) <= told for one in table.keys):
        where = "name does" if key.type in SINGLE else "name and value together do"
        raise misfit(
            model,
            key,
            f"{where} not hold a unique key of {table.name}, so that rows would fall together; it has "
            f"{' or '.join(f'({chr(44).join(one)})' for one in table.keys)}",
        )
    words = re.findall(r"\w+", " ".join(name.template.literals)) or [table.name]
    called = next(one for one in numbered("_".join(words)) if one not in taken)
    type_ = "zset" if key.type == "sorted_set" else key.type
    return KeyKind(called, type_, table, name, fields, value, score, tuple(order))
