"""Progress bars as a notebook shows them, run by a real kernel."""

import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from helpers import progress
from helpers.report import notebooks, publication

WORK = """\
import time
from helpers import progress
def work(total, unit="steps"):
    with progress.bar(total, "a<b", unit=unit) as shown:
        for number in range(4):
            time.sleep(0.3)
            shown.update(2_000 if unit == "rows" else 1)
            shown.set_postfix_str(f"<{number}>")
"""
SEEN = """\
import json
from IPython.utils.capture import capture_output
with capture_output() as seen:
    work(4)
    work(None, "rows")
print(json.dumps([output.data["text/html"] for output in seen.outputs]))
assert seen.stdout == seen.stderr == ""
"""
FAILS = """\
try:
    with progress.bar(10, "fails", unit="steps") as shown:
        time.sleep(0.6)
        shown.update()
        raise KeyError
except KeyError:
    print("failed")
"""
SHORT = """\
with progress.bar(2, "short", unit="steps") as shown:
    shown.set_postfix_str("at once")
    shown.update(2)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A notebook with bars, as it is and after it ran."""
    folder = tmp_path_factory.mktemp("bars")
    source = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in (WORK, SEEN, "work(4)\n'done'", FAILS, SHORT)]
    )
    nbformat.write(source, folder / "bars.ipynb")
    notebooks.run_kernel(folder / "bars.ipynb", folder / "ran.ipynb", {}, title="bars", progress=False)
    return source, nbformat.read(Path(folder / "ran.ipynb"), as_version=4)


@pytest.mark.slow
def test_a_bar_in_a_notebook_moves_and_ends_in_nothing(ran: tuple[Any, Any]) -> None:
    (printed,) = ran[1].cells[1].outputs
    seen = json.loads(printed.text)
    first, second = seen[: seen.index("") + 1], seen[seen.index("") + 1 :]
    assert [drawn.count("<progress") for drawn in (*first, *second)].count(0) == 2
    assert first[-1] == second[-1] == ""
    assert any(re.search('<progress value="3" max="4"[^>]*></progress>  3/4 ', drawn) for drawn in first), (
        first
    )
    assert all("a&lt;b" in drawn and "<b" not in drawn for drawn in (*first[:-1], *second[:-1]))
    assert any(re.search("<progress style[^>]*></progress>  6.00k/[?] ", drawn) for drawn in second), second


def test_nothing_is_on_stderr_and_nothing_is_published(ran: tuple[Any, Any]) -> None:
    source, executed = ran
    names = [o.get("name") for cell in executed.cells for o in cell.outputs]
    assert "stderr" not in names
    cleaned = publication.clean(executed, source, "bars.ipynb")["cells"]
    assert [len(cell["outputs"]) for cell in cleaned] == [0, 1, 1, 1, 0]
    assert cleaned[2]["outputs"][0]["data"]["text/plain"] == ["'done'"]
    assert cleaned[3]["outputs"][0]["text"] == ["failed\n"]


def test_a_bar_that_nobody_reads_any_more_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(progress, "pace", lambda: 0)
    monkeypatch.setattr(sys, "stderr", Gone())
    with progress.bar(3, "migrate") as shown:
        time.sleep(0.6)  # bars are shown after half a second
        shown.update()
        progress.say("warning: nobody hears it")
        shown.update()
    assert shown.n == 2
