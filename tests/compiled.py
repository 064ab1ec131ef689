"""Compiled modules are kept for all processes of a test run, also where Python is told to write none.

With ``PYTHONDONTWRITEBYTECODE`` in packages that were installed uncompiled, each of the hundreds of processes
that tests start would compile all that it imports: up to four seconds each.
"""

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".pytest_cache" / "compiled"

if sys.dont_write_bytecode:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(FOLDER)
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(FOLDER)
