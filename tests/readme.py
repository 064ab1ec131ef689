"""The README as its tests read it: commands, tables, sections."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from helpers import settings

PATH = settings.project_root() / "README.md"
TEXT = PATH.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.M | re.S)


def block(with_: str) -> str:
    """The one block of commands that holds these words."""
    (found,) = (block for block in blocks("sh") if with_ in block)
    return found


def line(with_: str) -> str:
    """The one line of commands that holds these words."""
    (found,) = (line for block in blocks("sh") for line in block.splitlines() if with_ in line)
    return found


def section(heading: str) -> str:
    """The text under a heading of the second level."""
    return re.split(r"^## ", TEXT.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def rows(heading: str, head: str) -> list[list[str]]:
    """The cells of a table, by the heading above it and the first cell of its head."""
    lines = section(heading).split(f"| {head} |", 1)[1].splitlines()[2:]
    table = lines[: next((number for number, line in enumerate(lines) if not line.startswith("|")), None)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def prose() -> str:
    """The text without code, pictures and the targets of links."""
    text = re.sub(r"^```.*?^```$|`[^`]*`|^!\[[^\n]*$", "", TEXT, flags=re.M | re.S)
    return re.sub(r"\]\([^)]*\)", "]", text)


def run(
    commands: str, *more: str, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run commands of the README by this interpreter instead of that of ``.venv``.

    Args:
        commands: as they stand there.
        more: words added to the last of them.
        cwd: the project's folder when None.
        variables: environment variables that differ.
    """
    bin_ = Path(sys.executable).parent
    script = re.sub(r"(?<![\w/])\.venv/bin/python\b", sys.executable, commands.rstrip())
    script = re.sub(r"(?<![\w/])\.venv/bin/", f"{bin_}/", script)
    return subprocess.run(
        ["bash", "-euc", " ".join([script, *more])],
        capture_output=True,
        text=True,
        cwd=cwd or settings.project_root(),
        env={**os.environ, **(variables or {})},
        check=False,
    )
