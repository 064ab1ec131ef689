"""The comparison: stores and a stream of operations go in; samples, and what they say, come out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
