"""``python -m helpers``."""

import sys

try:
    from helpers.cli import main

    code = main()
except KeyboardInterrupt:  # before a command had begun
    print("helpers: interrupted; nothing had begun", file=sys.stderr)
    code = 130
sys.exit(code)
