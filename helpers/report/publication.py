"""Publish a full run: its outputs in the committed notebooks, its results, its report and a picture of it.

``python -m helpers.report.publication`` makes the picture at the head of the README again, from the published
results.
"""

import gzip
import json
import re
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from helpers import results, servers, settings
from helpers.errors import HelpersError
from helpers.progress import NOTHING
from helpers.report import building, notebooks

CELL_METADATA = ("tags", "jupyter", "nbgrader")
PICTURE = "fig-cost.svg"
"""The figure of the report that stands at the head of the README."""
ENCODED = re.compile(r"[A-Za-z0-9+/]{500,}={0,2}")
"""Pixels, or a histogram, in base64, by its length: any short word turns up in it, as a host's name may."""
HOST = "the host name"
LOCAL_HOSTS = ("localhost", "localhost.localdomain")


def lacking(wanted: Mapping[str, str]) -> list[str]:
    """What a full run on this machine would not measure, for want of a program; a line each.

    Args:
        wanted: what needs a program, by the program's name.
    """
    return [
        f"{tool} is not on PATH: what is published will lack {what}"
        for tool, what in wanted.items()
        if shutil.which(tool) is None
    ]


def publish(run: Path) -> None:
    """Replace the committed outputs by those of a run; all of it is looked at before anything is written.

    Args:
        run: folder of a complete full run.

    Raises:
        HelpersError: a result is missing or not of a full run, a notebook's code has changed since, or
            an output, result or report holds a path, host name or password; nothing was written.
    """
    found = results.load(run / "results")
    missing = [kind for kind in results.KINDS if kind not in found and kind not in results.APART]
    if missing or found.profile != "full":
        raise HelpersError(
            f"publish: {run / 'results'}: {', '.join(missing) or 'profile'} is not of a full run; run all "
            f"again"
        )
    forbidden = secrets() | {"the path of the run": re.compile(re.escape(str(run)))}
    texts = {}
    for name in notebooks.NAMES:
        committed = notebooks.folder() / f"{name}.ipynb"
        cleaned = clean(
            notebooks.read(run / "notebooks" / committed.name), notebooks.read(committed), committed.name
        )
        texts[committed] = json.dumps(cleaned, indent=1, ensure_ascii=False) + "\n"
        refuse(texts[committed], committed.name, forbidden)
    texts[picture()] = (run / "figures" / PICTURE).read_text(encoding="utf-8")
    refuse(texts[picture()], PICTURE, forbidden)
    for path in sorted((run / "results").rglob("*")):
        if path.is_file():
            refuse(_text(path), path.name, forbidden)
    for path, text in texts.items():
        _replace(path, text.encode())
    carry(run)
    _replace_folder(run / "results", building.published_folder())
    _replace(settings.project_root() / "report" / building.NAME, (run / building.NAME).read_bytes())


def carry(run: Path) -> None:
    """Lay the published results of kinds that no run measures beside those of a run, which has none.

    So notebook 06 tells them, and publishing the run keeps them.

    Args:
        run: folder of the run.
    """
    for kind in results.APART:
        kept, place = building.published_folder() / f"{kind}.json", run / "results" / f"{kind}.json"
        if kept.exists() and not place.exists():
            shutil.copy(kept, place)


def add(kind: str) -> None:
    """Put one result of the current run among the published ones, of a kind that the course leaves out.

    The notebooks and the report tell it from the next full publication on.

    Args:
        kind: one of ``results.APART``.

    Raises:
        HelpersError: it is not of the full profile, or holds a path, host name or password; nothing was
            written.
    """
    path = results.current_folder() / f"{kind}.json"
    if results.read(path).profile != "full":
        raise HelpersError(f"publish: {path.name} is not of the full profile; nothing was published")
    refuse(_text(path), path.name, secrets())
    _replace(building.published_folder() / path.name, path.read_bytes())


