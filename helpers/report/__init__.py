"""The report: saved results and notebook 06 go in; the PDF comes out. It knows no chapter.

``show`` displays what a notebook tells, ``style`` draws it alike everywhere, ``claim`` makes a sentence of a
result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
