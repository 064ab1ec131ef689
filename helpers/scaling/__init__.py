"""Scaling: more rows, less memory, more nodes go in; what each store does then comes out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
