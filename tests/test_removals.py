"""What is said in the place of a thing that a notebook has removed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis

from helpers import migration, servers
from helpers.errors import HelpersError
from helpers.report import notebooks

TOLD = 'the list was removed; run the cells below the heading "Lists" first, then this one'
USES: dict[str, Callable[[Any], object]] = {
    "as a connection": lambda gone: gone.cursor(),
    "as a context": lambda gone: gone.__enter__(),
    "as a part of a name": lambda gone: f"{gone}user:1",
    "as rows": lambda gone: list(gone),
    "as a dictionary": lambda gone: gone["rows"],
    "as a function": lambda gone: gone(),
    "as one of several": lambda gone: gone or "another",
    "as a key of Redis": lambda gone: redis.Redis().get_encoder().encode(gone),
    "as a URL": lambda gone: migration.migrate(gone, "redis://127.0.0.1:1", progress=False),
}


@pytest.mark.parametrize("use", USES)
def test_each_use_says_which_cells_to_run(use: str) -> None:
    with pytest.raises(HelpersError) as raised:
        USES[use](servers.removed("the list", "Lists"))
    assert str(raised.value) == TOLD
    assert raised.value._render_traceback_() == [f"Gone: {TOLD}"]


def test_a_statement_goes_with_it() -> None:
    gone = servers.removed("the list", "Lists")
    with pytest.raises(HelpersError), gone:
        raise AssertionError("it was entered")
    assert repr(gone) == TOLD


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_the_heading_that_a_notebook_names_is_there_before(name: str) -> None:
    headings: list[str] = []
    for cell in notebooks.read(notebooks.folder() / f"{name}.ipynb")["cells"]:
        if cell["cell_type"] == "markdown":
            headings += re.findall(r"^#+ (.*)$", cell["source"], flags=re.M)
        for heading in re.findall(r'servers\.removed\("[^"]*", "([^"]*)"\)', cell["source"]):
            assert headings.count(heading) == 1, heading
