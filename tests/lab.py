"""A real JupyterLab on copies of the notebooks, driven through a real Chromium as a student drives it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Locator, Page, sync_playwright
from twice import twice

from helpers import settings

ROOT = settings.project_root()
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is on PATH; Debian's package is chromium: apt-get install chromium"
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
FOLDERS = ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
SETTINGS, WORKSPACES = "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"
OUTPUT = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output"
BARS = (
    f"[...document.getElementsByTagName('progress')].map(bar => bar.closest('{OUTPUT}'))"
    ".filter(Boolean).map(output => output.textContent.trim())"
)
PATIENCE_S = 600
"""A machine that is busy with other things is slow, and no fault of the notebooks."""
LOOK_MS = 500
"""Between two looks: each costs the browser time that the notebook then has not."""
IN_FRONT = "window.jupyterapp.shell.currentWidget"
STATUS = f"({IN_FRONT}.sessionContext.session?.kernel?.status ?? 'none')"
OUTPUTS = "Array.from({length: cell.outputs.length}, (_, i) => cell.outputs.get(i))"
FAILED = f"cell => {OUTPUTS}.some(one => one.type === 'error')"
CODE = f"[...{IN_FRONT}.content.model.cells].filter(cell => cell.type === 'code')"
OVER = f"{STATUS} === 'idle' && ({CODE}.every(cell => cell.executionCount) || {CODE}.some({FAILED}))"


def prepare(path: Path, *, parameters: str = "", again: Callable[[Any], bool] = lambda cell: False) -> None:
    """Change a notebook without outputs to what a walk goes through.

    Args:
        path: of the notebook.
        parameters: lines for the end of its ``parameters`` cell.
        again: whether a code cell stands twice.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\n{parameters}"
    notebook.cells = twice(notebook.cells, again)
    nbformat.write(notebook, path)


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: where it is, and how one is let in."""

    url: str
    token: str


@contextlib.contextmanager
def lab(work: Path, state: Path, variables: Mapping[str, str]) -> Iterator[Lab]:
    """JupyterLab on a free port of the loopback interface, with nothing of the user's own.

    Args:
        work: the folder that it shows.
        state: where its settings, its log and what it keeps go.
        variables: of the environment of its kernels.
    """
    own = {name: str(state / name.lower()) for name in (*FOLDERS, SETTINGS, WORKSPACES)}
    for folder in own.values():
        Path(folder).mkdir()
    quiet = Path(own[SETTINGS]) / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}), encoding="utf-8")
    token = secrets.token_urlsafe()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment = {**kept, **own, **variables, "JUPYTER_TOKEN": token}  # no command line shows it
    command = [
        *(
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            "--port=0",
        ),
        *(f"--ServerApp.root_dir={work}", "--LabApp.expose_app_in_browser=True"),
        "--KernelManager.transport=ipc",
    ]
    with (state / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=log, stderr=log)
    try:
        yield Lab(_address(Path(own["JUPYTER_RUNTIME_DIR"]), process, state / "log"), token)
    finally:
        process.send_signal(signal.SIGTERM)  # it ends its kernels, too
        process.wait(60)


def _address(folder: Path, process: "subprocess.Popen[bytes]", log: Path) -> str:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        for path in folder.glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError):  # it is being written
                return str(json.loads(path.read_text(encoding="utf-8"))["url"])
        time.sleep(0.05)
    raise AssertionError(f"JupyterLab did not start: {log.read_text(encoding='utf-8')[-2000:]}")


@contextlib.contextmanager
def chromium(lab: Lab) -> Iterator["Screen"]:
    """A browser that is let in to a JupyterLab."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE_S * 1000)
        page.goto(f"{lab.url}lab?token={lab.token}")
        try:
            yield Screen(page)
        finally:
            browser.close()


