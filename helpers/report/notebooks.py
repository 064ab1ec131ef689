"""Run a notebook: through papermill in a kernel of its own, or here, in this process."""

import ast
import contextlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from helpers import results
from helpers.errors import HelpersError, first_line, writing
from helpers.progress import pace
from helpers.settings import checkout, project_root

NAMES = (
    "00_index",
    "01_schema",
    "02_population",
    "03_comparison",
    "04_modeling",
    "05_migration",
    "06_report",
)
"""The notebooks in the order in which they are run."""
ADDED = {"injected-parameters", "papermill-error-cell-tag"}
"""Tags of the cells that papermill adds."""
NOT_INLINE = "not-inline"
"""Tag of a cell that is left out when its notebook runs inside the process that makes the report."""
RUNS_HERE = "HELPERS_RUNS_HERE"
"""The environment variable that is there while ``run_here`` works, so that programs know it, too."""
SAVED_S = 5
"""Seconds between two saves of a notebook that runs."""


def folder() -> Path:
    """Where the committed notebooks are."""
    return checkout() / "notebooks"


def read(path: Path) -> Mapping[str, Any]:
    """A notebook, as ``nbformat`` gives it."""
    results.jsonschema()
    import nbformat

    notebook: Mapping[str, Any] = nbformat.read(path, as_version=4)
    return notebook


def run_kernel(
    source: Path, target: Path, parameters: Mapping[str, Any], *, title: str, progress: bool
) -> None:
    """Run a notebook through papermill in a fresh kernel of this interpreter.

    Args:
        source: the notebook.
        target: where the executed notebook goes; it is saved in the end, whatever happens, and on the way
            behind a cell, every ``SAVED_S`` seconds at most.
        parameters: values for its ``parameters`` cell.
        title: of the progress bar over its cells, on stderr.
        progress: show it.

    Raises:
        HelpersError: a cell failed, or the kernel died; names notebook, cell, error and the executed
            notebook.
    """
    results.jsonschema()
    import papermill
    from traitlets.config import Config

    bar = {"desc": title, "unit": " cells", "leave": False, "file": sys.stderr, "mininterval": pace()}
    with this_kernel() as log, writing(target, "choose another --out"):
        # Not TCP, where others could listen; not the working folder, where others may run a notebook.
        sockets = {"transport": "ipc", "ip": str(log.with_name("socket"))}
        try:
            papermill.execute_notebook(
                source,
                target,
                dict(parameters),
                engine_name=_engine(),
                kernel_name="python3",
                language="python",
                progress_bar=bar if progress else False,
                cwd=source.parent,
                config=Config({"KernelManager": sockets}),
            )
        except papermill.PapermillExecutionError as error:
            raise HelpersError(
                f"{source.name}, cell {_cell_number(target)}: {error.ename}: {_last_line(error.evalue)}; "
                f"executed so far: {target}"
            ) from error
        except RuntimeError as error:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise HelpersError(
                f"{source.name}: its kernel did not start, or was killed "
                f"({': '.join([first_line(error), *last])}); see that memory is free, then run it again; "
                f"executed so far: {target}"
            ) from error


@cache
def _engine() -> str:
    """The name of papermill's engine when it saves now and then: its own saves before and behind each cell,
    which takes longer than most cells.
    """
    from papermill.engines import NBClientEngine, papermill_engines

    class Engine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
        @classmethod
        def execute_managed_notebook(cls, manager: Any, *args: Any, **options: Any) -> None:
            save, saved = manager.save, time.monotonic()

            def save_if_due(**changed: Any) -> None:
                nonlocal saved
                if time.monotonic() - saved >= SAVED_S:
                    save(**changed)
                    saved = time.monotonic()

            manager.save = save_if_due
            try:
                super().execute_managed_notebook(manager, *args, **options)
            finally:
                manager.save = save  # with it papermill saves what there is

    papermill_engines.register("course", Engine)
    return "course"


