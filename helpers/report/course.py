"""The whole course in one go: servers, notebooks through papermill, results, figures and the report."""

import base64
import contextlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers import results, servers, settings
from helpers.errors import HelpersError, writing
from helpers.progress import say
from helpers.report import building, notebooks, pdf, publication
from helpers.servers import connections
from helpers.settings import checkout

LOCK = ".run.lock"
DATABASE_LOCK = 0x636F75727365  # "course"
POPULATED_BY = "02_population"
REPORT = "06_report"
MADE = ("notebooks", "results", "figures")
WITHOUT_PROFILE = ("00_index", REPORT)
EXTENSIONS = {"image/svg+xml": "svg", "image/png": "png"}


def run(
    *,
    profile: str = "quick",
    out: Path | str | None = None,
    publish: bool = False,
    rows: Mapping[str, int] | None = None,
    title_page: Mapping[str, Any] | None = None,
    programs: Mapping[str, str] | None = None,
    progress: bool = True,
) -> Path:
    """Start the servers, run every notebook, and make the report from what this run measured.

    Args:
        profile: ``quick`` or ``full``.
        out: folder for ``notebooks`` (executed), ``results``, ``figures`` and ``report.pdf``;
            ``report/build`` when None. What an earlier run left there is replaced.
        publish: after everything succeeded, replace the committed outputs, ``report/results`` and
            ``report/report.pdf``; with the full profile only.
        rows: how many ``users``, ``products``, ``activities`` and ``orders`` the course's tables get, and the
            ``seed`` that makes them; what is not named is as in notebook 02.
        title_page: ``title``, ``authors``, ``course`` and ``date`` of the report; what is not named is as in
            notebook 06.
        programs: what a publication lacks where a program is not on PATH, by its name; said before it runs.
        progress: show progress on stderr.

    Returns:
        Path of ``report.pdf``.

    Raises:
        HelpersError: a server cannot be had, a cell failed, another run works in the
            folder or on the same database, or the folder is not a run's; the message names the notebook and
            cell, and where the executed part is.
    """
    if profile not in results.PROFILES:
        raise HelpersError(f"no profile {profile!r}; choose {' or '.join(results.PROFILES)}")
    if publish and profile != "full":
        raise HelpersError("only a full run is published; add --profile full")
    if publish and rows:
        raise HelpersError(f"only the course's own rows are published; leave out --{next(iter(rows))}")
    if publish and title_page:
        raise HelpersError(
            f"a publication has the title page of notebook 06; write its {next(iter(title_page))} there"
        )
    pdf.see_letters(title_page or {})  # at the end of a long run it would be late
    target = Path(out).absolute() if out is not None else checkout() / "report" / "build"
    for what in publication.lacking(programs or {}) if publish else ():
        say(f"warning: {what}")
    own = {POPULATED_BY: rows or {}, REPORT: title_page or {}}
    notebooks.folder()  # better missed now than when the servers run
    with alone(target, ours=out is None):
        servers.up(progress=progress)
        with alone_there(), notebooks.environment(HELPERS_RESULTS=str(target / "results")):
            with writing(target, building.ELSEWHERE):
                _clear(target)
                if publish:
                    publication.carry(target)
            for name in notebooks.NAMES:
                parameters: dict[str, Any] = {} if name in WITHOUT_PROFILE else {"profile": profile}
                parameters |= own.get(name, {})
                _run_one(name, target, parameters, progress)
        executed = {name: notebooks.read(target / "notebooks" / f"{name}.ipynb") for name in notebooks.NAMES}
        path = building.write(executed.pop(REPORT), target)  # its figures too, under their labels
        for name, notebook in executed.items():
            _save_figures(notebook, name, target / "figures")
        if publish:
            publication.publish(target)
    return path


def _run_one(name: str, target: Path, parameters: Mapping[str, Any], progress: bool) -> None:
    began = time.monotonic()
    notebooks.run_kernel(
        notebooks.folder() / f"{name}.ipynb",
        target / "notebooks" / f"{name}.ipynb",
        parameters,
        title=f"{notebooks.NAMES.index(name) + 1}/{len(notebooks.NAMES)} {name}",
        progress=progress,
    )
    if progress:
        print(f"{name}: done in {time.monotonic() - began:.0f} s", file=sys.stderr)


@contextlib.contextmanager
def alone(target: Path, *, ours: bool) -> Iterator[None]:
    """Hold the folder's lock, which also marks the folder as one whose content a run may replace.

    The system releases the lock with the process, so a killed run leaves nothing to clean up.

    Args:
        target: the folder; it is made.
        ours: it is the project's own, whatever it holds.

    Raises:
        HelpersError: it holds what no run made, cannot be written, or another run holds it.
    """
    import fcntl

    mark = target / LOCK
    foreign = [name for name in ("notebooks", "results") if (target / name).exists()]
    if foreign and not mark.exists() and not ours:
        raise HelpersError(
            f"{target} holds {' and '.join(foreign)} that no run made, and a run would replace them; "
            f"choose another --out"
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        handle = mark.open("a", encoding="utf-8")
    except OSError as error:
        raise HelpersError(f"{target}: {error.strerror}; choose another --out") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HelpersError(
                f"another run works in {target}; wait until it is done, or choose another --out"
            ) from error
        yield


@contextlib.contextmanager
def alone_there() -> Iterator[None]:
    """Hold the database of the course's tables: two runs at once would take each other's rows away.

    PostgreSQL releases this lock with the connection, so a killed run leaves nothing to clean up.

    Raises:
        HelpersError: another run holds it.
    """
    connection = connections.postgres()
    connection.autocommit = True
    try:
        if not connections.held(connection, DATABASE_LOCK):
            raise HelpersError(
                f"{settings.postgres_at(connection)}: another run uses this database; wait until it is "
                "done, or give this one servers of its own: another HELPERS_HOME, or other URLs"
            )
        yield
    finally:
        connection.close()


def _clear(target: Path) -> None:
    """Remove what an earlier run made, so that its results never mix in."""
    for name in MADE:
        shutil.rmtree(target / name, ignore_errors=True)
        (target / name).mkdir()
    (target / building.NAME).unlink(missing_ok=True)


def _save_figures(notebook: Mapping[str, Any], name: str, folder: Path) -> None:
    """Save the images that a notebook displayed as ``<notebook>-<number>.svg`` or ``.png``."""
    number = 0
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            mime = next((mime for mime in EXTENSIONS if mime in data), None)
            if mime:
                number += 1
                image = data[mime].encode() if mime == "image/svg+xml" else base64.b64decode(data[mime])
                (folder / f"{name}-{number}.{EXTENSIONS[mime]}").write_bytes(image)
