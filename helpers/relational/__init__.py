"""The course's four tables: counts and a seed go in; a schema, its rows, their keys and values in Redis, what
it refuses, and diagrams come out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
