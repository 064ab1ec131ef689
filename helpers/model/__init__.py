"""The model: a row of PostgreSQL goes in; keys and values of Redis come out, and the way back.

It also says which rows can be held, and in which parts they are read.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
