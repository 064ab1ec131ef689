"""The migration tried: throw-away servers go in; its speed, its kills, a cut-over and more nodes come out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
