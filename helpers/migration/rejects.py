"""The rows that the model cannot hold: counted by reason, each one in a file.

They are asked of the snapshot itself, so that the file is whole however often a load was interrupted.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from helpers import model
from helpers.migration.findings import Log
from helpers.migration.threads import Conveyor
from helpers.model.streams import KEPT
from helpers.source import copytext
from helpers.source.snapshot import Source

FAR = "activity_date >= '2255-06-05' OR activity_date < '1684-07-29'"
"""Dates near or beyond the limit where a score is no longer exact to the microsecond."""


class Rejects:
    """Rejected rows: how many by table and reason, and the file that holds them (None without any)."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {table: Counter() for table in model.TABLES}
        self._log = Log("rejects")

    @property
    def path(self) -> str | None:
        """The file of JSON lines with table, key, reason and row."""
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
        """Find every row of the snapshot that cannot be held.

        Args:
            source: the snapshot.
            idle: called now and then while PostgreSQL looks.
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
            f"WHERE {KEPT['activities']} AND ({FAR}) ORDER BY user_id, activity_date, activity_id",
            write,
        )

    def add(self, table: str, reason: str, values: Sequence[str | None]) -> None:
        """Count a rejected row, given as in ``model.COLUMNS``, and write it to the file."""
        self.counts[table][reason] += 1
        row = dict(zip(model.COLUMNS[table], values, strict=True))
        self._log.write(json.dumps({"table": table, "key": values[0], "reason": reason, "row": row}))