@contextlib.contextmanager
def this_kernel() -> Iterator[Path]:
    """Inside, the kernel ``python3`` is this interpreter and finds ``helpers``, whatever kernels the
    user has.

    Gives the file that holds what the kernel itself says on stderr: when it is ended early, tracebacks that
    are of no use to anybody else.
    """
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "kernel.log"
        log.touch()
        spec = Path(place) / "kernels" / "python3"
        spec.mkdir(parents=True)
        argv = ["/bin/sh", "-c", 'exec "$@" 2>"$0"', str(log), sys.executable]
        argv += ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}), encoding="utf-8"
        )
        before = os.environ.get("PYTHONPATH")
        changes = {
            "JUPYTER_PATH": place,
            "JUPYTER_PREFER_ENV_PATH": "0",  # JUPYTER_PATH then comes before the user's and the environment's
            "PYTHONPATH": os.pathsep.join(filter(None, [str(project_root()), before])),
        }
        with environment(**changes):
            yield log


@contextlib.contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Environment variables that hold inside, and are as before afterwards."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def runs_here() -> bool:
    """Whether this code is a cell that ``run_here`` runs, or was started by one."""
    return RUNS_HERE in os.environ


def run_here(source: Path, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run a notebook in this process, in a namespace of its own; faster than a kernel, and nothing is saved.

    Works inside a notebook's kernel too. Cells tagged ``not-inline`` are left out. The file is read as
    plain JSON: nbformat takes longer to import than the rest of the report takes to make.

    Args:
        source: the notebook.
        parameters: values that replace those of its ``parameters`` cell.

    Returns:
        The notebook with its outputs, as ``nbformat`` would give it.

    Raises:
        HelpersError: a parameter that the notebook does not have, a cell that runs the notebook it is in, or
            a cell that failed; an error of this kind that a cell raises passes as it is.
    """
    if runs_here():
        raise HelpersError(
            f"a cell of {source.name} makes the report that it is a part of, and would do so without end; "
            f"give the cell the tags `notebook-only` and `{NOT_INLINE}`, or remove it"
        )
    notebook: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with environment(**{RUNS_HERE: "1"}):
        for number, cell in enumerate(notebook["cells"], start=1):
            cell["source"] = "".join(cell["source"])
            tags = cell["metadata"].get("tags", [])
            if cell["cell_type"] != "code":
                continue
            cell["outputs"] = []
            if NOT_INLINE not in tags:
                cell["outputs"] = _run_cell(cell["source"], namespace, f"{source.name}, cell {number}")
            if "parameters" in tags:
                known = [name for name in namespace if not name.startswith("_")]
                unknown = [name for name in parameters or {} if name not in known]
                if unknown:
                    raise HelpersError(
                        f"{source.name} has no parameter {unknown[0]}; it has {', '.join(known)}"
                    )
                namespace.update(parameters or {})
    return notebook


def _run_cell(code: str, namespace: dict[str, Any], where: str) -> list[Any]:
    """The outputs of a cell: what it prints, and what it displays, its last expression included."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display
    from IPython.utils.capture import capture_output

    if not InteractiveShell.initialized():
        with warnings.catch_warnings(action="ignore"):  # of a home folder that cannot be written to
            InteractiveShell.instance()  # what `display` talks to
    tree = ast.parse(code, filename=where)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with capture_output() as captured:
        try:
            exec(compile(tree, where, "exec"), namespace)  # noqa: S102  the project's own notebook
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), where, "eval"), namespace)
                if value is not None:
                    display(value)
        except HelpersError:
            raise
        except Exception as error:
            raise HelpersError(f"{where}: {type(error).__name__}: {first_line(error)}") from error
    outputs: list[Any] = []
    if captured.stdout:
        outputs.append({"output_type": "stream", "name": "stdout", "text": captured.stdout})
    for rich in captured.outputs:
        outputs.append({"output_type": "display_data", "data": rich.data, "metadata": rich.metadata or {}})
    return outputs


def _cell_number(path: Path) -> int:
    """The number, from 1, of the cell that failed, counted as in the source: what papermill adds is not."""
    number = 0
    for cell in read(path)["cells"]:
        if ADDED & set(cell["metadata"].get("tags", [])):
            continue
        number += 1
        if any(output["output_type"] == "error" for output in cell.get("outputs", [])):
            break
    return number


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
