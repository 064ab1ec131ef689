"""PostgreSQL as the source: its URL goes in; a snapshot, its columns and definitions, and its log come
out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
