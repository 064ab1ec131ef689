"""The migration: a source and a target go in; rows moved, verified, followed and restored come out.

Each verb gives its counts as plain values; ``describe`` tells them in lines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
