"""Saved results and notebook 06 become the PDF; no chapter is known here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
