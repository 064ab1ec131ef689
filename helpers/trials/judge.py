"""A second judge beside ``verify``: row by row, plain and slow, sharing no code with the migration.

Rows come by SELECT, values by one Redis command a key; both are compared as the Python values that the
model's decoding gives. For small data whose rows the model can all hold, and a target whose ``user:``,
``product:`` and ``order:`` keys are all the migration's.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from helpers import model
from helpers.servers import connections

VERDICTS = ("lost", "doubled", "altered")
_HASHES: Mapping[str, Callable[[int, str], str]] = {
    "users": model.user_key,
    "products": model.product_key,
    "orders": model.order_key,
}
_FIRST = ("user:", "product:", "order:")


def compare(source: str, target: str, *, prefix: str = "") -> dict[str, int]:
    """What is ``lost``, ``doubled`` and ``altered`` in Redis, against PostgreSQL as it is now.

    Counted are hashes, list elements and members of sorted sets. What should not be there counts as
    doubled; a value or an order of elements that is not the source's, and a key of a wrong type, as altered.

    Args:
        source: PostgreSQL URL.
        target: Redis URL.
        prefix: stands before every key.
    """
    client = connections.redis(target, decode_responses=True)
    connection = connections.postgres(source)
    try:
        return _Judge(client, _read_tables(connection), prefix).judge()
    finally:
        connection.close()
        client.close()


def sort(by_problem: dict[str, int]) -> dict[str, int]:
    """The verifier's problems as ``lost``, ``doubled`` (what should not be there) and ``altered``."""
    found = Counter(dict.fromkeys(VERDICTS, 0))
    for problem, number in by_problem.items():
        first = problem.split()[0]
        found["lost" if first == "missing" else "doubled" if first == "extra" else "altered"] += number
    return dict(found)


def _read_tables(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
    """All rows by table, in one snapshot."""
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    rows = {}
    with connection.cursor() as cursor:
        for table, columns in model.COLUMNS.items():
            cursor.execute(f"SELECT {', '.join(columns)} FROM {table}")
            rows[table] = cursor.fetchall()
    return rows


def _decoded(decode: Callable[[Any], Any], held: Any) -> Any:
    """A value from Redis decoded, or as it is when it is nothing that the model writes."""
    try:
        return decode(held)
    except (ValueError, ArithmeticError):
        return held


class _Judge:
    def __init__(self, client: Any, rows: dict[str, list[tuple[Any, ...]]], prefix: str) -> None:
        self.client, self.rows, self.prefix = client, rows, prefix
        self.found: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
        self.expected: set[str] = set()

    def judge(self) -> dict[str, int]:
        for table, key_of in _HASHES.items():
            for row in self.rows[table]:
                self._hash(table, key_of(row[0], self.prefix), row)
        self._activities()
        self._references(model.user_orders_key, 1)
        self._references(model.product_orders_key, 2)
        first = tuple(self.prefix + name for name in _FIRST)
        held = {key for key in self.client.scan_iter(count=1000) if key.startswith(first)}
        self.found["doubled"] += len(held - self.expected)
        return dict(self.found)

    def _hash(self, table: str, key: str, row: tuple[Any, ...]) -> None:
        fields = self._read(key, "hash")
        if fields is None:
            return
        again = _decoded(lambda held: model.decode_row(table, row[0], held), fields)
        # As text, because Decimal("2.9") equals Decimal("2.90").
        if not set(fields) <= set(model.FIELDS[table]) or [*map(str, again)] != [*map(str, row)]:
            self.found["altered"] += 1

    def _activities(self) -> None:
        of_user = defaultdict(list)
        for number, user, kind, date in self.rows["activities"]:
            of_user[user].append((date, number, kind))
        for user, activities in of_user.items():
            activities.sort()
            elements = self._read(model.activities_key(user, self.prefix), "list")
            if elements is not None:
                self._sequence(
                    [(kind, date) for date, _, kind in activities],
                    [_decoded(model.decode_activity, element) for element in elements],
                )
            members = self._read(model.activities_by_time_key(user, self.prefix), "zset")
            if members is not None:
                self._scores(
                    {(number, kind): date for date, number, kind in activities},
                    {_decoded(model.decode_member, member): score for member, score in members.items()},
                )

    def _references(self, key_of: Callable[[int, str], str], column: int) -> None:
        """The sorted sets of orders of a user or product, whose number stands in a column of orders."""
        of_owner: dict[int, dict[int, datetime]] = defaultdict(dict)
        for row in self.rows["orders"]:
            if row[column] is not None and row[3] is not None:
                of_owner[row[column]][row[0]] = row[3]
        for owner, orders in of_owner.items():
            members = self._read(key_of(owner, self.prefix), "zset")
            if members is not None:
                self._scores(orders, {_decoded(int, member): score for member, score in members.items()})

    def _sequence(self, expected: list[Any], actual: list[Any]) -> None:
        wanted, held = Counter(expected), Counter(actual)
        self.found["lost"] += (wanted - held).total()
        self.found["doubled"] += (held - wanted).total()
        if wanted == held:
            self.found["altered"] += sum(a != b for a, b in zip(expected, actual, strict=True))

    def _scores(self, expected: Mapping[Any, datetime], actual: Mapping[Any, float]) -> None:
        self.found["lost"] += len(expected.keys() - actual.keys())
        self.found["doubled"] += len(actual.keys() - expected.keys())
        self.found["altered"] += sum(
            actual[member] != float(model.microseconds(expected[member]))
            for member in expected.keys() & actual.keys()
        )

    def _read(self, key: str, kind: str) -> Any:
        """The value of a key that has to be there; None when it is not, or of another type: noted."""
        self.expected.add(key)
        actual = self.client.type(key)
        if actual != kind:
            self.found["lost" if actual == "none" else "altered"] += 1
            return None
        if kind == "hash":
            return self.client.hgetall(key)
        if kind == "list":
            return self.client.lrange(key, 0, -1)
        return dict(self.client.zrange(key, 0, -1, withscores=True))
