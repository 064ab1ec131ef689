"""What changes of rows come to in Redis: from old and new rows to one script call.

Redis holds for a row what ``model`` says, or nothing when the row is rejected. So an update takes away what
the old row had there and puts what the new one has; which of both is nothing does not matter. Of several
changes of one row only the first old row and the last new one count.

The place of an activity in its list is the number of activities before it, which the sorted set tells; only
Redis knows that at the moment of writing, hence a script. It also answers for the whole: the position is
written only when everything else was, because ``EXEC`` goes on after an error.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files

from helpers import model
from helpers.errors import HelpersError
from helpers.source import pgoutput
from helpers.target import encode

SCRIPT = files("helpers.migration").joinpath("effects.lua").read_bytes()
KINDS: Mapping[str, tuple[str, ...]] = {
    "users": ("user",),
    "products": ("product",),
    "orders": ("order", "user_orders", "product_orders"),
    "activities": ("user_activities", "user_activities_by_time"),
}
"""Kinds of keys that hold what a table's rows come to."""
REFERENCES = (("user_id", model.user_orders_key), ("product_id", model.product_orders_key))
Row = tuple[str | None, ...]
Activity = tuple[int, int, str, str]
"""(microseconds since 1970, activity_id, member, element): sorted, they are in the order of the list."""


def texts(values: pgoutput.Values) -> Row:
    """The values as text; bytes that are no UTF-8 stay as surrogates."""
    return tuple(None if value is None else value.decode("utf-8", "surrogateescape") for value in values)


def canonical(date: str) -> str:
    """ISO 8601 of fixed width of a date as PostgreSQL writes it."""
    day, _, clock = date.partition(" ")
    return f"{day}T{clock}{'.' if len(clock) == 8 else ''}".ljust(model.DATE_WIDTH, "0")


class Effects:
    """Changes that are not in Redis yet.

    Args:
        prefix: the prefix of the migration.

    Attributes:
        changes: how many there are of each table.
        held: by how much the number of rows of each table that Redis holds changes.
        rejected: by how much the number of rejected rows of each table changes.
        rejects: (table, reason, row) of each new row that cannot be held.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._rows: dict[tuple[str, str], tuple[Row | None, Row | None]] = {}
        self.changes: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.rejects: list[tuple[str, str, Row]] = []

    def change(self, table: str, old: Row | None, new: Row | None) -> None:
        """Note a change, in the order of the source's log.

        Args:
            table: one of ``model.TABLES``.
            old: the row before, values as text in the order of ``model.COLUMNS[table]``; None for an insert.
            new: the row afterwards; None for a delete.
        """
        self.changes[table] += 1
        before = self._holdable(table, old, -1)
        after = self._holdable(table, new, 1)
        for row, is_new in ((old, False), (new, True)):
            if row is not None:
                key = (table, str(row[0]))
                first = self._rows[key][0] if key in self._rows else None if is_new else before
                self._rows[key] = (first, after if is_new else None)

    def _holdable(self, table: str, row: Row | None, count: int) -> Row | None:
        """The row when Redis holds it, else None; counted."""
        if row is None:
            return None
        reason = model.reject_reason(table, row)
        if reason is None:
            self.held[table] += count
            return row
        self.rejected[table] += count
        if count > 0:
            self.rejects.append((table, reason, row))
        return None

    def command(self, state_key: bytes, fields: Mapping[str, str]) -> bytes:
        """The script call that brings all of it to Redis, and sets fields of the state, in RESP.

        Args:
            state_key: the hash that holds the state.
            fields: its fields to set, with their values.

        Raises:
            HelpersError: whether a row can be held depends on others (see ``inexact_date``).
        """
        words: list[bytes | str | int] = [state_key, 2 * len(fields)]
        for pair in fields.items():
            words += pair
        removed: dict[str, list[Activity]] = defaultdict(list)
        added: dict[str, list[Activity]] = defaultdict(list)
        for (table, number), (old, new) in self._rows.items():
            if old == new:
                continue
            if table == "activities":
                for row, by_user in ((old, removed), (new, added)):
                    if row is not None:
                        by_user[str(row[1])].append(_activity(row))
                continue
            words += self._hash(table, number, old, new)
            if table == "orders":
                words += self._references(number, old, new)
        for user in {**removed, **added}:
            words += self._timeline(user, removed[user], added[user])
        return encode("EVAL", SCRIPT, 0, *words)

    def _hash(self, table: str, number: str, old: Row | None, new: Row | None) -> list[str | int]:
        key = f"{self._prefix}{table[:-1]}:{number}"
        words: list[str | int] = [] if old is None else ["C", 2, "DEL", key]
        if new is not None:
            fields: list[str] = []
            for column, field, value in zip(
                model.COLUMNS[table][1:], model.FIELDS[table], new[1:], strict=True
            ):
                if value is not None:
                    fields += (field, canonical(value) if column in model.DATES else value)
            words += ["C", 2 + len(fields), "HSET", key, *fields]
        return words

    def _references(self, number: str, old: Row | None, new: Row | None) -> list[str | int]:
        words: list[str | int] = []
        for column, key_of in REFERENCES:
            before, after = (_reference(row, column) for row in (old, new))
            if before == after:
                continue
            if before is not None:
                words += ["C", 3, "ZREM", key_of(int(before[0]), self._prefix), number]
            if after is not None:
                words += ["C", 4, "ZADD", key_of(int(after[0]), self._prefix), after[1], number]
        return words

    def _timeline(
        self, user: str, removed: Sequence[Activity], added: Sequence[Activity]
    ) -> list[bytes | str | int]:
        both = set(removed) & set(added)  # such as a key that went away and came back
        gone = [activity for activity in removed if activity not in both]
        come = sorted(activity for activity in added if activity not in both)
        if not gone and not come:
            return []
        number = int(user)
        words: list[bytes | str | int] = ["T", model.activities_key(number, self._prefix)]
        words += [model.activities_by_time_key(number, self._prefix), len(gone), len(come)]
        for activity in (*gone, *come):
            words += activity
        return words


def _reference(row: Row | None, column: str) -> tuple[str, int] | None:
    """(owner, score) of an order in the sorted set of its user or product, None when it has none."""
    if row is None:
        return None
    named = dict(zip(model.COLUMNS["orders"], row, strict=True))
    owner, date = named[column], named["order_date"]
    return (owner, _microseconds(date)) if owner is not None and date is not None else None


def _activity(row: Row) -> Activity:
    number, _, kind, date = (str(value) for value in row)
    moment = _microseconds(date)
    if abs(moment) >= model.EXACT_SCORE and int(float(moment)) != moment:
        raise HelpersError(model.inexact_date(number))
    return moment, int(number), f"{number}:{kind}", f"{kind}:{canonical(date)}"


def _microseconds(date: str) -> int:
    return model.microseconds(datetime.fromisoformat(canonical(date)))
