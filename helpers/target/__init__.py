"""Redis or a cluster as the target: its URL goes in; the wire, the lease and checkpoint, and what it holds
come out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
