"""What differs between expected and actual: counted, the first few kept, all of them in a file."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from helpers import model, settings
from helpers.migration.threads import Conveyor
from helpers.model import FAR_DATES, KEPT
from helpers.source import Source, copytext
from helpers.text import show

EXAMPLES = 20


class Log:
    """A file of JSON lines under the state folder, made with mode 0600 at the first line.

    Args:
        folder: name of its folder under the state folder.
    """

    def __init__(self, folder: str) -> None:
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

    Attributes:
        count: how many.
        by_problem: how many of each problem.
        examples: the first ``EXAMPLES``, as they stand in the file.
    """

    def __init__(self) -> None:
        self.count = 0
        self.by_problem: Counter[str] = Counter()
        self.examples: list[dict[str, Any]] = []
        self._log = Log("differences")

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
        self.count += 1
        self.by_problem[problem] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(record)
        self._log.write(json.dumps(record, ensure_ascii=False))

    def close(self) -> None:
        """Close the file."""
        self._log.close()


class Rejects:
    """Rejected rows.

    Attributes:
        counts: how many there are of each reason, by table.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {table: Counter() for table in model.TABLES}
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
            for table in model.TABLES:
                columns = ", ".join(model.COLUMNS[table])
                key = model.COLUMNS[table][0]
                source.stream(
                    f"SELECT {columns} FROM {table} WHERE ({KEPT[table]}) IS NOT TRUE ORDER BY {key}",
                    lambda line, table=table: conveyor.put((table, bytes(line))),  # type: ignore[misc]
                )
        self._far_dates(source)
        self._log.close()
        return self

    def _note(self, item: tuple[str, bytes]) -> None:
        table, line = item
        values = copytext.texts(line)
        self.add(table, model.reject_reason(table, values) or "unknown", values)

    def _far_dates(self, source: Source) -> None:
        order = model.ScoreOrder()

        def write(line: bytes) -> None:
            _, (moment,) = copytext.dates(copytext.columns(line, 4)[3])
            activity, user, *_ = row = copytext.texts(line)
            if not order.keeps(int(user or 0), int(moment), int(activity or 0)):
                self.add("activities", "score_order", row)

        source.stream(
            f"SELECT {', '.join(model.COLUMNS['activities'])} FROM activities "
            f"WHERE {KEPT['activities']} AND ({FAR_DATES}) ORDER BY user_id, activity_date, activity_id",
            write,
        )

    def add(self, table: str, reason: str, values: Sequence[str | None]) -> None:
        """Count a rejected row, and write it to the file.

        Args:
            table: one of ``model.TABLES``.
            reason: one of ``model.REASONS``.
            values: of the row as text, None for NULL, in the order of ``model.COLUMNS[table]``.
        """
        self.counts[table][reason] += 1
        row = dict(zip(model.COLUMNS[table], values, strict=True))
        self._log.write(json.dumps({"table": table, "key": values[0], "reason": reason, "row": row}))
