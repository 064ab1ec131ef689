"""Users at work: several connections that keep changing the four tables, until they are told to stop."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg2

from helpers.servers import Writer, connections
from helpers.settings import ACTIVITY_TYPES

Operation = Callable[[Any, random.Random], None]
"""Changes something: by statements through a cursor, in a transaction that is under way; a generator chooses
what.
"""


class Traffic:
    """What some writers do.

    Attributes:
        writers: one for each connection.
        done: how often each operation was committed.
    """

    def __init__(self) -> None:
        self.writers: list[Writer] = []
        self.done: Counter[str] = Counter()

    @property
    def committed(self) -> int:
        """Transactions that were committed so far."""
        return sum(write.acknowledged for writer in self.writers for write in writer.writes)

    def refused(self) -> Counter[str]:
        """Errors of transactions that were rolled back, by their first line."""
        return Counter(w.error for writer in self.writers for w in writer.writes if w.error)


@contextmanager
def traffic(
    url: str,
    *,
    operations: Mapping[str, tuple[int, Operation]] | None = None,
    writers: int = 3,
    per_s: float = 100.0,
    seed: int = 42,
) -> Iterator[Traffic]:
    """Change a source while the ``with`` block lasts; each transaction is one to three operations.

    Args:
        url: PostgreSQL URL; the tables have some rows.
        operations: by name, with the weight of each; ``ORDINARY`` when None.
        writers: connections, each in a thread.
        per_s: most transactions a second, of all writers.
        seed: of what each writer chooses; how they meet is chance.
    """
    chosen = operations if operations is not None else ORDINARY
    names, weights = list(chosen), [weight for weight, _ in chosen.values()]
    found = Traffic()

    def write_by(number: int) -> Callable[[int], None]:
        connection = connections.postgres(url)
        stack.callback(connection.close)
        chance = random.Random(f"{seed} {number}")

        def write(_: int) -> None:
            some = chance.choices(names, weights, k=chance.randint(1, 3))
            with connection, connection.cursor() as cursor:
                for name in some:
                    chosen[name][1](cursor, chance)
            found.done.update(some)

        return write

    with ExitStack() as stack:
        for number in range(writers):
            # Two that wait for each other, or for a row that has gone, are of no account here.
            errors = (psycopg2.errors.DeadlockDetected, psycopg2.IntegrityError)
            writer = Writer(write_by(number), errors, per_s=per_s / writers)
            found.writers.append(stack.enter_context(writer))
        yield found


def _some(chance: random.Random, table: str, key: str) -> str:
    """A query for one row's key: the first behind a random number, in about a thousandth of the scan."""
    return (
        f"(SELECT {key} FROM {table} WHERE {key} >= {chance.random():.6f} * (SELECT max({key}) FROM {table}) "
        f"ORDER BY {key} LIMIT 1)"
    )


def _sign_up(cursor: Any, chance: random.Random) -> None:
    """A user comes."""
    cursor.execute("INSERT INTO users (username, created_at) VALUES (%s, now())", (f"n{chance.random()}",))


def _act(cursor: Any, chance: random.Random) -> None:
    """A user does something, now."""
    cursor.execute(
        "INSERT INTO activities (user_id, activity_type, activity_date) VALUES "
        f"({_some(chance, 'users', 'user_id')}, %s, clock_timestamp())",
        (chance.choice(ACTIVITY_TYPES),),
    )


def _report_late(cursor: Any, chance: random.Random) -> None:
    """Something comes to be known that a user did days ago; several things at the same moment."""
    cursor.execute(
        "INSERT INTO activities (user_id, activity_type, activity_date) SELECT "
        f"{_some(chance, 'users', 'user_id')}, t, date_trunc('day', now()) - %s * interval '1 day' "
        "FROM unnest(%s) t",
        (chance.randint(0, 30), chance.choices(ACTIVITY_TYPES, k=3)),
    )


def _move(cursor: Any, chance: random.Random) -> None:
    """An activity turns out to be another user's."""
    cursor.execute(
        f"UPDATE activities SET user_id = {_some(chance, 'users', 'user_id')} "
        f"WHERE activity_id = {_some(chance, 'activities', 'activity_id')}"
    )


def _forget(cursor: Any, chance: random.Random) -> None:
    """An activity is deleted."""
    cursor.execute(f"DELETE FROM activities WHERE activity_id = {_some(chance, 'activities', 'activity_id')}")


def _order(cursor: Any, chance: random.Random) -> None:
    """A user orders something."""
    cursor.execute(
        "INSERT INTO orders (user_id, product_id, order_date, quantity) VALUES "
        f"({_some(chance, 'users', 'user_id')}, {_some(chance, 'products', 'product_id')}, now(), %s)",
        (chance.randint(1, 5),),
    )


def _change_order(cursor: Any, chance: random.Random) -> None:
    """An order becomes one of something else."""
    cursor.execute(
        f"UPDATE orders SET product_id = {_some(chance, 'products', 'product_id')}, quantity = %s "
        f"WHERE order_id = {_some(chance, 'orders', 'order_id')}",
        (chance.choice((None, 1, 2)),),
    )


def _cancel_order(cursor: Any, chance: random.Random) -> None:
    """An order is deleted."""
    cursor.execute(f"DELETE FROM orders WHERE order_id = {_some(chance, 'orders', 'order_id')}")


def _change_address(cursor: Any, chance: random.Random) -> None:
    """A user's address changes, or is forgotten."""
    cursor.execute(
        "UPDATE users SET email = CASE WHEN %s THEN user_id || '@' || clock_timestamp() END "
        f"WHERE user_id = {_some(chance, 'users', 'user_id')}",
        (chance.random() < 0.7,),
    )


def _change_price(cursor: Any, chance: random.Random) -> None:
    """A product's price changes."""
    cursor.execute(
        f"UPDATE products SET price = %s WHERE product_id = {_some(chance, 'products', 'product_id')}",
        (chance.randint(1_000, 9_999) / 100,),
    )


ORDINARY: Mapping[str, tuple[int, Operation]] = {
    "sign up": (2, _sign_up),
    "act": (20, _act),
    "report late": (2, _report_late),
    "move": (3, _move),
    "forget": (2, _forget),
    "order": (6, _order),
    "change order": (3, _change_order),
    "cancel order": (2, _cancel_order),
    "change address": (3, _change_address),
    "change price": (1, _change_price),
}
"""Weight and function of what users of a shop do."""
