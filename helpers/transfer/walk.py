"""The walk: every row of the source's snapshot, against what the target holds for it.

It shares no code with the writer's fast way. The writer takes COPY's text and PostgreSQL's own date text; the
walk takes COPY's binary format and makes dates from its 64-bit integers. The replies that Redis must give are
computed as bytes and compared whole; only where they differ are they parsed and looked at one by one.

With a mender, what differs is put right; that is how a migration catches up with a source that changed.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
import numpy as np

from helpers import model, resp
from helpers.resp import bulk, encode
from helpers.transfer import target
from helpers.transfer.conveyor import Conveyor
from helpers.transfer.differences import Differences
from helpers.transfer.source import IN_RANGE, KEPT, Source

CHUNK_ROWS = 5000
CHUNK_BYTES = 2 << 20
PG_EPOCH_US = 946_684_800_000_000
"""Microseconds from 1970 to 2000, from which PostgreSQL counts."""
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
NULL = -1
EDGES = (-62_135_596_800_000_000, 253_402_300_800_000_000)
"""The years 1 and 10000 in microseconds since 1970."""

REFERENCES = (("user_orders", "user"), ("product_orders", "product"))
HASH_QUERIES = {
    "users": "SELECT user_id::int8, username, email, created_at FROM users",
    "products": "SELECT product_id::int8, product_name, price::text FROM products",
    "orders": "SELECT order_id::int8, user_id::int8, product_id::int8, order_date, quantity::int8 FROM "
    "orders",
}
ACTIVITY_QUERY = (
    "SELECT user_id::int8, activity_date, activity_id::int8, activity_type FROM activities "
    f"WHERE {KEPT['activities']} ORDER BY user_id, activity_date, activity_id"
)

Look = Callable[[list[Any]], None]
Chunk = tuple[bytes, bytes, Look, int]
Mender = Callable[[list[bytes]], object]


def iso(numbers: Iterable[int]) -> list[bytes]:
    """ISO 8601 of fixed width for microseconds since 1970."""
    array = np.array(list(numbers), dtype="int64").view("datetime64[us]")
    return np.datetime_as_string(array, unit="us").astype("S26").tolist()  # type: ignore[no-any-return]


def fields(row: bytes) -> list[bytes | None]:
    """The values of a row in COPY's binary format, undecoded."""
    at, values = 2, []
    for _ in range(struct.unpack_from(">h", row)[0]):
        (size,) = struct.unpack_from(">i", row, at)
        at += 4
        values.append(None if size == NULL else row[at : at + size])
        at += max(size, 0)
    return values


def whole(value: bytes) -> int:
    """The number of a binary int8, or the count of a binary timestamp."""
    return int.from_bytes(value, "big", signed=True)


