"""What differs between expected and actual: counted, the first few kept, all of them in a file."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from helpers import settings
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
    """Differences found so far: how many, of which problem, the first few, and the file of all."""

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
        """Note a difference.

        Args:
            key: the Redis key.
            field: the hash field, list index or member; None for the key itself.
            expected: value that the source asks for, None for nothing.
            actual: value in the target, None for nothing.
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
