"""What a command that uses throw-away servers leaves behind, and what runs under it."""

import contextlib
from pathlib import Path

import psutil


def leftovers(home: Path) -> list[str]:
    """Folders of throw-away servers, and processes that work in one."""
    folders = [path.name for path in home.glob("scratch-*")]
    processes = psutil.process_iter(["name", "cwd"])
    return folders + [p.info["name"] for p in processes if f"{home}/scratch-" in (p.info["cwd"] or "")]


def has_child(process: psutil.Process, word: str) -> bool:
    """Whether a child of a process has a word in its command line; a child that ends meanwhile is none."""
    for child in process.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if word in child.cmdline():
                return True
    return False