def picture() -> Path:
    """Where the committed picture is."""
    return settings.checkout() / "report" / PICTURE


def published_picture() -> str:
    """The picture that the published results give, as SVG text."""
    with tempfile.TemporaryDirectory() as folder:
        building.build(results=building.published_folder(), out=folder)
        return (Path(folder) / "figures" / PICTURE).read_text(encoding="utf-8")


def clean(executed: Mapping[str, Any], committed: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An executed notebook as it is committed: the committed cells with new outputs, numbered from 1.

    Nothing of papermill stays: neither its cells and metadata nor paths and times; progress bars go too.

    Args:
        executed: what papermill saved.
        committed: the notebook as it is in the project.
        name: for the message.

    Raises:
        HelpersError: the cells are not the same.
    """
    ran = [cell for cell in executed["cells"] if not notebooks.ADDED & set(cell["metadata"].get("tags", []))]
    if [cell["source"] for cell in ran] != [cell["source"] for cell in committed["cells"]]:
        raise HelpersError(f"publish: {name} has changed since this run began; run all again")
    cells, count = [], 0
    for cell, own in zip(ran, committed["cells"], strict=True):
        kept = {key: own["metadata"][key] for key in CELL_METADATA if key in own["metadata"]}
        new = {
            "cell_type": cell["cell_type"],
            "id": own["id"],
            "metadata": kept,
            "source": _lines(cell["source"]),
        }
        if cell["cell_type"] == "code":
            count += 1
            new |= {
                "execution_count": count,
                "outputs": [_output(output, count) for output in cell["outputs"] if not _passing(output)],
            }
        cells.append(new)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _passing(output: Mapping[str, Any]) -> bool:
    """Whether an output is only what a progress bar left behind."""
    return bool(output.get("data") == NOTHING or output.get("name") == "stderr")


def _output(output: Mapping[str, Any], count: int) -> dict[str, Any]:
    new = dict(output)
    if "execution_count" in new:
        new["execution_count"] = count
    if "text" in new:
        new["text"] = _lines(new["text"])
    if "data" in new:
        new["data"] = {
            mime: _lines(value) if isinstance(value, str) and mime != "image/png" else value
            for mime, value in new["data"].items()
        }
    return new


def _lines(text: str) -> list[str]:
    """As nbformat writes text: a list of lines, for diffs."""
    return text.splitlines(keepends=True)


def secrets() -> dict[str, re.Pattern[str]]:
    """What must not be published: paths, host name, passwords; by what each is called in a message."""
    words = {
        "the project's path": str(settings.project_root()),
        "the home folder's path": str(Path.home()),
        "the state folder's path": str(settings.home()),
    }
    found = {
        what: re.compile(re.escape(word) + r"(?![\w.-])") for what, word in words.items() if len(word) > 1
    }
    host = socket.gethostname()
    if host and host not in LOCAL_HOSTS:
        found[HOST] = re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w-])")
    for name, server in servers.status().items():
        password = urlsplit(server.url or "").password
        for form in {password, unquote(password)} if password else ():
            found[f"the password of {name}"] = re.compile(re.escape(form))
    return found


def refuse(text: str, name: str, forbidden: Mapping[str, re.Pattern[str]]) -> None:
    """Look for what must not be published.

    Raises:
        HelpersError: the text holds it; names the file and what it is, not the secret.
    """
    for what, pattern in forbidden.items():
        if pattern.search(ENCODED.sub("", text) if what == HOST else text):
            raise HelpersError(f"publish: {name} holds {what}; nothing was published")


def _text(path: Path) -> str:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data.decode("utf-8", "replace")


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(data)
    draft.replace(path)


def _replace_folder(source: Path, target: Path) -> None:
    """Put a copy of a folder in another's place: whole, with the old one beside it only for a moment."""
    new, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for path in (new, old):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(source, new)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    picture().write_text(published_picture(), encoding="utf-8")