class Screen:
    """What a student sees of JupyterLab, and does there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        """What went wrong in JupyterLab's own program."""
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    @property
    def notebook(self) -> Locator:
        """The notebook in front."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def open(self, name: str) -> None:
        """Open a notebook by a double click on its name, and wait until its kernel is there."""
        self.page.locator(".jp-DirListing-itemText", has_text=f"{name}.ipynb").dblclick()
        self.page.wait_for_function(f"() => {IN_FRONT}?.context?.path === '{name}.ipynb'")
        self.page.evaluate(f"async () => await {IN_FRONT}.sessionContext.ready")
        self.until(lambda: self.kernel() == "idle", f"the kernel of {name}")

    def choose(self, menu: str, entry: str) -> None:
        """An entry of the menu bar."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=menu).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(entry, exact=True).click()

    def run_all(self) -> None:
        """*Run All Cells*."""
        self.choose("Run", "Run All Cells")

    def interrupt(self) -> None:
        """*Interrupt Kernel*, and wait until the kernel is at rest."""
        self.choose("Kernel", "Interrupt Kernel")
        self.until(lambda: self.kernel() == "idle" and self.errors(), "the end of an interrupted cell")

    def restart(self) -> None:
        """*Restart Kernel…*, said yes to."""
        self.choose("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog-button.jp-mod-accept").click()
        self.page.wait_for_timeout(500)
        self.until(lambda: self.kernel() == "idle", "the restarted kernel")

    def kernel(self) -> str:
        """The state of the kernel: ``idle``, ``busy``, ``starting``, ..."""
        return str(self.page.evaluate(f"() => {STATUS}"))

    def code(self) -> list[dict[str, Any]]:
        """The code cells of the notebook in front, with their outputs, as they would be saved."""
        cells = self.page.evaluate(f"() => {IN_FRONT}.content.model.toJSON().cells")
        return [cell for cell in cells if cell["cell_type"] == "code"]

    def counts(self) -> list[int | None]:
        """The execution count of each code cell of the notebook in front."""
        return list(self.page.evaluate(f"() => {CODE}.map(cell => cell.executionCount)"))

    def errors(self) -> list[str]:
        """The errors under the cells of the notebook in front."""
        wanted = f"{OUTPUTS}.filter(one => one.type === 'error').map(one => one.toJSON())"
        shown = self.page.evaluate(f"() => {CODE}.flatMap(cell => {wanted})")
        return [f"{output['ename']}: {output['evalue']}" for output in shown]

    def bars(self) -> list[str]:
        """The progress bars that can be seen, each as the text beside it."""
        return list(self.page.evaluate(f"() => {BARS}"))

    def finish(self) -> list[str]:
        """Wait until every cell has run, or one has failed; the progress bars that were seen meanwhile."""
        bars: list[str] = []

        def over() -> bool:
            shown, ended = self.page.evaluate(f"() => [{BARS}, {OVER}]")
            bars.extend(shown)
            return bool(ended)

        self.until(over, "all cells")
        return bars

    def drawings(self, number: int) -> list[bool]:
        """For each drawing of the notebook in front: whether it has a size on the screen.

        Args:
            number: how many there should be: cells out of sight come to the screen when there is time.
        """
        drawn = self.notebook.locator(".jp-RenderedSVG :is(img, svg):not(svg *)")
        sizes = (
            "found => found.map(one => one.getBoundingClientRect()).map(box => box.width * box.height > 100)"
        )
        self.until(lambda: drawn.count() >= number, "drawings")
        return list(drawn.evaluate_all(sizes))

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it took too long; names what, and what is to be seen.
        """
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"waited too long for {what}; kernel {self.kernel()}: {self.errors()}")
            self.page.wait_for_timeout(LOOK_MS)


def variables(results: Path, home: Path, root: Path = ROOT) -> dict[str, str]:
    """The environment of a course in folders of its own.

    matplotlib's list of fonts is that of this process: a kernel that has to make one says so.

    Args:
        results: folder of the results.
        home: state folder of the servers.
        root: folder of the project whose ``helpers`` are meant.
    """
    import matplotlib.font_manager

    places = (root, ROOT / "tests", os.environ.get("PYTHONPATH"))
    return {
        "HELPERS_HOME": str(home),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
        "HELPERS_RESULTS": str(results),
        "PYTHONPATH": os.pathsep.join(str(place) for place in places if place),
    }