class Walk:
    """Compares one snapshot with one target.

    Args:
        source: the snapshot.
        connection: the target.
        prefix: the prefix of the migration.
        differences: where each difference is noted.
        mender: runs commands that put a difference right; None to look only.
        advance: told how many rows were walked, for a progress bar.
        idle: called now and then while PostgreSQL sorts.
    """

    def __init__(
        self,
        source: Source,
        connection: resp.Connection,
        prefix: str,
        differences: Differences,
        *,
        mender: Mender | None = None,
        advance: Callable[[int], object] = lambda rows: None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.source, self.connection, self.prefix = source, connection, prefix.encode()
        self.text_prefix = prefix
        self.differences, self.mender, self.advance, self.idle = differences, mender, advance, idle
        self.rows: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.missing = 0
        self._suspects: set[bytes] = set()
        self._mending: list[bytes] = []

    def run(self) -> None:
        """Walk the four tables, the cardinalities, and the keys that should not be there."""
        for table in ("users", "products", "orders"):
            self._table(HASH_QUERIES[table], lambda rows, table=table: self._hashes(table, rows))  # type: ignore[misc]
        for kind, owner in REFERENCES:
            self._table(
                f"SELECT {owner}_id::int8, count(*)::int8 FROM orders WHERE {owner}_id IS NOT NULL "
                f"AND order_date IS NOT NULL AND {IN_RANGE.format('order_date')} GROUP BY {owner}_id",
                lambda rows, kind=kind, owner=owner: self._cardinalities(kind, owner, rows),  # type: ignore[misc]
            )
        self._activities()
        self._extra_keys()

    def _table(self, query: str, chunk_of: Callable[[list[bytes]], Chunk | None]) -> None:
        """Stream a query, make a chunk of every few thousand rows, compare it in another thread."""
        rows: list[bytes] = []
        size = 0
        with Conveyor(self._compare, self.idle) as conveyor:

            def flush() -> None:
                nonlocal size
                chunk = chunk_of(rows) if rows else None
                if chunk is not None:
                    conveyor.put(chunk)
                rows.clear()
                size = 0

            def write(row: bytes) -> None:
                nonlocal size
                if row.startswith(SIGNATURE):  # it comes in one piece with the first row
                    row = row[len(SIGNATURE) + 8 :]
                if len(row) > 2:
                    rows.append(row)
                    size += len(row)
                    if len(rows) >= CHUNK_ROWS or size > CHUNK_BYTES:
                        flush()

            self.source.stream(query, write, binary=True)
            flush()

    def _compare(self, chunk: Chunk) -> None:
        commands, expected, look, rows = chunk
        self.idle()
        raw = self.connection.exchange(commands)
        if raw != expected:
            look(resp.parse(raw))
            self._finish_mending()
        self.advance(rows)

    def _mend(self, *commands: bytes) -> None:
        if self.mender is not None:
            self._mending += commands

    def _finish_mending(self) -> None:
        if self.mender is not None and self._mending:
            self.mender(self._mending)
            self._mending = []

    def _note(self, key: bytes, field: Any, expected: Any, actual: Any, problem: str) -> None:
        self.differences.add(key, field, expected, actual, problem)

    def _wrong_type(self, key: bytes, expected: str, reply: hiredis.ReplyError) -> None:
        if not str(reply).startswith("WRONGTYPE"):
            raise self.connection.refused(reply, "verify")
        found = self.connection.call("TYPE", key)
        self._note(key, None, expected, found, "wrong type")
        self._mend(encode("DEL", key))

    # -- hashes and references back
    # ------------------------------------------------------------------------------

    def _decoded(self, table: str, rows: list[bytes]) -> list[list[Any]]:
        """Rows with their key as a number, dates as a number (None when NULL), everything else as it is."""
        names = ("", *model.FIELDS[table])
        ints = {0} | {i for i, name in enumerate(names) if name in ("user_id", "product_id", "quantity")}
        dates = {i for i, name in enumerate(names) if name in ("created_at", "order_date")}
        if table == "orders" and all(len(row) == 62 for row in rows):  # no NULL: a table of fixed width
            kind = np.dtype(
                [("n", ">i2")] + [(f"{a}{i}", b) for i in range(5) for a, b in (("l", ">i4"), ("v", ">i8"))]
            )
            array = np.frombuffer(b"".join(rows), dtype=kind)
            columns = [array[f"v{i}"].astype("int64").tolist() for i in range(5)]
            return [list(row) for row in zip(*columns, strict=True)]
        out = []
        for row in rows:
            values: list[Any] = fields(row)
            for i in ints | dates:
                values[i] = None if values[i] is None else whole(values[i])
            out.append(values)
        return out

    def _hashes(self, table: str, rows: list[bytes]) -> Chunk | None:
        decoded = self._decoded(table, rows)
        self.rows[table] += len(decoded)
        kind = table[:-1]
        names = [name.encode() for name in model.FIELDS[table]]
        date = {"users": 3, "orders": 3}.get(table)
        kept: list[list[Any]] = []
        absent: list[bytes] = []
        for row in decoded:
            moment = None
            if date is not None and row[date] is not None:
                row[date] += PG_EPOCH_US
                moment = row[date]
            if all(value is None for value in row[1:]) or (
                moment is not None and not EDGES[0] <= moment < EDGES[1]
            ):
                self.rejects[table] += 1
                absent.append(b"%b%b:%d" % (self.prefix, kind.encode(), row[0]))
            else:
                kept.append(row)
        self.keys[kind] += len(kept)
        moments: list[int] = []
        if date is not None:
            known = iter(iso([row[date] for row in kept if row[date] is not None]))
            moments = [row[date] for row in kept]
            for row in kept:
                row[date] = None if row[date] is None else next(known)
        commands, expected, items = [], [], []
        head = self.prefix + kind.encode() + b":"
        labels = [bulk(name) for name in names]
        for row in kept:
            key = b"%b%d" % (head, row[0])
            values = [v if v is None or v.__class__ is bytes else b"%d" % v for v in row[1:]]
            answer = [label + bulk(v) for label, v in zip(labels, values, strict=True) if v is not None]
            commands.append(b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%b\r\n" % (len(key), key))
            expected.append(b"*%d\r\n%b" % (2 * len(answer), b"".join(answer)))
            items.append((key, values))
        groups: dict[bytes, list[tuple[bytes, bytes]]] = {}
        if table == "orders":
            for row, number in zip(kept, moments, strict=True):
                if number is not None:
                    pair = (b"%d" % row[0], b"%d" % number)
                    for owner, number_of in ((b"user", row[1]), (b"product", row[2])):
                        if number_of is not None:
                            groups.setdefault(b"%b%b:%d:orders" % (self.prefix, owner, number_of), []).append(
                                pair
                            )
            for key, pairs in groups.items():
                commands.append(_zmscore(key, [member for member, _ in pairs]))
                expected.append(_scores([score for _, score in pairs]))
        for key in absent:
            commands.append(encode("EXISTS", key))
            expected.append(b":0\r\n")

        def look(replies: list[Any]) -> None:
            answers = iter(replies)
            for key, values in items:
                self._hash(key, names, values, next(answers))
            for key, pairs in groups.items():
                if not self._members(key, pairs, next(answers)):
                    self._suspects.add(key)
            for key in absent:
                if next(answers):
                    self._note(key, None, None, "present", "extra key")
                    self._mend(encode("UNLINK", key))

        return b"".join(commands), b"".join(expected), look, len(decoded)

    def _hash(self, key: bytes, names: list[bytes], values: list[bytes | None], reply: Any) -> None:
        wanted = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        rewrite = [encode("DEL", key), encode("HSET", key, *(w for pair in wanted.items() for w in pair))]
        if isinstance(reply, hiredis.ReplyError):
            self._wrong_type(key, "hash", reply)
            self._mend(*rewrite)
            return
        actual = dict(zip(reply[::2], reply[1::2], strict=True))
        if actual == wanted:
            return
        if not actual:
            self.missing += 1
            self._note(key, None, "hash", None, "missing key")
        else:
            for name in {**wanted, **actual}:
                if wanted.get(name) != actual.get(name):
                    problem = (
                        "missing field"
                        if name not in actual
                        else "extra field"
                        if name not in wanted
                        else "altered field"
                    )
                    self._note(key, name, wanted.get(name), actual.get(name), problem)
        self._mend(*rewrite)

    def _members(self, key: bytes, pairs: list[tuple[bytes, bytes]], reply: Any) -> bool:
        """Compare the scores of some members of a sorted set; True when all are as they should be."""
        if isinstance(reply, hiredis.ReplyError):
            self._wrong_type(key, "zset", reply)
            reply = [None] * len(pairs)
            quiet = True
        else:
            quiet = False
        wrong = []
        for (member, score), actual in zip(pairs, reply, strict=True):
            if actual is None or float(actual) != float(score):
                wrong.append((member, score))
                if not quiet:
                    problem = "missing member" if actual is None else "wrong score"
                    self._note(key, member, score, actual, problem)
        if wrong:
            self._mend(encode("ZADD", key, *(w for member, score in wrong for w in (score, member))))
        return not wrong and not quiet

    def _cardinalities(self, kind: str, owner: str, rows: list[bytes]) -> Chunk | None:
        counts = [(whole(row[6:14]), whole(row[18:26])) for row in rows]
        self.keys[kind] += len(counts)
        keys = [b"%b%b:%d:orders" % (self.prefix, owner.encode(), number) for number, _ in counts]
        commands = b"".join(b"*2\r\n$5\r\nZCARD\r\n$%d\r\n%b\r\n" % (len(key), key) for key in keys)

        def look(replies: list[Any]) -> None:
            for key, (number, wanted), reply in zip(keys, counts, replies, strict=True):
                if isinstance(reply, int) and (reply > wanted or key in self._suspects):
                    self._extra_members(key, f"{owner}_id", number, "orders", "order_id")

        look_anyway = bool(self._suspects.intersection(keys))
        expected = b"" if look_anyway else b"".join(b":%d\r\n" % wanted for _, wanted in counts)
        return commands, expected, look, 0

    def _extra_members(self, key: bytes, owner: str, number: int, table: str, column: str) -> None:
        """Find the members that the source has not, by ZSCAN and questions to the snapshot."""
        cursor = b"0"
        while True:
            cursor, flat = self.connection.call("ZSCAN", key, cursor, "COUNT", 1000)
            members = dict(zip(flat[::2], flat[1::2], strict=True))
            ids: dict[bytes, int] = {}
            for member in members:
                head = member.split(b":", 1)[0]
                if head.lstrip(b"-").isdigit() and len(head) < 19:
                    ids[member] = int(head)
            query = f"SELECT {column}"
            if table == "activities":
                query += ", activity_type"
            condition = KEPT[table] if table == "activities" else "order_date IS NOT NULL AND " + KEPT[table]
            found = self.source.ask(
                f"{query} FROM {table} WHERE {owner} = %s AND {column} = ANY(%s) AND {condition}",
                (number, list(ids.values())),
            )
            right = {":".join(str(part) for part in row).encode() for row in found}
            extra = [member for member in members if member not in right]
            for member in extra:
                self._note(key, member, None, members[member], "extra member")
            if extra:
                self._mend(encode("ZREM", key, *extra))
            if cursor == b"0":
                return

    # -- activities
    # ----------------------------------------------------------------------------------------------

    def _activities(self) -> None:
        self.rows["activities"] = self.source.ask("SELECT count(*) FROM activities")[0][0]
        order = model.ScoreOrder()
        kept = 0
        open_user: int | None = None
        length = 0
        suspect: set[int] = set()
        unpack = struct.Struct(">hiqiqiqi").unpack_from

        def windows(rows: list[bytes], last: bool = False) -> Chunk | None:
            nonlocal open_user, length, kept
            heads = [unpack(row) for row in rows]
            users = [head[2] for head in heads]
            numbers = [head[4] + PG_EPOCH_US for head in heads]
            texts = iso(numbers) if rows else []
            exact = not rows or max(abs(min(numbers)), abs(max(numbers))) < model.EXACT_SCORE
            commands: list[bytes] = []
            expected: list[bytes] = []
            looks: list[Callable[[Any, Any], None]] = []

            def end_of_user(user: int, total: int) -> None:
                key = b"%buser:%d:activities" % (self.prefix, user)
                commands.append(encode("LLEN", key) + encode("ZCARD", key + b":by_time"))
                expected.append(b":%d\r\n:%d\r\n" % (total, total))
                looks.append(lambda a, b: self._end_of_user(key, user, total, a, b, suspect))

            start = 0
            for at in range(len(rows) + 1):
                if at < len(rows) and at > start and users[at] == users[start]:
                    continue
                if at > start:
                    user = users[start]
                    if user != open_user:
                        if open_user is not None:
                            end_of_user(open_user, length)
                        open_user, length = user, 0
                    picked = range(start, at)
                    if not exact:
                        picked = [i for i in picked if order.keeps(user, numbers[i], heads[i][6])]  # type: ignore[assignment]
                    if picked:
                        self._window(
                            user,
                            length,
                            picked,
                            heads,
                            rows,
                            texts,
                            numbers,
                            commands,
                            expected,
                            looks,
                            suspect,
                        )
                    length += len(picked)
                    kept += len(picked)
                start = at
            if last and open_user is not None:
                end_of_user(open_user, length)
            if not commands:
                return None
            if rows:
                self.keys["user_activities"] += len(set(users)) - (users[0] == previous[0])
                previous[0] = users[-1]

            def look(replies: list[Any]) -> None:
                for one, (a, b) in zip(looks, zip(replies[::2], replies[1::2], strict=True), strict=True):
                    one(a, b)

            return b"".join(commands), b"".join(expected), look, len(rows)

        previous: list[int | None] = [None]
        self._table(ACTIVITY_QUERY, windows)
        chunk = windows([], last=True)
        if chunk is not None:
            self._compare(chunk)
        self.keys["user_activities_by_time"] = self.keys["user_activities"]
        self.rejects["activities"] = self.rows["activities"] - kept

    def _window(
        self,
        user: int,
        start: int,
        picked: Iterable[int],
        heads: list[tuple[int, ...]],
        rows: list[bytes],
        texts: list[bytes],
        numbers: list[int],
        commands: list[bytes],
        expected: list[bytes],
        looks: list[Callable[[Any, Any], None]],
        suspect: set[int],
    ) -> None:
        """Ask for the next elements of a user's list and the scores of as many members."""
        key = b"%buser:%d:activities" % (self.prefix, user)
        kinds = [rows[i][42:] for i in picked]
        elements = [b"%b:%b" % (kind, texts[i]) for kind, i in zip(kinds, picked, strict=True)]
        members = [b"%d:%b" % (heads[i][6], kind) for kind, i in zip(kinds, picked, strict=True)]
        scores = [b"%d" % numbers[i] for i in picked]
        end = start + len(elements) - 1
        commands.append(encode("LRANGE", key, start, end) + _zmscore(key + b":by_time", members))
        body = b"".join([b"$%d\r\n%b\r\n" % (len(e), e) for e in elements])
        expected.append(b"*%d\r\n%b%b" % (len(elements), body, _scores(scores)))

        def look(listed: Any, scored: Any) -> None:
            self._elements(key, start, elements, listed, user, suspect)
            if not self._members(key + b":by_time", list(zip(members, scores, strict=True)), scored):
                suspect.add(user)

        looks.append(look)

    def _elements(
        self, key: bytes, start: int, elements: list[bytes], reply: Any, user: int, suspect: set[int]
    ) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._wrong_type(key, "list", reply)
            self._mend(encode("RPUSH", key, *elements))
            return
        if reply == elements:
            return
        suspect.add(user)
        first = next(
            (i for i, (a, b) in enumerate(zip(elements, reply, strict=False)) if a != b),
            min(len(reply), len(elements)),
        )
        if not reply and start == 0:
            self.missing += 1
            self._note(key, None, "list", None, "missing key")
        else:
            for i in range(first, len(elements)):
                actual = reply[i] if i < len(reply) else None
                if actual != elements[i]:
                    problem = "missing element" if actual is None else "wrong element"
                    self._note(key, str(start + i), elements[i], actual, problem)
        keep = start + first
        shorten = encode("LTRIM", key, 0, keep - 1) if keep else encode("DEL", key)
        self._mend(shorten, encode("RPUSH", key, *elements[first:]))

    def _end_of_user(
        self, key: bytes, user: int, total: int, length: Any, cardinality: Any, suspect: set[int]
    ) -> None:
        if isinstance(length, int) and length > total:
            extra = self.connection.call("LRANGE", key, total, total + 99)
            for i, element in enumerate(extra):
                self._note(key, str(total + i), None, element, "extra element")
            if length > total + 100:
                self._note(key, None, str(total), str(length), "extra elements beyond those named")
            self._mend(encode("LTRIM", key, 0, total - 1))
        if isinstance(cardinality, int) and (cardinality > total or user in suspect):
            self._extra_members(key + b":by_time", "user_id", user, "activities", "activity_id")
        suspect.discard(user)

    # -- keys that should not be there
    # ---------------------------------------------------------------------------

    def _extra_keys(self) -> None:
        """Count the keys by kind; where the counts do not agree, find those that the source has not."""
        found = target.count(self.connection, self.text_prefix)
        if not self.missing and all(found[kind] == self.keys[kind] for kind in model.KINDS):
            return
        seen: set[bytes] = set()
        for keys in target.scan(self.connection, self.text_prefix):
            self.idle()
            ids: dict[str, dict[int, bytes]] = {}
            for kind, key in keys:
                ids.setdefault(kind, {})[model.key_id(key, self.text_prefix)] = key
            for kind, by_id in ids.items():
                for number in set(by_id) - self._existing(kind, list(by_id)):
                    key = by_id[number]
                    if key not in seen:
                        seen.add(key)
                        self._note(key, None, None, self.connection.call("TYPE", key), "extra key")
                        self._mend(encode("UNLINK", key))
            self._finish_mending()

    def _existing(self, kind: str, ids: list[int]) -> set[int]:
        """Those of the numbers for which the snapshot asks for a key of that kind."""
        table, column, more = {
            "user": ("users", "user_id", ""),
            "product": ("products", "product_id", ""),
            "order": ("orders", "order_id", ""),
            "user_activities": ("activities", "user_id", ""),
            "user_activities_by_time": ("activities", "user_id", ""),
            "user_orders": ("orders", "user_id", " AND order_date IS NOT NULL"),
            "product_orders": ("orders", "product_id", " AND order_date IS NOT NULL"),
        }[kind]
        small = [number for number in ids if -(2**63) <= number < 2**63]
        rows = self.source.ask(
            f"SELECT n FROM unnest(%s::int8[]) n WHERE EXISTS (SELECT FROM {table} WHERE {column} = n AND "
            f"{KEPT[table]}{more})",
            (small,),
        )
        return {row[0] for row in rows}


def _zmscore(key: bytes, members: list[bytes]) -> bytes:
    head = b"*%d\r\n$7\r\nZMSCORE\r\n$%d\r\n%b\r\n" % (len(members) + 2, len(key), key)
    return head + b"".join([b"$%d\r\n%b\r\n" % (len(m), m) for m in members])


def _scores(scores: list[bytes]) -> bytes:
    """The reply to ZMSCORE as Redis writes whole numbers; where it writes others, the closer look decides."""
    return b"*%d\r\n%b" % (len(scores), b"".join([b"$%d\r\n%b\r\n" % (len(s), s) for s in scores]))
