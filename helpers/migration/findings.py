"""What differs between expected and actual: counted, the first few kept, all of them in a file."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from helpers import settings
from helpers.migration.threads import Conveyor
from helpers.model import LONGEST_BYTES, Pair, Plan, ScoreOrder, Table, far_sql
from helpers.source import Source, copytext
from helpers.text import show

EXAMPLES = 20
DIFFERENCES = "differences"


class Log:
    """A file of JSON lines, made with mode 0600 at the first line.

    Args:
        folder: name of its folder under the state folder, one of ``settings.ROW_LOGS``; or the path of
            another one.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None
        self.path: Path | None = None

    def write(self, line: str) -> None:
        """Add a line."""
        if self._file is None:
            folder = settings.home() / self._folder
            folder.mkdir(mode=0o700, exist_ok=True)
            stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
            self.path = folder / f"{stamp}-{os.getpid()}.jsonl"
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self._file.write(line + "\n")

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


class Differences:
    """Differences found so far.

    Args:
        folder: of their file; that under the state folder when None.

    Attributes:
        count: how many.
        by_problem: how many of each problem.
        examples: the first ``EXAMPLES``, as they stand in the file.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.count = 0
        self.by_problem: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []
        self._log = Log(folder or DIFFERENCES)

    @property
    def path(self) -> str | None:
        """The file that holds all of them, None when there are none."""
        return str(self._log.path) if self._log.path else None

    def add(self, key: bytes, field: bytes | str | None, expected: Any, actual: Any, problem: str) -> None:
        """Note a difference, and write it to the file.

        Args:
            key: the Redis key.
            field: the hash field, list index or member; None for the key itself.
            expected: value that the source asks for, text or bytes; None for nothing.
            actual: value in the target, text or bytes; None for nothing.
            problem: a few words, the same for each difference of that sort.
        """
        record = {
            "key": show(key),
            "field": show(field),
            "expected": show(expected),
            "actual": show(actual),
            "problem": problem,
        }
        self._add(record, json.dumps(record, ensure_ascii=False))

    def add_file(self, path: str) -> None:
        """Note all that another process noted.

        Args:
            path: of its file.
        """
        with Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                self._add(json.loads(line), line.rstrip("\n"))

    def _add(self, record: dict[str, Any], line: str) -> None:
        self.count += 1
        self.by_problem[record["problem"]] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(record)
        self._log.write(line)

    def close(self) -> None:
        """Close the file."""
        self._log.close()


class Rejects:
    """Rejected rows.

    Args:
        plan: of the migration.

    Attributes:
        counts: how many there are of each reason, by table.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.counts: dict[str, Counter[str]] = {table: Counter() for table in plan.tables}
        self._log = Log("rejects")

    @property
    def path(self) -> str | None:
        """The file of JSON lines with table, key, reason and row; None where there is no such row."""
        return str(self._log.path) if self._log.path else None

    def close(self) -> None:
        """Close the file, if there is one."""
        self._log.close()

    def summary(self) -> dict[str, Any]:
        """``rows_rejected`` per table, ``rejects_by_reason``, ``reject_file``."""
        return {
            "rows_rejected": {table: counts.total() for table, counts in self.counts.items()},
            "rejects_by_reason": dict(sum(self.counts.values(), Counter())),
            "reject_file": self.path,
        }

    def collect(self, source: Source, idle: Callable[[], None] = lambda: None) -> "Rejects":
        """Find every row of the snapshot that cannot be held, add it, and close the file.

        Args:
            source: the snapshot.
            idle: called about once a second while PostgreSQL looks, from another thread.

        Returns:
            This object.
        """
        with Conveyor(self._note, idle) as conveyor:
            for name, table in self._plan.tables.items():
                held = self._plan.held_sql(name)
                if held == "true":
                    continue
                order = ", ".join(column.sql for column in table.columns if column.name in table.key)
                source.stream(
                    f"SELECT {_columns_sql(table)} FROM {table.sql} WHERE ({held}) IS NOT TRUE "
                    f"ORDER BY {order}",
                    lambda line, name=name: conveyor.put((name, bytes(line))),  # type: ignore[misc]
                )
        for name, pair in self._plan.pairs.items():
            self._far_moments(source, self._plan.tables[name], pair)
        self._log.close()
        return self

    def _note(self, item: tuple[str, bytes]) -> None:
        table, line = item
        values = copytext.texts(line)
        self.add(table, self._plan.reject_reason(table, values) or "too_long", values)

    def _far_moments(self, source: Source, table: Table, pair: Pair) -> None:
        """Rows whose score is equal to that of a row before them that has a higher number."""
        far = far_sql(pair.moment)
        if far == "false":
            return
        order, places = ScoreOrder(), table.places
        moment, tie = places[pair.moment.name], places[pair.tie.name]

        def write(line: bytes) -> None:
            columns = copytext.columns(line, len(table.columns))
            (number,) = copytext.numbers_of(columns[moment], pair.moment.format)
            row = copytext.texts(line)
            owner = [row[places[name]] for name in pair.list.owner]
            if not order.keeps(owner, int(number), int(row[tie] or 0)):
                self.add(table.name, "score_order", row)

        (stream,) = (one for one in self._plan.streams if one.pair and one.table.name == table.name)
        source.stream(
            f"SELECT {_columns_sql(table)} FROM {table.sql} WHERE {stream.where} AND ({far}) "
            f"ORDER BY {', '.join(stream.order_sql)}",
            write,
        )

    def add(self, table: str, reason: str, values: Sequence[str | None]) -> None:
        """Count a rejected row, and write it to the file.

        Args:
            table: its name.
            reason: one of ``model.REASONS``.
            values: of the row as text, None for NULL, in the order of the table's columns.
        """
        self.counts[table][reason] += 1
        columns, key = self._plan.tables[table].columns, self._plan.tables[table].key
        row = {column.name: value for column, value in zip(columns, values, strict=True)}
        told = row[key[0]] if len(key) == 1 else {name: row[name] for name in key}
        self._log.write(json.dumps({"table": table, "key": told, "reason": reason, "row": row}))


def _columns_sql(table: Table) -> str:
    """All columns of a table; of bytes whose text would be too long for PostgreSQL, their number."""
    return ", ".join(
        f"CASE WHEN octet_length({c.sql}) <= {LONGEST_BYTES} THEN {c.sql}::text "
        f"ELSE octet_length({c.sql}) || ' bytes' END"
        if c.format.name == "bytes"
        else c.sql
        for c in table.columns
    )
