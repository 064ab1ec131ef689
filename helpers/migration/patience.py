"""How long a migration waits for a server that it has lost."""

from helpers.settings import SILENCE_S

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between attempts; counted anew whenever an attempt got further."""
PATIENCE = (
    f"A server that is lost in the middle is tried again {len(BACKOFF_S)} times, with {sum(BACKOFF_S):.0f} s "
    "of waiting between them, counted anew whenever rows got through; one that keeps silent (of PostgreSQL "
    f"the host) counts as lost after {SILENCE_S} s. Then, as after any interruption, the same command goes "
    "on from where it stopped."
)
"""The same in words."""
